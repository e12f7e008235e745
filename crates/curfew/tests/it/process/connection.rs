//! One keep-alive HTTP connection, as an SDK's agent or a browser holds it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// No answer takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The connection broke before the answer was complete: whether the request was done is unknown.
#[derive(Debug)]
pub(crate) struct Lost;

/// A connection that opens itself, and again after it broke.
pub(crate) struct Connection {
    address: SocketAddr,
    open: Option<SendRequest<Full<Bytes>>>,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A text member of the body.
    pub(crate) fn member(&self, name: &str) -> Option<String> {
        self.json().get(name)?.as_str().map(str::to_owned)
    }

    /// A parameter of the redirect.
    pub(crate) fn redirected_with(&self, name: &str) -> Option<String> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        let query = location.split_once('?')?.1;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
    }

    /// The cookies it sets, as they are sent back.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        values.filter_map(|value| value.split(';').next())
    }
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    #[expect(clippy::disallowed_methods, reason = "the server is the test's own")]
    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, Lost> {
        let stream = TcpStream::connect(self.address).await.map_err(|_| Lost)?;
        stream.set_nodelay(true).map_err(|_| Lost)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Lost)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Lost> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(request)).await.expect("no answer");
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Lost> {
        let mut sender = match self.open.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.open().await?,
        };
        sender.ready().await.map_err(|_| Lost)?;
        let (head, body) = sender.send_request(request).await.map_err(|_| Lost)?.into_parts();
        let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
        self.open = Some(sender);
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// A request with these headers, for the default tenant.
    pub(crate) fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("localhost:{}", self.address.port()))
            .body(Full::new(body.into()))
            .expect("a request")
    }

    /// `GET` with a cookie.
    pub(crate) async fn get(&mut self, path: &str, cookie: &str) -> Result<Answer, Lost> {
        let mut request = self.request(Method::GET, path, Bytes::new());
        if !cookie.is_empty() {
            request.headers_mut().insert(COOKIE, cookie.parse().expect("a cookie"));
        }
        self.send(request).await
    }

    /// `GET` with a bearer token.
    pub(crate) async fn get_as(&mut self, path: &str, token: &str) -> Result<Answer, Lost> {
        let mut request = self.request(Method::GET, path, Bytes::new());
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a token"));
        self.send(request).await
    }

    /// `POST` of a form.
    pub(crate) async fn form(
        &mut self,
        path: &str,
        pairs: &[(&str, &str)],
        cookie: &str,
    ) -> Result<Answer, Lost> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let mut request = self.request(Method::POST, path, body);
        let form = "application/x-www-form-urlencoded".parse().expect("a type");
        request.headers_mut().insert(CONTENT_TYPE, form);
        if !cookie.is_empty() {
            request.headers_mut().insert(COOKIE, cookie.parse().expect("a cookie"));
        }
        self.send(request).await
    }

    /// A JSON request with a bearer token.
    pub(crate) async fn json(
        &mut self,
        method: Method,
        path: &str,
        token: &str,
        body: &Value,
    ) -> Result<Answer, Lost> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let mut request = self.request(method, path, body);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, "application/json".parse().expect("a type"));
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a token"));
        self.send(request).await
    }
}
