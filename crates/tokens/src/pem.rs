//! PEM texts (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The first PEM block in `text`: its label and its bytes. Text before and after is passed over; line ends and
/// their places do not matter.
pub(crate) fn decode(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, after_begin) = text.split_once("-----BEGIN ")?;
    let (label, body) = after_begin.split_once("-----")?;
    let (body, after_end) = body.split_once("-----END ")?;
    if !after_end.strip_prefix(label)?.starts_with("-----") {
        return None;
    }
    let compact: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    Some((label, STANDARD.decode(compact).ok()?))
}

/// One PEM block in lines of 64 characters, with a line feed at its end.
#[cfg(feature = "issuing")]
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // The body is ASCII, so every index is a character's.
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_read_back_whatever_their_line_ends() {
        for length in [0, 1, 47, 48, 49, 500] {
            let der = vec![0xa5; length];
            let text = encode("CERTIFICATE", &der);
            assert_eq!(decode(&text), Some(("CERTIFICATE", der.clone())));
            assert_eq!(
                decode(&format!("a comment\n{}", text.replace('\n', "\r\n"))),
                Some(("CERTIFICATE", der))
            );
        }
        assert!(encode("X", &[0; 100]).lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn half_a_block_is_no_block() {
        for text in [
            "",
            "-----BEGIN ",
            "-----BEGIN X-----",
            "-----BEGIN X-----AAAA-----END Y-----",
            "-----BEGIN X-----AAAA-----END X",
            "-----BEGIN X-----A-----END X-----",
            "-----BEGIN X-----é-----END X-----",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
