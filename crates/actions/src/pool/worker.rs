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

/// A child process, and what it was told so far. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Worker {
    spawner: Spawner,
    child: Option<Child>,
    socket: UnixStream,
    decoder: Decoder,
    outgoing: Vec<Bytes>,
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
            idle_since: Duration::ZERO,
        })
    }

    /// Puts a frame among those that [`Self::turn`] sends.
    pub(super) fn tell(&mut self, told: &ToWorker, body: &[&[u8]]) -> Result<(), Malformed> {
        self.outgoing.push(encode(told, body)?);
        Ok(())
    }

    /// Puts a frame that is encoded already among them.
    pub(super) fn tell_encoded(&mut self, frame: Bytes) {
        self.outgoing.push(frame);
    }

    /// Sends what there is to send, and waits for the next frame. Dropped while it waits, it loses nothing.
    pub(super) async fn turn(&mut self, bytes_max: usize) -> Result<(FromWorker, Bytes), Broken> {
        loop {
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
            match self.socket.try_write(frame) {
                Ok(written) => frame.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if frame.is_empty() {
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
