//! `session_state` (OIDC Session Management §3): by it the frame of [`pages::CheckSessionPage`](crate::pages::CheckSessionPage)
//! tells an application, without asking the server, whether who is logged in in this browser has changed.
//!
//! The browser's state is a cookie that scripts can read: a hash of the session cookie, which they cannot. It opens
//! nothing, and it comes and goes with the session cookie.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::Entropy;
use curfew_tokens::digest::sha256;

/// The browser's state (§3.2) while it has this session cookie. The cookie's value is sealed under a key and holds a secret
/// of 128 bits: nobody finds it by its hash.
pub fn browser_state(session_cookie: &str) -> String {
    let label = format!("curfew browser state v1|{session_cookie}");
    URL_SAFE_NO_PAD.encode(sha256(label.as_bytes()))
}

/// A `session_state` for a client at an origin. Without a session cookie the browser's state is empty.
pub fn session_state(entropy: &dyn Entropy, client_id: &str, origin: &str, browser_state: &str) -> String {
    let salt = entropy.alphanumeric(16);
    // The script of the page computes the same.
    let text = format!("{client_id} {origin} {browser_state} {salt}");
    format!("{}.{salt}", URL_SAFE_NO_PAD.encode(sha256(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use curfew_model::SystemEntropy;

    use super::*;

    #[test]
    fn it_depends_on_everything_and_says_nothing() {
        let salt = "abcdefghijklmnop";
        #[derive(Debug)]
        struct Same;
        impl Entropy for Same {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.iter_mut().zip(26..42).for_each(|(byte, value)| *byte = value);
            }
        }
        let state = browser_state("sealed");
        let first = session_state(&Same, "client", "https://app.example", &state);
        assert!(first.ends_with(&format!(".{salt}")), "{first}");
        assert!(!first.contains([' ', '\'']) && !first.contains("client"), "{first}");
        for (client, origin, state) in [
            ("other", "https://app.example", state.as_str()),
            ("client", "https://app.example:8443", state.as_str()),
            ("client", "https://app.example", ""),
        ] {
            assert_ne!(session_state(&Same, client, origin, state), first);
        }
        assert_ne!(session_state(&SystemEntropy, "client", "https://app.example", &state), first, "the salt");
        assert!(!state.contains("sealed") && browser_state("another") != state);
    }
}
