//! What came of the tries of a delivery, as it is remembered and shown.

use curfew_model::{Failure, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Tries that are remembered of one delivery, the newest of them. A day of growing pauses has fewer.
const REMEMBERED_MAX: usize = 50;

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Try {
    /// When it began, in microseconds.
    pub at: i64,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// Why it confirmed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Try {
    /// As the Management API answers it.
    pub(crate) fn view(&self) -> Value {
        let mut doc = Map::new();
        let status = if self.error.is_some() { "failed" } else { "delivered" };
        doc.insert("status".to_owned(), json!(status));
        doc.insert("timestamp".to_owned(), json!(Timestamp::from_micros(self.at).iso()));
        if let Some(error) = &self.error {
            doc.insert("error_message".to_owned(), json!(error));
        }
        doc.insert("duration".to_owned(), json!(self.ms));
        Value::Object(doc)
    }
}

/// Reads the tries of a delivery.
pub(crate) fn read(text: Option<&str>) -> Result<Vec<Try>, Failure> {
    match text {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(text).map_err(|error| Failure::Inconsistent {
            table: "deliveries",
            column: "tries",
            id: error.to_string(),
        }),
    }
}

/// The tries with one more, as they are stored.
pub(crate) fn with(text: Option<&str>, one: Try) -> Result<String, Failure> {
    let mut tries = read(text)?;
    tries.push(one);
    let superfluous = tries.len().saturating_sub(REMEMBERED_MAX);
    tries.drain(..superfluous);
    serde_json::to_string(&tries)
        .map_err(|error| Failure::Internal(format!("tries are not JSON: {error}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_tries_are_remembered() {
        let mut text = None;
        for at in 0..60 {
            text = Some(with(text.as_deref(), Try { at, ms: 1, error: None }).expect("JSON"));
        }
        let tries = read(text.as_deref()).expect("JSON");
        assert_eq!((tries.len(), tries[0].at, tries[49].at), (50, 10, 59));
    }

    #[test]
    fn a_try_says_what_came_of_it() {
        let failed = Try { at: 1_767_225_600_000_000, ms: 12, error: Some("no answer in time".to_owned()) };
        assert_eq!(
            failed.view(),
            json!({"status": "failed", "timestamp": "2026-01-01T00:00:00.000Z",
                "error_message": "no answer in time", "duration": 12})
        );
        let delivered = Try { error: None, ..failed };
        assert_eq!(delivered.view()["status"], "delivered");
        assert_eq!(delivered.view().get("error_message"), None);
    }
}
