//! The worker's end of the socket.

use std::collections::VecDeque;
use std::io::Stdin;
use std::os::fd::AsFd as _;
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::FetchResponse;
use crate::calls::{Answer, Request};
use crate::engine::{Gone, Outside, clock};
use crate::lookups::{Found, Lookup};
use crate::protocol::{
    Decoder, FromWorker, Malformed, READ_BYTES, TO_WORKER_BYTES_MAX, ToWorker, encode, text,
};

/// Why there is nobody to work for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The parent closed the socket, or is gone.
    Closed,
    /// It says what it may not say.
    Confused,
}

impl From<Malformed> for Lost {
    fn from(_: Malformed) -> Self {
        Self::Confused
    }
}

pub(super) struct Link {
    socket: Stdin,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// The execution under way.
    number: u64,
    /// Answers that came while another was waited for.
    early: VecDeque<(u64, Answer)>,
    /// Since requests are sent in the middle of the Action's code, a failure is told at the next wait.
    lost: Option<Lost>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            socket: std::io::stdin(),
            decoder: Decoder::new(),
            buffer: vec![0; READ_BYTES],
            number: 0,
            early: VecDeque::new(),
            lost: None,
        }
    }

    /// From here on, what is asked belongs to this execution.
    pub(super) fn begin(&mut self, number: u64) {
        self.number = number;
        self.early.clear();
    }

    /// Sends a frame, however long that takes.
    pub(super) fn send(&mut self, said: &FromWorker, body: &[&[u8]]) -> Result<(), Lost> {
        let frame = encode(said, body)?;
        let mut rest: &[u8] = &frame;
        while !rest.is_empty() {
            match rustix::io::write(self.socket.as_fd(), rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(_) => return Err(Lost::Closed),
            }
        }
        Ok(())
    }

    /// The next frame, however long that takes.
    pub(super) fn receive(&mut self) -> Result<(ToWorker, Bytes), Lost> {
        loop {
            if let Some(frame) = self.decoder.next(TO_WORKER_BYTES_MAX)? {
                return Ok(frame);
            }
            self.read()?;
        }
    }

    /// Whether there is anything to read.
    pub(super) fn has_more(&self) -> Result<bool, Lost> {
        if self.decoder.has_some() { Ok(true) } else { self.wait(Duration::ZERO) }
    }

    fn read(&mut self) -> Result<(), Lost> {
        match rustix::io::read(self.socket.as_fd(), &mut self.buffer[..]) {
            Ok(0) => Err(Lost::Closed),
            Ok(read) => {
                self.decoder.push(&self.buffer[..read]);
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(_) => Err(Lost::Closed),
        }
    }

    /// Waits until there is something to read, or for so long.
    fn wait(&self, patience: Duration) -> Result<bool, Lost> {
        let patience = Timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut sockets, Some(&patience)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(_) => Err(Lost::Closed),
        }
    }

    fn ask_parent(&mut self, call: u64, request: Request) -> Result<(), Lost> {
        let number = self.number;
        match request {
            Request::Fetch(request) => {
                let (method, url, headers) = (request.method, request.url, request.headers);
                self.send(&FromWorker::Fetch { number, call, method, url, headers }, &[&request.body])
            }
            Request::Cache(request) => self.send(&FromWorker::Cache { number, call, request }, &[]),
        }
    }

    fn next_answer(&mut self, until: Duration) -> Result<Option<(u64, Answer)>, Lost> {
        if let Some(lost) = self.lost {
            return Err(lost);
        }
        if let Some(answer) = self.early.pop_front() {
            return Ok(Some(answer));
        }
        loop {
            while let Some((told, body)) = self.decoder.next(TO_WORKER_BYTES_MAX)? {
                if let Some(answer) = self.answer_of(told, body)? {
                    return Ok(Some(answer));
                }
            }
            let patience = until.saturating_sub(clock::monotonic());
            if !self.wait(patience)? {
                return Ok(None);
            }
            self.read()?;
        }
    }

    fn ask_about(&mut self, lookup: &Lookup<'_>) -> Result<Found, Lost> {
        if let Some(lost) = self.lost {
            return Err(lost);
        }
        let number = self.number;
        let question = match *lookup {
            Lookup::Resolve { from, specifier, by } => {
                FromWorker::Resolve { number, from: from.to_owned(), specifier: specifier.to_owned(), by }
            }
            Lookup::Source { path } => FromWorker::Source { number, path: path.to_owned() },
        };
        self.send(&question, &[])?;
        loop {
            match self.receive()? {
                (ToWorker::Resolved { target }, _) => return Ok(Found::Target(target)),
                (ToWorker::NotResolved { code, message }, _) => return Ok(Found::NoTarget(code, message)),
                (ToWorker::Source { kind: None }, _) => return Ok(Found::NoSource),
                (ToWorker::Source { kind: Some(kind) }, body) => {
                    return Ok(Found::Source(kind, text(&body)?.into()));
                }
                (told, body) => self.early.extend(self.answer_of(told, body)?),
            }
        }
    }

    /// The answer that a frame is, unless it is one for an execution that is over.
    fn answer_of(&self, told: ToWorker, body: Bytes) -> Result<Option<(u64, Answer)>, Lost> {
        let (number, call, answer) = match told {
            ToWorker::Fetched { number, call, status, status_text, url, redirected, headers } => {
                let response = FetchResponse { status, status_text, url, redirected, headers, body };
                (number, call, Answer::Fetched(Ok(response)))
            }
            ToWorker::NotFetched { number, call, error } => (number, call, Answer::Fetched(Err(error))),
            ToWorker::Cached { number, call, answer } => (number, call, Answer::Cached(answer)),
            _ => return Err(Lost::Confused),
        };
        Ok((number == self.number).then_some((call, answer)))
    }
}

impl Outside for Link {
    fn ask(&mut self, call: u64, request: Request) {
        if self.lost.is_none() {
            self.lost = self.ask_parent(call, request).err();
        }
    }

    fn forget(&mut self, call: u64) {
        if self.lost.is_none() {
            let number = self.number;
            self.lost = self.send(&FromWorker::Forget { number, call }, &[]).err();
        }
    }

    fn next(&mut self, until: Duration) -> Result<Option<(u64, Answer)>, Gone> {
        self.next_answer(until).map_err(|_| Gone)
    }

    fn look_up(&mut self, lookup: &Lookup<'_>) -> Result<Found, Gone> {
        self.ask_about(lookup).map_err(|lost| {
            self.lost = Some(lost);
            Gone
        })
    }
}
