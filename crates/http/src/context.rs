//! From a request to its [`Ctx`]: which host, hence which tenant and issuer, and who asks.
//!
//! The issuer is the tenant's configured domain that equals the request's host, never the host itself: a host nobody
//! configured gets 421.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use curfew_model::{Ctx, Failure, RequestId, RequestInfo, TenantId};
use http::header::{ACCEPT_LANGUAGE, HOST, USER_AGENT};
use http::{HeaderMap, StatusCode, Uri};

use crate::App;
use crate::render::{failure, oauth};

/// `User-Agent` is kept up to here.
const USER_AGENT_BYTES_MAX: usize = 512;
/// A language's name is kept up to here.
const LANGUAGE_BYTES_MAX: usize = 64;
/// The default tenant.
const DEFAULT_TENANT: TenantId = TenantId(1);

/// Who is at the other end of the connection; the server adds it to each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// How many Actions wait for a request that one of them made; only such requests have it.
#[derive(Debug, Clone, Copy)]
pub struct Nesting(pub u8);

/// Gives the request its [`Ctx`] as an extension, or answers 421.
pub async fn provide(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    // A socket for both families shows IPv4 peers as mapped addresses, which no IPv4 network contains.
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
    let trusted = peer.is_some_and(|peer| app.settings.trusted_proxies.iter().any(|net| net.contains(&peer)));
    let host = host(request.headers(), request.uri(), trusted);
    let (tenant, issuer) = match tenant(&app, &host).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            return (StatusCode::MISDIRECTED_REQUEST, "Misdirected Request: no tenant has this domain\n")
                .into_response();
        }
        // Clients of the endpoints that speak JSON read it on every status.
        Err(error) if request.uri().path().starts_with("/oauth/") => return oauth::failure(&error),
        Err(error) => return failure(&error),
    };
    let info = RequestInfo {
        id: RequestId(app.core.entropy.bytes()),
        ip: client_address(&app, request.headers(), peer, trusted),
        user_agent: user_agent(request.headers()),
        host,
        nesting: request.extensions().get::<Nesting>().map_or(0, |nesting| nesting.0),
        method: request.method().as_str().to_owned(),
        language: language(request.headers()),
    };
    let ctx = Ctx {
        now: app.core.clock.now(),
        entropy: Arc::clone(&app.core.entropy),
        tenant,
        issuer,
        request: Arc::new(info),
    };
    request.extensions_mut().insert(ctx);
    next.run(request).await
}

/// The tenant with this domain, and its issuer there. `host` is in lower case and without the scheme's own port.
pub async fn tenant(app: &App, host: &str) -> Result<Option<(TenantId, Arc<str>)>, Failure> {
    if let Some(issuer) = app.settings.loopback_issuer.as_deref().filter(|_| is_loopback(host)) {
        return Ok(Some((DEFAULT_TENANT, Arc::from(issuer))));
    }
    if host.is_empty() || host.len() > 255 {
        return Ok(None);
    }
    app.core.tenant_of_host(host).await
}

/// `localhost`, `127.0.0.1`, `[::1]` and names under `.localhost`, at any port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The host the request was for, in lower case, without the scheme's own port.
fn host(headers: &HeaderMap, uri: &Uri, trusted: bool) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = text("x-forwarded-host").filter(|_| trusted).and_then(|value| value.split(',').next());
    let own = headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = forwarded.or(own).or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or("");
    let host = host.trim().to_ascii_lowercase();
    host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).map_or(host.clone(), str::to_owned)
}

/// The address of whoever asks: the nearest one in `X-Forwarded-For` that is no trusted proxy.
fn client_address(app: &App, headers: &HeaderMap, peer: Option<IpAddr>, trusted: bool) -> String {
    let own = peer.map_or_else(String::new, |peer| peer.to_string());
    if !trusted {
        return own;
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let chain: Vec<IpAddr> =
        forwarded.flat_map(|value| value.split(',')).filter_map(|part| part.trim().parse().ok()).collect();
    let nearest = chain
        .iter()
        .rev()
        .find(|address| !app.settings.trusted_proxies.iter().any(|net| net.contains(*address)));
    nearest.or(chain.first()).map_or(own, IpAddr::to_string)
}

/// The first language that the browser would like.
fn language(headers: &HeaderMap) -> String {
    let text = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let first = text.split([',', ';']).next().unwrap_or("").trim();
    if first.len() <= LANGUAGE_BYTES_MAX { first.to_owned() } else { String::new() }
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut end = text.len().min(USER_AGENT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_are_recognised() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "app.localhost:3"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.example", "example.com", "127.0.0.1.evil.example", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_forwarded_host_counts_only_from_a_trusted_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "inner:443".parse().unwrap());
        headers.insert("x-forwarded-host", "Login.Example".parse().unwrap());
        let uri = Uri::from_static("/");
        assert_eq!(host(&headers, &uri, false), "inner");
        assert_eq!(host(&headers, &uri, true), "login.example");
    }
}
