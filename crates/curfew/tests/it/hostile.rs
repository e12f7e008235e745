//! Clients that mean no good, or know no better, against the real binary: after each of them it serves as before. Their
//! times are told where the clock can be moved, in `curfew_http::server`.

use std::process::Command;

use bytes::Bytes;
use curfew_store::Engine;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::actors::{Admin, Browser};
use crate::process::connection::{Connection, Lost};
use crate::process::{Place, Process};

#[expect(clippy::disallowed_methods, reason = "the server is the test's own")]
async fn connect(place: &Place) -> std::io::Result<TcpStream> {
    TcpStream::connect(place.address()).await
}

/// Sends these bytes; what the server says until it closes.
async fn say(place: &Place, bytes: &[u8]) -> String {
    let mut stream = connect(place).await.expect("a connection");
    // It may be refused before all of it is sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

/// Reads until this was said.
async fn hear(stream: &mut TcpStream, wanted: &str) {
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(wanted) {
        let got = stream.read_buf(&mut said).await.expect("an answer");
        assert_ne!(got, 0, "closed after {}", String::from_utf8_lossy(&said));
    }
}

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

in_a_process! {
    fn each_is_refused_and_the_next_is_served(place) {
        let mut admin = Admin::new(&place).await;
        let application = admin.make_applications(1, 0).await.remove(0);
        let person = admin.make_person("somebody").await;
        let mut browser = Browser::new(place.address());
        browser.log_in(&application, &person).await.expect("an answer").expect("a code");
        let long = "x".repeat(100_000);
        let token = post("/oauth/token", FORM, &format!("grant_type={long}"));
        let users = post("/api/v2/users", "authorization: Bearer e30.e30.e30\r\n", &"x".repeat(4 << 20));
        for (bytes, status) in [
            ("", ""),
            ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", ""),
            ("\u{7f}ELF\r\n\r\n", "400"),
            ("GET /authorize?client_id=", ""),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnever a frame", ""),
            (&format!("GET /authorize?state={long} HTTP/1.1\r\nhost: localhost\r\n\r\n"), "431"),
            (&format!("GET /authorize HTTP/1.1\r\nhost: localhost\r\ncookie: {long}\r\n\r\n"), "431"),
            (&token, "413"),
            (&users, ""),
            (&post("/u/login", FORM, &long), "413"),
            // Half of a body, and the sending side is closed.
            ("POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\ngrant", "400"),
            ("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n", "200"),
        ] {
            let said = say(&place, bytes.as_bytes()).await;
            let begins = &bytes[..bytes.len().min(30)];
            if status.is_empty() {
                assert!(!said.contains(" 200 ") && !said.contains(" 500 "), "{begins:?}: {said}");
            } else {
                assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{begins:?}: {said}");
            }
            browser.silent(&application).await.expect("an answer").expect("a code");
        }
        let said = say(&place, token.as_bytes()).await;
        assert!(said.contains(r#""error":"invalid_request""#), "{said}");
    }
}

/// A request that was taken before the signal is answered after it. What has no request open holds nothing up.
async fn sigterm_lets_an_open_request_finish(engine: Engine) {
    let place = Place::new(engine);
    let server = place.start();
    let mut idle = Connection::to(place.address());
    assert_eq!(idle.get("/health", "").await.expect("an answer").status, StatusCode::OK);
    let silent = connect(&place).await.expect("a connection");
    let mut partial = connect(&place).await.expect("a connection");
    partial.write_all(b"GET /health HTTP/1.1\r\nhost:").await.unwrap();
    let body = "grant_type=client_credentials&client_id=bootstrap&client_secret=wrong";
    let (first, second) = body.split_at(20);
    let request = post("/oauth/token", &format!("{FORM}expect: 100-continue\r\n"), body);
    let head = request.strip_suffix(body).expect("it ends with it");
    let mut open = connect(&place).await.expect("a connection");
    open.write_all(head.as_bytes()).await.unwrap();
    // Said when the handler waits for the body.
    hear(&mut open, "HTTP/1.1 100 ").await;
    open.write_all(first.as_bytes()).await.unwrap();
    server.terminate();
    // The listener is closed first.
    while connect(&place).await.is_ok() {
        tokio::task::yield_now().await;
    }
    open.write_all(second.as_bytes()).await.unwrap();
    let mut said = String::new();
    open.read_to_string(&mut said).await.expect("an answer");
    assert!(said.contains("HTTP/1.1 401 ") && said.contains("access_denied"), "{said}");
    assert!(said.contains("connection: close"), "{said}");
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(!place.said().contains("did not finish in time"), "{}", place.said());
    drop((silent, partial));
    place.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_and_an_open_request_on_sqlite() {
    sigterm_lets_an_open_request_finish(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_and_an_open_request_on_postgres() {
    sigterm_lets_an_open_request_finish(Engine::Postgres).await;
}

/// SIGTERM at the moment of the first line, or before: nobody has to wait for the server to be ready for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_right_after_the_first_line() {
    let place = Place::new(Engine::Sqlite);
    for _ in 0..5 {
        let server = place.start();
        server.terminate();
        assert_eq!(server.ended().await.code(), Some(0));
    }
    place.verify().await;
}

/// A request that does not end is not waited for without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_and_a_request_that_never_ends() {
    let place = Place::new(Engine::Sqlite);
    let server = place.start();
    let mut open = connect(&place).await.expect("a connection");
    open.write_all(
        b"POST /oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
    )
    .await
    .unwrap();
    hear(&mut open, "HTTP/1.1 100 ").await;
    server.terminate();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), server.ended()).await;
    assert_eq!(ended.expect("in time").code(), Some(0));
    assert!(place.said().contains("did not finish in time"), "{}", place.said());
    place.verify().await;
}

fn start_with_files(place: &Place, files: u32) -> Process {
    let mut command = place.command("sh");
    command.args(["-c", &format!("ulimit -n {files}; exec \"$0\""), env!("CARGO_BIN_EXE_curfew")]);
    place.start_as(command)
}

/// The process may open few files. More clients come than it can serve, and it neither ends nor forgets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_than_files() {
    const FILES: u32 = 80;
    let place = Place::new(Engine::Sqlite);
    let server = start_with_files(&place, FILES);
    let most = curfew::descriptors::connections_max(Some(FILES.into()), usize::MAX);
    let mut inside = Vec::new();
    for _ in 0..most {
        let mut connection = Connection::to(place.address());
        assert_eq!(health(&mut connection).await.expect("an answer"), StatusCode::OK);
        inside.push(connection);
    }
    let mut outside = Vec::new();
    for _ in 0..most {
        let mut stream = connect(&place).await.expect("the kernel takes it");
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        outside.push(stream);
    }
    for connection in &mut inside {
        assert_eq!(health(connection).await.expect("an answer"), StatusCode::OK);
    }
    for stream in &outside {
        let nothing = stream.try_read(&mut [0; 1]).expect_err("nobody serves it yet");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }
    drop(inside);
    for stream in &mut outside {
        hear(stream, "HTTP/1.1 200 OK").await;
    }
    drop(outside);
    let mut admin = Admin::new(&place).await;
    admin.make_person("somebody").await;
    server.kill();
    place.verify().await;
    let full = format!("all {most} connections are taken");
    assert!(place.said().contains(&full), "{}", place.said());
}

async fn health(connection: &mut Connection) -> Result<StatusCode, Lost> {
    let request = connection.request(http::Method::GET, "/health", Bytes::new());
    Ok(connection.send(request).await?.status)
}

/// The soft limit is what a shell gives; the server raises it to what it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_soft_limit_is_raised() {
    let place = Place::new(Engine::Sqlite);
    let mut command = place.command("sh");
    command.args(["-c", "ulimit -S -n 64; exec \"$0\"", env!("CARGO_BIN_EXE_curfew")]);
    let server = place.start_as(command);
    let limits = Command::new("sh")
        .args(["-c", "ulimit -H -n; grep 'open files' /proc/$0/limits", &server.id().to_string()])
        .output()
        .expect("sh");
    let text = String::from_utf8_lossy(&limits.stdout).into_owned();
    let mut words = text.split_whitespace();
    let hard = words.next().expect("a number");
    assert_eq!(words.nth(3), Some(hard), "{text}");
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
}
