//! A node at an address of its own, for callers that bring their own client: over plain HTTP, or over TLS under the
//! issuer's name. Whatever host they name, the box's is meant.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::Curfew;

/// What of a node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Everything,
    /// All but the feed, its snapshots and probes.
    AllButTheFeed,
    Nothing,
}

impl Curfew {
    /// Serves over plain HTTP; answers where.
    pub(crate) async fn listen(&self) -> SocketAddr {
        self.accept(async |stream| Some(stream), &watch::Sender::new(Reach::Everything)).await
    }

    /// Serves over TLS; answers where, and the certificate to trust (PEM).
    pub(crate) async fn listen_with_tls(&self) -> (SocketAddr, String) {
        self.listen_within(&watch::Sender::new(Reach::Everything)).await
    }

    /// The same, where not everything can be reached. Whenever `reach` is set, every connection breaks.
    pub(crate) async fn listen_within(&self, reach: &watch::Sender<Reach>) -> (SocketAddr, String) {
        let made = rcgen::generate_simple_self_signed([String::from("id.example")]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let shake_hands = move |stream| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(stream).await.ok() }
        };
        (self.accept(shake_hands, reach).await, made.cert.pem())
    }

    /// Takes connections until the runtime ends.
    async fn accept<S, F>(
        &self,
        prepare: impl Fn(TcpStream) -> F + Clone + Send + 'static,
        reach: &watch::Sender<Reach>,
    ) -> SocketAddr
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (curfew, reach) = (self.clone(), reach.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (curfew, prepare, mut set) = (curfew.clone(), prepare.clone(), reach.subscribe());
                let reach = *set.borrow_and_update();
                if reach == Reach::Nothing {
                    continue;
                }
                tokio::spawn(async move {
                    let Some(stream) = prepare(stream).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let curfew = curfew.clone();
                        async move {
                            if reach == Reach::AllButTheFeed && request.uri().path().starts_with("/endings/")
                            {
                                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
                            }
                            Ok(curfew.open(request.map(Body::new)).await)
                        }
                    });
                    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        // A client may hang up whenever it likes.
                        _ = serving => {}
                        _ = set.changed() => {}
                    }
                });
            }
        });
        address
    }
}
