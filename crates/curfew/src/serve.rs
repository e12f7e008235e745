//! Puts the server together and runs it.

use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{Pool, PoolConfig, WorkerCommand};
use curfew_core::Core;
use curfew_core::actions::{Builds, Runner, Runs};
use curfew_core::deliveries::{self, Courier};
use curfew_core::management::seed::{Seed, Seeded, first_clients, seed};
use curfew_core::passwords::Passwords;
use curfew_core::users::{Creation, has_administrator, make_administrator};
use curfew_http::server::{self, Limits, Tls};
use curfew_http::{App, Settings, Setup};
use curfew_model::{
    Clock, Ctx, Entropy, Failure, RequestId, RequestInfo, Secret, SystemClock, SystemEntropy, TenantId,
};
use curfew_store::{Store, StoreOptions};
use curfew_tokens::KeyEncryptionKey;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::actions::{Own, Packaged, PackagesError, Reach, Shelved, Workers, pool_config};
use crate::config::Config;
use crate::geography::{Databases, GeographyError};
use crate::outbound::Applications;

/// The default tenant.
const TENANT: TenantId = TenantId(1);
/// How often what only time ends is ended.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// The key-encryption key's file in the data folder.
const KEY_FILE: &str = "key-encryption.key";

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data folder or the key file.
    #[error("cannot use {path}: {source}")]
    Data {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The key file holds no key, or is missing beside a database that was made with one.
    #[error("{0}")]
    Key(String),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] server::TlsError),
    /// The authorities that outbound requests trust.
    #[error("CURFEW_EGRESS_CA: {0}")]
    Egress(#[from] curfew_egress::RootsError),
    /// Where packages of Actions come from.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// Where addresses are.
    #[error(transparent)]
    Geography(#[from] GeographyError),
    /// What tenants' code would run in.
    #[error("cannot prepare the workers of Actions: {0}")]
    Workers(std::io::Error),
    /// The administrator of the configuration cannot be made.
    #[error("CURFEW_BOOTSTRAP_ADMIN_EMAIL, CURFEW_BOOTSTRAP_ADMIN_PASSWORD: {0}")]
    Administrator(&'static str),
    /// The database.
    #[error("{context}: {source}")]
    Failure {
        /// What was being done.
        context: &'static str,
        /// What failed.
        source: Failure,
    },
}

fn failed(context: &'static str) -> impl FnOnce(Failure) -> StartError {
    move |source| StartError::Failure { context, source }
}

/// What the world gives the server; tests give their own.
#[derive(Debug, Clone)]
pub struct World {
    /// The present instant.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What runs tenants' code, started as a process of its own; `None` is this very program.
    pub action_worker: Option<WorkerCommand>,
    /// What runs Actions instead of the server's own engine; for tests.
    pub runner: Option<Arc<dyn Runner>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            action_worker: None,
            runner: None,
        }
    }
}

/// A server that is put together and not yet running.
#[derive(Debug)]
pub struct Server {
    /// The rules.
    pub core: Arc<Core>,
    own: Arc<Own>,
    workers: Pool,
    /// The default tenant's issuer.
    pub issuer: String,
    /// The link to the set-up page, while there is no administrator.
    pub setup_url: Option<Secret<String>>,
    /// What clients may take of it.
    pub limits: Limits,
    listener: TcpListener,
    tls: Option<Tls>,
}

/// Puts the server together: socket, database, keys, first data.
pub async fn prepare(config: &Config, world: World) -> Result<Server, StartError> {
    let tls = config.tls.clone().map(Tls::load).transpose()?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen.to_string(), source })?;
    let port = listener.local_addr().map_or(config.listen.port(), |address| address.port());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let issuer = config.issuer.clone().unwrap_or_else(|| format!("{scheme}://localhost:{port}/"));
    let database = database(config);
    let Assembled { own, workers, setup_url } = assemble(config, database, world, &issuer).await?;
    let core = Arc::clone(&own.app().core);
    Ok(Server { core, own, workers, issuer, setup_url, limits: Limits::default(), listener, tls })
}

/// Everything of a server but its socket.
#[derive(Debug)]
pub struct Assembled {
    /// What answers requests.
    pub own: Arc<Own>,
    /// What runs tenants' code.
    pub workers: Pool,
    /// The link to the set-up page, while there is no administrator.
    pub setup_url: Option<Secret<String>>,
}

/// Puts together what answers requests under `issuer`: database, keys, first data. Binds no socket and starts no job.
/// `database` need not be the one the configuration names: tests give their own.
pub async fn assemble(
    config: &Config,
    database: StoreOptions,
    world: World,
    issuer: &str,
) -> Result<Assembled, StartError> {
    make_folder(&config.data_dir)?;
    let store = open_store(database, &world).await?;
    let outbound = Arc::new(Applications::new(config)?);
    let reach = Arc::new(Reach::new(outbound.egress(), Arc::clone(&world.clock)));
    let bytecodes = Arc::new(Shelved::default());
    let workers = workers(config, &world, Arc::<Shelved>::clone(&bytecodes)).map_err(StartError::Workers)?;
    let own = Arc::new(Workers::new(workers.clone(), Arc::clone(&reach), store.clone(), &config.actions));
    let runner = world.runner.clone().unwrap_or(own);
    let builder = Arc::new(Packaged::new(config, outbound.egress())?.compiled_in(workers.clone()));
    let core = open_core(config, &world, store).await?.with_outbound(outbound);
    let geography = Arc::new(Databases::open(config)?);
    let core = Arc::new(core.with_actions(runner, builder).with_geography(geography));
    bytecodes.connect(&core);
    let ctx = job_ctx(&core, issuer);
    let seeded = first_data(config, &core, &ctx, issuer).await?;
    // Opens every key: rows that the key-encryption key does not open stop the start here.
    core.tenant(TENANT).await.map_err(failed("reading the tenant"))?;
    if let Some((email, password)) = &config.bootstrap_admin {
        make_bootstrap_admin(&core, &ctx, email, password).await?;
    }
    let setup = set_up(&core, &ctx, seeded).await?;
    let setup_url =
        setup.as_ref().map(|setup| Secret::new(format!("{issuer}setup?token={}", setup.token.expose())));
    let settings = Settings {
        trusted_proxies: config.trust_proxy.clone(),
        loopback_issuer: config.issuer.is_none().then(|| issuer.to_owned()),
    };
    let own = Own::new(Arc::new(App { core, settings, setup: Mutex::new(setup) }));
    reach.connect(&own);
    Ok(Assembled { own, workers, setup_url })
}

fn workers(config: &Config, world: &World, bytecodes: Arc<Shelved>) -> std::io::Result<Pool> {
    let worker = world.action_worker.clone().map_or_else(WorkerCommand::this_program, Ok)?;
    Pool::new(PoolConfig { bytecodes, ..pool_config(worker, &config.actions) })
}

impl Server {
    /// Serves until `shutdown` is done. Background jobs end with it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let core = Arc::clone(&self.core);
        let logs = tokio::spawn({
            let core = Arc::clone(&core);
            async move { core.logs.run().await }
        });
        let sweeper = tokio::spawn(sweep_forever(Arc::clone(&core), self.issuer.clone()));
        let feed = tokio::spawn({
            let feed = Arc::clone(&core.feed);
            async move { feed.run().await }
        });
        let hints = tokio::spawn({
            let store = core.store.clone();
            async move { store.tell_other_nodes().await }
        });
        let (stop_courier, courier_stops) = tokio::sync::oneshot::channel::<()>();
        let courier = tokio::spawn({
            let ctx = job_ctx(&core, &self.issuer);
            let courier = Courier::new(Arc::clone(&core), ctx, deliveries::Limits::default());
            async move { courier.run(courier_stops.map(drop)).await }
        });
        let confined = tokio::spawn({
            let workers = self.workers.clone();
            async move {
                // Whoever starts a server is told at once how far its Actions are confined, not when the first one runs.
                if let Err(error) = workers.confinement().await {
                    tracing::error!(%error, "no worker of Actions starts");
                }
            }
        });
        let builds = tokio::spawn({
            let builds = Builds::new(Arc::clone(&core), job_ctx(&core, &self.issuer));
            async move { builds.run(std::future::pending()).await }
        });
        let runs = tokio::spawn({
            let runs = Runs::new(Arc::clone(&core), job_ctx(&core, &self.issuer));
            async move { runs.run(std::future::pending()).await }
        });
        let shutdown = {
            let core = Arc::clone(&core);
            async move {
                shutdown.await;
                // Streams would go on for ever; their guards go on at another node.
                core.feed.close();
            }
        };
        server::run(self.listener, self.tls, self.own.router(), self.limits, shutdown).await;
        // What is under way is given back by its lease, and fails for no worker's end.
        runs.abort();
        let _ = runs.await;
        self.workers.close().await;
        // A build that is under way is given back by its lease.
        for job in [sweeper, feed, hints, confined, builds] {
            job.abort();
        }
        // The last requests may have ended something: who hears of it is told, or is told after the next start.
        drop(stop_courier);
        let _ = courier.await;
        core.logs.drain().await;
        logs.abort();
    }
}

async fn sweep_forever(core: Arc<Core>, issuer: String) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let ctx = job_ctx(&core, &issuer);
        match curfew_core::sweep::sweep(&core, &ctx).await {
            Ok(swept) => tracing::debug!(?swept, "swept"),
            Err(failure) => tracing::error!(%failure, "sweep failed; it is tried again"),
        }
    }
}

/// The context of a job of the server's own.
pub fn job_ctx(core: &Core, issuer: &str) -> Ctx {
    Ctx {
        now: core.clock.now(),
        entropy: Arc::clone(&core.entropy),
        tenant: TENANT,
        issuer: Arc::from(issuer),
        request: Arc::new(RequestInfo {
            id: RequestId::generate(&*core.entropy),
            ip: String::new(),
            user_agent: String::new(),
            host: String::new(),
            nesting: 0,
            method: String::new(),
            language: String::new(),
        }),
    }
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| missing.into_iter().try_for_each(sync_folder_of))
        .map_err(|source| StartError::Data { path: path.display().to_string(), source })
}

fn database(config: &Config) -> StoreOptions {
    match &config.database_url {
        Some(url) => StoreOptions::postgres(url.expose().clone()),
        None => StoreOptions::sqlite(config.data_dir.join("curfew.db")),
    }
}

async fn open_store(options: StoreOptions, world: &World) -> Result<Store, StartError> {
    let store = Store::open(options).await.map_err(failed("opening the database"))?;
    store.migrate(world.clock.now()).await.map_err(failed("preparing the database"))?;
    Ok(store)
}

async fn open_core(config: &Config, world: &World, store: Store) -> Result<Core, StartError> {
    let has_keys = store
        .read(TENANT, |tx, tenant| {
            Box::pin(async move { Ok(!curfew_store::config::sealing_keys(tx, *tenant).await?.is_empty()) })
        })
        .await
        .map_err(failed("reading the keys"))?;
    let kek = key_encryption_key(&config.data_dir.join(KEY_FILE), has_keys, &*world.entropy)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let passwords = Passwords::start(threads, Arc::clone(&world.entropy))
        .map_err(failed("starting the hashing threads"))?;
    Ok(Core::new(store, Arc::clone(&world.clock), Arc::clone(&world.entropy), kek, passwords))
}

/// Reads the key-encryption key, or makes it for a database that has no keys yet.
fn key_encryption_key(
    path: &Path,
    has_keys: bool,
    entropy: &dyn Entropy,
) -> Result<KeyEncryptionKey, StartError> {
    let io = |source| StartError::Data { path: path.display().to_string(), source };
    match std::fs::read(path) {
        Ok(bytes) => {
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| {
                StartError::Key(format!("{} holds no key: it must have 32 bytes", path.display()))
            })?;
            Ok(KeyEncryptionKey::from_bytes(bytes))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && has_keys => {
            Err(StartError::Key(format!(
                "{} is missing, and the database holds keys that only it opens: put the file back from your backup",
                path.display()
            )))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make_key_file(path, entropy).map_err(io)?;
            key_encryption_key(path, has_keys, entropy)
        }
        Err(error) => Err(io(error)),
    }
}

/// Makes the file so that it is whole or not there, also after a power failure: what will be sealed under the key is
/// worth nothing without it. Of two servers that start at once the first one's stays.
fn make_key_file(path: &Path, entropy: &dyn Entropy) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let bytes: [u8; 32] = entropy.bytes();
    let draft = path.with_extension(entropy.hex(16));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let made = file.write_all(&bytes).and_then(|()| file.sync_all());
    let linked = made.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    std::fs::remove_file(&draft)?;
    linked?;
    sync_folder_of(path)
}

/// Makes the entry of a new file or folder durable.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

async fn first_data(config: &Config, core: &Core, ctx: &Ctx, issuer: &str) -> Result<Seeded, StartError> {
    let host = issuer.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let asked = Seed { host: host.to_ascii_lowercase(), bootstrap: config.bootstrap_client.clone() };
    seed(core, ctx, &asked).await.map_err(failed("making the first data"))
}

async fn make_bootstrap_admin(
    core: &Core,
    ctx: &Ctx,
    email: &str,
    password: &Secret<String>,
) -> Result<(), StartError> {
    let made = make_administrator(core, ctx, email, password.clone()).await;
    match made.map_err(failed("making the administrator"))? {
        None | Some(Creation::Created(_)) => Ok(()),
        Some(Creation::Exists) => Err(StartError::Administrator("a user with this e-mail exists already")),
        Some(Creation::WeakPassword(_)) => Err(StartError::Administrator(
            "the password is too weak: at least 8 characters, three of lower case, upper case, digits and others",
        )),
        Some(Creation::Invalid(_)) => Err(StartError::Administrator("this is no e-mail address")),
    }
}

async fn set_up(core: &Core, ctx: &Ctx, seeded: Seeded) -> Result<Option<Setup>, StartError> {
    if has_administrator(core, ctx).await.map_err(failed("looking for the administrator"))? {
        return Ok(None);
    }
    let first = match (seeded.machine_client, seeded.sample_client) {
        (Some((machine, secret)), Some(sample)) => Some((machine, secret, sample)),
        _ => first_clients(core, ctx).await.map_err(failed("looking for the first clients"))?,
    };
    let Some((machine_client_id, machine_client_secret, sample_client_id)) = first else { return Ok(None) };
    let token = Secret::new(core.entropy.url_safe(43));
    Ok(Some(Setup { token, machine_client_id, machine_client_secret, sample_client_id }))
}
