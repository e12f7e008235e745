//! The real binary as a process of its own, over loopback HTTP, on data that outlives it: what is killed here is
//! killed as an operator's machine would kill it.

pub(crate) mod actors;
pub(crate) mod connection;
pub(crate) mod dice;

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use curfew_core::grants::authorization_code::FAMILIES_MAX;
use curfew_core::sessions::SESSIONS_MAX;
use curfew_model::{Clock as _, Entropy, SystemClock, SystemEntropy};
use curfew_store::executor::Database;
use curfew_store::verify::{Bounds, verify};
use curfew_store::{Engine, Store, StoreOptions};
use curfew_testkit::TestDatabase;
use tempfile::TempDir;

/// The machine-to-machine client of every server here.
pub(crate) const BOOTSTRAP_ID: &str = "bootstrap";
/// Its secret.
pub(crate) const BOOTSTRAP_SECRET: &str = "a secret that is long enough to be one";

/// Declares stories of a running server: `fn name(place) { … }` becomes the tests `name::sqlite` and `name::postgres`.
/// The body is asynchronous.
macro_rules! in_a_process {
    ($($(#[$attribute:meta])* fn $name:ident($place:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn story($place: ::std::sync::Arc<$crate::process::Place>) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::process::run(::curfew_store::Engine::Sqlite, story).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::process::run(::curfew_store::Engine::Postgres, story).await;
            }
        }
    )*};
}

/// Tells a story of a server that runs on an empty database, then checks the whole store.
pub(crate) async fn run<F: Future<Output = ()>>(engine: Engine, story: impl FnOnce(Arc<Place>) -> F) {
    let place = Arc::new(Place::new(engine));
    let server = place.start();
    Box::pin(story(Arc::clone(&place))).await;
    server.kill();
    place.verify().await;
}

/// Where a server's data are, and where it listens: both stay over restarts.
pub(crate) struct Place {
    folder: TempDir,
    database: Option<String>,
    options: StoreOptions,
    address: SocketAddr,
    /// Dropped last: it takes the schema away.
    _schema: Option<TestDatabase>,
}

impl Place {
    /// An empty one.
    pub(crate) fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => Self::at(None),
            Engine::Postgres => {
                let database = TestDatabase::new(Engine::Postgres);
                let mut place = Self::at(Some(database_url(&database.options())));
                place._schema = Some(database);
                place
            }
        }
    }

    /// An empty one whose database is `url`, or SQLite.
    pub(crate) fn at(url: Option<String>) -> Self {
        let folder = TempDir::with_prefix("curfew-process-").expect("a temporary folder");
        let options = match &url {
            Some(url) => StoreOptions::postgres(url),
            None => StoreOptions::sqlite(folder.path().join("data/curfew.db")),
        };
        // The issuer, and with it every session, holds the port: it must be the same after a restart. Outgoing
        // connections take no port below 32768 and no address of 127.0.0.0/8 but the first, so nobody takes it
        // meanwhile, and two tests hardly meet.
        let entropy: &dyn Entropy = &SystemEntropy;
        let address = address(10_000 + u16::from_le_bytes(entropy.bytes()) % 20_000);
        Self { folder, database: url, options, address, _schema: None }
    }

    /// The default tenant's issuer.
    pub(crate) fn issuer(&self) -> String {
        format!("http://localhost:{}/", self.address.port())
    }

    /// Where a second node may listen, under the same name and port.
    pub(crate) fn another_address(&self) -> SocketAddr {
        address(self.address.port())
    }

    /// Starts a node on the same data that listens there, and waits until it does.
    pub(crate) fn start_at(&self, address: SocketAddr) -> Process {
        let mut command = self.command(env!("CARGO_BIN_EXE_curfew"));
        command.env("CURFEW_LISTEN", address.to_string());
        self.start_as(command)
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the server connects to PostgreSQL, if that is where its data are.
    pub(crate) fn database_url(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Where the server writes its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// Opens the same data beside the server, or while there is none.
    pub(crate) async fn open(&self) -> Store {
        Store::open(self.options.clone()).await.expect("the database opens")
    }

    /// The command that starts the server, so that a test can change it, or start it under another program.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let log = OpenOptions::new().append(true).create(true).open(self.log()).expect("the log");
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("CURFEW_")))
            .env("CURFEW_LOG", "warn")
            .env("CURFEW_LISTEN", self.address.to_string())
            .env("CURFEW_DATA_DIR", self.folder.path().join("data"))
            .env("CURFEW_BOOTSTRAP_CLIENT_ID", BOOTSTRAP_ID)
            .env("CURFEW_BOOTSTRAP_CLIENT_SECRET", BOOTSTRAP_SECRET)
            // Applications that are told of endings are on this machine.
            .env("CURFEW_EGRESS_ALLOW", "127.0.0.0/8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(url) = &self.database {
            command.env("CURFEW_DATABASE_URL", url);
        }
        command
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn start(&self) -> Process {
        self.start_as(self.command(env!("CARGO_BIN_EXE_curfew")))
    }

    /// Starts the server and does not wait for it.
    pub(crate) fn launch(&self) -> Process {
        let mut command = self.command(env!("CARGO_BIN_EXE_curfew"));
        Process { child: command.stdout(Stdio::null()).spawn().expect("the binary starts") }
    }

    /// Starts what [`Place::command`] made.
    pub(crate) fn start_as(&self, mut command: Command) -> Process {
        let mut child = command.spawn().expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("its output");
        let process = Process { child };
        assert!(line.starts_with("listening on "), "the server did not start: {line}{}", self.said());
        process
    }

    /// What servers wrote to the log here.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Checks what a server left behind, or leaves just now: nothing a client sent made a thread panic, and the whole
    /// store is sound.
    pub(crate) async fn verify(&self) {
        let said = self.said();
        assert!(!said.contains("panicked"), "a server panicked:\n{said}");
        let bounds =
            Bounds { now: SystemClock.now(), sessions_max: SESSIONS_MAX, families_max: FAMILIES_MAX };
        let wrong = self.open().await.read_long(bounds, |tx, bounds| Box::pin(verify(tx, bounds))).await;
        assert_eq!(wrong.expect("the store can be read"), Vec::<String>::new());
    }

    /// Throws the log away.
    pub(crate) fn forget_log(&self) {
        drop(File::create(self.log()).expect("the log"));
    }
}

/// A running server. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// SIGKILL: nothing of it runs any more when this returns.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a signal");
        self.child.wait().expect("its end");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let killed = Command::new("sh").args(["-c", "kill -TERM $0", &self.id().to_string()]).status();
        assert!(killed.expect("sh").success(), "a signal");
    }

    /// SIGKILL at a moment that is only a moment: nothing is waited for.
    pub(crate) async fn kill_after(self, moment: std::time::Duration) {
        let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
        self.kill();
    }

    /// Waits until it ended by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        tokio::task::spawn_blocking(move || self.child.wait().expect("its end")).await.expect("no panic")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of this machine that nobody else has.
fn address(port: u16) -> SocketAddr {
    let entropy: &dyn Entropy = &SystemEntropy;
    let [a, b, c] = entropy.bytes::<3>();
    SocketAddr::from((Ipv4Addr::new(127, a, b, c.clamp(2, 254)), port))
}

/// How the binary connects to where `options` lead.
fn database_url(options: &StoreOptions) -> String {
    let Database::Postgres(url) = &options.database else { panic!("no database URL on SQLite") };
    let schema = options.schema.as_deref().expect("a schema");
    with_schema(url.expose(), schema)
}

/// A connection string of any form as the URL the binary wants, its sessions in `schema`.
pub(crate) fn with_schema(url: &str, schema: &str) -> String {
    let config: tokio_postgres::Config = url.parse().expect("a connection string");
    let host = match config.get_hosts().first().expect("a host") {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        tokio_postgres::config::Host::Unix(folder) => folder.display().to_string().replace('/', "%2F"),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().expect("a user");
    let password = match config.get_password() {
        Some(password) => format!(":{}", String::from_utf8_lossy(password)),
        None => String::new(),
    };
    let database = config.get_dbname().unwrap_or(user);
    format!("postgres://{user}{password}@{host}:{port}/{database}?options=-c%20search_path%3D{schema}")
}
