use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curfew_egress::{Answer, Egress, Fault, Limits, Outgoing, Policy, Refused, Resolver};
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What a receiver does with each request: bytes to answer, and whether it then stays silent instead of closing.
#[derive(Clone)]
struct Script {
    answer: Vec<u8>,
    hangs: bool,
}

fn script(answer: impl Into<Vec<u8>>) -> Script {
    Script { answer: answer.into(), hangs: false }
}

/// A receiver on a loopback address.
struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen, tls) = (script.clone(), Arc::clone(&seen), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, script, seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, script, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Script,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&request).ends_with("a=1") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    seen.lock().unwrap().push(String::from_utf8(request).unwrap());
    if stream.write_all(&script.answer).await.is_ok() {
        let _ = stream.flush().await;
    }
    if script.hangs {
        let _ = stream.read(&mut buffer).await;
    }
    let _ = stream.shutdown().await;
}

fn egress(networks: &[&str], authorities: Option<&Path>) -> Egress {
    let policy = Policy::new(networks.iter().map(|network| network.parse().unwrap()).collect());
    Egress::new(policy, authorities).unwrap()
}

fn loopback() -> Egress {
    egress(&["127.0.0.0/8"], None)
}

async fn post(egress: &Egress, url: &str) -> Result<Answer, Fault> {
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let outgoing = Outgoing {
        method: Method::POST,
        url: url.parse().unwrap(),
        headers: HeaderMap::from_iter([(CONTENT_TYPE, form)]),
        body: "a=1".into(),
    };
    egress.send(outgoing).await
}

#[tokio::test]
async fn one_request_arrives_and_its_answer_is_read() {
    let receiver =
        Receiver::start(script("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"), None)
            .await;
    let url = format!("http://{}/logout?x=1#fragment", receiver.address);
    let answer = post(&loopback(), &url).await.unwrap();
    assert_eq!(answer.status, 429);
    assert_eq!(answer.headers["retry-after"], "7");
    assert_eq!(&answer.body[..], b"no");
    let requests = receiver.requests();
    let request = requests[0].to_lowercase();
    assert!(request.starts_with("post /logout?x=1 http/1.1\r\n"), "{request}");
    for header in [
        format!("host: {}", receiver.address),
        format!("user-agent: curfew/{}", env!("CARGO_PKG_VERSION")),
        "content-type: application/x-www-form-urlencoded".to_owned(),
        "content-length: 3".to_owned(),
    ] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{header} in {request}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let target = Receiver::start(script("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None).await;
    let location = format!("HTTP/1.1 307 Elsewhere\r\nLocation: http://{}/\r\n\r\n", target.address);
    let receiver = Receiver::start(script(location), None).await;
    let answer = post(&loopback(), &format!("http://{}/", receiver.address)).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(target.requests(), [""; 0]);
}

#[tokio::test]
async fn whoever_hangs_has_its_time_and_no_more() {
    let limits = Limits { total: Duration::from_millis(200), ..Limits::default() };
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"] {
        let receiver = Receiver::start(Script { answer: answer.into(), hangs: true }, None).await;
        let outcome = post(&loopback().with_limits(limits), &format!("http://{}/", receiver.address)).await;
        assert!(matches!(outcome, Err(Fault::Timeout)), "{answer:?}: {outcome:?}");
        assert_eq!(receiver.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_is_whole_or_none() {
    let large = |bytes: usize| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + bytes, b'x');
        answer
    };
    let most = Limits::default().answer_bytes_max;
    let receiver = Receiver::start(script(large(most)), None).await;
    let answer = post(&loopback(), &format!("http://{}/", receiver.address)).await.unwrap();
    assert_eq!(answer.body.len(), most);
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat();
    let endless = [endless, chunk.repeat(5)].concat();
    for (answer, what) in [
        (large(most + 1), "too large"),
        (endless, "without end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_vec(), "broken off"),
    ] {
        let receiver = Receiver::start(script(answer), None).await;
        let outcome = post(&loopback(), &format!("http://{}/", receiver.address)).await;
        assert!(matches!(outcome, Err(Fault::Body(_))), "{what}: {outcome:?}");
    }
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    for answer in [&head[..], "", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nConte"] {
        let receiver = Receiver::start(script(answer), None).await;
        let outcome = post(&loopback(), &format!("http://{}/", receiver.address)).await;
        let start = &answer[..answer.len().min(30)];
        assert!(
            matches!(outcome, Err(Fault::Http(_))),
            "{start:?}: {:?}",
            outcome.map(|answer| answer.status)
        );
    }
}

#[tokio::test]
async fn nobody_home_is_told_from_nobody_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(post(&loopback(), &url).await, Err(Fault::Connect(_))));
    for url in [&url, &url.replace("http:", "https:")] {
        let outcome = post(&egress(&[], None), url).await;
        assert!(matches!(outcome, Err(Fault::Refused(Refused::Address(_)))), "{outcome:?}");
    }
}

/// Answers a public address first and a loopback one ever after, as a name does that was made to get past a check.
#[derive(Debug)]
struct Rebinding {
    first: Vec<SocketAddr>,
    then: SocketAddr,
    asked: AtomicUsize,
}

impl Resolver for Rebinding {
    fn resolve<'a>(&'a self, host: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        assert_eq!(host, "app.example");
        let first = self.asked.fetch_add(1, Ordering::SeqCst) == 0;
        let answer = if first { self.first.clone() } else { vec![self.then] };
        Box::pin(async move { Ok(answer) })
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_judged_address_is_used() {
    let secret = Receiver::start(script("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), None).await;
    let own = Receiver::start(script("HTTP/1.1 204 None\r\n\r\n"), None).await;
    let url = format!("http://app.example:{}/", own.address.port());
    // The second answer, on another address of the loopback network, would lead elsewhere.
    let resolver = Arc::new(Rebinding {
        first: vec!["10.0.0.1:1".parse().unwrap(), own.address],
        then: secret.address,
        asked: AtomicUsize::new(0),
    });
    let client = loopback().with_resolver(Arc::<Rebinding>::clone(&resolver));
    assert_eq!(post(&client, &url).await.unwrap().status, 204);
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);
    assert_eq!((own.requests().len(), secret.requests().len()), (1, 0));
    assert!(
        own.requests()[0].to_lowercase().contains("\r\nhost: app.example:"),
        "the name is in the request"
    );
    // Nothing but refused addresses: nothing is tried.
    let resolver =
        Arc::new(Rebinding { first: vec![own.address], then: own.address, asked: AtomicUsize::new(0) });
    let client = egress(&[], None).with_resolver(resolver);
    let outcome = post(&client, &url.replace("http:", "https:")).await;
    assert!(matches!(outcome, Err(Fault::Refused(Refused::Address(_)))), "{outcome:?}");
    assert_eq!(own.requests().len(), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_is_dead() {
    let alive = Receiver::start(script("HTTP/1.1 204 None\r\n\r\n"), None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = listener.local_addr().unwrap();
    drop(listener);
    let resolver = Rebinding { first: vec![dead, alive.address], then: dead, asked: AtomicUsize::new(0) };
    let client = loopback().with_resolver(Arc::new(resolver));
    assert_eq!(post(&client, "http://app.example/").await.unwrap().status, 204);
}

#[tokio::test]
async fn a_certificate_is_checked_with_its_name() {
    let made = rcgen::generate_simple_self_signed([String::from("localhost")]).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let receiver = Receiver::start(script("HTTP/1.1 204 None\r\n\r\n"), Some(acceptor)).await;
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    std::fs::write(&authorities, made.cert.pem()).unwrap();
    let url = format!("https://localhost:{}/", receiver.address.port());
    let trusting = egress(&["127.0.0.0/8"], Some(&authorities));
    assert_eq!(post(&trusting, &url).await.unwrap().status, 204);
    let other_name = post(&trusting, &url.replace("localhost", "127.0.0.1")).await;
    assert!(matches!(other_name, Err(Fault::Tls(_))), "{other_name:?}");
    let stranger = post(&loopback(), &url).await;
    assert!(matches!(stranger, Err(Fault::Tls(_))), "{stranger:?}");
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let made = |path: &Path| Egress::new(Policy::default(), Some(path)).map(drop);
    assert!(made(&file).is_err(), "it is not there");
    std::fs::write(&file, "no certificate").unwrap();
    assert!(made(&file).is_err());
}
