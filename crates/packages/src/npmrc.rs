//! The operator's npm configuration: which registries there are, and what to say to them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use curfew_model::Secret;
use url::{Origin, Url};

/// Why a configuration is not one. It never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NpmrcError {
    /// A registry is no address.
    #[error("{0} is not an http or https address")]
    Address(String),
}

/// Where packages are asked for. Curfew names no registry; without one in the configuration there is none.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    default: Option<Url>,
    /// By scope, with its `@`.
    scopes: BTreeMap<String, Url>,
    credentials: Vec<Credential>,
}

/// What is said to one part of one host.
#[derive(Debug, Clone)]
struct Credential {
    /// `//host:port/path/`
    place: String,
    authorization: Secret<String>,
}

impl Registries {
    /// Reads the text of a `.npmrc` (empty if there is none). `variable` answers for the environment: `NPM_CONFIG_REGISTRY` comes before the
    /// file, and `${NAME}` in the file means a variable.
    pub fn parse(npmrc: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, NpmrcError> {
        let mut found = Self::default();
        let mut passwords: BTreeMap<String, (Option<String>, Option<Secret<String>>)> = BTreeMap::new();
        for line in npmrc.lines() {
            let line = line.trim();
            if line.starts_with(['#', ';', '[']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let (key, value) = (key.trim(), expand(unquote(value.trim()), &variable));
            if key == "registry" {
                found.default = Some(address(key, &value)?);
            } else if let Some(scope) = key.strip_suffix(":registry").filter(|scope| scope.starts_with('@')) {
                found.scopes.insert(scope.to_owned(), address(key, &value)?);
            } else if let Some((place, key)) =
                key.rsplit_once(':').filter(|(place, _)| place.starts_with("//"))
            {
                let place = if place.ends_with('/') { place.to_owned() } else { format!("{place}/") };
                let mut add = |authorization| {
                    found
                        .credentials
                        .push(Credential { place: place.clone(), authorization: Secret::new(authorization) });
                };
                match key {
                    "_authToken" if !value.is_empty() => add(format!("Bearer {value}")),
                    "_auth" if !value.is_empty() => add(format!("Basic {value}")),
                    "username" => passwords.entry(place).or_default().0 = Some(value),
                    "_password" => passwords.entry(place).or_default().1 = Some(Secret::new(value)),
                    _ => {}
                }
            }
        }
        for (place, parts) in passwords {
            // npm keeps the password in base64.
            if let (Some(name), Some(password)) = parts
                && let Ok(password) = BASE64_STANDARD.decode(password.expose())
            {
                let pair = [name.as_bytes(), b":", &password].concat();
                let authorization = Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair)));
                found.credentials.push(Credential { place, authorization });
            }
        }
        for name in ["NPM_CONFIG_REGISTRY", "npm_config_registry"] {
            if let Some(value) = variable(name).filter(|value| !value.trim().is_empty()) {
                found.default = Some(address(name, value.trim())?);
                break;
            }
        }
        Ok(found)
    }

    /// Whether there is any registry.
    pub fn is_empty(&self) -> bool {
        self.default.is_none() && self.scopes.is_empty()
    }

    /// The registry for a package: that of its scope, else the one for all.
    pub(crate) fn of(&self, name: &str) -> Option<&Url> {
        let scope = name.split_once('/').map(|(scope, _)| scope);
        scope.and_then(|scope| self.scopes.get(scope)).or(self.default.as_ref())
    }

    /// What to say in a request to `url`: only where it goes to the origin of a registry of the configuration, and below the place that the
    /// credential is for.
    pub(crate) fn authorization(&self, url: &Url) -> Option<Secret<String>> {
        let origin = url.origin();
        let is_of = |registry: &Url| matches!(origin, Origin::Tuple(..)) && registry.origin() == origin;
        if !self.default.iter().chain(self.scopes.values()).any(is_of) {
            return None;
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let here = format!("//{}{port}{}", url.host_str()?, url.path());
        let covering = self.credentials.iter().filter(|credential| here.starts_with(&credential.place));
        covering
            .max_by_key(|credential| credential.place.len())
            .map(|credential| credential.authorization.clone())
    }
}

fn address(key: &str, value: &str) -> Result<Url, NpmrcError> {
    let refused = || NpmrcError::Address(key.to_owned());
    let value = if value.ends_with('/') { value.to_owned() } else { format!("{value}/") };
    let url = Url::parse(&value).map_err(|_| refused())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(refused()) }
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// Puts variables in the place of `${NAME}`; one that is not set stays as it is written, as in npm.
fn expand(value: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}') else { break };
        let name = &rest[start + 2..start + end];
        expanded.push_str(&rest[..start]);
        match variable(name) {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(&rest[start..=start + end]),
        }
        rest = &rest[start + end + 1..];
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(npmrc: &str, variables: &[(&str, &str)]) -> Registries {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Registries::parse(npmrc, variable).unwrap()
    }

    fn said(registries: &Registries, url: &str) -> Option<String> {
        registries.authorization(&Url::parse(url).unwrap()).map(Secret::into_inner)
    }

    #[test]
    fn without_a_configuration_there_is_no_registry() {
        let registries = read("# registry=https://npm.example/\nfund=false\n", &[]);
        assert!(registries.is_empty());
        assert_eq!(registries.of("auth0"), None);
    }

    #[test]
    fn scopes_have_registries_of_their_own() {
        let registries = read(
            "registry = \"https://npm.example\"\n@s:registry=https://packages.example/npm/\n; x\n[section]\n",
            &[],
        );
        assert_eq!(registries.of("auth0").unwrap().as_str(), "https://npm.example/");
        assert_eq!(registries.of("@s/a").unwrap().as_str(), "https://packages.example/npm/");
        assert_eq!(registries.of("@t/a").unwrap().as_str(), "https://npm.example/");
        let registries =
            read("registry=https://npm.example/", &[("NPM_CONFIG_REGISTRY", "http://other.example:81")]);
        assert_eq!(
            registries.of("auth0").unwrap().as_str(),
            "http://other.example:81/",
            "the environment comes first"
        );
    }

    #[test]
    fn credentials_go_where_they_belong() {
        let registries = read(
            "registry=https://npm.example/\n\
             @s:registry=http://packages.example:81/npm/\n\
             //npm.example/:_authToken=${TOKEN}\n\
             //npm.example/private/:_auth=YTpi\n\
             //packages.example:81/npm:username=me\n\
             //packages.example:81/npm:_password=c2VjcmV0\n\
             //cdn.example/:_authToken=cdn\n",
            &[("TOKEN", "t")],
        );
        assert_eq!(said(&registries, "https://npm.example/auth0").unwrap(), "Bearer t");
        assert_eq!(said(&registries, "https://npm.example/private/auth0").unwrap(), "Basic YTpi");
        assert_eq!(said(&registries, "http://packages.example:81/npm/@s%2fa").unwrap(), "Basic bWU6c2VjcmV0");
        for other in [
            "http://npm.example/auth0",
            "https://npm.example:444/auth0",
            "https://npm.example.evil.example/",
            "https://evil.example/npm.example/",
            "http://packages.example:81/other",
            "http://packages.example:81/npm-other/a",
            "http://packages.example/npm/a",
            // It has a credential, but is no registry of the configuration.
            "https://cdn.example/a.tgz",
        ] {
            assert_eq!(said(&registries, other), None, "{other}");
        }
        assert!(!format!("{registries:?}").contains("Bearer"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for value in [
            "npm.example",
            "ftp://npm.example/",
            "https://me:secret@npm.example/",
            "https://me@npm.example/",
            "https://:secret@npm.example/",
            "https://npm.example/#secret",
            "https:///",
            "https://npm.example/?secret",
            "",
        ] {
            let error = Registries::parse(&format!("registry={value}"), |_| None).unwrap_err();
            assert_eq!(error.to_string(), "registry is not an http or https address");
        }
        let missing = Registries::parse("registry=${REGISTRY}", |_| None);
        assert!(missing.is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "([@/:a-z=${}\"'_ ]{0,20}\n?){0,4}") {
            let _ = Registries::parse(&text, |_| Some("$${".to_owned()));
        }
    }
}
