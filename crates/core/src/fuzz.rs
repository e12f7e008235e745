//! What a fuzzer calls: plain functions over any bytes, which must return. They assert what must hold for whatever is
//! accepted, and say whether anything was.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use curfew_model::config::{AuthMethod, Client, Connection, ConnectionClient, ResourceServer};
use curfew_model::{ClientId, Secret, TenantId};
use curfew_tokens::{SealingKey, SealingKeys};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::TenantConfig;
use crate::authorize::{Denial, ResponseMode, checks, redirect};
use crate::issue::{OIDC_SCOPES, scope_values};

/// A target: takes any bytes, says whether it accepted them.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name of its folder in the corpus.
pub const TARGETS: &[(&str, Target)] =
    &[("authorize", fuzz_authorize), ("callback", fuzz_callback), ("logout_url", fuzz_logout_url)];

const API: &str = "https://api.example/";

fn read<T: DeserializeOwned>(doc: Value) -> T {
    #[expect(clippy::expect_used, reason = "the documents are written below")]
    serde_json::from_value(doc).expect("a document")
}

fn client(id: &str, doc: Value) -> Client {
    Client {
        id: ClientId(id.to_owned()),
        version: 1,
        counter: 1,
        floor: 0,
        token_floor: 0,
        doc: read(doc),
        secret: Secret::new(String::new()),
        credentials: Vec::new(),
        grants: Vec::new(),
    }
}

/// A single-page application, a web application with the legacy response types, and one with an app's own scheme.
static CLIENTS: LazyLock<[Client; 3]> = LazyLock::new(|| {
    [
        client(
            "spa",
            json!({"token_endpoint_auth_method": "none", "oidc_conformant": true,
                "grant_types": ["authorization_code", "refresh_token"],
                "callbacks": ["https://app.example/callback"], "web_origins": ["https://app.example"]}),
        ),
        client(
            "web",
            json!({"grant_types": ["authorization_code", "implicit"],
                "callbacks": ["https://*.web.example/callback", "http://localhost:3000/?x=1"]}),
        ),
        client(
            "app",
            json!({"grant_types": ["authorization_code"], "callbacks": ["com.example.app://callback"]}),
        ),
    ]
});

static CONFIG: LazyLock<TenantConfig> = LazyLock::new(|| {
    let api = ResourceServer {
        id: "1".to_owned(),
        identifier: API.to_owned(),
        doc: read(json!({"scopes": [{"value": "read:things"}], "allow_offline_access": true})),
        signing_secret: None,
        floor: curfew_model::Timestamp::from_micros(0),
    };
    let enabled =
        |client: &Client| ConnectionClient { client_id: client.id.clone(), enabled: true, epoch: 0 };
    TenantConfig {
        tenant: TenantId(1),
        name: "fuzz".to_owned(),
        version: 1,
        settings: read(json!({})),
        domains: vec![("id.example".to_owned(), "https://id.example/".to_owned())],
        keys: Vec::new(),
        sealing: SealingKeys::new(Arc::new(SealingKey::new(1, &[1; 32])), Vec::new()),
        resource_servers: HashMap::from([(API.to_owned(), api)]),
        connections: vec![Connection {
            id: "con_1".to_owned(),
            name: "users".to_owned(),
            strategy: "auth0".to_owned(),
            doc: read(json!({})),
            clients: CLIENTS.iter().map(enabled).collect(),
        }],
        actions: crate::actions::Bound::default(),
        documents: crate::config::Documents::default(),
    }
});

/// [`checks::run`] over the bytes as a query.
pub fn fuzz_authorize(bytes: &[u8]) -> bool {
    let parameters: HashMap<String, String> = url::form_urlencoded::parse(bytes).into_owned().collect();
    let id = parameters.get("client_id").map_or("", String::as_str);
    let client = CLIENTS.iter().find(|client| client.id.as_str() == id);
    match checks::run(&CONFIG, client, &parameters) {
        Ok(request) => {
            assert!(client.is_some_and(|client| {
                assert_eq!(request.client_id, client.id.as_str());
                assert!(redirect::matches_callback(&client.doc.callbacks, &request.redirect_uri));
                let public = client.auth_method() == AuthMethod::None;
                assert!(!(public && request.wants_code && request.code_challenge.is_none()), "PKCE");
                let front = request.wants_token || request.wants_id_token;
                assert!(!front || client.allows_grant("implicit"));
                assert!(!(front && request.response_mode == Some(ResponseMode::Query)));
                request.wants_code || front
            }));
            assert!(request.response_mode.is_some());
            assert!(!request.wants_id_token || request.nonce.is_some());
            assert!(
                scope_values(&request.scope)
                    .all(|scope| OIDC_SCOPES.contains(&scope) || scope == "read:things")
            );
            assert!(request.audience.as_deref().is_none_or(|audience| audience == API));
            true
        }
        Err(denied) => {
            // What goes to a client goes to a callback that is proven.
            if let (Denial::Client(_, description), draft) = *denied {
                let callbacks = client.map_or(&[][..], |client| &client.doc.callbacks);
                assert!(redirect::matches_callback(callbacks, &draft.redirect_uri));
                assert!(description.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{description}");
            }
            false
        }
    }
}

/// The two lines of the bytes: what is registered, and what is asked for.
fn two_lines(bytes: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (entry, asked) = text.split_once('\n')?;
    Some((entry.to_owned(), asked.to_owned()))
}

/// [`redirect::matches_callback`]: what matches leads to the registered host, or a sub-domain for its star.
pub fn fuzz_callback(bytes: &[u8]) -> bool {
    let Some((entry, asked)) = two_lines(bytes) else { return false };
    if !redirect::matches_callback(std::slice::from_ref(&entry), &asked) {
        return false;
    }
    assert!(!asked.contains('#') && !asked.chars().any(char::is_control));
    if entry != asked {
        same_place(&entry, &asked);
    }
    true
}

/// [`redirect::matches_logout_url`], alike.
pub fn fuzz_logout_url(bytes: &[u8]) -> bool {
    let Some((entry, asked)) = two_lines(bytes) else { return false };
    if !redirect::matches_logout_url(std::slice::from_ref(&entry), &asked) {
        return false;
    }
    same_place(&entry, &asked);
    true
}

fn same_place(entry: &str, asked: &str) {
    let star = entry.contains("://*.");
    let (Ok(registered), Ok(asked)) = (Url::parse(&entry.replacen("://*.", "://x.", 1)), Url::parse(asked))
    else {
        return;
    };
    let below = |url: &Url| {
        // Only of schemes that it knows does the parser write hosts in lower case.
        let host = url.host_str().unwrap_or("").to_ascii_lowercase();
        if star { host.split_once('.').map_or(String::new(), |(_, rest)| rest.to_owned()) } else { host }
    };
    assert_eq!(registered.scheme(), asked.scheme());
    assert_eq!(below(&registered), below(&asked), "{entry} {asked}");
    assert_eq!(registered.port(), asked.port());
    assert_eq!(registered.path(), asked.path());
}
