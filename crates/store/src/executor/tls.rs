//! TLS to PostgreSQL, when the connection string asks for it.
//!
//! `sslmode=require`, `verify-ca` and `verify-full` all mean the last of them here: the server's certificate is
//! checked, with its name, against the file that `sslrootcert` names, or against the system's authorities. (libpq's
//! `require` checks nothing, which helps against listeners only, and not against whoever can redirect.) Without
//! `sslmode`, or with `disable` or `prefer`, there is no TLS.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use curfew_model::Failure;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where systems keep the authorities they trust.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Takes what the driver does not know out of a connection string: the string without it, and `sslrootcert`.
pub(super) fn take_parameters(url: &str) -> (String, Option<String>) {
    let url =
        url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    const NAME: &str = "sslrootcert=";
    let is_url = url.contains("://");
    let begins = |at: &usize| *at == 0 || url[..*at].ends_with(['?', '&', ' ', '\n', '\t']);
    let Some(at) = url.match_indices(NAME).map(|(at, _)| at).find(begins) else { return (url, None) };
    let value = &url[at + NAME.len()..];
    let end = value.find(|c: char| if is_url { c == '&' } else { c.is_whitespace() }).unwrap_or(value.len());
    let (value, rest) = value.split_at(end);
    let rest = if is_url { rest.strip_prefix('&').unwrap_or(rest) } else { rest };
    let value = if is_url { percent_decoded(value) } else { value.trim_matches('\'').to_owned() };
    (format!("{}{rest}", &url[..at]), Some(value))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = rest.strip_prefix('%').and_then(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
        let length = if let Some(byte) = hex {
            bytes.push(byte);
            3
        } else {
            bytes.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Makes a TLS session of each new connection.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Trusts the certificates in the file `roots`, or the system's when it is absent or `system`.
    pub(super) fn new(roots: Option<&str>) -> Result<Self, Failure> {
        let context = "the certificates that PostgreSQL's is checked against";
        let file = match roots {
            Some(path) if path != "system" => Path::new(path),
            _ => SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists()).ok_or_else(|| {
                Failure::storage(context, "this system has none; name a file with sslrootcert")
            })?,
        };
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| Failure::storage(context, format!("{}: {error}", file.display())))?;
        let mut store = RootCertStore::empty();
        // A system's bundle may hold a certificate that is too old to be read; the others stand.
        let (usable, _) = store.add_parsable_certificates(certificates);
        if usable == 0 {
            return Err(Failure::storage(context, format!("{}: it holds none", file.display())));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::storage(context, error))?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
        Ok(Connect { connector: self.connector.clone(), name })
    }
}

/// One handshake.
pub(super) struct Connect {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Connect {
    type Stream = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn connect(self, socket: Socket) -> Self::Future {
        async move { self.connector.connect(self.name, socket).await.map(Stream) }.boxed()
    }
}

/// A connection under TLS.
pub(super) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        // It would protect a password from a server with a certificate that is trusted but wrong; the name is checked.
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_certificates_file_is_taken_out() {
        for (given, url, file) in [
            ("postgres://u:p@h/d?sslmode=verify-full", "postgres://u:p@h/d?sslmode=require", None),
            (
                "postgres://u@h/d?sslrootcert=%2Fa%20b.pem&sslmode=require",
                "postgres://u@h/d?sslmode=require",
                Some("/a b.pem"),
            ),
            ("postgres://u@h/d?a=b&sslrootcert=/c", "postgres://u@h/d?a=b&", Some("/c")),
            ("host=h sslrootcert='/c' user=u", "host=h  user=u", Some("/c")),
            ("host=h password=xsslrootcert=y", "host=h password=xsslrootcert=y", None),
        ] {
            assert_eq!(take_parameters(given), (url.to_owned(), file.map(str::to_owned)), "{given}");
        }
    }
}
