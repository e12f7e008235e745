//! What a test event is about, when whoever asks for it does not say.

use curfew_model::Timestamp;
use serde_json::{Value, json};

/// A sample of the data of an event of a type, as of an instant.
pub(crate) fn data(event_type: &str, at: Timestamp) -> Value {
    let (kind, what) = event_type.rsplit_once('.').unwrap_or((event_type, ""));
    let at = at.iso();
    match kind {
        "user" => {
            let mut object = user(&at);
            if what == "deleted" {
                object["deleted_at"] = json!(at);
            }
            json!({ "object": object })
        }
        "connection" => json!({ "object": {
            "id": "con_0000000000000000",
            "name": "Username-Password-Authentication",
            "strategy": "auth0",
            "realms": ["Username-Password-Authentication"],
            "is_domain_connection": false,
        } }),
        "ending" => json!({ "object": {
            "id": "AAAAAAAAAAAAAAAAAAAAAA",
            "cause": "user_blocked",
            "at": at,
            "user_id": "auth0|000000000000000000000000",
        } }),
        "organization" => json!({ "object": organization() }),
        "group" => json!({ "object": group() }),
        // Who was added to what, or lost what.
        _ => json!({ "object": {
            "organization": organization(),
            "group": group(),
            "user": { "user_id": "auth0|000000000000000000000000" },
            "role": { "id": "rol_0000000000000000", "name": "sample" },
        } }),
    }
}

fn user(at: &str) -> Value {
    json!({
        "user_id": "auth0|000000000000000000000000",
        "email": "ada@example.com",
        "email_verified": true,
        "name": "Ada Lovelace",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "nickname": "ada",
        "blocked": false,
        "identities": [{
            "connection": "Username-Password-Authentication",
            "provider": "auth0",
            "user_id": "000000000000000000000000",
            "isSocial": false,
        }],
        "user_metadata": {},
        "app_metadata": {},
        "created_at": at,
        "updated_at": at,
    })
}

fn organization() -> Value {
    json!({ "id": "org_0000000000000000", "name": "sample", "display_name": "A sample" })
}

fn group() -> Value {
    json!({ "id": "grp_0000000000000000", "name": "sample" })
}

#[cfg(test)]
mod tests {
    use curfew_model::config::EVENT_TYPES;

    use super::*;

    #[test]
    fn every_type_has_a_sample_with_an_object() {
        for event_type in EVENT_TYPES {
            let data = data(event_type, Timestamp::from_seconds(0));
            assert!(data["object"].as_object().is_some_and(|object| !object.is_empty()), "{event_type}");
        }
        assert!(data("user.deleted", Timestamp::from_seconds(0))["object"]["deleted_at"].is_string());
    }
}
