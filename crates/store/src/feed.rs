//! Reading the feed: the heads of its lanes, what stands between two positions, and what can still matter.

use curfew_model::{EndingCause, EndingId, Failure, SessionKey, TenantId, Timestamp, UserKey};

use crate::endings::StoredEntry;
use crate::{Row, Tx, params, statements};

statements! {
    /// How far each lane has come, and last the feed's own number. The first thing a complete read of the feed does.
    pub HEADS = "select lane, head from feed_lanes order by lane";
    /// Gives the feed its number, unless it has one. It stands behind all lanes, as the head of one that nothing is written
    /// into, so that one statement reads it with them.
    pub INSERT_NUMBER = "insert into feed_lanes (lane, head) values (1000000, $1) on conflict (lane) do nothing";
    /// Gives it another one.
    pub UPDATE_NUMBER = "update feed_lanes set head = $1 where lane = 1000000";
    /// A lane between two positions: after the first, up to the second.
    pub BETWEEN = "select kind, user_key, subject, audience, counter, spared, keep_until, at, lane, position, tenant, \
        ending_id, cause from feed_entries where lane = $1 and position > $2 and position <= $3 \
        order by position limit $4";
    /// What a guard without a view needs, a page in key order.
    pub LIVE = "select kind, user_key, subject, audience, counter, spared, keep_until, at, lane, position \
        from feed_entries where (lane > $1 or (lane = $1 and position > $2)) and tenant = $3 and keep_until > $4 \
        order by lane, position limit $5";
    /// A node says that guards are connected to it.
    pub SAY_NODE = "insert into feed_nodes (node, seen_at, guards, lease_seconds) values ($1, $2, $3, $4) \
        on conflict (node) do update set seen_at = excluded.seen_at, guards = excluded.guards, \
        lease_seconds = excluded.lease_seconds";
    /// The nodes that were there lately.
    pub NODES = "select node, seen_at, guards, lease_seconds from feed_nodes where seen_at >= $1 order by node";
    /// Removes the nodes that have said nothing since.
    pub PURGE_NODES = "delete from feed_nodes where seen_at < $1";
    /// Which of a node's guards have heard of an ending. The first word stays.
    pub INSERT_HEARD = "insert into ending_guards (tenant, ending_id, node, settled_at, doc) \
        values ($1, $2, $3, $4, $5) on conflict (tenant, ending_id, node) do nothing";
    /// What all nodes said of an ending.
    pub HEARD = "select node, settled_at, doc from ending_guards where tenant = $1 and ending_id = $2 order by node";
}

/// One entry, where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// In which lane.
    pub lane: i64,
    /// At which position of it.
    pub position: i64,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Whose receipt counts it.
    pub ending: EndingId,
    /// Why.
    pub cause: EndingCause,
    /// When.
    pub at: Timestamp,
    /// What ended.
    pub entry: StoredEntry,
}

/// An entry as a snapshot needs it: what ended, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRow {
    /// In which lane.
    pub lane: i64,
    /// At which position of it.
    pub position: i64,
    /// When.
    pub at: Timestamp,
    /// What ended.
    pub entry: StoredEntry,
}

/// Numbers the feed, which has a number from its first start to its end: a position says by it of which feed it is.
pub async fn number(tx: &mut Tx, number: i64) -> Result<(), Failure> {
    tx.run(&INSERT_NUMBER, params![number]).await.map(|_| ())
}

/// Makes it another feed, as it is after a restore from a backup: nobody goes on from a position of the one before.
pub async fn renumber(tx: &mut Tx, number: i64) -> Result<(), Failure> {
    tx.run(&UPDATE_NUMBER, params![number]).await.map(|_| ())
}

/// The heads of all lanes, by lane, and last the feed's number. What is committed under them is there to be read.
pub async fn heads(tx: &mut Tx) -> Result<Vec<i64>, Failure> {
    tx.all(&HEADS, params![]).await?.iter().map(|row| row.get(1)).collect()
}

/// The entries of one lane after `after` and up to `upto`, at most `limit` of them.
pub async fn between(
    tx: &mut Tx,
    lane: i64,
    after: i64,
    upto: i64,
    limit: i64,
) -> Result<Vec<FeedRow>, Failure> {
    let rows = tx.all(&BETWEEN, params![lane, after, upto, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(FeedRow {
                entry: entry(row)?,
                at: row.get(7)?,
                lane: row.get(8)?,
                position: row.get(9)?,
                tenant: row.get(10)?,
                ending: row.get(11)?,
                cause: row.get(12)?,
            })
        })
        .collect()
}

/// What can still matter at `now`, in key order after `after`, at most `limit` entries.
pub async fn live(
    tx: &mut Tx,
    tenant: TenantId,
    (lane, position): (i64, i64),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<LiveRow>, Failure> {
    let rows = tx.all(&LIVE, params![lane, position, tenant, now, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(LiveRow { entry: entry(row)?, at: row.get(7)?, lane: row.get(8)?, position: row.get(9)? })
        })
        .collect()
}

fn entry(row: &Row) -> Result<StoredEntry, Failure> {
    Ok(StoredEntry {
        kind: row.get(0)?,
        user_key: row.get::<Option<UserKey>>(1)?,
        subject: row.get(2)?,
        audience: row.get(3)?,
        counter: row.get(4)?,
        spared: row.get::<Option<SessionKey>>(5)?,
        keep_until: row.get(6)?,
    })
}

/// A node and its guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// When it last said so.
    pub seen_at: Timestamp,
    /// How many guards trust what it tells them.
    pub guards: i64,
    /// The longest of their leases.
    pub lease_seconds: i64,
}

/// Writes that guards are connected to a node.
pub async fn say_node(tx: &mut Tx, row: &NodeRow) -> Result<(), Failure> {
    tx.run(&SAY_NODE, params![&row.node, row.seen_at, row.guards, row.lease_seconds]).await.map(|_| ())
}

/// The nodes that said something since an instant.
pub async fn nodes(tx: &mut Tx, since: Timestamp) -> Result<Vec<NodeRow>, Failure> {
    let rows = tx.all(&NODES, params![since]).await?;
    rows.iter()
        .map(|row| {
            Ok(NodeRow {
                node: row.get(0)?,
                seen_at: row.get(1)?,
                guards: row.get(2)?,
                lease_seconds: row.get(3)?,
            })
        })
        .collect()
}

/// Notes which of a node's guards have heard of an ending: `doc` is JSON.
pub async fn insert_heard(
    tx: &mut Tx,
    (tenant, ending): (TenantId, &EndingId),
    node: &str,
    at: Timestamp,
    doc: &str,
) -> Result<(), Failure> {
    tx.run(&INSERT_HEARD, params![tenant, ending, node, at, doc]).await.map(|_| ())
}

/// What the nodes said of an ending: node, instant, JSON.
pub async fn heard(
    tx: &mut Tx,
    tenant: TenantId,
    ending: &EndingId,
) -> Result<Vec<(String, Timestamp, String)>, Failure> {
    let rows = tx.all(&HEARD, params![tenant, ending]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Removes the nodes that have said nothing since an instant.
pub async fn purge_nodes(tx: &mut Tx, before: Timestamp) -> Result<u64, Failure> {
    tx.run(&PURGE_NODES, params![before]).await
}
