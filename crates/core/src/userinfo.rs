//! `/userinfo` (OIDC Core §5.3).

use curfew_model::{Ctx, Failure, UserKey};
use curfew_store::{Lane, users};
use serde_json::Value;

use crate::Core;
use crate::access_tokens::{self, Rejection, is_userinfo};
use crate::issue::{Subject, has_scope, profile_claims};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// 401 `invalid_token`.
    Token(Rejection),
    /// 403 `insufficient_scope`: `openid` was not granted.
    Scope,
}

/// The claims of the End-User behind an access token.
pub async fn claims(core: &Core, ctx: &Ctx, token: &str) -> Result<Result<Value, Denied>, Failure> {
    let live = match access_tokens::check(core, ctx, token, &is_userinfo).await? {
        Ok(live) => live,
        Err(rejection) => return Ok(Err(Denied::Token(rejection))),
    };
    let Some(user) = live.user else { return Ok(Err(Denied::Token(Rejection::Invalid))) };
    if !has_scope(&live.claims.scope, "openid") {
        return Ok(Err(Denied::Scope));
    }
    let user_key = live.claims.cfw.user.unwrap_or(UserKey([0; 12]));
    let stale = crate::users::stale(ctx.now);
    if user.last_activity.is_none_or(|at| at <= stale) {
        core.store
            .transact(Lane::Ordinary, (ctx.clone(), user_key), |tx, (ctx, user)| {
                let stale = crate::users::stale(ctx.now);
                Box::pin(users::record_activity(tx, ctx.tenant, user, ctx.now, stale))
            })
            .await?;
    }
    let subject = Subject {
        user_key,
        user_id: user.user_id,
        counter: user.counter,
        doc: serde_json::from_str(&user.doc).unwrap_or_default(),
        updated_at: user.updated_at,
    };
    let answer = curfew_tokens::claims::UserinfoClaims {
        sub: subject.user_id.as_str(),
        profile: profile_claims(&subject, &live.claims.scope),
        custom: None,
    };
    serde_json::to_value(answer)
        .map(Ok)
        .map_err(|error| Failure::Crypto(format!("writing userinfo: {error}").into()))
}
