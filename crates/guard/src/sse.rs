//! Server-sent events (HTML Living Standard §9.2.6), as far as the feed uses them: `event` and `data`.

/// Longest line, and longest data of one event.
pub(crate) const EVENT_BYTES_MAX: usize = 64 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type; empty when the stream names none.
    pub(crate) name: Vec<u8>,
    /// Its data.
    pub(crate) data: Vec<u8>,
}

/// A line or an event is longer than [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is too long")]
pub(crate) struct TooLong;

/// Reads a stream in whatever pieces it comes. It holds one line and one event at most.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    started: bool,
    line: Vec<u8>,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl EventReader {
    /// Takes the next piece, and gives the events that are complete with it. After an error nothing more is to be read.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in piece {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ if self.line.len() == EVENT_BYTES_MAX => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.started, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        let event = if line.is_empty() { self.end_event() } else { None };
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => {
                if self.data.len() + value.len() + 1 > EVENT_BYTES_MAX {
                    return Err(TooLong);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            // A comment (no name before the colon), or a field that the feed does not use.
            _ => {}
        }
        line.clear();
        self.line = line;
        Ok(event)
    }

    fn end_event(&mut self) -> Option<Event> {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        std::mem::take(&mut self.has_data).then_some(Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        let read = EventReader::default().push(text.as_bytes()).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        read.into_iter().map(|event| (text(event.name), text(event.data))).collect()
    }

    #[test]
    fn events_as_the_standard_has_them() {
        for (text, expected) in [
            ("event: echo\ndata: {}\n\n", vec![("echo", "{}")]),
            ("event:echo\r\ndata:{}\r\n\r\n", vec![("echo", "{}")]),
            ("event: echo\rdata: {}\r\r", vec![("echo", "{}")]),
            ("\u{feff}data: a\n\n", vec![("", "a")]),
            (": comment\n\ndata: a\n: comment\ndata: b\nid: 7\nretry: 9\n\n", vec![("", "a\nb")]),
            ("data\n\ndata\ndata\n\n", vec![("", ""), ("", "\n")]),
            ("data:  two spaces\n\n", vec![("", " two spaces")]),
            ("event: first\nevent: last\ndata: a\n\n", vec![("last", "a")]),
            // Without data there is no event, and the name is forgotten.
            ("event: echo\n\ndata: a\n\n", vec![("", "a")]),
            ("other: x\ndatum: x\ndata: a\n\n", vec![("", "a")]),
            ("data: cut off\n", vec![]),
            ("", vec![]),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|(name, data)| (name.to_owned(), data.to_owned())).collect();
            assert_eq!(events(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_and_not_kept() {
        let longest = "x".repeat(EVENT_BYTES_MAX);
        let mut reader = EventReader::default();
        assert_eq!(reader.push(longest.as_bytes()), Ok(Vec::new()));
        assert_eq!(reader.push(b"x"), Err(TooLong));
        let half = format!("data: {}\n", &longest[..EVENT_BYTES_MAX / 2]);
        let mut reader = EventReader::default();
        assert_eq!(reader.push(half.as_bytes()), Ok(Vec::new()));
        assert_eq!(reader.push(half.as_bytes()), Err(TooLong));
        let empty = "data\n".repeat(EVENT_BYTES_MAX + 2);
        assert_eq!(EventReader::default().push(empty.as_bytes()), Err(TooLong));
    }
}
