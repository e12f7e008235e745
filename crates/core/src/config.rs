//! Parsed configuration, cached by version.
//!
//! A request that decides something reads the versions of its tenant and client first, in one primary-key statement on
//! the primary database; a difference reloads. What a concurrent change ends after that instant is issued with the
//! older counters, epochs and keys, and is therefore born dead.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use curfew_model::config::{Client, Connection, ResourceServer, TenantSettings};
use curfew_model::{ClientId, Failure, Secret, TenantId};
use curfew_store::config::{SigningKeyRow, TenantRows};
use curfew_tokens::{Jwk, Jwks, PublicKey, SealKind, SealingKey, SealingKeys, SigningAlg, SigningKey};

use crate::Core;
use crate::access_tokens::is_management;
use crate::actions::Bound;

/// How many clients are kept parsed. Beyond it the cache starts anew.
const CLIENTS_MAX: usize = 10_000;

/// A signing key ready for use.
#[derive(Debug)]
pub struct TenantKey {
    /// The key pair; `None` once revoked.
    pub key: Arc<SigningKey>,
    /// The row it was made from.
    pub row: SigningKeyRow,
}

/// A tenant's configuration at one version.
#[derive(Debug)]
pub struct TenantConfig {
    /// Which tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The version.
    pub version: i64,
    /// Its settings.
    pub settings: TenantSettings,
    /// Hosts and issuers.
    pub domains: Vec<(String, String)>,
    /// Keys that verify: next, current and previous ones, not the revoked.
    pub keys: Vec<TenantKey>,
    /// Sealing keys.
    pub sealing: SealingKeys,
    /// APIs by identifier.
    pub resource_servers: HashMap<String, ResourceServer>,
    /// Connections.
    pub connections: Vec<Connection>,
    /// What runs at each trigger.
    pub actions: Bound,
    /// Documents that are made of this configuration alone, as they are served.
    pub(crate) documents: Documents,
}

/// Documents by name and issuer. A new version of the configuration begins with none.
#[derive(Debug, Default)]
pub(crate) struct Documents(RwLock<HashMap<(&'static str, Arc<str>), Bytes>>);

impl TenantConfig {
    /// The key that signs with an algorithm now.
    pub fn signing_key(&self, alg: SigningAlg) -> Result<&Arc<SigningKey>, Failure> {
        self.keys
            .iter()
            .find(|key| key.row.state == "current" && key.key.alg() == alg)
            .map(|key| &key.key)
            .ok_or_else(|| Failure::Crypto(format!("no current {} signing key", alg.as_str()).into()))
    }

    /// The key that verifies a `kid`; revoked keys verify nothing.
    pub fn verifying_key(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.key.kid() == kid).map(|key| key.key.public())
    }

    /// A document that depends on this configuration and on one of the tenant's issuers, and on nothing else: it is
    /// made when it is first asked for.
    pub fn document(&self, name: &'static str, issuer: &Arc<str>, make: impl FnOnce() -> String) -> Bytes {
        let key = (name, Arc::clone(issuer));
        let documents = &self.documents.0;
        let kept = documents.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key).cloned();
        kept.unwrap_or_else(|| {
            let made = Bytes::from(make());
            let mut documents = documents.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            documents.entry(key).or_insert(made).clone()
        })
    }

    /// The JWKS (RFC 7517 §5), the current keys first.
    pub fn jwks(&self) -> Jwks {
        let mut keys: Vec<&TenantKey> = self.keys.iter().collect();
        keys.sort_by_key(|key| match key.row.state.as_str() {
            "current" => 0,
            "next" => 1,
            _ => 2,
        });
        let without_alg = self.settings.flags.remove_alg_from_jwks;
        Jwks { keys: keys.into_iter().map(|key| key.public_jwk(without_alg)).collect() }
    }

    /// An API by its identifier.
    pub fn resource_server(&self, audience: &str) -> Option<&ResourceServer> {
        self.resource_servers.get(audience)
    }

    /// The API that a request means by `audience`: the one of that identifier, or the Management API under any domain of
    /// the tenant. SDKs that know no more than a domain write `https://` before it, also where this server is reached by
    /// plain HTTP, so that it is understood here; no token has it.
    pub fn requested_api(&self, audience: &str) -> Option<&ResourceServer> {
        self.resource_server(audience).or_else(|| {
            let management = self.resource_servers.values().find(|server| server.doc.is_system)?;
            let names = |audience: &str| audience == management.identifier || is_management(audience, self);
            let plain = || audience.strip_prefix("https://").map(|rest| format!("http://{rest}"));
            (names(audience) || plain().is_some_and(|audience| names(&audience))).then_some(management)
        })
    }

    /// Every `/userinfo` audience under which tokens of this tenant are accepted.
    pub fn is_own_issuer(&self, issuer: &str) -> bool {
        self.domains.iter().any(|(_, own)| own == issuer)
    }

    /// A connection by id.
    pub fn connection(&self, id: &str) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id == id)
    }

    /// What a connection is called.
    pub fn connection_name(&self, id: &str) -> Option<String> {
        self.connection(id).map(|connection| connection.name.clone())
    }

    /// A connection by name or realm.
    pub fn connection_by_name(&self, name: &str) -> Option<&Connection> {
        self.connections
            .iter()
            .find(|connection| connection.name == name)
            .or_else(|| self.connections.iter().find(|c| c.doc.realms.iter().any(|realm| realm == name)))
    }

    /// Seals a value for this tenant under its current key.
    pub fn seal(&self, kind: SealKind, plaintext: &[u8], ctx: &curfew_model::Ctx) -> String {
        self.sealing.seal(kind, self.tenant, plaintext, &*ctx.entropy)
    }

    /// Whether rows sealed under this key id are still good.
    pub fn sealing_key_lives(&self, id: u32) -> bool {
        self.sealing.find(id).is_some()
    }
}

impl TenantKey {
    fn public_jwk(&self, without_alg: bool) -> Jwk {
        let mut jwk = match curfew_tokens::cert::Certificate::from_pem(&self.row.certificate) {
            Some(certificate) => self.key.public().jwk_with_certificate(&certificate),
            None => self.key.public().jwk(),
        };
        if without_alg {
            jwk.alg = None;
        }
        jwk
    }
}

/// The cache: tenants and clients by version, and hosts.
#[derive(Debug, Default)]
pub struct Cache {
    tenants: RwLock<HashMap<TenantId, Arc<TenantConfig>>>,
    clients: RwLock<HashMap<(TenantId, ClientId), Arc<Client>>>,
    hosts: RwLock<HashMap<String, (TenantId, Arc<str>)>>,
}

impl Core {
    /// The tenant and issuer of a host; `None` for a host nobody configured. The answer is kept for hosts that are
    /// known; removing a domain moves the tenant's version, which [`Core::tenant`] notices.
    pub async fn tenant_of_host(&self, host: &str) -> Result<Option<(TenantId, Arc<str>)>, Failure> {
        let cached =
            self.cache.hosts.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(host).cloned();
        if let Some((tenant, issuer)) = cached {
            return Ok(Some((tenant, issuer)));
        }
        let found = self
            .store
            .read(host.to_owned(), |tx, host| Box::pin(curfew_store::config::find_tenant_by_host(tx, host)))
            .await?;
        let Some((tenant, issuer)) = found else { return Ok(None) };
        let entry = (tenant, Arc::<str>::from(issuer));
        let mut hosts = self.cache.hosts.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        hosts.insert(host.to_owned(), entry.clone());
        Ok(Some(entry))
    }

    /// The tenant's configuration as it is now.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Arc<TenantConfig>, Failure> {
        self.configuration(tenant, &ClientId(String::new())).await.map(|(config, _)| config)
    }

    /// The tenant's configuration as it was when it was last read; for those who learn its version later and compare.
    pub(crate) fn cached_tenant(&self, tenant: TenantId) -> Option<Arc<TenantConfig>> {
        self.cache.tenants.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&tenant).cloned()
    }

    /// As [`Core::cached_tenant`], with a client.
    pub(crate) fn cached_configuration(
        &self,
        tenant: TenantId,
        client: ClientId,
    ) -> Option<(Arc<TenantConfig>, Arc<Client>)> {
        let clients = self.cache.clients.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let client = clients.get(&(tenant, client)).cloned()?;
        Some((self.cached_tenant(tenant)?, client))
    }

    /// The configurations of tenant and client as they are now; the client is `None` when there is none such.
    pub async fn configuration(
        &self,
        tenant: TenantId,
        client: &ClientId,
    ) -> Result<(Arc<TenantConfig>, Option<Arc<Client>>), Failure> {
        // PostgreSQL cannot compare text with a NUL in it, and no client has such an id.
        let unnamed = ClientId(String::new());
        let client = if client.0.contains('\0') { &unnamed } else { client };
        let (tenant_version, client_version) = self
            .store
            .read((tenant, client.clone()), |tx, (tenant, client)| {
                Box::pin(curfew_store::config::versions(tx, *tenant, client))
            })
            .await?;
        let config = self.tenant_at(tenant, tenant_version).await?;
        let client = match client_version {
            Some(version) => self.client_at(&config, client, version).await?,
            None => None,
        };
        Ok((config, client))
    }

    /// The tenant's configuration at a version that was just read, or at a later one.
    pub(crate) async fn tenant_at(
        &self,
        tenant: TenantId,
        version: i64,
    ) -> Result<Arc<TenantConfig>, Failure> {
        let before = self.cached_tenant(tenant);
        // A cached version above the one just read was loaded by a request that began later: it is newer, and as good.
        if let Some(config) = before.as_ref().filter(|config| config.version >= version) {
            return Ok(Arc::clone(config));
        }
        let known = before.as_ref().map(|before| before.actions.known()).unwrap_or_default();
        let rows = self
            .store
            .read((tenant, known), |tx, (tenant, known)| {
                Box::pin(curfew_store::config::get_tenant(tx, *tenant, known))
            })
            .await?;
        let config = Arc::new(self.parse_tenant(rows, before.as_deref())?);
        self.cache
            .hosts
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .retain(|_, (t, _)| *t != tenant);
        let mut tenants = self.cache.tenants.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let newest = tenants.entry(tenant).or_insert_with(|| Arc::clone(&config));
        if newest.version < config.version {
            *newest = Arc::clone(&config);
        }
        Ok(config)
    }

    /// A client at a version that was just read, or at a later one; `None` when it is gone meanwhile.
    pub(crate) async fn client_at(
        &self,
        config: &TenantConfig,
        id: &ClientId,
        version: i64,
    ) -> Result<Option<Arc<Client>>, Failure> {
        let key = (config.tenant, id.clone());
        let cached =
            self.cache.clients.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key).cloned();
        if let Some(client) = cached.filter(|client| client.version >= version) {
            return Ok(Some(client));
        }
        let found = self
            .store
            .read(key.clone(), |tx, (tenant, id)| {
                Box::pin(curfew_store::config::find_client(tx, *tenant, id))
            })
            .await?;
        let Some(mut client) = found else { return Ok(None) };
        client.secret =
            unseal_text(config, SealKind::ClientSecret, client.secret.expose(), "clients", id.as_str())?;
        let client = Arc::new(client);
        let mut clients = self.cache.clients.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(key, Arc::clone(&client));
        Ok(Some(client))
    }

    fn parse_tenant(&self, rows: TenantRows, before: Option<&TenantConfig>) -> Result<TenantConfig, Failure> {
        let mut current = None;
        let mut others = Vec::new();
        for row in rows.sealing_keys.iter().filter(|row| row.state != "revoked") {
            let bytes = self
                .kek
                .unwrap(&sealing_label(rows.tenant, row.id), &row.wrapped)
                .map_err(|error| wrong_kek("sealing_keys", row.id, &error))?;
            let bytes: &[u8; 32] = bytes.expose().as_slice().try_into().map_err(|_| {
                Failure::Inconsistent { table: "sealing_keys", column: "wrapped", id: row.id.to_string() }
            })?;
            let key = Arc::new(SealingKey::new(row.id, bytes));
            if row.state == "current" { current = Some(key) } else { others.push(key) }
        }
        let current = current.ok_or(Failure::Inconsistent {
            table: "sealing_keys",
            column: "state",
            id: "no current key".to_owned(),
        })?;
        let sealing = SealingKeys::new(current, others);
        let mut keys = Vec::new();
        for row in rows.signing_keys.into_iter().filter(|row| row.state != "revoked") {
            let alg = SigningAlg::parse(&row.alg).ok_or_else(|| Failure::Inconsistent {
                table: "signing_keys",
                column: "alg",
                id: row.kid.clone(),
            })?;
            let pkcs8 = self
                .kek
                .unwrap(&signing_label(rows.tenant, &row.kid), &row.wrapped)
                .map_err(|error| wrong_kek("signing_keys", &row.kid, &error))?;
            keys.push(TenantKey {
                key: Arc::new(SigningKey::from_pkcs8(&row.kid, alg, pkcs8.expose())?),
                row,
            });
        }
        let mut config = TenantConfig {
            tenant: rows.tenant,
            name: rows.name,
            version: rows.version,
            settings: rows.settings,
            domains: rows.domains,
            keys,
            sealing,
            resource_servers: HashMap::new(),
            connections: rows.connections,
            actions: Bound::new(&rows.actions, before.map(|before| &before.actions))?,
            documents: Documents::default(),
        };
        for mut server in rows.resource_servers {
            if let Some(sealed) = &server.signing_secret {
                let kind = SealKind::SigningSecret;
                server.signing_secret =
                    Some(unseal_text(&config, kind, sealed.expose(), "resource_servers", &server.id)?);
            }
            config.resource_servers.insert(server.identifier.clone(), server);
        }
        Ok(config)
    }
}

/// Under which label a sealing key is wrapped.
pub fn sealing_label(tenant: TenantId, id: u32) -> String {
    format!("sealing:{}:{id}", tenant.0)
}

/// Under which label a signing key is wrapped.
pub fn signing_label(tenant: TenantId, kid: &str) -> String {
    format!("signing:{}:{kid}", tenant.0)
}

fn wrong_kek(table: &'static str, id: impl ToString, error: &curfew_tokens::UnsealError) -> Failure {
    Failure::Crypto(
        format!(
            "{table} {} is not opened by the key-encryption key ({error}): start with the key this data was made under",
            id.to_string()
        )
        .into(),
    )
}

fn unseal_text(
    config: &TenantConfig,
    kind: SealKind,
    sealed: &str,
    table: &'static str,
    id: &str,
) -> Result<Secret<String>, Failure> {
    let broken = || Failure::Inconsistent { table, column: "secret", id: id.to_owned() };
    let unsealed = config.sealing.unseal(kind, config.tenant, sealed).map_err(|_| broken())?;
    String::from_utf8(unsealed.plaintext).map(Secret::new).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> TenantConfig {
        let api = |identifier: &str, is_system: bool| {
            let doc = serde_json::from_value(serde_json::json!({ "is_system": is_system })).unwrap();
            let floor = curfew_model::Timestamp::from_micros(0);
            let id = identifier.to_owned();
            (id.clone(), ResourceServer { id: id.clone(), identifier: id, doc, signing_secret: None, floor })
        };
        let domain = |host: &str, issuer: &str| (host.to_owned(), issuer.to_owned());
        TenantConfig {
            tenant: TenantId(1),
            name: "tests".to_owned(),
            version: 1,
            settings: serde_json::from_str("{}").unwrap(),
            domains: vec![
                domain("localhost:8080", "http://localhost:8080/"),
                domain("id.example", "https://id.example/"),
            ],
            keys: Vec::new(),
            sealing: SealingKeys::new(Arc::new(SealingKey::new(1, &[1; 32])), Vec::new()),
            resource_servers: HashMap::from([
                api("http://localhost:8080/api/v2/", true),
                api("http://api.example/", false),
            ]),
            connections: Vec::new(),
            actions: Bound::default(),
            documents: Documents::default(),
        }
    }

    #[test]
    fn the_management_api_is_meant_by_every_domain_and_over_plain_http_also_by_https() {
        let config = config();
        let meant = |audience: &str| config.requested_api(audience).map(|api| api.identifier.as_str());
        let management = Some("http://localhost:8080/api/v2/");
        for host in ["http://localhost:8080", "https://localhost:8080", "https://id.example"] {
            assert_eq!(meant(&format!("{host}/api/v2/")), management, "{host}");
        }
        assert_eq!(meant("http://api.example/"), Some("http://api.example/"));
        // Not what it looks like: plain HTTP where there is TLS, another port, another path, another API by https.
        for other in [
            "http://id.example/api/v2/",
            "https://localhost/api/v2/",
            "https://localhost:8080/api/v2",
            "https://localhost:8080/api/v2/users",
            "https://api.example/",
        ] {
            assert_eq!(meant(other), None, "{other}");
        }
    }
}
