//! Event streams: what they are told, and where.

use curfew_model::config::EventStreamDoc;
use curfew_model::{Ctx, Failure, Secret, TenantId};
use curfew_store::deliveries::{self, ReceiverId};
use curfew_store::event_streams::{self as rows, EventStreamRow, STREAMS_MAX, Secrets};
use curfew_store::{Lane, tenants};
use curfew_tokens::webhook::{WebhookSecret, headers};
use serde_json::{Value, json};
use url::Url;

use super::page::{Collector, Page, Window, scan};
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, drop_nulls, granted, merge, readable, stored, text};
use crate::Core;
use crate::deliveries::TRIED_SECONDS;
use crate::event_streams::event::ID_LENGTH;
use crate::event_streams::secrets;
use crate::outbound::Outbound;

/// How long messages are signed with the secret before the last one as well.
const OVERLAP_SECONDS: i64 = 86_400;
/// Longest address.
const ENDPOINT_LENGTH_MAX: usize = 2000;
/// Longest user name, password, token, name or value of a header.
const AUTHORIZATION_LENGTH_MAX: usize = 4096;

const ENDPOINT: &str = "destination.configuration.webhook_endpoint";
const AUTHORIZATION: &str = "destination.configuration.webhook_authorization";

/// The stream as the API answers it: its secrets are never in it.
fn view(row: &EventStreamRow) -> Result<Document, Failure> {
    let mut doc = stored("event_streams", &row.stream_id, &row.doc)?;
    doc.insert("id".into(), json!(row.stream_id));
    doc.insert("created_at".into(), json!(row.created_at.iso()));
    doc.insert("updated_at".into(), json!(row.updated_at.iso()));
    Ok(doc)
}

/// As [`view`], once, when the signing secret is new.
fn view_with_secret(row: &EventStreamRow, secret: &WebhookSecret) -> Result<Document, Failure> {
    let mut doc = view(row)?;
    doc.insert("signing_secret".into(), json!(secret.text().expose()));
    Ok(doc)
}

fn is_enabled(doc: &Document) -> bool {
    doc.get("status").and_then(Value::as_str) == Some("enabled")
}

/// `POST /event-streams`. The answer has the secret that messages are signed with, which is never answered again.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    drop_nulls(&mut doc);
    // As Auth0 makes them: who made one says when it begins.
    doc.entry("status").or_insert(json!("disabled"));
    doc.entry("subscriptions").or_insert(json!([]));
    let secret = granted!(take_secret(&mut doc, &*core.outbound));
    let Some(secret) = secret else { return Ok(Err(missing_secret(&doc))) };
    granted!(check(&doc));
    let signing = WebhookSecret::generate(&*ctx.entropy);
    let row = EventStreamRow {
        stream_id: format!("est_{}", ctx.entropy.alphanumeric(ID_LENGTH)),
        doc: text(&doc)?,
        enabled: is_enabled(&doc),
        secrets: Secrets {
            signing: secrets::seal(&config, ctx, &signing.text()),
            previous: None,
            authorization: secrets::seal(&config, ctx, &secret),
        },
        created_at: ctx.now,
        updated_at: ctx.now,
    };
    let answer = view_with_secret(&row, &signing)?;
    let created = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, row), |tx, (ctx, write, row)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                if !rows::insert(tx, ctx, row).await? {
                    return Ok(Err(Refused::not_supported(format!(
                        "A tenant has at most {STREAMS_MAX} event streams"
                    ))));
                }
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await?;
    granted!(created);
    Ok(Ok(answer))
}

/// `GET /event-streams/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: String) -> Outcome<Document> {
    Ok(Ok(view(&granted!(find(core, ctx, id).await?))?))
}

/// A stream, or the refusal that there is none.
pub(super) async fn find(core: &Core, ctx: &Ctx, id: String) -> Outcome<EventStreamRow> {
    let found =
        core.store.read((ctx.tenant, id), |tx, (tenant, id)| Box::pin(rows::find(tx, *tenant, id))).await?;
    Ok(found.ok_or(Refused::Inexistent(Entity::EventStream)))
}

/// `GET /event-streams`.
pub async fn list(core: &Core, ctx: &Ctx, window: Window) -> Result<Page, Failure> {
    core.store
        .read_long((ctx.tenant, window), |tx, args| {
            Box::pin(async move {
                let (tenant, window): &(TenantId, Window) = args;
                let mut collector = Collector::new(window);
                scan!(tx, *tenant, rows::list, window, stream_id, |row, position| collector
                    .push(position, || view(&row))?);
                Ok(collector.finish())
            })
        })
        .await
}

/// `PATCH /event-streams/{id}`. A destination is replaced as a whole; what is secret of it may be left out as long as
/// it is sent to the same place in the same way.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    mut sent: Document,
) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let secret = if sent.contains_key("destination") {
        granted!(take_secret(&mut sent, &*core.outbound))
    } else {
        None
    };
    let secret = secret.map(|secret| secrets::seal(&config, ctx, &secret));
    let updated = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, id, sent, secret), |tx, args| {
            Box::pin(async move {
                let (ctx, write, id, sent, secret) = args;
                tenants::touch(tx, ctx.tenant).await?;
                let Some(mut row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::EventStream)));
                };
                let mut doc = stored("event_streams", &row.stream_id, &row.doc)?;
                let moved = sent.get("destination").is_some_and(|new| doc.get("destination") != Some(new));
                match secret {
                    Some(secret) => row.secrets.authorization = secret.clone(),
                    None if moved && !is_same_place(&doc, sent) => return Ok(Err(missing_secret(sent))),
                    None => {}
                }
                merge(&mut doc, sent.clone());
                granted!(check(&doc));
                row.doc = text(&doc)?;
                row.enabled = is_enabled(&doc);
                row.updated_at = ctx.now;
                rows::update(tx, ctx, &row).await?;
                if row.enabled && (moved || secret.is_some()) {
                    // What could not be delivered as it was configured may be delivered now.
                    let times = (ctx.now, ctx.now.plus_seconds(TRIED_SECONDS));
                    deliveries::release(tx, ctx.tenant, &ReceiverId(row.stream_id.clone()), times).await?;
                }
                write.log(tx, ctx).await?;
                Ok(Ok(row))
            })
        })
        .await?;
    Ok(Ok(view(&granted!(updated))?))
}

/// `POST /event-streams/{id}/rotate-secret`: a new signing secret. Messages are signed with the one before as well, for
/// a day.
pub async fn rotate_secret(core: &Core, ctx: &Ctx, write: Write, id: String) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let signing = WebhookSecret::generate(&*ctx.entropy);
    let sealed = secrets::seal(&config, ctx, &signing.text());
    let rotated = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, id, sealed), |tx, (ctx, write, id, sealed)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                let Some(mut row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::EventStream)));
                };
                let previous = std::mem::replace(&mut row.secrets.signing, sealed.clone());
                row.secrets.previous = Some((previous, ctx.now.plus_seconds(OVERLAP_SECONDS)));
                row.updated_at = ctx.now;
                rows::set_secrets(tx, ctx.tenant, id, &row.secrets).await?;
                rows::update(tx, ctx, &row).await?;
                write.log(tx, ctx).await?;
                Ok(Ok(row))
            })
        })
        .await?;
    Ok(Ok(view_with_secret(&granted!(rotated), &signing)?))
}

/// `DELETE /event-streams/{id}`, also of one that is not there. What waits for it is not sent any more.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: String) -> Result<(), Failure> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                if rows::delete(tx, ctx.tenant, id).await? {
                    let receiver = ReceiverId(id.clone());
                    let why = (ctx.now, "the event stream was deleted");
                    deliveries::cancel(tx, ctx.tenant, &receiver, why).await?;
                }
                write.log(tx, ctx).await
            })
        })
        .await
}

/// The rules that hold between fields, whatever was sent.
fn check(doc: &Document) -> Result<(), Refused> {
    readable::<EventStreamDoc>(doc)?;
    let subscriptions = doc.get("subscriptions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, subscription) in subscriptions.iter().enumerate() {
        if subscriptions.iter().take(index).any(|other| other == subscription) {
            return Err(Refused::property("Duplicate event type", &format!("subscriptions[{index}]")));
        }
    }
    Ok(())
}

/// Checks the destination, and takes what is secret of it out.
fn take_secret(doc: &mut Document, outbound: &dyn Outbound) -> Result<Option<Secret<String>>, Refused> {
    let Some(Value::Object(destination)) = doc.get_mut("destination") else {
        return Err(Refused::property("Expected type object", "destination"));
    };
    match destination.get("type").and_then(Value::as_str) {
        Some("webhook") => {}
        Some("action") => {
            return Err(Refused::not_supported("Destinations of type action are not supported: use webhook"));
        }
        _ => {
            let message = "Destinations of type eventbridge are not supported: use webhook";
            return Err(Refused::not_supported(message));
        }
    }
    let Some(Value::Object(configuration)) = destination.get_mut("configuration") else {
        return Err(Refused::property("Expected type object", "destination.configuration"));
    };
    if let Some(other) = configuration
        .keys()
        .find(|name| !["webhook_endpoint", "webhook_authorization"].contains(&name.as_str()))
    {
        let what = format!("Additional properties not allowed: {other}");
        return Err(Refused::property(&what, "destination.configuration"));
    }
    let endpoint = configuration.get("webhook_endpoint").and_then(Value::as_str);
    check_endpoint(endpoint.ok_or_else(|| Refused::property("Expected type string", ENDPOINT))?, outbound)?;
    match configuration.get_mut("webhook_authorization") {
        Some(Value::Object(authorization)) => take_authorization(authorization),
        _ => Err(Refused::property("Expected type object", AUTHORIZATION)),
    }
}

/// Where events go must be reachable, as far as that can be told: an address that is refused at each try helps nobody.
fn check_endpoint(text: &str, outbound: &dyn Outbound) -> Result<(), Refused> {
    if text.len() > ENDPOINT_LENGTH_MAX {
        return Err(Refused::property("String is too long", ENDPOINT));
    }
    let url = Url::parse(text).map_err(|_| Refused::property("Not an absolute URL", ENDPOINT))?;
    if url.fragment().is_some() {
        return Err(Refused::property("Must not have a fragment", ENDPOINT));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::property("Must not have credentials: use webhook_authorization", ENDPOINT));
    }
    outbound.admits(&url).map_err(|problem| Refused::property(&problem, ENDPOINT))
}

/// Names that a header of the receiver's own cannot have: the client sets them, or they carry the signature.
const RESERVED: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "accept-encoding",
];

/// Takes the secret of an authorization out and checks both halves.
fn take_authorization(authorization: &mut Document) -> Result<Option<Secret<String>>, Refused> {
    let on = |name: &str| format!("{AUTHORIZATION}.{name}");
    let method = authorization.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (public, secret_name) = match method.as_str() {
        "basic" => (Some("username"), "password"),
        "bearer" => (None, "token"),
        "custom_header" => (Some("header_key"), "header_value"),
        other => return Err(Refused::property(&format!("No enum match for: {other}"), &on("method"))),
    };
    let known = ["method", public.unwrap_or("method"), secret_name];
    if let Some(other) = authorization.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Refused::property(&format!("Additional properties not allowed: {other}"), AUTHORIZATION));
    }
    let printable = |text: &str| {
        !text.is_empty()
            && text.len() <= AUTHORIZATION_LENGTH_MAX
            && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    };
    let wrong =
        |name: &str| Refused::property("Must be printable ASCII, not empty and not too long", &on(name));
    if let Some(public) = public {
        let text = authorization.get(public).and_then(Value::as_str);
        let text = text.ok_or_else(|| Refused::property("Expected type string", &on(public)))?;
        if !printable(text) {
            return Err(wrong(public));
        }
        // RFC 7617 §2: what stands before the first colon is the user name.
        if method == "basic" && text.contains(':') {
            return Err(Refused::property("Must not contain a colon", &on(public)));
        }
        if method == "custom_header" {
            check_header_name(text).map_err(|what| Refused::property(what, &on(public)))?;
        }
    }
    match authorization.remove(secret_name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(secret)) if printable(&secret) => Ok(Some(Secret::new(secret))),
        Some(_) => Err(wrong(secret_name)),
    }
}

/// RFC 9110 §5.1: a field name is a token.
fn check_header_name(name: &str) -> Result<(), &'static str> {
    let is_token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !is_token || name.len() > 100 {
        return Err("Not the name of a header");
    }
    let name = name.to_ascii_lowercase();
    let signs = [headers::ID, headers::TIMESTAMP, headers::SIGNATURE].contains(&name.as_str());
    if signs || RESERVED.contains(&name.as_str()) { Err("This header has another use") } else { Ok(()) }
}

/// The refusal of a destination whose secret is not known.
fn missing_secret(doc: &Document) -> Refused {
    let method = authorization_of(doc).and_then(|authorization| authorization.get("method")?.as_str());
    let name = match method {
        Some("basic") => "password",
        Some("custom_header") => "header_value",
        _ => "token",
    };
    Refused::property("Missing required property", &format!("{AUTHORIZATION}.{name}"))
}

fn configuration_of(doc: &Document) -> Option<&Value> {
    doc.get("destination")?.get("configuration")
}

fn authorization_of(doc: &Document) -> Option<&Value> {
    configuration_of(doc)?.get("webhook_authorization")
}

/// Whether a secret that goes to the old destination may go to the new one: the same server gets it in the same way.
fn is_same_place(old: &Document, new: &Document) -> bool {
    let origin = |doc: &Document| {
        let endpoint = configuration_of(doc)?.get("webhook_endpoint")?.as_str()?;
        Some(Url::parse(endpoint).ok()?.origin())
    };
    authorization_of(old) == authorization_of(new) && origin(old).is_some() && origin(old) == origin(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::Closed;

    fn object(value: Value) -> Document {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn doc(endpoint: &str, authorization: Value) -> Document {
        object(json!({"destination": {"type": "webhook", "configuration":
            {"webhook_endpoint": endpoint, "webhook_authorization": authorization}}}))
    }

    #[test]
    fn a_secret_is_taken_out_of_what_is_kept() {
        for (authorization, kept) in [
            (json!({"method": "bearer", "token": "s"}), json!({"method": "bearer"})),
            (
                json!({"method": "basic", "username": "ada", "password": "s"}),
                json!({"method": "basic", "username": "ada"}),
            ),
            (
                json!({"method": "custom_header", "header_key": "X-Key", "header_value": "s"}),
                json!({"method": "custom_header", "header_key": "X-Key"}),
            ),
        ] {
            let mut sent = doc("https://app.example/events", authorization);
            let secret = take_secret(&mut sent, &Closed).expect("it fits");
            assert_eq!(secret.map(Secret::into_inner).as_deref(), Some("s"));
            assert_eq!(authorization_of(&sent), Some(&kept));
        }
    }

    #[test]
    fn what_is_wrong_with_a_destination_is_named() {
        let bearer = || json!({"method": "bearer", "token": "s"});
        let at = |endpoint: &str| doc(endpoint, bearer());
        let with = |authorization: Value| doc("https://app.example/", authorization);
        let cases = [
            (
                object(json!({"destination": {"type": "action", "configuration": {"action_id": "1"}}})),
                "action",
            ),
            (object(json!({"destination": {"type": "eventbridge", "configuration": {}}})), "eventbridge"),
            (object(json!({"destination": {"type": "webhook", "configuration": {}}})), "webhook_endpoint"),
            (at("not a url"), "webhook_endpoint"),
            (at("http://app.example/"), "webhook_endpoint"),
            (at("https://app.example/#part"), "fragment"),
            (at("https://ada:secret@app.example/"), "credentials"),
            (at(&format!("https://app.example/{}", "x".repeat(2000))), "too long"),
            (with(json!({"method": "digest"})), "method"),
            (with(json!({"method": "basic", "password": "s"})), "username"),
            (with(json!({"method": "basic", "username": "a:b", "password": "s"})), "colon"),
            (with(json!({"method": "bearer", "token": "a\nb"})), "token"),
            (with(json!({"method": "bearer", "token": ""})), "token"),
            (with(json!({"method": "bearer", "token": "s", "password": "s"})), "password"),
            (
                with(json!({"method": "custom_header", "header_key": "a b", "header_value": "s"})),
                "header_key",
            ),
            (
                with(json!({"method": "custom_header", "header_key": "Host", "header_value": "s"})),
                "header_key",
            ),
            (
                with(json!({"method": "custom_header", "header_key": "Webhook-Id", "header_value": "s"})),
                "header_key",
            ),
        ];
        for (mut sent, named) in cases {
            match take_secret(&mut sent, &Closed) {
                Err(Refused::Invalid { message, .. }) => {
                    assert!(message.contains(named), "{named}: {message}")
                }
                other => panic!("{named}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_secret_that_was_not_sent_again_stays_where_it_went() {
        let bearer = json!({"method": "bearer"});
        let old = doc("https://app.example/events", bearer.clone());
        assert!(is_same_place(&old, &doc("https://app.example/other?x=1", bearer.clone())));
        for other in [
            doc("https://evil.example/events", bearer.clone()),
            doc("https://app.example:8443/events", bearer),
            doc("https://app.example/events", json!({"method": "basic", "username": "ada"})),
        ] {
            assert!(!is_same_place(&old, &other));
        }
    }

    #[test]
    fn a_type_is_subscribed_to_once() {
        let mut doc = doc("https://app.example/", json!({"method": "bearer"}));
        doc.insert("status".into(), json!("enabled"));
        doc.insert(
            "subscriptions".into(),
            json!([{"event_type": "user.created"}, {"event_type": "user.updated"}]),
        );
        assert!(check(&doc).is_ok());
        doc.insert(
            "subscriptions".into(),
            json!([{"event_type": "user.created"}, {"event_type": "user.created"}]),
        );
        assert!(check(&doc).is_err());
    }
}
