//! Clients: what they are made with, how they change, and that deleting one ends what it was given.

use std::sync::Arc;

use curfew_model::config::{ClientDoc, OidcLogout};
use curfew_model::{ClientId, Ctx, EndingCause, Failure, Initiator, Secret};
use curfew_store::clients::ClientRow;
use curfew_store::signing_keys::KeyState;
use curfew_store::{Lane, Tx};
use curfew_tokens::cert::Certificate;
use curfew_tokens::{SealKind, SigningAlg};
use serde_json::{Value, json};
use url::{Host, Url};

use super::page::{Collector, Page, Window, scan};
use super::write::Write;
use super::{
    Document, Entity, Outcome, Refused, default_to, drop_nulls, ending_policies, granted, merge, merge_into,
    readable, signing_keys, stored, text,
};
use crate::endings::{self, Ending, Target};
use crate::outbound::Outbound;
use crate::{Core, TenantConfig};

/// Longest and shortest secret that an operator may set.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 32..=512;

/// Which parts of a client may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// With `client_secret` and `signing_keys`.
    Keys,
    /// Without them.
    NoKeys,
    /// Only what a list of names needs.
    Summary,
}

/// Which clients to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only first-party clients, or only the others.
    pub is_first_party: Option<bool>,
    /// Only the client that stands for all, or only the others. There is none that stands for all.
    pub is_global: Option<bool>,
    /// Only these types.
    pub app_types: Vec<String>,
}

impl Filter {
    fn takes(&self, doc: &Document) -> bool {
        let first_party = doc.get("is_first_party").and_then(Value::as_bool).unwrap_or(true);
        let app_type = doc.get("app_type").and_then(Value::as_str).unwrap_or("");
        self.is_first_party.is_none_or(|asked| asked == first_party)
            && !self.is_global.unwrap_or(false)
            && (self.app_types.is_empty() || self.app_types.iter().any(|asked| asked == app_type))
    }
}

/// What `signing_keys` of every client are: the certificate its tokens are verified with.
#[derive(Debug, Clone)]
struct Shown {
    show: Show,
    tenant: String,
    signing_keys: Value,
}

impl Shown {
    async fn of(core: &Core, ctx: &Ctx, show: Show) -> Result<(Self, Arc<TenantConfig>), Failure> {
        let config = core.tenant(ctx.tenant).await?;
        let signing_keys = match show {
            Show::Keys => signing_keys_of(&config),
            Show::NoKeys | Show::Summary => Value::Null,
        };
        Ok((Self { show, tenant: config.name.clone(), signing_keys }, config))
    }

    /// The client as the API answers it. `secret` is the opened one.
    fn client(&self, id: &ClientId, mut doc: Document, secret: Option<String>) -> Document {
        doc.insert("client_id".into(), json!(id));
        if self.show == Show::Summary {
            const SUMMARY: [&str; 6] =
                ["client_id", "name", "description", "app_type", "logo_uri", "is_first_party"];
            doc.retain(|name, _| SUMMARY.contains(&name.as_str()));
            return doc;
        }
        doc.insert("tenant".into(), json!(self.tenant));
        doc.insert("global".into(), json!(false));
        doc.insert("callback_url_template".into(), json!(false));
        if self.show == Show::Keys {
            if let Some(secret) = secret {
                doc.insert("client_secret".into(), json!(secret));
            }
            doc.insert("signing_keys".into(), self.signing_keys.clone());
        }
        doc
    }

    fn row(&self, config: &TenantConfig, row: ClientRow) -> Result<Document, Failure> {
        let secret = match self.show {
            Show::Keys => Some(open_secret(config, &row.client_id, &row.secret)?),
            Show::NoKeys | Show::Summary => None,
        };
        let doc = stored("clients", row.client_id.as_str(), &row.doc)?;
        Ok(self.client(&row.client_id, doc, secret))
    }
}

fn signing_keys_of(config: &TenantConfig) -> Value {
    config
        .keys
        .iter()
        .filter(|key| key.row.state == KeyState::Current.as_str() && key.key.alg() == SigningAlg::RS256)
        .filter_map(|key| Certificate::from_pem(&key.row.certificate))
        .map(|certificate| {
            let subject =
                config.domains.first().and_then(|(host, _)| host.split(':').next()).unwrap_or("localhost");
            json!({
                "cert": certificate.pem(),
                "pkcs7": certificate.pkcs7(),
                "subject": format!("/CN={subject}"),
            })
        })
        .collect()
}

fn open_secret(config: &TenantConfig, id: &ClientId, sealed: &Secret<String>) -> Result<String, Failure> {
    let broken = || Failure::Inconsistent { table: "clients", column: "secret", id: id.to_string() };
    let opened = config
        .sealing
        .unseal(SealKind::ClientSecret, config.tenant, sealed.expose())
        .map_err(|_| broken())?;
    String::from_utf8(opened.plaintext).map_err(|_| broken())
}

/// Seals a secret for its column.
pub(super) fn seal_secret(config: &TenantConfig, ctx: &Ctx, secret: &str) -> Secret<String> {
    Secret::new(config.seal(SealKind::ClientSecret, secret.as_bytes(), ctx))
}

/// The defaults of a client that Auth0 answers, as far as they do not depend on what was sent.
pub(super) fn add_defaults(doc: &mut Document) {
    let app_type = doc.get("app_type").and_then(Value::as_str).unwrap_or("").to_owned();
    let public = matches!(app_type.as_str(), "spa" | "native");
    // Auth0 adds `implicit`. Here the legacy response types stay off unless a client asks for them.
    let grant_types = if public {
        json!(["authorization_code", "refresh_token"])
    } else {
        json!(["authorization_code", "refresh_token", "client_credentials"])
    };
    default_to(
        doc,
        json!({
            "is_first_party": true,
            "is_token_endpoint_ip_header_trusted": false,
            "oidc_conformant": false,
            "jwt_configuration": { "secret_encoded": false, "lifetime_in_seconds": 36000 },
            "sso_disabled": false,
            "cross_origin_authentication": false,
            "grant_types": grant_types,
            "custom_login_page_on": true,
        }),
    );
    if !app_type.is_empty() && !doc.contains_key("client_authentication_methods") {
        let method = match app_type.as_str() {
            "spa" | "native" => Some("none"),
            "regular_web" | "non_interactive" => Some("client_secret_post"),
            _ => None,
        };
        if let Some(method) = method {
            default_to(doc, json!({ "token_endpoint_auth_method": method }));
        }
    }
    let is_web = matches!(app_type.as_str(), "regular_web" | "non_interactive");
    let mut refresh = match doc.remove("refresh_token") {
        Some(Value::Object(sent)) => sent,
        _ => Document::new(),
    };
    default_to(&mut refresh, json!({ "rotation_type": "non-rotating", "expiration_type": "non-expiring" }));
    let endless = refresh.get("expiration_type").and_then(Value::as_str) != Some("expiring");
    default_to(
        &mut refresh,
        json!({
            "leeway": 0,
            "token_lifetime": if is_web { 31_557_600 } else { 2_592_000 },
            "infinite_token_lifetime": endless,
            "idle_token_lifetime": if is_web { 2_592_000 } else { 1_296_000 },
            "infinite_idle_token_lifetime": endless,
        }),
    );
    doc.insert("refresh_token".into(), Value::Object(refresh));
}

/// `oidc_backchannel_logout` is the older name of `oidc_logout`; both are answered.
fn mirror_logout(doc: &mut Document, sent_old: bool, sent_new: bool) {
    if sent_old && !sent_new {
        match doc.get("oidc_backchannel_logout").cloned() {
            Some(old) => doc.insert("oidc_logout".into(), old),
            None => doc.remove("oidc_logout"),
        };
        return;
    }
    if !sent_new {
        return;
    }
    match doc.get("oidc_logout").and_then(|new| new.get("backchannel_logout_urls")).cloned() {
        Some(urls) => {
            doc.insert("oidc_backchannel_logout".into(), json!({ "backchannel_logout_urls": urls }))
        }
        None => doc.remove("oidc_backchannel_logout"),
    };
}

/// The rules that hold between fields, whatever was sent.
fn check(doc: &Document) -> Result<(), Refused> {
    readable::<ClientDoc>(doc)?;
    let refresh = doc.get("refresh_token").and_then(Value::as_object);
    if let Some(refresh) = refresh {
        let text = |name: &str| refresh.get(name).and_then(Value::as_str);
        if text("rotation_type") == Some("rotating") && text("expiration_type") != Some("expiring") {
            return Err(Refused::property(
                "Rotating refresh tokens must be expiring",
                "refresh_token.expiration_type",
            ));
        }
        let seconds = |name: &str, infinite: &str| {
            let endless = refresh.get(infinite).and_then(Value::as_bool).unwrap_or(false);
            refresh.get(name).and_then(Value::as_i64).filter(|_| !endless)
        };
        let absolute = seconds("token_lifetime", "infinite_token_lifetime");
        let idle = seconds("idle_token_lifetime", "infinite_idle_token_lifetime");
        if let (Some(absolute), Some(idle)) = (absolute, idle)
            && idle > absolute
        {
            return Err(Refused::property(
                "The idle life-time must not exceed the absolute life-time",
                "refresh_token.idle_token_lifetime",
            ));
        }
    }
    if doc.contains_key("token_endpoint_auth_method") && doc.contains_key("client_authentication_methods") {
        return Err(Refused::property(
            "Must not be set together with client_authentication_methods",
            "token_endpoint_auth_method",
        ));
    }
    check_front_channel(doc)?;
    check_initiators(doc)
}

/// Where the browser tells the application: at the origin of one of its callbacks (OIDC Front-Channel Logout §2), and
/// one that a content security policy can name, which has no place for IPv6 addresses.
fn check_front_channel(doc: &Document) -> Result<(), Refused> {
    let refused = |problem: &str| Err(Refused::property(problem, "frontchannel_logout_uri"));
    let Some(text) = doc.get("frontchannel_logout_uri").and_then(Value::as_str) else { return Ok(()) };
    let clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let Some(url) = Url::parse(text).ok().filter(|_| clean) else {
        return refused("Not an absolute URL");
    };
    let (nameable, loopback) = match url.host() {
        Some(Host::Domain(name)) => (
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')),
            name == "localhost" || name.ends_with(".localhost"),
        ),
        Some(Host::Ipv4(address)) => (true, address.is_loopback()),
        Some(Host::Ipv6(_)) | None => (false, false),
    };
    if !(url.scheme() == "https" || url.scheme() == "http" && loopback) {
        return refused("Must be https, or http on a loopback host");
    }
    if !nameable {
        return refused("The host must be a name or an IPv4 address");
    }
    if url.fragment().is_some() {
        return refused("Must not have a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("Must not have a user name or a password");
    }
    let mut callbacks = doc.get("callbacks").and_then(Value::as_array).into_iter().flatten();
    let at_home = |callback: &Value| {
        let callback = callback.as_str().and_then(|callback| Url::parse(callback).ok());
        callback.is_some_and(|callback| callback.origin() == url.origin())
    };
    if !callbacks.any(at_home) {
        return refused("Must have the origin of one of the callbacks");
    }
    Ok(())
}

/// Of which endings the application wants to hear: of all, or of a list in which logouts always are.
fn check_initiators(doc: &Document) -> Result<(), Refused> {
    let Some(logout) = doc.get("oidc_logout") else { return Ok(()) };
    let initiators = readable_logout(logout)?.backchannel_logout_initiators;
    const MODE: &str = "oidc_logout.backchannel_logout_initiators.mode";
    const SELECTED: &str = "oidc_logout.backchannel_logout_initiators.selected_initiators";
    match initiators.mode.as_deref() {
        None | Some("all" | "custom") => {}
        Some(_) => return Err(Refused::property("No enum match (all, custom)", MODE)),
    }
    let Some(selected) = initiators.selected_initiators else { return Ok(()) };
    let has = |initiator: Initiator| selected.iter().any(|selected| selected == initiator.as_str());
    if let Some(unknown) = selected.iter().find(|selected| Initiator::parse(selected).is_none()) {
        let known: Vec<&str> = Initiator::ALL.iter().map(|initiator| initiator.as_str()).collect();
        return Err(Refused::property(&format!("{unknown}: no enum match ({})", known.join(", ")), SELECTED));
    }
    let custom = initiators.mode.as_deref() != Some("all");
    if custom && !(has(Initiator::RpLogout) && has(Initiator::IdpLogout)) {
        return Err(Refused::property("rp-logout and idp-logout are required", SELECTED));
    }
    Ok(())
}

fn readable_logout(logout: &Value) -> Result<OidcLogout, Refused> {
    serde_json::from_value::<OidcLogout>(logout.clone())
        .map_err(|error| Refused::property(&error.to_string(), "oidc_logout"))
}

/// Where logout tokens go must be reachable, as far as that can be told: an address that is refused at each try helps
/// nobody (OIDC Back-Channel Logout §2.2).
fn check_logout_url(doc: &Document, outbound: &dyn Outbound) -> Result<(), Refused> {
    const URLS: &str = "oidc_logout.backchannel_logout_urls";
    let Some(logout) = doc.get("oidc_logout") else { return Ok(()) };
    let logout = readable_logout(logout)?;
    let Some(text) = logout.url() else { return Ok(()) };
    let url = Url::parse(text).map_err(|_| Refused::property("Not an absolute URL", URLS))?;
    if url.fragment().is_some() {
        return Err(Refused::property("Must not have a fragment", URLS));
    }
    outbound.admits(&url).map_err(|problem| Refused::property(&problem, URLS))
}

/// Credentials may only be named that the client has; at creation there are none yet.
async fn check_credentials(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &ClientId,
    doc: &Document,
) -> Result<Result<(), Refused>, Failure> {
    let named: Vec<&str> = doc
        .get("client_authentication_methods")
        .and_then(|methods| methods.get("private_key_jwt"))
        .and_then(|method| method.get("credentials"))
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(|entry| entry.get("id")?.as_str()).collect())
        .unwrap_or_default();
    if named.is_empty() {
        return Ok(Ok(()));
    }
    let own = curfew_store::clients::list_credentials(tx, ctx.tenant, id).await?;
    for name in named {
        if !own.iter().any(|credential| credential.id == name) {
            return Ok(Err(Refused::property(
                "No credential of this client",
                "client_authentication_methods.private_key_jwt.credentials",
            )));
        }
    }
    Ok(Ok(()))
}

/// Which key signs the client's ID tokens, when it needs one that may not be there yet.
fn wanted_alg(doc: &Document) -> Option<SigningAlg> {
    SigningAlg::parse(doc.get("jwt_configuration")?.get("alg")?.as_str()?)
}

/// `POST /clients`.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    let (shown, config) = Shown::of(core, ctx, Show::Keys).await?;
    drop_nulls(&mut doc);
    // Keys are sent in full at creation; they become credentials of their own.
    let credentials = granted!(super::credentials::inline(ctx, &mut doc));
    let (old, new) = (doc.contains_key("oidc_backchannel_logout"), doc.contains_key("oidc_logout"));
    mirror_logout(&mut doc, old, new);
    add_defaults(&mut doc);
    let policies = granted!(ending_policies::settle(&mut doc));
    granted!(check(&doc));
    granted!(check_logout_url(&doc, &*core.outbound));
    let key = signing_keys::make_if_missing(core, ctx, wanted_alg(&doc)).await?;
    let id = ClientId(ctx.entropy.alphanumeric(32));
    let secret = ctx.entropy.url_safe(64);
    let sealed = seal_secret(&config, ctx, &secret);
    let first_party = doc.get("is_first_party") != Some(&Value::Bool(false));
    let enable = first_party && config.settings.flags.enable_client_connections != Some(false);
    let connections: Vec<String> =
        config.connections.iter().filter(|_| enable).map(|connection| connection.id.clone()).collect();
    let with = (credentials, key, connections, policies);
    let args = (ctx.clone(), write, id.clone(), text(&doc)?, sealed, with);
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, write, id, doc, sealed, with)| {
            Box::pin(async move {
                let (credentials, key, connections, policies) = with;
                signing_keys::store_new(tx, ctx, key).await?;
                if !curfew_store::clients::insert(tx, ctx, id, doc, sealed).await? {
                    return Err(Failure::Conflict);
                }
                curfew_store::policies::replace(tx, ctx.tenant, Some(id), policies).await?;
                if !connections.is_empty() {
                    curfew_store::tenants::touch(tx, ctx.tenant).await?;
                }
                for connection in connections {
                    curfew_store::connections::enable_for(tx, ctx.tenant, connection, id).await?;
                }
                for credential in credentials {
                    curfew_store::clients::insert_credential(
                        tx,
                        ctx,
                        id,
                        &credential.id,
                        &text(&credential.doc)?,
                    )
                    .await?;
                }
                write.log(tx, ctx).await
            })
        })
        .await?;
    let mut answer = shown.client(&id, doc, Some(secret));
    for name in ["tenant", "global", "callback_url_template"] {
        answer.remove(name);
    }
    Ok(Ok(answer))
}

/// `GET /clients/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: ClientId, show: Show) -> Outcome<Document> {
    let (shown, config) = Shown::of(core, ctx, show).await?;
    let found = core
        .store
        .read((ctx.tenant, id), |tx, (tenant, id)| Box::pin(curfew_store::clients::find(tx, *tenant, id)))
        .await?;
    match found {
        Some(row) => Ok(Ok(shown.row(&config, row)?)),
        None => Ok(Err(Refused::Inexistent(Entity::Client))),
    }
}

/// `GET /clients`.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    window: Window,
    filter: Filter,
    show: Show,
) -> Result<Page, Failure> {
    let (shown, config) = Shown::of(core, ctx, show).await?;
    core.store
        .read_long(
            (ctx.tenant, window, filter, shown, config),
            |tx, (tenant, window, filter, shown, config)| {
                Box::pin(async move {
                    let mut collector = Collector::new(window);
                    scan!(tx, *tenant, curfew_store::clients::list, window, client_id, |row, position| {
                        if filter.takes(&stored("clients", row.client_id.as_str(), &row.doc)?) {
                            collector.push(position, || shown.row(config, row))?
                        } else {
                            super::page::More::Wanted
                        }
                    });
                    Ok(collector.finish())
                })
            },
        )
        .await
}

/// `PATCH /clients/{id}`. A new secret ends nothing that was issued, as at Auth0.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: ClientId,
    mut sent: Document,
    show: Show,
) -> Outcome<Document> {
    let (shown, config) = Shown::of(core, ctx, show).await?;
    let secret = match sent.remove("client_secret") {
        Some(Value::String(secret)) if SECRET_LENGTH.contains(&secret.len()) => {
            Some(seal_secret(&config, ctx, &secret))
        }
        Some(_) => {
            return Ok(Err(Refused::property("String must have 32 to 512 characters", "client_secret")));
        }
        None => None,
    };
    let key = signing_keys::make_if_missing(core, ctx, wanted_alg(&sent)).await?;
    let args = (ctx.clone(), write, id, sent, secret, key, Arc::clone(&core.outbound));
    let updated = core
        .store
        .transact(Lane::Ordinary, args, |tx, (ctx, write, id, sent, secret, key, outbound)| {
            Box::pin(async move {
                signing_keys::store_new(tx, ctx, key).await?;
                // The row first: two changes of one client come one after the other.
                if !curfew_store::clients::touch(tx, ctx.tenant, id).await? {
                    return Ok(Err(Refused::Inexistent(Entity::Client)));
                }
                let row = found(curfew_store::clients::find(tx, ctx.tenant, id).await?)?;
                let mut doc = stored("clients", id.as_str(), &row.doc)?;
                apply(&mut doc, sent.clone());
                let policies = granted!(ending_policies::settle(&mut doc));
                granted!(check(&doc));
                // One that stood before may have become unreachable by the server's configuration; other changes go on.
                if sent.contains_key("oidc_logout") || sent.contains_key("oidc_backchannel_logout") {
                    granted!(check_logout_url(&doc, &**outbound));
                }
                granted!(check_credentials(tx, ctx, id, &doc).await?);
                curfew_store::clients::update_doc(tx, ctx.tenant, id, &text(&doc)?, row.version).await?;
                if sent.contains_key("ending_policies") {
                    curfew_store::policies::replace(tx, ctx.tenant, Some(id), &policies).await?;
                }
                write.log(tx, ctx).await?;
                if let Some(secret) = secret {
                    curfew_store::clients::update_secret(tx, ctx.tenant, id, secret).await?;
                    end_rotated(tx, ctx, write, id).await?;
                }
                curfew_store::clients::find(tx, ctx.tenant, id).await.and_then(found).map(Ok)
            })
        })
        .await?;
    Ok(Ok(shown.row(&config, granted!(updated))?))
}

fn found<T>(row: Option<T>) -> Result<T, Failure> {
    row.ok_or(Failure::Contention)
}

/// Puts what was sent over the client.
fn apply(doc: &mut Document, mut sent: Document) {
    let (old, new) = (sent.contains_key("oidc_backchannel_logout"), sent.contains_key("oidc_logout"));
    merge_into(doc, &mut sent, "jwt_configuration");
    merge_into(doc, &mut sent, "client_metadata");
    merge_into(doc, &mut sent, "ending_policies");
    // The way to authenticate is one or the other: what is sent replaces what was.
    if sent.get("client_authentication_methods").is_some_and(|value| !value.is_null()) {
        doc.remove("token_endpoint_auth_method");
    }
    if sent.get("token_endpoint_auth_method").is_some_and(|value| !value.is_null()) {
        doc.remove("client_authentication_methods");
    }
    merge(doc, sent);
    mirror_logout(doc, old, new);
    add_defaults(doc);
}

async fn end_rotated(tx: &mut Tx, ctx: &Ctx, write: &Write, id: &ClientId) -> Result<(), Failure> {
    let target = Target::Client(id.clone());
    let ending = Ending::new(EndingCause::ClientSecretRotated, target, write.caller.actor());
    endings::end(tx, ctx, &ending).await.map(drop)
}

/// `POST /clients/{id}/rotate-secret`.
pub async fn rotate_secret(core: &Core, ctx: &Ctx, write: Write, id: ClientId) -> Outcome<Document> {
    let (shown, config) = Shown::of(core, ctx, Show::Keys).await?;
    let secret = ctx.entropy.url_safe(64);
    let args = (ctx.clone(), write, id, seal_secret(&config, ctx, &secret));
    let rotated = core
        .store
        .transact(Lane::Ordinary, args, |tx, (ctx, write, id, sealed)| {
            Box::pin(async move {
                if !curfew_store::clients::update_secret(tx, ctx.tenant, id, sealed).await? {
                    return Ok(Err(Refused::Inexistent(Entity::Client)));
                }
                write.log(tx, ctx).await?;
                end_rotated(tx, ctx, write, id).await?;
                curfew_store::clients::find(tx, ctx.tenant, id).await.and_then(found).map(Ok)
            })
        })
        .await?;
    Ok(Ok(shown.row(&config, granted!(rotated))?))
}

/// `DELETE /clients/{id}`, also of one that is not there.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: ClientId) -> Result<(), Failure> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                // Connections name the client, so the tenant's configuration changes as well.
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                if curfew_store::clients::touch(tx, ctx.tenant, id).await? {
                    write.log(tx, ctx).await?;
                    let target = Target::Client(id.clone());
                    let ending = Ending::new(EndingCause::ClientDeleted, target, write.caller.actor());
                    endings::end(tx, ctx, &ending).await?;
                    curfew_store::signals::delete_of_client(tx, ctx.tenant, id, ctx.now).await?;
                    curfew_store::clients::delete(tx, ctx.tenant, id).await?;
                    return Ok(());
                }
                write.log(tx, ctx).await
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Document {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn made(sent: Value) -> Document {
        let mut doc = object(sent);
        add_defaults(&mut doc);
        doc
    }

    #[test]
    fn a_bare_client_has_the_recorded_defaults_without_implicit() {
        assert_eq!(
            Value::Object(made(json!({"name": "Bare"}))),
            json!({
                "name": "Bare",
                "is_first_party": true,
                "is_token_endpoint_ip_header_trusted": false,
                "oidc_conformant": false,
                "jwt_configuration": {"secret_encoded": false, "lifetime_in_seconds": 36000},
                "sso_disabled": false,
                "cross_origin_authentication": false,
                "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
                "custom_login_page_on": true,
                "refresh_token": {
                    "rotation_type": "non-rotating", "expiration_type": "non-expiring", "leeway": 0,
                    "token_lifetime": 2_592_000, "infinite_token_lifetime": true,
                    "idle_token_lifetime": 1_296_000, "infinite_idle_token_lifetime": true
                }
            })
        );
    }

    #[test]
    fn defaults_follow_the_type() {
        for (app_type, method, lifetime) in [
            ("spa", json!("none"), 2_592_000),
            ("native", json!("none"), 2_592_000),
            ("regular_web", json!("client_secret_post"), 31_557_600),
            ("non_interactive", json!("client_secret_post"), 31_557_600),
        ] {
            let doc = made(json!({"name": "x", "app_type": app_type}));
            assert_eq!(doc["token_endpoint_auth_method"], method);
            assert_eq!(doc["refresh_token"]["token_lifetime"], json!(lifetime));
            let machine =
                doc["grant_types"].as_array().expect("a list").contains(&json!("client_credentials"));
            assert_eq!(machine, method != "none");
        }
        let by_key = made(json!({"name": "x", "app_type": "regular_web",
            "client_authentication_methods": {"private_key_jwt": {"credentials": []}}}));
        assert!(!by_key.contains_key("token_endpoint_auth_method"));
    }

    #[test]
    fn an_expiring_refresh_token_has_finite_life_times_unless_they_are_sent() {
        let doc = made(json!({"name": "x", "refresh_token":
            {"rotation_type": "rotating", "expiration_type": "expiring"}}));
        assert_eq!(doc["refresh_token"]["infinite_token_lifetime"], json!(false));
        assert!(check(&doc).is_ok());
    }

    #[test]
    fn rules_between_fields_name_the_field() {
        let cases = [
            (
                json!({"rotation_type": "rotating", "expiration_type": "non-expiring"}),
                "refresh_token.expiration_type",
            ),
            (
                json!({"rotation_type": "rotating", "expiration_type": "expiring",
                    "token_lifetime": 100, "idle_token_lifetime": 101}),
                "refresh_token.idle_token_lifetime",
            ),
        ];
        for (refresh, property) in cases {
            match check(&made(json!({"name": "x", "refresh_token": refresh}))) {
                Err(Refused::Invalid { message, code }) => {
                    assert_eq!(code, "invalid_body");
                    assert!(message.ends_with(&format!("on property {property}.")), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_document_the_rest_of_the_server_could_not_read_is_refused() {
        assert!(
            check(&made(json!({"name": "x", "oidc_logout": {"backchannel_logout_urls": "no list"}})))
                .is_err()
        );
    }

    #[test]
    fn the_logout_settings_name_what_is_wrong_with_them() {
        let initiators = |value: Value| json!({ "backchannel_logout_initiators": value });
        let both = ["rp-logout", "idp-logout"];
        for sent in [
            json!({}),
            initiators(json!({"mode": "all"})),
            initiators(json!({"mode": "custom"})),
            initiators(json!({"mode": "custom", "selected_initiators": both})),
            initiators(json!({"mode": "all", "selected_initiators": ["account-deleted"]})),
        ] {
            assert_eq!(check(&made(json!({"name": "x", "oidc_logout": sent}))), Ok(()), "{sent}");
        }
        for (sent, property) in [
            (initiators(json!({"mode": "some"})), "mode"),
            (
                initiators(json!({"mode": "custom", "selected_initiators": ["rp-logout"]})),
                "selected_initiators",
            ),
            (initiators(json!({"selected_initiators": []})), "selected_initiators"),
            (initiators(json!({"mode": "all", "selected_initiators": ["whim"]})), "selected_initiators"),
        ] {
            match check(&made(json!({"name": "x", "oidc_logout": sent}))) {
                Err(Refused::Invalid { message, .. }) => {
                    let named = format!("on property oidc_logout.backchannel_logout_initiators.{property}.");
                    assert!(message.ends_with(&named), "{message}");
                }
                other => panic!("{sent}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_browser_tells_applications_where_their_callbacks_are() {
        let checked = |uri: &str| {
            check(&made(
                json!({"name": "x", "frontchannel_logout_uri": uri, "callbacks": ["https://app.example/cb",
                "http://localhost:3000/cb", "http://127.0.0.1:4000/cb", "http://[::1]:5000/cb", "http://lan.example/cb",
                "https://*.wild.example/cb", "app://callback", "https://under_score.example/", "not a URL"]}),
            ))
        };
        for right in [
            "https://app.example/out?a=b",
            "https://APP.example:443/out",
            "http://localhost:3000/out",
            "http://127.0.0.1:4000",
        ] {
            assert_eq!(checked(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "/out",
            "app.example",
            "https://app.example/out#top",
            "https://app.example/out#",
            "https://app.example:8443/out",
            "http://app.example/out",
            "http://lan.example/out",
            "http://[::1]:5000/out",
            "https://other.example/out",
            "https://*.wild.example/out",
            "https://a.wild.example/out",
            "https://under_score.example/out",
            "https://ada@app.example/out",
            "https://ada:secret@app.example/out",
            " https://app.example/out",
            "https://app.example/o\nut",
            "app://callback",
            "javascript:alert(1)",
        ] {
            match checked(wrong) {
                Err(Refused::Invalid { message, .. }) => {
                    assert!(message.ends_with("on property frontchannel_logout_uri."), "{message}");
                }
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_address_for_logout_tokens_must_be_reachable() {
        let checked = |url: &str| {
            let doc = made(json!({"name": "x", "oidc_logout": {"backchannel_logout_urls": [url]}}));
            check_logout_url(&doc, &crate::outbound::Closed)
        };
        assert_eq!(checked("https://app.example/logout?a=b"), Ok(()));
        for wrong in ["", "/logout", "app.example", "https://app.example/#top", "http://app.example/"] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn changes_merge_metadata_and_replace_the_rest() {
        let mut doc =
            made(json!({"name": "x", "callbacks": ["https://a"], "client_metadata": {"a": "1", "b": "2"}}));
        apply(
            &mut doc,
            object(json!({"callbacks": ["https://b"], "client_metadata": {"a": null, "c": "3"},
                "jwt_configuration": {"alg": "RS256"}, "description": null})),
        );
        assert_eq!(doc["callbacks"], json!(["https://b"]));
        assert_eq!(doc["client_metadata"], json!({"b": "2", "c": "3"}));
        assert_eq!(
            doc["jwt_configuration"],
            json!({"secret_encoded": false, "lifetime_in_seconds": 36000, "alg": "RS256"})
        );
        apply(&mut doc, object(json!({"refresh_token": null})));
        assert_eq!(doc["refresh_token"]["rotation_type"], json!("non-rotating"));
    }

    #[test]
    fn both_names_of_the_logout_settings_are_answered() {
        let urls = json!(["https://app/backchannel-logout"]);
        for name in ["oidc_logout", "oidc_backchannel_logout"] {
            let mut doc = made(json!({"name": "x"}));
            apply(&mut doc, object(json!({name: {"backchannel_logout_urls": urls}})));
            assert_eq!(doc["oidc_logout"]["backchannel_logout_urls"], urls);
            assert_eq!(doc["oidc_backchannel_logout"]["backchannel_logout_urls"], urls);
            apply(&mut doc, object(json!({name: null})));
            assert!(!doc.contains_key("oidc_logout") && !doc.contains_key("oidc_backchannel_logout"));
        }
    }
}
