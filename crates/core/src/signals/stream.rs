//! What a receiver configures of a stream (SSF §8.1.1), and how a stream is shown to it.

use curfew_model::config::read_doc;
use curfew_model::{Failure, Secret};
use curfew_store::signals::{StreamRow, StreamStatus};
use curfew_tokens::SealKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use super::events::EventType;
use super::{INACTIVE_SECONDS, Refused, VERIFICATION_SECONDS_MIN};
use crate::TenantConfig;
use crate::outbound::Outbound;

/// Push delivery (RFC 8935).
pub const PUSH: &str = "urn:ietf:rfc:8935";
/// Poll delivery (RFC 8936).
pub const POLL: &str = "urn:ietf:rfc:8936";

/// Event types that a receiver may ask for, also ones that are not known here.
const REQUESTED_MAX: usize = 50;
/// Characters of an event type, of an address, of a header.
const TEXT_MAX: usize = 2000;
/// Characters of a description, or of a reason.
pub(super) const DESCRIPTION_MAX: usize = 500;

/// A JSON object.
pub type Document = Map<String, Value>;

/// What a receiver configures, as it is stored; its secret is beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamDoc {
    pub(super) delivery: Delivery,
    /// In the order in which they were asked for.
    pub(super) events_requested: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) default_subjects: DefaultSubjects,
}

/// How events come to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub(super) enum Delivery {
    Push { endpoint_url: String },
    Poll,
}

/// Whom a stream is about that nobody has added or removed. The framework knows it of a transmitter alone; a receiver may say
/// it of its own stream here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum DefaultSubjects {
    #[default]
    #[serde(rename = "ALL")]
    All,
    #[serde(rename = "NONE")]
    None,
}

/// A stream.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) row: StreamRow,
    pub(super) doc: StreamDoc,
}

impl Stream {
    pub(super) fn read(row: StreamRow) -> Result<Self, Failure> {
        let doc = read_doc("signal_streams", &row.id, &row.doc)?;
        Ok(Self { row, doc })
    }

    /// Whether its receiver is told of an event.
    pub(super) fn delivers(&self, event: EventType) -> bool {
        self.doc.events_requested.iter().any(|requested| requested == event.uri())
    }

    /// Whether what is written for it waits until somebody asks.
    pub(super) fn holds(&self) -> bool {
        self.polls() || self.row.status != StreamStatus::Enabled
    }

    /// Whether its receiver fetches what waits.
    pub(super) fn polls(&self) -> bool {
        self.doc.delivery == Delivery::Poll
    }
}

/// What its endpoint wants to find in `Authorization`.
pub(super) fn authorization(
    row: &StreamRow,
    config: &TenantConfig,
) -> Result<Option<Secret<String>>, Failure> {
    let broken = || Failure::Inconsistent {
        table: "signal_streams",
        column: "authorization_header",
        id: row.id.clone(),
    };
    let Some(sealed) = &row.authorization else { return Ok(None) };
    let opened = config.sealing.unseal(SealKind::ReceiverAuthorization, config.tenant, sealed.expose());
    let plaintext = opened.map_err(|_| broken())?.plaintext;
    String::from_utf8(plaintext).map(|text| Some(Secret::new(text))).map_err(|_| broken())
}

/// What a receiver may write of a stream. A member that is absent was not sent, or sent as `null`.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) delivery: Option<(Delivery, Option<Secret<String>>)>,
    pub(super) events_requested: Option<Vec<String>>,
    pub(super) description: Option<String>,
    pub(super) default_subjects: Option<DefaultSubjects>,
    /// Members that were sent as `null`, which unsets them.
    unset: Vec<&'static str>,
}

const RECEIVER_SUPPLIED: [&str; 4] = ["delivery", "events_requested", "description", "default_subjects"];

impl Wanted {
    /// Reads and checks what a receiver supplies. Whatever else there is in `body` is not looked at.
    pub(super) fn read(body: &Document, outbound: &dyn Outbound) -> Result<Self, Refused> {
        let mut wanted = Self::default();
        for name in RECEIVER_SUPPLIED {
            match (name, body.get(name)) {
                (_, None) => {}
                (_, Some(Value::Null)) => wanted.unset.push(name),
                ("delivery", Some(value)) => wanted.delivery = Some(read_delivery(value, outbound)?),
                ("events_requested", Some(value)) => wanted.events_requested = Some(read_requested(value)?),
                ("description", Some(value)) => {
                    wanted.description = Some(text("description", value, DESCRIPTION_MAX)?);
                }
                (_, Some(value)) => {
                    let default = serde_json::from_value(value.clone());
                    wanted.default_subjects =
                        Some(default.map_err(|_| invalid("default_subjects is ALL or NONE"))?);
                }
            }
        }
        Ok(wanted)
    }

    /// What it is for a new stream, or one that is replaced: what was not sent is its default.
    pub(super) fn whole(self) -> (StreamDoc, Option<Secret<String>>) {
        let (delivery, authorization) = self.delivery.unwrap_or((Delivery::Poll, None));
        let doc = StreamDoc {
            delivery,
            events_requested: self.events_requested.unwrap_or_default(),
            description: self.description,
            default_subjects: self.default_subjects.unwrap_or_default(),
        };
        (doc, authorization)
    }

    /// Puts it over what is there. Answers the secret when it is another one, or none any more.
    pub(super) fn over(self, doc: &mut StreamDoc) -> Option<Option<Secret<String>>> {
        let unset = |name: &str| self.unset.contains(&name);
        if unset("description") {
            doc.description = None;
        }
        if unset("events_requested") {
            doc.events_requested.clear();
        }
        if unset("default_subjects") {
            doc.default_subjects = DefaultSubjects::default();
        }
        let replaced = if unset("delivery") { Some((Delivery::Poll, None)) } else { self.delivery };
        doc.description = self.description.or(doc.description.take());
        if let Some(requested) = self.events_requested {
            doc.events_requested = requested;
        }
        doc.default_subjects = self.default_subjects.unwrap_or(doc.default_subjects);
        let (delivery, authorization) = replaced?;
        doc.delivery = delivery;
        Some(authorization)
    }
}

fn invalid(text: impl Into<String>) -> Refused {
    Refused::Invalid(text.into())
}

/// A text of at most `max` characters.
pub(super) fn text(name: &str, value: &Value, max: usize) -> Result<String, Refused> {
    let fits = |text: &&str| text.chars().count() <= max && !text.contains('\0');
    let text = value.as_str().filter(fits);
    text.map(str::to_owned).ok_or_else(|| invalid(format!("{name} is a text of at most {max} characters")))
}

fn read_requested(value: &Value) -> Result<Vec<String>, Refused> {
    let list = value.as_array().filter(|list| list.len() <= REQUESTED_MAX);
    let list = list.ok_or_else(|| invalid(format!("events_requested lists at most {REQUESTED_MAX} URIs")))?;
    list.iter().map(|entry| text("each of events_requested", entry, DESCRIPTION_MAX)).collect()
}

fn read_delivery(
    value: &Value,
    outbound: &dyn Outbound,
) -> Result<(Delivery, Option<Secret<String>>), Refused> {
    let members = value.as_object().ok_or_else(|| invalid("delivery is no object"))?;
    let member = |name: &str| members.get(name).filter(|value| !value.is_null());
    match member("method").and_then(Value::as_str) {
        Some(POLL) => Ok((Delivery::Poll, None)),
        Some(PUSH) => {
            let url = member("endpoint_url").ok_or_else(|| invalid("delivery.endpoint_url is missing"))?;
            let endpoint_url = text("delivery.endpoint_url", url, TEXT_MAX)?;
            let parsed = Url::parse(&endpoint_url)
                .map_err(|_| invalid("delivery.endpoint_url is not an absolute URL"))?;
            if parsed.fragment().is_some() {
                return Err(invalid("delivery.endpoint_url has a fragment"));
            }
            outbound
                .admits(&parsed)
                .map_err(|problem| invalid(format!("delivery.endpoint_url: {problem}")))?;
            let authorization = match member("authorization_header") {
                None => None,
                Some(value) => Some(read_header(value)?),
            };
            Ok((Delivery::Push { endpoint_url }, authorization))
        }
        _ => Err(invalid(format!("delivery.method is {PUSH} or {POLL}"))),
    }
}

/// What can stand in a header (RFC 9110 §5.5), and is ASCII.
fn read_header(value: &Value) -> Result<Secret<String>, Refused> {
    let header = text("delivery.authorization_header", value, TEXT_MAX)?;
    let inner = header.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if header.is_empty() || !inner || header.trim() != header {
        return Err(invalid("delivery.authorization_header cannot stand in a header"));
    }
    Ok(Secret::new(header))
}

/// The stream as its receiver sees it. `secret` is what its endpoint wants in `Authorization`, for those who may see it.
pub(super) fn view(stream: &Stream, secret: Option<&Secret<String>>) -> Document {
    let Stream { row, doc } = stream;
    let supported: Vec<&str> = EventType::ALL.iter().map(|event| event.uri()).collect();
    let delivered: Vec<&str> =
        EventType::ALL.iter().filter(|event| stream.delivers(**event)).map(|event| event.uri()).collect();
    let mut delivery = Map::new();
    match &doc.delivery {
        Delivery::Push { endpoint_url } => {
            delivery.insert("method".to_owned(), json!(PUSH));
            delivery.insert("endpoint_url".to_owned(), json!(endpoint_url));
            if let Some(secret) = secret {
                delivery.insert("authorization_header".to_owned(), json!(secret.expose()));
            }
        }
        Delivery::Poll => {
            delivery.insert("method".to_owned(), json!(POLL));
            delivery.insert("endpoint_url".to_owned(), json!(format!("{}ssf/poll/{}", row.issuer, row.id)));
        }
    }
    let mut shown = Document::new();
    for (name, value) in [
        ("stream_id", json!(row.id)),
        ("iss", json!(row.issuer)),
        ("aud", json!(row.client_id)),
        ("delivery", Value::Object(delivery)),
        ("events_supported", json!(supported)),
        ("events_requested", json!(doc.events_requested)),
        ("events_delivered", json!(delivered)),
        ("min_verification_interval", json!(VERIFICATION_SECONDS_MIN)),
        ("default_subjects", json!(doc.default_subjects)),
        ("description", json!(doc.description)),
        ("inactivity_timeout", json!(stream.polls().then_some(INACTIVE_SECONDS))),
    ] {
        if !value.is_null() {
            shown.insert(name.to_owned(), value);
        }
    }
    shown
}

/// What the transmitter supplies must be as it is, where a receiver sends it back (SSF §8.1.1.3 and §8.1.1.4).
pub(super) fn check_supplied(stream: &Stream, body: &Document) -> Result<(), Refused> {
    let shown = view(stream, None);
    for name in [
        "iss",
        "aud",
        "events_supported",
        "events_delivered",
        "min_verification_interval",
        "inactivity_timeout",
    ] {
        let Some(sent) = body.get(name) else { continue };
        let same = match (sent, shown.get(name)) {
            (Value::Array(sent), Some(Value::Array(own))) => {
                sent.len() == own.len() && sent.iter().all(|entry| own.contains(entry))
            }
            (Value::Array(sent), Some(own)) => sent.len() == 1 && sent.first() == Some(own),
            (sent, own) => Some(sent) == own,
        };
        if !same {
            return Err(invalid(format!("{name} is not what the transmitter supplies")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use curfew_model::{ClientId, Timestamp};

    use super::*;
    use crate::outbound::Closed;

    fn object(value: Value) -> Document {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn read(body: Value) -> Result<Wanted, Refused> {
        Wanted::read(&object(body), &Closed)
    }

    fn push(more: Value) -> Value {
        let mut delivery = object(json!({"method": PUSH, "endpoint_url": "https://rx.example/events"}));
        delivery.extend(object(more));
        json!({ "delivery": delivery })
    }

    fn stream(doc: StreamDoc) -> Stream {
        let row = StreamRow {
            id: "one".into(),
            client_id: ClientId("receiver".into()),
            issuer: "https://id.example/".into(),
            doc: String::new(),
            authorization: None,
            status: StreamStatus::Enabled,
            reason: None,
            subjects: 0,
            updated_at: Timestamp::default(),
            active_at: Timestamp::default(),
        };
        Stream { row, doc }
    }

    #[test]
    fn what_is_not_said_is_polled_for_nothing_about_everybody() {
        let (doc, secret) = read(json!({})).unwrap().whole();
        assert_eq!(secret.map(|_| ()), None);
        let shown = Value::Object(view(&stream(doc), None));
        assert_eq!(
            shown["delivery"],
            json!({"method": POLL, "endpoint_url": "https://id.example/ssf/poll/one"})
        );
        assert_eq!((&shown["events_delivered"], &shown["default_subjects"]), (&json!([]), &json!("ALL")));
        assert_eq!(shown["inactivity_timeout"], INACTIVE_SECONDS);
    }

    #[test]
    fn only_what_is_known_is_delivered() {
        let (known, unknown) = (EventType::AccountPurged.uri(), "urn:example:events:unknown");
        let (doc, _) = read(json!({"events_requested": [unknown, known]})).unwrap().whole();
        let shown = Value::Object(view(&stream(doc), None));
        assert_eq!(shown["events_requested"], json!([unknown, known]));
        assert_eq!(shown["events_delivered"], json!([known]));
    }

    #[test]
    fn an_update_leaves_what_it_does_not_name_and_null_unsets() {
        let (mut doc, _) =
            read(json!({"description": "a", "events_requested": ["x"], "default_subjects": "NONE"}))
                .unwrap()
                .whole();
        assert!(read(json!({"description": "b"})).unwrap().over(&mut doc).is_none());
        assert_eq!((doc.description.as_deref(), doc.events_requested.len()), (Some("b"), 1));
        assert_eq!(doc.default_subjects, DefaultSubjects::None);
        let secret = read(push(json!({"authorization_header": "Bearer x"}))).unwrap().over(&mut doc);
        assert_eq!(secret.flatten().map(|secret| secret.expose().clone()).as_deref(), Some("Bearer x"));
        let nothing = json!({"description": null, "events_requested": null, "default_subjects": null});
        assert!(read(nothing).unwrap().over(&mut doc).is_none());
        assert_eq!((doc.description, doc.events_requested.len()), (None, 0));
        assert_eq!(doc.default_subjects, DefaultSubjects::All);
    }

    #[test]
    fn a_configuration_is_bounded_and_makes_sense() {
        let long = "x".repeat(DESCRIPTION_MAX + 1);
        for wrong in [
            json!({"delivery": 1}),
            json!({"delivery": {"method": "urn:other"}}),
            json!({"delivery": {"method": PUSH}}),
            json!({"delivery": {"method": PUSH, "endpoint_url": "rx"}}),
            json!({"delivery": {"method": PUSH, "endpoint_url": "http://rx.example/"}}),
            json!({"delivery": {"method": PUSH, "endpoint_url": "https://rx.example/#x"}}),
            push(json!({"authorization_header": "a\r\nX: b"})),
            push(json!({"authorization_header": ""})),
            push(json!({"authorization_header": " a"})),
            json!({"events_requested": "x"}),
            json!({"events_requested": [1]}),
            json!({"events_requested": vec!["x"; REQUESTED_MAX + 1]}),
            json!({"description": long}),
            json!({"description": "a\0"}),
            json!({"default_subjects": "SOME"}),
        ] {
            assert!(matches!(read(wrong.clone()), Err(Refused::Invalid(_))), "{wrong}");
        }
    }

    #[test]
    fn what_the_transmitter_supplies_is_not_the_receivers_to_change() {
        let (doc, _) = read(json!({"events_requested": [EventType::AccountPurged.uri()]})).unwrap().whole();
        let stream = stream(doc);
        let mut shown = view(&stream, None);
        assert_eq!(check_supplied(&stream, &shown), Ok(()));
        shown.insert("aud".into(), json!(["receiver"]));
        assert_eq!(check_supplied(&stream, &shown), Ok(()), "one audience is a list of one");
        for (name, other) in [
            ("iss", json!("https://other.example/")),
            ("aud", json!("other")),
            ("aud", json!(["receiver", "other"])),
            ("events_delivered", json!([])),
            ("min_verification_interval", json!(1)),
        ] {
            let sent = object(json!({ name: other }));
            assert!(check_supplied(&stream, &sent).is_err(), "{name}");
        }
    }
}
