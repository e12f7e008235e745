//! Every error code in every dress. The tables are written from the catalogue of codes, so a new code has no rows yet and
//! fails; a changed row is a changed contract.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};
use curfew_core::authorize::{Outcome, PageError, Request, ResponseMode, respond};
use curfew_core::management::seed::{Seed, seed};
use curfew_core::passwords::Passwords;
use curfew_core::{Core, TenantConfig};
use curfew_model::config::Client;
use curfew_model::{
    Clock, Ctx, Entropy, Failure, OAuthCode, Refusal, RequestId, RequestInfo, SystemEntropy, TenantId,
    Timestamp,
};
use curfew_store::Engine;
use curfew_testkit::{START, TestDatabase};
use curfew_tokens::KeyEncryptionKey;
use http::HeaderMap;

use super::management::Problem;
use super::oauth;
use super::page::Look;

/// A description with everything that some dress has to escape.
const DESCRIPTION: &str = "It's \"so\" <b> & 100% </script>";
const CALLBACK: &str = "https://app.example/callback?from=us";

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        START
    }
}

/// Pages are the same each time.
#[derive(Debug)]
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn ctx(entropy: Arc<dyn Entropy>) -> Ctx {
    Ctx {
        now: START,
        entropy,
        tenant: TenantId(1),
        issuer: "https://id.example/".into(),
        request: Arc::new(RequestInfo {
            id: RequestId([7; 16]),
            ip: "192.0.2.1".into(),
            user_agent: "test".into(),
            host: "id.example".into(),
            nesting: 0,
            method: String::new(),
            language: String::new(),
        }),
    }
}

/// A tenant and a client of its own, which may be sent messages.
async fn configuration() -> (Arc<TenantConfig>, Client) {
    let database = TestDatabase::new(Engine::Sqlite);
    let passwords = Passwords::start(1, Arc::new(SystemEntropy)).expect("password threads");
    let kek = KeyEncryptionKey::from_bytes([9; 32]);
    let core = Core::new(database.open().await, Arc::new(Still), Arc::new(SystemEntropy), kek, passwords);
    let settled = Seed { host: "id.example".into(), bootstrap: None };
    seed(&core, &ctx(Arc::new(SystemEntropy)), &settled).await.expect("the seed");
    let config = core.tenant(TenantId(1)).await.expect("the tenant");
    let client = Client {
        id: "client".into(),
        version: 1,
        counter: 1,
        floor: 1,
        token_floor: 1,
        doc: serde_json::from_value(serde_json::json!({"web_origins": ["https://app.example"]}))
            .expect("a client"),
        secret: curfew_model::Secret::new(String::new()),
        credentials: Vec::new(),
        grants: Vec::new(),
    };
    (config, client)
}

fn headers(response: &Response) -> String {
    let mut lines: Vec<String> = response
        .headers()
        .iter()
        .filter(|(name, _)| *name != http::header::LOCATION)
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().expect("text")))
        .collect();
    lines.sort();
    lines.concat()
}

async fn body(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What of a page differs from code to code.
fn told(page: &str) -> String {
    let kept = ["<title>", "<h1>", "<p class=\"muted\">", "<dd", "<input type=\"hidden\"", "<form method"];
    let starts = |line: &str| kept.iter().any(|start| line.trim_start().starts_with(start));
    let lines = page.lines().filter(|line| starts(line) || line.contains(".postMessage("));
    lines.fold(String::new(), |mut text, line| {
        let _ = write!(text, "\n    {}", line.trim());
        text
    })
}

/// One dress: its headers, which are the same for every code, and a row for each.
#[derive(Default)]
struct Table {
    headers: String,
    rows: String,
}

impl Table {
    async fn row(&mut self, name: &str, response: Response) {
        let own = headers(&response);
        if self.headers.is_empty() {
            self.headers.clone_from(&own);
        }
        let status = response.status().as_u16();
        let location = response.headers().get(http::header::LOCATION);
        let location = location.map(|value| value.to_str().expect("text").to_owned());
        let extra: String =
            own.lines().filter(|line| !self.headers.contains(line)).fold(String::new(), |mut text, line| {
                let _ = write!(text, "\n    {line}");
                text
            });
        let body = body(response).await;
        let told = match location {
            Some(location) => format!("\n    {location}"),
            None if body.starts_with('{') => format!("\n    {body}"),
            None => told(&body),
        };
        let _ = writeln!(self.rows, "{name}: {status}{extra}{told}");
    }

    /// Compares with the reviewed table.
    fn check(self, name: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_snapshot_path("snapshots");
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, format!("{}\n{}", self.headers, self.rows)));
    }
}

#[tokio::test]
async fn at_the_callback() {
    let (config, client) = configuration().await;
    let ctx = ctx(Arc::new(Fixed));
    let look = Look::new(&ctx, Some(&config), &HeaderMap::new(), None);
    for (mode, name) in [
        (ResponseMode::Query, "query"),
        (ResponseMode::Fragment, "fragment"),
        (ResponseMode::FormPost, "form_post"),
        (ResponseMode::WebMessage, "web_message"),
    ] {
        let request = Request {
            client_id: "client".to_owned(),
            redirect_uri: CALLBACK.to_owned(),
            response_mode: Some(mode),
            state: Some("a state&more".to_owned()),
            ..Request::default()
        };
        let mut table = Table::default();
        for code in OAuthCode::ALL {
            let outcome = respond::error(&ctx, &config, Some(&client), &request, *code, DESCRIPTION);
            table.row(code.as_str(), look.outcome(&ctx, &HeaderMap::new(), outcome, None)).await;
        }
        table.check(name);
    }
}

#[tokio::test]
async fn on_our_own_page() {
    let (config, client) = configuration().await;
    let ctx = ctx(Arc::new(Fixed));
    let look = Look::new(&ctx, Some(&config), &HeaderMap::new(), None);
    let mut table = Table::default();
    for code in OAuthCode::ALL {
        // Without a proven `redirect_uri` there is nobody else to tell.
        let outcome = respond::error(&ctx, &config, Some(&client), &Request::default(), *code, DESCRIPTION);
        table.row(code.as_str(), look.outcome(&ctx, &HeaderMap::new(), outcome, None)).await;
    }
    let lost = PageError { lost: true, ..PageError::new(OAuthCode::InvalidRequest, DESCRIPTION) };
    table.row("a lost login", look.outcome(&ctx, &HeaderMap::new(), Outcome::Page(lost), None)).await;
    for (name, failure) in failures() {
        table.row(name, look.failure(&ctx, &failure)).await;
    }
    table.check("page");
}

#[tokio::test]
async fn at_the_token_endpoint() {
    let mut table = Table::default();
    for code in OAuthCode::ALL {
        let refusal = Refusal::new(*code, DESCRIPTION).detail("never leaves");
        table.row(code.as_str(), oauth::refusal(&refusal)).await;
    }
    let wrong_secret = Refusal::new(OAuthCode::AccessDenied, "Unauthorized");
    table.row("a wrong secret", oauth::refusal(&wrong_secret)).await;
    for (name, failure) in failures() {
        table.row(name, oauth::failure(&failure)).await;
    }
    table.check("token");
}

/// The Management API has codes of its own; what it shares is what cannot be decided.
#[tokio::test]
async fn at_the_management_api() {
    let mut table = Table::default();
    for (name, failure) in failures() {
        table.row(name, Problem::from(failure).into_response()).await;
    }
    table.check("management");
}

/// A failure of each kind; none tells what it holds.
fn failures() -> Vec<(&'static str, Failure)> {
    let source = || Box::<dyn std::error::Error + Send + Sync>::from("never leaves");
    let busy = |what| Failure::Busy { what, retry_after_seconds: 3 };
    vec![
        ("Contention", Failure::Contention),
        ("Busy", busy("the writer's queue")),
        ("Busy hashing", busy("password hashing")),
        ("UnknownCommit", Failure::UnknownCommit(source())),
        ("Storage", Failure::storage("never leaves", source())),
        ("Inconsistent", Failure::Inconsistent { table: "users", column: "doc", id: "never leaves".into() }),
        ("Conflict", Failure::Conflict),
        ("Crypto", Failure::Crypto("never leaves".into())),
        ("Internal", Failure::Internal("never leaves".into())),
    ]
}

/// Breaks the build when a failure is not among [`failures`].
#[test]
fn every_failure_is_shown() {
    for (name, failure) in failures() {
        let own = match failure {
            Failure::Contention => "Contention",
            Failure::Busy { .. } => "Busy",
            Failure::UnknownCommit(_) => "UnknownCommit",
            Failure::Storage { .. } => "Storage",
            Failure::Inconsistent { .. } => "Inconsistent",
            Failure::Conflict => "Conflict",
            Failure::Crypto(_) => "Crypto",
            Failure::Internal(_) => "Internal",
        };
        assert!(name.starts_with(own));
    }
}

#[test]
fn no_table_belongs_to_no_dress() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/snapshots");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("the tables")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    files.sort();
    let names = ["form_post", "fragment", "management", "page", "query", "token", "web_message"];
    assert_eq!(files, names.map(|name| format!("{name}.snap")));
    for file in files {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/snapshots").join(file);
        let table = std::fs::read_to_string(path).expect("a table");
        assert!(!table.contains("never leaves"));
    }
}
