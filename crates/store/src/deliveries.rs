//! What must be told to applications and streams, and whether they have heard it.
//!
//! A delivery is picked by a short lease: the update that takes it counts the attempt and moves `next_at` behind the
//! lease, so that a node that dies with it gives it back by itself. No transaction is open while the receiver is asked.

use curfew_model::{
    ClientId, EndingId, Failure, Initiator, SessionKey, TenantId, Timestamp, UserId, UserKey,
};

use crate::{Row, Tx, params, statements};

/// What a delivery is made of, in the order in which [`delivery`] reads it.
macro_rules! columns {
    () => {
        "delivery_id, ending_id, kind, receiver, sub, issuer, user_key, session_key, counter, url, alg, initiator, \
        event_type, body, state, attempts, next_at, retry_until, last_status, last_error, created_at, settled_at"
    };
}
pub(crate) use columns;

statements! {
    /// A delivery, unless it is there.
    pub INSERT = "insert into deliveries (tenant, delivery_id, ending_id, kind, receiver, sub, issuer, user_key, \
        session_key, counter, url, alg, initiator, event_type, body, state, attempts, next_at, retry_until, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'waiting', $16, $17, $18, $19) \
        on conflict do nothing";
    /// Receivers that have a delivery due. Goes from one with waiting deliveries to the next, however many each has.
    pub DUE_RECEIVERS = "with recursive waiting(receiver) as (\
            select min(d.receiver) from deliveries d where d.tenant = $1 and d.state = 'waiting' \
            union all \
            select (select min(d.receiver) from deliveries d \
                where d.tenant = $1 and d.state = 'waiting' and d.receiver > w.receiver) \
            from waiting w where w.receiver is not null) \
        select w.receiver from waiting w where w.receiver is not null and exists (select 1 from deliveries d \
            where d.tenant = $1 and d.state = 'waiting' and d.receiver = w.receiver and d.next_at <= $2)";
    /// Takes due deliveries of a receiver until `$4`, and counts the attempt, before it is made. Several nodes pick
    /// at once: on PostgreSQL each passes over what another is taking. What is to be taken is found once there: a plan
    /// that asked anew for each row would find others each time, and take more than `$5`.
    pub PICK = {
        postgres: concat!("with due as materialized (select d.delivery_id from deliveries d \
                where d.tenant = $1 and d.receiver = $2 and d.state = 'waiting' and d.next_at <= $3 \
                order by d.next_at limit $5 for update skip locked) \
            update deliveries set attempts = attempts + 1, leased_until = $4, next_at = $4 \
            where tenant = $1 and state = 'waiting' and next_at <= $3 \
            and delivery_id in (select due.delivery_id from due) returning ", columns!()),
        sqlite: concat!("update deliveries set attempts = attempts + 1, leased_until = $4, next_at = $4 \
            where tenant = $1 and state = 'waiting' and next_at <= $3 and delivery_id in (\
                select d.delivery_id from deliveries d where d.tenant = $1 and d.receiver = $2 and d.state = 'waiting' \
                and d.next_at <= $3 order by d.next_at limit $5) \
            returning ", columns!()),
    };
    /// The receiver has confirmed: true whoever asked it.
    pub CONFIRM = "update deliveries set state = 'confirmed', settled_at = $3, leased_until = null, last_status = $4, \
        last_error = null where tenant = $1 and delivery_id = $2 and state = 'waiting'";
    /// It is over without a confirmation, if this attempt is the newest.
    pub SETTLE = "update deliveries set state = $4, settled_at = $5, leased_until = null, last_status = $6, last_error = $7 \
        where tenant = $1 and delivery_id = $2 and state = 'waiting' and attempts = $3";
    /// It is tried again, if this attempt is the newest.
    pub AGAIN = "update deliveries set next_at = $4, leased_until = null, last_status = $5, last_error = $6 \
        where tenant = $1 and delivery_id = $2 and state = 'waiting' and attempts = $3";
    /// A session of a user at or above a counter in which a client takes part.
    pub NEWER_SESSION = "select s.session_key from sessions s \
        join session_clients sc on sc.tenant = s.tenant and sc.user_key = s.user_key and sc.session_key = s.session_key \
        where s.tenant = $1 and s.user_key = $2 and s.counter >= $3 and sc.client_id = $4 limit 1";
    /// The sessions below a counter in which a client took part and which have no ending of their own.
    pub OLDER_SESSIONS = "select s.session_key from sessions s \
        join session_clients sc on sc.tenant = s.tenant and sc.user_key = s.user_key and sc.session_key = s.session_key \
        where s.tenant = $1 and s.user_key = $2 and s.counter < $3 and sc.client_id = $4 and s.issuer = $5 \
        and s.ended_at is null order by s.session_key limit $6";
    /// The metadata of a session.
    pub SESSION_METADATA = "select metadata from sessions where tenant = $1 and user_key = $2 and session_key = $3";
    /// One delivery.
    pub FIND = ("select ", columns!(), " from deliveries where tenant = $1 and delivery_id = $2");
    /// What an ending told: those first that wait, those last that have confirmed.
    pub OF_ENDING = ("select ", columns!(), " from deliveries where tenant = $1 and ending_id = $2 \
        order by case state when 'waiting' then 0 when 'confirmed' then 2 else 1 end, receiver, delivery_id limit $3");
    /// How many of them are in each state.
    pub STATES_OF_ENDING = "select state, count(*) from deliveries where tenant = $1 and ending_id = $2 group by state";
    /// Deliveries in a state, by key.
    pub IN_STATE = ("select ", columns!(), " from deliveries where tenant = $1 and state = $2 and delivery_id > $3 \
        order by delivery_id limit $4");
    /// A dead letter is to be tried again, with all its time.
    pub REVIVE = "update deliveries set state = 'waiting', settled_at = null, attempts = 0, next_at = $3, retry_until = $4 \
        where tenant = $1 and delivery_id = $2 and state = 'dead'";
    /// How it stands with a receiver's deliveries: how many in each state, the newest confirmation, the oldest waiting.
    pub HEALTH = "select state, count(*), max(settled_at), min(created_at) from deliveries \
        where tenant = $1 and receiver = $2 and kind = $3 group by state";
    /// What waits for a receiver is due from now on.
    pub RELEASE = "update deliveries set next_at = $3, retry_until = $4, leased_until = null \
        where tenant = $1 and receiver = $2 and state = 'waiting'";
    /// What waits for a receiver is not sent any more.
    pub CANCEL = "update deliveries set state = 'cancelled', settled_at = $3, leased_until = null, last_error = $4 \
        where tenant = $1 and receiver = $2 and state = 'waiting'";
    /// Dead letters that nobody has retried.
    pub EXPIRE = "update deliveries set state = 'expired', settled_at = $3 \
        where tenant = $1 and state = 'dead' and settled_at < $2";
    /// Settled deliveries that nobody asks for any more, by key range.
    pub PURGEABLE = "select delivery_id from deliveries where tenant = $1 and delivery_id > $2 and settled_at < $3 \
        and state <> 'dead' order by delivery_id limit $4";
    /// Removes one.
    pub PURGE = "delete from deliveries where tenant = $1 and delivery_id = $2 and settled_at is not null";
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It is or will be tried.
    Waiting,
    /// The receiver has confirmed.
    Confirmed,
    /// The receiver has not, and is not asked any more.
    Dead,
    /// What it would say is no longer right.
    Superseded,
    /// The application has no address any more.
    Cancelled,
    /// Dead, and nobody retried it in time.
    Expired,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Waiting, Self::Confirmed, Self::Dead, Self::Superseded, Self::Cancelled, Self::Expired];

    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Confirmed => "confirmed",
            Self::Dead => "dead",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Reads a stored one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

/// The key of a delivery.
pub type DeliveryId = [u8; 16];

/// Who is told: a client's id or a stream's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverId(pub String);

impl std::fmt::Display for ReceiverId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kinds of messages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// OIDC Back-Channel Logout, to a client.
    LogoutToken,
    /// A security event token, to a stream of the Shared Signals Framework.
    SecurityEvent,
    /// An event, to an event stream.
    Event,
}

impl Kind {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LogoutToken => "logout_token",
            Self::SecurityEvent => "security_event",
            Self::Event => "event",
        }
    }
}

/// What is told.
#[derive(Debug, Clone)]
pub enum Message {
    /// A client is told of ended sessions.
    LogoutToken(LogoutToken),
    /// A stream of the Shared Signals Framework is told of an event.
    SecurityEvent(Event),
    /// An event stream is.
    Event(Event),
}

impl Message {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::LogoutToken(_) => Kind::LogoutToken,
            Self::SecurityEvent(_) => Kind::SecurityEvent,
            Self::Event(_) => Kind::Event,
        }
    }
}

/// What a logout token is made of, anew for each try.
#[derive(Debug, Clone)]
pub struct LogoutToken {
    /// Whose sessions ended.
    pub user: UserKey,
    /// Which one; `None` for all below `counter`.
    pub session: Option<SessionKey>,
    /// The counter that the ending gave the user, where it ended everything of theirs.
    pub counter: Option<i64>,
    /// Where to, while the application was there.
    pub url: String,
    /// How its tokens were signed, while it was there.
    pub alg: String,
    /// What is said to have ended them.
    pub initiator: Initiator,
}

/// What a stream is told.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its type, as the stream's standard spells it.
    pub event_type: String,
    /// JSON.
    pub body: String,
}

/// One delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its key.
    pub id: DeliveryId,
    /// Of which ending it tells; `None`: of a change that ended nothing.
    pub ending: Option<EndingId>,
    /// Whom.
    pub receiver: ReceiverId,
    /// What.
    pub message: Message,
    /// `sub` of whom it is about.
    pub sub: Option<UserId>,
    /// In whose name: of a logout token the issuer under which the sessions began.
    pub issuer: String,
    /// Where it is.
    pub state: DeliveryState,
    /// Tries, this one included.
    pub attempts: i64,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// Until when it is tried.
    pub retry_until: Timestamp,
    /// What the last answer was.
    pub last_status: Option<i64>,
    /// Or why there was none.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was over.
    pub settled_at: Option<Timestamp>,
}

impl Delivery {
    /// One that waits to be tried at once, and until `retry_until`.
    pub fn new(
        id: DeliveryId,
        ending: Option<EndingId>,
        (receiver, message): (ReceiverId, Message),
        (sub, issuer): (Option<UserId>, String),
        (now, retry_until): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            id,
            ending,
            receiver,
            message,
            sub,
            issuer,
            state: DeliveryState::Waiting,
            attempts: 0,
            next_at: now,
            retry_until,
            last_status: None,
            last_error: None,
            created_at: now,
            settled_at: None,
        }
    }
}

/// Reads [`columns`].
pub fn delivery(row: &Row) -> Result<Delivery, Failure> {
    let id: DeliveryId = row.get(0)?;
    let inconsistent = |column: &'static str| Failure::Inconsistent {
        table: "deliveries",
        column,
        id: format!("{:032x}", u128::from_be_bytes(id)),
    };
    let event = || -> Result<Event, Failure> { Ok(Event { event_type: row.get(12)?, body: row.get(13)? }) };
    let kind: String = row.get(2)?;
    let message = match kind.as_str() {
        "logout_token" => {
            let initiator: String = row.get(11)?;
            Message::LogoutToken(LogoutToken {
                user: row.get(6)?,
                session: row.get(7)?,
                counter: row.get(8)?,
                url: row.get(9)?,
                alg: row.get(10)?,
                initiator: Initiator::parse(&initiator).ok_or_else(|| inconsistent("initiator"))?,
            })
        }
        "security_event" => Message::SecurityEvent(event()?),
        "event" => Message::Event(event()?),
        _ => return Err(inconsistent("kind")),
    };
    let state: String = row.get(14)?;
    Ok(Delivery {
        id,
        ending: row.get(1)?,
        receiver: ReceiverId(row.get(3)?),
        message,
        sub: row.get(4)?,
        issuer: row.get(5)?,
        state: DeliveryState::parse(&state).ok_or_else(|| inconsistent("state"))?,
        attempts: row.get(15)?,
        next_at: row.get(16)?,
        retry_until: row.get(17)?,
        last_status: row.get(18)?,
        last_error: row.get(19)?,
        created_at: row.get(20)?,
        settled_at: row.get(21)?,
    })
}

/// Writes a delivery that waits; one with its key stays as it is.
pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &Delivery) -> Result<bool, Failure> {
    let (token, event) = match &new.message {
        Message::LogoutToken(token) => (Some(token), None),
        Message::SecurityEvent(event) | Message::Event(event) => (None, Some(event)),
    };
    let parameters = params![
        tenant,
        &new.id,
        new.ending.as_ref(),
        new.message.kind().as_str(),
        &new.receiver.0,
        new.sub.as_ref(),
        &new.issuer,
        token.map(|token| &token.user),
        token.and_then(|token| token.session.as_ref()),
        token.and_then(|token| token.counter),
        token.map(|token| token.url.as_str()),
        token.map(|token| token.alg.as_str()),
        token.map(|token| token.initiator.as_str()),
        event.map(|event| event.event_type.as_str()),
        event.map(|event| event.body.as_str()),
        new.attempts,
        new.next_at,
        new.retry_until,
        new.created_at
    ];
    Ok(tx.run(&INSERT, parameters).await? == 1)
}

/// Has everything that waits for a receiver tried now, and until `retry_until`.
pub async fn release(
    tx: &mut Tx,
    tenant: TenantId,
    receiver: &ReceiverId,
    (now, retry_until): (Timestamp, Timestamp),
) -> Result<u64, Failure> {
    tx.run(&RELEASE, params![tenant, &receiver.0, now, retry_until]).await
}

/// Gives up everything that waits for a receiver, because of `why`.
pub async fn cancel(
    tx: &mut Tx,
    tenant: TenantId,
    receiver: &ReceiverId,
    (now, why): (Timestamp, &str),
) -> Result<u64, Failure> {
    tx.run(&CANCEL, params![tenant, &receiver.0, now, why]).await
}

/// Receivers that have a delivery due.
pub async fn due_receivers(
    tx: &mut Tx,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Vec<ReceiverId>, Failure> {
    tx.all(&DUE_RECEIVERS, params![tenant, now]).await?.iter().map(|row| row.get(0).map(ReceiverId)).collect()
}

/// Takes up to `limit` due deliveries of a receiver until `leased_until`. The attempt is counted before it is made.
pub async fn pick(
    tx: &mut Tx,
    tenant: TenantId,
    receiver: &ReceiverId,
    (now, leased_until): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<Delivery>, Failure> {
    tx.all(&PICK, params![tenant, &receiver.0, now, leased_until, limit])
        .await?
        .iter()
        .map(delivery)
        .collect()
}

/// Notes that the receiver has confirmed; `false` when it was known.
pub async fn confirm(
    tx: &mut Tx,
    tenant: TenantId,
    id: &DeliveryId,
    now: Timestamp,
    status: i64,
) -> Result<bool, Failure> {
    Ok(tx.run(&CONFIRM, params![tenant, id, now, status]).await? == 1)
}

/// How a try ended that confirmed nothing.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The status, when there was an answer.
    pub status: Option<i64>,
    /// Why it counts as no confirmation.
    pub error: Option<String>,
}

/// Ends a delivery without a confirmation; `false` when another try has begun, or it was over.
pub async fn settle(
    tx: &mut Tx,
    tenant: TenantId,
    tried: &Delivery,
    state: DeliveryState,
    now: Timestamp,
    outcome: &Outcome,
) -> Result<bool, Failure> {
    let parameters = params![
        tenant,
        &tried.id,
        tried.attempts,
        state.as_str(),
        now,
        outcome.status,
        outcome.error.as_deref()
    ];
    Ok(tx.run(&SETTLE, parameters).await? == 1)
}

/// Puts a delivery off; `false` when another try has begun, or it was over.
pub async fn again(
    tx: &mut Tx,
    tenant: TenantId,
    tried: &Delivery,
    next_at: Timestamp,
    outcome: &Outcome,
) -> Result<bool, Failure> {
    let parameters =
        params![tenant, &tried.id, tried.attempts, next_at, outcome.status, outcome.error.as_deref()];
    Ok(tx.run(&AGAIN, parameters).await? == 1)
}

/// Whether a user has had a session at or above `counter` in which a client takes part.
pub async fn has_newer_session(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    counter: i64,
    client: &ClientId,
) -> Result<bool, Failure> {
    Ok(tx.maybe(&NEWER_SESSION, params![tenant, user, counter, client]).await?.is_some())
}

/// The sessions of a user below a counter, begun under an issuer, in which a client took part, as far as they are still
/// known, without those that ended by themselves and were told of then.
pub async fn older_sessions(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    counter: i64,
    (client, issuer): (&ClientId, &str),
    limit: i64,
) -> Result<Vec<SessionKey>, Failure> {
    let parameters = params![tenant, user, counter, client, issuer, limit];
    tx.all(&OLDER_SESSIONS, parameters).await?.iter().map(|row| row.get(0)).collect()
}

/// `session_metadata`, JSON, also of a session that is over.
pub async fn session_metadata(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    session: &SessionKey,
) -> Result<Option<String>, Failure> {
    match tx.maybe(&SESSION_METADATA, params![tenant, user, session]).await? {
        Some(row) => row.get(0),
        None => Ok(None),
    }
}

/// A delivery by its key.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &DeliveryId) -> Result<Option<Delivery>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(delivery).transpose()
}

/// Up to `limit` of what an ending told, so far as it is expanded: those first that wait, those last that have confirmed.
pub async fn of_ending(
    tx: &mut Tx,
    tenant: TenantId,
    ending: &EndingId,
    limit: i64,
) -> Result<Vec<Delivery>, Failure> {
    tx.all(&OF_ENDING, params![tenant, ending, limit]).await?.iter().map(delivery).collect()
}

/// How many deliveries of an ending are in each state.
pub async fn states_of_ending(
    tx: &mut Tx,
    tenant: TenantId,
    ending: &EndingId,
) -> Result<Vec<(DeliveryState, i64)>, Failure> {
    let rows = tx.all(&STATES_OF_ENDING, params![tenant, ending]).await?;
    rows.iter().map(|row| Ok((state(row, &ending.to_string())?, row.get(1)?))).collect()
}

/// The state in a row's first column.
fn state(row: &Row, id: &str) -> Result<DeliveryState, Failure> {
    let text: String = row.get(0)?;
    DeliveryState::parse(&text).ok_or_else(|| Failure::Inconsistent {
        table: "deliveries",
        column: "state",
        id: id.to_owned(),
    })
}

/// Up to `limit` deliveries in a state, in key order after `after`.
pub async fn in_state(
    tx: &mut Tx,
    tenant: TenantId,
    state: DeliveryState,
    after: Option<&DeliveryId>,
    limit: i64,
) -> Result<Vec<Delivery>, Failure> {
    let after: &[u8] = after.map_or(&[], |id| id.as_slice());
    tx.all(&IN_STATE, params![tenant, state.as_str(), after, limit]).await?.iter().map(delivery).collect()
}

/// Has a dead letter tried again until `retry_until`; `false` when it is none.
pub async fn revive(
    tx: &mut Tx,
    tenant: TenantId,
    id: &DeliveryId,
    (now, retry_until): (Timestamp, Timestamp),
) -> Result<bool, Failure> {
    Ok(tx.run(&REVIVE, params![tenant, id, now, retry_until]).await? == 1)
}

/// How it stands with the deliveries of a receiver that are in one state.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which state.
    pub state: DeliveryState,
    /// How many there are.
    pub count: i64,
    /// When the last of them was settled.
    pub last_settled_at: Option<Timestamp>,
    /// When the first of them was made.
    pub first_created_at: Timestamp,
}

/// How it stands with a receiver's deliveries of a kind.
pub async fn health(
    tx: &mut Tx,
    tenant: TenantId,
    (receiver, kind): (&ReceiverId, Kind),
) -> Result<Vec<Standing>, Failure> {
    let rows = tx.all(&HEALTH, params![tenant, &receiver.0, kind.as_str()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Standing {
                state: state(row, &receiver.0)?,
                count: row.get(1)?,
                last_settled_at: row.get(2)?,
                first_created_at: row.get(3)?,
            })
        })
        .collect()
}

/// Gives up the dead letters that were settled before `before`.
pub async fn expire(
    tx: &mut Tx,
    tenant: TenantId,
    before: Timestamp,
    now: Timestamp,
) -> Result<u64, Failure> {
    tx.run(&EXPIRE, params![tenant, before, now]).await
}

/// Deliveries that were settled before `before`, in key order after `after`. Dead letters expire first.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    after: &[u8],
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Vec<u8>>, Failure> {
    tx.all(&PURGEABLE, params![tenant, after, before, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// Removes a settled delivery.
pub async fn purge(tx: &mut Tx, tenant: TenantId, id: &[u8]) -> Result<(), Failure> {
    tx.run(&PURGE, params![tenant, id]).await.map(|_| ())
}
