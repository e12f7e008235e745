//! An application that receives forms over plain HTTP on the loopback address, and does with them what a test says:
//! confirms, refuses, hangs, breaks off, or is not there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a receiver does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status and this body.
    Body(u16, String),
    /// Answers with this status and `Retry-After`.
    RetryAfter(u16, String),
    /// Reads the request and never answers.
    Hang,
    /// Reads the request, and does with it what it is told next.
    Wait,
    /// Begins an answer of 200 and closes the connection in the middle of it.
    BreakOff,
}

/// The receiver. Dropping it stops it.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    behaviour: watch::Sender<Behaviour>,
    /// In the order in which they came.
    requests: watch::Sender<Vec<Request>>,
}

/// A request that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its first line and its headers.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Request {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Receiver {
    /// Starts one that answers 200.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (requests, _) = watch::channel(Vec::new());
        let state = Arc::new(State { behaviour: watch::Sender::new(Behaviour::Status(200)), requests });
        let listening = Mutex::new(Some(listen(listener, Arc::clone(&state))));
        Self { address, state, listening }
    }

    /// Where requests go.
    pub fn url(&self) -> String {
        format!("http://{}/backchannel-logout", self.address)
    }

    /// Says what it does with the requests that come from now on.
    pub fn behaves(&self, behaviour: Behaviour) {
        self.state.behaviour.send_replace(behaviour);
    }

    /// Is not there any more: connections are refused.
    pub async fn go_down(&self) {
        let listening = self.listening.lock().expect("nobody panics with it").take();
        if let Some(task) = listening {
            task.abort();
            // The port is free once the task is gone.
            let _ = task.await;
        }
    }

    /// Is there again, at the same address.
    pub async fn come_back(&self) {
        let listener = TcpListener::bind(self.address).await.expect("its port is still free");
        let task = listen(listener, Arc::clone(&self.state));
        *self.listening.lock().expect("nobody panics with it") = Some(task);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.borrow().clone()
    }

    /// The bodies of all requests so far.
    pub fn bodies(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.body).collect()
    }

    /// Waits until `count` requests have come, and answers their bodies.
    pub async fn bodies_after(&self, count: usize) -> Vec<String> {
        let mut requests = self.state.requests.subscribe();
        requests.wait_for(|requests| requests.len() >= count).await.expect("the receiver is there");
        self.bodies()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Ok(mut listening) = self.listening.lock()
            && let Some(task) = listening.take()
        {
            task.abort();
        }
    }
}

fn listen(listener: TcpListener, state: Arc<State>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&state)));
        }
    })
}

/// One request a connection.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let Some(request) = read(&mut stream).await else { return };
    let mut behaviours = state.behaviour.subscribe();
    let mut behaviour = behaviours.borrow_and_update().clone();
    state.requests.send_modify(|requests| requests.push(request));
    if behaviour == Behaviour::Wait {
        let next = behaviours.wait_for(|behaviour| *behaviour != Behaviour::Wait).await;
        behaviour = next.expect("the state holds it").clone();
    }
    let answer = match behaviour {
        Behaviour::Status(status) => format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n"),
        Behaviour::Body(status, body) => {
            let length = body.len();
            format!("HTTP/1.1 {status} Told\r\nContent-Length: {length}\r\n\r\n{body}")
        }
        Behaviour::RetryAfter(status, after) => {
            format!("HTTP/1.1 {status} Later\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n")
        }
        Behaviour::BreakOff => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbut".to_owned(),
        Behaviour::Hang | Behaviour::Wait => {
            // Until the other side gives up.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
    };
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// A request with `Content-Length`; `None` when the connection ends before it is there.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(Request { head: head.to_owned(), body: body.to_owned() });
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
