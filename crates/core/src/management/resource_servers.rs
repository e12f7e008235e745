//! Resource servers: APIs that accept this server's access tokens.

use std::sync::Arc;

use curfew_model::config::ResourceServerDoc;
use curfew_model::{Ctx, EndingCause, Failure, Secret, TenantId};
use curfew_store::resource_servers::ResourceServerRow;
use curfew_store::{Lane, Tx};
use curfew_tokens::{SealKind, SigningAlg};
use serde_json::{Value, json};

use super::page::{Collector, More, Page, Window, scan};
use super::write::Write;
use super::{
    Document, Entity, Outcome, Refused, default_to, drop_nulls, granted, merge, readable, signing_keys,
    stored, text,
};
use crate::endings::{self, Ending, Target};
use crate::{Core, TenantConfig};

/// The defaults Auth0 answers.
pub(super) fn add_defaults(doc: &mut Document) {
    default_to(
        doc,
        json!({
            "signing_alg": "RS256",
            "allow_offline_access": false,
            "token_lifetime": 86_400,
            "token_lifetime_for_web": 7200,
            "skip_consent_for_verifiable_first_party_clients": false,
            "subject_type_authorization": {
                "user": { "policy": "allow_all" },
                "client": { "policy": "require_client_grant" },
            },
        }),
    );
}

fn check(doc: &Document) -> Result<(), Refused> {
    readable::<ResourceServerDoc>(doc)?;
    let scopes = doc.get("scopes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    for scope in scopes.iter().filter_map(|scope| scope.get("value")?.as_str()) {
        // RFC 6749 §3.3: a scope is printable ASCII without space, quote and backslash.
        if !scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
            return Err(Refused::property("A scope is printable ASCII without spaces", "scopes"));
        }
        if !seen.insert(scope) {
            return Err(Refused::property(&format!("Duplicate scope: {scope}"), "scopes"));
        }
    }
    Ok(())
}

/// The longest life-time its access tokens can have, in seconds.
fn longest_lifetime(doc: &Document) -> i64 {
    // The life-time for web never exceeds the general one.
    doc.get("token_lifetime").and_then(Value::as_i64).unwrap_or(86_400)
}

fn wanted_alg(doc: &Document) -> Option<SigningAlg> {
    SigningAlg::parse(doc.get("signing_alg")?.as_str()?)
}

fn view(config: &TenantConfig, row: &ResourceServerRow) -> Result<Document, Failure> {
    let mut doc = stored("resource_servers", &row.id, &row.doc)?;
    doc.insert("id".into(), json!(row.id));
    doc.insert("identifier".into(), json!(row.identifier));
    doc.entry("is_system").or_insert(json!(false));
    if let Some(sealed) = &row.signing_secret {
        let broken = || Failure::Inconsistent {
            table: "resource_servers",
            column: "signing_secret",
            id: row.id.clone(),
        };
        let kind = SealKind::SigningSecret;
        let opened = config.sealing.unseal(kind, config.tenant, sealed.expose()).map_err(|_| broken())?;
        let secret = String::from_utf8(opened.plaintext).map_err(|_| broken())?;
        doc.insert("signing_secret".into(), json!(secret));
    }
    Ok(doc)
}

/// The signing secret an API has after a write: what was sent, what it had, or a new one where HS256 needs one.
fn signing_secret(
    config: &TenantConfig,
    ctx: &Ctx,
    doc: &Document,
    sent: Option<&str>,
    had: Option<Secret<String>>,
) -> Option<Secret<String>> {
    let seal = |secret: &str| Secret::new(config.seal(SealKind::SigningSecret, secret.as_bytes(), ctx));
    match sent {
        Some(secret) => Some(seal(secret)),
        None if had.is_some() => had,
        None => (doc.get("signing_alg").and_then(Value::as_str) == Some("HS256"))
            .then(|| seal(&ctx.entropy.alphanumeric(32))),
    }
}

fn take_secret(sent: &mut Document) -> Option<String> {
    match sent.remove("signing_secret") {
        Some(Value::String(secret)) => Some(secret),
        _ => None,
    }
}

/// By id, or by identifier.
async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<ResourceServerRow>, Failure> {
    match curfew_store::resource_servers::find(tx, tenant, id).await? {
        Some(row) => Ok(Some(row)),
        None => curfew_store::resource_servers::find_by_identifier(tx, tenant, id).await,
    }
}

/// `POST /resource-servers`.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    drop_nulls(&mut doc);
    let Some(Value::String(identifier)) = doc.remove("identifier") else {
        return Ok(Err(Refused::property("Expected type string", "identifier")));
    };
    if identifier.chars().any(char::is_whitespace) {
        return Ok(Err(Refused::property("An identifier has no white space", "identifier")));
    }
    // Tokens for these audiences are accepted by this server itself, with whatever scopes they have.
    let reserved = ["api/v2/", "userinfo"]
        .iter()
        .filter_map(|name| identifier.strip_suffix(name))
        .any(|issuer| config.is_own_issuer(issuer));
    if reserved {
        return Ok(Err(Refused::exists(format!(
            "A resource server with the identifier \"{identifier}\" already exists"
        ))));
    }
    let sent_secret = take_secret(&mut doc);
    add_defaults(&mut doc);
    doc.entry("name").or_insert_with(|| json!(identifier));
    granted!(check(&doc));
    let secret = signing_secret(&config, ctx, &doc, sent_secret.as_deref(), None);
    let key = signing_keys::make_if_missing(core, ctx, wanted_alg(&doc)).await?;
    let lifetime = longest_lifetime(&doc);
    let row = ResourceServerRow {
        id: ctx.entropy.hex(24),
        identifier,
        doc: text(&doc)?,
        signing_secret: secret,
        created_at: ctx.now,
    };
    let answer = view(&config, &row)?;
    let created = core
        .store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), write, row, lifetime, key),
            |tx, (ctx, write, row, lifetime, key)| {
                Box::pin(async move {
                    curfew_store::tenants::touch(tx, ctx.tenant).await?;
                    let secret = row.signing_secret.as_ref();
                    let (id, identifier, doc) = (&row.id, &row.identifier, &row.doc);
                    if !curfew_store::resource_servers::insert(tx, ctx, id, identifier, doc, secret).await? {
                        return Ok(Err(Refused::exists(format!(
                            "A resource server with the identifier \"{identifier}\" already exists"
                        ))));
                    }
                    curfew_store::resource_servers::set_lifetime(tx, ctx, identifier, *lifetime).await?;
                    signing_keys::store_new(tx, ctx, key).await?;
                    write.log(tx, ctx).await.map(Ok)
                })
            },
        )
        .await?;
    granted!(created);
    Ok(Ok(answer))
}

/// `GET /resource-servers/{id}`, where `id` may be the identifier.
pub async fn get(core: &Core, ctx: &Ctx, id: String) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let row = core.store.read((ctx.tenant, id), |tx, (tenant, id)| Box::pin(find(tx, *tenant, id))).await?;
    match row {
        Some(row) => Ok(Ok(view(&config, &row)?)),
        None => Ok(Err(Refused::Inexistent(Entity::ResourceServer))),
    }
}

/// `GET /resource-servers`, all or those with these identifiers.
pub async fn list(core: &Core, ctx: &Ctx, window: Window, identifiers: Vec<String>) -> Result<Page, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    core.store
        .read_long((ctx.tenant, window, identifiers, config), |tx, args| {
            Box::pin(async move {
                let (tenant, window, identifiers, config): &(
                    TenantId,
                    Window,
                    Vec<String>,
                    Arc<TenantConfig>,
                ) = args;
                let mut collector = Collector::new(window);
                scan!(tx, *tenant, curfew_store::resource_servers::list, window, id, |row, position| {
                    if identifiers.is_empty() || identifiers.contains(&row.identifier) {
                        collector.push(position, || view(config, &row))?
                    } else {
                        More::Wanted
                    }
                });
                Ok(collector.finish())
            })
        })
        .await
}

/// `PATCH /resource-servers/{id}`. Of the Management API itself only life-times and names may change.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    mut sent: Document,
) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let sent_secret = take_secret(&mut sent);
    let key = signing_keys::make_if_missing(core, ctx, wanted_alg(&sent)).await?;
    let args = (ctx.clone(), write, id, sent, sent_secret, Arc::clone(&config), key);
    let updated = core
        .store
        .transact(Lane::Ordinary, args, |tx, (ctx, write, id, sent, sent_secret, config, key)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                let Some(row) = find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::ResourceServer)));
                };
                let mut doc = stored("resource_servers", &row.id, &row.doc)?;
                if is_system(&doc) {
                    if sent_secret.is_some() {
                        return Ok(Err(Refused::not_supported(
                            "signing_secret of a system API cannot be changed",
                        )));
                    }
                    const OPEN: [&str; 3] = ["name", "token_lifetime", "token_lifetime_for_web"];
                    if let Some(name) = sent.keys().find(|name| !OPEN.contains(&name.as_str())) {
                        return Ok(Err(Refused::not_supported(format!(
                            "{name} of a system API cannot be changed"
                        ))));
                    }
                }
                merge(&mut doc, sent.clone());
                add_defaults(&mut doc);
                granted!(check(&doc));
                let secret = signing_secret(config, ctx, &doc, sent_secret.as_deref(), row.signing_secret);
                let row = ResourceServerRow { doc: text(&doc)?, signing_secret: secret, ..row };
                let secret = row.signing_secret.as_ref();
                curfew_store::resource_servers::update(tx, ctx.tenant, &row.id, &row.doc, secret).await?;
                let lifetime = longest_lifetime(&doc);
                curfew_store::resource_servers::set_lifetime(tx, ctx, &row.identifier, lifetime).await?;
                signing_keys::store_new(tx, ctx, key).await?;
                write.log(tx, ctx).await?;
                Ok(Ok(row))
            })
        })
        .await?;
    Ok(Ok(view(&config, &granted!(updated))?))
}

pub(super) fn is_system(doc: &Document) -> bool {
    doc.get("is_system").and_then(Value::as_bool).unwrap_or(false)
}

/// `DELETE /resource-servers/{id}`, also of one that is not there: with it go the client grants for it, and what was
/// issued for it ends.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: String) -> Outcome<()> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                let Some(row) = find(tx, ctx.tenant, id).await? else {
                    return write.log(tx, ctx).await.map(Ok);
                };
                if is_system(&stored("resource_servers", &row.id, &row.doc)?) {
                    return Ok(Err(Refused::Forbidden {
                        message: "System APIs cannot be deleted".to_owned(),
                        code: "operation_not_supported",
                    }));
                }
                let audience = &row.identifier;
                for grant in curfew_store::client_grants::list_of_audience(tx, ctx.tenant, audience).await? {
                    curfew_store::clients::touch(tx, ctx.tenant, &grant.client_id).await?;
                    curfew_store::client_grants::delete(tx, ctx.tenant, &grant.id).await?;
                }
                curfew_store::resource_servers::delete(tx, ctx.tenant, &row.id).await?;
                curfew_store::resource_servers::set_lifetime(tx, ctx, audience, 0).await?;
                write.log(tx, ctx).await?;
                let target = Target::ResourceServer { audience: audience.clone() };
                let ending = Ending::new(EndingCause::ResourceServerDeleted, target, write.caller.actor());
                endings::end(tx, ctx, &ending).await?;
                Ok(Ok(()))
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(sent: Value) -> Document {
        let Value::Object(mut doc) = sent else { panic!("no object") };
        add_defaults(&mut doc);
        doc
    }

    #[test]
    fn a_bare_api_has_the_recorded_defaults() {
        assert_eq!(
            Value::Object(made(json!({"name": "x"}))),
            json!({"name": "x", "signing_alg": "RS256", "allow_offline_access": false, "token_lifetime": 86_400,
                "token_lifetime_for_web": 7200, "skip_consent_for_verifiable_first_party_clients": false,
                "subject_type_authorization":
                    {"user": {"policy": "allow_all"}, "client": {"policy": "require_client_grant"}}})
        );
    }

    #[test]
    fn scopes_are_distinct_and_without_spaces() {
        assert!(check(&made(json!({"scopes": [{"value": "read:a"}, {"value": "write:a"}]}))).is_ok());
        for bad in
            [json!([{"value": "read a"}]), json!([{"value": "a"}, {"value": "a"}]), json!([{"value": "ä"}])]
        {
            assert!(check(&made(json!({"scopes": bad}))).is_err());
        }
    }
}
