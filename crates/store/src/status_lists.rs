//! Token Status Lists: which index stands for what, and everything the bits are computed from.

use curfew_model::{ClientId, Failure, GrantKey, SessionKey, TenantId, Timestamp, UserKey};

use crate::access::{self, TokenChain, chain_columns, chain_joins};
use crate::{Tx, params, statements};

statements! {
    /// A list in which entries are allotted.
    pub OPEN = "select list_id from status_lists where tenant = $1 and full_at is null order by opened_at, list_id limit 1";
    /// All of them, in the order of their names.
    pub LIST = "select list_id, full_at from status_lists where tenant = $1 order by list_id";
    /// A new one, unless there are as many as there may be.
    pub INSERT = "insert into status_lists (tenant, list_id, opened_at) \
        select $1, cast($2 as text), cast($3 as bigint) \
        where (select count(*) from status_lists where tenant = $1) < $4 on conflict do nothing";
    /// Nothing more is allotted in it.
    pub FILL = "update status_lists set full_at = $3 where tenant = $1 and list_id = $2 and full_at is null";
    /// Allots in it again, unless it became full only now.
    pub REOPEN = "update status_lists set full_at = null where tenant = $1 and list_id = $2 and full_at < $3";
    /// Removes one that nobody allots in and no token names any more.
    pub DELETE = "delete from status_lists where tenant = $1 and list_id = $2 and full_at < $3 \
        and not exists (select 1 from status_entries e where e.tenant = $1 and e.list_id = $2)";
    /// How many indexes of it are taken.
    pub COUNT = "select count(*) from status_entries where tenant = $1 and list_id = $2";
    /// The tenant's version, if there is such a list.
    pub FIND = "select t.version from status_lists l join tenants t on t.tenant = l.tenant \
        where l.tenant = $1 and l.list_id = $2";
    /// The entry of a subject.
    pub OF_SUBJECT = "select list_id, idx, keep_until from status_entries where tenant = $1 and user_key = $2 \
        and grant_key = $3 and session_key = $4 and client_counter = $5 and kid = $6";
    /// Takes an index for a subject; no row when the index is taken, or the subject has one.
    pub ALLOT = "insert into status_entries (tenant, list_id, idx, user_key, grant_key, session_key, client_id, \
        user_counter, client_counter, kid, audience, created_at, keep_until) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict do nothing";
    /// Keeps an entry for a token that expires later; no row when it is gone.
    pub KEEP = "update status_entries set keep_until = $4 where tenant = $1 and list_id = $2 and idx = $3 \
        and keep_until < $4";
    /// A page of a list: what the tokens of each entry hang on.
    pub PAGE = ("select ", chain_columns!("''"), ", e.idx, e.user_key, e.grant_key, e.session_key, e.client_id, \
        e.user_counter, e.client_counter, e.kid, e.audience, e.created_at from status_entries e \
        join tenants t on t.tenant = e.tenant ",
        chain_joins!("e.user_key", "e.session_key", "e.grant_key", "e.client_id"),
        "where e.tenant = $1 and e.list_id = $2 and e.idx > $3 and e.keep_until > $4 order by e.idx limit $5");
    /// Entries that no token names any more, by key range.
    pub PURGEABLE = "select list_id, idx from status_entries where tenant = $1 \
        and (list_id > $2 or (list_id = $2 and idx > $3)) and keep_until < $4 order by list_id, idx limit $5";
    /// Frees an index, unless a new token names it meanwhile.
    pub PURGE = "delete from status_entries where tenant = $1 and list_id = $2 and idx = $3 and keep_until < $4";
}

/// What decides alike about all tokens that name an entry.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Whose tokens; `None` for a client's own.
    pub user: Option<UserKey>,
    /// What they hang on.
    pub grant: GrantKey,
    /// The session they name.
    pub session: Option<SessionKey>,
    /// The client's counter in them.
    pub client_counter: i64,
    /// The key that signs them; empty where it is the API's secret.
    pub kid: String,
}

impl Subject {
    fn user(&self) -> &[u8] {
        self.user.as_ref().map_or(&[], |key| key.as_bytes())
    }

    fn session(&self) -> &[u8] {
        self.session.as_ref().map_or(&[], |key| key.as_bytes())
    }
}

/// The rest of an entry, as its first token has it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// To whom the tokens are issued.
    pub client_id: ClientId,
    /// The user's counter.
    pub user_counter: i64,
    /// The API.
    pub audience: String,
}

/// An entry as it is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The list.
    pub list_id: String,
    /// The index.
    pub idx: u32,
    /// The last expiry of a token that names it.
    pub keep_until: Timestamp,
}

/// An entry with everything its bit is computed from.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The index.
    pub idx: u32,
    /// What decides alike.
    pub subject: Subject,
    /// The rest.
    pub origin: Origin,
    /// When its first token was issued.
    pub created_at: Timestamp,
    /// What its tokens hang on.
    pub chain: TokenChain,
}

/// A list in which entries are allotted, if there is one.
pub async fn open(tx: &mut Tx, tenant: TenantId) -> Result<Option<String>, Failure> {
    tx.maybe(&OPEN, params![tenant]).await?.map(|row| row.get(0)).transpose()
}

/// Every list, and since when it is full.
pub async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(String, Option<Timestamp>)>, Failure> {
    let rows = tx.all(&LIST, params![tenant]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Opens a list; `false` when there are `max` of them.
pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    list_id: &str,
    now: Timestamp,
    max: i64,
) -> Result<bool, Failure> {
    Ok(tx.run(&INSERT, params![tenant, list_id, now, max]).await? == 1)
}

/// Has nothing more allotted in a list.
pub async fn fill(tx: &mut Tx, tenant: TenantId, list_id: &str, now: Timestamp) -> Result<(), Failure> {
    tx.run(&FILL, params![tenant, list_id, now]).await.map(drop)
}

/// Has entries allotted again in a list that is full since before `before`.
pub async fn reopen(
    tx: &mut Tx,
    tenant: TenantId,
    list_id: &str,
    before: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&REOPEN, params![tenant, list_id, before]).await? == 1)
}

/// Removes a list that is full since before `before` and has no entries left.
pub async fn delete(
    tx: &mut Tx,
    tenant: TenantId,
    list_id: &str,
    before: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&DELETE, params![tenant, list_id, before]).await? == 1)
}

/// How many indexes of a list are taken.
pub async fn count(tx: &mut Tx, tenant: TenantId, list_id: &str) -> Result<i64, Failure> {
    tx.one(&COUNT, params![tenant, list_id]).await?.get(0)
}

/// The tenant's version; `None` when there is no such list.
pub async fn find(tx: &mut Tx, tenant: TenantId, list_id: &str) -> Result<Option<i64>, Failure> {
    tx.maybe(&FIND, params![tenant, list_id]).await?.map(|row| row.get(0)).transpose()
}

/// The entry of a subject.
pub async fn of_subject(tx: &mut Tx, tenant: TenantId, subject: &Subject) -> Result<Option<Entry>, Failure> {
    let Subject { grant, client_counter, kid, .. } = subject;
    let parameters = params![tenant, subject.user(), grant, subject.session(), *client_counter, kid];
    let row = tx.maybe(&OF_SUBJECT, parameters).await?;
    row.map(|row| Ok(Entry { list_id: row.get(0)?, idx: row.get(1)?, keep_until: row.get(2)? })).transpose()
}

/// Takes an index for a subject; `false` when the index is taken, or the subject has another.
pub async fn allot(
    tx: &mut Tx,
    tenant: TenantId,
    entry: &Entry,
    subject: &Subject,
    origin: &Origin,
    now: Timestamp,
) -> Result<bool, Failure> {
    let parameters = params![
        tenant,
        &entry.list_id,
        entry.idx,
        subject.user(),
        &subject.grant,
        subject.session(),
        &origin.client_id,
        origin.user_counter,
        subject.client_counter,
        &subject.kid,
        &origin.audience,
        now,
        entry.keep_until,
    ];
    Ok(tx.run(&ALLOT, parameters).await? == 1)
}

/// Keeps an entry until a later instant; `false` when it is gone, or is kept as long already.
pub async fn keep(
    tx: &mut Tx,
    tenant: TenantId,
    entry: &Entry,
    keep_until: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&KEEP, params![tenant, &entry.list_id, entry.idx, keep_until]).await? == 1)
}

/// A page of what a list speaks of at `now`, after an index.
pub async fn page(
    tx: &mut Tx,
    tenant: TenantId,
    list_id: &str,
    after: i64,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Standing>, Failure> {
    let rows = tx.all(&PAGE, params![tenant, list_id, after, now, limit]).await?;
    rows.iter()
        .map(|row| {
            let (user, session): (Vec<u8>, Vec<u8>) = (row.get(32)?, row.get(34)?);
            Ok(Standing {
                idx: row.get(31)?,
                subject: Subject {
                    user: if user.is_empty() { None } else { Some(row.get(32)?) },
                    grant: row.get(33)?,
                    session: if session.is_empty() { None } else { Some(row.get(34)?) },
                    client_counter: row.get(37)?,
                    kid: row.get(38)?,
                },
                origin: Origin {
                    client_id: row.get(35)?,
                    user_counter: row.get(36)?,
                    audience: row.get(39)?,
                },
                created_at: row.get(40)?,
                chain: access::chain_of(row)?,
            })
        })
        .collect()
}

/// Entries that no token names since `before`, in key order after `after`.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    (list_id, idx): (&str, i64),
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(String, i64)>, Failure> {
    let rows = tx.all(&PURGEABLE, params![tenant, list_id, idx, before, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Frees an index that no token names since `before`.
pub async fn purge(
    tx: &mut Tx,
    tenant: TenantId,
    (list_id, idx): (&str, i64),
    before: Timestamp,
) -> Result<(), Failure> {
    tx.run(&PURGE, params![tenant, list_id, idx, before]).await.map(drop)
}
