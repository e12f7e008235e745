//! An HTTP/1.1 client that costs next to nothing, so that one core of generator can keep one core of server busy:
//! requests are laid out in a buffer and written at once, answers are read where they arrive.
//!
//! It understands what hyper's servers send: `content-length`, `chunked`, and answers without a body.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::failed::{Failed, Result};

/// The server that is measured.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What `Host` says.
    pub(crate) host: String,
    /// What it calls itself, with the last `/`.
    pub(crate) issuer: String,
}

/// A request before it is laid out.
#[derive(Debug, Default)]
pub(crate) struct Request<'a> {
    /// `GET`, `POST`, …
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// Beside `host` and `content-length`.
    pub(crate) headers: &'a [(&'static str, &'a str)],
    /// Its bytes, with `content-type` among the headers.
    pub(crate) body: &'a [u8],
}

/// A request as it went out and the size of what came back: enough to ask the floor the same.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Head and body.
    pub(crate) request: Vec<u8>,
    /// Bytes of the answer's body.
    pub(crate) answer_bytes: usize,
}

/// One connection, kept alive; it is opened at the first request, and anew after a failure.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Rc<Server>,
    stream: Option<TcpStream>,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    /// Where to note what passes, while somebody wants to know.
    recorded: Option<Vec<Exchange>>,
}

/// An answer, in the buffer of its connection.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    head: &'a str,
    /// The body, unchunked.
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The values of a header, in the order in which they came. `name` in lower case.
    pub(crate) fn headers<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        headers(self.head, name)
    }

    /// The first value of a header.
    pub(crate) fn header<'s>(&'s self, name: &'s str) -> Option<&'s str> {
        self.headers(name).next()
    }

    /// For complaints: the status, where it leads, and the beginning of the body, of a page its words.
    pub(crate) fn describe(&self) -> String {
        let body = String::from_utf8_lossy(self.body);
        let body = body.split_once("<main").map_or(&*body, |(_, main)| main);
        let mut inside_tag = false;
        let words: String = body
            .chars()
            .map(|sign| {
                let shown = if inside_tag || sign == '<' { ' ' } else { sign };
                inside_tag = sign == '<' || (inside_tag && sign != '>');
                shown
            })
            .collect();
        let words: Vec<&str> = words.split_whitespace().take(60).collect();
        let location = self.header("location").map(|to| format!(" to {to}")).unwrap_or_default();
        format!("{}{location} {}", self.status, words.join(" "))
    }
}

fn headers<'a>(head: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    head.split("\r\n").skip(1).filter_map(move |line| {
        let (before, value) = line.split_once(':')?;
        before.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// How far the bytes received so far go.
#[derive(Debug, PartialEq, Eq)]
enum Received {
    /// The answer is not there yet.
    Part,
    /// A whole answer: its head ends, its body ends. The body is unchunked in place.
    Whole { head_end: usize, body_end: usize },
}

impl Connection {
    /// A connection that is not open yet.
    pub(crate) fn new(server: &Rc<Server>) -> Self {
        Self {
            server: Rc::clone(server),
            stream: None,
            outbox: Vec::with_capacity(4096),
            inbox: Vec::with_capacity(16 * 1024),
            recorded: None,
        }
    }

    /// Notes every exchange from now on.
    pub(crate) fn record(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// What passed since [`Self::record`]; nothing is noted any more.
    pub(crate) fn recorded(&mut self) -> Vec<Exchange> {
        self.recorded.take().unwrap_or_default()
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn send(&mut self, request: &Request<'_>) -> Result<Answer<'_>> {
        lay_out(&mut self.outbox, &self.server.host, request);
        if let Some(recorded) = &mut self.recorded {
            recorded.push(Exchange { request: self.outbox.clone(), answer_bytes: 0 });
        }
        self.exchange().await
    }

    /// Sends bytes that are a request already, and waits for the answer.
    pub(crate) async fn send_raw(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.outbox.clear();
        self.outbox.extend_from_slice(request);
        self.exchange().await
    }

    async fn exchange(&mut self) -> Result<Answer<'_>> {
        let (head_end, body_end) = match self.round_trip().await {
            Ok(ends) => ends,
            Err(failed) => {
                self.stream = None;
                return Err(failed);
            }
        };
        let head = std::str::from_utf8(&self.inbox[..head_end])
            .map_err(|_| Failed("a head that is no text".into()))?;
        let body = &self.inbox[head_end + 4..body_end];
        if let Some(last) = self.recorded.as_mut().and_then(|recorded| recorded.last_mut()) {
            last.answer_bytes = body.len();
        }
        if headers(head, "connection").any(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = None;
        }
        Ok(Answer { status: status(head)?, head, body })
    }

    async fn round_trip(&mut self) -> Result<(usize, usize)> {
        if let Some(stream) = &mut self.stream {
            // A server may close a connection that was idle, and not have seen the request then.
            match talk(stream, &self.outbox, &mut self.inbox).await {
                Err(_) if self.inbox.is_empty() => {}
                other => return other,
            }
        }
        let stream = self.stream.insert(open(self.server.address).await?);
        talk(stream, &self.outbox, &mut self.inbox).await
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the generator's own connection to the server that it measures"
)]
async fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn talk(stream: &mut TcpStream, request: &[u8], inbox: &mut Vec<u8>) -> Result<(usize, usize)> {
    inbox.clear();
    stream.write_all(request).await?;
    loop {
        inbox.reserve(4096);
        if stream.read_buf(inbox).await? == 0 {
            return Err(Failed("the server closed the connection before its answer".into()));
        }
        if let Received::Whole { head_end, body_end } = receive(inbox)? {
            return Ok((head_end, body_end));
        }
    }
}

fn lay_out(out: &mut Vec<u8>, host: &str, request: &Request<'_>) {
    out.clear();
    for part in [request.method, " ", request.target, " HTTP/1.1\r\nhost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.headers {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if request.method != "GET" {
        out.extend_from_slice(format!("content-length: {}\r\n", request.body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(request.body);
}

fn status(head: &str) -> Result<u16> {
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    code.ok_or_else(|| Failed(format!("not an answer: {}", head.lines().next().unwrap_or_default())))
}

fn receive(inbox: &mut Vec<u8>) -> Result<Received> {
    let Some(head_end) = inbox.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(Received::Part);
    };
    let head =
        std::str::from_utf8(&inbox[..head_end]).map_err(|_| Failed("a head that is no text".into()))?;
    let start = head_end + 4;
    let status = status(head)?;
    if let Some(length) = headers(head, "content-length").next() {
        let length: usize = length.parse().map_err(|_| Failed(format!("a length of `{length}`")))?;
        let body_end = start + length;
        return Ok(if inbox.len() >= body_end {
            Received::Whole { head_end, body_end }
        } else {
            Received::Part
        });
    }
    if headers(head, "transfer-encoding").any(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(match unchunk(&inbox[start..])? {
            Some(body) => {
                inbox.truncate(start);
                inbox.extend_from_slice(&body);
                Received::Whole { head_end, body_end: inbox.len() }
            }
            None => Received::Part,
        });
    }
    if matches!(status, 100..200 | 204 | 304) {
        return Ok(Received::Whole { head_end, body_end: start });
    }
    Err(Failed("an answer that does not say where it ends".into()))
}

/// The body of a chunked answer, or `None` while it is not whole.
fn unchunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&rest[..line_end]);
        let digits = line.split(';').next().unwrap_or_default().trim().to_owned();
        let size =
            usize::from_str_radix(&digits, 16).map_err(|_| Failed(format!("a chunk of `{digits}`")))?;
        let Some(chunk) = rest.get(line_end + 2..line_end + 2 + size + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[line_end + 2 + size + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> (Received, Vec<u8>) {
        let mut inbox = text.as_bytes().to_vec();
        let received = receive(&mut inbox).unwrap();
        (received, inbox)
    }

    #[test]
    fn a_request_is_laid_out_as_the_standard_wants_it() {
        let mut out = Vec::new();
        let headers = [("content-type", "text/plain")];
        let request = Request { method: "POST", target: "/x?y=1", headers: &headers, body: b"hello" };
        lay_out(&mut out, "localhost:1", &request);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "POST /x?y=1 HTTP/1.1\r\nhost: localhost:1\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
        );
    }

    #[test]
    fn an_answer_is_whole_when_its_length_is_there() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(whole(text).0, Received::Whole { head_end: 34, body_end: text.len() });
        for cut in 0..text.len() {
            assert_eq!(whole(&text[..cut]).0, Received::Part, "{cut} bytes");
        }
        assert_eq!(
            whole("HTTP/1.1 204 No Content\r\n\r\n").0,
            Received::Whole { head_end: 23, body_end: 27 }
        );
        assert!(receive(&mut b"SSH-2.0\r\n\r\n".to_vec()).is_err());
    }

    #[test]
    fn chunks_are_put_together() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let text = format!("{head}3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\n\r\n");
        let (received, inbox) = whole(&text);
        let Received::Whole { body_end, .. } = received else { panic!("not whole") };
        assert_eq!(&inbox[head.len()..body_end], b"abc0123456789");
        for cut in 0..text.len() {
            assert_eq!(whole(&text[..cut]).0, Received::Part, "{cut} bytes");
        }
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let head = "HTTP/1.1 302 Found\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nLocation: /u/login?state=x:y";
        let answer = Answer { status: status(head).unwrap(), head, body: b"" };
        assert_eq!(answer.status, 302);
        assert_eq!(answer.headers("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(answer.header("location"), Some("/u/login?state=x:y"));
    }
}
