//! What parent and worker say to each other over their socket pair.
//!
//! A frame is two lengths (of its head and of its body, each four bytes, the lowest first), a head in JSON and a body in
//! bytes. Each side reads at most as much as a frame of the other may be. What comes from a worker is untrusted: heads
//! are parsed strictly, lengths are compared, texts are taken as texts, and whatever is not as it should be ends the
//! worker.

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes, BytesMut};
use curfew_model::Secret;
use curfew_packages::{By, Kind, Target};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ActionError, ActionTrigger, CacheAnswer, CacheRequest, ConsoleLine, FetchError, Limits};

/// Bytes before the head.
const LENGTHS: usize = 8;
/// Bytes that are read at a time.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// The largest frame for a worker: a set of packages with its bytecode.
pub(crate) const TO_WORKER_BYTES_MAX: usize = 320 << 20;
/// The largest frame of a worker that compiles.
pub(crate) const COMPILED_BYTES_MAX: usize = 192 << 20;

/// The largest frame of a worker that runs an execution within these limits. Texts of JSON may be six times as long as what they say.
pub(crate) fn from_worker_bytes_max(limits: &Limits) -> usize {
    let request = limits.request_bytes_max.saturating_mul(6);
    let records = limits.commands_bytes_max.saturating_add(limits.console_bytes_max.saturating_mul(6));
    let each = limits.commands_max.saturating_add(limits.console_lines_max).saturating_mul(128);
    request.max(records.saturating_add(each)).saturating_add(1 << 20)
}

/// What the other side said is not what it may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of this protocol")]
pub(crate) struct Malformed;

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", deny_unknown_fields)]
pub(crate) enum ToWorker {
    /// First of all. Body: the runtime's files as bytecode.
    Start {
        /// Names and lengths, in the order of the body.
        files: Vec<(String, usize)>,
        /// Of all contexts that are kept warm.
        contexts_bytes_max: usize,
    },
    /// What a program's packages lead to. Body: bytecode, or text where there is none.
    Packages {
        digest: String,
        /// In the order of the body.
        files: Vec<PackageFile>,
        /// Of these files, and of the Action itself.
        resolutions: BTreeMap<String, BTreeMap<String, Target>>,
    },
    /// Body: the code of the Action, then of its modules.
    Program {
        id: String,
        /// The digest of a set that was sent before.
        packages: Option<String>,
        code_bytes: usize,
        modules: Vec<(String, usize)>,
    },
    /// Body: the event in JSON.
    Run(Run),
    /// Body: that of the answer.
    Fetched {
        number: u64,
        call: u64,
        status: u16,
        status_text: String,
        url: String,
        redirected: bool,
        headers: Vec<(String, String)>,
    },
    /// There is no answer.
    NotFetched { number: u64, call: u64, error: FetchError },
    /// The answer of the cache.
    Cached { number: u64, call: u64, answer: CacheAnswer },
    /// What a specifier means.
    Resolved { target: Target },
    /// It means nothing: code and text, as Node has them.
    NotResolved { code: String, message: String },
    /// Body: the text of a file, or nothing where there is none.
    Source { kind: Option<Kind> },
    /// Body: the files' texts. Said instead of everything else, to a worker that runs nothing.
    Compile { cpu_seconds: u32, files: Vec<(String, Kind, usize)> },
}

/// A file of a package's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackageFile {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) compiled: bool,
    pub(crate) bytes: usize,
}

/// An execution.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// Of this execution, among those of the worker.
    pub(crate) number: u64,
    pub(crate) tenant: u64,
    pub(crate) program: String,
    pub(crate) trigger: ActionTrigger,
    pub(crate) function: String,
    pub(crate) secrets: BTreeMap<String, Secret<String>>,
    pub(crate) now_us: i64,
    pub(crate) limits: Limits,
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", deny_unknown_fields)]
pub(crate) enum FromWorker {
    /// It is confined now, and waits.
    Ready { confinement: crate::Confinement },
    /// Body: that of the request.
    Fetch { number: u64, call: u64, method: String, url: String, headers: Vec<(String, String)> },
    /// Nobody waits for this answer any more.
    Forget { number: u64, call: u64 },
    /// A question to the cache.
    Cache { number: u64, call: u64, request: CacheRequest },
    /// What does this mean? It waits for the answer, and does nothing else meanwhile.
    Resolve { number: u64, from: String, specifier: String, by: By },
    /// What does this file say? It waits likewise.
    Source { number: u64, path: String },
    /// Body: the commands, each in JSON.
    Finished {
        number: u64,
        error: Option<ActionError>,
        /// Lengths, in the order of the body.
        commands: Vec<usize>,
        console: Vec<ConsoleLine>,
        console_dropped: u64,
    },
    /// Body: bytecode.
    Compiled {
        /// Paths and lengths, in the order of the body.
        files: Vec<(String, usize)>,
    },
}

/// A frame as it is sent.
pub(crate) fn encode(head: &impl Serialize, body: &[&[u8]]) -> Result<Bytes, Malformed> {
    let mut frame = vec![0; LENGTHS];
    serde_json::to_writer(&mut frame, head).map_err(|_| Malformed)?;
    let head_bytes = u32::try_from(frame.len() - LENGTHS).map_err(|_| Malformed)?;
    let body_bytes =
        u32::try_from(body.iter().map(|part| part.len()).sum::<usize>()).map_err(|_| Malformed)?;
    frame[..4].copy_from_slice(&head_bytes.to_le_bytes());
    frame[4..LENGTHS].copy_from_slice(&body_bytes.to_le_bytes());
    for part in body {
        frame.extend_from_slice(part);
    }
    Ok(frame.into())
}

/// Bytes that were read, on their way to become frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    read: BytesMut,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { read: BytesMut::new() }
    }

    /// Whether anything came that was not taken yet.
    pub(crate) fn has_some(&self) -> bool {
        !self.read.is_empty()
    }

    /// Takes bytes in. Room is made for what has come, never for what was announced.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
    }

    /// The next frame, if all of it has come.
    pub(crate) fn next<Head: DeserializeOwned>(
        &mut self,
        bytes_max: usize,
    ) -> Result<Option<(Head, Bytes)>, Malformed> {
        let Some(lengths) = self.read.first_chunk::<LENGTHS>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h] = *lengths;
        let head_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        let body_bytes = u32::from_le_bytes([e, f, g, h]) as usize;
        let bytes = head_bytes.saturating_add(body_bytes);
        if bytes > bytes_max {
            return Err(Malformed);
        }
        if self.read.len() - LENGTHS < bytes {
            return Ok(None);
        }
        self.read.advance(LENGTHS);
        let head = self.read.split_to(head_bytes);
        let body = self.read.split_to(body_bytes).freeze();
        let head = serde_json::from_slice(&head).map_err(|_| Malformed)?;
        Ok(Some((head, body)))
    }
}

/// Cuts a body into its parts: exactly as long as all of them together.
pub(crate) fn parts(
    mut body: Bytes,
    lengths: impl IntoIterator<Item = usize>,
) -> Result<Vec<Bytes>, Malformed> {
    let mut parts = Vec::new();
    for length in lengths {
        if length > body.len() {
            return Err(Malformed);
        }
        parts.push(body.split_to(length));
    }
    if body.is_empty() { Ok(parts) } else { Err(Malformed) }
}

/// A part that is text.
pub(crate) fn text(part: &Bytes) -> Result<&str, Malformed> {
    std::str::from_utf8(part).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forget(call: u64) -> FromWorker {
        FromWorker::Forget { number: 7, call }
    }

    #[test]
    fn a_frame_comes_byte_by_byte() {
        let frame = encode(&forget(1), &[b"ab", b"", b"c"]).unwrap();
        let mut decoder = Decoder::new();
        for byte in &frame[..frame.len() - 1] {
            decoder.push(&[*byte]);
            assert!(decoder.next::<FromWorker>(1000).unwrap().is_none());
        }
        decoder.push(&frame[frame.len() - 1..]);
        decoder.push(&encode(&forget(2), &[]).unwrap());
        let (head, body) = decoder.next::<FromWorker>(1000).unwrap().unwrap();
        assert!(matches!(head, FromWorker::Forget { number: 7, call: 1 }));
        assert_eq!(parts(body, [2, 1]).unwrap(), ["ab", "c"]);
        assert!(matches!(
            decoder.next::<FromWorker>(1000).unwrap(),
            Some((FromWorker::Forget { call: 2, .. }, _))
        ));
        assert!(decoder.next::<FromWorker>(1000).unwrap().is_none());
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_comes() {
        let mut decoder = Decoder::new();
        decoder.push(&[0xff; LENGTHS]);
        assert_eq!(decoder.next::<FromWorker>(1 << 30).unwrap_err(), Malformed);
        let frame = encode(&forget(1), &[&[0; 100]]).unwrap();
        let mut decoder = Decoder::new();
        decoder.push(&frame[..LENGTHS]);
        assert_eq!(decoder.next::<FromWorker>(100).unwrap_err(), Malformed);
    }

    #[test]
    fn heads_are_read_strictly() {
        for head in [
            "",
            "{}",
            "[]",
            "nonsense",
            r#"{"is":"forget","number":1}"#,
            r#"{"is":"forget","number":1,"call":-1}"#,
            r#"{"is":"forget","number":1,"call":1,"more":1}"#,
            r#"{"is":"other"}"#,
            r#"{"is":"forget","number":1,"call":1} {}"#,
            &"[".repeat(100_000),
        ] {
            let mut decoder = Decoder::new();
            decoder.push(&u32::try_from(head.len()).unwrap().to_le_bytes());
            decoder.push(&0_u32.to_le_bytes());
            decoder.push(head.as_bytes());
            assert_eq!(decoder.next::<FromWorker>(1 << 20).unwrap_err(), Malformed, "{head:.40}");
        }
    }

    #[test]
    fn a_body_is_exactly_its_parts() {
        let body = Bytes::from_static(b"abc");
        for lengths in [vec![1, 1], vec![2, 2], vec![4], vec![usize::MAX, 4]] {
            assert_eq!(parts(body.clone(), lengths).unwrap_err(), Malformed);
        }
        assert_eq!(parts(Bytes::new(), []).unwrap(), Vec::<Bytes>::new());
        assert_eq!(text(&Bytes::from_static(b"\xff")).unwrap_err(), Malformed);
    }
}
