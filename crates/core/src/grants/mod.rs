//! The token endpoint (RFC 6749 §3.2): one file per `grant_type`, each with the same face. This file only dispatches.

pub mod authorization_code;
pub mod client_credentials;
pub mod password;
mod post_login;
pub mod refresh_token;

use std::collections::HashMap;
use std::sync::Arc;

use curfew_model::config::Client;
use curfew_model::{Ctx, Decision, Failure, OAuthCode, Refusal};

use crate::clients::{self, ClientCredentials};
use crate::issue::TokenResponse;
use crate::{Core, TenantConfig};

/// The parameters of a token request. A name that came twice is refused before (RFC 6749 §3.2); an empty value and
/// JSON `null` count as absent.
#[derive(Debug, Clone, Default)]
pub struct Parameters(HashMap<String, String>);

impl Parameters {
    /// From what was sent.
    pub fn new(values: HashMap<String, String>) -> Self {
        Self(values)
    }

    /// A parameter that was sent and is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter that must be there.
    pub fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            Refusal::new(OAuthCode::InvalidRequest, format!("Missing required parameter: {name}"))
        })
    }
}

/// A request whose client is authenticated.
#[derive(Debug)]
pub struct Request<'a> {
    /// The parts of the server.
    pub core: &'a Core,
    /// This request.
    pub ctx: &'a Ctx,
    /// The tenant's configuration now.
    pub config: &'a Arc<TenantConfig>,
    /// The client now.
    pub client: &'a Arc<Client>,
    /// What was sent.
    pub parameters: &'a Parameters,
}

/// The password-realm grant's name.
pub const PASSWORD_REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";

/// The grants this server offers, as discovery announces them.
pub const GRANT_TYPES: [&str; 5] =
    ["authorization_code", "refresh_token", "client_credentials", "password", PASSWORD_REALM];

/// Answers a token request.
///
/// Steps: 1 the grant type is one of ours (and the common cases of two of them), 2 authenticate the client, 3 the client
/// may use the grant type, 4 nothing is asked for that is not there, 5 the grant's own exchange. A foreign client's
/// presentation is refused in step 5 and ends nothing.
pub async fn exchange(
    core: &Core,
    ctx: &Ctx,
    credentials: &ClientCredentials,
    parameters: &Parameters,
) -> Result<Decision<TokenResponse>, Failure> {
    let grant_type = match parameters.require("grant_type") {
        Ok(grant_type) => grant_type,
        Err(refusal) => return Ok(Decision::Refused(refusal)),
    };
    if !GRANT_TYPES.contains(&grant_type) {
        let description = format!("Unsupported grant type: {}", shown(grant_type));
        return Ok(Decision::Refused(Refusal::new(OAuthCode::UnsupportedGrantType, description)));
    }
    if let Some(response) = common_case(core, ctx, credentials, parameters, grant_type).await? {
        return Ok(Decision::Granted(response));
    }
    let (config, client) = match clients::authenticate(core, ctx, credentials).await? {
        Decision::Granted(granted) => granted,
        Decision::Refused(refusal) => return Ok(Decision::Refused(refusal)),
    };
    if !may_use(&client, grant_type) {
        let description = format!("Grant type '{grant_type}' not allowed for the client.");
        return Ok(Decision::Refused(Refusal::new(OAuthCode::UnauthorizedClient, description)));
    }
    if let Err(refusal) = check_unsupported(&client, parameters) {
        return Ok(Decision::Refused(refusal));
    }
    let request = Request { core, ctx, config: &config, client: &client, parameters };
    match grant_type {
        "authorization_code" => authorization_code::exchange(&request).await,
        "refresh_token" => refresh_token::exchange(&request).await,
        "client_credentials" => client_credentials::exchange(&request).await,
        _ => password::exchange(&request, grant_type == PASSWORD_REALM).await,
    }
}

fn may_use(client: &Client, grant_type: &str) -> bool {
    let allowed =
        client.allows_grant(grant_type) || (grant_type == PASSWORD_REALM && client.allows_grant("password"));
    allowed && !client.doc.require_proof_of_possession
}

/// What nearly every request is: the newest refresh token of a living family, or a fresh code. It starts from the cached
/// configuration, reads the chain, which tells the versions of its instant, and wins or loses one guarded statement: two
/// round trips, no transaction. Nothing is refused here and nothing ends: whatever is not the common case is `None`, and
/// decided from the beginning.
async fn common_case(
    core: &Core,
    ctx: &Ctx,
    credentials: &ClientCredentials,
    parameters: &Parameters,
    grant_type: &str,
) -> Result<Option<TokenResponse>, Failure> {
    if !matches!(grant_type, "authorization_code" | "refresh_token") {
        return Ok(None);
    }
    let Some((config, client)) = clients::authenticate_cached(core, ctx, credentials) else {
        return Ok(None);
    };
    let asks_for_more =
        parameters.get("resource").is_some() || check_unsupported(&client, parameters).is_err();
    if !may_use(&client, grant_type) || asks_for_more {
        return Ok(None);
    }
    // Actions have a say in it, which may take its time.
    if grant_type == "refresh_token" && post_login::due(&config) {
        return Ok(None);
    }
    let request = Request { core, ctx, config: &config, client: &client, parameters };
    match grant_type {
        "authorization_code" => authorization_code::redeem_fresh(&request).await,
        _ => refresh_token::rotate_newest(&request).await,
    }
}

/// What asks for more than this server gives is refused: ignored, it would be answered with less protection than was
/// asked for.
fn check_unsupported(client: &Client, parameters: &Parameters) -> Result<(), Refusal> {
    if parameters.get("authorization_details").is_some() {
        let text = "The authorization_details parameter is not supported";
        return Err(Refusal::new(OAuthCode::InvalidAuthorizationDetails, text));
    }
    if parameters.get("organization").is_some() {
        let text = format!("client {} is not allowed to use organizations", client.id);
        return Err(Refusal::new(OAuthCode::InvalidRequest, text));
    }
    Ok(())
}

/// What is said when `resource` names something else than the token is for.
pub(crate) const RESOURCE_IS_AUDIENCE: &str = "The resource must be the audience";

/// RFC 8707 §2: a token is for the `resource` that was asked for, or there is none. This server takes the API's name
/// from `audience`; `resource` may repeat it.
pub(crate) fn check_resource(resource: Option<&str>, audience: Option<&str>) -> Result<(), Refusal> {
    if resource.is_some_and(|resource| Some(resource) != audience) {
        return Err(Refusal::new(OAuthCode::InvalidTarget, RESOURCE_IS_AUDIENCE));
    }
    Ok(())
}

/// A value of the request as it may be shown in an error: short, printable ASCII.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(80).collect()
}
