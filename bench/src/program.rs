//! Starts and stops what is measured: Curfew as an operator would, with a database of its own, and the floor.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use curfew_model::{Entropy, SystemEntropy};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::failed::{Failed, Result, While};
use crate::floor;
use crate::proc::spawn_on;
use crate::wire::Server;

const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The machine-to-machine client that Curfew makes at its first start.
pub(crate) const BOOTSTRAP_ID: &str = "benchBootstrapClient000000000000";
/// Its secret.
pub(crate) const BOOTSTRAP_SECRET: &str = "bench-bootstrap-secret-which-everybody-may-know";

/// A server process, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    /// Its process id.
    pub(crate) pid: i32,
    /// How to talk to it.
    pub(crate) server: Rc<Server>,
    /// When it was started.
    pub(crate) started: Instant,
}

impl Program {
    /// Starts `command` and waits for its first line of output, `listening on URL`.
    fn start(command: Command, core: Option<usize>, said: Option<&Path>) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let started = Instant::now();
        let mut child = spawn_on(core, command)?;
        let pid = Pid::from_child(&child).as_raw_nonzero().get();
        let first = first_line(&mut child);
        let url = first.as_deref().and_then(|line| line.strip_prefix("listening on "));
        let authority = url.and_then(|url| url.split_once("://")?.1.strip_suffix('/'));
        let port = authority.and_then(|authority| authority.rsplit_once(':')?.1.parse().ok());
        let (Some(host), Some(port)) = (authority, port) else {
            let told = said.map(|path| std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default();
            drop(child.kill());
            drop(child.wait());
            return Err(Failed(format!(
                "{name} did not start, its first line is {first:?}\n{}",
                told.trim_end()
            )));
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = Server { address, host: host.to_owned(), issuer: url.unwrap_or_default().to_owned() };
        Ok(Self { child, pid, server: Rc::new(server), started })
    }

    /// The floor, on the core of the server.
    pub(crate) fn start_floor(core: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().doing("finding this program")?);
        command.arg(floor::COMMAND).stdin(Stdio::null()).stdout(Stdio::piped());
        Self::start(command, Some(core), None)
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.end().await
    }

    /// The same, of one in whose place another comes.
    pub(crate) async fn end(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > STOP_PATIENCE {
                return Err(Failed(format!("process {} does not stop when asked to", self.pid)));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The first line on standard output; what follows is read and dropped, so that the server never waits for us.
fn first_line(child: &mut Child) -> Option<String> {
    let output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            // Only the first is waited for.
            drop(sender.send(line));
        }
    });
    receiver.recv_timeout(START_PATIENCE).ok()
}

/// Where a Curfew keeps its data, over restarts. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Place {
    binary: PathBuf,
    folder: TempDir,
    database: Option<Database>,
    port: u16,
    scheme: &'static str,
}

impl Place {
    /// An empty folder, and an empty database if a PostgreSQL server is given.
    pub(crate) fn new(binary: &Path, within: Option<&Path>, postgres_url: Option<&str>) -> Result<Self> {
        let within = within.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder =
            TempDir::with_prefix_in("curfew-bench-", &within).doing("making a folder for the data")?;
        let database = postgres_url.map(Database::create).transpose()?;
        let binary = std::fs::canonicalize(binary).doing(&format!(
            "{}: build the server first, or say where it is with --curfew",
            binary.display()
        ))?;
        // Free now; nobody else here asks for ports in a moment.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        Ok(Self { binary, folder, database, port, scheme: "http" })
    }

    /// The same, for a server that calls itself by `https`, as one behind a proxy that ends TLS does.
    pub(crate) fn behind_tls(self) -> Self {
        Self { scheme: "https", ..self }
    }

    /// Starts Curfew on its data, on one core or on all.
    pub(crate) fn start(&self, core: Option<usize>) -> Result<Program> {
        let mut command = Command::new(&self.binary);
        let log = self.folder.path().join("log");
        command.env_clear().envs(
            ["PATH", "HOME", "CURFEW_LOG"]
                .into_iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
        );
        command
            .env("CURFEW_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("CURFEW_ISSUER", format!("{}://localhost:{}/", self.scheme, self.port))
            .env("CURFEW_DATA_DIR", self.folder.path().join("data"))
            // Applications of the generator's own, for logout tokens.
            .env("CURFEW_EGRESS_ALLOW", "127.0.0.0/8")
            .env("CURFEW_BOOTSTRAP_CLIENT_ID", BOOTSTRAP_ID)
            .env("CURFEW_BOOTSTRAP_CLIENT_SECRET", BOOTSTRAP_SECRET)
            .env("CURFEW_BOOTSTRAP_ADMIN_EMAIL", "admin@example.com")
            .env("CURFEW_BOOTSTRAP_ADMIN_PASSWORD", "An-Administrator-of-the-bench-1");
        if let Some(database) = &self.database {
            command.env("CURFEW_DATABASE_URL", &database.url);
        }
        let file =
            File::options().create(true).append(true).open(&log).doing("a file for the server's log")?;
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let program = Program::start(command, core, Some(&log))?;
        Ok(program)
    }

    /// How the server connects to PostgreSQL, if that is where its data are.
    pub(crate) fn database_url(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.url.as_str())
    }

    /// How often the log of the embedded database has begun anew: its head counts it (SQLite's file format §4.1).
    pub(crate) fn log_beginnings(&self) -> Result<u32> {
        let log = self.folder.path().join("data/curfew.db-wal");
        let bytes = std::fs::read(&log).doing(&log.display().to_string())?;
        let count = bytes.get(12..16).and_then(|count| count.try_into().ok());
        count.map(u32::from_be_bytes).ok_or_else(|| Failed("the log has no head".into()))
    }

    /// Bytes of the embedded database on the disk, with its log.
    pub(crate) fn database_bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.folder.path().join("data")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

/// A database of one run on a PostgreSQL server.
#[derive(Debug)]
struct Database {
    server_url: String,
    name: String,
    url: String,
}

impl Database {
    fn create(server_url: &str) -> Result<Self> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let name = format!("curfew_bench_{}", entropy.hex(12));
        psql(server_url, &format!("create database {name}"))?;
        let (server, query) = server_url.split_once('?').unwrap_or((server_url, ""));
        let base = server.rsplit_once('/').map_or(server, |(base, _)| base);
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Ok(Self { server_url: server_url.to_owned(), url: format!("{base}/{name}{query}"), name })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // If it cannot be dropped its server is gone, and the database with it.
        drop(psql(&self.server_url, &format!("drop database {} with (force)", self.name)));
    }
}

/// What `psql` answers to one statement.
pub(crate) fn psql(url: &str, statement: &str) -> Result<String> {
    let arguments = ["--quiet", "--no-psqlrc", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1"];
    let output = Command::new("psql")
        .arg(url)
        .args(arguments)
        .args(["-c", statement])
        .stdin(Stdio::null())
        .output()
        .doing("starting psql")?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(Failed(format!("psql: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}
