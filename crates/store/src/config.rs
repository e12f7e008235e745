//! Reading the configuration: a tenant's, and a client's, each whole and at one version.

use std::collections::HashSet;

use curfew_model::config::{
    Client, ClientGrant, Connection, ConnectionClient, Credential, ResourceServer, TenantSettings, read_doc,
};
use curfew_model::{ClientId, Failure, Secret, TenantId, Timestamp};

use crate::actions::BoundRow;
use crate::{Tx, params, statements};

statements! {
    /// The tenant a host belongs to, with the issuer under which it is served.
    pub TENANT_BY_HOST = "select tenant, issuer from tenant_domains where host = $1";
    /// Every host of a tenant.
    pub TENANT_DOMAINS = "select host, issuer from tenant_domains where tenant = $1 order by created_at, host";
    /// A tenant's name, settings and version.
    pub TENANT = "select name, settings, version from tenants where tenant = $1";
    /// The versions a decision rests on.
    pub VERSIONS = "select t.version, c.version from tenants t \
        left join clients c on c.tenant = t.tenant and c.client_id = $2 where t.tenant = $1";
    /// A tenant's signing keys, wrapped.
    pub SIGNING_KEYS = "select kid, alg, state, wrapped, certificate, created_at, current_since, current_until, \
        revoked_at from signing_keys where tenant = $1 order by created_at, kid";
    /// A tenant's sealing keys, wrapped.
    pub SEALING_KEYS = "select id, state, wrapped from sealing_keys where tenant = $1 order by id";
    /// A tenant's APIs.
    pub RESOURCE_SERVERS = "select id, identifier, doc, signing_secret, floor from resource_servers where tenant = $1";
    /// A tenant's connections.
    pub CONNECTIONS = "select id, name, strategy, doc from connections where tenant = $1 order by created_at, id";
    /// Which clients those are enabled for.
    pub CONNECTION_CLIENTS = "select connection_id, client_id, enabled, epoch from connection_clients where tenant = $1";
    /// A client.
    pub CLIENT = "select doc, secret, counter, floor, token_floor, version from clients \
        where tenant = $1 and client_id = $2";
    /// A client's public keys.
    pub CLIENT_CREDENTIALS = "select id, doc from client_credentials where tenant = $1 and client_id = $2";
    /// A client's grants.
    pub CLIENT_GRANTS = "select id, audience, grant_key, doc from client_grants \
        where tenant = $1 and client_id = $2";
}

/// A signing key as it rests.
#[derive(Debug, Clone)]
pub struct SigningKeyRow {
    /// Key id on the wire.
    pub kid: String,
    /// JWS algorithm.
    pub alg: String,
    /// `next`, `current`, `previous` or `revoked`.
    pub state: String,
    /// PKCS#8 under the key-encryption key.
    pub wrapped: Vec<u8>,
    /// X.509 PEM.
    pub certificate: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs.
    pub current_since: Option<Timestamp>,
    /// Until when it signed.
    pub current_until: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A sealing key as it rests.
#[derive(Debug, Clone)]
pub struct SealingKeyRow {
    /// Key id inside sealed values.
    pub id: u32,
    /// `current`, `previous` or `revoked`.
    pub state: String,
    /// 32 bytes under the key-encryption key.
    pub wrapped: Vec<u8>,
}

/// A tenant's configuration at one version.
#[derive(Debug, Clone)]
pub struct TenantRows {
    /// Which tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The version all of this was read at.
    pub version: i64,
    /// Its settings.
    pub settings: TenantSettings,
    /// Its hosts and their issuers, the canonical one first.
    pub domains: Vec<(String, String)>,
    /// Its signing keys, oldest first.
    pub signing_keys: Vec<SigningKeyRow>,
    /// Its sealing keys.
    pub sealing_keys: Vec<SealingKeyRow>,
    /// Its APIs.
    pub resource_servers: Vec<ResourceServer>,
    /// Its connections.
    pub connections: Vec<Connection>,
    /// What runs at each trigger, in order.
    pub actions: Vec<BoundRow>,
}

/// The tenant and issuer of a host.
pub async fn find_tenant_by_host(tx: &mut Tx, host: &str) -> Result<Option<(TenantId, String)>, Failure> {
    match tx.maybe(&TENANT_BY_HOST, params![host]).await? {
        Some(row) => Ok(Some((row.get(0)?, row.get(1)?))),
        None => Ok(None),
    }
}

/// The versions of tenant and client now; the client's is `None` when there is no such client.
pub async fn versions(
    tx: &mut Tx,
    tenant: TenantId,
    client: &ClientId,
) -> Result<(i64, Option<i64>), Failure> {
    let row = tx.one(&VERSIONS, params![tenant, client]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

/// Reads a tenant whole, but for what versions of Actions are made of that are `known`. The version is read first and last;
/// while it moves, the reading starts again.
pub async fn get_tenant(
    tx: &mut Tx,
    tenant: TenantId,
    known: &HashSet<String>,
) -> Result<TenantRows, Failure> {
    for _ in 0..8 {
        let head = tx.one(&TENANT, params![tenant]).await?;
        let version: i64 = head.get(2)?;
        let settings: String = head.get(1)?;
        let rows = TenantRows {
            tenant,
            name: head.get(0)?,
            version,
            settings: read_doc("tenants", "settings", &settings)?,
            domains: domains(tx, tenant).await?,
            signing_keys: signing_keys(tx, tenant).await?,
            sealing_keys: sealing_keys(tx, tenant).await?,
            resource_servers: resource_servers(tx, tenant).await?,
            connections: connections(tx, tenant).await?,
            actions: crate::actions::bound(tx, tenant, known).await?,
        };
        if tx.one(&TENANT, params![tenant]).await?.get::<i64>(2)? == version {
            return Ok(rows);
        }
    }
    Err(Failure::Contention)
}

async fn domains(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(String, String)>, Failure> {
    let rows = tx.all(&TENANT_DOMAINS, params![tenant]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// A tenant's signing keys, oldest first.
pub async fn signing_keys(tx: &mut Tx, tenant: TenantId) -> Result<Vec<SigningKeyRow>, Failure> {
    let rows = tx.all(&SIGNING_KEYS, params![tenant]).await?;
    rows.iter()
        .map(|row| {
            Ok(SigningKeyRow {
                kid: row.get(0)?,
                alg: row.get(1)?,
                state: row.get(2)?,
                wrapped: row.get(3)?,
                certificate: row.get(4)?,
                created_at: row.get(5)?,
                current_since: row.get(6)?,
                current_until: row.get(7)?,
                revoked_at: row.get(8)?,
            })
        })
        .collect()
}

/// A tenant's sealing keys.
pub async fn sealing_keys(tx: &mut Tx, tenant: TenantId) -> Result<Vec<SealingKeyRow>, Failure> {
    let rows = tx.all(&SEALING_KEYS, params![tenant]).await?;
    rows.iter()
        .map(|row| Ok(SealingKeyRow { id: row.get(0)?, state: row.get(1)?, wrapped: row.get(2)? }))
        .collect()
}

async fn resource_servers(tx: &mut Tx, tenant: TenantId) -> Result<Vec<ResourceServer>, Failure> {
    let rows = tx.all(&RESOURCE_SERVERS, params![tenant]).await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get(0)?;
            let doc: String = row.get(2)?;
            Ok(ResourceServer {
                doc: read_doc("resource_servers", &id, &doc)?,
                identifier: row.get(1)?,
                signing_secret: row.get::<Option<String>>(3)?.map(Secret::new),
                floor: row.get(4)?,
                id,
            })
        })
        .collect()
}

async fn connections(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Connection>, Failure> {
    let rows = tx.all(&CONNECTIONS, params![tenant]).await?;
    let mut connections = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: String = row.get(0)?;
        let doc: String = row.get(3)?;
        connections.push(Connection {
            doc: read_doc("connections", &id, &doc)?,
            name: row.get(1)?,
            strategy: row.get(2)?,
            clients: Vec::new(),
            id,
        });
    }
    for row in &tx.all(&CONNECTION_CLIENTS, params![tenant]).await? {
        let connection_id: String = row.get(0)?;
        if let Some(connection) = connections.iter_mut().find(|c| c.id == connection_id) {
            connection.clients.push(ConnectionClient {
                client_id: row.get(1)?,
                enabled: row.get(2)?,
                epoch: row.get(3)?,
            });
        }
    }
    Ok(connections)
}

/// A client whole, its secret still sealed; `None` when there is no such client.
pub async fn find_client(tx: &mut Tx, tenant: TenantId, id: &ClientId) -> Result<Option<Client>, Failure> {
    for _ in 0..8 {
        let Some(head) = tx.maybe(&CLIENT, params![tenant, id]).await? else { return Ok(None) };
        let doc: String = head.get(0)?;
        let version: i64 = head.get(5)?;
        let client = Client {
            id: id.clone(),
            version,
            counter: head.get(2)?,
            floor: head.get(3)?,
            token_floor: head.get(4)?,
            doc: read_doc("clients", id.as_str(), &doc)?,
            secret: Secret::new(head.get(1)?),
            credentials: credentials(tx, tenant, id).await?,
            grants: client_grants(tx, tenant, id).await?,
        };
        let after = tx.maybe(&CLIENT, params![tenant, id]).await?;
        if after.map(|row| row.get::<i64>(5)).transpose()? == Some(version) {
            return Ok(Some(client));
        }
    }
    Err(Failure::Contention)
}

async fn credentials(tx: &mut Tx, tenant: TenantId, id: &ClientId) -> Result<Vec<Credential>, Failure> {
    #[derive(serde::Deserialize)]
    struct Doc {
        #[serde(default)]
        kid: Option<String>,
        #[serde(default)]
        alg: Option<String>,
        #[serde(default)]
        pem: String,
        #[serde(default)]
        expires_at: Option<String>,
    }
    let rows = tx.all(&CLIENT_CREDENTIALS, params![tenant, id]).await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get(0)?;
            let text: String = row.get(1)?;
            let doc: Doc = read_doc("client_credentials", &id, &text)?;
            Ok(Credential {
                id,
                kid: doc.kid,
                alg: doc.alg,
                pem: doc.pem,
                expires_at: doc.expires_at.as_deref().and_then(Timestamp::parse_iso),
            })
        })
        .collect()
}

async fn client_grants(tx: &mut Tx, tenant: TenantId, id: &ClientId) -> Result<Vec<ClientGrant>, Failure> {
    let rows = tx.all(&CLIENT_GRANTS, params![tenant, id]).await?;
    rows.iter()
        .map(|row| {
            let id: String = row.get(0)?;
            let doc: String = row.get(3)?;
            Ok(ClientGrant {
                doc: read_doc("client_grants", &id, &doc)?,
                audience: row.get(1)?,
                grant_key: row.get(2)?,
                id,
            })
        })
        .collect()
}
