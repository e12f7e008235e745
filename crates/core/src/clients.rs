//! Client authentication (RFC 6749 §2.3, RFC 7523).

use std::sync::Arc;

use curfew_model::config::{AuthMethod, Client};
use curfew_model::secret::constant_time_eq;
use curfew_model::{ClientId, Ctx, Decision, Failure, OAuthCode, Refusal, Secret};
use curfew_store::Lane;
use curfew_tokens::client_assertion::{self, Expected};
use curfew_tokens::{JwsAlg, PublicKey};
use serde_json::Value;

use crate::authorize::redirect;
use crate::{Core, TenantConfig};

/// How far in the future an assertion may expire.
const ASSERTION_SECONDS_MAX: i64 = 600;

/// What a request brought to authenticate its client.
#[derive(Debug, Clone, Default)]
pub struct ClientCredentials {
    /// `client_id`, from the body or the Basic header.
    pub client_id: Option<String>,
    /// `client_secret`, from the body or the Basic header.
    pub client_secret: Option<Secret<String>>,
    /// `client_assertion`.
    pub assertion: Option<String>,
    /// `client_assertion_type`.
    pub assertion_type: Option<String>,
    /// Whether body and header named different clients, or two methods were used at once (RFC 6749 §2.3).
    pub ambiguous: bool,
}

fn unauthorized(detail: &'static str) -> Refusal {
    Refusal::new(OAuthCode::AccessDenied, "Unauthorized").detail(detail)
}

/// Authenticates a client and answers it with the tenant's configuration, both as they are now.
///
/// Steps: 1 which client, 2 read tenant and client, 3 check by the client's own method. What a public client proves is
/// proven by its code, its PKCE verifier or its refresh token.
pub async fn authenticate(
    core: &Core,
    ctx: &Ctx,
    credentials: &ClientCredentials,
) -> Result<Decision<(Arc<TenantConfig>, Arc<Client>)>, Failure> {
    if credentials.ambiguous {
        let refusal = Refusal::new(OAuthCode::InvalidRequest, "Use one way of client authentication only");
        return Ok(Decision::Refused(refusal));
    }
    let claimed = match (&credentials.client_id, &credentials.assertion) {
        (Some(id), _) => Some(id.clone()),
        (None, Some(assertion)) => client_assertion::claimed_client_id(assertion).ok(),
        (None, None) => None,
    };
    let Some(id) = claimed.filter(|id| !id.is_empty()) else {
        let refusal = Refusal::new(OAuthCode::InvalidRequest, "Missing required parameter: client_id");
        return Ok(Decision::Refused(refusal));
    };
    if id.len() > 255 {
        return Ok(Decision::Refused(unauthorized("client_id too long")));
    }
    let (config, client) = core.configuration(ctx.tenant, &ClientId(id)).await?;
    let Some(client) = client else { return Ok(Decision::Refused(unauthorized("unknown client"))) };
    let refused = match client.auth_method() {
        AuthMethod::None => check_public(&client, credentials),
        AuthMethod::Secret => check_secret(&client, credentials),
        AuthMethod::PrivateKeyJwt => check_assertion(core, ctx, &config, &client, credentials).await?,
    };
    Ok(match refused {
        None => Decision::Granted((config, client)),
        Some(refusal) => Decision::Refused(refusal),
    })
}

/// As [`authenticate`], by what is cached and was sent, without asking the database. `None` where that does not prove the
/// client, or does not suffice to. Whoever goes on must see the versions of both in the statement that decides.
pub(crate) fn authenticate_cached(
    core: &Core,
    ctx: &Ctx,
    credentials: &ClientCredentials,
) -> Option<(Arc<TenantConfig>, Arc<Client>)> {
    let id = credentials.client_id.clone().filter(|_| !credentials.ambiguous)?;
    let (config, client) = core.cached_configuration(ctx.tenant, ClientId(id))?;
    let refused = match client.auth_method() {
        AuthMethod::None => check_public(&client, credentials),
        AuthMethod::Secret => check_secret(&client, credentials),
        AuthMethod::PrivateKeyJwt => return None,
    };
    refused.is_none().then_some((config, client))
}

/// A public client has no secret to send; one that sends its secret all the same must send the right one.
fn check_public(client: &Client, credentials: &ClientCredentials) -> Option<Refusal> {
    match &credentials.client_secret {
        Some(secret) if !secret.expose().is_empty() => check_secret(client, credentials),
        _ => None,
    }
}

fn check_secret(client: &Client, credentials: &ClientCredentials) -> Option<Refusal> {
    let Some(secret) = &credentials.client_secret else { return Some(unauthorized("client secret missing")) };
    let right = constant_time_eq(secret.expose().as_bytes(), client.secret.expose().as_bytes());
    (!right).then(|| unauthorized("wrong client secret"))
}

async fn check_assertion(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    credentials: &ClientCredentials,
) -> Result<Option<Refusal>, Failure> {
    let invalid = |detail: String| {
        Refusal::new(OAuthCode::InvalidClient, "Client authentication failed: invalid client assertion")
            .detail(detail)
    };
    let Some(assertion) = &credentials.assertion else {
        return Ok(Some(unauthorized("client assertion missing")));
    };
    if credentials.assertion_type.as_deref() != Some(client_assertion::CLIENT_ASSERTION_TYPE) {
        return Ok(Some(invalid("wrong client_assertion_type".to_owned())));
    }
    let named = client.doc.client_authentication_methods.as_ref();
    let named = named.and_then(|methods| methods.pointer("/private_key_jwt/credentials")?.as_array());
    let is_named = |id: &str| {
        named.is_some_and(|list| list.iter().any(|entry| entry.get("id").and_then(Value::as_str) == Some(id)))
    };
    let keys: Vec<PublicKey> = client
        .credentials
        .iter()
        .filter(|credential| is_named(&credential.id))
        .filter(|credential| credential.expires_at.is_none_or(|at| at > ctx.now))
        .filter_map(|credential| {
            let alg = JwsAlg::parse(credential.alg.as_deref().unwrap_or("RS256"))?;
            PublicKey::from_pem_or_der(credential.pem.as_bytes(), alg, credential.kid.as_deref()).ok()
        })
        .collect();
    let token_endpoint = format!("{}oauth/token", ctx.issuer);
    let mut audiences: Vec<&str> = vec![&ctx.issuer, ctx.issuer.trim_end_matches('/'), &token_endpoint];
    audiences.extend(config.domains.iter().map(|(_, issuer)| issuer.as_str()));
    let expected = Expected {
        client_id: client.id.as_str(),
        audiences: &audiences,
        now: ctx.now,
        lifetime_seconds_max: ASSERTION_SECONDS_MAX,
    };
    let verified = match client_assertion::verify(assertion, &keys, &expected) {
        Ok(verified) => verified,
        Err(error) => return Ok(Some(invalid(error.to_string()))),
    };
    // RFC 7523 §3: an assertion is good once.
    let id = format!("{}|{}", client.id, verified.jti);
    let arguments = (ctx.clone(), id, verified.expires_at);
    let first = core
        .store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, id, expires_at)| {
            Box::pin(curfew_store::codes::consume_once(
                tx,
                ctx.tenant,
                "client_assertion",
                id.as_bytes(),
                ctx.now,
                *expires_at,
            ))
        })
        .await?;
    Ok((!first).then(|| invalid("jti was used before".to_owned())))
}

/// Whether an origin is one of the client's `web_origins`.
pub fn is_web_origin(client: &Client, origin: &str) -> bool {
    client.doc.web_origins.iter().any(|own| own.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

/// Which origins may call with CORS: the client's own, and those of its callbacks.
pub fn allows_origin(client: &Client, origin: &str) -> bool {
    let listed = client.doc.web_origins.iter().chain(&client.doc.allowed_origins);
    listed.map(|entry| entry.trim_end_matches('/')).any(|entry| entry.eq_ignore_ascii_case(origin))
        || client.doc.callbacks.iter().any(|callback| redirect::origin(callback).as_deref() == Some(origin))
}
