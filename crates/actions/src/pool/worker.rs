//! The parent's end of one worker.

use std::collections::HashSet;
use std::io;
use std::process::Child;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::spawner::{End, Spawner, Started};
use crate::Confinement;
use crate::protocol::{Decoder, FromWorker, Malformed, READ_BYTES, ToWorker, encode};

/// Why a worker is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It closed its socket.
    Closed,
    /// It said what it may not say.
    Confused,
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Self {
        Self::Confused
    }
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// What a frame that goes out is about, so that no more of them pile up here than a worker may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// What is told without being asked for.
    Told,
    /// A question about packages.
    Packages,
    /// This call, to the network.
    Fetch(u64),
    /// This call, to the cache.
    Cache(u64),
}

/// A frame on its way out.
#[derive(Debug)]
struct Outgoing {
    rest: Bytes,
    about: About,
    is_begun: bool,
}

/// A child process, and what it was told so far. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Worker {
    spawner: Spawner,
    child: Option<Child>,
    socket: UnixStream,
    decoder: Decoder,
    outgoing: Vec<Outgoing>,
    buffer: Box<[u8]>,
    /// Which walls it said that stand around it, if it was asked.
    pub(super) confinement: Option<Confinement>,
    /// Whose code it has seen.
    pub(super) tenant: Option<u64>,
    /// What it was sent, so that nothing is sent twice.
    pub(super) programs: HashSet<String>,
    pub(super) packages: HashSet<String>,
    /// The number of its last execution.
    pub(super) number: u64,
    /// Whether it has computed for so long that everything else goes before it.
    pub(super) is_behind: bool,
    /// Since when it has nothing to do.
    pub(super) idle_since: Duration,
}

impl Worker {
    /// Must be called within an asynchronous runtime.
    pub(super) fn new(spawner: Spawner, started: Started) -> io::Result<Self> {
        let Started { child, socket } = started;
        let socket = match UnixStream::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                spawner.discard(child);
                return Err(error);
            }
        };
        Ok(Self {
            spawner,
            child: Some(child),
            socket,
            decoder: Decoder::new(),
            outgoing: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            confinement: None,
            tenant: None,
            programs: HashSet::new(),
            packages: HashSet::new(),
            number: 0,
            is_behind: false,
            idle_since: Duration::ZERO,
        })
    }

    /// Puts a frame among those that [`Self::turn`] sends.
    pub(super) fn tell(&mut self, told: &ToWorker, body: &[&[u8]]) -> Result<(), Malformed> {
        self.answer(About::Told, told, body)
    }

    /// Puts an answer among them.
    pub(super) fn answer(&mut self, about: About, told: &ToWorker, body: &[&[u8]]) -> Result<(), Malformed> {
        self.outgoing.push(Outgoing { rest: encode(told, body)?, about, is_begun: false });
        Ok(())
    }

    /// How many answers of a kind it was not sent to the end yet.
    pub(super) fn unsent(&self, is_one: impl Fn(About) -> bool) -> usize {
        self.outgoing.iter().filter(|frame| is_one(frame.about)).count()
    }

    /// Keeps back the answers that nobody waits for any more. One that is begun goes out all the same.
    pub(super) fn withdraw(&mut self, is_one: impl Fn(About) -> bool) {
        self.outgoing.retain(|frame| frame.is_begun || !is_one(frame.about));
        for frame in self.outgoing.iter_mut().filter(|frame| is_one(frame.about)) {
            frame.about = About::Told;
        }
    }

    /// Whether it has said nothing that it was not asked for, and lives. For one that has nothing to do.
    pub(super) fn is_quiet(&mut self) -> bool {
        !self.decoder.has_some()
            && rustix::io::read(&self.socket, &mut self.buffer[..]) == Err(rustix::io::Errno::WOULDBLOCK)
    }

    /// Puts a frame that is encoded already among them.
    pub(super) fn tell_encoded(&mut self, frame: Bytes) {
        self.outgoing.push(Outgoing { rest: frame, about: About::Told, is_begun: false });
    }

    /// Sends what there is to send, and waits for the next frame. Dropped while it waits, it loses nothing.
    pub(super) async fn turn(&mut self, bytes_max: usize) -> Result<(FromWorker, Bytes), Broken> {
        loop {
            // One that never stops talking must not keep this thread from everything else.
            tokio::task::consume_budget().await;
            if let Some(frame) = self.decoder.next(bytes_max)? {
                return Ok(frame);
            }
            let interest = if self.outgoing.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let ready = self.socket.ready(interest).await?;
            if ready.is_writable() {
                self.write()?;
            }
            if ready.is_readable() {
                self.read()?;
            }
        }
    }

    /// Sends what there is to send. Answers are read later.
    pub(super) async fn send_all(&mut self) -> Result<(), Broken> {
        while !self.outgoing.is_empty() {
            self.socket.writable().await?;
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Broken> {
        while let Some(frame) = self.outgoing.first_mut() {
            match self.socket.try_write(&frame.rest) {
                Ok(written) => {
                    frame.is_begun = true;
                    frame.rest.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if frame.rest.is_empty() {
                self.outgoing.remove(0);
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Broken> {
        match self.socket.try_read(&mut self.buffer) {
            Ok(0) => Err(Broken::Closed),
            Ok(read) => {
                self.decoder.push(&self.buffer[..read]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills it, and says how it had ended if it had before.
    pub(super) async fn bury(mut self) -> End {
        match self.child.take() {
            Some(child) => self.spawner.bury(child).await,
            None => End::Other,
        }
    }

    /// The id of the process.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.spawner.discard(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerCommand;

    /// A worker that takes nothing.
    async fn deaf() -> Worker {
        let command = WorkerCommand {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "exec sleep 600".into()],
        };
        let spawner = Spawner::new(command, || {}).expect("a thread");
        let started = spawner.start().await.expect("a process");
        Worker::new(spawner, started).expect("a worker")
    }

    #[tokio::test]
    async fn answers_that_nobody_waits_for_do_not_lie_here() {
        let mut worker = deaf().await;
        let told = ToWorker::Source { kind: None };
        // More than a socket takes.
        let body = vec![0; 8 << 20];
        let is_fetch = |about| matches!(about, About::Fetch(_));
        for call in 1..=3 {
            worker.answer(About::Fetch(call), &told, &[&body]).expect("a frame");
        }
        worker.answer(About::Cache(4), &told, &[]).expect("a frame");
        worker.tell(&told, &[]).expect("a frame");
        worker.socket.writable().await.expect("a socket");
        worker.write().expect("it takes the first bytes");
        assert_eq!((worker.outgoing.len(), worker.unsent(is_fetch)), (5, 3));
        worker.withdraw(|about| about == About::Fetch(2));
        assert_eq!((worker.outgoing.len(), worker.unsent(is_fetch)), (4, 2));
        // What is begun goes out to its end, and counts for nobody.
        worker.withdraw(|about| about == About::Fetch(1));
        assert_eq!((worker.outgoing.len(), worker.unsent(is_fetch)), (4, 1));
        worker.withdraw(|about| about != About::Told);
        assert_eq!((worker.outgoing.len(), worker.unsent(|about| about != About::Told)), (2, 0));
    }

    #[tokio::test]
    async fn one_that_is_gone_is_not_quiet() {
        let mut worker = deaf().await;
        assert!(worker.is_quiet());
        let child = worker.child.as_mut().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(!worker.is_quiet());
    }
}
