//! What a guard has to be told.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use curfew_model::{Entropy, Secret, SystemEntropy};
use http::Uri;
use http::uri::Scheme;
use serde::Serialize;

use crate::clock::{Clocks, SystemClocks};

/// Longest name of a guard.
const NAME_CHARACTERS_MAX: usize = 100;

/// What the guard does while its view is older than its lease, or where the view alone does not decide. There is no
/// third way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stale {
    /// It asks the server about each token, and refuses when there is no answer.
    #[default]
    Introspect,
    /// It refuses.
    Refuse,
}

/// Whose certificates are trusted as the server's.
#[derive(Clone, Default)]
pub enum Roots {
    /// Those that the platform trusts.
    #[default]
    Platform,
    /// Those of these certificates (PEM), and no others.
    Pem(Vec<u8>),
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Platform => "Platform",
            Self::Pem(_) => "Pem(…)",
        })
    }
}

/// Why a guard does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The issuer is no URL that ends in `/`, or not https. Plain http is taken for loopback names only.
    #[error("the issuer must be an https URL that ends in a slash (or http on localhost)")]
    Issuer,
    /// The audience or a credential is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Not 1 to 100 characters.
    #[error("a guard's name has 1 to 100 characters")]
    Name,
    /// Not 1 to 60 seconds.
    #[error("a lease has 1 to 60 seconds")]
    Lease,
    /// No certificate among them can be used.
    #[error("there is no usable root certificate")]
    Roots,
    /// There is no Tokio runtime to follow the feed on.
    #[error("a guard is started on a Tokio runtime")]
    Runtime,
}

/// How a guard is set up: for which API, at which server, as which client.
#[derive(Clone)]
pub struct Config {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret<String>,
    pub(crate) name: String,
    pub(crate) lease_seconds: u8,
    pub(crate) stale: Stale,
    pub(crate) roots: Roots,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) clocks: Arc<dyn Clocks>,
    pub(crate) entropy: Arc<dyn Entropy>,
    #[cfg(test)]
    pub(crate) dial: Option<crate::client::Dial>,
}

impl Config {
    /// A guard for the API with the identifier `audience`. `issuer` is the server's, with the slash at its end; the
    /// client's grant for the API holds the scope `curfew:guard`.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            client_id: client_id.into(),
            client_secret: Secret::new(client_secret.into()),
            name: "curfew-guard".to_owned(),
            lease_seconds: 10,
            stale: Stale::default(),
            roots: Roots::default(),
            address: None,
            clocks: Arc::new(SystemClocks::default()),
            entropy: Arc::new(SystemEntropy),
            #[cfg(test)]
            dial: None,
        }
    }

    /// Under which name operators see this guard: at most 100 characters.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// How old the view may be: 1 to 60 seconds, by default 10.
    #[must_use]
    pub fn lease_seconds(self, lease_seconds: u8) -> Self {
        Self { lease_seconds, ..self }
    }

    /// What the guard does with an older view: by default it introspects.
    #[must_use]
    pub fn stale(self, stale: Stale) -> Self {
        Self { stale, ..self }
    }

    /// Whose certificates are trusted: by default those that the platform trusts.
    #[must_use]
    pub fn roots(self, roots: Roots) -> Self {
        Self { roots, ..self }
    }

    /// Where the server is reached, instead of where the issuer's name leads. Host and certificate stay the issuer's.
    #[must_use]
    pub fn address(self, address: SocketAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Other clocks than the machine's.
    #[must_use]
    pub fn clocks(self, clocks: Arc<dyn Clocks>) -> Self {
        Self { clocks, ..self }
    }

    /// Other randomness than the system's.
    #[must_use]
    pub fn entropy(self, entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ..self }
    }

    /// Checks what was set.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let uri: Uri = self.issuer.parse().map_err(|_| ConfigError::Issuer)?;
        let host = uri.host().ok_or(ConfigError::Issuer)?;
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let plain = uri.scheme() == Some(&Scheme::HTTP) && is_loopback(host);
        let bare = uri.query().is_none() && !self.issuer.contains(['#', '@']);
        if !(secure || plain) || !bare || !self.issuer.ends_with('/') {
            return Err(ConfigError::Issuer);
        }
        for (value, what) in [
            (&self.audience, "the audience"),
            (&self.client_id, "the client's id"),
            (self.client_secret.expose(), "the client's secret"),
        ] {
            if value.is_empty() {
                return Err(ConfigError::Empty(what));
            }
        }
        if !(1..=NAME_CHARACTERS_MAX).contains(&self.name.chars().count()) {
            return Err(ConfigError::Name);
        }
        if !(1..=60).contains(&self.lease_seconds) {
            return Err(ConfigError::Lease);
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("client_id", &self.client_id)
            .field("name", &self.name)
            .field("lease_seconds", &self.lease_seconds)
            .field("stale", &self.stale)
            .field("roots", &self.roots)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(issuer: &str) -> Config {
        Config::new(issuer, "https://api.example/", "client", "a secret")
    }

    #[test]
    fn each_setting_has_its_bounds() {
        for issuer in [
            "https://id.example/",
            "https://id.example:8443/",
            "http://localhost:8080/",
            "http://127.0.0.1/",
            "http://[::1]:8080/",
        ] {
            assert_eq!(config(issuer).check(), Ok(()), "{issuer}");
        }
        for issuer in [
            "",
            "id.example",
            "https://id.example",
            "http://id.example/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "https://id.example/?a=/",
            "https://me@id.example/",
            "/",
        ] {
            assert_eq!(config(issuer).check(), Err(ConfigError::Issuer), "{issuer}");
        }
        let good = || config("https://id.example/");
        for lease_seconds in [1, 60] {
            assert_eq!(good().lease_seconds(lease_seconds).check(), Ok(()));
        }
        for lease_seconds in [0, 61, 255] {
            assert_eq!(good().lease_seconds(lease_seconds).check(), Err(ConfigError::Lease));
        }
        assert_eq!(good().name("ä".repeat(100)).check(), Ok(()));
        assert_eq!(good().name("ä".repeat(101)).check(), Err(ConfigError::Name));
        assert_eq!(good().name("").check(), Err(ConfigError::Name));
        let empty = Config::new("https://id.example/", "", "client", "a secret");
        assert_eq!(empty.check(), Err(ConfigError::Empty("the audience")));
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert!(!format!("{:?}", config("https://id.example/")).contains("a secret"));
    }
}
