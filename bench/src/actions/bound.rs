//! The Actions that are measured, deployed as their authors would.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::failed::{Failed, Result};
use crate::wire::Server;
use crate::world::{Management, text};

/// What runs after a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nothing.
    Nothing,
    /// One that reads the event and sets a claim.
    Trivial,
    /// The one of Auth0's article on one session for each user: the `auth0` package, a token, the list of the user's
    /// sessions, and the end of all but this one.
    Article,
}

impl Bound {
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Trivial, Self::Article];

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "no Action",
            Self::Trivial => "a trivial Action",
            Self::Article => "the article's Action",
        }
    }

    /// Milliseconds that it may add to a warm login at most, at p50.
    pub(super) fn aim_ms(self) -> Option<f64> {
        match self {
            Self::Nothing => None,
            Self::Trivial => Some(0.2),
            Self::Article => Some(5.0),
        }
    }
}

const TRIVIAL: &str = "exports.onExecutePostLogin = async (event, api) => {
  api.idToken.setCustomClaim('https://app.example/email', event.user.email);
};";
const MACHINE: &str = "exports.onExecuteCredentialsExchange = async (event, api) => {
  api.accessToken.setCustomClaim('https://app.example/client', event.client.name);
};";
/// It does nothing for longer than anybody waits.
const SLEEPER: &str =
    "exports.onExecutePostLogin = () => new Promise((resolve) => { setTimeout(resolve, 15_000); });";
const ARTICLE: &str = include_str!("../../../e2e/fixtures/single-session.js");
const HOSTILE: &str = include_str!("hostile.js");

const BUILD_PATIENCE: Duration = Duration::from_secs(60);
const BUILD_PAUSE: Duration = Duration::from_millis(50);

/// The ids of what is deployed.
#[derive(Debug)]
pub(super) struct Actions {
    trivial: String,
    article: String,
    /// At credentials-exchange.
    pub(super) machine: String,
    /// At credentials-exchange, for the clients that are named as what they want.
    pub(super) hostile: String,
    /// Not bound anywhere.
    pub(super) sleeper: String,
}

impl Actions {
    /// Makes and deploys all of them. The article's has a client of its own for what it asks of the Management API.
    pub(super) async fn deploy(management: &mut Management, server: &Rc<Server>) -> Result<Self> {
        let audience = format!("{}api/v2/", server.issuer);
        let scope = ["read:sessions", "delete:sessions"];
        let (id, secret) = machine(management, "Single session", &audience, &scope).await?;
        let secrets = json!([
            { "name": "domain", "value": server.host },
            { "name": "clientId", "value": id },
            { "name": "clientSecret", "value": secret },
        ]);
        let article = json!({
            "code": ARTICLE, "secrets": secrets, "dependencies": [{ "name": "auth0", "version": "7.1.0" }],
        });
        let code = |code: &str| json!({ "code": code });
        Ok(Self {
            trivial: deploy(management, "trivial", "post-login", code(TRIVIAL)).await?,
            article: deploy(management, "single session", "post-login", article).await?,
            machine: deploy(management, "trivial machine", "credentials-exchange", code(MACHINE)).await?,
            hostile: deploy(management, "hostile", "credentials-exchange", code(HOSTILE)).await?,
            sleeper: deploy(management, "sleeper", "post-login", code(SLEEPER)).await?,
        })
    }

    /// The Action of this kind.
    pub(super) fn post_login(&self, bound: Bound) -> Option<&str> {
        match bound {
            Bound::Nothing => None,
            Bound::Trivial => Some(&self.trivial),
            Bound::Article => Some(&self.article),
        }
    }
}

/// Makes an Action, waits until it is built, and deploys it.
async fn deploy(management: &mut Management, name: &str, trigger: &str, mut doc: Value) -> Result<String> {
    let version = if trigger == "post-login" { "v3" } else { "v2" };
    doc["name"] = json!(name);
    doc["supported_triggers"] = json!([{ "id": trigger, "version": version }]);
    let made = management.call("POST", "/api/v2/actions/actions", Some(&doc)).await?;
    let id = text(&made, "id")?;
    let target = format!("/api/v2/actions/actions/{id}");
    let began = Instant::now();
    loop {
        let action = management.call("GET", &target, None).await?;
        match text(&action, "status")?.as_str() {
            "built" => break,
            "failed" => return Err(Failed(format!("the Action `{name}` cannot be built: {action}"))),
            status if began.elapsed() > BUILD_PATIENCE => {
                return Err(Failed(format!("the Action `{name}` is still {status}")));
            }
            _ => tokio::time::sleep(BUILD_PAUSE).await,
        }
    }
    management.call("POST", &format!("{target}/deploy"), Some(&json!({}))).await?;
    Ok(id)
}

/// Makes a client that may get these scopes for itself: its id and its secret.
pub(super) async fn machine(
    management: &mut Management,
    name: &str,
    audience: &str,
    scope: &[&str],
) -> Result<(String, String)> {
    let client = json!({
        "name": name,
        "app_type": "non_interactive",
        "token_endpoint_auth_method": "client_secret_post",
        "oidc_conformant": true,
        "grant_types": ["client_credentials"],
    });
    let client = management.call("POST", "/api/v2/clients", Some(&client)).await?;
    let (id, secret) = (text(&client, "client_id")?, text(&client, "client_secret")?);
    let grant = json!({ "client_id": id, "audience": audience, "scope": scope });
    management.call("POST", "/api/v2/client-grants", Some(&grant)).await?;
    Ok((id, secret))
}
