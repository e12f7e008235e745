//! Proof Key for Code Exchange (RFC 7636).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::secret::constant_time_eq;

/// How a challenge came from its verifier (RFC 7636 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `BASE64URL(SHA256(verifier))`.
    S256,
    /// The verifier itself.
    Plain,
}

impl Method {
    /// The value of `code_challenge_method`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S256 => "S256",
            Self::Plain => "plain",
        }
    }

    /// Reads `code_challenge_method`. A request without one means `plain` (RFC 7636 §4.3).
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "S256" => Some(Self::S256),
            "plain" => Some(Self::Plain),
            _ => None,
        }
    }
}

/// Whether `text` may be a verifier or a challenge: 43 to 128 characters of `[A-Za-z0-9-._~]` (RFC 7636 §4.1
/// and §4.2).
pub fn is_well_formed(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// Whether `verifier` is the one behind `challenge` (RFC 7636 §4.6). Compares in constant time; a verifier that
/// is not well formed is refused.
pub fn verify(method: Method, verifier: &str, challenge: &str) -> bool {
    if !is_well_formed(verifier) {
        return false;
    }
    match method {
        Method::S256 => {
            let expected = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            constant_time_eq(expected.as_bytes(), challenge.as_bytes())
        }
        Method::Plain => constant_time_eq(verifier.as_bytes(), challenge.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 Appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn rfc_7636_appendix_b() {
        assert!(verify(Method::S256, VERIFIER, CHALLENGE));
        assert!(!verify(Method::S256, VERIFIER, VERIFIER));
        assert!(verify(Method::Plain, VERIFIER, VERIFIER));
        assert!(!verify(Method::Plain, VERIFIER, CHALLENGE));
        assert!(!verify(Method::S256, &VERIFIER.replace('d', "e"), CHALLENGE));
    }

    #[test]
    fn length_and_alphabet_of_a_verifier() {
        let of = |length| "a".repeat(length);
        for (verifier, ok) in [
            (of(42), false),
            (of(43), true),
            (of(128), true),
            (of(129), false),
            (String::new(), false),
            (of(42) + "~", true),
            (of(42) + "+", false),
            (of(42) + " ", false),
            (of(42) + "é", false),
        ] {
            assert_eq!(is_well_formed(&verifier), ok, "{verifier}");
            assert_eq!(verify(Method::Plain, &verifier, &verifier), ok, "{verifier}");
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        for method in [Method::S256, Method::Plain] {
            assert_eq!(Method::parse(method.as_str()), Some(method));
        }
        assert_eq!(Method::parse("s256"), None);
        assert_eq!(Method::parse(""), None);
    }
}
