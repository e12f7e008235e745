//! Applications around the server that is measured, which hear of the ends of sessions.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::failed::Result;
use crate::world::{Application, Management};

/// Applications that take part in sessions and hear of their ends.
pub(crate) struct Receivers {
    /// How many.
    pub(crate) count: usize,
    /// Each as a client.
    pub(crate) clients: Vec<Application>,
    /// When each logout token came.
    pub(crate) arrived: mpsc::UnboundedReceiver<Instant>,
    task: Option<AbortHandle>,
}

impl Drop for Receivers {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Receivers {
    /// Makes so many.
    pub(crate) async fn listen(management: &mut Management, count: usize) -> Result<Self> {
        let (sender, arrived) = mpsc::unbounded_channel();
        let mut clients = Vec::new();
        let mut task = None;
        if count > 0 {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let port = listener.local_addr()?.port();
            task = Some(spawn_local(receive(listener, sender)).abort_handle());
            for number in 0..count {
                clients.push(management.create_application(number, port).await?);
            }
        }
        Ok(Self { count, clients, arrived, task })
    }
}

/// Takes logout tokens and answers 200.
async fn receive(listener: TcpListener, sender: mpsc::UnboundedSender<Instant>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let sender = sender.clone();
        spawn_local(async move {
            let mut inbox = Vec::with_capacity(4096);
            while stream.read_buf(&mut inbox).await.is_ok_and(|read| read > 0) {
                let Some(head) = inbox.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
                let text = String::from_utf8_lossy(&inbox[..head]).to_lowercase();
                let length = text
                    .split_once("content-length:")
                    .and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
                if inbox.len() < head + 4 + length.unwrap_or(0) {
                    continue;
                }
                let _ = sender.send(Instant::now());
                inbox.clear();
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                    return;
                }
            }
        });
    }
}
