//! A PostgreSQL server that lives as long as the test run.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The environment variable that names a server to use instead of starting one.
pub const URL_VARIABLE: &str = "CURFEW_TEST_POSTGRES_URL";

/// A server for tests.
///
/// One is shared by a whole run: under nextest, where each test is a process, by all processes of the run; under
/// `cargo test` by all tests of the process. It ends with nextest, or with the process, however that ends.
#[derive(Debug)]
pub struct TestPostgres {
    url: String,
}

/// Starts the server, says so in one line, and stops it when the process `$WATCHED` is gone.
///
/// initdb and the server refuse to run as root, so root runs them as `nobody`.
const SUPERVISE: &str = r#"
set -eu
as() { if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi; }
gone() { if [ -e /proc/self ]; then [ ! -e "/proc/$WATCHED" ]; else ! ps -p "$WATCHED" >/dev/null; fi; }
stop() {
    if [ -f "$DIR/data/postmaster.pid" ]; then kill -QUIT "$(head -n 1 "$DIR/data/postmaster.pid")" || true; wait; fi
    rm -rf "$DIR" "$DIR.lock"
}
trap stop EXIT
trap 'exit 1' HUP INT TERM
mkdir "$DIR/data" "$DIR/socket"
if [ "$(id -u)" = 0 ]; then chown nobody "$DIR/data" "$DIR/socket"; fi
cd "$DIR"
as "$BIN/initdb" --no-sync --auth=trust --username=curfew --encoding=UTF8 --locale=C --pgdata="$DIR/data" >&2
as "$BIN/postgres" -D "$DIR/data" -c listen_addresses= -c unix_socket_directories="$DIR/socket" \
    -c fsync=off -c full_page_writes=off -c synchronous_commit=on -c shared_buffers=32MB -c max_connections=300 \
    -c max_locks_per_transaction=256 -c deadlock_timeout=50ms >&2 &
until "$BIN/pg_isready" --quiet --host="$DIR/socket"; do
    kill -0 $!
    sleep 0.02
done
echo ready
exec >&2
until gone; do sleep 0.5; done
"#;

impl TestPostgres {
    /// The server of this run, started at the first call.
    pub fn start() -> &'static Self {
        static SERVER: OnceLock<TestPostgres> = OnceLock::new();
        SERVER.get_or_init(|| {
            let url = std::env::var(URL_VARIABLE).unwrap_or_else(|_| shared_server());
            Self { url }
        })
    }

    /// How to connect to it, with the rights of its owner.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The run's server: the first process that comes starts it, under a lock, the others find it.
fn shared_server() -> String {
    let (name, watched) = match std::env::var("NEXTEST_RUN_ID") {
        Ok(run) => (run, std::os::unix::process::parent_id()),
        Err(_) => (format!("process-{}", std::process::id()), std::process::id()),
    };
    let temporary = std::env::temp_dir();
    let dir = temporary.join(format!("curfew-postgres-{name}"));
    let lock = File::create(temporary.join(format!("curfew-postgres-{name}.lock"))).expect("a lock file");
    lock.lock().expect("the lock");
    let url = format!("host={} user=curfew dbname=postgres", dir.join("socket").display());
    if !dir.join("socket").exists() {
        supervise(&dir, watched);
    }
    url
}

#[expect(clippy::zombie_processes, reason = "the supervisor outlives this process on purpose")]
fn supervise(dir: &Path, watched: u32) {
    use std::os::unix::process::CommandExt as _;
    std::fs::create_dir(dir).expect("a folder for the server");
    // Its errors go to a file and not to ours: a test runner waits until nobody holds a test's output any more.
    let log = OpenOptions::new().read(true).append(true).create_new(true).open(dir.join("log"));
    let mut log = log.expect("a file for its log");
    let mut child = Command::new("sh")
        .args(["-c", SUPERVISE])
        .env("DIR", dir)
        .env("BIN", binaries())
        .env("WATCHED", watched.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().expect("a second handle"))
        // A group of its own: a test that is killed for its slowness must not take the others' server with it.
        .process_group(0)
        .spawn()
        .expect("sh");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("its output");
    if line.trim() != "ready" {
        let mut said = String::new();
        let _ = log.seek(SeekFrom::Start(0)).and_then(|_| log.read_to_string(&mut said));
        panic!("PostgreSQL did not start:\n{said}");
    }
}

/// Where `initdb` and `postgres` are: in Debian's folders, the newest first, or in `PATH`.
fn binaries() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let version = entry.ok()?.path();
            Some((version.file_name()?.to_str()?.parse().ok()?, version.join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions
        .pop()
        .map(|(_, bin)| bin)
        .or_else(|| std::env::split_paths(&path).find(|bin| bin.join("initdb").exists()))
        .unwrap_or_else(|| panic!("no PostgreSQL: install it, or set {URL_VARIABLE}"))
}

/// A server of one test's own, which the test may kill. It is as durable as its defaults make it.
#[derive(Debug)]
pub struct OwnPostgres {
    folder: TempDir,
    server: Option<Child>,
}

/// PostgreSQL refuses to be root, so root runs it as `nobody`: that one's user and group.
fn stand_in() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("id");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("a number")
    };
    (number(&["-u"]) == 0).then(|| (number(&["-u", "nobody"]), number(&["-g", "nobody"])))
}

fn command(program: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(binaries().join(program));
    if let Some((user, group)) = stand_in() {
        command.uid(user).gid(group);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Waits until the server answers; it fails when the server, `$1`, ended.
const WAIT: &str =
    r#"until "$2" --quiet --host="$3"; do kill -0 "$1" 2>/dev/null || exit 1; sleep 0.02; done"#;

impl OwnPostgres {
    /// A new one.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("curfew-postgres-own-").expect("a temporary folder");
        let mut initdb = command("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=curfew", "--encoding=UTF8", "--locale=C"]);
        initdb.arg("--pgdata").arg(folder.path().join("data"));
        // It makes the data folder itself, so the one above must be its own.
        if let Some((user, group)) = stand_in() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("a new owner");
        }
        assert!(initdb.status().expect("initdb").success(), "initdb failed");
        let mut postgres = Self { folder, server: None };
        postgres.restart();
        postgres
    }

    /// Starts it again after [`kill`](Self::kill).
    pub fn restart(&mut self) {
        // What was killed left processes that end when they notice; until then the data folder is theirs.
        for _ in 0..100 {
            let log = OpenOptions::new().append(true).create(true).open(self.folder.path().join("log"));
            let mut server = command("postgres");
            server
                .arg("-D")
                .arg(self.folder.path().join("data"))
                .args(["-c", "listen_addresses=", "-c", "shared_buffers=16MB", "-c", "max_connections=100"])
                .arg("-c")
                .arg(format!("unix_socket_directories={}", self.folder.path().display()))
                .stderr(log.expect("a log"));
            let server = self.server.insert(server.spawn().expect("postgres"));
            let ready = Command::new("sh")
                .args(["-c", WAIT, "wait", &server.id().to_string()])
                .arg(binaries().join("pg_isready"))
                .arg(self.folder.path())
                .status();
            if ready.expect("sh").success() {
                return;
            }
            let _ = server.wait();
        }
        let said = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("PostgreSQL did not start again:\n{said}");
    }

    /// SIGKILL to the server, which its processes follow.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// How to connect to it, with the rights of its owner.
    pub fn url(&self) -> String {
        format!("host={} user=curfew dbname=postgres", self.folder.path().display())
    }

    /// A connection with the rights of its owner.
    pub async fn connect(&self) -> tokio_postgres::Client {
        let connected = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("the server answers");
        tokio::spawn(connection);
        client
    }

    /// How many sessions of the application `name` have committed and wait until a standby has it too.
    pub async fn waiting_for_a_standby(&self, name: &str) -> i64 {
        let sql =
            "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and application_name = $1";
        self.connect().await.query_one(sql, &[&name]).await.expect("a row").get(0)
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `url` with a setting for each of its sessions: `with_option(url, "synchronous_commit=off")`.
pub fn with_option(url: &str, setting: &str) -> String {
    if url.contains("://") {
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}options=-c%20{}", setting.replace('=', "%3D"))
    } else {
        format!("{url} options='-c {setting}'")
    }
}
