//! Configuration in two steps: what was typed ([`Typed`]: flags, environment, file), and what it means ([`Config`]).
//!
//! The three places spell one key; a flag wins over the environment, which wins over the file. A key nobody knows stops
//! the start.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use curfew_actions::Unconfined;
use curfew_http::server::TlsFiles;
use curfew_model::{ClientId, Secret};
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

/// What was typed, by key. Each is described in `docs/configuration.md`.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    /// Address and port to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "CURFEW_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// URL of the default tenant, ending in `/` [default: http://localhost:PORT/]
    #[arg(long, env = "CURFEW_ISSUER", value_name = "URL")]
    pub issuer: Option<String>,
    /// Folder for the embedded database and the key-encryption key [default: curfew-data]
    #[arg(long, env = "CURFEW_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// postgres://user:password@host:port/database [default: SQLite in the data folder]
    #[arg(long, env = "CURFEW_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// PEM file of the certificate and its chain [default: plain HTTP]
    #[arg(long, env = "CURFEW_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, env = "CURFEW_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Networks (CIDR, separated by commas), or `loopback`, whose X-Forwarded-* headers are believed
    #[arg(long, env = "CURFEW_TRUST_PROXY", value_name = "NETWORKS")]
    pub trust_proxy: Option<String>,
    /// Private networks (CIDR, separated by commas) that outbound requests may reach
    #[arg(long, env = "CURFEW_EGRESS_ALLOW", value_name = "NETWORKS")]
    pub egress_allow: Option<String>,
    /// PEM file of authorities that outbound requests trust beside the system's
    #[arg(long, env = "CURFEW_EGRESS_CA", value_name = "FILE")]
    pub egress_ca: Option<PathBuf>,
    /// npm's configuration file, which names the registry of the packages that Actions need [default: ~/.npmrc]
    #[arg(long, env = "CURFEW_NPMRC", value_name = "FILE")]
    pub npmrc: Option<PathBuf>,
    /// Folder of packages for Actions [default: `packages` beside the program, then in the data folder]
    #[arg(long, env = "CURFEW_PACKAGES_DIR", value_name = "FOLDER")]
    pub packages_dir: Option<PathBuf>,
    /// Actions that run at a time, each in a process [default: 4 for each processor, 8 to 64]
    #[arg(long, env = "CURFEW_ACTIONS_WORKERS", value_name = "NUMBER")]
    pub actions_workers: Option<Number>,
    /// How long the Actions of one trigger may take together, with all waiting [default: 20000]
    #[arg(long, env = "CURFEW_ACTIONS_TIME_MS", value_name = "MILLISECONDS")]
    pub actions_time_ms: Option<Number>,
    /// Processor time of one Action [default: 5000]
    #[arg(long, env = "CURFEW_ACTIONS_CPU_MS", value_name = "MILLISECONDS")]
    pub actions_cpu_ms: Option<Number>,
    /// Memory of one Action [default: 128]
    #[arg(long, env = "CURFEW_ACTIONS_MEMORY_MIB", value_name = "MEBIBYTES")]
    pub actions_memory_mib: Option<Number>,
    /// How long a process without work stays, with what is warm in it [default: 60]
    #[arg(long, env = "CURFEW_ACTIONS_IDLE_SECONDS", value_name = "SECONDS")]
    pub actions_idle_seconds: Option<Number>,
    /// Whether Actions run where the system cannot fully confine them: run, refuse [default: run]
    #[arg(long, env = "CURFEW_ACTIONS_UNCONFINED", value_name = "WORD")]
    pub actions_unconfined: Option<String>,
    /// City or country database in MaxMind's format, which tells Actions where a request comes from
    #[arg(long, env = "CURFEW_GEOIP_DATABASE", value_name = "FILE")]
    pub geoip_database: Option<PathBuf>,
    /// ASN database in MaxMind's format, which tells Actions from whose network
    #[arg(long, env = "CURFEW_ASN_DATABASE", value_name = "FILE")]
    pub asn_database: Option<PathBuf>,
    /// Id of a machine-to-machine client with every Management API scope, made if absent
    #[arg(long, env = "CURFEW_BOOTSTRAP_CLIENT_ID", value_name = "ID")]
    pub bootstrap_client_id: Option<String>,
    /// The secret of that client
    #[arg(long, env = "CURFEW_BOOTSTRAP_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub bootstrap_client_secret: Option<String>,
    /// E-mail of the first administrator, made if absent
    #[arg(long, env = "CURFEW_BOOTSTRAP_ADMIN_EMAIL", value_name = "EMAIL")]
    pub bootstrap_admin_email: Option<String>,
    /// The password of that administrator
    #[arg(long, env = "CURFEW_BOOTSTRAP_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub bootstrap_admin_password: Option<String>,
}

/// A number as it was typed; the file may have it with or without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(String);

impl FromStr for Number {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Whole(i64),
            Text(String),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Whole(number) => number.to_string(),
            Written::Text(text) => text,
        }))
    }
}

/// What Actions may use of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionsConfig {
    /// How many run at a time; `None`: as many as the processors are good for.
    pub workers: Option<usize>,
    /// How long those of one trigger may take in one flow, together.
    pub time: Duration,
    /// Processor time of one.
    pub cpu: Duration,
    /// Memory of one.
    pub memory_bytes: usize,
    /// How long a process without work stays.
    pub idle: Duration,
    /// What happens where the system cannot fully confine them.
    pub unconfined: Unconfined,
}

/// What it means.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The default tenant's issuer, if one is configured.
    pub issuer: Option<String>,
    /// State on this machine.
    pub data_dir: PathBuf,
    /// `None`: SQLite in the data folder.
    pub database_url: Option<Secret<String>>,
    /// TLS.
    pub tls: Option<TlsFiles>,
    /// Whose `X-Forwarded-*` are believed.
    pub trust_proxy: Vec<IpNet>,
    /// What outbound requests may reach.
    pub egress_allow: Vec<IpNet>,
    /// Whom outbound requests trust beside the system's authorities.
    pub egress_ca: Option<PathBuf>,
    /// npm's configuration; `None`: the one in the home folder, if there is one.
    pub npmrc: Option<PathBuf>,
    /// Where packages for Actions lie; `None`: beside the program and in the data folder.
    pub packages_dir: Option<PathBuf>,
    /// What Actions may use.
    pub actions: ActionsConfig,
    /// Where addresses are.
    pub geoip_database: Option<PathBuf>,
    /// Whose networks addresses belong to.
    pub asn_database: Option<PathBuf>,
    /// A machine-to-machine client to make.
    pub bootstrap_client: Option<(ClientId, Secret<String>)>,
    /// An administrator to make.
    pub bootstrap_admin: Option<(String, Secret<String>)>,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that does not read.
    #[error("{key}: {problem}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A key nobody knows.
    #[error("{0}: unknown setting (see docs/configuration.md for the ones there are)")]
    Unknown(String),
    /// The file does not read.
    #[error("configuration file {path}: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

const KEYS: [&str; 25] = [
    "CURFEW_LISTEN",
    "CURFEW_ISSUER",
    "CURFEW_DATA_DIR",
    "CURFEW_DATABASE_URL",
    "CURFEW_TLS_CERT",
    "CURFEW_TLS_KEY",
    "CURFEW_TRUST_PROXY",
    "CURFEW_EGRESS_ALLOW",
    "CURFEW_EGRESS_CA",
    "CURFEW_NPMRC",
    "CURFEW_PACKAGES_DIR",
    "CURFEW_ACTIONS_WORKERS",
    "CURFEW_ACTIONS_TIME_MS",
    "CURFEW_ACTIONS_CPU_MS",
    "CURFEW_ACTIONS_MEMORY_MIB",
    "CURFEW_ACTIONS_IDLE_SECONDS",
    "CURFEW_ACTIONS_UNCONFINED",
    "CURFEW_GEOIP_DATABASE",
    "CURFEW_ASN_DATABASE",
    "CURFEW_BOOTSTRAP_CLIENT_ID",
    "CURFEW_BOOTSTRAP_CLIENT_SECRET",
    "CURFEW_BOOTSTRAP_ADMIN_EMAIL",
    "CURFEW_BOOTSTRAP_ADMIN_PASSWORD",
    "CURFEW_CONFIG",
    "CURFEW_LOG",
];

/// Variables of the development tools, which the server does not read.
const TOOLS: [&str; 5] = ["CURFEW_TEST_", "CURFEW_E2E_", "CURFEW_BENCH_", "CURFEW_BIN", "CURFEW_CACHE_DIR"];

/// Refuses `CURFEW_*` variables nobody knows: a typing error must not pass for a setting.
pub fn check_environment(names: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    for name in names.filter(|name| name.starts_with("CURFEW_")) {
        let known = KEYS.contains(&name.as_str()) || TOOLS.iter().any(|tool| name.starts_with(tool));
        if !known {
            return Err(ConfigError::Unknown(name));
        }
    }
    Ok(())
}

impl Typed {
    /// Adds what the file says where nothing else was said.
    pub fn with_file(self, path: &std::path::Path) -> Result<Self, ConfigError> {
        let failed = |problem: String| ConfigError::File { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let file: Self = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            listen: self.listen.or(file.listen),
            issuer: self.issuer.or(file.issuer),
            data_dir: self.data_dir.or(file.data_dir),
            database_url: self.database_url.or(file.database_url),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            trust_proxy: self.trust_proxy.or(file.trust_proxy),
            egress_allow: self.egress_allow.or(file.egress_allow),
            egress_ca: self.egress_ca.or(file.egress_ca),
            npmrc: self.npmrc.or(file.npmrc),
            packages_dir: self.packages_dir.or(file.packages_dir),
            actions_workers: self.actions_workers.or(file.actions_workers),
            actions_time_ms: self.actions_time_ms.or(file.actions_time_ms),
            actions_cpu_ms: self.actions_cpu_ms.or(file.actions_cpu_ms),
            actions_memory_mib: self.actions_memory_mib.or(file.actions_memory_mib),
            actions_idle_seconds: self.actions_idle_seconds.or(file.actions_idle_seconds),
            actions_unconfined: self.actions_unconfined.or(file.actions_unconfined),
            geoip_database: self.geoip_database.or(file.geoip_database),
            asn_database: self.asn_database.or(file.asn_database),
            bootstrap_client_id: self.bootstrap_client_id.or(file.bootstrap_client_id),
            bootstrap_client_secret: self.bootstrap_client_secret.or(file.bootstrap_client_secret),
            bootstrap_admin_email: self.bootstrap_admin_email.or(file.bootstrap_admin_email),
            bootstrap_admin_password: self.bootstrap_admin_password.or(file.bootstrap_admin_password),
        })
    }

    /// What it means, or what is wrong with it. An empty value counts as not given.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let listen = given(self.listen).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let listen = listen.parse().map_err(|_| ConfigError::Value {
            key: "CURFEW_LISTEN",
            problem: format!("{listen} is not address:port, for example 127.0.0.1:8080"),
        })?;
        let tls = pair(
            self.tls_cert.filter(|path| !path.as_os_str().is_empty()),
            self.tls_key.filter(|path| !path.as_os_str().is_empty()),
            ("CURFEW_TLS_CERT", "CURFEW_TLS_KEY"),
        )?
        .map(|(certificate, key)| TlsFiles { certificate, key });
        let client = pair(
            given(self.bootstrap_client_id),
            given(self.bootstrap_client_secret),
            ("CURFEW_BOOTSTRAP_CLIENT_ID", "CURFEW_BOOTSTRAP_CLIENT_SECRET"),
        )?;
        let admin = pair(
            given(self.bootstrap_admin_email),
            given(self.bootstrap_admin_password),
            ("CURFEW_BOOTSTRAP_ADMIN_EMAIL", "CURFEW_BOOTSTRAP_ADMIN_PASSWORD"),
        )?;
        let whole =
            |key, typed: Option<Number>, bounds| number(key, given(typed.map(|typed| typed.0)), bounds);
        let actions = ActionsConfig {
            workers: whole("CURFEW_ACTIONS_WORKERS", self.actions_workers, 1..=512)?
                .map(|workers| usize::try_from(workers).unwrap_or(usize::MAX)),
            time: whole("CURFEW_ACTIONS_TIME_MS", self.actions_time_ms, 100..=60_000)?
                .map_or(Duration::from_secs(20), Duration::from_millis),
            cpu: whole("CURFEW_ACTIONS_CPU_MS", self.actions_cpu_ms, 50..=60_000)?
                .map_or(Duration::from_secs(5), Duration::from_millis),
            memory_bytes: whole("CURFEW_ACTIONS_MEMORY_MIB", self.actions_memory_mib, 16..=512)?
                .and_then(|mebibytes| usize::try_from(mebibytes << 20).ok())
                .unwrap_or(128 << 20),
            idle: whole("CURFEW_ACTIONS_IDLE_SECONDS", self.actions_idle_seconds, 1..=86_400)?
                .map_or(Duration::from_secs(60), Duration::from_secs),
            unconfined: match given(self.actions_unconfined).as_deref() {
                None | Some("run") => Unconfined::Run,
                Some("refuse") => Unconfined::Refuse,
                Some(other) => {
                    return Err(ConfigError::Value {
                        key: "CURFEW_ACTIONS_UNCONFINED",
                        problem: format!("{other} is neither run nor refuse"),
                    });
                }
            },
        };
        Ok(Config {
            listen,
            issuer: given(self.issuer).map(issuer).transpose()?,
            data_dir: self.data_dir.unwrap_or_else(|| PathBuf::from("curfew-data")),
            database_url: given(self.database_url).map(database_url).transpose()?,
            tls,
            trust_proxy: networks("CURFEW_TRUST_PROXY", self.trust_proxy.as_deref())?,
            egress_allow: networks("CURFEW_EGRESS_ALLOW", self.egress_allow.as_deref())?,
            egress_ca: self.egress_ca.filter(|path| !path.as_os_str().is_empty()),
            npmrc: self.npmrc.filter(|path| !path.as_os_str().is_empty()),
            packages_dir: self.packages_dir.filter(|path| !path.as_os_str().is_empty()),
            actions,
            geoip_database: self.geoip_database.filter(|path| !path.as_os_str().is_empty()),
            asn_database: self.asn_database.filter(|path| !path.as_os_str().is_empty()),
            bootstrap_client: client.map(|(id, secret)| (ClientId(id), Secret::new(secret))),
            bootstrap_admin: admin.map(|(email, password)| (email, Secret::new(password))),
        })
    }
}

fn pair<T>(
    one: Option<T>,
    other: Option<T>,
    keys: (&'static str, &'static str),
) -> Result<Option<(T, T)>, ConfigError> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(ConfigError::Value { key: keys.0, problem: format!("is set without {}", keys.1) })
        }
        (None, Some(_)) => {
            Err(ConfigError::Value { key: keys.1, problem: format!("is set without {}", keys.0) })
        }
    }
}

fn number(
    key: &'static str,
    text: Option<String>,
    bounds: RangeInclusive<u64>,
) -> Result<Option<u64>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    let problem = || format!("{text} is no whole number from {} to {}", bounds.start(), bounds.end());
    number.map(Some).ok_or_else(|| ConfigError::Value { key, problem: problem() })
}

fn issuer(text: String) -> Result<String, ConfigError> {
    let wrong = |problem: &str| ConfigError::Value { key: "CURFEW_ISSUER", problem: problem.to_owned() };
    let url = Url::parse(&text).map_err(|_| wrong("is no URL, for example https://login.example.com/"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is no http or https URL"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(wrong("must have no query, fragment or user"));
    }
    if url.path() != "/" || !text.ends_with('/') {
        return Err(wrong("must be a host with the final slash, for example https://login.example.com/"));
    }
    Ok(url.to_string())
}

fn database_url(text: String) -> Result<Secret<String>, ConfigError> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(Secret::new(text));
    }
    let problem = "must be postgres://user:password@host:port/database; leave it out for SQLite".to_owned();
    Err(ConfigError::Value { key: "CURFEW_DATABASE_URL", problem })
}

fn networks(key: &'static str, text: Option<&str>) -> Result<Vec<IpNet>, ConfigError> {
    let mut networks = Vec::new();
    for part in text.unwrap_or("").split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if part == "loopback" {
            networks.push(IpNet::from(std::net::IpAddr::from([127, 0, 0, 0])).supernet_of(8));
            networks.push(IpNet::from(std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST)));
            continue;
        }
        let network = part.parse::<IpNet>().or_else(|_| part.parse::<std::net::IpAddr>().map(IpNet::from));
        networks.push(network.map_err(|_| ConfigError::Value {
            key,
            problem: format!("{part} is no network, for example 10.0.0.0/8"),
        })?);
    }
    Ok(networks)
}

/// A network with a shorter prefix.
trait SupernetOf {
    fn supernet_of(self, prefix: u8) -> Self;
}

impl SupernetOf for IpNet {
    fn supernet_of(self, prefix: u8) -> Self {
        IpNet::new(self.addr(), prefix).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed() -> Typed {
        Typed::default()
    }

    #[test]
    fn nothing_typed_means_the_defaults() {
        let config = typed().resolve().unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert!(config.issuer.is_none() && config.database_url.is_none() && config.tls.is_none());
    }

    #[test]
    fn what_does_not_read_is_named() {
        let wrong = [
            (Typed { listen: Some("8080".into()), ..typed() }, "CURFEW_LISTEN"),
            (Typed { issuer: Some("https://a.example".into()), ..typed() }, "CURFEW_ISSUER"),
            (Typed { issuer: Some("https://a.example/x/".into()), ..typed() }, "CURFEW_ISSUER"),
            (Typed { database_url: Some("mysql://x".into()), ..typed() }, "CURFEW_DATABASE_URL"),
            (Typed { tls_cert: Some("x.pem".into()), ..typed() }, "CURFEW_TLS_CERT"),
            (Typed { trust_proxy: Some("10.0.0.0/99".into()), ..typed() }, "CURFEW_TRUST_PROXY"),
            (Typed { actions_workers: Some(0.into()), ..typed() }, "CURFEW_ACTIONS_WORKERS"),
            (Typed { actions_workers: Some(513.into()), ..typed() }, "CURFEW_ACTIONS_WORKERS"),
            (Typed { actions_time_ms: Some(60_001.into()), ..typed() }, "CURFEW_ACTIONS_TIME_MS"),
            (Typed { actions_time_ms: "20s".parse().ok(), ..typed() }, "CURFEW_ACTIONS_TIME_MS"),
            (Typed { actions_cpu_ms: Some(49.into()), ..typed() }, "CURFEW_ACTIONS_CPU_MS"),
            (Typed { actions_memory_mib: Some(15.into()), ..typed() }, "CURFEW_ACTIONS_MEMORY_MIB"),
            (Typed { actions_memory_mib: Some(u64::MAX.into()), ..typed() }, "CURFEW_ACTIONS_MEMORY_MIB"),
            (Typed { actions_idle_seconds: "-1".parse().ok(), ..typed() }, "CURFEW_ACTIONS_IDLE_SECONDS"),
            (Typed { actions_unconfined: Some("yes".into()), ..typed() }, "CURFEW_ACTIONS_UNCONFINED"),
            (
                Typed { bootstrap_client_secret: Some("x".into()), ..typed() },
                "CURFEW_BOOTSTRAP_CLIENT_SECRET",
            ),
        ];
        for (typed, key) in wrong {
            let error = typed.resolve().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }

    #[test]
    fn what_actions_may_use_is_typed_in_any_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("curfew.toml");
        std::fs::write(
            &file,
            "actions_workers = 3\nactions_time_ms = \"700\"\nactions_unconfined = \"refuse\"\n",
        )
        .unwrap();
        let flags = Typed {
            actions_time_ms: Some(900.into()),
            actions_cpu_ms: Some(50.into()),
            actions_memory_mib: Some(32.into()),
            actions_idle_seconds: "".parse().ok(),
            ..typed()
        };
        let actions = flags.with_file(&file).unwrap().resolve().unwrap().actions;
        let expected = ActionsConfig {
            workers: Some(3),
            time: Duration::from_millis(900),
            cpu: Duration::from_millis(50),
            memory_bytes: 32 << 20,
            idle: Duration::from_secs(60),
            unconfined: Unconfined::Refuse,
        };
        assert_eq!(actions, expected);
        std::fs::write(&file, "actions_workers = -1").unwrap();
        let error = typed().with_file(&file).unwrap().resolve().unwrap_err().to_string();
        assert_eq!(error, "CURFEW_ACTIONS_WORKERS: -1 is no whole number from 1 to 512");
    }

    #[test]
    fn unknown_variables_stop_the_start() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into_iter();
        assert!(check_environment(names(&["CURFEW_LISTEN", "CURFEW_TEST_POSTGRES_URL", "PATH"])).is_ok());
        assert!(check_environment(names(&[concat!("CURFEW_", "ISUER")])).is_err());
    }

    #[test]
    fn loopback_is_a_network_of_its_own() {
        let networks = networks("CURFEW_TRUST_PROXY", Some("loopback, 10.0.0.0/8")).unwrap();
        let inside =
            |text: &str| networks.iter().any(|net| net.contains(&text.parse::<std::net::IpAddr>().unwrap()));
        assert!(inside("127.0.0.1") && inside("127.9.9.9") && inside("::1") && inside("10.1.1.1"));
        assert!(!inside("192.168.0.1"));
    }
}
