//! What the packages of one Action version may take.

/// Packages that an Action may ask for itself.
pub const DEPENDENCIES_MAX: usize = 10;
/// Packages in a set.
pub const PACKAGES_MAX: usize = 300;
/// Files in a set.
pub const FILES_MAX: usize = 20_000;
/// Bytes of one file that is kept.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Bytes of all files of a set.
pub const SET_BYTES_MAX: usize = 64 << 20;
/// Bytes of a set as it is written, before it is compressed.
pub(crate) const SET_ENCODED_BYTES_MAX: usize = 128 << 20;
