//! Clients that are slow, silent, greedy or garbled. Where time matters the connection is a pipe in memory and the clock
//! is paused, so that hours pass at once and to the millisecond; where sockets matter they are real.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;

const HEALTHY: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const WIDE: usize = 4 << 20;

fn router() -> Router {
    let read = |body: Result<Bytes, BytesRejection>| async move {
        match body {
            Ok(bytes) => format!("{} bytes", bytes.len()).into_response(),
            Err(error) if is_too_slow(&error) => "too slow".into_response(),
            Err(error) => error.into_response(),
        }
    };
    Router::new()
        .route("/", get(|| async { "healthy" }))
        .route("/read", post(read))
        .route("/never", get(std::future::pending::<Response>))
        .route("/wide", get(|| async { vec![0; WIDE] }))
        .layer(DefaultBodyLimit::max(64 * 1024))
}

/// A served connection in memory.
struct Pipe {
    client: DuplexStream,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
    begun: Instant,
}

fn served(limits: Limits, stopping: watch::Receiver<bool>) -> connection::Served {
    connection::Served {
        router: router(),
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        protocol: Arc::new(protocol()),
        limits: Arc::new(limits),
        stopping,
    }
}

impl Pipe {
    fn open() -> Self {
        let (client, server) = duplex(64 * 1024);
        let (stop, stopping) = watch::channel(false);
        let served = tokio::spawn(served(Limits::default(), stopping).serve(server));
        Self { client, stop, served, begun: Instant::now() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("the server takes it");
    }

    /// What comes until the head and `body` bytes are there.
    async fn answer(&mut self) -> String {
        answer(&mut self.client).await
    }

    /// What comes until the server closes, and when that is.
    async fn closed(mut self) -> (String, Duration) {
        let mut rest = Vec::new();
        // What was not read by the server may break the pipe instead of ending it.
        let _ = self.client.read_to_end(&mut rest).await;
        self.served.await.expect("no panic");
        (String::from_utf8_lossy(&rest).into_owned(), self.begun.elapsed())
    }

    /// Closed without a word, in this many seconds.
    async fn closed_after(self, seconds: std::ops::RangeInclusive<u64>) {
        let (said, after) = self.closed().await;
        assert_eq!(said, "");
        assert!(seconds.contains(&after.as_secs()), "{after:?}");
    }
}

/// One answer with a length.
async fn answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                return text;
            }
        }
        let got = stream.read_buf(&mut read).await.expect("an answer");
        assert_ne!(got, 0, "closed after {text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_finishes_the_first_head_is_closed() {
    for begun in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET", "GET / HTTP/1.1\r\nhost: x\r\nx-header: "] {
        let mut pipe = Pipe::open();
        pipe.send(begun.as_bytes()).await;
        pipe.closed_after(15..=16).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_gains_no_time() {
    let mut pipe = Pipe::open();
    pipe.send(b"GET / HTTP/1.1\r\nhost: x\r\n").await;
    while pipe.client.write_all(b"x-header: y\r\n").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
    pipe.closed_after(15..=17).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_answered_408() {
    let mut pipe = Pipe::open();
    pipe.send(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n").await;
    for _ in 0..29 {
        sleep(Duration::from_secs(1)).await;
        pipe.send(b"x").await;
    }
    let (said, after) = pipe.closed().await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("connection: close") && said.ends_with("too slow"), "{said}");
    assert!((30..=31).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_its_time_is_read() {
    let mut pipe = Pipe::open();
    pipe.send(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 29\r\n\r\n").await;
    for _ in 0..29 {
        sleep(Duration::from_secs(1)).await;
        pipe.send(b"x").await;
    }
    assert!(pipe.answer().await.ends_with("29 bytes"));
    pipe.send(HEALTHY).await;
    assert!(pipe.answer().await.ends_with("healthy"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_used_stays_and_an_idle_one_is_closed() {
    let mut pipe = Pipe::open();
    for _ in 0..10 {
        pipe.send(HEALTHY).await;
        assert!(pipe.answer().await.ends_with("healthy"));
        sleep(Duration::from_secs(70)).await;
    }
    pipe.send(HEALTHY).await;
    pipe.answer().await;
    pipe.closed_after(775..=790).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_head_that_is_never_finished_is_idle() {
    let mut pipe = Pipe::open();
    pipe.send(HEALTHY).await;
    pipe.answer().await;
    pipe.send(b"GET / HTTP/1.1\r\nx-he").await;
    pipe.closed_after(75..=90).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_is_cut_off() {
    let mut pipe = Pipe::open();
    pipe.send(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
    pipe.closed_after(120..=135).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_never_read_is_cut_off() {
    let mut pipe = Pipe::open();
    pipe.send(b"GET /wide HTTP/1.1\r\nhost: x\r\n\r\n").await;
    pipe.served.await.expect("no panic");
    let after = pipe.begun.elapsed().as_secs();
    assert!((75..=135).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_what_has_no_request_open() {
    for begun in [&b""[..], b"P", b"GET / HTTP/1.1\r\nhost: x\r\n", HEALTHY] {
        let mut pipe = Pipe::open();
        pipe.send(begun).await;
        if begun == HEALTHY {
            pipe.answer().await;
        }
        tokio::task::yield_now().await;
        pipe.stop.send_replace(true);
        pipe.closed_after(0..=1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_an_open_request_finish() {
    let mut pipe = Pipe::open();
    pipe.send(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab").await;
    sleep(Duration::from_secs(1)).await;
    pipe.stop.send_replace(true);
    sleep(Duration::from_secs(5)).await;
    pipe.send(b"cd").await;
    let (said, _) = pipe.closed().await;
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("connection: close"), "{said}");
    assert!(said.ends_with("4 bytes"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_half_that_is_closed_after_a_request_gets_its_answer() {
    let mut pipe = Pipe::open();
    pipe.send(HEALTHY).await;
    pipe.client.shutdown().await.unwrap();
    let (said, after) = pipe.closed().await;
    assert!(said.ends_with("healthy"), "{said}");
    assert_eq!(after.as_secs(), 0);
    let mut pipe = Pipe::open();
    pipe.send(b"GET / HT").await;
    pipe.client.shutdown().await.unwrap();
    let (said, after) = pipe.closed().await;
    assert!(!said.contains("200 OK"), "{said}");
    assert_eq!(after.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_is_over_in_time_and_before_the_stop() {
    let (stop, stopping) = watch::channel(false);
    let begun = Instant::now();
    let served = served(Limits::default(), stopping);
    assert!(served.handshaken(std::future::pending::<std::io::Result<()>>()).await.is_none());
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert!(served.handshaken(async { Ok(()) }).await.is_some());
    stop.send_replace(true);
    assert!(served.handshaken(std::future::pending::<std::io::Result<()>>()).await.is_none());
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn http2_says_its_limits_and_waits_no_longer() {
    let mut pipe = Pipe::open();
    pipe.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let mut head = [0; 9];
    pipe.client.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS come first (RFC 9113 §3.4)");
    let mut settings = vec![0; usize::from(head[2])];
    pipe.client.read_exact(&mut settings).await.unwrap();
    let of = |id: u8| {
        let setting = settings.chunks(6).find(|setting| setting[..2] == [0, id]).expect("it is sent");
        u32::from_be_bytes(setting[2..].try_into().unwrap())
    };
    assert_eq!((of(3), of(4), of(6)), (STREAMS_MAX, STREAM_WINDOW_BYTES, HEAD_BYTES_MAX));
    let (_, after) = pipe.closed().await;
    assert!((15..=16).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn http2_is_closed_when_idle_and_not_before() {
    let pipe = Pipe::open();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(pipe.client)).await.unwrap();
    let client = tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("http://x/").body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop(answer);
        sleep(Duration::from_secs(70)).await;
    }
    pipe.served.await.unwrap();
    let after = pipe.begun.elapsed().as_secs();
    assert!((215..=235).contains(&after), "{after}");
    client.await.unwrap().expect("it was told to go");
}

#[tokio::test]
async fn http2_refuses_a_body_that_is_too_large_while_it_is_sent() {
    let pipe = Pipe::open();
    let io = TokioIo::new(pipe.client);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let body = http_body_util::Full::new(Bytes::from(vec![0; WIDE]));
        let request = http::Request::post("http://x/read").body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 413);
    }
}

/// A server on a socket.
struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    run: JoinHandle<()>,
}

impl Listening {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let run = tokio::spawn(run(listener, None, router(), limits, async {
            let _ = stopped.await;
        }));
        Self { address, stop, run }
    }

    #[expect(clippy::disallowed_methods, reason = "the server is the test's own")]
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    async fn healthy(&self) {
        let mut stream = self.connect().await;
        stream.write_all(HEALTHY).await.unwrap();
        assert!(answer(&mut stream).await.ends_with("healthy"));
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.run.await.expect("no panic");
    }
}

#[tokio::test]
async fn what_is_no_request_or_too_large_is_refused_and_the_next_is_served() {
    let server = Listening::start(Limits::default()).await;
    let long = "x".repeat(100_000);
    let many = "x-header: y\r\n".repeat(200);
    for (bytes, status) in [
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\r\n\r\n".to_owned(), "400"),
        ("\0\0\0\0 / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx-header: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"), "431"),
        (format!("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{long}"), "413"),
        (
            "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
            "400",
        ),
        ("POST /read HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(), "400"),
    ] {
        let mut stream = server.connect().await;
        // It may be refused before all of it is sent.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let said = answer(&mut stream).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")),
            "{said} for {:?}",
            &bytes[..40.min(bytes.len())]
        );
        server.healthy().await;
    }
    server.stop().await;
}

/// The client sends all of it before it reads. Were the socket closed with bytes unread, the answer would be lost.
#[tokio::test]
async fn the_refusal_of_a_body_reaches_a_client_that_still_sends() {
    let server = Listening::start(Limits::default()).await;
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream.write_all(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 4194304\r\n\r\n").await.unwrap();
        stream.write_all(&vec![b'x'; 4 << 20]).await.expect("it is taken until its end");
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413 "));
    }
    server.healthy().await;
    server.stop().await;
}

#[tokio::test]
async fn beyond_the_limit_a_client_waits_until_another_leaves() {
    let server = Listening::start(Limits { connections_max: 2, ..Limits::default() }).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    for stream in [&mut one, &mut two] {
        stream.write_all(HEALTHY).await.unwrap();
        answer(stream).await;
    }
    let mut three = server.connect().await;
    three.write_all(HEALTHY).await.unwrap();
    for _ in 0..10 {
        one.write_all(HEALTHY).await.unwrap();
        answer(&mut one).await;
    }
    let nothing = three.try_read(&mut [0; 1]).expect_err("nobody serves it yet");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(two);
    assert!(answer(&mut three).await.ends_with("healthy"));
    // And a stop does not wait for those that were never let in.
    let four = server.connect().await;
    server.stop().await;
    drop((one, three, four));
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_limit() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = Listening::start(limits).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.healthy().await;
    server.stop().await;
    assert_eq!(stream.read(&mut [0; 1]).await.expect("a close, not a reset"), 0);
}
