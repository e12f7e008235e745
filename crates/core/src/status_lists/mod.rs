//! Token Status Lists (draft-ietf-oauth-status-list): APIs that ask for it get access tokens that name a list and an
//! index in it, and the bit there says whether the token still lives.
//!
//! Nothing is written when access ends. An entry remembers what decides alike about all tokens that name it, and a list is
//! built by computing the life of each entry, with the rule by which tokens are introspected. Why the entries are what
//! they are is in `docs/adr/0012-token-status-lists.md`.

mod list;

use curfew_model::config::{Client, ResourceServer};
use curfew_model::{Ctx, Failure, GrantKey, SessionKey, Timestamp, UserKey};
use curfew_store::status_lists::{self as store, Entry, Origin, Subject};
use curfew_store::{Lane, Tx};

use crate::{Core, TenantConfig, issue};

pub(crate) use list::Lists;
pub use list::StatusListToken;

/// After how many seconds there may be a newer list: as long as guards may go without an echo.
pub const TTL_SECONDS: i64 = 10;
/// For how long a list may be relied upon, in seconds: a fetch that fails can be tried again.
pub const RELIED_UPON_SECONDS: i64 = 30;
/// Indexes of a list.
const SIZE: u32 = 1 << 17;
/// Lists of a tenant: some sixty million sessions of clients at APIs that ask.
const LISTS_MAX: i64 = 1000;
/// Random indexes in a row that are taken, of a list that counts as full. It is nearly half full then, which nobody had to
/// count in a row that all logins would wait for.
const COLLISIONS_MAX: usize = 12;
/// Lists that may turn out full for one entry.
const ROUNDS_MAX: usize = 8;
/// How much longer than its token an entry is kept, at least, when more tokens may come: it is written once in that time
/// and not at each exchange.
const KEPT_ON_SECONDS: i64 = 86_400;
/// How long an index stays unused when no token names it any more: no list that was built before is relied upon then.
const UNUSED_SECONDS: i64 = 600;
/// How long a list that is full stays so: longer than any transaction that began before.
const FULL_SECONDS: i64 = 3600;

/// Whether an API's access tokens say where their status stands.
pub fn asks(server: &ResourceServer) -> bool {
    server.doc.token_status_list.enabled
}

/// The address of a list.
pub fn uri(ctx: &Ctx, list_id: &str) -> String {
    format!("{}status-lists/{list_id}", ctx.issuer)
}

/// The address of the list of lists (§9).
pub fn aggregation_uri(ctx: &Ctx) -> String {
    format!("{}status-lists", ctx.issuer)
}

/// Whether more access tokens may come of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// There is a refresh token, or it is a client's own.
    MayCome,
    /// This is the only one.
    Never,
}

/// What an access token hangs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    /// With the counter that stands in the token; `None` for a client's own.
    pub user: Option<(UserKey, i64)>,
    /// The session that stands in the token.
    pub session: Option<SessionKey>,
    pub grant: GrantKey,
    pub more: More,
    pub from_authorization_endpoint: bool,
}

/// An entry that an access token needs.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    subject: Subject,
    origin: Origin,
    /// When the token expires.
    expires_at: Timestamp,
    /// For how long an entry is kept when it is written.
    keep_until: Timestamp,
}

/// What an access token needs that is about to be issued; `None` when its API does not ask. Nothing is read for that, and
/// who has no `Wanted` has no way to the lists: APIs that do not ask cost nothing.
pub(crate) fn wanted(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    server: Option<&ResourceServer>,
    holder: &Holder,
) -> Result<Option<Wanted>, Failure> {
    let Some(server) = server.filter(|server| asks(server)) else { return Ok(None) };
    let lifetime = issue::lifetime_seconds(server, holder.from_authorization_endpoint);
    let expires_at = ctx.now.plus_seconds(lifetime);
    let keep_until = match holder.more {
        More::MayCome => expires_at.plus_seconds(lifetime.max(KEPT_ON_SECONDS)),
        More::Never => expires_at,
    };
    Ok(Some(Wanted {
        subject: Subject {
            user: holder.user.map(|(key, _)| key),
            grant: holder.grant,
            session: holder.session,
            client_counter: client.counter,
            kid: issue::signing_kid(config, server)?.to_owned(),
        },
        origin: Origin {
            client_id: client.id.clone(),
            user_counter: holder.user.map_or(0, |(_, counter)| counter),
            audience: server.identifier.clone(),
        },
        expires_at,
        keep_until,
    }))
}

/// The entry that is there already and is kept for long enough. Reads one row by its key.
pub(crate) async fn find(tx: &mut Tx, ctx: &Ctx, wanted: &Wanted) -> Result<Option<Entry>, Failure> {
    let found = store::of_subject(tx, ctx.tenant, &wanted.subject).await?;
    Ok(found.filter(|entry| entry.keep_until >= wanted.expires_at))
}

/// The entry for a token: the one that is there, or a new one. Writes: status_entries, status_lists.
///
/// Failure: `Busy` when the tenant has as many lists as there may be.
pub(crate) async fn allot(tx: &mut Tx, ctx: &Ctx, wanted: &Wanted) -> Result<Entry, Failure> {
    'rounds: for _ in 0..ROUNDS_MAX {
        if let Some(entry) = store::of_subject(tx, ctx.tenant, &wanted.subject).await? {
            let kept = entry.keep_until >= wanted.expires_at
                || store::keep(tx, ctx.tenant, &entry, wanted.keep_until).await?;
            if kept {
                return Ok(entry);
            }
            // It was purged meanwhile, or another request keeps it for longer.
            continue;
        }
        let list_id = open_list(tx, ctx).await?;
        for _ in 0..COLLISIONS_MAX {
            // Neighbours in a list have nothing to do with each other. The size is a power of two: no index is likelier.
            let idx = u32::from_le_bytes(ctx.entropy.bytes()) % SIZE;
            let entry = Entry { list_id: list_id.clone(), idx, keep_until: wanted.keep_until };
            if store::allot(tx, ctx.tenant, &entry, &wanted.subject, &wanted.origin, ctx.now).await? {
                return Ok(entry);
            }
            if store::of_subject(tx, ctx.tenant, &wanted.subject).await?.is_some() {
                continue 'rounds;
            }
        }
        store::fill(tx, ctx.tenant, &list_id, ctx.now).await?;
    }
    Err(Failure::Contention)
}

async fn open_list(tx: &mut Tx, ctx: &Ctx) -> Result<String, Failure> {
    if let Some(list_id) = store::open(tx, ctx.tenant).await? {
        return Ok(list_id);
    }
    let list_id = ctx.entropy.alphanumeric(list::ID_CHARACTERS);
    if store::insert(tx, ctx.tenant, &list_id, ctx.now, LISTS_MAX).await? {
        Ok(list_id)
    } else {
        Err(Failure::Busy { what: "status lists", retry_after_seconds: 60 })
    }
}

/// As [`allot`], in a transaction of its own: for tokens with which nothing else is written.
pub(crate) async fn allot_alone(core: &Core, ctx: &Ctx, wanted: Wanted) -> Result<Entry, Failure> {
    let arguments = (ctx.clone(), wanted);
    let found =
        core.store.read(arguments.clone(), |tx, (ctx, wanted)| Box::pin(find(tx, ctx, wanted))).await?;
    match found {
        Some(entry) => Ok(entry),
        None => {
            let allotted = core
                .store
                .transact(Lane::Ordinary, arguments, |tx, (ctx, wanted)| Box::pin(allot(tx, ctx, wanted)));
            allotted.await
        }
    }
}

/// Entries that no token names since `before` are free again.
pub(crate) fn unused_since(ctx: &Ctx) -> Timestamp {
    ctx.now.plus_seconds(-UNUSED_SECONDS)
}

/// Removes lists that nothing is left of, and allots again in those that have become empty enough. Answers how many were
/// removed.
pub(crate) async fn sweep_lists(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let lists = core.store.read_long(ctx.tenant, |tx, tenant| Box::pin(store::list(tx, *tenant))).await?;
    let before = ctx.now.plus_seconds(-FULL_SECONDS);
    let mut removed = 0;
    for (list_id, _) in lists.into_iter().filter(|(_, full_at)| full_at.is_some_and(|at| at < before)) {
        let arguments = (ctx.tenant, list_id, before);
        let taken = core
            .store
            .read_long(arguments.clone(), |tx, (tenant, id, _)| Box::pin(store::count(tx, *tenant, id)))
            .await?;
        if taken > i64::from(SIZE / 4) {
            continue;
        }
        let swept = core.store.transact(Lane::Ordinary, arguments, |tx, (tenant, id, before)| {
            Box::pin(async move {
                if store::delete(tx, *tenant, id, *before).await? {
                    return Ok(1);
                }
                store::reopen(tx, *tenant, id, *before).await.map(|_| 0)
            })
        });
        removed += swept.await?;
    }
    Ok(removed)
}
