//! Signatures over what is posted to webhooks ([Standard Webhooks](https://www.standardwebhooks.com) 1.0, symmetric
//! scheme): HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curfew_model::{Entropy, Secret};

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a new secret. The standard asks for 24 to 64.
const SECRET_LENGTH: usize = 32;

/// The headers that carry a signature.
pub mod headers {
    /// Which message it is, the same in each try.
    pub const ID: &str = "webhook-id";
    /// When it was sent, in Unix seconds; another one in each try.
    pub const TIMESTAMP: &str = "webhook-timestamp";
    /// The signatures, with spaces between them.
    pub const SIGNATURE: &str = "webhook-signature";
}

/// The secret that sender and receiver share.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// A new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let bytes: [u8; SECRET_LENGTH] = entropy.bytes();
        Self(bytes.to_vec())
    }

    /// Reads what [`text`](Self::text) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// As people copy it: `whsec_` and base64.
    pub fn text(&self) -> Secret<String> {
        Secret::new(format!("{PREFIX}{}", STANDARD.encode(&self.0)))
    }

    /// The signature over a message: `v1,` and base64.
    ///
    /// `id` must not contain a full stop, or two messages could be signed alike.
    pub fn sign(&self, id: &str, timestamp_seconds: i64, body: &str) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        for part in [id, ".", &timestamp_seconds.to_string(), ".", body] {
            context.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use curfew_model::SystemEntropy;

    use super::*;

    /// The example that the standard's own libraries are tested with.
    #[test]
    fn the_standards_own_message_has_its_signature() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn whatever_is_signed_changes_the_signature() {
        let (one, other) = (WebhookSecret::generate(&SystemEntropy), WebhookSecret::generate(&SystemEntropy));
        let signature = one.sign("evt_1", 1, "{}");
        for another in [
            other.sign("evt_1", 1, "{}"),
            one.sign("evt_2", 1, "{}"),
            one.sign("evt_1", 2, "{}"),
            one.sign("evt_1", 1, "[]"),
        ] {
            assert_ne!(signature, another);
        }
    }

    #[test]
    fn a_secret_reads_back_and_does_not_print() {
        let secret = WebhookSecret::generate(&SystemEntropy);
        assert_eq!(WebhookSecret::parse(secret.text().expose()).as_ref(), Some(&secret));
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_*", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(WebhookSecret::parse(wrong), None, "{wrong}");
        }
    }
}
