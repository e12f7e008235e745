//! The thread that starts workers and buries them.
//!
//! The kernel ends a worker with the *thread* that started it, so that thread has to live as long as the pool does.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::WorkerCommand;

/// How often workers that nobody needs are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// A worker that was just started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By the timer that it had set on itself.
    Alarm,
    /// In any other way.
    Other,
}

enum Job {
    Start(oneshot::Sender<io::Result<Started>>),
    Bury(Child, Option<oneshot::Sender<End>>),
}

/// Asks the thread. When the last of these is gone, the thread ends, and all workers with it.
#[derive(Debug, Clone)]
pub(super) struct Spawner(Sender<Job>);

impl Spawner {
    /// Starts the thread. `sweep` is called now and then.
    pub(super) fn new(command: WorkerCommand, sweep: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (jobs, asked) = channel();
        std::thread::Builder::new()
            .name("actions".to_owned())
            .spawn(move || serve(&asked, &command, &sweep))?;
        Ok(Self(jobs))
    }

    /// Starts a worker.
    pub(super) async fn start(&self) -> io::Result<Started> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Job::Start(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Kills a worker, and says how it had ended if it had before.
    pub(super) async fn bury(&self, child: Child) -> End {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Job::Bury(child, Some(answer))).is_err() {
            return End::Other;
        }
        answered.await.unwrap_or(End::Other)
    }

    /// Kills a worker that is not needed any more.
    pub(super) fn discard(&self, mut child: Child) {
        // At once: this process may be about to end, and the thread with it.
        let _ = child.kill();
        let _ = self.0.send(Job::Bury(child, None));
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts workers has ended")
}

fn serve(asked: &Receiver<Job>, command: &WorkerCommand, sweep: &impl Fn()) {
    loop {
        match asked.recv_timeout(SWEEP) {
            Ok(Job::Start(answer)) => {
                if let Err(Ok(unwanted)) = answer.send(start(command)) {
                    bury(unwanted.child);
                }
            }
            Ok(Job::Bury(child, answer)) => {
                let end = bury(child);
                if let Some(answer) = answer {
                    let _ = answer.send(end);
                }
            }
            Err(RecvTimeoutError::Timeout) => sweep(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn start(command: &WorkerCommand) -> io::Result<Started> {
    let (socket, theirs) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    let child = Command::new(&command.program)
        .args(&command.arguments)
        // Nothing of the server's, and a clock that asks no file for its zone.
        .env_clear()
        .env("TZ", "UTC0")
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Started { child, socket })
}

/// A worker has nothing to lose, so there is no gentler way.
fn bury(mut child: Child) -> End {
    let _ = child.kill();
    match child.wait().as_ref().map(ExitStatus::signal) {
        Ok(Some(libc::SIGPROF)) => End::Alarm,
        _ => End::Other,
    }
}
