//! The npm packages that Actions require.
//!
//! An Action names packages and versions. When it is deployed they become a [`PackageSet`]: every file that can be required, in memory,
//! with what each specifier in it means. The worker that runs the Action sees nothing else.
//!
//! [`Packages`] makes it: versions are chosen as npm chooses them, tarballs come from beside the server ([`Shelf`]) or from the operator's
//! registries ([`Registries`]), by way of who sends requests ([`Fetch`]), are checked against their SHA-512 and unpacked in memory. Nothing
//! that is in them is run here.

mod builtins;
mod deploy;
mod folder;
mod limits;
mod manifest;
mod npmrc;
mod plan;
mod registry;
mod resolve;
mod scan;
mod set;
mod shelf;
mod source;
mod spec;
mod tarball;
mod version;

pub use deploy::{DeployError, Packages};
pub use folder::FolderError;
pub use limits::{DEPENDENCIES_MAX, FILE_BYTES_MAX, FILES_MAX, PACKAGES_MAX, SET_BYTES_MAX};
pub use npmrc::{NpmrcError, Registries};
pub use plan::PlanError;
pub use registry::{Fetch, FetchError, Get, Got, RegistryError};
pub use resolve::{By, ResolveError, Target};
pub use set::{File, Kind, Package, PackageSet, Resolutions, SetError};
pub use shelf::{Locked, Shelf, ShelfError, shelf_folders, shelf_lock};
pub use spec::{Dependency, SpecError};
pub use tarball::TarballError;
