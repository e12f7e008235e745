//! An application: it sends people to `/authorize` and speaks to the token endpoint and `/userinfo` itself.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

use super::browser::encode;
use super::{Answer, Curfew, MANAGEMENT};

/// Where the applications of the box want people back.
pub(crate) const CALLBACK: &str = "https://app.example/callback";
/// Their one PKCE verifier: two requests of a test need no secrets from each other.
pub(crate) const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-";

/// A registered application: a single-page application when it has no secret.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    curfew: Curfew,
    pub(crate) client_id: String,
    pub(crate) secret: Option<String>,
}

/// What the token endpoint handed out.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) scope: String,
    pub(crate) expires_in: i64,
}

impl Tokens {
    /// Reads a successful answer; anything else fails the test.
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Self {
            access: text("access_token").expect("an access token"),
            refresh: text("refresh_token"),
            id: text("id_token"),
            scope: text("scope").unwrap_or_default(),
            expires_in: body["expires_in"].as_i64().expect("expires_in"),
        }
    }

    /// The refresh token, which must be there.
    #[track_caller]
    pub(crate) fn refresh(&self) -> &str {
        self.refresh.as_deref().expect("a refresh token")
    }

    /// The claims of the access token, which must be a JWT. Its signature is not looked at.
    #[track_caller]
    pub(crate) fn claims(&self) -> Value {
        claims(&self.access)
    }
}

/// The claims of a JWT, unverified.
#[track_caller]
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

impl Application {
    pub(super) fn new(curfew: Curfew, client_id: &str, secret: Option<&str>) -> Self {
        Self { curfew, client_id: client_id.to_owned(), secret: secret.map(str::to_owned) }
    }

    /// The same application, sent to another node by the load balancer.
    pub(crate) fn at(&self, node: &Curfew) -> Self {
        Self { curfew: node.clone(), ..self.clone() }
    }

    /// The node it talks to.
    pub(crate) fn node(&self) -> &Curfew {
        &self.curfew
    }

    /// The address of an authorization request: code flow, PKCE, `openid profile email`; `more` adds or replaces.
    pub(crate) fn authorize_url(&self, more: &[(&str, &str)]) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(curfew_tokens::digest::sha256(VERIFIER.as_bytes()));
        let mut parameters = vec![
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", "a-state"),
            ("nonce", "a-nonce"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        parameters.retain(|(name, _)| more.iter().all(|(own, _)| own != name));
        parameters.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        format!("authorize?{}", encode(&parameters))
    }

    /// `POST` of a form to an endpoint that authenticates clients, with this client's credentials.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        fields.push(("client_id", &self.client_id));
        if let Some(secret) = &self.secret {
            fields.push(("client_secret", secret));
        }
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.curfew.send(request.body(Body::from(encode(&fields))).unwrap()).await
    }

    /// `POST /oauth/token`.
    pub(crate) async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        self.post("/oauth/token", fields).await
    }

    /// Redeems a code.
    pub(crate) async fn redeem(&self, code: &str) -> Answer {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    /// Presents a refresh token.
    pub(crate) async fn refresh(&self, refresh_token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// Revokes a refresh token (RFC 7009).
    pub(crate) async fn revoke(&self, refresh_token: &str) -> Answer {
        self.post("/oauth/revoke", &[("token", refresh_token)]).await
    }

    /// A token of the application's own, for the Management API.
    pub(crate) async fn client_credentials(&self) -> Answer {
        self.token(&[("grant_type", "client_credentials"), ("audience", MANAGEMENT)]).await
    }

    /// `GET /userinfo`.
    pub(crate) async fn userinfo(&self, access_token: &str) -> Answer {
        let request = Request::get("/userinfo").header(AUTHORIZATION, format!("Bearer {access_token}"));
        self.curfew.send(request.body(Body::empty()).unwrap()).await
    }

    /// A request to the Management API with any token; `path` without `/api/v2`.
    pub(crate) async fn management_get(&self, access_token: &str, path: &str) -> Answer {
        let path = format!("/api/v2{path}");
        let request = Request::get(path).header(AUTHORIZATION, format!("Bearer {access_token}"));
        self.curfew.send(request.body(Body::empty()).unwrap()).await
    }
}
