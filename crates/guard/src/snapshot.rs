//! The snapshot: what has ended and can still matter, a line each.

use serde::Deserialize;

use crate::cutoff::{CUTOFF_BYTES_MAX, Cutoff, CutoffError};
use crate::position::Position;
use crate::view::View;

/// Most cutoffs that are taken: more than a guard is meant to hold in memory.
pub(crate) const CUTOFFS_MAX: u64 = 16_000_000;

/// A snapshot that was read to its end.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// What has ended.
    pub(crate) view: View,
    /// From where the feed goes on.
    pub(crate) position: Position,
}

/// Why a snapshot is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// A cutoff of a kind that this guard does not know: it is too old for the server.
    #[error("the snapshot has a cutoff of an unknown kind")]
    UnknownKind,
    /// A line that is not what it should be.
    #[error("the snapshot has a malformed line")]
    Malformed,
    /// Another issuer's.
    #[error("the snapshot is another issuer's")]
    Issuer,
    /// More than [`CUTOFFS_MAX`].
    #[error("the snapshot has too many cutoffs")]
    TooMany,
    /// Fewer or more cutoffs than its first line says.
    #[error("the snapshot is incomplete")]
    Incomplete,
}

#[derive(Deserialize)]
struct FirstLine {
    position: Position,
    issuer: String,
    cutoffs: u64,
}

/// Reads a snapshot in whatever pieces it comes. Besides the view it holds one line at most.
#[derive(Debug)]
pub(crate) struct SnapshotReader {
    issuer: String,
    line: Vec<u8>,
    view: View,
    /// From the first line: the position, and how many cutoffs are still to come.
    begun: Option<(Position, u64)>,
}

impl SnapshotReader {
    /// A snapshot of this issuer for the API with this identifier.
    pub(crate) fn new(issuer: &str, audience: &str) -> Self {
        Self { issuer: issuer.to_owned(), line: Vec::new(), view: View::new(audience), begun: None }
    }

    /// Takes the next piece. After an error nothing more is to be read.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        let mut rest = piece;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (end, next) = (&rest[..at], &rest[at + 1..]);
            if self.line.is_empty() {
                self.end_line(end)?;
            } else {
                self.keep(end)?;
                let line = std::mem::take(&mut self.line);
                self.end_line(&line)?;
            }
            rest = next;
        }
        self.keep(rest)
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), SnapshotError> {
        if self.line.len() + part.len() > CUTOFF_BYTES_MAX {
            return Err(SnapshotError::Malformed);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), SnapshotError> {
        let Some((_, missing)) = &mut self.begun else {
            let first: FirstLine = serde_json::from_slice(line).map_err(|_| SnapshotError::Malformed)?;
            if first.issuer != self.issuer {
                return Err(SnapshotError::Issuer);
            }
            if first.cutoffs > CUTOFFS_MAX {
                return Err(SnapshotError::TooMany);
            }
            self.begun = Some((first.position, first.cutoffs));
            return Ok(());
        };
        *missing = missing.checked_sub(1).ok_or(SnapshotError::Incomplete)?;
        match Cutoff::parse(line) {
            Ok(cutoff) => self.view.apply(&cutoff),
            Err(CutoffError::UnknownKind) => return Err(SnapshotError::UnknownKind),
            Err(CutoffError::Malformed) => return Err(SnapshotError::Malformed),
        }
        Ok(())
    }

    /// The end: there must be as many cutoffs as announced.
    pub(crate) fn finish(mut self) -> Result<Snapshot, SnapshotError> {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line)?;
        }
        match self.begun {
            Some((position, 0)) => Ok(Snapshot { view: self.view, position }),
            _ => Err(SnapshotError::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"position":"17.0.4","issuer":"https://id.example/","cutoffs":2}"#;
    const SESSION: &str = r#"["session","AQEBAQEBAQEBAQEBAgICAgICAgICAgIC",9]"#;
    const USER: &str = r#"["user","AQEBAQEBAQEBAQEB",7,9]"#;

    fn read(text: &str, piece: usize) -> Result<(usize, String), SnapshotError> {
        let mut reader = SnapshotReader::new("https://id.example/", "https://api.example/");
        text.as_bytes().chunks(piece).try_for_each(|piece| reader.push(piece))?;
        reader.finish().map(|snapshot| (snapshot.view.len(), snapshot.position.to_string()))
    }

    #[test]
    fn a_snapshot_is_read_in_any_pieces_and_only_whole() {
        let whole = format!("{FIRST}\n{SESSION}\n{USER}\n");
        for (text, expected) in [
            (whole.clone(), Ok((2, "17.0.4".to_owned()))),
            (whole.trim_end().to_owned(), Ok((2, "17.0.4".to_owned()))),
            (String::new(), Err(SnapshotError::Incomplete)),
            (FIRST.to_owned(), Err(SnapshotError::Incomplete)),
            (format!("{FIRST}\n{SESSION}\n"), Err(SnapshotError::Incomplete)),
            (format!("{whole}{USER}\n"), Err(SnapshotError::Incomplete)),
            (format!("{FIRST}\n{SESSION}\n\n"), Err(SnapshotError::Malformed)),
            (format!("{FIRST}\n{SESSION}\n[\"new\",1]\n"), Err(SnapshotError::UnknownKind)),
            (format!("{SESSION}\n{USER}\n"), Err(SnapshotError::Malformed)),
            (whole.replace("id.example", "other.example"), Err(SnapshotError::Issuer)),
            (whole.replace(":2}", ":16000001}"), Err(SnapshotError::TooMany)),
            (format!("{FIRST}\n{}", " ".repeat(CUTOFF_BYTES_MAX + 1)), Err(SnapshotError::Malformed)),
        ] {
            for piece in [1, 7, text.len().max(1)] {
                assert_eq!(read(&text, piece), expected, "{text} in pieces of {piece}");
            }
        }
    }
}
