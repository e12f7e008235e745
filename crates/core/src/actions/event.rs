//! `event`: what an Action is told, out of what the flows know. Dates are ISO 8601; what depends on a feature that this
//! server does not have is there with its documented empty value.

use curfew_model::config::{Client, Connection};
use curfew_model::{ClientId, Ctx, Timestamp};
use curfew_store::families::FamilyRow;
use curfew_store::sessions::SessionRow;
use curfew_store::users::{IdentityRow, UserRow};
use serde_json::{Map, Value, json};

use crate::TenantConfig;

/// Members of a user that an Action is not told.
const NOT_TOLD: [&str; 4] = ["blocked", "last_login", "last_ip", "logins_count"];

/// Parameters that prove something, and are in no event.
const SECRET: [&str; 21] = [
    "access_token",
    "actor_token",
    "assertion",
    "auth_req_id",
    "binding_code",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "id_token",
    "id_token_hint",
    "mfa_token",
    "oob_code",
    "otp",
    "password",
    "recovery_code",
    "refresh_token",
    "session_transfer_token",
    "subject_token",
    "token",
];

/// Whether a parameter proves something.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRET.contains(&name)
}

/// `event.request`.
pub(crate) fn request<'a>(
    ctx: &Ctx,
    query: impl Iterator<Item = (&'a str, &'a str)>,
    body: impl Iterator<Item = (&'a str, &'a str)>,
) -> Value {
    let info = &ctx.request;
    // What the request did not say is absent.
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    told(json!({
        "asn": "",
        "body": parameters(body),
        "geoip": {},
        "hostname": info.host,
        "ip": info.ip,
        "language": said(&info.language),
        "method": info.method,
        "query": parameters(query),
        "user_agent": said(&info.user_agent),
    }))
}

/// Auth0's optional members are absent where there is nothing to tell, not `null`: an Action's defaults hold then.
fn told(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, value| !value.is_null());
    }
    value
}

fn parameters<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    values
        .filter(|(name, _)| !is_secret(name))
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

/// `event.request` of what runs when the request is over: who asked, and from where.
pub(crate) fn origin(ctx: &Ctx) -> Value {
    let mut request = request(ctx, std::iter::empty(), std::iter::empty());
    if let Some(request) = request.as_object_mut() {
        request.remove("body");
        request.remove("query");
    }
    request
}

/// `event.request.body`, where it is a document.
pub(crate) fn body(sent: &Map<String, Value>) -> Value {
    sent.iter()
        .filter(|(name, _)| !SECRET.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// `event.client`.
pub(crate) fn client(client: &Client) -> Value {
    json!({
        "client_id": client.id,
        "name": client.doc.name,
        "metadata": client.doc.client_metadata,
    })
}

/// `event.connection`.
pub(crate) fn connection(connection: &Connection) -> Value {
    json!({
        "id": connection.id,
        "name": connection.name,
        "strategy": connection.strategy,
        "metadata": connection.doc.metadata,
    })
}

/// `event.tenant`: the first part of the tenant's first domain, whichever of them the request came under.
pub(crate) fn tenant(config: &TenantConfig) -> Value {
    let host = config.domains.first().map_or("", |(host, _)| host);
    json!({ "id": host.split(['.', ':']).next().unwrap_or("") })
}

/// `event.custom_domain`, under any other domain of the tenant.
pub(crate) fn custom_domain(ctx: &Ctx, config: &TenantConfig) -> Option<Value> {
    let place = config.domains.iter().position(|(_, issuer)| *issuer == *ctx.issuer)?;
    let (host, _) = config.domains.get(place).filter(|_| place > 0)?;
    Some(json!({ "domain": host, "domain_metadata": {} }))
}

/// `event.user`.
pub(crate) fn user(
    config: &TenantConfig,
    row: &UserRow,
    identities: &[IdentityRow],
) -> Result<Value, curfew_model::Failure> {
    let name = |id: &str| config.connection(id).map(|connection| connection.name.clone());
    let mut doc = crate::users::view(&name, row, identities)?;
    for name in NOT_TOLD {
        doc.remove(name);
    }
    for (name, empty) in [
        ("app_metadata", json!({})),
        ("user_metadata", json!({})),
        ("multifactor", json!([])),
        ("enrolledFactors", json!([])),
    ] {
        doc.entry(name).or_insert(empty);
    }
    Ok(Value::Object(doc))
}

/// A document at rest, or an empty one.
fn stored(text: Option<&str>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!({}))
}

/// `event.session`.
pub(crate) fn session(row: &SessionRow, clients: &[ClientId]) -> Value {
    let clients: Vec<Value> = clients.iter().map(|client| json!({ "client_id": client })).collect();
    json!({
        "id": row.sid.to_string(),
        "user_id": row.user_id,
        "created_at": row.created_at.iso(),
        "updated_at": row.updated_at.iso(),
        "authenticated_at": row.authenticated_at.iso(),
        "last_interacted_at": row.last_interacted_at.iso(),
        "idle_expires_at": row.idle_expires_at.iso(),
        "expires_at": row.expires_at.iso(),
        "clients": clients,
        "cookie": { "mode": if row.persistent { "persistent" } else { "non-persistent" } },
        "device": stored(Some(&row.device)),
        "metadata": stored(row.metadata.as_deref()),
    })
}

/// `event.authentication`.
pub(crate) fn authentication(methods: Option<&str>) -> Value {
    let methods: Value =
        methods.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!([]));
    json!({ "methods": methods })
}

/// `event.refresh_token`.
pub(crate) fn refresh_token(row: &FamilyRow) -> Value {
    let iso = |at: Option<Timestamp>| at.map(Timestamp::iso);
    let session = row.session_key.map(|session| curfew_model::Sid { user: row.id.user, session }.to_string());
    told(json!({
        "id": row.id.to_string(),
        "user_id": row.user_id,
        "client_id": row.client_id,
        "session_id": session,
        "created_at": row.created_at.iso(),
        "expires_at": iso(row.expires_at),
        "idle_expires_at": iso(row.idle_expires_at),
        "last_exchanged_at": iso(row.last_exchanged_at),
        "rotating": row.rotating,
        "device": stored(Some(&row.device)),
        "resource_servers": [{ "audience": row.audience.as_deref().unwrap_or(""), "scopes": row.scope }],
        "metadata": stored(row.metadata.as_deref()),
    }))
}

/// What `event.transaction` is made of, where there is no authorization request.
pub(crate) fn transaction(id: String, protocol: &str, scope: &str) -> Map<String, Value> {
    let scopes: Vec<&str> = crate::issue::scope_values(scope).collect();
    let doc = json!({
        "id": id,
        "acr_values": [],
        "prompt": [],
        "protocol": protocol,
        "requested_authorization_details": [],
        "requested_scopes": scopes,
        "response_type": [],
        "ui_locales": [],
        "metadata": {},
    });
    match doc {
        Value::Object(doc) => doc,
        _ => Map::new(),
    }
}
