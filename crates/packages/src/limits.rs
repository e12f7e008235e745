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

/// Bytes of what a registry says about a package. One that knows only the long form says much.
pub(crate) const PACKUMENT_BYTES_MAX: usize = 32 << 20;
/// Bytes of what registries say about all the packages that are looked at for a set. It is kept until the set is chosen.
pub(crate) const PACKUMENTS_BYTES_MAX: usize = 256 << 20;
/// Bytes of a tarball.
pub(crate) const TARBALL_BYTES_MAX: usize = 32 << 20;
/// Bytes in a tarball, those included that are not kept.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 256 << 20;
/// How many times its size a tarball may hold, and the size below which nobody counts.
pub(crate) const UNPACKED_RATIO_MAX: u64 = 100;
pub(crate) const UNPACKED_BYTES_FREE: u64 = 1 << 20;
/// Files in a tarball, those included that are not kept.
pub(crate) const ENTRIES_MAX: usize = 50_000;
/// Bytes of an entry that only says more about another one: its long name, its extended header.
pub(crate) const HEADER_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a path in a tarball.
pub(crate) const PATH_BYTES_MAX: usize = 512;
/// Requests to a registry at a time.
pub(crate) const REQUESTS_AT_ONCE: usize = 4;
/// Redirects that are followed.
pub(crate) const REDIRECTS_MAX: usize = 5;
/// Dependencies that are looked at for a set, each as often as it is asked for.
pub(crate) const EDGES_MAX: usize = 20_000;
