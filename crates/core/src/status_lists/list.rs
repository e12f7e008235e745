//! Building lists, and sharing what was built.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use curfew_model::config::Client;
use curfew_model::{ClientId, Ctx, Failure, TenantId, Timestamp};
use curfew_store::status_lists::{self as store, Standing};
use curfew_tokens::claims::Cfw;
use curfew_tokens::digest::sha256;
use curfew_tokens::status_list::{StatusList, StatusListClaims, Statuses, TYP};
use curfew_tokens::{SigningAlg, jws};

use super::{RELIED_UPON_SECONDS, SIZE, TTL_SECONDS, aggregation_uri, uri};
use crate::access_tokens::{Hold, client_token_lives, user_token_lives};
use crate::shared::Shared;
use crate::{Core, TenantConfig};

/// Characters of a list's name.
pub(super) const ID_CHARACTERS: usize = 16;
/// Entries of one read.
const PAGE: i64 = 2000;
/// How long a list is shared, at least.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// And of how much building is one part: a tenth of a node's time goes into a list that is asked for all the time.
const SHARE_OF_BUILDING: u32 = 10;

/// A Status List Token.
#[derive(Debug)]
pub struct StatusListToken {
    /// JWS compact serialization.
    pub jwt: Bytes,
    /// Names exactly these bytes.
    pub etag: String,
    /// Since when it is known.
    issued_at: Timestamp,
    shared_for: Duration,
    /// Of the configuration it was built from: its key may be revoked in the next.
    version: i64,
}

impl StatusListToken {
    fn is_fresh(&self, now: Timestamp, version: i64) -> bool {
        let age = now.since(self.issued_at).max(self.issued_at.since(now));
        self.version == version && age < self.shared_for
    }
}

/// Which list, under which of the tenant's issuers.
type Key = (TenantId, Arc<str>, String);
/// The lists of a node.
pub(crate) type Lists = Shared<Key, StatusListToken>;

impl Core {
    /// A list, at most a second old, or ten times as old as its building takes; `None` when there is no such list.
    pub async fn status_list(
        &self,
        ctx: &Ctx,
        list_id: &str,
    ) -> Result<Option<Arc<StatusListToken>>, Failure> {
        if list_id.len() != ID_CHARACTERS || !list_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        let found = self
            .store
            .read((ctx.tenant, list_id.to_owned()), |tx, (tenant, id)| Box::pin(store::find(tx, *tenant, id)))
            .await?;
        let Some(version) = found else { return Ok(None) };
        // Only lists that are there have a key.
        let key = (ctx.tenant, Arc::clone(&ctx.issuer), list_id.to_owned());
        let is_fresh = |list: &StatusListToken| list.is_fresh(ctx.now, version);
        self.status_lists.get(key, is_fresh, async || self.build(ctx, list_id).await).await.map(Some)
    }

    /// The addresses of all lists (§9).
    pub async fn status_lists(&self, ctx: &Ctx) -> Result<Vec<String>, Failure> {
        let lists = self.store.read_long(ctx.tenant, |tx, tenant| Box::pin(store::list(tx, *tenant))).await?;
        Ok(lists.iter().map(|(list_id, _)| uri(ctx, list_id)).collect())
    }

    /// What ended before this began is in it: each page is read after that.
    async fn build(&self, ctx: &Ctx, list_id: &str) -> Result<StatusListToken, Failure> {
        // The request may have waited for another's list, and its instant is older than that.
        let now = self.clock.now();
        let mut statuses = Statuses::new(SIZE);
        let mut after = -1;
        loop {
            let page = self
                .store
                .read_long((ctx.tenant, list_id.to_owned(), after, now), |tx, (tenant, id, after, now)| {
                    Box::pin(store::page(tx, *tenant, id, *after, *now, PAGE))
                })
                .await?;
            let Some(last) = page.last() else { break };
            after = i64::from(last.idx);
            let config = self.tenant_at(ctx.tenant, last.chain.tenant_version).await?;
            let clients = self.clients_of(&config, &page).await?;
            for entry in &page {
                if !lives(entry, &config, clients.get(&entry.origin.client_id), now) {
                    statuses.invalidate(entry.idx);
                }
            }
        }
        let config = self.tenant(ctx.tenant).await?;
        let lst = statuses.lst()?;
        let claims = StatusListClaims {
            iss: &ctx.issuer,
            sub: &uri(ctx, list_id),
            iat: now.seconds(),
            exp: now.seconds() + RELIED_UPON_SECONDS,
            ttl: TTL_SECONDS,
            status_list: StatusList { bits: 1, lst: &lst, aggregation_uri: &aggregation_uri(ctx) },
        };
        let jwt = jws::sign_compact(config.signing_key(SigningAlg::RS256)?, TYP, &claims)?;
        let digest = sha256(jwt.as_bytes());
        let etag = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let ttl = Duration::from_secs(TTL_SECONDS.unsigned_abs());
        let shared_for = (self.clock.now().since(now) * SHARE_OF_BUILDING).clamp(SHARED_FOR, ttl);
        Ok(StatusListToken { jwt: jwt.into(), etag, issued_at: now, shared_for, version: config.version })
    }

    /// The clients of a page that are still there.
    async fn clients_of(
        &self,
        config: &TenantConfig,
        page: &[Standing],
    ) -> Result<HashMap<ClientId, Arc<Client>>, Failure> {
        let mut clients = HashMap::new();
        for Standing { origin, chain, .. } in page {
            if clients.contains_key(&origin.client_id) {
                continue;
            }
            let Some(version) = chain.client_version else { continue };
            if let Some(client) = self.client_at(config, &origin.client_id, version).await? {
                clients.insert(origin.client_id.clone(), client);
            }
        }
        Ok(clients)
    }
}

/// Whether the tokens that name an entry live: what introspection would say of each.
fn lives(entry: &Standing, config: &TenantConfig, client: Option<&Arc<Client>>, now: Timestamp) -> bool {
    let Standing { subject, origin, chain, created_at, .. } = entry;
    let Some(client) = client else { return false };
    if !subject.kid.is_empty() && config.verifying_key(&subject.kid).is_none() {
        return false;
    }
    let cfw = Cfw {
        user: subject.user,
        user_counter: subject.user.map(|_| origin.user_counter),
        client_counter: Some(subject.client_counter),
        grant: Some(subject.grant),
    };
    let hold = Hold {
        cfw: &cfw,
        in_session: subject.session.is_some(),
        aud: std::slice::from_ref(&origin.audience),
        iat: created_at.seconds(),
    };
    match subject.user {
        Some(_) => user_token_lives(&hold, chain, config, client, now),
        None => client_token_lives(&hold, config, client),
    }
}
