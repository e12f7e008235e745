//! Builds: what makes a draft deployable. A job at every node takes those that are due, by a short lease.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use curfew_model::config::{ActionDoc, DEPENDENCIES_MAX, Dependency};
use curfew_model::{Ctx, Failure, TenantId};
use curfew_store::actions::{self, ActionRow, VersionRow};
use curfew_store::{Lane, Tx, action_modules, action_packages, tenants};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::Core;

/// How long a build is left to who took it; one may take as long.
const LEASE_SECONDS: i64 = 120;
/// Less than the lease, so that nobody else has taken it when its outcome is written.
const BUILD_TIME: Duration = Duration::from_secs(100);
/// How often a build is tried that fails for a while.
const ATTEMPTS_MAX: i64 = 5;
/// How long it waits then.
const RETRY_SECONDS: i64 = 15;
/// Builds that are taken at a look.
const BUILDS_PER_LOOK: i64 = 8;
/// How often one looks for what other nodes have left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Packages of one Action, in bytes.
const PACKAGES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is built.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Whose.
    pub tenant: TenantId,
    /// Which Action.
    pub action_id: String,
    /// The code, CommonJS.
    pub code: Arc<str>,
    /// The packages that the code and its modules require.
    pub dependencies: Vec<Dependency>,
    /// The modules it requires: name and code.
    pub modules: Vec<(String, Arc<str>)>,
    /// `node22`.
    pub runtime: String,
}

/// What a build makes.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// What the dependencies were resolved to; nothing where there are none.
    pub packages: Option<Packages>,
}

/// What dependencies were resolved to, as the builder writes it and the runner reads it.
#[derive(Debug, Clone)]
pub struct Packages {
    /// Names the bytes.
    pub digest: String,
    /// The packages.
    pub bytes: Bytes,
}

/// What is wrong with a draft, for who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildError {
    /// A word for it.
    pub id: String,
    /// What is wrong.
    pub msg: String,
    /// Where to read about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
}

impl BuildError {
    /// Without an address.
    pub fn new(id: &str, msg: impl Into<String>) -> Self {
        Self { id: id.to_owned(), msg: msg.into(), url: None }
    }
}

/// Why there is nothing to deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFailure {
    /// It will be the same next time.
    Final(Vec<BuildError>),
    /// It may be better next time.
    Again(Vec<BuildError>),
}

/// Makes drafts deployable.
pub trait Builder: Debug + Send + Sync {
    /// Builds one.
    fn build(&self, draft: Draft) -> BoxFuture<'_, Result<Built, BuildFailure>>;
}

/// Builds what requires nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoBuilder;

impl Builder for NoBuilder {
    fn build(&self, draft: Draft) -> BoxFuture<'_, Result<Built, BuildFailure>> {
        Box::pin(async move {
            if draft.dependencies.is_empty() {
                return Ok(Built::default());
            }
            let names: Vec<&str> = draft.dependencies.iter().map(|dependency| &*dependency.name).collect();
            Err(BuildFailure::Final(vec![BuildError::new(
                "unresolvable_dependencies",
                format!("This server resolves no dependencies: {}", names.join(", ")),
            )]))
        })
    }
}

/// The job.
#[derive(Debug)]
pub struct Builds {
    core: Arc<Core>,
    /// Whose; the instant is read anew for each step.
    ctx: Ctx,
    builder: Arc<dyn Builder>,
}

impl Builds {
    /// The builds of the tenant of `ctx`.
    pub fn new(core: Arc<Core>, ctx: Ctx) -> Self {
        let builder = Arc::clone(&core.builder);
        Self { core, ctx, builder }
    }

    /// The same by another builder than the server's.
    #[must_use]
    pub fn by(self, builder: Arc<dyn Builder>) -> Self {
        Self { builder, ..self }
    }

    /// Builds until `stop` is done. A build that is under way then is given back by its lease.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = pin!(stop);
        loop {
            let worked = tokio::select! {
                biased;
                () = &mut stop => return,
                worked = self.look() => worked,
            };
            match worked {
                Ok(0) => {}
                Ok(_) => continue,
                Err(failure) => tracing::warn!(%failure, "cannot look for builds; it is tried again"),
            }
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = self.core.builds_due.notified() => {}
                _ = looks.tick() => {}
            }
        }
    }

    /// Builds everything that is due at the present instant.
    pub async fn work_off(&self) -> Result<(), Failure> {
        while self.look().await? > 0 {}
        Ok(())
    }

    fn now(&self) -> Ctx {
        Ctx { now: self.core.clock.now(), ..self.ctx.clone() }
    }

    /// Builds some of what is due, one after the other. Answers how many it was.
    async fn look(&self) -> Result<usize, Failure> {
        let due = self
            .core
            .store
            .read(self.now(), |tx, ctx| Box::pin(actions::due(tx, ctx.tenant, ctx.now, BUILDS_PER_LOOK)))
            .await?;
        let mut worked = 0;
        for id in due {
            let taken = self
                .core
                .store
                .transact(Lane::Ordinary, (self.now(), id), |tx, (ctx, id)| Box::pin(take(tx, ctx, id)))
                .await?;
            if let Some((row, draft)) = taken {
                worked += 1;
                self.build(row, draft).await?;
            }
        }
        Ok(worked)
    }

    /// Steps: 1 build, without a transaction, 2 keep what it stands on, 3 say that it is built, and deploy it where that was
    /// asked for.
    async fn build(&self, row: ActionRow, draft: Result<Draft, BuildError>) -> Result<(), Failure> {
        let outcome = match draft {
            Err(error) => Err(BuildFailure::Final(vec![error])),
            Ok(draft) => match tokio::time::timeout(BUILD_TIME, self.builder.build(draft)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let error = BuildError::new("timed_out", "The build took too long");
                    Err(BuildFailure::Again(vec![error]))
                }
            },
        };
        let too_big = |packages: &Packages| packages.bytes.len() > PACKAGES_BYTES_MAX;
        let outcome = match outcome {
            Ok(built) if built.packages.as_ref().is_some_and(too_big) => {
                Err(BuildFailure::Final(vec![BuildError::new(
                    "dependencies_too_big",
                    "The dependencies are too big",
                )]))
            }
            Err(BuildFailure::Again(errors)) if row.attempts >= ATTEMPTS_MAX => {
                Err(BuildFailure::Final(errors))
            }
            outcome => outcome,
        };
        match outcome {
            Ok(built) => self.finish(row, built).await,
            Err(failure) => {
                self.core
                    .store
                    .transact(Lane::Ordinary, (self.now(), row, failure), |tx, (ctx, row, failure)| {
                        Box::pin(note_failure(tx, ctx, row, failure))
                    })
                    .await
            }
        }
    }

    async fn finish(&self, row: ActionRow, built: Built) -> Result<(), Failure> {
        let args = (self.now(), row, built);
        let kept = self
            .core
            .store
            .transact(Lane::Ordinary, args, |tx, (ctx, row, built)| {
                Box::pin(async move {
                    let digest = built.packages.as_ref().map(|packages| &*packages.digest);
                    if let Some(packages) = &built.packages {
                        action_packages::keep(tx, ctx, &packages.digest, &packages.bytes).await?;
                    }
                    let packaged = actions::packaged(tx, ctx.tenant, row, digest).await?;
                    Ok(packaged.then(|| row.clone()))
                })
            })
            .await?;
        let Some(row) = kept else { return Ok(()) };
        self.core
            .store
            .transact(Lane::Ordinary, (self.now(), row), |tx, (ctx, row)| {
                Box::pin(async move {
                    tenants::touch(tx, ctx.tenant).await?;
                    if actions::built(tx, ctx, row).await?
                        && let Some(draft) = actions::find(tx, ctx.tenant, &row.action_id).await?
                        && row.deploy
                    {
                        deploy_draft(tx, ctx, &draft).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// Takes a build, with what it needs.
async fn take(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &str,
) -> Result<Option<(ActionRow, Result<Draft, BuildError>)>, Failure> {
    let times = (ctx.now, ctx.now.plus_seconds(LEASE_SECONDS));
    let Some(row) = actions::take(tx, ctx.tenant, id, times).await? else { return Ok(None) };
    let draft = draft(tx, ctx.tenant, &row).await?;
    Ok(Some((row, draft)))
}

/// The code of the modules that something requires, by name, with the dependencies of all of them.
pub(crate) async fn requirements(
    tx: &mut Tx,
    tenant: TenantId,
    doc: &ActionDoc,
) -> Result<Requirements, Failure> {
    let (mut dependencies, mut modules) = (doc.dependencies.clone(), Vec::new());
    for required in &doc.modules {
        let (module, version) = (&required.module_id, &required.module_version_id);
        let found = action_modules::find_version(tx, tenant, module, version).await?;
        let found = found.ok_or_else(|| Failure::Inconsistent {
            table: "actions",
            column: "doc",
            id: format!("module version {version}"),
        })?;
        modules.push((required.module_name.clone(), found.doc.code));
        for dependency in found.doc.dependencies {
            match dependencies.iter().find(|own| own.name == dependency.name) {
                None => dependencies.push(dependency),
                Some(own) if own.version == dependency.version => {}
                Some(own) => {
                    let (name, module) = (&dependency.name, &required.module_name);
                    let msg = format!(
                        "The module {module} requires {name} {}, not {}",
                        dependency.version, own.version
                    );
                    return Ok(Err(BuildError::new("conflicting_dependencies", msg)));
                }
            }
        }
    }
    if dependencies.len() > DEPENDENCIES_MAX {
        let msg = format!("The Action and its modules require more than {DEPENDENCIES_MAX} packages");
        return Ok(Err(BuildError::new("too_many_dependencies", msg)));
    }
    Ok(Ok((dependencies, modules)))
}

/// Dependencies, and modules by name; or why they do not go together.
type Requirements = Result<(Vec<Dependency>, Vec<(String, Arc<str>)>), BuildError>;

async fn draft(tx: &mut Tx, tenant: TenantId, row: &ActionRow) -> Result<Result<Draft, BuildError>, Failure> {
    Ok(requirements(tx, tenant, &row.doc).await?.map(|(dependencies, modules)| Draft {
        tenant,
        action_id: row.action_id.clone(),
        code: Arc::clone(&row.doc.code),
        dependencies,
        modules,
        runtime: row.doc.runtime.clone(),
    }))
}

async fn note_failure(
    tx: &mut Tx,
    ctx: &Ctx,
    row: &ActionRow,
    failure: &BuildFailure,
) -> Result<(), Failure> {
    let (BuildFailure::Final(errors) | BuildFailure::Again(errors)) = failure;
    let errors = serde_json::to_string(errors)
        .map_err(|error| Failure::Internal(format!("errors are not JSON: {error}").into()))?;
    match failure {
        BuildFailure::Final(_) => actions::failed(tx, ctx.tenant, row, &errors).await?,
        BuildFailure::Again(_) => {
            let at = ctx.now.plus_seconds(RETRY_SECONDS * row.attempts);
            actions::again(tx, ctx.tenant, row, at, &errors).await?
        }
    };
    Ok(())
}

/// Makes a version of a draft that is built, and has it run from now on.
pub(crate) async fn deploy_draft(tx: &mut Tx, ctx: &Ctx, draft: &ActionRow) -> Result<VersionRow, Failure> {
    let version = VersionRow {
        version_id: new_id(ctx),
        action_id: draft.action_id.clone(),
        number: draft.last_number + 1,
        doc: draft.doc.clone(),
        secrets: draft.secrets.clone(),
        packages: draft.packages.clone(),
        built_at: draft.built_at.unwrap_or(ctx.now),
        created_at: ctx.now,
    };
    let doc = write_doc(&version.doc)?;
    actions::deploy(tx, ctx.tenant, &version, &doc, Some(draft.revision)).await?;
    Ok(version)
}

/// What something is made of, as it is stored.
pub(crate) fn write_doc<T: Serialize>(doc: &T) -> Result<String, Failure> {
    serde_json::to_string(doc)
        .map_err(|error| Failure::Internal(format!("a document is not JSON: {error}").into()))
}

/// A random UUID (RFC 9562 §5.4).
pub(crate) fn new_id(ctx: &Ctx) -> String {
    let mut bytes: [u8; 16] = ctx.entropy.bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = bytes.iter().fold(String::with_capacity(32), |mut hex, byte| {
        hex.extend(
            [byte >> 4, byte & 0x0f].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')),
        );
        hex
    });
    let (a, rest) = hex.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}
