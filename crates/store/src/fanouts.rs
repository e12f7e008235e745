//! Which applications took part in what an ending ended. A fan-out row is written with each ending; here it is expanded,
//! page by page, while the participants are still there.

use curfew_model::{
    ClientId, EndingCause, EndingId, Failure, GrantKey, SessionKey, TenantId, Timestamp, UserId, UserKey,
};

use crate::{Row, Tx, params, statements};

/// What is read of a participant: the session, the client, the issuer under which the session began, and the client's
/// document, if the client is still there. A user's name follows.
macro_rules! columns {
    () => {
        "s.user_key, s.session_key, sc.client_id, s.issuer, c.doc"
    };
}

/// The clients of sessions.
macro_rules! joins {
    () => {
        " join session_clients sc on sc.tenant = s.tenant and sc.user_key = s.user_key \
            and sc.session_key = s.session_key \
        left join clients c on c.tenant = sc.tenant and c.client_id = sc.client_id "
    };
}

/// Sessions of a user that an ending at counter `$5` and instant `$7` has ended: below it, not below the floor before
/// it, and not ended by themselves before (which was told then). Where the identity's floor was raised later nobody knows what it was before.
macro_rules! fallen {
    () => {
        "left join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        where s.tenant = $1 and s.user_key = $2 \
        and (s.session_key > $3 or (s.session_key = $3 and sc.client_id > $4)) \
        and s.counter < $5 and s.counter >= $6 and (s.ended_at is null or s.ended_at > $7) \
        and (i.session_floor is null or i.session_floor >= $5 or s.counter >= i.session_floor) "
    };
}

/// Living sessions in the key range from (`$2`, `$3`) to (`$4`, `$5`), of users who are still there.
macro_rules! standing {
    () => {
        "join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        join users u on u.tenant = s.tenant and u.user_key = s.user_key \
        join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        where s.tenant = $1 and (s.user_key, s.session_key) > ($2, $3) and (s.user_key, s.session_key) <= ($4, $5) \
        and s.ended_at is null and s.counter >= a.session_floor and s.counter >= i.session_floor "
    };
}

statements! {
    /// Fan-outs that are not expanded yet, the oldest first.
    pub OPEN = "select ending_id from fanouts where tenant = $1 and expanded_at is null order by created_at, ending_id \
        limit $2";
    /// Takes one: whoever else wants it waits, and then finds what was done.
    pub CLAIM = "update fanouts set created_at = created_at where tenant = $1 and ending_id = $2 and expanded_at is null \
        returning scope, reached, untold";
    /// The ending it belongs to.
    pub ENDING = "select at, cause, user_key, user_id, session_key, grant_key, client_id, detail \
        from endings where tenant = $1 and ending_id = $2";
    /// Notes how far the expansion has come, and with `$4` that it is over.
    pub REACH = "update fanouts set reached = $3, expanded_at = $4, untold = $5 where tenant = $1 and ending_id = $2";
    /// The participants of one session.
    pub OF_SESSION = ("select ", columns!(), ", null from sessions s", joins!(),
        "where s.tenant = $1 and s.user_key = $2 and s.session_key = $3 and sc.client_id > $4 \
        order by sc.client_id limit $5");
    /// Those of all that a user had.
    pub OF_USER = ("select ", columns!(), ", null from sessions s", joins!(), fallen!(),
        "order by s.session_key, sc.client_id limit $8");
    /// Those of what one identity had opened.
    pub OF_IDENTITY = ("select ", columns!(), ", null from sessions s", joins!(), fallen!(),
        "and s.provider = $9 and s.identity_id = $10 order by s.session_key, sc.client_id limit $8");
    /// The end of a page of sessions, by key.
    pub PAGE_END = "select user_key, session_key from sessions where tenant = $1 and (user_key, session_key) > ($2, $3) \
        order by user_key, session_key limit 1 offset $4";
    /// The participants of sessions that stood on a connection; its own users are deleted, each with an ending of
    /// their own.
    pub OF_CONNECTION = ("select ", columns!(), ", u.user_id from sessions s", joins!(), standing!(),
        "and s.connection_id = $6 and u.connection_id <> $6 order by s.user_key, s.session_key, sc.client_id");
    /// The participants of sessions whose cookie a key had sealed.
    pub OF_SEALING_KEY = ("select ", columns!(), ", u.user_id from sessions s", joins!(), standing!(),
        "and s.sealing_key = $6 order by s.user_key, s.session_key, sc.client_id");
    /// How far one has come.
    pub FIND = "select expanded_at, untold from fanouts where tenant = $1 and ending_id = $2";
    /// How many fan-outs are not expanded yet.
    pub COUNT_OPEN = "select count(*) from fanouts where tenant = $1 and expanded_at is null";
}

/// A fan-out that was taken.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Which sessions fell, JSON; `None` when none did.
    pub scope: Option<String>,
    /// How far the expansion has come.
    pub reached: Option<String>,
    /// Participants without an address so far, JSON.
    pub untold: Option<String>,
    /// When the ending was.
    pub at: Timestamp,
    /// Why.
    pub cause: EndingCause,
    /// Whose access, where it is one user's.
    pub user: Option<UserKey>,
    /// `sub` of that user.
    pub user_id: Option<UserId>,
    /// Which session, where it is one.
    pub session: Option<SessionKey>,
    /// Which grant, where it is one.
    pub grant: Option<GrantKey>,
    /// Which client, where it is one.
    pub client_id: Option<ClientId>,
    /// JSON: who did it, and whatever else the ending's log row says.
    pub detail: String,
}

/// A client that took part in a session.
#[derive(Debug, Clone)]
pub struct Participant {
    /// Whose session.
    pub user: UserKey,
    /// Which.
    pub session: SessionKey,
    /// Which client.
    pub client_id: ClientId,
    /// The issuer under which the session began.
    pub issuer: String,
    /// The client's document, JSON; `None` when the client is gone.
    pub client_doc: Option<String>,
    /// `sub`, where the question was not about one user.
    pub user_id: Option<UserId>,
}

fn participant(row: &Row) -> Result<Participant, Failure> {
    Ok(Participant {
        user: row.get(0)?,
        session: row.get(1)?,
        client_id: row.get(2)?,
        issuer: row.get(3)?,
        client_doc: row.get(4)?,
        user_id: row.get(5)?,
    })
}

/// Up to `limit` endings whose fan-out is not expanded yet, the oldest first.
pub async fn open(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<EndingId>, Failure> {
    tx.all(&OPEN, params![tenant, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// How many fan-outs are not expanded yet.
pub async fn count_open(tx: &mut Tx, tenant: TenantId) -> Result<i64, Failure> {
    tx.one(&COUNT_OPEN, params![tenant]).await?.get(0)
}

/// Takes a fan-out for this transaction; `None` when it is expanded.
pub async fn claim(tx: &mut Tx, tenant: TenantId, ending: &EndingId) -> Result<Option<Claimed>, Failure> {
    let Some(row) = tx.maybe(&CLAIM, params![tenant, ending]).await? else { return Ok(None) };
    let of = tx.one(&ENDING, params![tenant, ending]).await?;
    Ok(Some(Claimed {
        scope: row.get(0)?,
        reached: row.get(1)?,
        untold: row.get(2)?,
        at: of.get(0)?,
        cause: of.get(1)?,
        user: of.get(2)?,
        user_id: of.get(3)?,
        session: of.get(4)?,
        grant: of.get(5)?,
        client_id: of.get(6)?,
        detail: of.get(7)?,
    }))
}

/// Notes how far the expansion has come; `expanded_at` when it is over.
pub async fn reach(
    tx: &mut Tx,
    tenant: TenantId,
    ending: &EndingId,
    reached: Option<&str>,
    expanded_at: Option<Timestamp>,
    untold: Option<&str>,
) -> Result<(), Failure> {
    tx.run(&REACH, params![tenant, ending, reached, expanded_at, untold]).await.map(|_| ())
}

/// Participants of one session, after a client.
pub async fn of_session(
    tx: &mut Tx,
    tenant: TenantId,
    (user, session): (&UserKey, &SessionKey),
    after: &str,
    limit: i64,
) -> Result<Vec<Participant>, Failure> {
    tx.all(&OF_SESSION, params![tenant, user, session, after, limit]).await?.iter().map(participant).collect()
}

/// Which of a user's sessions an ending has ended.
#[derive(Debug, Clone)]
pub struct Fell {
    /// Whose.
    pub user: UserKey,
    /// The counter that the ending gave the user: those below it.
    pub counter: i64,
    /// The floor before it: those below had ended already.
    pub floor: i64,
    /// When the ending was: those that had ended by themselves before are not among them.
    pub at: Timestamp,
}

/// Participants of what a user had, or of what one identity had opened, in key order after a session and a client.
pub async fn of_user(
    tx: &mut Tx,
    tenant: TenantId,
    fell: &Fell,
    identity: Option<(&str, &str)>,
    (session, client): (&SessionKey, &str),
    limit: i64,
) -> Result<Vec<Participant>, Failure> {
    let Fell { user, counter, floor, at } = fell;
    let rows = match identity {
        None => {
            tx.all(&OF_USER, params![tenant, user, session, client, *counter, *floor, *at, limit]).await?
        }
        Some((provider, id)) => {
            let parameters =
                params![tenant, user, session, client, *counter, *floor, *at, limit, provider, id];
            tx.all(&OF_IDENTITY, parameters).await?
        }
    };
    rows.iter().map(participant).collect()
}

/// What sessions of many users stood on.
#[derive(Debug, Clone, Copy)]
pub enum Ground<'a> {
    /// A connection that is gone.
    Connection(&'a str),
    /// A sealing key that was revoked.
    SealingKey(u32),
}

/// The end of the page of `sessions` sessions after a key; `None` when no more than that are left.
pub async fn page_end(
    tx: &mut Tx,
    tenant: TenantId,
    (user, session): (&UserKey, &SessionKey),
    sessions: i64,
) -> Result<Option<(UserKey, SessionKey)>, Failure> {
    let row = tx.maybe(&PAGE_END, params![tenant, user, session, sessions - 1]).await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Participants of sessions that stood on `ground`, of the sessions after a key up to another.
pub async fn of_ground(
    tx: &mut Tx,
    tenant: TenantId,
    ground: Ground<'_>,
    (user, session): (&UserKey, &SessionKey),
    (last_user, last_session): (&UserKey, &SessionKey),
) -> Result<Vec<Participant>, Failure> {
    let rows = match ground {
        Ground::Connection(id) => {
            tx.all(&OF_CONNECTION, params![tenant, user, session, last_user, last_session, id]).await?
        }
        Ground::SealingKey(id) => {
            tx.all(&OF_SEALING_KEY, params![tenant, user, session, last_user, last_session, id]).await?
        }
    };
    rows.iter().map(participant).collect()
}

/// How far an ending's fan-out has come: when it was worked out whom to tell, and the participants without an address
/// (JSON).
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    ending: &EndingId,
) -> Result<Option<(Option<Timestamp>, Option<String>)>, Failure> {
    let row = tx.maybe(&FIND, params![tenant, ending]).await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}
