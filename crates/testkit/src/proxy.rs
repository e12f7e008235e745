//! A link between Curfew and a PostgreSQL server that breaks when a test says so, or that speaks TLS.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What becomes of the message at which a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server does not get it.
    Before,
    /// The server gets it and answers; the answer is lost.
    After,
}

/// A listener on the loopback address that passes bytes on to a server, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    plan: Arc<Mutex<Plan>>,
    rounds: watch::Sender<u32>,
    listening: AbortHandle,
    certificate: Option<String>,
}

/// What a client sends in the clear before a TLS handshake (PostgreSQL's SSLRequest: length and code).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

#[derive(Debug, Default)]
struct Plan {
    next: Option<(Vec<u8>, Cut)>,
    cuts: u32,
}

impl Proxy {
    /// Starts it in front of the server that `url` names.
    pub async fn to_postgres(url: &str) -> Self {
        Self::start(url, None).await
    }

    /// Starts it in front of the server that `url` names, with TLS between the client and itself. Its certificate
    /// is its own authority and good for `localhost` alone.
    pub async fn to_postgres_with_tls(url: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([String::from("localhost")]).expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(
                vec![made.cert.der().clone()],
                PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
            )
            .expect("the key fits the certificate");
        let mut proxy = Self::start(url, Some(TlsAcceptor::from(Arc::new(config)))).await;
        proxy.certificate = Some(made.cert.pem());
        proxy
    }

    async fn start(url: &str, tls: Option<TlsAcceptor>) -> Self {
        let config: Config = url.parse().expect("a connection string");
        let server = config.get_hosts().first().expect("a host").clone();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("its address");
        let user = config.get_user().expect("a user");
        let mut url = format!("host=127.0.0.1 port={} user='{user}'", own.port());
        url.push_str(&format!(" dbname='{}'", config.get_dbname().unwrap_or(user)));
        if let Some(password) = config.get_password() {
            url.push_str(&format!(" password='{}'", String::from_utf8_lossy(password)));
        }
        let plan = Arc::new(Mutex::new(Plan::default()));
        let (rounds, _) = watch::channel(0);
        let link = Link { server, port, plan: Arc::clone(&plan), rounds: rounds.clone(), tls };
        let listening = tokio::spawn(link.listen(listener)).abort_handle();
        Self { url, plan, rounds, listening, certificate: None }
    }

    /// How to connect through it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its certificate as PEM, when it speaks TLS.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Cuts the connection on which the next message to the server that holds `mark` comes.
    pub fn cut_at(&self, mark: &[u8], cut: Cut) {
        self.plan.lock().expect("nobody panics with it").next = Some((mark.to_owned(), cut));
    }

    /// How often it has cut at a mark.
    pub fn cuts(&self) -> u32 {
        self.plan.lock().expect("nobody panics with it").cuts
    }

    /// Cuts every connection there is now.
    pub fn cut_all(&self) {
        self.rounds.send_modify(|round| *round += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[derive(Clone)]
struct Link {
    server: Host,
    port: u16,
    plan: Arc<Mutex<Plan>>,
    rounds: watch::Sender<u32>,
    tls: Option<TlsAcceptor>,
}

impl Link {
    async fn listen(self, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(self.clone().connect(client));
        }
    }

    async fn connect(self, mut client: TcpStream) {
        let Some(tls) = &self.tls else { return self.reach(client).await };
        let mut request = [0; SSL_REQUEST.len()];
        // A client that does not ask for TLS, or does not like our certificate, is not served.
        if client.read_exact(&mut request).await.is_ok()
            && request == SSL_REQUEST
            && client.write_all(b"S").await.is_ok()
            && let Ok(client) = tls.accept(client).await
        {
            self.reach(client).await;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the server is the test's own")]
    async fn reach(&self, client: impl AsyncRead + AsyncWrite + Unpin) {
        match &self.server {
            Host::Tcp(host) => {
                let server = TcpStream::connect((host.as_str(), self.port)).await.expect("the server");
                self.pass(client, server).await;
            }
            Host::Unix(folder) => {
                let socket = folder.join(format!(".s.PGSQL.{}", self.port));
                let server = UnixStream::connect(socket).await.expect("the server");
                self.pass(client, server).await;
            }
        }
    }

    /// Passes bytes both ways. Both ends are closed when it returns.
    async fn pass(
        &self,
        mut client: impl AsyncRead + AsyncWrite + Unpin,
        mut server: impl AsyncRead + AsyncWrite + Unpin,
    ) {
        let mut rounds = self.rounds.subscribe();
        let (mut request, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                _ = rounds.changed() => return,
                read = client.read(&mut request) => {
                    let Some(bytes) = some_of(&request, read) else { return };
                    let cut = self.cut(bytes);
                    if cut == Some(Cut::Before) || server.write_all(bytes).await.is_err() {
                        return;
                    }
                    if cut == Some(Cut::After) {
                        // The server speaks only when it has done what it was asked.
                        let _ = server.read(&mut answer).await;
                        return;
                    }
                }
                read = server.read(&mut answer) => {
                    let Some(bytes) = some_of(&answer, read) else { return };
                    if client.write_all(bytes).await.is_err() || client.flush().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether to cut at these bytes.
    fn cut(&self, bytes: &[u8]) -> Option<Cut> {
        let mut plan = self.plan.lock().expect("nobody panics with it");
        let (_, cut) =
            plan.next.take_if(|(mark, _)| bytes.windows(mark.len()).any(|part| part == mark.as_slice()))?;
        plan.cuts += 1;
        Some(cut)
    }
}

/// What was read, if it was anything.
fn some_of(buffer: &[u8], read: std::io::Result<usize>) -> Option<&[u8]> {
    read.ok().filter(|&length| length > 0).map(|length| &buffer[..length])
}
