//! Where Actions stand in the grants that are about a person: after the token or the password was judged, before anything
//! is written down or issued. Nothing is held while they run; what is judged is judged again after them.

use curfew_model::config::{ActionTrigger, Client};
use curfew_model::{
    ClientId, Ctx, Decision, EndingCause, Failure, LogCode, OAuthCode, Refusal, Sid, UserKey,
};
use curfew_store::families::FamilyRow;
use curfew_store::sessions::SessionRow;
use curfew_store::users::{IdentityRow, UserRow};
use curfew_store::{Lane, Tx, sessions, users};
use serde_json::{Value, json};

use super::Request;
use crate::TenantConfig;
use crate::actions::apply::{self, OfSession};
use crate::actions::commands::Effects;
use crate::actions::event;
use crate::actions::pipeline::{self, From, Run};
use crate::endings::{self, Actor, Ending, Target};
use crate::issue::Extras;

/// What the Actions are about.
#[derive(Debug)]
pub(super) struct About<'a> {
    /// `event.transaction.protocol`.
    pub protocol: &'static str,
    /// What was asked for.
    pub scope: &'a str,
    /// The API.
    pub audience: Option<&'a str>,
    /// Who.
    pub user: UserKey,
    /// The connection of the identity.
    pub connection_id: &'a str,
    /// The session, while it lives.
    pub session: Option<Sid>,
    /// The refresh token that is exchanged.
    pub family: Option<&'a FamilyRow>,
    /// How the person authenticated just now, if so.
    pub method: Option<&'static str>,
    /// Under which code the log has a "no".
    pub log: LogCode,
}

/// What Actions let through.
#[derive(Debug, Clone)]
pub(super) struct Passed {
    /// The instant after them.
    pub ctx: Ctx,
    /// What is to be written down.
    pub effects: Effects,
    /// What is added to what is issued.
    pub extras: Extras,
}

impl Passed {
    /// The scope that is granted of what was asked for.
    pub(super) fn scope(&self, config: &TenantConfig, audience: Option<&str>, asked: &str) -> String {
        self.effects.granted_scope(config, audience, asked)
    }
}

struct Known {
    user: UserRow,
    identities: Vec<IdentityRow>,
    session: Option<(SessionRow, Vec<ClientId>)>,
}

/// Whether there are Actions to run.
pub(super) fn due(config: &TenantConfig) -> bool {
    !config.actions.at(ActionTrigger::PostLogin).is_empty()
}

/// Runs the Actions of post-login. What they asked for is left to the caller's transaction, unless they said no.
pub(super) async fn run(request: &Request<'_>, about: &About<'_>) -> Result<Decision<Passed>, Failure> {
    let Request { core, ctx, config, client, .. } = request;
    let Some(known) = read(request, about).await? else {
        let text = "The user doesn't exist anymore.";
        return Ok(Decision::Refused(Refusal::new(OAuthCode::InvalidGrant, text).log(about.log)));
    };
    let user_id = known.user.user_id.clone();
    let event = event_of(request, about, &known)?;
    let from = (ActionTrigger::PostLogin, From::Start);
    let who = (Some(&user_id), Some(&client.id));
    let ran = pipeline::run(core, ctx, config, from, event, Effects::default(), who).await?;
    let Run { mut effects, stop, execution_id, .. } = ran;
    let ctx = Ctx { now: core.clock.now(), ..(*ctx).clone() };
    if let Some((code, reason)) = stop.refusal(&mut effects) {
        let family = about.family.map(|family| family.id);
        let arguments = (ctx, std::sync::Arc::clone(config), client.id.clone(), effects);
        let (user, session) = (about.user, about.session);
        core.store
            .transact(Lane::Ordinary, arguments, move |tx, (ctx, config, client, effects)| {
                Box::pin(async move {
                    let _ = write(tx, ctx, config, client, &user, session, effects).await?;
                    if let Some(family) = family.filter(|_| effects.refresh_token_revoked) {
                        let mut ending =
                            Ending::new(EndingCause::FamilyRevoked, Target::Family(family), Actor::Policy);
                        ending.details.insert("by".to_owned(), json!("action"));
                        endings::end(tx, ctx, &ending).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        let detail = format!("an Action decided; execution {execution_id}");
        return Ok(Decision::Refused(Refusal::new(code, reason).detail(detail).log(about.log)));
    }
    let extras = Extras {
        access_claims: std::mem::take(&mut effects.access_claims),
        id_claims: std::mem::take(&mut effects.id_claims),
        refresh_token: effects.refresh_token.clone(),
        execution: Some(execution_id),
    };
    Ok(Decision::Granted(Passed { ctx, effects, extras }))
}

/// Writes down what was asked for of user and session; why not, otherwise.
pub(super) async fn write(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &ClientId,
    user: &UserKey,
    session: Option<Sid>,
    effects: &Effects,
) -> Result<Option<Refusal>, Failure> {
    apply::to_user(tx, ctx, user, effects).await?;
    let Some(sid) = session else { return Ok(None) };
    // A session that is over is for whoever judges the refresh token.
    Ok(match apply::to_session(tx, ctx, config, (&sid, client), effects).await? {
        OfSession::Lives(_) | OfSession::Over => None,
        OfSession::Undone(undone) => Some(Refusal::new(OAuthCode::AccessDenied, undone.0)),
    })
}

async fn read(request: &Request<'_>, about: &About<'_>) -> Result<Option<Known>, Failure> {
    let Request { core, ctx, client, .. } = request;
    let arguments = (ctx.tenant, about.user, about.session, client.id.clone());
    core.store
        .read(arguments, |tx, (tenant, user, session, client)| {
            Box::pin(async move {
                let Some(row) = users::find(tx, *tenant, user).await? else { return Ok(None) };
                let identities = users::identities(tx, *tenant, user).await?;
                let session = match session {
                    Some(sid) => match sessions::find(tx, *tenant, sid, Some(client)).await? {
                        Some(row) => Some((row, sessions::clients(tx, *tenant, sid).await?)),
                        None => None,
                    },
                    None => None,
                };
                Ok(Some(Known { user: row, identities, session }))
            })
        })
        .await
}

fn event_of(request: &Request<'_>, about: &About<'_>, known: &Known) -> Result<Value, Failure> {
    let Request { ctx, config, client, parameters, .. } = request;
    let client: &Client = client;
    let methods = known.session.as_ref().map(|(session, _)| session.methods.clone());
    let methods = methods.or_else(|| {
        about.method.map(|name| json!([{ "name": name, "timestamp": ctx.now.iso() }]).to_string())
    });
    let transaction = event::transaction(ctx.entropy.alphanumeric(24), about.protocol, about.scope);
    let mut event = json!({
        "authentication": event::authentication(methods.as_deref()),
        "authorization": { "roles": [] },
        "client": event::client(client),
        "request": event::request(ctx, std::iter::empty(), parameters.iter()),
        "stats": { "logins_count": known.user.logins_count },
        "tenant": event::tenant(config),
        "transaction": transaction,
        "user": event::user(config, &known.user, &known.identities)?,
    });
    if let Some(connection) = config.connection(about.connection_id) {
        event["connection"] = event::connection(connection);
    }
    if let Some(domain) = event::custom_domain(ctx, config) {
        event["custom_domain"] = domain;
    }
    if let Some(audience) = about.audience {
        event["resource_server"] = json!({ "identifier": audience });
    }
    if let Some((session, clients)) = &known.session {
        event["session"] = event::session(session, clients);
    }
    if let Some(family) = about.family {
        event["refresh_token"] = event::refresh_token(family);
    }
    Ok(event)
}
