//! What has ended, in memory: compact, read by many while one writes.
//!
//! The cutoffs lie in shards, each under a lock of its own that is held for one look or one change. So a request waits at
//! most for one insertion, or for one of the 256 tables of each kind to grow.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::Hash;
use std::mem::size_of;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use curfew_model::{GrantKey, Sid, Timestamp, UserKey};
use curfew_tokens::claims::AccessToken;
use curfew_tokens::digest::sha256;

use crate::cutoff::Cutoff;

/// A shard for each value of a key's first byte. Keys are random, or digests.
const SHARDS: usize = 256;

/// How much later than its tokens a cutoff ends, at least: that far the clock may be set back without harm.
const UNTIL_SLACK_SECONDS: u32 = 290;

/// What a token says about where it lives.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenFacts<'a> {
    /// The header's `kid`.
    pub kid: Option<&'a str>,
    /// `azp` or `client_id`.
    pub client_id: Option<&'a str>,
    /// `cfw.u`.
    pub user: Option<UserKey>,
    /// `cfw.n`.
    pub user_number: Option<i64>,
    /// `cfw.c`.
    pub client_number: Option<i64>,
    /// `cfw.g`.
    pub grant: Option<GrantKey>,
    /// `sid`.
    pub sid: Option<Sid>,
    /// `iat`.
    pub issued_at: i64,
}

impl<'a> TokenFacts<'a> {
    /// What an access token says.
    pub fn of(kid: Option<&'a str>, token: &'a AccessToken) -> Self {
        Self {
            kid,
            client_id: Some(&token.client_id),
            user: token.cfw.user,
            user_number: token.cfw.user_counter,
            client_number: token.cfw.client_counter,
            grant: token.cfw.grant,
            sid: token.sid,
            issued_at: token.iat,
        }
    }
}

/// What the cutoffs say about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// None ends it.
    Lives,
    /// One ends it.
    Ended,
    /// One may have ended it: the server knows.
    Ask(Question),
}

/// What makes a guard ask. An answer holds while the question stays the same: a later cutoff that makes the guard ask
/// again is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Question {
    /// The number of the `user_sessions` that asks.
    pub sessions: Option<i64>,
    /// The number of the `user_families` that asks.
    pub families: Option<i64>,
    /// Whether a `session_expired` asks.
    pub session_expired: bool,
    /// The second of the `users` that asks.
    pub users: Option<i64>,
}

type Key = [u8; 12];

/// A client's id or a key's, as half of its SHA-256: of one length, so that there is no list of names to sweep.
type Name = [u8; 16];

fn name(text: &str) -> Name {
    let mut half = [0; 16];
    half.copy_from_slice(&sha256(text.as_bytes())[..16]);
    half
}

fn sid_key(sid: Sid) -> [u8; 24] {
    let mut key = [0; 24];
    key[..12].copy_from_slice(&sid.user.0);
    key[12..].copy_from_slice(&sid.session.0);
    key
}

/// A number without the alignment of one, which would cost up to eight bytes in each entry.
#[derive(Clone, Copy)]
struct Number([u8; 8]);

impl Number {
    const fn new(number: i64) -> Self {
        Self(number.to_le_bytes())
    }

    const fn get(self) -> i64 {
        i64::from_le_bytes(self.0)
    }
}

/// Unix seconds, as compact as [`Number`].
#[derive(Clone, Copy)]
struct Until([u8; 4]);

impl Until {
    const fn new(until: u32) -> Self {
        Self(until.to_le_bytes())
    }

    const fn get(self) -> u32 {
        u32::from_le_bytes(self.0)
    }
}

/// What is held for one thing. Of several cutoffs for it the larger number counts, and the later `until`.
trait Entry: Copy {
    /// Takes in another cutoff for the same thing. In whatever order they come, the result is the same.
    fn merge(&mut self, other: Self);
    fn until(&self) -> u32;
}

impl Entry for Until {
    fn merge(&mut self, other: Self) {
        *self = Self::new(self.get().max(other.get()));
    }

    fn until(&self) -> u32 {
        self.get()
    }
}

#[derive(Clone, Copy)]
struct Floor {
    number: Number,
    until: Until,
}

impl Floor {
    const fn new(number: i64, until: u32) -> Self {
        Self { number: Number::new(number), until: Until::new(until) }
    }
}

impl Entry for Floor {
    fn merge(&mut self, other: Self) {
        self.number = Number::new(self.number.get().max(other.number.get()));
        self.until.merge(other.until);
    }

    fn until(&self) -> u32 {
        self.until.get()
    }
}

/// A floor with the session that stays above it, by the second half of its id.
#[derive(Clone, Copy)]
struct SparingFloor {
    floor: Floor,
    spared: Option<Key>,
}

impl Entry for SparingFloor {
    fn merge(&mut self, other: Self) {
        let (own, number) = (self.floor.number.get(), other.floor.number.get());
        if number > own {
            self.spared = other.spared;
        } else if number == own && self.spared != other.spared {
            // Nothing says which of the two stays.
            self.spared = None;
        }
        self.floor.merge(other.floor);
    }

    fn until(&self) -> u32 {
        self.floor.until()
    }
}

/// A client's floor; `all` when its tokens have ended whatever their number.
#[derive(Clone, Copy)]
struct ClientFloor {
    all: bool,
    floor: Floor,
}

impl Entry for ClientFloor {
    fn merge(&mut self, other: Self) {
        self.all |= other.all;
        self.floor.merge(other.floor);
    }

    fn until(&self) -> u32 {
        self.floor.until()
    }
}

/// One table of one shard.
struct Table<K, E>(HashMap<K, E, RandomState>);

impl<K: Hash + Eq, E: Entry> Table<K, E> {
    fn apply(&mut self, key: K, entry: E) {
        self.0.entry(key).and_modify(|own| own.merge(entry)).or_insert(entry);
    }

    /// What is held for `key` and can still matter.
    fn get(&self, key: &K, now: u32) -> Option<E> {
        self.0.get(key).copied().filter(|entry| entry.until() >= now)
    }

    /// Drops what is over. Whether anything was.
    fn sweep(&mut self, now: u32) -> bool {
        let before = self.0.len();
        self.0.retain(|_, entry| entry.until() >= now);
        if self.0.capacity() > 64 && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.len() * 2);
        }
        self.0.len() < before
    }

    /// The memory of a hash table as the standard library lays it out: a power of two of slots, of which seven in eight
    /// are used, each with its byte of control.
    fn heap_bytes(&self) -> usize {
        match self.0.capacity() {
            0 => 0,
            capacity => (capacity * 8).div_ceil(7).next_power_of_two() * (size_of::<(K, E)>() + 1) + 16,
        }
    }
}

struct Shard {
    users: Table<Key, Floor>,
    user_sessions: Table<Key, SparingFloor>,
    user_families: Table<Key, Floor>,
    user_clients: Table<(Key, Name), Floor>,
    sessions: Table<[u8; 24], Until>,
    sessions_expired: Table<[u8; 24], Until>,
    grants: Table<Key, Until>,
    clients: Table<Name, ClientFloor>,
    client_users: Table<Name, Floor>,
    signing_keys: Table<Name, Until>,
}

/// Does the same with every table of a shard.
macro_rules! each_table {
    ($shard:expr, $table:ident => $each:expr) => {
        [
            {
                let $table = &$shard.users;
                $each
            },
            {
                let $table = &$shard.user_families;
                $each
            },
            {
                let $table = &$shard.user_sessions;
                $each
            },
            {
                let $table = &$shard.user_clients;
                $each
            },
            {
                let $table = &$shard.sessions;
                $each
            },
            {
                let $table = &$shard.sessions_expired;
                $each
            },
            {
                let $table = &$shard.grants;
                $each
            },
            {
                let $table = &$shard.clients;
                $each
            },
            {
                let $table = &$shard.client_users;
                $each
            },
            {
                let $table = &$shard.signing_keys;
                $each
            },
        ]
    };
}

impl Shard {
    fn new(hasher: &RandomState) -> Self {
        fn table<K, E>(hasher: &RandomState) -> Table<K, E> {
            Table(HashMap::with_hasher(hasher.clone()))
        }
        Self {
            users: table(hasher),
            user_sessions: table(hasher),
            user_families: table(hasher),
            user_clients: table(hasher),
            sessions: table(hasher),
            sessions_expired: table(hasher),
            grants: table(hasher),
            clients: table(hasher),
            client_users: table(hasher),
            signing_keys: table(hasher),
        }
    }

    fn sweep(&mut self, now: u32) -> bool {
        let Self {
            users,
            user_sessions,
            user_families,
            user_clients,
            sessions,
            sessions_expired,
            grants,
            clients,
            client_users,
            signing_keys,
        } = self;
        let swept = [
            users.sweep(now),
            user_sessions.sweep(now),
            user_families.sweep(now),
            user_clients.sweep(now),
            sessions.sweep(now),
            sessions_expired.sweep(now),
            grants.sweep(now),
            clients.sweep(now),
            client_users.sweep(now),
            signing_keys.sweep(now),
        ];
        swept.contains(&true)
    }
}

/// The cutoffs that concern one API. Shared by those who ask and the one who applies.
pub struct View {
    audience: String,
    shards: Box<[RwLock<Shard>]>,
    /// The API's own deletion: tokens of when have ended, and until when that matters.
    deleted: RwLock<Option<(i64, u32)>>,
    /// Users' tokens of when are asked about, and until when that matters.
    all_users: RwLock<Option<(i64, u32)>>,
    /// Which shard is swept next.
    next: AtomicUsize,
    /// The latest instant for which something was dropped.
    swept_at: AtomicU32,
}

/// Nothing that holds a lock here can panic, so a poisoned one is as good as another.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn unix(now: Timestamp) -> u32 {
    u32::try_from(now.seconds().max(0)).unwrap_or(u32::MAX)
}

fn merge_instant(of: &RwLock<Option<(i64, u32)>>, at: i64, until: u32) {
    let mut of = write(of);
    let (own_at, own_until) = of.unwrap_or((at, until));
    *of = Some((own_at.max(at), own_until.max(until)));
}

impl View {
    /// Nothing has ended yet. `audience` is the identifier of the API.
    pub fn new(audience: &str) -> Self {
        let hasher = RandomState::new();
        Self {
            audience: audience.to_owned(),
            shards: (0..SHARDS).map(|_| RwLock::new(Shard::new(&hasher))).collect(),
            deleted: RwLock::new(None),
            all_users: RwLock::new(None),
            next: AtomicUsize::new(0),
            swept_at: AtomicU32::new(0),
        }
    }

    fn shard(&self, key: &[u8]) -> &RwLock<Shard> {
        // There is a shard for each byte, and no key is empty.
        &self.shards[usize::from(key[0])]
    }

    /// Takes in a cutoff. In whatever order, and however often they come, the view is the same.
    pub fn apply(&self, cutoff: &Cutoff) {
        let until = cutoff.until();
        match cutoff {
            Cutoff::User { user, number, .. } => {
                write(self.shard(&user.0)).users.apply(user.0, Floor::new(*number, until));
            }
            Cutoff::UserSessions { user, number, spared, .. } => {
                let spared = spared.map(|sid| sid.session.0);
                let entry = SparingFloor { floor: Floor::new(*number, until), spared };
                write(self.shard(&user.0)).user_sessions.apply(user.0, entry);
            }
            Cutoff::UserFamilies { user, number, .. } => {
                write(self.shard(&user.0)).user_families.apply(user.0, Floor::new(*number, until));
            }
            Cutoff::UserClient { user, client_id, number, .. } => {
                let key = (user.0, name(client_id));
                write(self.shard(&user.0)).user_clients.apply(key, Floor::new(*number, until));
            }
            Cutoff::Session { sid, .. } => {
                write(self.shard(&sid.user.0)).sessions.apply(sid_key(*sid), Until::new(until));
            }
            Cutoff::SessionExpired { sid, .. } => {
                write(self.shard(&sid.user.0)).sessions_expired.apply(sid_key(*sid), Until::new(until));
            }
            Cutoff::Grant { grant, .. } => {
                write(self.shard(&grant.0)).grants.apply(grant.0, Until::new(until));
            }
            Cutoff::Client { client_id, number, .. } => {
                let key = name(client_id);
                let floor = Floor::new(number.unwrap_or(i64::MIN), until);
                write(self.shard(&key)).clients.apply(key, ClientFloor { all: number.is_none(), floor });
            }
            Cutoff::ClientUsers { client_id, number, .. } => {
                let key = name(client_id);
                write(self.shard(&key)).client_users.apply(key, Floor::new(*number, until));
            }
            Cutoff::Audience { identifier, at, .. } => {
                // Another API's deletion is no business of this guard.
                if *identifier == self.audience {
                    merge_instant(&self.deleted, *at, until);
                }
            }
            Cutoff::Users { at, .. } => merge_instant(&self.all_users, *at, until),
            Cutoff::SigningKey { kid, .. } => {
                let key = name(kid);
                write(self.shard(&key)).signing_keys.apply(key, Until::new(until));
            }
        }
    }

    /// What the cutoffs say about a token, at an instant.
    pub fn judge(&self, facts: &TokenFacts<'_>, now: Timestamp) -> Verdict {
        let now = unix(now);
        let instant = |of: &RwLock<Option<(i64, u32)>>| {
            read(of).filter(|(at, until)| *until >= now && facts.issued_at <= *at).map(|(at, _)| at)
        };
        if instant(&self.deleted).is_some() {
            return Verdict::Ended;
        }
        if let Some(kid) = facts.kid {
            let key = name(kid);
            if read(self.shard(&key)).signing_keys.get(&key, now).is_some() {
                return Verdict::Ended;
            }
        }
        let client = facts.client_id.map(name);
        if client.is_some_and(|client| self.client_ended(client, facts, now)) {
            return Verdict::Ended;
        }
        if let Some(grant) = facts.grant
            && read(self.shard(&grant.0)).grants.get(&grant.0, now).is_some()
        {
            return Verdict::Ended;
        }
        let users = facts.user.and_then(|_| instant(&self.all_users));
        let mut question = Question { users, ..Question::default() };
        if let Some(sid) = facts.sid {
            let (key, shard) = (sid_key(sid), read(self.shard(&sid.user.0)));
            let expired = shard.sessions_expired.get(&key, now).is_some();
            if shard.sessions.get(&key, now).is_some() || (expired && facts.grant.is_none()) {
                return Verdict::Ended;
            }
            question.session_expired = expired;
        }
        if let (Some(user), Some(number)) = (facts.user, facts.user_number) {
            let shard = read(self.shard(&user.0));
            let below = |floor: &Floor| number < floor.number.get();
            if shard.users.get(&user.0, now).as_ref().is_some_and(below) {
                return Verdict::Ended;
            }
            if let Some(client) = client
                && shard.user_clients.get(&(user.0, client), now).as_ref().is_some_and(below)
            {
                return Verdict::Ended;
            }
            let sessions = shard.user_sessions.get(&user.0, now).filter(|entry| below(&entry.floor));
            if let Some(sessions) = sessions {
                match facts.sid {
                    None => question.sessions = Some(sessions.floor.number.get()),
                    Some(sid) if sid.user == user && sessions.spared == Some(sid.session.0) => {}
                    Some(_) => return Verdict::Ended,
                }
            }
            let families = shard.user_families.get(&user.0, now).filter(below);
            question.families = families.map(|floor| floor.number.get());
        }
        if question == Question::default() { Verdict::Lives } else { Verdict::Ask(question) }
    }

    fn client_ended(&self, client: Name, facts: &TokenFacts<'_>, now: u32) -> bool {
        let shard = read(self.shard(&client));
        let below = |floor: &Floor| facts.client_number.is_some_and(|number| number < floor.number.get());
        let client_users = || shard.client_users.get(&client, now);
        shard.clients.get(&client, now).is_some_and(|own| own.all || below(&own.floor))
            || (facts.user.is_some() && client_users().as_ref().is_some_and(below))
    }

    /// Drops what is over from one of the shards, each time the next one: 256 calls sweep the view once.
    pub fn sweep(&self, now: Timestamp) {
        let now = unix(now);
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let swept = write(&self.shards[turn]).sweep(now);
        if swept {
            self.swept_at.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Whether something was dropped that matters at this instant: the clock was far ahead, and was set back.
    pub fn is_blind_at(&self, now: Timestamp) -> bool {
        unix(now).saturating_add(UNTIL_SLACK_SECONDS) < self.swept_at.load(Ordering::Relaxed)
    }

    /// How many cutoffs are held.
    pub fn len(&self) -> usize {
        let instants = [&self.deleted, &self.all_users].map(|of| usize::from(read(of).is_some()));
        let of = |shard: &RwLock<Shard>| -> usize {
            let shard = read(shard);
            each_table!(shard, table => table.0.len()).into_iter().sum()
        };
        instants.iter().sum::<usize>() + self.shards.iter().map(of).sum::<usize>()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes.
    pub fn heap_bytes(&self) -> usize {
        let of = |shard: &RwLock<Shard>| -> usize {
            let shard = read(shard);
            each_table!(shard, table => table.heap_bytes()).into_iter().sum()
        };
        self.shards.len() * size_of::<RwLock<Shard>>() + self.shards.iter().map(of).sum::<usize>()
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("audience", &self.audience)
            .field("cutoffs", &self.len())
            .finish_non_exhaustive()
    }
}
