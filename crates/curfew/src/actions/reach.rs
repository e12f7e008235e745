//! What an Action reaches from its worker.
//!
//! Its own tenant's domains lead to this very process: no TLS, no name to resolve, no connection that a full server would
//! refuse, and the ordinary checks of whoever asks. Everything else goes through the one client, with its policy.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use curfew_actions::{
    ActionTrigger, CacheAnswer, CacheRequest, FetchError, FetchRequest, FetchResponse, Host, HostFuture,
};
use curfew_egress::{Egress, Fault, Limits, Outgoing};
use curfew_http::App;
use curfew_http::context::{self, Nesting};
use curfew_model::{Clock, TenantId};
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Limited};
use tower::ServiceExt as _;
use url::{Position, Url};

use super::Caches;

/// Bytes of an answer that an Action gets.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// What others may take to answer an Action; the execution's own time may be over sooner.
const LIMITS: Limits = Limits {
    total: Duration::from_secs(20),
    connect: Duration::from_secs(5),
    answer_bytes_max: ANSWER_BYTES_MAX,
};

/// The way to everything that Actions reach, shared by all executions of a node.
pub struct Reach {
    egress: Egress,
    clock: Arc<dyn Clock>,
    caches: Caches,
    /// The server itself. It holds the rules, which hold this: so it is not held here.
    own: OnceLock<Weak<Own>>,
}

/// The server's whole surface, as sockets and as its own Actions reach it.
pub struct Own {
    app: Arc<App>,
    router: Router,
}

impl Own {
    /// The whole surface of `app`.
    pub fn new(app: Arc<App>) -> Arc<Self> {
        Arc::new(Self { router: curfew_http::router(Arc::clone(&app)), app })
    }

    /// The handlers' state.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// What answers requests.
    pub fn router(&self) -> Router {
        self.router.clone()
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("egress", &self.egress).finish_non_exhaustive()
    }
}

impl Reach {
    /// A way out by this client. Nothing of the server's own is reached before [`Reach::connect`].
    pub fn new(egress: Egress, clock: Arc<dyn Clock>) -> Self {
        Self { egress: egress.with_limits(LIMITS), clock, caches: Caches::default(), own: OnceLock::new() }
    }

    /// Says which server is the tenants' own; once.
    pub fn connect(&self, own: &Arc<Own>) {
        let _ = self.own.set(Arc::downgrade(own));
    }

    async fn fetch(&self, of: &Reached, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let outgoing = outgoing(request)?;
        let host = authority(&outgoing.url);
        match self.own.get().and_then(Weak::upgrade) {
            Some(own) if is_http(&outgoing.url) && own.is_tenant(of.tenant, &host).await? => {
                own.answer(of, outgoing, &host).await
            }
            _ => {
                let url = outgoing.url.clone();
                let answer = self.egress.send(outgoing).await.map_err(|fault| of_fault(&url, &fault))?;
                Ok(response(answer.status, &answer.headers, &url, answer.body))
            }
        }
    }
}

impl Own {
    async fn is_tenant(&self, tenant: TenantId, host: &str) -> Result<bool, FetchError> {
        let found = context::tenant(&self.app, host).await.map_err(|failure| {
            // What failed is the server's affair; the Action's author cannot mend it.
            tracing::error!(%failure, "an Action's request could not be judged");
            FetchError::new("EAI_AGAIN", "the server could not look the host up; try again")
        })?;
        // A server without a configured issuer answers under every name of the loopback. Only its own port is its own.
        let is_own = |issuer: &str| Url::parse(issuer).is_ok_and(|issuer| authority(&issuer) == host);
        Ok(found.is_some_and(|(found, issuer)| found == tenant && is_own(&issuer)))
    }

    async fn answer(
        &self,
        of: &Reached,
        outgoing: Outgoing,
        host: &str,
    ) -> Result<FetchResponse, FetchError> {
        let target = &outgoing.url[Position::BeforePath..Position::AfterQuery];
        let mut request = Request::builder()
            .method(outgoing.method)
            .uri(target)
            .body(Body::from(outgoing.body))
            .map_err(|_| invalid("the address is none that can be asked for"))?;
        *request.headers_mut() = outgoing.headers;
        let host =
            HeaderValue::try_from(host).map_err(|_| invalid("the address has no host that can be sent"))?;
        request.headers_mut().insert(HOST, host);
        request.extensions_mut().insert(Nesting(of.depth + 1));
        let router = self.router.clone();
        // A task of its own: what the request began is finished also if the Action is stopped meanwhile, as the
        // request of a client that goes away is.
        let answered = tokio::spawn(async move {
            // A router's own error type has no values.
            router.oneshot(request).await.unwrap_or_else(|never| match never {})
        });
        let answer =
            answered.await.map_err(|_| FetchError::new("ECONNRESET", "the server gave no answer"))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| too_large())?;
        Ok(response(head.status, &head.headers, &outgoing.url, body.to_bytes()))
    }
}

/// What this server answers; whoever asks in another way is sent to the policy, which knows no other.
fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// For whom it is reached: one execution's side of it.
#[derive(Debug)]
pub struct Reached {
    /// By which way.
    pub reach: Arc<Reach>,
    /// Whose Action it is.
    pub tenant: TenantId,
    /// Which trigger's cache it has.
    pub trigger: ActionTrigger,
    /// How many Actions wait for it already.
    pub depth: u8,
}

impl Host for Reached {
    fn fetch(&self, request: FetchRequest) -> HostFuture<'_, Result<FetchResponse, FetchError>> {
        Box::pin(self.reach.fetch(self, request))
    }

    fn cache(&self, request: CacheRequest) -> HostFuture<'_, CacheAnswer> {
        let now = self.reach.clock.now();
        let answer = self.reach.caches.answer(self.tenant, self.trigger, request, now);
        Box::pin(std::future::ready(answer))
    }
}

/// What may be sent of what was asked for. Whatever it says of the connection is not the Action's to say.
fn outgoing(request: FetchRequest) -> Result<Outgoing, FetchError> {
    let url = Url::parse(&request.url).map_err(|_| invalid("the address is no URL"))?;
    let method =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("there is no such method"))?;
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(invalid("this method is not sent"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let name =
            HeaderName::try_from(name).map_err(|_| invalid("a header has no name that can be sent"))?;
        let value = HeaderValue::try_from(value).map_err(|_| invalid("a header's value cannot be sent"))?;
        headers.append(name, value);
    }
    // Compressed answers would need to be unpacked in the worker.
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, ACCEPT_ENCODING] {
        headers.remove(name);
    }
    Ok(Outgoing { method, url, headers, body: request.body })
}

/// The host as tenants' domains are written: lower case, with the port where it is not the scheme's own.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

fn response(status: http::StatusCode, headers: &HeaderMap, url: &Url, body: bytes::Bytes) -> FetchResponse {
    let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    FetchResponse {
        status: status.as_u16(),
        status_text: status.canonical_reason().unwrap_or_default().to_owned(),
        url: url.to_string(),
        redirected: false,
        headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
    }
}

/// As Node's errors are named, so that libraries that try again know when.
fn of_fault(url: &Url, fault: &Fault) -> FetchError {
    let code = match fault {
        Fault::Refused(_) => "EACCES",
        Fault::Resolve(_) => "ENOTFOUND",
        Fault::Connect(_) => "ECONNREFUSED",
        Fault::Tls(_) => "EPROTO",
        Fault::Http(_) => "ECONNRESET",
        Fault::Body(_) => return too_large(),
        Fault::Timeout => "ETIMEDOUT",
    };
    FetchError::new(code, format!("{}: {fault}", url.host_str().unwrap_or_default()))
}

fn invalid(message: &str) -> FetchError {
    FetchError::new("ERR_INVALID_URL", message)
}

fn too_large() -> FetchError {
    FetchError::new("ERR_BODY_TOO_LARGE", "the answer broke off, or is larger than 8 MiB")
}
