//! What a client is handed: access tokens, ID tokens, refresh tokens.

use curfew_model::config::{Client, ResourceServer};
use curfew_model::{Ctx, Failure, GrantKey, Sid, Timestamp, UserId, UserKey};
use curfew_store::sessions::SessionRow;
use curfew_store::status_lists::Entry;
use curfew_tokens::claims::{
    AccessTokenClaims, Audience, Cfw, CustomClaims, IdTokenClaims, ProfileClaims, StatusReference,
    TokenDialect, half_hash,
};
use curfew_tokens::opaque::{RefreshTokenValue, TokenSecret};
use curfew_tokens::{JwsAlg, SealKind, SigningAlg, jws};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actions::commands::Limits;
use crate::{TenantConfig, status_lists};

/// Life-time of access tokens for `/userinfo` only.
const OPAQUE_SECONDS: i64 = 86_400;

/// Scopes that stand for claims rather than for an API's own.
pub const OIDC_SCOPES: [&str; 11] = [
    "openid",
    "profile",
    "email",
    "phone",
    "offline_access",
    "name",
    "given_name",
    "family_name",
    "nickname",
    "email_verified",
    "picture",
];

/// The End-User a token is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Internal key.
    pub user_key: UserKey,
    /// `sub`.
    pub user_id: UserId,
    /// The counter when this is issued.
    pub counter: i64,
    /// Profile and metadata.
    pub doc: Map<String, Value>,
    /// Last change of the profile.
    pub updated_at: Timestamp,
}

impl Subject {
    /// The person of a session, as read with it; `None` when they are gone.
    pub fn of_session(session: SessionRow, counter: i64) -> Option<Self> {
        Some(Self {
            user_key: session.sid.user,
            user_id: session.user_id?,
            counter,
            doc: session.user_doc.and_then(|doc| serde_json::from_str(&doc).ok()).unwrap_or_default(),
            updated_at: session.user_updated_at?,
        })
    }
}

/// What tokens are issued from.
#[derive(Debug, Clone)]
pub struct Issue<'a> {
    /// To whom.
    pub client: &'a Client,
    /// About whom; `None` for the client itself.
    pub subject: Option<&'a Subject>,
    /// For which API; `None` for `/userinfo` only.
    pub resource_server: Option<&'a ResourceServer>,
    /// Granted scope.
    pub scope: &'a str,
    /// The session, while it lives.
    pub sid: Option<Sid>,
    /// What the tokens hang on.
    pub grant: GrantKey,
    /// `gty`.
    pub gty: Option<&'a str>,
    /// Whether the tokens leave from the authorization endpoint, which shortens their life.
    pub from_authorization_endpoint: bool,
    /// Where the access token's status stands, when the API asks for it.
    pub status: Option<&'a Entry>,
    /// What Actions added.
    pub extras: Option<&'a Extras>,
}

/// What Actions add to what is issued. It travels sealed, from the Actions to the issuing: with a consent page, with a
/// code.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Extras {
    /// Custom claims of the access token.
    #[serde(rename = "a", default, skip_serializing_if = "CustomClaims::is_empty")]
    pub(crate) access_claims: CustomClaims,
    /// Custom claims of the ID token.
    #[serde(rename = "i", default, skip_serializing_if = "CustomClaims::is_empty")]
    pub(crate) id_claims: CustomClaims,
    /// Of the refresh token that begins.
    #[serde(rename = "r", default, skip_serializing_if = "Limits::is_empty")]
    pub(crate) refresh_token: Limits,
    /// The record of their executions, for the log.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) execution: Option<String>,
}

impl Extras {
    /// For the code: the record is in the login's log row already.
    pub(crate) fn of_code(&self) -> Option<Self> {
        let extras = Self { execution: None, ..self.clone() };
        (extras != Self::default()).then_some(extras)
    }

    /// What the log says of executions.
    pub(crate) fn note_in(&self, details: &mut Value) {
        if let Some(execution) = &self.execution {
            details["actions"] = serde_json::json!({ "executions": [execution] });
        }
    }
}

/// An access token, with what the client is told about it.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The token.
    pub value: String,
    /// Seconds.
    pub expires_in: i64,
    /// Its `jti`, for the log.
    pub jti: String,
}

/// The parts of an ID token that depend on the request.
#[derive(Debug, Clone, Default)]
pub struct IdTokenRequest<'a> {
    /// Echoed.
    pub nonce: Option<&'a str>,
    /// When the person authenticated, if the request asked.
    pub auth_time: Option<Timestamp>,
    /// The access token of the same authorization response.
    pub access_token: Option<&'a str>,
    /// The code of the same authorization response.
    pub code: Option<&'a str>,
    /// The `state` of the same authorization response.
    pub state: Option<&'a str>,
    /// Whether profile claims are left to `/userinfo` (OIDC Core §5.4: an access token was issued too). Auth0 puts
    /// them in both, and so does this server.
    pub claims_scope: &'a str,
}

/// Space-separated scope values, each once, in the order they came.
pub fn scope_values(scope: &str) -> impl Iterator<Item = &str> {
    let mut seen: Vec<&str> = Vec::new();
    scope.split(' ').filter(move |value| {
        let new = !value.is_empty() && !seen.contains(value);
        if new {
            seen.push(value);
        }
        new
    })
}

/// Whether a scope holds a value.
pub fn has_scope(scope: &str, value: &str) -> bool {
    scope.split(' ').any(|own| own == value)
}

/// What a user may be granted of a requested scope. Unknown values are dropped. The Management API gives users the
/// `current_user` scopes only, whoever asks.
pub fn grantable_scope(server: Option<&ResourceServer>, requested: &str) -> String {
    let mut granted = String::new();
    for value in scope_values(requested) {
        let of_api = server.is_some_and(|server| {
            server.doc.scopes.iter().any(|entry| entry.value == value)
                && (!server.doc.is_system || value.contains("current_user"))
        });
        if OIDC_SCOPES.contains(&value) || of_api {
            if !granted.is_empty() {
                granted.push(' ');
            }
            granted.push_str(value);
        }
    }
    granted
}

/// Removes a value from a scope.
pub fn without_scope(scope: &str, value: &str) -> String {
    scope_values(scope).filter(|own| *own != value).collect::<Vec<_>>().join(" ")
}

/// Whether a client that asks for `offline_access` gets a refresh token.
pub fn may_have_refresh_token(client: &Client, server: Option<&ResourceServer>) -> bool {
    // Without an API it is Auth0's old dialect, which knew none, unless the client says it speaks OpenID Connect.
    client.allows_grant("refresh_token")
        && server.map_or(client.doc.oidc_conformant, |server| server.doc.allow_offline_access)
}

/// What the `cfw` claim of a token carries.
fn cfw(issue: &Issue<'_>) -> Cfw {
    Cfw {
        user: issue.subject.map(|subject| subject.user_key),
        user_counter: issue.subject.map(|subject| subject.counter),
        client_counter: Some(issue.client.counter),
        grant: Some(issue.grant),
    }
}

/// How long an access token for an API lives, in seconds.
pub(crate) fn lifetime_seconds(server: &ResourceServer, from_authorization_endpoint: bool) -> i64 {
    if from_authorization_endpoint {
        server.token_lifetime_for_web_seconds()
    } else {
        server.token_lifetime_seconds()
    }
}

/// Issues an access token: a JWT for an API, a sealed value for `/userinfo`.
///
/// Failure: `Internal` when the API asks for a status and there is none, because its verifiers would trust the token for
/// as long as it says.
pub fn access_token(config: &TenantConfig, ctx: &Ctx, issue: &Issue<'_>) -> Result<AccessToken, Failure> {
    let lifetime = issue
        .resource_server
        .map_or(OPAQUE_SECONDS, |server| lifetime_seconds(server, issue.from_authorization_endpoint));
    if issue.status.is_none() && issue.resource_server.is_some_and(status_lists::asks) {
        return Err(Failure::Internal("an access token has no status where its API asks for one".into()));
    }
    let uri = issue.status.map(|entry| status_lists::uri(ctx, &entry.list_id));
    let status = issue.status.zip(uri.as_deref());
    let m2m_sub;
    let sub = match issue.subject {
        Some(subject) => subject.user_id.as_str(),
        None => {
            m2m_sub = format!("{}@clients", issue.client.id);
            &m2m_sub
        }
    };
    let userinfo = format!("{}userinfo", ctx.issuer);
    let jti = ctx.entropy.alphanumeric(22);
    let both;
    let (aud, dialect) = match issue.resource_server {
        Some(server) => {
            let dialect =
                server.doc.token_dialect.as_deref().and_then(TokenDialect::parse).unwrap_or_default();
            let for_userinfo = issue.subject.is_some() && has_scope(issue.scope, "openid");
            both = [server.identifier.as_str(), userinfo.as_str()];
            (if for_userinfo { Audience::Many(&both) } else { Audience::One(&server.identifier) }, dialect)
        }
        None => (Audience::One(&userinfo), TokenDialect::default()),
    };
    let claims = AccessTokenClaims {
        dialect,
        iss: &ctx.issuer,
        sub,
        aud,
        iat: ctx.now.seconds(),
        exp: ctx.now.seconds() + lifetime,
        scope: issue.scope,
        client_id: issue.client.id.as_str(),
        gty: issue.gty,
        jti: &jti,
        sid: issue.sid,
        cfw: cfw(issue),
        permissions: &[],
        cnf: None,
        status: status.map(|(entry, uri)| StatusReference { uri, idx: entry.idx }),
        org: None,
        // Not in tokens of the server's own API, nor in sealed ones: nobody reads them there, and long ones could not be
        // opened again.
        custom: issue
            .extras
            .filter(|_| issue.resource_server.is_some_and(|server| !server.doc.is_system))
            .map(|extras| &extras.access_claims),
    };
    let value = match issue.resource_server {
        Some(server) => sign_access_token(config, server, dialect, &claims)?,
        None => {
            let plaintext = serde_json::to_vec(&claims)
                .map_err(|error| Failure::Crypto(format!("writing claims: {error}").into()))?;
            config.seal(SealKind::AccessToken, &plaintext, ctx)
        }
    };
    Ok(AccessToken { value, expires_in: lifetime, jti })
}

fn sign_access_token(
    config: &TenantConfig,
    server: &ResourceServer,
    dialect: TokenDialect,
    claims: &impl Serialize,
) -> Result<String, Failure> {
    if server.doc.signing_alg.as_deref() == Some("HS256") {
        let secret = server.signing_secret.as_ref().ok_or(Failure::Inconsistent {
            table: "resource_servers",
            column: "signing_secret",
            id: server.id.clone(),
        })?;
        return jws::sign_hs256(secret.expose().as_bytes(), dialect.typ(), claims);
    }
    jws::sign_compact(config.signing_key(signing_alg(server))?, dialect.typ(), claims)
}

/// With which of the tenant's keys an API's access tokens are signed, where it is not with the API's own secret.
fn signing_alg(server: &ResourceServer) -> SigningAlg {
    server.doc.signing_alg.as_deref().and_then(SigningAlg::parse).unwrap_or(SigningAlg::RS256)
}

/// The `kid` of an API's access tokens; empty where the API's own secret signs them.
pub(crate) fn signing_kid<'a>(config: &'a TenantConfig, server: &ResourceServer) -> Result<&'a str, Failure> {
    if server.doc.signing_alg.as_deref() == Some("HS256") {
        return Ok("");
    }
    config.signing_key(signing_alg(server)).map(|key| key.kid())
}

/// Issues an ID token.
pub fn id_token(
    config: &TenantConfig,
    ctx: &Ctx,
    issue: &Issue<'_>,
    request: &IdTokenRequest<'_>,
) -> Result<String, Failure> {
    let Some(subject) = issue.subject else {
        return Err(Failure::Internal("an ID token needs a subject".into()));
    };
    let client = issue.client;
    let alg_name = client.doc.jwt_configuration.alg.as_deref().unwrap_or("RS256");
    let alg = SigningAlg::parse(alg_name).unwrap_or(SigningAlg::RS256);
    let hash_alg = if alg_name == "HS256" { JwsAlg::HS256 } else { alg.jws() };
    let hash = |value: Option<&str>| value.map(|value| half_hash(hash_alg, value));
    let (at_hash, c_hash, s_hash) = (
        hash(request.access_token),
        hash(request.code),
        hash(request.state.filter(|_| request.code.is_some())),
    );
    let claims = IdTokenClaims {
        iss: &ctx.issuer,
        sub: subject.user_id.as_str(),
        aud: client.id.as_str(),
        iat: ctx.now.seconds(),
        exp: ctx.now.seconds() + client.id_token_lifetime_seconds(),
        sid: issue.sid,
        nonce: request.nonce,
        auth_time: request.auth_time.map(Timestamp::seconds),
        at_hash: at_hash.as_deref(),
        c_hash: c_hash.as_deref(),
        s_hash: s_hash.as_deref(),
        profile: profile_claims(subject, request.claims_scope),
        custom: issue.extras.map(|extras| &extras.id_claims),
        ..IdTokenClaims::default()
    };
    if alg_name == "HS256" {
        return jws::sign_hs256(client.secret.expose().as_bytes(), "JWT", &claims);
    }
    jws::sign_compact(config.signing_key(alg)?, "JWT", &claims)
}

/// The claims a scope covers (OIDC Core §5.4, and Auth0's single-claim scopes).
pub fn profile_claims<'a>(subject: &'a Subject, scope: &str) -> ProfileClaims<'a> {
    let text = |name: &str, group: &str| {
        let covered = has_scope(scope, group) || has_scope(scope, name);
        covered.then(|| subject.doc.get(name).and_then(Value::as_str)).flatten()
    };
    let flag = |name: &str, group: &str| {
        let covered = has_scope(scope, group) || has_scope(scope, name);
        covered.then(|| subject.doc.get(name).and_then(Value::as_bool)).flatten()
    };
    ProfileClaims {
        name: text("name", "profile"),
        nickname: text("nickname", "profile"),
        picture: text("picture", "profile"),
        given_name: text("given_name", "profile"),
        family_name: text("family_name", "profile"),
        updated_at: has_scope(scope, "profile").then_some(subject.updated_at),
        email: text("email", "email"),
        email_verified: flag("email_verified", "email"),
        phone_number: text("phone_number", "phone"),
        phone_number_verified: flag("phone_verified", "phone"),
    }
}

/// Seals a refresh token.
pub fn refresh_token(
    config: &TenantConfig,
    ctx: &Ctx,
    user: UserKey,
    grant: GrantKey,
    generation: u32,
    secret: &TokenSecret,
) -> String {
    let value = RefreshTokenValue { user, grant, generation, secret: *secret };
    config.seal(SealKind::RefreshToken, &value.encode(), ctx)
}

/// The answer of the token endpoint (RFC 6749 §5.1).
#[derive(Debug, Clone, Serialize)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// On `offline_access`, and when it rotates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// On `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// Granted scope.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Seconds.
    pub expires_in: i64,
    /// `Bearer`.
    pub token_type: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_scopes_are_dropped_and_each_is_granted_once() {
        assert_eq!(grantable_scope(None, "openid  read:x openid email"), "openid email");
        assert_eq!(without_scope("openid offline_access email", "offline_access"), "openid email");
    }

    #[test]
    fn users_get_no_scope_of_the_management_api_but_their_own() {
        let server = ResourceServer {
            id: "1".to_owned(),
            identifier: "https://x/api/v2/".to_owned(),
            doc: serde_json::from_str(
                r#"{"is_system":true,"scopes":[{"value":"read:users"},{"value":"read:current_user"}]}"#,
            )
            .unwrap(),
            signing_secret: None,
            floor: Timestamp::default(),
        };
        assert_eq!(
            grantable_scope(Some(&server), "openid read:users read:current_user"),
            "openid read:current_user"
        );
    }
}
