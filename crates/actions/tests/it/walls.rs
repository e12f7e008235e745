//! The walls around a worker, each without the others: what one keeps out alone, it keeps out where another one fails.
//!
//! A process of this crate's own stands behind the walls that are named and tries what code would that has taken a worker
//! over (`src/bin/curfew-action-worker/attempts.rs`).

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use curfew_actions::Limits;
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

const WORKER: &str = env!("CARGO_BIN_EXE_curfew-action-worker");
/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of each attempt, and how the process ended.
fn tried(walls: &[&str]) -> (BTreeMap<String, i64>, ExitStatus) {
    tried_by(Command::new(WORKER).arg("walls").args(walls))
}

fn tried_by(command: &mut Command) -> (BTreeMap<String, i64>, ExitStatus) {
    let (mut socket, mut child) = started(command);
    let mut said = String::new();
    // One that is killed leaves what it has said.
    let _ = socket.read_to_string(&mut said);
    let line = |line: &str| {
        let (name, value) = line.split_once(' ').expect("a name and a number");
        (name.to_owned(), value.parse().expect("a number"))
    };
    (said.lines().map(line).collect(), child.wait().expect("a status"))
}

fn started(command: &mut Command) -> (UnixStream, Child) {
    let (socket, theirs) = UnixStream::pair().expect("a pair");
    let child = command
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // Or its end of the socket would stay open here.
    command.stdin(Stdio::null());
    (socket, child)
}

/// Waits for the end of a process that nobody ends here.
async fn end_of(mut child: Child) -> Option<ExitStatus> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("a status") {
            return Some(status);
        }
        sleep(Duration::from_millis(5)).await;
    }
    let _ = child.kill();
    None
}

/// Someone outside, to whom a worker may not speak.
fn outsider() -> UnixListener {
    let name = format!("curfew-walls-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    UnixListener::bind_addr(&address).expect("it is free")
}

const REFUSED: i64 = Errno::PERM.raw_os_error() as i64;
const DENIED: i64 = Errno::ACCESS.raw_os_error() as i64;

/// Attempts that are none: numbers that are told, and memory, of which only the limits say how much.
fn is_told(name: &str) -> bool {
    ["limit_", "is_", "signal_", "open_", "large", "small", "end"].iter().any(|told| name.starts_with(told))
}

/// One test, since they share the name of the outsider.
#[test]
fn each_wall_stands_alone() {
    let _outsider = outsider();
    let (nothing, status) = tried(&[]);
    assert!(status.success());
    // Without walls nearly everything goes through, or is refused for reasons of its own.
    for name in [
        "openat",
        "socket_tcp",
        "connect_abstract",
        "bind_tcp",
        "kill",
        "fork",
        "thread",
        "large",
        "mmap_executable",
    ] {
        assert_eq!(nothing[name], 0, "{name}");
    }
    let attempts = nothing.keys().filter(|name| !is_told(name)).count();
    assert!(attempts > 60, "{attempts}");

    // Seccomp answers every one of them, whatever the kernel would say by itself.
    let (seccomp, status) = tried(&["seccomp"]);
    assert!(status.success());
    for (name, error) in seccomp.iter().filter(|(name, _)| !is_told(name)) {
        assert_eq!(*error, REFUSED, "{name}");
    }
    assert_eq!(seccomp.keys().filter(|name| !is_told(name)).count(), attempts);
    assert_eq!(seccomp["small"], 0, "memory is had");

    // Landlock knows files, connections and other processes.
    let (landlock, _) = tried(&["landlock"]);
    let is_there =
        std::fs::read_to_string("/sys/kernel/security/lsm").map_or(true, |all| all.contains("landlock"));
    let expected = if is_there { "landlock stands on this kernel" } else { "" };
    let rows = [
        ("openat", DENIED),
        ("openat_environment", DENIED),
        ("openat_folder", DENIED),
        ("openat_parent", DENIED),
        ("connect_tcp", DENIED),
        ("bind_tcp", DENIED),
        ("connect_abstract", REFUSED),
        ("kill", REFUSED),
        ("ptrace", REFUSED),
        ("process_vm_readv", REFUSED),
        ("process_vm_writev", REFUSED),
    ];
    if !expected.is_empty() {
        for (name, error) in rows {
            assert_eq!(landlock[name], error, "{name}: {expected}");
        }
        assert_eq!(landlock["socket_unix"], 0, "of the rest it knows nothing");
    }

    // The limits cannot be raised again.
    let (limits, _) = tried(&["limits"]);
    assert_eq!((nothing["small"], nothing["large"]), (0, 0));
    assert_eq!((limits["small"], limits["large"]), (0, i64::from(Errno::NOMEM.raw_os_error())));
    for (name, most) in
        [("limit_descriptors", 3), ("limit_processes", 0), ("limit_dumps", 0), ("limit_files", 0)]
    {
        assert_eq!(limits[name], most, "{name}");
    }
    assert!((1 << 30..3 << 30).contains(&limits["limit_address_space"]), "{limits:?}");
    assert_eq!(limits["openat"], i64::from(Errno::MFILE.raw_os_error()));

    // Nobody looks into it, and it goes with its parent.
    assert_eq!((nothing["is_dumpable"], nothing["signal_of_death"]), (1, 0));
    let (parent, _) = tried(&["parent"]);
    assert_eq!((parent["is_dumpable"], parent["signal_of_death"]), (0, 9));
}

#[test]
fn what_was_left_open_is_closed() {
    let leaky = |walls: &[&str]| {
        let script = "exec 3</etc/passwd 7</etc/passwd; exec \"$0\" walls \"$@\"";
        let (told, _) = tried_by(Command::new("/bin/sh").args(["-c", script, WORKER]).args(walls));
        told.into_keys().filter(|name| name.starts_with("open_")).collect::<Vec<_>>()
    };
    let without = leaky(&[]);
    assert!(without.contains(&"open_3".to_owned()) && without.contains(&"open_7".to_owned()), "{without:?}");
    assert_eq!(leaky(&["descriptors"]), ["open_0", "open_1", "open_2"]);
}

#[test]
fn all_of_them_stand_around_a_worker() {
    let (all, status) = tried(&["descriptors", "parent", "limits", "landlock", "seccomp"]);
    assert!(status.success());
    for (name, error) in all.iter().filter(|(name, _)| !is_told(name)) {
        assert_eq!(*error, REFUSED, "{name}");
    }
    assert_eq!((all["small"], all["large"]), (0, i64::from(Errno::NOMEM.raw_os_error())));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_by_other_numbers_end_it() {
    let (told, status) = tried(&["seccomp", "foreign"]);
    assert!(told.contains_key("foreign") && !told.contains_key("end"));
    // The filter's own end, or that of a kernel that knows no such calls.
    assert!(matches!(status.signal(), Some(libc::SIGSYS | libc::SIGSEGV)), "{status:?}");
}

#[tokio::test]
async fn a_worker_ends_with_who_started_it() {
    // The thread that started it is its parent. The socket stays open, so that nothing else ends it.
    let (_socket, child) = std::thread::spawn(|| {
        let (mut socket, child) = started(&mut Command::new(WORKER));
        // It says that its walls stand.
        socket.read_exact(&mut [0; 8]).expect("it speaks");
        (socket, child)
    })
    .join()
    .expect("no panic");
    let status = end_of(child).await.expect("it ends");
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
}

/// The owner of what the kernel shows of a process is root where others of its user may not look into it.
#[test]
fn nobody_of_the_same_user_looks_into_a_worker() {
    use std::os::unix::fs::MetadataExt as _;
    let mut command = Command::new(WORKER);
    if rustix::process::geteuid().is_root() {
        command.uid(65534);
    }
    let (socket, theirs) = UnixStream::pair().expect("a pair");
    let Ok(mut child) =
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    else {
        // That user may not even run it where it lies.
        assert!(rustix::process::geteuid().is_root());
        return;
    };
    command.stdin(Stdio::null());
    (&socket).read_exact(&mut [0; 8]).expect("it speaks");
    let shown = std::fs::metadata(format!("/proc/{}/environ", child.id())).expect("it runs");
    assert_eq!(shown.uid(), 0);
    drop(socket);
    assert!(child.wait().expect("a status").success(), "it ends when nobody speaks to it any more");
}

/// A frame as the protocol has it.
fn frame(head: &str, body: &str) -> Vec<u8> {
    let length = |text: &str| u32::try_from(text.len()).expect("a short text").to_le_bytes();
    [&length(head)[..], &length(body), head.as_bytes(), body.as_bytes()].concat()
}

/// The next head of a kind.
fn heard(socket: &mut UnixStream, kind: &str) -> std::io::Result<serde_json::Value> {
    loop {
        let mut lengths = [0; 8];
        socket.read_exact(&mut lengths)?;
        let length =
            |at: usize| u32::from_le_bytes(lengths[at..at + 4].try_into().expect("four bytes")) as usize;
        let (mut head, mut body) = (vec![0; length(0)], vec![0; length(4)]);
        socket.read_exact(&mut head)?;
        socket.read_exact(&mut body)?;
        let head: serde_json::Value = serde_json::from_slice(&head).expect("JSON");
        if head["is"] == kind {
            return Ok(head);
        }
    }
}

fn run(number: u64, tenant: u64) -> Vec<u8> {
    let head = serde_json::json!({
        "is": "run", "number": number, "tenant": tenant, "program": "p", "trigger": "post-login",
        "function": "onExecutePostLogin", "secrets": {}, "now_us": 0, "limits": Limits::default(),
    });
    frame(&head.to_string(), "{}")
}

const START: &str = r#"{"is":"start","files":[],"contexts_bytes_max":1000000}"#;

#[tokio::test]
async fn a_worker_looks_itself_whose_code_it_runs() {
    let code = "exports.onExecutePostLogin = () => {};";
    let program =
        format!(r#"{{"is":"program","id":"p","packages":null,"code_bytes":{},"modules":[]}}"#, code.len());
    for (second, ends) in [(1, None), (2, Some(2))] {
        let (mut socket, child) = started(&mut Command::new(WORKER));
        for told in [frame(START, ""), frame(&program, code), run(1, 1)] {
            socket.write_all(&told).expect("it listens");
        }
        let finished = heard(&mut socket, "finished").expect("an end");
        assert_eq!((&finished["number"], &finished["error"]), (&1.into(), &serde_json::Value::Null));
        socket.write_all(&run(2, second)).expect("it listens");
        let finished = heard(&mut socket, "finished");
        assert_eq!(finished.is_ok(), ends.is_none(), "{finished:?}");
        drop(socket);
        assert_eq!(end_of(child).await.expect("it ends").code(), Some(ends.unwrap_or(0)));
    }
}

#[tokio::test]
async fn a_worker_that_is_told_nonsense_ends() {
    let too_long = [&[0xff; 8][..], b"x"].concat();
    for told in [frame("{}", ""), frame(START, "x"), run(1, 1), too_long, frame(r#"{"is":"start"}"#, "")] {
        let (mut socket, child) = started(&mut Command::new(WORKER));
        socket.write_all(&told).expect("it listens");
        assert_eq!(end_of(child).await.expect("it ends").code(), Some(2));
    }
}

#[tokio::test]
async fn compiling_has_an_end() {
    // Every name that the inner function uses is looked for among all those before it; and all of it again and again.
    let names: Vec<String> = (0..30_000).map(|number| format!("v{number}")).collect();
    let source = format!("var {}; function inner() {{ {}; }}", names.join(","), names.join(";"));
    let files: Vec<_> = (0..30).map(|number| (format!("{number}.js"), "common_js", source.len())).collect();
    let head = serde_json::json!({"is": "compile", "cpu_seconds": 1, "files": files}).to_string();
    let source = source.repeat(files.len());
    let (mut socket, child) = started(&mut Command::new(WORKER));
    socket.write_all(&frame(&head, &source)).expect("it listens");
    assert_eq!(end_of(child).await.expect("it ends").signal(), Some(libc::SIGPROF));
}
