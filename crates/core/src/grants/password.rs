//! `password` (RFC 6749 §4.3) and Auth0's password-realm grant. No session begins; RFC 9700 §2.4 advises against both,
//! so a client has them only when it asks for them in `grant_types`.

use std::sync::Arc;

use curfew_model::config::{Client, ResourceServer};
use curfew_model::{Ctx, Decision, Failure, FamilyId, GrantKey, LogCode, OAuthCode, Refusal, Secret};
use curfew_store::status_lists::Entry;
use curfew_store::{Lane, Tx, users};
use curfew_tokens::opaque::TokenSecret;
use serde_json::json;

use super::authorization_code::{FamilyOrigin, insert_family, new_family};
use super::post_login::{self, About, Passed};
use super::{Request, shown};
use crate::TenantConfig;
use crate::actions::apply;
use crate::issue::{self, IdTokenRequest, Issue, Subject, TokenResponse, has_scope};
use crate::logs::LogEntry;
use crate::sessions::Authenticated;
use crate::sessions::start::record_login;
use crate::status_lists::{self, Holder, More, Wanted};
use crate::users::{Checked, check_password};

/// What the transaction is to do.
#[derive(Debug, Clone)]
struct Login {
    person: Authenticated,
    status: Option<Wanted>,
    grant: GrantKey,
    audience: Option<String>,
    scope: String,
    offline: bool,
    epoch: i64,
    /// What Actions let through, where there are any; the login is counted then.
    passed: Option<Passed>,
}

/// What the transaction answers.
struct LoggedIn {
    subject: Subject,
    secret: Option<TokenSecret>,
    status: Option<Entry>,
}

/// Exchanges an identifier and a password.
///
/// Steps: 1 which connection, enabled for the client, 2 which API, 3 the credential step, 4 count the login, refuse a
/// blocked user, begin a family if one is due, 5 issue.
pub async fn exchange(request: &Request<'_>, with_realm: bool) -> Result<Decision<TokenResponse>, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    let (username, password) = match (parameters.require("username"), parameters.require("password")) {
        (Ok(username), Ok(password)) => (username, Secret::new(password.to_owned())),
        (Err(refusal), _) | (_, Err(refusal)) => return Ok(Decision::Refused(refusal)),
    };
    let name = if with_realm {
        match parameters.require("realm") {
            Ok(realm) => realm,
            Err(refusal) => return Ok(Decision::Refused(refusal)),
        }
    } else {
        let Some(directory) = config.settings.default_directory.as_deref() else {
            let text = "Authorization server not configured with default connection.";
            return Ok(Decision::Refused(Refusal::new(OAuthCode::ServerError, text)));
        };
        directory
    };
    let connection = config.connection_by_name(name).filter(|connection| connection.strategy == "auth0");
    let Some((connection, epoch)) = connection.and_then(|c| Some((c, c.epoch_for(&client.id)?))) else {
        let text = format!("Specified realm \"{}\" is not available for this client.", shown(name));
        return Ok(Decision::Refused(Refusal::new(OAuthCode::InvalidRequest, text)));
    };
    let audience = parameters.get("audience").or(config.settings.default_audience.as_deref());
    if let Err(refusal) = super::check_resource(parameters.get("resource"), audience) {
        return Ok(Decision::Refused(refusal));
    }
    let server = match audience {
        Some(audience) => match config.requested_api(audience) {
            Some(server) => Some(server),
            None => {
                let text = format!("Service not found: {}", shown(audience));
                return Ok(Decision::Refused(Refusal::new(OAuthCode::AccessDenied, text)));
            }
        },
        None => None,
    };
    let scope = issue::grantable_scope(server, parameters.get("scope").unwrap_or("openid profile email"));
    let checked = check_password(core, ctx, &[connection], client.id.as_str(), username, &password).await?;
    let Checked::Right { person, blocked: _ } = checked else {
        let text = "Wrong email or password.";
        log(request, LogCode::PasswordGrantFailed, None, text);
        return Ok(Decision::Refused(Refusal::new(OAuthCode::InvalidGrant, text)));
    };
    let passed = if post_login::due(config) {
        match actions(request, &person, &scope, server).await? {
            Decision::Granted(passed) => Some(passed),
            Decision::Refused(refusal) => {
                log(
                    request,
                    LogCode::PasswordGrantFailed,
                    Some(person.user_id.as_str()),
                    &refusal.description,
                );
                return Ok(Decision::Refused(refusal));
            }
        }
    } else {
        None
    };
    let after = passed.as_ref().map(|passed| passed.ctx.clone());
    let ctx = after.as_ref().unwrap_or(ctx);
    let audience = server.map(|server| server.identifier.as_str());
    let scope = passed.as_ref().map_or(scope.clone(), |passed| passed.scope(config, audience, &scope));
    let offline = has_scope(&scope, "offline_access") && issue::may_have_refresh_token(client, server);
    let grant = GrantKey::generate(&*ctx.entropy);
    let holder = Holder {
        user: Some((person.user_key, person.counter)),
        session: None,
        grant,
        more: if offline { More::MayCome } else { More::Never },
        from_authorization_endpoint: false,
    };
    let login = Login {
        status: status_lists::wanted(ctx, config, client, server, &holder)?,
        person,
        grant,
        audience: server.map(|server| server.identifier.clone()),
        scope: if offline { scope } else { issue::without_scope(&scope, "offline_access") },
        offline,
        epoch,
        passed,
    };
    let arguments = (ctx.clone(), Arc::clone(config), Arc::clone(client), login.clone());
    let decided = core
        .store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, config, client, login)| {
            Box::pin(record(tx, ctx, config, client, login))
        })
        .await?;
    let LoggedIn { subject, secret, status } = match decided {
        Decision::Granted(granted) => granted,
        Decision::Refused(refusal) => {
            log(
                request,
                LogCode::PasswordGrantFailed,
                Some(login.person.user_id.as_str()),
                &refusal.description,
            );
            return Ok(Decision::Refused(refusal));
        }
    };
    log_success(request, ctx, &login, &subject);
    respond(request, ctx, &login, &subject, secret.as_ref(), status.as_ref()).map(Decision::Granted)
}

async fn record(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    login: &Login,
) -> Result<Decision<LoggedIn>, Failure> {
    let user = login.person.user_key;
    if let Some(passed) = &login.passed {
        // What is asked for without a session is of the user alone.
        post_login::write(tx, ctx, config, &client.id, &user, None, &passed.effects).await?;
    } else {
        record_login(tx, ctx, &user).await?;
    }
    let Some(row) = users::find(tx, ctx.tenant, &user).await? else {
        let text = "Wrong email or password.";
        return Ok(Decision::Refused(Refusal::new(OAuthCode::InvalidGrant, text)));
    };
    if row.blocked == Some(true) {
        return Ok(Decision::Refused(Refusal::new(OAuthCode::Unauthorized, "user is blocked")));
    }
    // What an Action has ended, or anybody meanwhile, is not begun anew by the password of before.
    let person = &login.person;
    let identities = users::identities(tx, ctx.tenant, &user).await?;
    let own = identities
        .iter()
        .find(|own| own.provider == person.provider && own.identity_id == person.identity_id);
    if person.counter < row.session_floor || own.is_none_or(|own| person.counter < own.session_floor) {
        let text = "The access of the user has ended.";
        return Ok(Decision::Refused(Refusal::new(OAuthCode::InvalidGrant, text)));
    }
    let secret = if login.offline {
        let secret = TokenSecret::generate(&*ctx.entropy);
        let origin = FamilyOrigin {
            id: FamilyId { user, grant: login.grant },
            audience: login.audience.clone(),
            scope: login.scope.clone(),
            session: None,
            auth_time: ctx.now,
            auth_time_wanted: false,
            identity: (login.person.provider.clone(), login.person.identity_id.clone()),
            connection: (login.person.connection_id.clone(), login.epoch),
            counter: login.person.counter,
        };
        let new = new_family(ctx, config, client, &origin, &secret);
        insert_family(tx, ctx, &new).await?;
        if let Some(passed) = &login.passed {
            let (ends, limits) = ((new.expires_at, new.idle_expires_at), &passed.extras.refresh_token);
            if let Err(undone) = apply::to_family(tx, ctx, &new.id, ends, None, limits).await? {
                return Err(Failure::Internal(undone.0.into()));
            }
        }
        Some(secret)
    } else {
        None
    };
    let subject = Subject {
        user_key: user,
        user_id: row.user_id,
        counter: login.person.counter,
        doc: serde_json::from_str(&row.doc).unwrap_or_default(),
        updated_at: row.updated_at,
    };
    let status = match &login.status {
        Some(wanted) => Some(status_lists::allot(tx, ctx, wanted).await?),
        None => None,
    };
    Ok(Decision::Granted(LoggedIn { subject, secret, status }))
}

fn respond(
    request: &Request<'_>,
    ctx: &Ctx,
    login: &Login,
    subject: &Subject,
    secret: Option<&TokenSecret>,
    status: Option<&Entry>,
) -> Result<TokenResponse, Failure> {
    let Request { config, client, .. } = request;
    let issue = Issue {
        client,
        subject: Some(subject),
        resource_server: login.audience.as_deref().and_then(|audience| config.resource_server(audience)),
        scope: &login.scope,
        sid: None,
        grant: login.grant,
        gty: Some("password"),
        from_authorization_endpoint: false,
        status,
        extras: login.passed.as_ref().map(|passed| &passed.extras),
    };
    let access = issue::access_token(config, ctx, &issue)?;
    let id_token = if has_scope(&login.scope, "openid") {
        let request = IdTokenRequest { claims_scope: &login.scope, ..IdTokenRequest::default() };
        Some(issue::id_token(config, ctx, &issue, &request)?)
    } else {
        None
    };
    let refresh_token =
        secret.map(|secret| issue::refresh_token(config, ctx, subject.user_key, login.grant, 0, secret));
    Ok(TokenResponse {
        access_token: access.value,
        refresh_token,
        id_token,
        scope: login.scope.clone(),
        expires_in: access.expires_in,
        token_type: "Bearer",
    })
}

/// Counts the login, refuses a blocked user, and runs the Actions of post-login. There is no session.
async fn actions(
    request: &Request<'_>,
    person: &Authenticated,
    scope: &str,
    server: Option<&ResourceServer>,
) -> Result<Decision<Passed>, Failure> {
    let Request { core, ctx, .. } = request;
    let user = person.user_key;
    let blocked = core
        .store
        .transact(Lane::Ordinary, ((*ctx).clone(), user), |tx, (ctx, user)| {
            Box::pin(async move {
                record_login(tx, ctx, user).await?;
                Ok(users::find(tx, ctx.tenant, user).await?.is_none_or(|row| row.blocked == Some(true)))
            })
        })
        .await?;
    if blocked {
        return Ok(Decision::Refused(Refusal::new(OAuthCode::Unauthorized, "user is blocked")));
    }
    let about = About {
        protocol: "oauth2-password",
        scope,
        audience: server.map(|server| server.identifier.as_str()),
        user,
        connection_id: &person.connection_id,
        session: None,
        family: None,
        method: Some(person.method),
        log: LogCode::PasswordGrantFailed,
    };
    Box::pin(post_login::run(request, &about)).await
}

fn log_success(request: &Request<'_>, ctx: &Ctx, login: &Login, subject: &Subject) {
    let mut details = json!({});
    if let Some(passed) = &login.passed {
        passed.extras.note_in(&mut details);
    }
    let (user_id, client_id) = (Some(subject.user_id.as_str()), Some(request.client.id.as_str()));
    let entry = LogEntry { code: LogCode::PasswordGrant, user_id, client_id, description: "", details };
    request.core.logs.send(ctx, &entry);
}

fn log(request: &Request<'_>, code: LogCode, user_id: Option<&str>, description: &str) {
    let client_id = Some(request.client.id.as_str());
    let entry = LogEntry { code, user_id, client_id, description, details: json!({}) };
    request.core.logs.send(request.ctx, &entry);
}
