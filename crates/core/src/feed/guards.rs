//! Who may follow the feed, and what guards say of themselves.

use curfew_model::{ClientId, Ctx, Failure, Secret, TenantId, Timestamp, UserKey};
use curfew_store::{Lane, users};
use serde::Deserialize;

use crate::access_tokens::{self, Rejection, is_management};
use crate::issue::has_scope;
use crate::{Core, TenantConfig};

/// The scope of guards; every API has it without naming it.
pub const GUARD_SCOPE: &str = "curfew:guard";

/// A guard, by the token it sent.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Before which API: its identifier.
    pub audience: String,
    /// As which client.
    pub client: ClientId,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// The token, to be looked at again.
    pub(crate) token: Secret<String>,
}

impl Guard {
    /// Whether it is the same client before the same API.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.tenant, &self.audience, &self.client) == (other.tenant, &other.audience, &other.client)
    }
}

/// Why somebody is no guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The token is not accepted.
    Token,
    /// It lives, and is not for this.
    Scope,
}

/// Checks a guard's token: a client's own, for one API of this tenant's, with the scope `curfew:guard` that its client
/// grant still gives.
pub async fn authorize(core: &Core, ctx: &Ctx, token: &str) -> Result<Result<Guard, Denied>, Failure> {
    let live = match access_tokens::check(core, ctx, token, &is_api).await? {
        Ok(live) => live,
        Err(Rejection::Invalid | Rejection::Expired | Rejection::Ended) => return Ok(Err(Denied::Token)),
    };
    let Some(audience) = live.claims.aud.iter().find(|aud| is_api(aud, &live.config)) else {
        return Ok(Err(Denied::Token));
    };
    let granted =
        live.claims.cfw.grant.and_then(|key| live.client.grants.iter().find(|g| g.grant_key == key));
    let still = granted.is_some_and(|grant| grant.doc.scope.iter().any(|scope| scope == GUARD_SCOPE));
    if live.user.is_some() || !still || !has_scope(&live.claims.scope, GUARD_SCOPE) {
        return Ok(Err(Denied::Scope));
    }
    Ok(Ok(Guard {
        tenant: ctx.tenant,
        audience: audience.clone(),
        client: live.client.id.clone(),
        expires_at: Timestamp::from_seconds(live.claims.exp),
        token: Secret::new(token.to_owned()),
    }))
}

/// Whether an audience is an API of the tenant's own.
fn is_api(audience: &str, config: &TenantConfig) -> bool {
    config.resource_server(audience).is_some() && !is_management(audience, config)
}

/// What a guard does when its view is too old. There is no third way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stale {
    /// It asks about each token.
    Introspect,
    /// It refuses.
    Refuse,
}

/// What a guard says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Announcement {
    /// Its name among the API's guards; at most 100 characters.
    pub name: String,
    /// Which of the guards of that name it is, from its start to its end; at most 100 characters. One that does not say is
    /// another with each stream.
    #[serde(default)]
    pub instance: Option<String>,
    /// How long it trusts what it knows, 1 to 60 seconds.
    pub lease_seconds: u8,
    /// What it does after that.
    pub stale: Stale,
}

/// Somebody made requests: whose token it was, and when in Unix seconds.
pub type Activity = (UserKey, i64);

/// Notes that people were there, as guards saw them. Instants to come count as now.
pub async fn record_activity(core: &Core, ctx: &Ctx, activity: Vec<Activity>) -> Result<(), Failure> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), activity), |tx, (ctx, activity)| {
            Box::pin(async move {
                for (user, seconds) in activity {
                    let at = Timestamp::from_seconds(*seconds).min(ctx.now);
                    users::record_activity(tx, ctx.tenant, user, at, crate::users::stale(at)).await?;
                }
                Ok(())
            })
        })
        .await
}
