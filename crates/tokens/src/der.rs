//! As much of DER (X.690) as public keys, certificates and PKCS #7 need: definite lengths, single-byte tags.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
#[cfg(feature = "issuing")]
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// Reads one value after the other; refuses what is not DER.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value's tag, its content, and the whole of it.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, after_tag) = self.rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, after_first) = after_tag.split_first()?;
        let (length, after_length) = match first {
            0..=0x7f => (usize::from(first), after_first),
            // Longer than 64 KiB is nothing that is read here; minimal lengths only.
            0x81 => {
                let (&byte, rest) = after_first.split_first()?;
                (byte >= 0x80).then_some((usize::from(byte), rest))?
            }
            0x82 => {
                let (&[high, low], rest) = after_first.split_first_chunk::<2>()?;
                (high != 0).then_some((usize::from(u16::from_be_bytes([high, low])), rest))?
            }
            _ => return None,
        };
        let (content, rest) = after_length.split_at_checked(length)?;
        let whole = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        Some((tag, content, whole))
    }

    /// The content of the next value, which must have this tag.
    pub(crate) fn value(&mut self, expected: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, ..)| *tag == expected).map(|(_, content, _)| content)
    }

    /// The whole next value, which must have this tag.
    pub(crate) fn element(&mut self, expected: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, ..)| *tag == expected).map(|(.., whole)| whole)
    }

    /// Passes over the next value if it has this tag.
    pub(crate) fn skip_optional(&mut self, tag: u8) {
        if self.rest.first() == Some(&tag) {
            self.next();
        }
    }

    /// A positive integer, big-endian, without the sign octet.
    pub(crate) fn positive(&mut self) -> Option<&'a [u8]> {
        match self.value(INTEGER)? {
            [0, rest @ ..] => (rest.first()? & 0x80 != 0).then_some(rest),
            bytes @ [first, ..] => (first & 0x80 == 0).then_some(bytes),
            [] => None,
        }
    }

    /// The octets of a bit string without unused bits.
    pub(crate) fn bits(&mut self) -> Option<&'a [u8]> {
        match self.value(BIT_STRING)? {
            [0, rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

/// The content of the one value that `bytes` are.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let content = reader.value(tag)?;
    reader.is_empty().then_some(content)
}

/// One value: tag, length, the parts one after the other.
pub(crate) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length + 6);
    bytes.push(tag);
    let octets = length.to_be_bytes();
    let significant = octets.iter().position(|octet| *octet != 0).map_or(&octets[..0], |at| &octets[at..]);
    if length < 0x80 {
        bytes.extend_from_slice(if length == 0 { &[0] } else { significant });
    } else {
        bytes.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
        bytes.extend_from_slice(significant);
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// A positive integer from big-endian octets.
pub(crate) fn write_positive(octets: &[u8]) -> Vec<u8> {
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len());
    let octets = &octets[start..];
    match octets.first() {
        None => write(INTEGER, &[&[0]]),
        Some(first) if first & 0x80 != 0 => write(INTEGER, &[&[0], octets]),
        Some(_) => write(INTEGER, &[octets]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for length in [0, 1, 127, 128, 255, 256, 300, 65_535] {
            let content = vec![7; length];
            assert_eq!(only(&write(SEQUENCE, &[&content]), SEQUENCE), Some(&content[..]), "{length}");
        }
        assert_eq!(write_positive(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(write_positive(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(Reader::new(&[2, 2, 0, 0x80]).positive(), Some(&[0x80][..]));
    }

    #[test]
    fn what_is_not_der_is_refused() {
        // Long form where the short would do, an indefinite length, a length beyond the end, trailing bytes.
        for bytes in [&[0x30, 0x81, 1, 0][..], &[0x30, 0x82, 0, 1, 0], &[0x30, 0x80, 0, 0], &[0x30, 2, 0]] {
            assert_eq!(Reader::new(bytes).value(SEQUENCE), None);
        }
        assert_eq!(only(&[0x30, 0, 0], SEQUENCE), None);
        // A needless sign octet, a negative number, nothing.
        for bytes in [&[2, 2, 0, 1][..], &[2, 1, 0x80], &[2, 0], &[2, 1, 0]] {
            assert_eq!(Reader::new(bytes).positive(), None);
        }
    }
}
