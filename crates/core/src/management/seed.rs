//! What a tenant begins with: keys, the default connection, the Management API, the first clients.
//!
//! Every start runs this. It is safe for two nodes that start at once (guarded inserts under the tenant's row) and
//! makes again nothing that an operator deleted, except what the configuration asks for by name.

use curfew_model::config::AppType;
use curfew_model::{ClientId, Ctx, Failure, Secret, Timestamp};
use curfew_store::resource_servers::ResourceServerRow;
use curfew_store::signing_keys::{self as key_rows, KeyState, NewSigningKey};
use curfew_store::{Lane, Tx};
use curfew_tokens::SigningAlg;
use serde_json::{Value, json};

use super::page::{More, Position, Window, scan};
use super::{Document, clients, connections, resource_servers, signing_keys, stored, text};
use crate::Core;
use crate::config::sealing_label;

/// The connection every tenant begins with.
pub const DEFAULT_CONNECTION: &str = "Username-Password-Authentication";

/// Every scope of the Management API, also of operations that come later.
const SCOPES: &str = include_str!("scopes.txt");

/// What the configuration asks for.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The host of the tenant's issuer, with its port where it is not the scheme's own.
    pub host: String,
    /// `CURFEW_BOOTSTRAP_CLIENT_ID` and `_SECRET`: a machine-to-machine client, made if absent.
    pub bootstrap: Option<(ClientId, Secret<String>)>,
}

/// What was made, to be shown once.
#[derive(Debug, Default)]
pub struct Seeded {
    /// Whether this was the tenant's first start.
    pub first: bool,
    /// The sample single-page application, made at the first start.
    pub sample_client: Option<ClientId>,
    /// A machine-to-machine client, made at the first start when the configuration names none.
    pub machine_client: Option<(ClientId, Secret<String>)>,
}

/// Makes what is not there. `ctx.issuer` is the tenant's issuer.
///
/// Steps: 1 the sealing key and the signing keys, because everything else rests on them, 2 the rest, in one
/// transaction under the tenant's row.
pub async fn seed(core: &Core, ctx: &Ctx, seed: &Seed) -> Result<Seeded, Failure> {
    make_keys(core, ctx).await?;
    make_rest(core, ctx, seed).await
}

async fn make_keys(core: &Core, ctx: &Ctx) -> Result<(), Failure> {
    let (sealing_keys, keys) = core
        .store
        .read(ctx.tenant, |tx, tenant| {
            Box::pin(async move {
                let count = key_rows::count_sealing_keys(tx, *tenant).await?;
                Ok((count, key_rows::list(tx, *tenant).await?))
            })
        })
        .await?;
    let has = |state| keys.iter().any(|key| key.state == state && key.alg == SigningAlg::RS256.as_str());
    let mut missing: Vec<(NewSigningKey, KeyState)> = Vec::new();
    for state in [KeyState::Current, KeyState::Next] {
        if !has(state) {
            missing.push((signing_keys::make(core, ctx, SigningAlg::RS256).await?, state));
        }
    }
    if missing.is_empty() && sealing_keys > 0 {
        return Ok(());
    }
    let bytes: [u8; 32] = ctx.entropy.bytes();
    let wrapped = Secret::new(core.kek.wrap(&sealing_label(ctx.tenant, 1), &bytes, &*ctx.entropy));
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), wrapped, missing), |tx, (ctx, wrapped, missing)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                // Another node may have been first: then its keys stay.
                if key_rows::count_sealing_keys(tx, ctx.tenant).await? == 0 {
                    key_rows::insert_sealing_key(tx, ctx, 1, wrapped).await?;
                }
                for (key, state) in missing {
                    key_rows::insert(tx, ctx, key, *state).await?;
                }
                Ok(())
            })
        })
        .await
}

/// A client with its sealed secret, ready to be stored.
#[derive(Debug)]
struct NewClient {
    id: ClientId,
    doc: String,
    secret: Secret<String>,
}

/// What the transaction may need, drawn beforehand.
#[derive(Debug)]
struct Parts {
    host: String,
    connection_id: String,
    connection_doc: String,
    api: ResourceServerRow,
    scopes: Vec<String>,
    /// Made if absent.
    bootstrap: Option<NewClient>,
    /// Made at the first start, when there is no bootstrap client.
    machine: Option<NewClient>,
    sample: NewClient,
    grant_ids: [String; 2],
}

async fn make_rest(core: &Core, ctx: &Ctx, seed: &Seed) -> Result<Seeded, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let client = |id: ClientId, secret: &str, doc: Value| -> Result<NewClient, Failure> {
        let Value::Object(mut doc) = doc else {
            return Err(Failure::Internal("a client's document is an object".into()));
        };
        clients::add_defaults(&mut doc);
        Ok(NewClient { id, doc: text(&doc)?, secret: clients::seal_secret(&config, ctx, secret) })
    };
    let machine_doc = |name: &str| {
        json!({
            "name": name,
            "app_type": "non_interactive",
            "grant_types": ["client_credentials"],
            "oidc_conformant": true,
            "jwt_configuration": { "alg": "RS256", "lifetime_in_seconds": 36000, "secret_encoded": false },
        })
    };
    let (machine_id, machine_secret) = (new_client_id(ctx), ctx.entropy.url_safe(64));
    let mut connection = Document::new();
    connections::add_defaults(&mut connection, DEFAULT_CONNECTION);
    let parts = Parts {
        host: seed.host.clone(),
        connection_id: format!("con_{}", ctx.entropy.alphanumeric(16)),
        connection_doc: text(&connection)?,
        api: management_api(ctx)?,
        scopes: scopes(),
        bootstrap: match &seed.bootstrap {
            Some((id, secret)) => Some(client(id.clone(), secret.expose(), machine_doc("Bootstrap"))?),
            None => None,
        },
        machine: match &seed.bootstrap {
            Some(_) => None,
            None => Some(client(machine_id.clone(), &machine_secret, machine_doc("First machine"))?),
        },
        sample: client(new_client_id(ctx), &ctx.entropy.url_safe(64), sample_doc())?,
        grant_ids: [new_grant_id(ctx), new_grant_id(ctx)],
    };
    let sample_id = parts.sample.id.clone();
    let first = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), parts), |tx, (ctx, parts)| Box::pin(store(tx, ctx, parts)))
        .await?;
    Ok(Seeded {
        first,
        sample_client: first.then_some(sample_id),
        machine_client: (first && seed.bootstrap.is_none())
            .then(|| (machine_id, Secret::new(machine_secret))),
    })
}

/// Stores what is missing; whether this was the first start.
async fn store(tx: &mut Tx, ctx: &Ctx, parts: &Parts) -> Result<bool, Failure> {
    curfew_store::tenants::touch(tx, ctx.tenant).await?;
    curfew_store::tenants::set_domain(tx, ctx, &parts.host, &ctx.issuer).await?;
    curfew_store::feed::number(tx, crate::feed::new_number(&*ctx.entropy)).await?;
    let start = Position::start();
    let any_client = curfew_store::clients::list(tx, ctx.tenant, (start.at, &start.id), 1).await?;
    let any_connection = curfew_store::connections::list(tx, ctx.tenant, (start.at, &start.id), 1).await?;
    let first = any_client.is_empty() && any_connection.is_empty();
    let api_is_new = store_management_api(tx, ctx, parts).await?;
    if first {
        let (id, doc) = (&parts.connection_id, &parts.connection_doc);
        curfew_store::connections::insert(tx, ctx, id, DEFAULT_CONNECTION, "auth0", doc).await?;
        let sample = &parts.sample;
        curfew_store::clients::insert(tx, ctx, &sample.id, &sample.doc, &sample.secret).await?;
        curfew_store::connections::enable_for(tx, ctx.tenant, id, &sample.id).await?;
        if let Some(machine) = &parts.machine {
            curfew_store::clients::insert(tx, ctx, &machine.id, &machine.doc, &machine.secret).await?;
            grant_everything(tx, ctx, parts, &machine.id, &parts.grant_ids[0]).await?;
        }
    }
    if let Some(bootstrap) = &parts.bootstrap {
        let (id, doc, secret) = (&bootstrap.id, &bootstrap.doc, &bootstrap.secret);
        let made = curfew_store::clients::insert(tx, ctx, id, doc, secret).await?;
        if made || api_is_new {
            grant_everything(tx, ctx, parts, id, &parts.grant_ids[1]).await?;
        }
    }
    Ok(first)
}

/// Makes the Management API under this issuer, or adds the scopes it has gained; whether it was made.
///
/// Failure: [`Failure::Internal`] when an operator's own API stands under the identifier. Its tokens and client grants
/// name scopes the operator chose, and must not become the Management API's by a change of the issuer.
async fn store_management_api(tx: &mut Tx, ctx: &Ctx, parts: &Parts) -> Result<bool, Failure> {
    let api = &parts.api;
    let present = curfew_store::resource_servers::find_by_identifier(tx, ctx.tenant, &api.identifier).await?;
    let Some(present) = present else {
        curfew_store::resource_servers::insert(tx, ctx, &api.id, &api.identifier, &api.doc, None).await?;
        curfew_store::resource_servers::set_lifetime(tx, ctx, &api.identifier, 86_400).await?;
        carry_grants_over(tx, ctx, &api.identifier).await?;
        return Ok(true);
    };
    let mut doc = stored("resource_servers", &present.id, &present.doc)?;
    if !resource_servers::is_system(&doc) {
        return Err(Failure::Internal(
            format!(
                "an API called {} stands where the Management API belongs: delete it first",
                api.identifier
            )
            .into(),
        ));
    }
    let wanted = stored("resource_servers", &api.id, &api.doc)?.remove("scopes");
    if doc.get("scopes") != wanted.as_ref() {
        doc.insert("scopes".into(), wanted.unwrap_or(Value::Null));
        curfew_store::resource_servers::update(tx, ctx.tenant, &present.id, &text(&doc)?, None).await?;
    }
    Ok(false)
}

/// The tenant's issuer has changed: clients that could use the Management API under the old one can under the new.
async fn carry_grants_over(tx: &mut Tx, ctx: &Ctx, identifier: &str) -> Result<(), Failure> {
    let window = Window::After { position: Position::start(), take: usize::MAX };
    let mut older = Vec::new();
    scan!(tx, ctx.tenant, curfew_store::resource_servers::list, &window, id, |row, _position| {
        if row.identifier != identifier
            && resource_servers::is_system(&stored("resource_servers", &row.id, &row.doc)?)
        {
            older.push(row.identifier);
        }
        More::Wanted
    });
    for audience in older {
        for grant in curfew_store::client_grants::list_of_audience(tx, ctx.tenant, &audience).await? {
            curfew_store::clients::touch(tx, ctx.tenant, &grant.client_id).await?;
            let id = new_grant_id(ctx);
            curfew_store::client_grants::insert(tx, ctx, &id, &grant.client_id, identifier, &grant.doc)
                .await?;
        }
    }
    Ok(())
}

/// Gives a client every scope of the Management API, also those it will gain.
async fn grant_everything(
    tx: &mut Tx,
    ctx: &Ctx,
    parts: &Parts,
    client: &ClientId,
    grant_id: &str,
) -> Result<(), Failure> {
    curfew_store::clients::touch(tx, ctx.tenant, client).await?;
    let doc = json!({ "scope": parts.scopes, "subject_type": "client" }).to_string();
    curfew_store::client_grants::insert(tx, ctx, grant_id, client, &parts.api.identifier, &doc)
        .await
        .map(drop)
}

/// The clients of the first start, for a server that starts again before anybody has set it up: the oldest
/// machine-to-machine and the oldest single-page one. Secrets are sealed, so they can still be shown.
pub async fn first_clients(
    core: &Core,
    ctx: &Ctx,
) -> Result<Option<(ClientId, Secret<String>, ClientId)>, Failure> {
    let rows = core
        .store
        .read(ctx.tenant, |tx, tenant| {
            let start = Timestamp::from_micros(i64::MIN);
            Box::pin(curfew_store::clients::list(tx, *tenant, (start, ""), 16))
        })
        .await?;
    let (mut machine, mut sample) = (None, None);
    for row in rows {
        let (_, found) = core.configuration(ctx.tenant, &row.client_id).await?;
        let Some(client) = found else { continue };
        match client.doc.app_type {
            Some(AppType::NonInteractive) if machine.is_none() => machine = Some(client),
            Some(AppType::Spa) if sample.is_none() => sample = Some(client),
            _ => {}
        }
    }
    Ok(machine
        .zip(sample)
        .map(|(machine, sample)| (machine.id.clone(), machine.secret.clone(), sample.id.clone())))
}

fn new_client_id(ctx: &Ctx) -> ClientId {
    ClientId(ctx.entropy.alphanumeric(32))
}

fn new_grant_id(ctx: &Ctx) -> String {
    format!("cgr_{}", ctx.entropy.alphanumeric(16))
}

fn scopes() -> Vec<String> {
    SCOPES.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The Management API as an API of the tenant.
fn management_api(ctx: &Ctx) -> Result<ResourceServerRow, Failure> {
    let scopes: Vec<Value> = scopes()
        .iter()
        .map(|scope| {
            let (verb, thing) = match scope.split_once(':') {
                Some(named) => named,
                // `ssf.manage` and `ssf.read`: the names are the framework's.
                None => (scope.trim_start_matches("ssf."), "streams of security events"),
            };
            json!({ "value": scope, "description": format!("{verb} {}", thing.replace('_', " ")) })
        })
        .collect();
    let Value::Object(mut doc) = json!({
        "name": "Management API",
        "is_system": true,
        "scopes": scopes,
        "skip_consent_for_verifiable_first_party_clients": true,
    }) else {
        return Err(Failure::Internal("an API's document is an object".into()));
    };
    resource_servers::add_defaults(&mut doc);
    Ok(ResourceServerRow {
        id: ctx.entropy.hex(24),
        identifier: format!("{}api/v2/", ctx.issuer),
        doc: text(&doc)?,
        signing_secret: None,
        created_at: ctx.now,
    })
}

/// A single-page application on this machine, ready for Auth0's SDKs.
fn sample_doc() -> Value {
    json!({
        "name": "Sample application",
        "app_type": "spa",
        "oidc_conformant": true,
        "grant_types": ["authorization_code", "refresh_token"],
        "callbacks": ["http://localhost:3000", "http://localhost:3000/callback"],
        "allowed_logout_urls": ["http://localhost:3000"],
        "web_origins": ["http://localhost:3000"],
        "allowed_origins": ["http://localhost:3000"],
        "jwt_configuration": { "alg": "RS256", "lifetime_in_seconds": 36000, "secret_encoded": false },
        "refresh_token": {
            "rotation_type": "rotating",
            "expiration_type": "expiring",
            "leeway": 10,
            "token_lifetime": 2_592_000,
            "infinite_token_lifetime": false,
            "idle_token_lifetime": 1_296_000,
            "infinite_idle_token_lifetime": false,
        },
        "skip_non_verifiable_callback_uri_confirmation_prompt": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::{MANAGE_SCOPE, READ_SCOPE};

    #[test]
    fn scopes_are_many_distinct_and_well_formed() {
        let scopes = scopes();
        let distinct: std::collections::BTreeSet<&String> = scopes.iter().collect();
        assert_eq!(distinct.len(), scopes.len());
        assert!(scopes.len() > 200);
        let of_streams = |scope: &str| scope == MANAGE_SCOPE || scope == READ_SCOPE;
        assert!(scopes.iter().all(|scope| scope.contains(':') != of_streams(scope) && !scope.contains(' ')));
    }
}
