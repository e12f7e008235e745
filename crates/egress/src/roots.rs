//! Which authorities vouch for receivers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

/// Where systems keep the authorities they trust.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why the authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read or holds no PEM.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PemError,
    },
    /// The file holds no certificate that can be used.
    #[error("{0} holds no certificate that can be used")]
    Empty(PathBuf),
    /// TLS itself.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// TLS as a client: the system's authorities, if it has any, and those of the file `more`.
pub(crate) fn client_config(more: Option<&Path>) -> Result<ClientConfig, RootsError> {
    let mut store = RootCertStore::empty();
    if let Some(system) = SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists()) {
        add(&mut store, system)?;
    }
    if let Some(path) = more
        && add(&mut store, path)? == 0
    {
        return Err(RootsError::Empty(path.to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Adds the certificates of a file; answers how many could be used. A system's bundle may hold one that is too old to be
/// read; the others stand.
fn add(store: &mut RootCertStore, path: &Path) -> Result<usize, RootsError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| RootsError::File { path: path.to_owned(), source })?;
    Ok(store.add_parsable_certificates(certificates).0)
}
