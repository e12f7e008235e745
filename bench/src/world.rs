//! What Curfew has to hold before it can be measured, made through its own doors: clients, APIs and users through
//! the Management API, sessions and tokens by real logins.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::{Entropy, SystemEntropy};
use curfew_tokens::SigningAlg;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::browser::{Credentials, FORM, Jar, authorize, parameter};
use crate::failed::{Failed, Result, While};
use crate::program::{BOOTSTRAP_ID, BOOTSTRAP_SECRET};
use crate::wire::{Connection, Request, Server};

const CONNECTION: &str = "Username-Password-Authentication";
/// An https address, for which Auth0 needs no confirmation. Nobody is asked for it.
pub(crate) const CALLBACK: &str = "https://app.example/callback";
/// The scope that the machine client is granted.
const SCOPE: &str = "read:things";

/// The algorithms, each with an API of its own.
pub(crate) const ALGS: [SigningAlg; 3] = [SigningAlg::RS256, SigningAlg::ES256, SigningAlg::EdDSA];

/// The answer of the token endpoint.
#[derive(Debug, Deserialize)]
pub(crate) struct Tokens<'a> {
    /// The access token.
    pub(crate) access_token: &'a str,
    /// The ID token, with the scope `openid`.
    pub(crate) id_token: Option<&'a str>,
    /// The refresh token, with the scope `offline_access`.
    pub(crate) refresh_token: Option<&'a str>,
}

/// A Curfew with everything that the scenarios need.
#[derive(Debug)]
pub(crate) struct World {
    /// How to talk to it.
    pub(crate) server: Rc<Server>,
    /// Body of the token request of the machine client, one for each of [`ALGS`].
    pub(crate) machine_bodies: [String; 3],
    app: String,
    users: Vec<Credentials>,
    next_user: Cell<usize>,
    /// Browsers with a session; whoever uses one takes it out and puts it back.
    pub(crate) browsers: RefCell<VecDeque<Jar>>,
    /// The newest refresh token of each family; taken out and put back as its successor.
    pub(crate) families: RefCell<VecDeque<String>>,
    /// Access tokens without an audience, sealed.
    pub(crate) opaque_tokens: Vec<String>,
    /// Access tokens with an audience, signed.
    pub(crate) signed_tokens: Vec<String>,
    next_token: Cell<usize>,
}

/// What a code is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An ID token and an access token for `/userinfo` alone: one signature.
    Userinfo,
    /// An ID token and an access token for the RS256 API: two signatures.
    Api,
    /// The same with a refresh token.
    ApiAndRefresh,
}

impl World {
    /// Makes clients, APIs and `users` users.
    pub(crate) async fn prepare(server: &Rc<Server>, users: usize) -> Result<Self> {
        let mut management = Management::open(server).await?;
        for alg in ALGS {
            let body = json!({
                "name": format!("API with {}", alg.as_str()),
                "identifier": audience(alg),
                "signing_alg": alg.as_str(),
                "scopes": [{ "value": SCOPE }],
                "allow_offline_access": true,
                "skip_consent_for_verifiable_first_party_clients": true,
            });
            management.call("POST", "/api/v2/resource-servers", Some(&body)).await?;
        }
        let machine = json!({
            "name": "Machine",
            "app_type": "non_interactive",
            "token_endpoint_auth_method": "client_secret_post",
            "oidc_conformant": true,
            "grant_types": ["client_credentials"],
        });
        let machine = management.call("POST", "/api/v2/clients", Some(&machine)).await?;
        let (id, secret) = (text(&machine, "client_id")?, text(&machine, "client_secret")?);
        for alg in ALGS {
            let grant = json!({ "client_id": id, "audience": audience(alg), "scope": [SCOPE] });
            management.call("POST", "/api/v2/client-grants", Some(&grant)).await?;
        }
        let machine_bodies = ALGS.map(|alg| {
            form(&[
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_secret", &secret),
                ("audience", &audience(alg)),
            ])
        });
        let app = json!({
            "name": "Single-page application",
            "app_type": "spa",
            "token_endpoint_auth_method": "none",
            "oidc_conformant": true,
            "grant_types": ["authorization_code", "refresh_token"],
            "jwt_configuration": { "alg": "RS256" },
            "callbacks": [CALLBACK],
            "web_origins": ["https://app.example"],
            "skip_non_verifiable_callback_uri_confirmation_prompt": true,
            "refresh_token": {
                "rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0,
                "token_lifetime": 2_592_000, "infinite_token_lifetime": false,
                "idle_token_lifetime": 1_296_000, "infinite_idle_token_lifetime": false,
            },
        });
        let app = text(&management.call("POST", "/api/v2/clients", Some(&app)).await?, "client_id")?;
        let mut world = Self {
            server: Rc::clone(server),
            machine_bodies,
            app,
            users: Vec::new(),
            next_user: Cell::new(0),
            browsers: RefCell::default(),
            families: RefCell::default(),
            opaque_tokens: Vec::new(),
            signed_tokens: Vec::new(),
            next_token: Cell::new(0),
        };
        for number in 0..users {
            let user = management.create_user(&format!("user-{number}")).await?;
            world.users.push(user.credentials);
        }
        Ok(world)
    }

    /// Signs `count` browsers in, each with a session, a family of refresh tokens, and an access token of each kind.
    pub(crate) async fn sign_in(&mut self, count: usize, mut done: impl FnMut(usize)) -> Result<()> {
        let mut connection = Connection::new(&self.server);
        for number in 0..count {
            let mut jar = Jar::default();
            let user = self.any_user().clone();
            let first = self.log_in(&mut connection, &mut jar, Some(&user), Wanted::ApiAndRefresh).await?;
            let refresh_token =
                first.refresh_token.ok_or_else(|| Failed("a login without refresh token".into()))?;
            self.families.borrow_mut().push_back(refresh_token);
            self.signed_tokens.push(first.access_token);
            let second = self.log_in(&mut connection, &mut jar, None, Wanted::Userinfo).await?;
            self.opaque_tokens.push(second.access_token);
            self.browsers.borrow_mut().push_back(jar);
            done(number + 1);
        }
        Ok(())
    }

    /// The next user in turn.
    pub(crate) fn any_user(&self) -> &Credentials {
        let at = self.next_user.get();
        self.next_user.set((at + 1) % self.users.len());
        &self.users[at]
    }

    /// The next of `tokens` in turn.
    pub(crate) fn any_token<'t>(&self, tokens: &'t [String]) -> Result<&'t str> {
        let at = self.next_token.get().wrapping_add(1);
        self.next_token.set(at);
        let token = tokens.get(at % tokens.len().max(1));
        token.map(String::as_str).ok_or_else(|| Failed("no token to present".into()))
    }

    /// Code flow with PKCE, through the login page with credentials, silently without.
    pub(crate) async fn log_in(
        &self,
        connection: &mut Connection,
        jar: &mut Jar,
        credentials: Option<&Credentials>,
        wanted: Wanted,
    ) -> Result<OwnedTokens> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let verifier = entropy.url_safe(43);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let (state, nonce) = (entropy.url_safe(22), entropy.url_safe(22));
        let audience = audience(SigningAlg::RS256);
        let mut query = vec![
            ("client_id", self.app.as_str()),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", if wanted == Wanted::ApiAndRefresh { "openid offline_access" } else { "openid" }),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if wanted != Wanted::Userinfo {
            query.push(("audience", &audience));
        }
        if credentials.is_none() {
            query.push(("prompt", "none"));
        }
        let target = format!("/authorize?{}", form(&query));
        let url = authorize(connection, jar, &target, CALLBACK, credentials).await?;
        let code = parameter(&url, "code").ok_or_else(|| Failed(format!("no code came back: {url}")))?;
        let body = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", &self.app),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", &verifier),
        ]);
        let tokens = token_request(connection, &body).await?;
        if tokens.id_token.is_none() {
            return Err(Failed("a code without ID token".into()));
        }
        Ok(OwnedTokens {
            access_token: tokens.access_token.to_owned(),
            refresh_token: tokens.refresh_token.map(str::to_owned),
        })
    }

    /// Takes part in a browser's session as another client, by a silent login.
    pub(crate) async fn join(
        &self,
        connection: &mut Connection,
        jar: &mut Jar,
        application: &Application,
    ) -> Result<()> {
        let query = [
            ("client_id", application.client_id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("prompt", "none"),
        ];
        let url = authorize(connection, jar, &format!("/authorize?{}", form(&query)), CALLBACK, None).await?;
        let code = parameter(&url, "code").ok_or_else(|| Failed(format!("no code came back: {url}")))?;
        let body = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", &application.client_id),
            ("client_secret", &application.client_secret),
            ("code", &code),
            ("redirect_uri", CALLBACK),
        ]);
        token_request(connection, &body).await.map(drop)
    }

    /// Exchanges a refresh token for its successor.
    pub(crate) async fn rotate(&self, connection: &mut Connection, refresh_token: &str) -> Result<String> {
        let body = form(&[
            ("grant_type", "refresh_token"),
            ("client_id", &self.app),
            ("refresh_token", refresh_token),
        ]);
        let tokens = token_request(connection, &body).await?;
        match (tokens.id_token, tokens.refresh_token) {
            (Some(_), Some(successor)) if successor != refresh_token => Ok(successor.to_owned()),
            _ => Err(Failed("a rotation without ID token or without successor".into())),
        }
    }
}

/// The tokens that are kept.
#[derive(Debug)]
pub(crate) struct OwnedTokens {
    /// The access token.
    pub(crate) access_token: String,
    /// The refresh token, if one came.
    pub(crate) refresh_token: Option<String>,
}

/// A user and how to be that user.
#[derive(Debug)]
pub(crate) struct NewUser {
    /// `auth0|…`
    pub(crate) user_id: String,
    /// For the login page.
    pub(crate) credentials: Credentials,
}

/// An application with a session of its own.
#[derive(Debug)]
pub(crate) struct Application {
    client_id: String,
    client_secret: String,
}

/// A guard before the RS256 API.
#[derive(Debug)]
pub(crate) struct GuardClient {
    /// The API's identifier.
    pub(crate) audience: String,
    /// Its client.
    pub(crate) id: String,
    /// Its client's secret.
    pub(crate) secret: String,
    /// Its access token.
    pub(crate) token: String,
}

/// Posts to the token endpoint; anything but tokens is a failure.
pub(crate) async fn token_request<'c>(connection: &'c mut Connection, body: &str) -> Result<Tokens<'c>> {
    let request = Request { method: "POST", target: "/oauth/token", headers: &[FORM], body: body.as_bytes() };
    let answer = connection.send(&request).await?;
    if answer.status != 200 {
        return Err(Failed(format!("the token endpoint answered {}", answer.describe())));
    }
    serde_json::from_slice(answer.body).doing("reading the tokens")
}

/// The identifier of the API whose tokens are signed so.
pub(crate) fn audience(alg: SigningAlg) -> String {
    format!("https://api.example/{}", alg.as_str())
}

/// Fields as a form, or as a query.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    // Pairs of texts always serialize.
    serde_urlencoded::to_string(fields).unwrap_or_default()
}

/// A text of an answer of the Management API.
pub(crate) fn text(value: &Value, name: &str) -> Result<String> {
    let found = value.get(name).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| Failed(format!("the Management API answered without `{name}`: {value}")))
}

/// A connection to the Management API with a token of the bootstrap client.
#[derive(Debug)]
pub(crate) struct Management {
    connection: Connection,
    authorization: String,
}

impl Management {
    /// Gets a token.
    pub(crate) async fn open(server: &Rc<Server>) -> Result<Self> {
        let mut connection = Connection::new(server);
        let body = form(&[
            ("grant_type", "client_credentials"),
            ("client_id", BOOTSTRAP_ID),
            ("client_secret", BOOTSTRAP_SECRET),
            ("audience", &format!("{}api/v2/", server.issuer)),
        ]);
        let authorization = format!("Bearer {}", token_request(&mut connection, &body).await?.access_token);
        Ok(Self { connection, authorization })
    }

    /// One call; a status of 400 or more is a failure.
    pub(crate) async fn call(
        &mut self,
        method: &'static str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        let headers = if body.is_some() { &headers[..] } else { &headers[..1] };
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer =
            self.connection.send(&Request { method, target, headers, body: body.as_bytes() }).await?;
        if answer.status >= 400 {
            return Err(Failed(format!("{method} {target} answered {}", answer.describe())));
        }
        if answer.body.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(answer.body).doing(target)
        }
    }

    /// Makes a guard for the RS256 API, with its token.
    pub(crate) async fn create_guard(&mut self) -> Result<GuardClient> {
        let audience = audience(SigningAlg::RS256);
        let client = json!({
            "name": "Guard", "app_type": "non_interactive", "oidc_conformant": true,
            "token_endpoint_auth_method": "client_secret_post", "grant_types": ["client_credentials"],
        });
        let client = self.call("POST", "/api/v2/clients", Some(&client)).await?;
        let (id, secret) = (text(&client, "client_id")?, text(&client, "client_secret")?);
        let grant = json!({ "client_id": id, "audience": audience, "scope": ["curfew:guard"] });
        self.call("POST", "/api/v2/client-grants", Some(&grant)).await?;
        let body = form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("audience", &audience),
        ]);
        let token = token_request(&mut self.connection, &body).await?.access_token.to_owned();
        Ok(GuardClient { audience, id, secret, token })
    }

    /// Makes an application that wants its logout tokens at a port of this machine, for whatever ends a session.
    pub(crate) async fn create_application(&mut self, number: usize, port: u16) -> Result<Application> {
        let url = format!("http://127.0.0.1:{port}/{number}");
        let client = json!({
            "name": format!("Application {number}"),
            "app_type": "regular_web",
            "oidc_conformant": true,
            "token_endpoint_auth_method": "client_secret_post",
            "grant_types": ["authorization_code"],
            "callbacks": [CALLBACK],
            "skip_non_verifiable_callback_uri_confirmation_prompt": true,
            "oidc_logout": {
                "backchannel_logout_urls": [url],
                "backchannel_logout_initiators": { "mode": "all" },
            },
        });
        let client = self.call("POST", "/api/v2/clients", Some(&client)).await?;
        Ok(Application {
            client_id: text(&client, "client_id")?,
            client_secret: text(&client, "client_secret")?,
        })
    }

    /// Makes a user of the default connection.
    pub(crate) async fn create_user(&mut self, name: &str) -> Result<NewUser> {
        let credentials = Credentials {
            username: format!("{name}@example.com"),
            password: format!("Pass-word-of-{name}-1"),
        };
        let body = json!({
            "connection": CONNECTION,
            "email": credentials.username,
            "password": credentials.password,
            "verify_email": false,
        });
        let user = self.call("POST", "/api/v2/users", Some(&body)).await?;
        Ok(NewUser { user_id: text(&user, "user_id")?, credentials })
    }

    /// How many live sessions a user has.
    pub(crate) async fn count_sessions(&mut self, user_id: &str) -> Result<usize> {
        let target = format!("/api/v2/users/{}/sessions?take=100", user_id.replace('|', "%7C"));
        let (mut count, mut from) = (0, String::new());
        loop {
            let page = self.call("GET", &format!("{target}{from}"), None).await?;
            count += page.get("sessions").and_then(Value::as_array).map_or(0, Vec::len);
            match page.get("next").and_then(Value::as_str) {
                Some(next) => from = format!("&{}", form(&[("from", next)])),
                None => return Ok(count),
            }
        }
    }

    /// Blocks a user.
    pub(crate) async fn block(&mut self, user_id: &str) -> Result<()> {
        let target = format!("/api/v2/users/{}", user_id.replace('|', "%7C"));
        self.call("PATCH", &target, Some(&json!({ "blocked": true }))).await.map(drop)
    }
}
