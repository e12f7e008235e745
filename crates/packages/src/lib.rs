//! The npm packages that Actions require.
//!
//! An Action names packages and versions. When it is deployed they become a [`PackageSet`]: every file that can be required, in memory,
//! with what each specifier in it means. The worker that runs the Action sees nothing else.

mod builtins;
mod folder;
mod limits;
mod manifest;
mod resolve;
mod scan;
mod set;
mod source;

pub use folder::FolderError;
pub use limits::{DEPENDENCIES_MAX, FILE_BYTES_MAX, FILES_MAX, PACKAGES_MAX, SET_BYTES_MAX};
pub use resolve::{By, ResolveError, Target};
pub use set::{File, Kind, Package, PackageSet, Resolutions, SetError};
