//! What of a user is still alive, and until when they could act at the latest if they were blocked now.

use std::collections::BTreeSet;

use curfew_model::{ClientId, Ctx, Failure, GrantKey, Sid, Timestamp, UserId, UserKey};
use curfew_store::users::UserRow;
use curfew_store::{Tx, families, sessions, users};
use serde_json::{Value, json};

use super::users::key_of;
use super::{Document, Entity, Outcome, Refused, granted};
use crate::users::ACTIVITY_SECONDS;
use crate::{Core, TenantConfig};

/// Rows of one read.
const PAGE: i64 = 500;

/// `GET /users/{id}/access`.
///
/// Sessions and refresh tokens are counted. Access tokens are kept nowhere; what is known of them is that none was
/// issued after the user's last activity, and how long the tokens of each API live.
pub async fn of_user(core: &Core, ctx: &Ctx, user: UserId) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let found = core
        .store
        .read_long((ctx.clone(), user), |tx, (ctx, user)| {
            Box::pin(async move {
                let key = granted!(key_of(tx, ctx, user).await?);
                let Some(row) = users::find(tx, ctx.tenant, &key).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::User)));
                };
                Ok(Ok(Found::read(tx, ctx, &key, row).await?))
            })
        })
        .await?;
    let found = granted!(found);
    let mut applications = Vec::new();
    for client in &found.clients {
        let (_, client) = core.configuration(ctx.tenant, client).await?;
        // One that is gone keeps its own sessions all the same, but nobody knows of them any more.
        let Some(client) = client else { continue };
        let told = client.doc.oidc_logout.url().is_some();
        applications.push(json!({ "client_id": client.id, "name": client.doc.name, "logout_address": told }));
    }
    let servers = resource_servers(core, ctx, &config, found.last_token_at(ctx.now));
    Ok(Ok(found.view(ctx.now, &servers, applications)))
}

/// What the database knows.
#[derive(Debug)]
struct Found {
    user: UserRow,
    sessions: usize,
    families: usize,
    /// Who took part in a session that lives, or holds a refresh token.
    clients: BTreeSet<ClientId>,
}

impl Found {
    async fn read(tx: &mut Tx, ctx: &Ctx, key: &UserKey, user: UserRow) -> Result<Self, Failure> {
        let mut found = Self { user, sessions: 0, families: 0, clients: BTreeSet::new() };
        if found.user.blocked == Some(true) {
            return Ok(found);
        }
        let mut after = None;
        loop {
            let page = sessions::list(tx, ctx.tenant, key, after.as_ref(), ctx.now, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.sid.session);
            found.sessions += page.len();
            for Sid { user, session } in page.iter().map(|row| row.sid) {
                found.clients.extend(sessions::clients(tx, ctx.tenant, &Sid { user, session }).await?);
            }
        }
        let mut after: Option<GrantKey> = None;
        loop {
            let page = families::list(tx, ctx.tenant, key, None, after.as_ref(), ctx.now, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.grant);
            found.families += page.len();
            found.clients.extend(page.into_iter().map(|row| row.client_id));
        }
        Ok(found)
    }

    /// No access token was issued after this instant; `None`: none was ever issued. Activity is written when the stored
    /// one is older than a quarter of an hour.
    fn last_token_at(&self, now: Timestamp) -> Option<Timestamp> {
        let seen = self.user.last_activity.or(self.user.last_login)?;
        Some(seen.plus_seconds(ACTIVITY_SECONDS).min(now))
    }

    fn view(self, now: Timestamp, servers: &[Server], applications: Vec<Value>) -> Document {
        let latest = servers.iter().map(|server| server.acts_until(now)).max();
        let untold = applications.iter().filter(|application| application["logout_address"] == false);
        let untold: Vec<Value> = untold.map(|application| application["client_id"].clone()).collect();
        let mut doc = Document::new();
        doc.insert("user_id".into(), json!(self.user.user_id));
        doc.insert("blocked".into(), json!(self.user.blocked == Some(true)));
        doc.insert("last_activity".into(), json!(self.user.last_activity.map(Timestamp::iso)));
        doc.insert("sessions".into(), json!(self.sessions));
        doc.insert("refresh_tokens".into(), json!(self.families));
        doc.insert("resource_servers".into(), servers.iter().map(|server| server.view(now)).collect());
        doc.insert("applications".into(), json!(applications));
        doc.insert(
            "if_blocked_now".into(),
            json!({
                "at_resource_servers_until": latest.unwrap_or(now).iso(),
                "applications_that_cannot_be_told": untold,
            }),
        );
        doc
    }
}

/// An API at which the user may have a token that lives.
#[derive(Debug)]
struct Server {
    audience: String,
    expires_by: Timestamp,
    /// Guards that follow the feed at this node, and the longest of their leases. Those of other nodes are not known
    /// here: without them the answer is later than it need be, and never too early.
    guards: (usize, i64),
}

impl Server {
    /// Until when a token that lives now is accepted at the latest, if the user is blocked now. Whether every instance of
    /// an API has a guard is not known here; where there is one, the others are taken to have it too.
    fn acts_until(&self, now: Timestamp) -> Timestamp {
        match self.guards {
            (0, _) => self.expires_by,
            (_, lease_seconds) => self.expires_by.min(now.plus_seconds(lease_seconds)),
        }
    }

    fn view(&self, now: Timestamp) -> Value {
        json!({
            "audience": self.audience,
            "guards": self.guards.0,
            "access_tokens_expire_by": self.expires_by.iso(),
            "acts_until_if_blocked_now": self.acts_until(now).iso(),
        })
    }
}

/// The APIs for which a token issued by then still lives.
fn resource_servers(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    last_token_at: Option<Timestamp>,
) -> Vec<Server> {
    let Some(last) = last_token_at else { return Vec::new() };
    let mut servers: Vec<Server> = config
        .resource_servers
        .values()
        .filter(|server| !server.doc.is_system)
        .map(|server| Server {
            audience: server.identifier.clone(),
            expires_by: last.plus_seconds(server.token_lifetime_seconds()),
            guards: core.feed.guards_of(ctx.tenant, &server.identifier),
        })
        .filter(|server| server.expires_by > ctx.now)
        .collect();
    servers.sort_by(|one, other| one.audience.cmp(&other.audience));
    servers
}
