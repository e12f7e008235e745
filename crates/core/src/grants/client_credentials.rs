//! `client_credentials` (RFC 6749 §4.4): a client acts on its own behalf.

use curfew_model::config::{ActionTrigger, AuthMethod, ResourceServer};
use curfew_model::{Decision, Failure, LogCode, OAuthCode, Refusal};
use serde_json::json;

use super::{Request, shown};
use crate::actions::commands::Effects;
use crate::actions::event;
use crate::actions::pipeline::{self, From, Run, Stop};
use crate::issue::{self, Extras, Issue, TokenResponse, scope_values};
use crate::logs::LogEntry;
use crate::status_lists::{self, Holder, More};

/// Issues an access token for an API the client has a client grant for.
///
/// Steps: 1 the client is confidential, 2 which API, 3 its client grant, 4 scope = granted ∩ requested (all when none
/// is requested), 5 issue. The token names the grant and dies with it. Writes: a log row, and for an API that asks for a
/// status, status_entries.
pub async fn exchange(request: &Request<'_>) -> Result<Decision<TokenResponse>, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    let refuse = |code, description: String| {
        core.logs.send(
            ctx,
            &LogEntry {
                code: LogCode::ClientCredentialsFailed,
                user_id: None,
                client_id: Some(client.id.as_str()),
                description: &description,
                details: json!({}),
            },
        );
        Ok(Decision::Refused(Refusal::new(code, description).log(LogCode::ClientCredentialsFailed)))
    };
    if client.auth_method() == AuthMethod::None {
        return refuse(OAuthCode::AccessDenied, "Unauthorized".to_owned());
    }
    let audience = parameters
        .get("audience")
        .or(client.doc.default_audience.as_deref())
        .or(config.settings.default_audience.as_deref());
    if let Err(refusal) = super::check_resource(parameters.get("resource"), audience) {
        return Ok(Decision::Refused(refusal));
    }
    let Some(audience) = audience else {
        return refuse(OAuthCode::InvalidRequest, "Missing required parameter: audience".to_owned());
    };
    let Some(server) = config.requested_api(audience) else {
        return refuse(OAuthCode::AccessDenied, format!("Service not found: {}", shown(audience)));
    };
    let Some(grant) = client.grant_for(&server.identifier) else {
        return refuse(
            OAuthCode::AccessDenied,
            format!(
                "Client is not authorized to access \"{}\". You need to create a \"client-grant\" associated to this API. \
                 See: https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants",
                shown(audience)
            ),
        );
    };
    let requested = parameters.get("scope");
    let may = |scope: &str| {
        if grant.doc.allow_all_scopes {
            server.doc.scopes.iter().any(|entry| entry.value == scope)
        } else {
            grant.doc.scope.iter().any(|own| own == scope)
        }
    };
    let scope = match requested {
        Some(requested) => scope_values(requested).filter(|scope| may(scope)).collect::<Vec<_>>().join(" "),
        None if grant.doc.allow_all_scopes => {
            server.doc.scopes.iter().map(|entry| entry.value.as_str()).collect::<Vec<_>>().join(" ")
        }
        None => grant.doc.scope.join(" "),
    };
    let (scope, extras) = match actions(request, server, scope).await? {
        Ok(passed) => passed,
        Err((code, text)) => return refuse(code, text),
    };
    let holder = Holder {
        user: None,
        session: None,
        grant: grant.grant_key,
        more: More::MayCome,
        from_authorization_endpoint: false,
    };
    let status = match status_lists::wanted(ctx, config, client, Some(server), &holder)? {
        Some(wanted) => Some(status_lists::allot_alone(core, ctx, wanted).await?),
        None => None,
    };
    let token = issue::access_token(
        config,
        ctx,
        &Issue {
            client,
            subject: None,
            resource_server: Some(server),
            scope: &scope,
            sid: None,
            grant: grant.grant_key,
            gty: Some("client-credentials"),
            from_authorization_endpoint: false,
            status: status.as_ref(),
            extras: extras.as_ref(),
        },
    )?;
    let mut details = json!({"audience": server.identifier, "scope": scope, "access_token_jti": token.jti});
    if let Some(extras) = &extras {
        extras.note_in(&mut details);
    }
    core.logs.send(
        ctx,
        &LogEntry {
            code: LogCode::ClientCredentials,
            user_id: None,
            client_id: Some(client.id.as_str()),
            description: "",
            details,
        },
    );
    Ok(Decision::Granted(TokenResponse {
        access_token: token.value,
        refresh_token: None,
        id_token: None,
        scope,
        expires_in: token.expires_in,
        token_type: "Bearer",
    }))
}

/// Runs the Actions of credentials-exchange: the claims they set, or why the client gets nothing.
async fn actions(
    request: &Request<'_>,
    server: &ResourceServer,
    scope: String,
) -> Result<Result<(String, Option<Extras>), (OAuthCode, String)>, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    let trigger = ActionTrigger::CredentialsExchange;
    if config.actions.at(trigger).is_empty() {
        return Ok(Ok((scope, None)));
    }
    let scopes: Vec<&str> = scope_values(&scope).collect();
    let asked: Vec<&str> = scope_values(parameters.get("scope").unwrap_or("")).collect();
    let mut event = json!({
        "accessToken": { "customClaims": {}, "scope": scopes },
        "client": event::client(client),
        "request": event::request(ctx, std::iter::empty(), parameters.iter()),
        "resource_server": { "identifier": server.identifier },
        "tenant": event::tenant(config),
        "transaction": { "requested_scopes": asked, "metadata": {} },
    });
    if let Some(domain) = event::custom_domain(ctx, config) {
        event["custom_domain"] = domain;
    }
    let who = (None, Some(&client.id));
    let from = (trigger, From::Start);
    let Run { mut effects, stop, execution_id, .. } =
        pipeline::run(core, ctx, config, from, event, Effects::default(), who).await?;
    match (stop, effects.denied.take()) {
        (Stop::Through, _) => {
            let extras = Extras {
                access_claims: effects.access_claims,
                execution: Some(execution_id),
                ..Extras::default()
            };
            Ok(Ok((scope, Some(extras))))
        }
        (Stop::Denied, Some(denied)) => {
            let code = match denied.code.as_deref() {
                Some("invalid_scope") => OAuthCode::InvalidScope,
                Some("server_error") => OAuthCode::ServerError,
                _ => OAuthCode::InvalidRequest,
            };
            Ok(Err((code, denied.reason)))
        }
        _ => Ok(Err((OAuthCode::AccessDenied, pipeline::FAILED.to_owned()))),
    }
}
