//! Who talks to the server: an administrator, and people's browsers with the applications they use.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::connection::{Answer, Connection, Lost};
use super::{BOOTSTRAP_ID, BOOTSTRAP_SECRET, Place};

/// Of everybody here.
pub(crate) const PASSWORD: &str = "Correct-horse-7";
const CALLBACK: &str = "http://app.test/callback";
const SCOPE: &str = "openid offline_access";

/// A Management API client that may do everything.
pub(crate) struct Admin {
    pub(crate) connection: Connection,
    issuer: String,
    token: String,
}

/// An application with a secret.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A person with an account.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) email: String,
}

/// What a token answer holds.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Admin {
    pub(crate) async fn new(place: &Place) -> Self {
        Self::at(place, place.address()).await
    }

    /// At one node of several.
    pub(crate) async fn at(place: &Place, address: SocketAddr) -> Self {
        let mut admin =
            Self { connection: Connection::to(address), issuer: place.issuer(), token: String::new() };
        admin.renew().await;
        admin
    }

    /// Takes a fresh token, for example after a restart.
    pub(crate) async fn renew(&mut self) {
        let audience = format!("{}api/v2/", self.issuer);
        let pairs = [
            ("grant_type", "client_credentials"),
            ("client_id", BOOTSTRAP_ID),
            ("client_secret", BOOTSTRAP_SECRET),
            ("audience", &audience),
        ];
        let answer = self.connection.form("/oauth/token", &pairs, "").await.expect("an answer");
        self.token = answer.member("access_token").unwrap_or_else(|| panic!("{answer:?}"));
    }

    /// Calls the Management API; the connection may break.
    pub(crate) async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Answer, Lost> {
        self.connection.json(method, &format!("/api/v2/{path}"), &self.token, body).await
    }

    /// Calls the Management API and wants success.
    pub(crate) async fn done(&mut self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.call(method.clone(), path, body).await.expect("an answer");
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        answer.json()
    }

    /// Makes applications whose refresh tokens rotate, and lets people log in there.
    pub(crate) async fn make_applications(&mut self, count: usize, leeway: u32) -> Vec<Application> {
        let mut applications = Vec::new();
        for number in 0..count {
            let made = self.done(Method::POST, "clients", &application(number, leeway)).await;
            let text = |name: &str| made[name].as_str().expect("text").to_owned();
            applications.push(Application { id: text("client_id"), secret: text("client_secret") });
        }
        let connections = self.done(Method::GET, "connections", &Value::Null).await;
        let connection = &connections[0];
        let mut enabled: Vec<Value> = connection["enabled_clients"].as_array().cloned().unwrap_or_default();
        enabled.extend(applications.iter().map(|application| json!(application.id)));
        let path = format!("connections/{}", connection["id"].as_str().expect("an id"));
        self.done(Method::PATCH, &path, &json!({ "enabled_clients": enabled })).await;
        applications
    }

    /// Makes a person.
    pub(crate) async fn make_person(&mut self, name: &str) -> Person {
        let email = format!("{name}@people.test");
        let body = json!({
            "connection": "Username-Password-Authentication",
            "email": email,
            "email_verified": true,
            "password": PASSWORD,
        });
        let made = self.done(Method::POST, "users", &body).await;
        Person { id: made["user_id"].as_str().expect("an id").to_owned(), email }
    }

    /// Blocks a person, or takes the block away.
    pub(crate) async fn set_blocked(&mut self, person: &Person, blocked: bool) -> Result<Answer, Lost> {
        self.call(Method::PATCH, &person.path(), &json!({ "blocked": blocked })).await
    }
}

impl Person {
    /// Under `/api/v2/`.
    pub(crate) fn path(&self) -> String {
        format!("users/{}", self.id.replace('|', "%7C"))
    }
}

fn application(number: usize, leeway: u32) -> Value {
    json!({
        "name": format!("Application {number}"),
        "app_type": "regular_web",
        "oidc_conformant": true,
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code", "refresh_token"],
        "callbacks": [CALLBACK],
        "skip_non_verifiable_callback_uri_confirmation_prompt": true,
        "refresh_token": {
            "rotation_type": "rotating",
            "expiration_type": "expiring",
            "leeway": leeway,
            "token_lifetime": 2_592_000,
            "idle_token_lifetime": 1_296_000,
        },
    })
}

/// A person's browser, and the applications' servers behind it, over one connection.
pub(crate) struct Browser {
    pub(crate) connection: Connection,
    /// The session cookie, as it is sent.
    pub(crate) cookie: String,
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { connection: Connection::to(address), cookie: String::new() }
    }

    /// Another one with the same cookie, over a connection of its own.
    pub(crate) fn same_cookie(&self, address: SocketAddr) -> Self {
        Self { cookie: self.cookie.clone(), ..Self::new(address) }
    }

    /// Logs in with the password and answers the code.
    pub(crate) async fn log_in(
        &mut self,
        application: &Application,
        person: &Person,
    ) -> Result<Result<String, Answer>, Lost> {
        let shown = self.connection.get(&authorize(application, "login"), &self.cookie).await?;
        let place = shown.headers.get("location").and_then(|value| value.to_str().ok());
        let Some(place) = place.map(str::to_owned) else { return Ok(Err(shown)) };
        let transaction: Vec<String> = shown.cookies().map(str::to_owned).collect();
        let mut cookies = transaction.join("; ");
        if !self.cookie.is_empty() {
            cookies = format!("{}; {cookies}", self.cookie);
        }
        let path = place.splitn(4, '/').nth(3).map_or(place.clone(), |path| format!("/{path}"));
        let page = self.connection.get(&path, &cookies).await?;
        let text = String::from_utf8_lossy(&page.body).into_owned();
        let hidden = |name: &str| {
            let after = text.split_once(&format!("name=\"{name}\" value=\""))?.1;
            Some(after.split_once('"')?.0.to_owned())
        };
        let (Some(state), Some(csrf)) = (hidden("state"), hidden("csrf")) else { return Ok(Err(page)) };
        let pairs = [
            ("state", state.as_str()),
            ("csrf", csrf.as_str()),
            ("username", person.email.as_str()),
            ("password", PASSWORD),
        ];
        let answer = self.connection.form("/u/login", &pairs, &cookies).await?;
        let session = answer.cookies().find(|cookie| cookie.starts_with("curfew=")).map(str::to_owned);
        self.cookie = session.unwrap_or_else(|| std::mem::take(&mut self.cookie));
        Ok(answer.redirected_with("code").ok_or(answer))
    }

    /// Silent login: the code, or what refused it.
    pub(crate) async fn silent(&mut self, application: &Application) -> Result<Result<String, Answer>, Lost> {
        let answer = self.connection.get(&authorize(application, "none"), &self.cookie).await?;
        Ok(answer.redirected_with("code").ok_or(answer))
    }

    /// Redeems a code.
    pub(crate) async fn redeem(
        &mut self,
        application: &Application,
        code: &str,
    ) -> Result<Result<Tokens, Answer>, Lost> {
        let pairs = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.token(application, &pairs).await
    }

    /// Exchanges a refresh token.
    pub(crate) async fn refresh(
        &mut self,
        application: &Application,
        refresh: &str,
    ) -> Result<Result<Tokens, Answer>, Lost> {
        self.token(application, &[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await
    }

    async fn token(
        &mut self,
        application: &Application,
        pairs: &[(&str, &str)],
    ) -> Result<Result<Tokens, Answer>, Lost> {
        let client = [("client_id", application.id.as_str()), ("client_secret", application.secret.as_str())];
        let answer = self.connection.form("/oauth/token", &[&client, pairs].concat(), "").await?;
        let (access, refresh) = (answer.member("access_token"), answer.member("refresh_token"));
        Ok(match (answer.status, access, refresh) {
            (StatusCode::OK, Some(access), Some(refresh)) => Ok(Tokens { access, refresh }),
            _ => Err(answer),
        })
    }

    /// Revokes a refresh token.
    pub(crate) async fn revoke(&mut self, application: &Application, refresh: &str) -> Result<Answer, Lost> {
        let pairs = [
            ("client_id", application.id.as_str()),
            ("client_secret", application.secret.as_str()),
            ("token", refresh),
        ];
        self.connection.form("/oauth/revoke", &pairs, "").await
    }

    /// Whether `/userinfo` takes an access token.
    pub(crate) async fn userinfo(&mut self, access: &str) -> Result<bool, Lost> {
        let answer = self.connection.get_as("/userinfo", access).await?;
        assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer:?}");
        Ok(answer.status == StatusCode::OK)
    }
}

fn authorize(application: &Application, prompt: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", &application.id),
            ("redirect_uri", CALLBACK),
            ("scope", SCOPE),
            ("prompt", prompt),
            ("state", "s"),
        ])
        .finish();
    format!("/authorize?{query}")
}
