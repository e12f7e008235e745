//! A throw-away PostgreSQL: a server of its own for one run, gone afterwards.
//!
//! It listens on a free port of the loopback address only, with a password made for this run. Root may not run
//! it, so root hands it to an unprivileged user. It commits synchronously, as Curfew insists, but does not sync
//! to the disk: the tests are about transactions, and its data does not outlive them.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::{install, program};

/// The environment variable by which tests find the server.
pub(crate) const URL_VARIABLE: &str = "CURFEW_TEST_POSTGRES_URL";

const SUPERUSER: &str = "curfew";
const FOLDER_PREFIX: &str = "curfew-postgres-";
/// Tests run in processes of their own, each with a pool; the default of 100 is soon used up.
const CONNECTIONS_MAX: &str = "400";
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// What a commit means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Acknowledged commits survive the server's death, not the machine's: for tests.
    Process,
    /// Acknowledged commits are on the disk: for measurements.
    Disk,
}

/// A running server; dropping it stops the server and removes its data.
pub(crate) struct Postgres {
    server: Child,
    folder: PathBuf,
    url: String,
}

/// The task `postgres`: a server around one command.
pub(crate) fn run(command: &[String]) -> ExitCode {
    let outcome = install::debian(&[install::POSTGRESQL]).and_then(|()| {
        let server = Postgres::start(Durability::Process)?;
        println!("{URL_VARIABLE}={}", server.url());
        let (name, arguments) = command.split_first().ok_or("which command?")?;
        program::run(Command::new(name).args(arguments).env(URL_VARIABLE, server.url()))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("error: {complaint}");
            ExitCode::FAILURE
        }
    }
}

impl Postgres {
    /// Starts a server and returns when it takes connections.
    pub(crate) fn start(durability: Durability) -> Result<Self, String> {
        let programs = server_folder().ok_or("no PostgreSQL server on this machine")?;
        sweep();
        let folder = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{}", std::process::id()));
        // A folder of that name is ours from an earlier start, or not ours at all: then the next line refuses.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).map_err(at(&folder))?;
        let started = Self::start_in(&programs, &folder, durability);
        if started.is_err() {
            drop(fs::remove_dir_all(&folder));
        }
        started
    }

    /// `postgres://user:password@127.0.0.1:port/postgres`; the user may make databases.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The id of the server's first process; the others are its children.
    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }

    fn start_in(programs: &Path, folder: &Path, durability: Durability) -> Result<Self, String> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(at(folder))?;
        let password = random_word()?;
        let password_file = folder.join("password");
        fs::write(&password_file, &password).map_err(at(&password_file))?;
        let user = Runner::choose()?;
        user.take_over(folder)?;
        user.take_over(&password_file)?;
        let data = folder.join("data");
        program::output_of(
            user.command(&programs.join("initdb"))
                .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=password"])
                .args(["--username", SUPERUSER, "--pwfile"])
                .arg(&password_file)
                .arg("--pgdata")
                .arg(&data),
        )?;
        let port = free_port()?;
        let log_path = folder.join("log");
        let log = fs::File::create(&log_path).map_err(at(&log_path))?;
        let on_disk = if durability == Durability::Disk { "on" } else { "off" };
        let mut command = user.command(&programs.join("postgres"));
        command.arg("-D").arg(&data);
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            format!("fsync={on_disk}"),
            format!("full_page_writes={on_disk}"),
            "synchronous_commit=on".to_owned(),
            format!("max_connections={CONNECTIONS_MAX}"),
            "shared_buffers=256MB".to_owned(),
            "max_wal_size=2GB".to_owned(),
            "timezone=UTC".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        if durability == Durability::Process {
            // Tests race on purpose and drop whole schemas: deadlocks are found soon, locks do not run out.
            command.args(["-c", "deadlock_timeout=50ms", "-c", "max_locks_per_transaction=256"]);
        }
        let server = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(at(&log_path))?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("postgres did not start: {error}"))?;
        let url = format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres");
        let mut started = Self { server, folder: folder.to_owned(), url };
        started.wait_until_ready(&data, &log_path)?;
        Ok(started)
    }

    /// The server writes its state to the last line of its pid file; `pg_ctl` waits for the same word.
    fn wait_until_ready(&mut self, data: &Path, log: &Path) -> Result<(), String> {
        for _ in 0..START_PATIENCE.as_millis() / POLL.as_millis() {
            let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            if state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if self.server.try_wait().map_err(|error| error.to_string())?.is_some() {
                break;
            }
            pause(POLL);
        }
        Err(format!("PostgreSQL did not start:\n{}", fs::read_to_string(log).unwrap_or_default().trim_end()))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = self.pid().to_string();
        // "Fast shutdown": connections are cut, the server ends in order.
        drop(program::output_of(Command::new("kill").args(["-INT", &pid])));
        for _ in 0..STOP_PATIENCE.as_millis() / POLL.as_millis() {
            if !matches!(self.server.try_wait(), Ok(None)) {
                break;
            }
            pause(POLL);
        }
        drop(self.server.kill());
        drop(self.server.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The folder with `initdb` and `postgres`: the newest of Debian's, or where `PATH` leads.
pub(crate) fn server_folder() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = debian
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").is_file().then_some((version, folder))
        })
        .max()
        .map(|(_, folder)| folder);
    newest.or_else(|| {
        let initdb = program::find(&["initdb"])?;
        let folder = fs::canonicalize(initdb).ok()?.parent()?.to_owned();
        folder.join("postgres").is_file().then_some(folder)
    })
}

/// Who runs the server.
enum Runner {
    Ourselves,
    /// We are root; the server runs under these ids.
    Unprivileged {
        user: u32,
        group: u32,
    },
}

impl Runner {
    fn choose() -> Result<Self, String> {
        if !install::is_root() {
            return Ok(Self::Ourselves);
        }
        // The Debian package makes the first; the second is everywhere.
        let name = ["postgres", "nobody"]
            .into_iter()
            .find(|name| program::works(Command::new("id").arg(name)))
            .ok_or("neither the user `postgres` nor `nobody` exists, and root may not run PostgreSQL")?;
        let id = |flag: &str| -> Result<u32, String> {
            let text = program::output_of(Command::new("id").args([flag, name]))?;
            text.parse().map_err(|_| format!("`id {flag} {name}` said `{text}`"))
        };
        Ok(Self::Unprivileged { user: id("-u")?, group: id("-g")? })
    }

    fn take_over(&self, path: &Path) -> Result<(), String> {
        match *self {
            Self::Ourselves => Ok(()),
            Self::Unprivileged { user, group } => chown(path, Some(user), Some(group)).map_err(at(path)),
        }
    }

    /// The program under its user, told by the kernel to stop when we die without having stopped it.
    ///
    /// `setpriv` becomes the program, so that our child's id is the server's.
    fn command(&self, program: &Path) -> Command {
        if program::find(&["setpriv"]).is_none() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if let Self::Unprivileged { user, group } = *self {
            command.args([format!("--reuid={user}"), format!("--regid={group}")]).arg("--clear-groups");
        }
        command.arg("--").arg(program);
        command
    }
}

/// Removes the data of runs that were killed before they could.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)) else { continue };
        let owner_lives = !Path::new("/proc/self").exists() || Path::new("/proc").join(pid).exists();
        if pid.bytes().all(|byte| byte.is_ascii_digit()) && !owner_lives {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// 32 hexadecimal digits from the system; nothing that decides access in Curfew depends on them.
fn random_word() -> Result<String, String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| format!("/dev/urandom: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for another process; there is no timer that a test could move"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_and_leaves_nothing_behind() {
        let server = Postgres::start(Durability::Process).unwrap();
        let (folder, pid) = (server.folder.clone(), server.pid());
        let psql = |url: &str, sql: &str| {
            program::output_of(Command::new("psql").args([url, "--tuples-only", "--no-align", "-c", sql]))
        };
        assert_eq!(
            psql(server.url(), "show synchronous_commit").unwrap(),
            "on",
            "Curfew would refuse to start"
        );
        assert_eq!(psql(server.url(), "show fsync").unwrap(), "off");
        psql(server.url(), "create database of_a_test").unwrap();
        let (_, address) = server.url().split_once('@').unwrap();
        let stranger = format!("postgres://{SUPERUSER}:guessed@{address}");
        assert!(psql(&stranger, "select 1").is_err(), "another password was accepted");
        drop(server);
        assert!(!folder.exists(), "its data are still there");
        assert!(!Path::new("/proc").join(pid.to_string()).exists(), "it still runs");
    }
}
