//! What registries are asked, and what they answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use curfew_model::Secret;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::limits::{PACKUMENT_BYTES_MAX, REDIRECTS_MAX, TARBALL_BYTES_MAX};
use crate::npmrc::Registries;
use crate::spec::{Spec, Wanted};
use crate::version::Version;

/// A request of this crate's, of which whoever sends it decides whether it may be sent.
#[derive(Debug, Clone)]
pub struct Get {
    /// Where to.
    pub url: Url,
    /// The `Accept` header.
    pub accept: &'static str,
    /// The `Authorization` header. It is for this address alone: redirects are not to be followed.
    pub authorization: Option<Secret<String>>,
    /// Most bytes of the answer's body.
    pub bytes_max: usize,
}

/// Its answer.
#[derive(Debug, Clone)]
pub struct Got {
    /// The status, also that of a redirect.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// The way out to registries.
pub trait Fetch: Send + Sync {
    /// Sends a request, once, and waits for the whole answer.
    fn get(&self, get: Get) -> BoxFuture<'_, Result<Got, FetchError>>;
}

/// Why a registry gives no answer that could be used. Its text names packages, and no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// No registry is configured.
    #[error(
        "no registry is configured for '{0}': set `registry` in the server's .npmrc, or the environment variable NPM_CONFIG_REGISTRY"
    )]
    NotConfigured(String),
    /// The registry does not know the package, or does not show it.
    #[error("the registry has no package '{0}'")]
    NoPackage(String),
    /// The registry wants other credentials.
    #[error("the registry refuses to show '{0}': see the credentials in the server's .npmrc")]
    Denied(String),
    /// The package has no such version.
    #[error("'{name}' has no version that is '{wanted}'")]
    NoVersion {
        /// The package.
        name: String,
        /// What was asked for.
        wanted: String,
    },
    /// The registry cannot be reached, or answers with an error.
    #[error("the registry gives no answer about '{name}'")]
    Unreachable {
        /// The package.
        name: String,
        /// Why, for the operator.
        detail: String,
    },
    /// All that it says about the packages that are needed is more than is kept.
    #[error("what the registry says about all the packages together is too much")]
    TooMuch,
    /// What it answers is not what a registry answers.
    #[error("the registry's answer about '{name}' is not that of an npm registry")]
    Malformed {
        /// The package.
        name: String,
        /// Why, for the operator.
        detail: String,
    },
}

impl RegistryError {
    /// What the text leaves out, for the operator.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Unreachable { detail, .. } | Self::Malformed { detail, .. } => Some(detail),
            _ => None,
        }
    }
}

/// What a version of a package needs, and what its tarball is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Release {
    pub(crate) dependencies: BTreeMap<String, String>,
    pub(crate) optional: BTreeMap<String, String>,
    /// With whether each may be absent.
    pub(crate) peers: BTreeMap<String, (String, bool)>,
    /// It is for some systems only, or is built when it is installed.
    pub(crate) is_native: bool,
    pub(crate) is_deprecated: bool,
    pub(crate) tarball: Option<String>,
    pub(crate) integrity: Option<String>,
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
}

fn is_given(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Array(values)) => !values.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        _ => false,
    }
}

impl Release {
    /// Reads what a registry or a lock file says of a version.
    pub(crate) fn read(value: &Value) -> Self {
        let optional = texts(value.get("optionalDependencies"));
        let mut dependencies = texts(value.get("dependencies"));
        // Registries repeat there what is optional.
        dependencies.retain(|name, _| !optional.contains_key(name));
        let may_be_absent = |name: &str| {
            let meta = value.get("peerDependenciesMeta").and_then(|meta| meta.get(name));
            meta.and_then(|meta| meta.get("optional")).and_then(Value::as_bool).unwrap_or(false)
        };
        let peers = texts(value.get("peerDependencies"));
        let peers = peers.into_iter().map(|(name, range)| {
            let absent = may_be_absent(&name);
            (name, (range, absent))
        });
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let dist = value.get("dist");
        Self {
            peers: peers.collect(),
            dependencies,
            optional,
            is_native: ["os", "cpu", "libc"].iter().any(|name| is_given(value.get(name)))
                || value.get("hasInstallScript").and_then(Value::as_bool).unwrap_or(false),
            is_deprecated: match value.get("deprecated") {
                Some(Value::String(text)) => !text.is_empty(),
                Some(Value::Bool(deprecated)) => *deprecated,
                _ => false,
            },
            tarball: text(dist.and_then(|dist| dist.get("tarball"))),
            integrity: text(dist.and_then(|dist| dist.get("integrity"))),
        }
    }
}

/// All versions of a package.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packument {
    pub(crate) tags: BTreeMap<String, Version>,
    pub(crate) releases: BTreeMap<Version, Arc<Release>>,
}

impl Packument {
    /// Reads a registry's answer. A version that makes no sense is none.
    fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(default, rename = "dist-tags")]
            tags: BTreeMap<String, Value>,
            #[serde(borrow)]
            versions: BTreeMap<String, &'a RawValue>,
        }
        let answer: Answer<'_> = serde_json::from_slice(body)?;
        let releases = answer.versions.iter().filter_map(|(version, raw)| {
            let value: Value = serde_json::from_str(raw.get()).ok()?;
            Some((Version::parse(version)?, Arc::new(Release::read(&value))))
        });
        let tags = answer
            .tags
            .iter()
            .filter_map(|(tag, version)| Some((tag.clone(), Version::parse(version.as_str()?)?)));
        Ok(Self { tags: tags.collect(), releases: releases.collect() })
    }

    /// The version that npm would take: the tagged one; for a range the one that is `latest` if it is in it, else the highest in it,
    /// one that is not deprecated before one that is.
    pub(crate) fn pick(&self, wanted: &Wanted) -> Option<(&Version, &Arc<Release>)> {
        let range = match wanted {
            Wanted::Tag(tag) => {
                return self.tags.get(tag).and_then(|version| self.releases.get_key_value(version));
            }
            Wanted::Range(range) => range,
        };
        if let Some(latest) = self.tags.get("latest")
            && (range.is_any() || range.admits(latest))
            && let Some(release) = self.releases.get_key_value(latest)
            && !release.1.is_deprecated
        {
            return Some(release);
        }
        let within = self.releases.iter().filter(|(version, _)| range.admits(version));
        within.max_by_key(|(version, release)| (!release.is_deprecated, *version))
    }
}

/// The short form of what a registry says of a package, or the long one where it knows no other.
const PACKUMENT: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8";
const TARBALL: &str = "application/octet-stream, */*; q=0.1";

/// The configured registries, by way of who sends requests.
#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) registries: Arc<Registries>,
}

impl Registry {
    /// What it says of a package, and how many bytes that was.
    pub(crate) async fn packument(&self, name: &str) -> Result<(Packument, usize), RegistryError> {
        let registry = self.of(name)?;
        // The slash of a scope is no slash of the path.
        let url = registry.join(&name.replace('/', "%2f")).map_err(|error| malformed(name, &error))?;
        let body = self.get(name, url, PACKUMENT, PACKUMENT_BYTES_MAX).await?;
        let owned = name.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let packument = Packument::parse(&body).map_err(|error| malformed(&owned, &error))?;
            Ok((packument, body.len()))
        });
        read.await.map_err(|error| malformed(name, &error))?
    }

    /// Gets a tarball from the registry that has the package, whatever host the registry says it is at: there the configuration and its
    /// credentials are meant for. Its checksum says whether it is the right one.
    pub(crate) async fn tarball(&self, name: &str, tarball: &str) -> Result<Bytes, RegistryError> {
        let registry = self.of(name)?;
        let stated = registry.join(tarball).map_err(|error| malformed(name, &error))?;
        let url = if stated.origin() == registry.origin() {
            stated
        } else {
            let path = stated.path().trim_start_matches('/');
            registry.join(&format!("./{path}")).map_err(|error| malformed(name, &error))?
        };
        self.get(name, url, TARBALL, TARBALL_BYTES_MAX).await
    }

    fn of(&self, name: &str) -> Result<&Url, RegistryError> {
        self.registries.of(name).ok_or_else(|| RegistryError::NotConfigured(name.to_owned()))
    }

    /// Follows redirects; what is said to one place is said to no other.
    async fn get(
        &self,
        name: &str,
        mut url: Url,
        accept: &'static str,
        bytes_max: usize,
    ) -> Result<Bytes, RegistryError> {
        let unreachable = |detail: String| RegistryError::Unreachable { name: name.to_owned(), detail };
        for _ in 0..=REDIRECTS_MAX {
            let authorization = self.registries.authorization(&url);
            let get = Get { url: url.clone(), accept, authorization, bytes_max };
            let got = self.fetch.get(get).await.map_err(|error| unreachable(error.0))?;
            match got.status {
                200 if got.body.len() <= bytes_max => return Ok(got.body),
                200 => return Err(unreachable("the answer is too large".to_owned())),
                301 | 302 | 303 | 307 | 308 => {
                    let location =
                        got.location.ok_or_else(|| unreachable("a redirect to nowhere".to_owned()))?;
                    url = url.join(&location).map_err(|error| malformed(name, &error))?;
                }
                401 | 403 => return Err(RegistryError::Denied(name.to_owned())),
                404 => return Err(RegistryError::NoPackage(name.to_owned())),
                status => return Err(unreachable(format!("status {status}"))),
            }
        }
        Err(unreachable("too many redirects".to_owned()))
    }
}

fn malformed(name: &str, error: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Malformed { name: name.to_owned(), detail: error.to_string() }
}

/// What was asked for and is not there.
pub(crate) fn no_version(spec: &Spec, wanted: &str) -> RegistryError {
    RegistryError::NoVersion { name: spec.name.clone(), wanted: wanted.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packument(json: &str) -> Packument {
        Packument::parse(json.as_bytes()).unwrap()
    }

    fn picked(packument: &Packument, wanted: &str) -> Option<String> {
        let spec = Spec::new("a", wanted).unwrap();
        packument.pick(&spec.wanted).map(|(version, _)| version.to_string())
    }

    #[test]
    fn a_version_is_picked_as_npm_picks_it() {
        let read = packument(
            r#"{"dist-tags":{"latest":"1.5.0","next":"2.0.0-rc.1","gone":"9.9.9","odd":1},"versions":{
                "1.0.0":{},"1.4.0":{},"1.5.0":{},"1.6.0":{},"1.7.0":{"deprecated":"no"},"2.0.0-rc.1":{},"0.1.0":{"deprecated":true},
                "nonsense":{},"3.0.0":7
            }}"#,
        );
        for (wanted, version) in [
            ("latest", Some("1.5.0")),
            ("", Some("1.5.0")),
            ("*", Some("1.5.0")),
            ("^1", Some("1.5.0")),
            ("^1.5.1", Some("1.6.0")),
            (">1.6.0 <2", Some("1.7.0")),
            ("1.4.x", Some("1.4.0")),
            ("0.1.0", Some("0.1.0")),
            ("next", Some("2.0.0-rc.1")),
            ("^2.0.0-rc.0", Some("2.0.0-rc.1")),
            ("^2", None),
            ("gone", None),
            ("odd", None),
            ("missing", None),
        ] {
            assert_eq!(picked(&read, wanted).as_deref(), version, "{wanted}");
        }
    }

    #[test]
    fn what_is_tagged_is_not_always_picked() {
        let read = packument(
            r#"{"dist-tags":{"latest":"2.0.0-rc.1"},"versions":{"1.0.0":{},"1.1.0":{},"2.0.0-rc.1":{}}}"#,
        );
        for (wanted, version) in [("*", "2.0.0-rc.1"), ("", "2.0.0-rc.1"), (">=1", "1.1.0"), ("1", "1.1.0")] {
            assert_eq!(picked(&read, wanted).as_deref(), Some(version), "{wanted}");
        }
        let read = packument(
            r#"{"dist-tags":{"latest":"1.5.0"},"versions":{"1.4.0":{},"1.5.0":{"deprecated":"no"},"2.0.0":{}}}"#,
        );
        for (wanted, version) in [("^1", "1.4.0"), ("*", "2.0.0"), ("latest", "1.5.0"), ("~1.5", "1.5.0")] {
            assert_eq!(picked(&read, wanted).as_deref(), Some(version), "{wanted}");
        }
    }

    #[test]
    fn a_release_says_what_it_needs() {
        let value = serde_json::json!({
            "dependencies": {"a": "1", "o": "1", "bad": 1},
            "optionalDependencies": {"o": "1"},
            "peerDependencies": {"p": "1", "q": "2"},
            "peerDependenciesMeta": {"q": {"optional": true}},
            "os": [], "hasInstallScript": true,
            "dist": {"tarball": "x", "integrity": "y"},
        });
        let text = |name: &str| (name.to_owned(), "1".to_owned());
        let expected = Release {
            dependencies: BTreeMap::from([text("a")]),
            optional: BTreeMap::from([text("o")]),
            peers: BTreeMap::from([("p".into(), ("1".into(), false)), ("q".into(), ("2".into(), true))]),
            is_native: true,
            is_deprecated: false,
            tarball: Some("x".into()),
            integrity: Some("y".into()),
        };
        assert_eq!(Release::read(&value), expected);
        for system in ["cpu", "os", "libc"] {
            assert!(Release::read(&serde_json::json!({system: ["x"]})).is_native, "{system}");
        }
        assert!(!Release::read(&serde_json::json!({"os": []})).is_native);
        assert_eq!(Release::read(&Value::Null), Release::default());
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
            let _ = Packument::parse(&bytes);
            let _ = Packument::parse(format!(r#"{{"dist-tags":{{"latest":{text:?}}},"versions":{{{text:?}:{{"dependencies":[]}}}}}}"#).as_bytes());
        }
    }
}
