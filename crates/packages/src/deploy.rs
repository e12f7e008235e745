//! From what an Action asks for to a set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use crate::limits::{DEPENDENCIES_MAX, FILES_MAX, PACKUMENTS_BYTES_MAX, REQUESTS_AT_ONCE, SET_BYTES_MAX};
use crate::npmrc::Registries;
use crate::plan::{Choose, Chosen, Node, PlanError, plan};
use crate::registry::{Fetch, Packument, Registry, RegistryError, no_version};
use crate::set::{Package, PackageSet, SetError};
use crate::shelf::Shelf;
use crate::spec::{Dependency, Spec, SpecError};
use crate::tarball::{Files, TarballError, unpack, verify};

/// Why an Action's dependencies cannot be had. Its text may be shown to whoever deploys: it names packages, and neither addresses nor
/// what the network said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// It asks for too many.
    #[error("an Action has at most {DEPENDENCIES_MAX} dependencies")]
    TooMany,
    /// It asks for one twice.
    #[error("'{0}' is asked for twice")]
    Twice(String),
    /// It asks for something that is not in a registry.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The versions cannot be chosen.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A tarball cannot be had.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A tarball is refused.
    #[error("{name} {version}: {error}")]
    Tarball {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// Why.
        error: TarballError,
    },
    /// They are too much for one Action.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The server failed.
    #[error("the packages could not be read")]
    Internal {
        /// Why, for the operator.
        detail: String,
    },
}

impl DeployError {
    /// What the text leaves out, for the operator.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Plan(PlanError::Registry(error)) | Self::Registry(error) => error.detail(),
            Self::Internal { detail } => Some(detail),
            _ => None,
        }
    }
}

/// Where packages come from: from beside the server, else from the operator's registries.
#[derive(Clone)]
pub struct Packages {
    shelf: Arc<Shelf>,
    registry: Registry,
}

impl std::fmt::Debug for Packages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packages").field("shelf", &self.shelf.len()).finish_non_exhaustive()
    }
}

impl Packages {
    /// Packages of a shelf and of registries, which are asked through `fetch`.
    pub fn new(shelf: Shelf, registries: Registries, fetch: Arc<dyn Fetch>) -> Self {
        Self { shelf: Arc::new(shelf), registry: Registry { fetch, registries: Arc::new(registries) } }
    }

    /// Chooses versions, gets what is not on the shelf, checks it and lays it out. Sends at most a few requests at a time, and has no
    /// time limit of its own.
    pub async fn resolve(&self, dependencies: &[Dependency]) -> Result<PackageSet, DeployError> {
        if dependencies.len() > DEPENDENCIES_MAX {
            return Err(DeployError::TooMany);
        }
        let mut roots = BTreeMap::new();
        for dependency in dependencies {
            let root = (dependency.version.clone(), dependency.spec()?);
            if roots.insert(dependency.name.clone(), root).is_some() {
                return Err(DeployError::Twice(dependency.name.clone()));
            }
        }
        let choice =
            Choice { packages: self, known: Mutex::default(), room: AtomicUsize::new(PACKUMENTS_BYTES_MAX) };
        let nodes = plan(&roots, &choice).await?;
        drop(choice);
        let contents = self.contents(&nodes).await?;
        blocking(move || lay_out(&nodes, &contents)).await?
    }

    /// The content of every package, each once, by name and version.
    async fn contents(&self, nodes: &[Node]) -> Result<Contents, DeployError> {
        let wanted: BTreeMap<_, _> = nodes[1..].iter().map(|node| (key(node), &node.chosen)).collect();
        let room = Arc::new(Mutex::new((FILES_MAX, SET_BYTES_MAX)));
        let each = wanted.into_iter().map(|(key, chosen)| {
            let room = Arc::clone(&room);
            async move {
                let bytes = self.tarball(&key.0, chosen).await?;
                let integrity = chosen.release.integrity.clone().unwrap_or_default();
                let (name, version) = key.clone();
                let content = blocking(move || {
                    let read = || Ok((verify(&bytes, &integrity)?, unpack(&bytes)?));
                    let refused = |error| DeployError::Tarball { name, version, error };
                    let (integrity, files) = read().map_err(refused)?;
                    take(&room, &files)?;
                    Ok::<_, DeployError>(Content { integrity, files })
                })
                .await??;
                Ok::<_, DeployError>((key, content))
            }
        });
        // As a list: a stream of an iterator that borrows is not proven to be `Send`.
        let each: Vec<_> = each.collect();
        stream::iter(each).buffer_unordered(REQUESTS_AT_ONCE).try_collect().await
    }

    async fn tarball(&self, name: &str, chosen: &Chosen) -> Result<Bytes, DeployError> {
        if chosen.is_shelved {
            let (shelf, name, version) = (Arc::clone(&self.shelf), name.to_owned(), chosen.version.clone());
            let read = blocking(move || shelf.tarball(&name, &version)).await?;
            return read.map_err(|error| DeployError::Internal { detail: error.to_string() });
        }
        let basename = name.rsplit('/').next().unwrap_or(name);
        // Where registries have it, if this one does not say.
        let usual = || format!("./{name}/-/{basename}-{}.tgz", chosen.version);
        let tarball = chosen.release.tarball.clone().unwrap_or_else(usual);
        Ok(self.registry.tarball(name, &tarball).await?)
    }
}

/// Takes room for the files of a package.
fn take(room: &Mutex<(usize, usize)>, files: &Files) -> Result<(), SetError> {
    let mut room = room.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = files.values().flatten().map(|text| text.len()).sum();
    room.0 = room.0.checked_sub(files.len()).ok_or(SetError::TooLarge("20,000 files"))?;
    room.1 = room.1.checked_sub(bytes).ok_or(SetError::TooLarge("64 MiB of files"))?;
    Ok(())
}

/// Reading is work for a thread that nobody waits on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DeployError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| DeployError::Internal { detail: error.to_string() })
}

/// A package that was checked and unpacked.
struct Content {
    integrity: String,
    files: Files,
}

type Contents = BTreeMap<(String, String), Content>;

fn key(node: &Node) -> (String, String) {
    (node.package.clone(), node.chosen.version.to_string())
}

fn lay_out(nodes: &[Node], contents: &Contents) -> Result<PackageSet, DeployError> {
    let mut roots = BTreeMap::new();
    let mut packages = Vec::new();
    let mut sources: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    let mut native: BTreeSet<Arc<str>> = BTreeSet::new();
    for node in &nodes[1..] {
        let Some(content) = contents.get(&key(node)) else { continue };
        packages.push(Package {
            path: node.path.clone(),
            name: node.package.clone(),
            version: node.chosen.version.to_string(),
            integrity: content.integrity.clone(),
        });
        if node.is_root {
            let name = node.path.trim_start_matches("node_modules/");
            roots.insert(name.to_owned(), node.chosen.version.to_string());
        }
        for (path, text) in &content.files {
            let path: Arc<str> = format!("{}/{path}", node.path).into();
            match text {
                Some(text) => drop(sources.insert(path, Arc::clone(text))),
                None => drop(native.insert(path)),
            }
        }
        // A package that lies in several places counts as often.
        if sources.len() + native.len() > FILES_MAX {
            return Err(SetError::TooLarge("20,000 files").into());
        }
    }
    Ok(PackageSet::new(roots, packages, sources, native)?)
}

/// Chooses versions for one set, and asks about each package once.
struct Choice<'a> {
    packages: &'a Packages,
    known: Mutex<BTreeMap<String, Answer>>,
    /// Bytes that may still be said about packages.
    room: AtomicUsize,
}

type Answer = Arc<OnceCell<Result<Arc<Packument>, RegistryError>>>;

impl Choose for Choice<'_> {
    fn choose<'a>(&'a self, spec: &'a Spec, wanted: &'a str) -> BoxFuture<'a, Result<Chosen, RegistryError>> {
        Box::pin(async move {
            // What lies on the shelf was tried with this server, and is there when the registry is not.
            if let Some((version, release)) = self.packages.shelf.pick(&spec.name, &spec.wanted) {
                return Ok(Chosen { version, release, is_shelved: true });
            }
            let answer = {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(known.entry(spec.name.clone()).or_default())
            };
            let ask = || async {
                let (packument, bytes) = self.packages.registry.packument(&spec.name).await?;
                let left = |left: usize| left.checked_sub(bytes);
                match self.room.fetch_update(Ordering::AcqRel, Ordering::Acquire, left) {
                    Ok(_) => Ok(Arc::new(packument)),
                    Err(_) => Err(RegistryError::TooMuch),
                }
            };
            let packument = answer.get_or_init(ask).await.as_ref().map_err(Clone::clone)?;
            let (version, release) = packument.pick(&spec.wanted).ok_or_else(|| no_version(spec, wanted))?;
            Ok(Chosen { version: version.clone(), release: Arc::clone(release), is_shelved: false })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_takes_of_the_same_room() {
        let files = |count: usize, bytes: usize| -> Files {
            (0..count).map(|number| (format!("{number}.js"), Some("x".repeat(bytes).into()))).collect()
        };
        let room = Mutex::new((3, 10));
        assert_eq!(take(&room, &files(1, 6)), Ok(()));
        assert_eq!(take(&room, &files(1, 5)), Err(SetError::TooLarge("64 MiB of files")));
        let room = Mutex::new((3, 10));
        assert_eq!(take(&room, &files(2, 0)), Ok(()));
        assert_eq!(take(&room, &files(2, 0)), Err(SetError::TooLarge("20,000 files")));
    }
}
