//! The envelope of an event (CloudEvents 1.0, with Auth0's extension attributes), and how events are named.

use curfew_model::Timestamp;
use curfew_store::deliveries::DeliveryId;
use curfew_tokens::digest::sha256;
use serde_json::{Value, json};
use url::Url;

use crate::TenantConfig;

/// Characters of an id after its prefix.
pub(crate) const ID_LENGTH: usize = 22;

/// Why an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Something happened.
    News,
    /// Somebody wants to see whether it arrives.
    Test,
}

/// An event before it is known which stream is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// `evt_…`. Every stream is told of the same event under the same id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// When it happened.
    pub at: Timestamp,
    /// What it is about.
    pub data: Value,
    /// Why it is sent.
    pub purpose: Purpose,
}

impl Event {
    /// As a stream is told of it.
    pub(crate) fn body(&self, config: &TenantConfig, issuer: &str, stream_id: &str) -> String {
        let mut body = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": source(issuer),
            "type": self.event_type,
            "time": self.at.iso(),
            "data": self.data,
            "a0tenant": config.name,
            "a0stream": stream_id,
        });
        if self.purpose == Purpose::Test
            && let Value::Object(body) = &mut body
        {
            body.insert("a0purpose".to_owned(), json!("test"));
        }
        body.to_string()
    }
}

/// Names the tenant by its host.
fn source(issuer: &str) -> String {
    let host = Url::parse(issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
    format!("urn:auth0:{}", host.unwrap_or_default())
}

/// The id of the event that tells of something with a key of its own: whoever works out anew whom to tell of it comes to
/// the same.
pub(crate) fn id_of(event_type: &str, key: &[u8]) -> String {
    let mut named = event_type.as_bytes().to_vec();
    named.push(0);
    named.extend_from_slice(key);
    id_from(first_half(&sha256(&named)))
}

/// `evt_` and 22 characters of `[0-9A-Za-z]`.
pub(crate) fn id_from(bytes: [u8; 16]) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = u128::from_be_bytes(bytes);
    let mut digits = [b'0'; ID_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = *ALPHABET.get(usize::try_from(number % 62).unwrap_or_default()).unwrap_or(&b'0');
        number /= 62;
    }
    format!("evt_{}", String::from_utf8_lossy(&digits))
}

/// One stream is told of one event once: both decide the key.
pub(crate) fn delivery_id(stream_id: &str, event_id: &str) -> DeliveryId {
    let mut told = b"event".to_vec();
    for part in [stream_id.as_bytes(), event_id.as_bytes()] {
        told.extend_from_slice(&(part.len() as u64).to_be_bytes());
        told.extend_from_slice(part);
    }
    first_half(&sha256(&told))
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_of_one_length() {
        let ids = [
            id_from([0; 16]),
            id_from([0xff; 16]),
            id_of("user.created", b"1"),
            id_of("user.updated", b"1"),
            id_of("user.created", b"2"),
        ];
        for (index, id) in ids.iter().enumerate() {
            let digits = id.strip_prefix("evt_").expect("the prefix");
            assert_eq!(digits.len(), ID_LENGTH, "{id}");
            assert!(digits.bytes().all(|b| b.is_ascii_alphanumeric()), "{id}");
            assert!(!ids[..index].contains(id), "{id}");
        }
        assert_eq!(ids[2], id_of("user.created", b"1"), "the same thing has the same id");
    }

    #[test]
    fn a_delivery_belongs_to_one_event_of_one_stream() {
        assert_eq!(delivery_id("est_a", "evt_b"), delivery_id("est_a", "evt_b"));
        assert_ne!(delivery_id("est_a", "evt_b"), delivery_id("est_a", "evt_c"));
        assert_ne!(delivery_id("est_a", "evt_b"), delivery_id("est_ae", "vt_b"));
    }

    #[test]
    fn the_source_names_the_host() {
        assert_eq!(source("https://id.example/"), "urn:auth0:id.example");
        assert_eq!(source("http://localhost:8080/"), "urn:auth0:localhost");
    }
}
