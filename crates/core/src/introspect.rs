//! `POST /oauth/introspect` (RFC 7662), and the check that proxies ask for.

use curfew_model::config::{AuthMethod, Client};
use curfew_model::{Ctx, Decision, Failure, OAuthCode, Refusal};
use curfew_tokens::claims::AccessToken;
use serde_json::{Value, json};

use crate::access_tokens::{self, LiveToken, Rejection, is_management};
use crate::clients::{self, ClientCredentials};
use crate::feed::{self, Denied, GUARD_SCOPE, Guard};
use crate::{Core, TenantConfig};

/// Who asks about a token.
#[derive(Debug)]
pub enum Caller {
    /// A guard, by its own access token.
    Bearer(String),
    /// A client that authenticates.
    Client(ClientCredentials),
}

/// Why a caller learns nothing.
#[derive(Debug)]
pub enum Unanswered {
    /// Its access token is not accepted, or is not for this.
    Bearer(Denied),
    /// It did not authenticate.
    Client(Refusal),
}

/// What is known of a token (RFC 7662 §2.2). Of whatever is no living access token for the caller's own API nothing is
/// said but that it is not active.
///
/// Steps: 1 the caller: a guard, or a client with the scope `curfew:guard` for some API, 2 the token lives, for an API
/// of the caller's.
pub async fn introspect(
    core: &Core,
    ctx: &Ctx,
    caller: &Caller,
    token: &str,
) -> Result<Result<Value, Unanswered>, Failure> {
    let apis = match caller {
        Caller::Bearer(own) => match feed::authorize(core, ctx, own).await? {
            Ok(Guard { audience, .. }) => vec![audience],
            Err(denied) => return Ok(Err(Unanswered::Bearer(denied))),
        },
        Caller::Client(credentials) => match clients::authenticate(core, ctx, credentials).await? {
            // Who proves nothing could be anybody.
            Decision::Granted((_, client)) if client.auth_method() == AuthMethod::None => {
                let refusal = Refusal::new(OAuthCode::AccessDenied, "Unauthorized");
                return Ok(Err(Unanswered::Client(refusal)));
            }
            Decision::Granted((_, client)) => guarded_by(&client),
            Decision::Refused(refusal) => return Ok(Err(Unanswered::Client(refusal))),
        },
    };
    let of_caller = move |audience: &str, config: &TenantConfig| {
        !is_management(audience, config) && apis.iter().any(|api| api == audience)
    };
    Ok(Ok(match access_tokens::check(core, ctx, token, &of_caller).await? {
        Ok(live) => answer(&live),
        Err(Rejection::Invalid | Rejection::Expired | Rejection::Ended) => json!({"active": false}),
    }))
}

/// The APIs before which a client may stand as a guard.
fn guarded_by(client: &Client) -> Vec<String> {
    let guards =
        client.grants.iter().filter(|grant| grant.doc.scope.iter().any(|scope| scope == GUARD_SCOPE));
    guards.map(|grant| grant.audience.clone()).collect()
}

fn answer(live: &LiveToken) -> Value {
    let AccessToken { iss, sub, aud, client_id, scope, jti, sid, cfw, permissions, iat, exp, .. } =
        &live.claims;
    let mut answer = json!({
        "active": true,
        "token_type": "Bearer",
        "iss": iss,
        "sub": sub,
        "aud": aud,
        "client_id": client_id,
        "iat": iat,
        "exp": exp,
        "jti": jti,
        "cfw": cfw,
    });
    if !scope.is_empty() {
        answer["scope"] = json!(scope);
    }
    if let Some(sid) = sid {
        answer["sid"] = json!(sid.to_string());
    }
    if let Some(permissions) = permissions {
        answer["permissions"] = json!(permissions);
    }
    answer
}

/// Checks the token of a request that a proxy holds back meanwhile.
pub async fn check_for(
    core: &Core,
    ctx: &Ctx,
    audience: &str,
    token: &str,
) -> Result<Result<LiveToken, Rejection>, Failure> {
    let own = |own: &str, config: &TenantConfig| own == audience && !is_management(own, config);
    access_tokens::check(core, ctx, token, &own).await
}
