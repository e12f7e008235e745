//! What Actions depend on: chosen and fetched when they are built, by way of the one client.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::Pool;
use curfew_core::actions::{self, BuildError, BuildFailure, Builder, Built, Draft};
use curfew_egress::{Egress, Limits, Outgoing};
use curfew_model::TenantId;
use curfew_packages::{
    Dependency, DeployError, Fetch, FetchError, Get, Got, NpmrcError, PackageSet, Packages, PlanError,
    Registries, RegistryError, Shelf, shelf_folders,
};
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method};

use crate::config::Config;

/// What a registry may take for one answer, of which some are large.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// What compiling may take of a build's time.
const COMPILE_TIME: Duration = Duration::from_secs(45);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// The file of `CURFEW_NPMRC`.
    #[error("CURFEW_NPMRC: cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says, or the environment.
    #[error("the npm configuration: {0}")]
    Npmrc(#[from] NpmrcError),
    /// The lock file that is part of the server.
    #[error(transparent)]
    Shelf(#[from] curfew_packages::ShelfError),
}

/// Finds the packages of Actions: beside the server, else at the operator's registries.
pub struct Packaged {
    packages: Packages,
    /// What compiles them.
    pool: Option<Pool>,
}

impl fmt::Debug for Packaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packaged").field("packages", &self.packages).finish()
    }
}

impl Packaged {
    /// Looks where the configuration says, and asks by way of `egress`.
    pub fn new(config: &Config, egress: Egress) -> Result<Self, PackagesError> {
        let program = std::env::current_exe().ok();
        let folders = shelf_folders(config.packages_dir.as_deref(), program.as_deref(), &config.data_dir);
        let shelf = Shelf::open(&folders)?;
        let registries = registries(config.npmrc.as_deref(), |name| std::env::var(name).ok())?;
        tracing::debug!(beside = shelf.len(), registry = !registries.is_empty(), "packages of Actions");
        Ok(Self { packages: Packages::new(shelf, registries, Arc::new(Out { egress })), pool: None })
    }

    /// The same, and what is found is compiled in a worker of `pool`.
    #[must_use]
    pub fn compiled_in(self, pool: Pool) -> Self {
        Self { pool: Some(pool), ..self }
    }

    /// Has a set compiled while nobody waits for it. It can be used without that, too: then who needs it first waits.
    async fn compile(&self, tenant: TenantId, set: &PackageSet) {
        let Some(pool) = &self.pool else { return };
        let compiled = tokio::time::timeout(COMPILE_TIME, pool.compile(tenant.0.unsigned_abs(), set)).await;
        let error = match compiled {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(error, digest = set.digest(), "the packages of an Action are not compiled yet");
    }

    /// Chooses versions, and gets what they need.
    pub async fn resolve(&self, dependencies: &[Dependency]) -> Result<PackageSet, DeployError> {
        self.packages.resolve(dependencies).await
    }
}

/// The operator's npm configuration. A file that nobody named need neither be there nor make sense.
fn registries(
    named: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Registries, PackagesError> {
    if let Some(path) = named {
        let failed = |source| PackagesError::Read { path: path.to_owned(), source };
        return Ok(Registries::parse(&std::fs::read_to_string(path).map_err(failed)?, variable)?);
    }
    let usual = variable("HOME").map(|home| Path::new(&home).join(".npmrc"));
    let text = usual.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    Registries::parse(&text, &variable).or_else(|error| {
        tracing::warn!(%error, "the .npmrc in the home folder is left aside");
        Ok(Registries::parse("", variable)?)
    })
}

/// The way out to registries.
struct Out {
    egress: Egress,
}

impl Fetch for Out {
    fn get(&self, get: Get) -> BoxFuture<'_, Result<Got, FetchError>> {
        Box::pin(async move {
            let limits =
                Limits { total: ANSWER_TIME, connect: CONNECT_TIME, answer_bytes_max: get.bytes_max };
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(get.accept));
            if let Some(authorization) = get.authorization {
                let mut value = HeaderValue::from_str(authorization.expose())
                    .map_err(|_| FetchError("the configured credential is no header value".to_owned()))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            let outgoing = Outgoing { method: Method::GET, url: get.url, headers, body: bytes::Bytes::new() };
            let sent = self.egress.clone().with_limits(limits).send(outgoing).await;
            let answer = sent.map_err(|fault| FetchError(fault.to_string()))?;
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            Ok(Got {
                status: answer.status.as_u16(),
                location: location.map(str::to_owned),
                body: answer.body,
            })
        })
    }
}

impl Builder for Packaged {
    fn build(&self, draft: Draft) -> BoxFuture<'_, Result<Built, BuildFailure>> {
        Box::pin(async move {
            if draft.dependencies.is_empty() {
                return Ok(Built::default());
            }
            let dependencies: Vec<_> = draft
                .dependencies
                .into_iter()
                .map(|dependency| Dependency { name: dependency.name, version: dependency.version })
                .collect();
            let set = self.resolve(&dependencies).await.map_err(|error| {
                tracing::warn!(%error, detail = error.detail(), action = draft.action_id, "packages");
                failure(&error)
            })?;
            let set = Arc::new(set);
            self.compile(draft.tenant, &set).await;
            let packed = tokio::task::spawn_blocking(move || actions::Packages {
                digest: set.digest().to_owned(),
                bytes: set.to_bytes().into(),
            });
            let packages = packed.await.map_err(|_| {
                BuildFailure::Again(vec![BuildError::new("internal", "The packages could not be kept")])
            })?;
            Ok(Built { packages: Some(packages) })
        })
    }
}

/// What to say to who deploys, and whether it may be better next time.
fn failure(error: &DeployError) -> BuildFailure {
    let failed = vec![BuildError::new("unresolvable_dependencies", error.to_string())];
    match error {
        DeployError::Plan(PlanError::Registry(RegistryError::Unreachable { .. }))
        | DeployError::Registry(RegistryError::Unreachable { .. })
        | DeployError::Internal { .. } => BuildFailure::Again(failed),
        _ => BuildFailure::Final(failed),
    }
}

#[cfg(test)]
mod tests {
    use curfew_egress::Policy;
    use curfew_model::config::Dependency;

    use super::*;
    use crate::config::Typed;

    fn draft(name: &str, version: &str) -> Draft {
        Draft {
            tenant: TenantId(1),
            action_id: "a".into(),
            code: "".into(),
            dependencies: vec![Dependency { name: name.into(), version: version.into() }],
            modules: Vec::new(),
            runtime: "node22".into(),
        }
    }

    fn packaged(npmrc: &str, packages: Option<PathBuf>) -> (tempfile::TempDir, Packaged) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("npmrc");
        std::fs::write(&file, npmrc).unwrap();
        let packages_dir = Some(packages.unwrap_or_else(|| folder.path().join("none")));
        let config = Typed { npmrc: Some(file), packages_dir, ..Typed::default() }.resolve().unwrap();
        let egress = Egress::new(Policy::default(), None).unwrap();
        let packaged = Packaged::new(&config, egress).unwrap();
        (folder, packaged)
    }

    #[tokio::test]
    async fn what_lies_beside_the_server_is_built_without_a_registry() {
        let test = std::env::current_exe().unwrap();
        let beside = test.ancestors().nth(2).unwrap().join("packages");
        assert!(beside.is_dir(), "no packages beside the server: run `cargo xtask packages`");
        let (_folder, packaged) = packaged("", Some(beside));
        let built = packaged.build(draft("auth0", "latest")).await.unwrap().packages.unwrap();
        let set = PackageSet::from_bytes(&built.bytes).unwrap();
        assert_eq!(set.digest(), built.digest);
        assert!(set.roots()["auth0"].starts_with("7."));
    }

    #[tokio::test]
    async fn who_deploys_is_told_what_is_missing() {
        let (_folder, without) = packaged("", None);
        let Err(BuildFailure::Final(errors)) = without.build(draft("auth0", "7")).await else { panic!() };
        assert!(errors[0].msg.contains("NPM_CONFIG_REGISTRY"), "{errors:?}");
        // A registry that the policy of addresses does not let through may be let through later.
        let (_folder, private) = packaged("registry=http://127.0.0.1:9/", None);
        let Err(BuildFailure::Again(errors)) = private.build(draft("auth0", "7")).await else { panic!() };
        assert_eq!(errors[0].msg, "the registry gives no answer about 'auth0'");
        let nothing = Draft { dependencies: Vec::new(), ..draft("", "") };
        assert!(without.build(nothing).await.unwrap().packages.is_none());
    }

    #[test]
    fn a_configuration_that_was_named_must_be_there_and_make_sense() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("npmrc");
        let none = |_: &str| None;
        assert!(matches!(registries(Some(&file), none), Err(PackagesError::Read { .. })));
        std::fs::write(&file, "registry=nonsense").unwrap();
        assert!(matches!(registries(Some(&file), none), Err(PackagesError::Npmrc(_))));
        // One in the home folder need not.
        let home = folder.path().display().to_string();
        let at_home = |name: &str| (name == "HOME").then(|| home.clone());
        assert!(registries(None, at_home).unwrap().is_empty());
        std::fs::write(folder.path().join(".npmrc"), "registry=nonsense").unwrap();
        assert!(registries(None, at_home).unwrap().is_empty());
        std::fs::write(folder.path().join(".npmrc"), "registry=https://npm.example/").unwrap();
        assert!(!registries(None, at_home).unwrap().is_empty());
    }
}
