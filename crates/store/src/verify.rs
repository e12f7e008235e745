//! Checks of the whole store that no single flow makes. Tests end with them; an operator may run them too. They scan, so
//! they are no part of any request.

use std::collections::BTreeSet;

use curfew_model::config::{ACTIONS_MAX, BINDINGS_MAX, MODULES_MAX, VERSIONS_MAX, read_doc};
use curfew_model::{EndingCause, EndingPolicies, Failure, Timestamp};

use crate::event_streams::STREAMS_MAX;
use crate::{Statement, Tx, params, policies, statements};

statements! {
    /// Each user has its access row and its index row.
    pub USERS_INCOMPLETE = "select count(*) from users u \
        left join user_access a on a.tenant = u.tenant and a.user_key = u.user_key \
        left join user_ids i on i.tenant = u.tenant and i.user_id = u.user_id and i.user_key = u.user_key \
        where a.user_key is null or i.user_key is null";
    /// No access row outlives its user.
    pub ACCESS_ORPHANED = "select count(*) from user_access a \
        where not exists (select 1 from users u where u.tenant = a.tenant and u.user_key = a.user_key)";
    /// No index row outlives its user.
    pub IDS_ORPHANED = "select count(*) from user_ids i \
        where not exists (select 1 from users u where u.tenant = i.tenant and u.user_key = i.user_key)";
    /// No identifier is held for nobody.
    pub IDENTIFIERS_ORPHANED = "select count(*) from identifiers x \
        where not exists (select 1 from users u where u.tenant = x.tenant and u.user_key = x.user_key)";
    /// No identifier names an identity that its user does not have.
    pub IDENTIFIERS_WITHOUT_IDENTITY = "select count(*) from identifiers x \
        where exists (select 1 from users u where u.tenant = x.tenant and u.user_key = x.user_key) \
        and not exists (select 1 from identities i where i.tenant = x.tenant and i.user_key = x.user_key \
            and i.identity_id = x.identity_id and i.connection_id = x.connection_id)";
    /// No identity outlives its user.
    pub IDENTITIES_ORPHANED = "select count(*) from identities i \
        where not exists (select 1 from users u where u.tenant = i.tenant and u.user_key = i.user_key)";
    /// No consent outlives its user.
    pub CONSENTS_ORPHANED = "select count(*) from grants g \
        where not exists (select 1 from users u where u.tenant = g.tenant and u.user_key = g.user_key)";
    /// Each user has one primary identity.
    pub USERS_WITHOUT_IDENTITY = "select count(*) from users u where (select count(*) from identities i \
        where i.tenant = u.tenant and i.user_key = u.user_key and i.position = 0) <> 1";
    /// A counter starts at the creation instant and only grows: a user who comes back does not fall back.
    pub COUNTERS_BELOW_CREATION = "select count(*) from users u join user_access a on a.tenant = u.tenant \
        and a.user_key = u.user_key where a.counter < u.created_at";
    /// No floor is above its counter.
    pub FLOORS_ABOVE_COUNTER = "select count(*) from user_access \
        where credential_floor > counter or session_floor > counter or family_floor > counter";
    /// Nor that of an identity above its user's counter.
    pub IDENTITY_FLOORS_ABOVE_COUNTER = "select count(*) from identities i join user_access a on a.tenant = i.tenant \
        and a.user_key = i.user_key where i.session_floor > a.counter";
    /// Nor that of a user and client.
    pub PAIR_FLOORS_ABOVE_COUNTER = "select count(*) from user_clients p join user_access a on a.tenant = p.tenant \
        and a.user_key = p.user_key where p.family_floor > a.counter";
    /// Nor those of a client above its own counter.
    pub CLIENT_FLOORS_ABOVE_COUNTER = "select count(*) from clients where floor > counter or token_floor > counter";
    /// No session remembers a counter its user never had.
    pub SESSIONS_FROM_THE_FUTURE = "select count(*) from sessions s join user_access a on a.tenant = s.tenant \
        and a.user_key = s.user_key where s.counter > a.counter";
    /// No family remembers a counter its user never had.
    pub FAMILIES_FROM_THE_FUTURE = "select count(*) from families f join user_access a on a.tenant = f.tenant \
        and a.user_key = f.user_key where f.counter > a.counter";
    /// Nor one its client never had.
    pub FAMILIES_FROM_THE_CLIENTS_FUTURE = "select count(*) from families f join clients c on c.tenant = f.tenant \
        and c.client_id = f.client_id where f.client_counter > c.counter";
    /// An ended session stays as long as a family that began in it.
    pub FAMILIES_WITHOUT_SESSION = "select count(*) from families f where f.session_key is not null \
        and not exists (select 1 from sessions s where s.tenant = f.tenant and s.user_key = f.user_key \
            and s.session_key = f.session_key)";
    /// Participants go with their session.
    pub PARTICIPANTS_WITHOUT_SESSION = "select count(*) from session_clients p \
        where not exists (select 1 from sessions s where s.tenant = p.tenant and s.user_key = p.user_key \
            and s.session_key = p.session_key)";
    /// No session lives longer idle than in any case.
    pub SESSIONS_IDLE_BEYOND_THEIR_END = "select count(*) from sessions where idle_expires_at > expires_at";
    /// Nor does a family.
    pub FAMILIES_IDLE_BEYOND_THEIR_END = "select count(*) from families where idle_expires_at > expires_at";
    /// What ended has a cause, and what has not has none.
    pub ENDED_WITHOUT_CAUSE = "select (select count(*) from sessions where (ended_at is null) <> (ended_cause is null)) \
        + (select count(*) from families where (ended_at is null) <> (ended_cause is null))";
    /// One way out: a session that ended has its ending.
    pub SESSIONS_WITHOUT_ENDING = "select count(*) from sessions s where s.ended_at is not null and not exists \
        (select 1 from endings e where e.tenant = s.tenant and e.user_key = s.user_key and e.at = s.ended_at \
            and e.session_key = s.session_key)";
    /// A family has its own, or its session's, or its client's.
    pub FAMILIES_WITHOUT_ENDING = "select count(*) from families f where f.ended_at is not null and not exists \
        (select 1 from endings e where e.tenant = f.tenant and e.user_key = f.user_key and e.at = f.ended_at \
            and (e.grant_key = f.grant_key or e.session_key = f.session_key or e.client_id = f.client_id))";
    /// The key that sealed a session's cookie or a family's newest token is known.
    pub SEALED_WITH_NO_KEY = "select (select count(*) from sessions s where not exists (select 1 from sealing_keys k \
            where k.tenant = s.tenant and k.id = s.sealing_key)) \
        + (select count(*) from families f where not exists (select 1 from sealing_keys k \
            where k.tenant = f.tenant and k.id = f.sealing_key))";
    /// No user has more living sessions than the cap.
    pub SESSIONS_BEYOND_CAP = "select count(*) from (select s.tenant, s.user_key from sessions s \
        join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        where s.ended_at is null and s.counter >= a.session_floor and s.expires_at > $1 and s.idle_expires_at > $1 \
        group by s.tenant, s.user_key having count(*) > $2) crowded";
    /// Nor more than the bound beside the counter, which decides when they are counted.
    pub SESSIONS_BEYOND_BOUND = "select count(*) from (select s.tenant, s.user_key from sessions s \
        join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        where s.ended_at is null and s.counter >= a.session_floor and s.expires_at > $1 and s.idle_expires_at > $1 \
        group by s.tenant, s.user_key having count(*) > max(a.sessions_bound)) crowded";
    /// No user has more living families at one client than the cap.
    pub FAMILIES_BEYOND_CAP = "select count(*) from (select f.tenant, f.user_key, f.client_id from families f \
        join user_access a on a.tenant = f.tenant and a.user_key = f.user_key \
        left join user_clients p on p.tenant = f.tenant and p.user_key = f.user_key and p.client_id = f.client_id \
        where f.ended_at is null and f.counter >= a.family_floor and f.counter >= coalesce(p.family_floor, 0) \
        and (f.expires_at is null or f.expires_at > $1) and (f.idle_expires_at is null or f.idle_expires_at > $1) \
        group by f.tenant, f.user_key, f.client_id having count(*) > $2) crowded";
    /// Nor more than the bound in the row of user and client, which must be there.
    pub FAMILIES_BEYOND_BOUND = "select count(*) from (select f.tenant, f.user_key, f.client_id from families f \
        join user_access a on a.tenant = f.tenant and a.user_key = f.user_key \
        left join user_clients p on p.tenant = f.tenant and p.user_key = f.user_key and p.client_id = f.client_id \
        where f.ended_at is null and f.counter >= a.family_floor and f.counter >= coalesce(p.family_floor, 0) \
        and (f.expires_at is null or f.expires_at > $1) and (f.idle_expires_at is null or f.idle_expires_at > $1) \
        group by f.tenant, f.user_key, f.client_id having count(*) > max(coalesce(p.families_bound, 0))) crowded";
    /// A policy is the tenant's, or that of a client that is there.
    pub POLICIES_WITHOUT_CLIENT = "select count(*) from ending_policies p where p.client_id <> '' and not exists \
        (select 1 from clients c where c.tenant = p.tenant and c.client_id = p.client_id)";
    /// What a document says is what endings read: each document that may say something.
    pub POLICIES_UNLIKE_DOCUMENTS = "select tenant, '' as client_id, settings as doc from tenants \
            where settings like '%ending_policies%' \
        union all select tenant, client_id, doc from clients where doc like '%ending_policies%'";
    /// Only what has ended has spared anything.
    pub SPARED_BY_NOTHING = "select count(*) from sessions where spares is not null and ended_at is null";
    /// Each ending has its fan-out row.
    pub ENDINGS_WITHOUT_FANOUT = "select count(*) from endings e where not exists (select 1 from fanouts f \
        where f.tenant = e.tenant and f.ending_id = e.ending_id)";
    /// And no fan-out row is without.
    pub FANOUTS_WITHOUT_ENDING = "select count(*) from fanouts f where not exists (select 1 from endings e \
        where e.tenant = f.tenant and e.ending_id = f.ending_id)";
    /// What fell is there until it is worked out who has to hear of it.
    pub FANOUTS_WITHOUT_SESSION = "select count(*) from fanouts f join endings e on e.tenant = f.tenant \
        and e.ending_id = f.ending_id where f.expanded_at is null and e.session_key is not null \
        and not exists (select 1 from sessions s where s.tenant = e.tenant and s.user_key = e.user_key \
            and s.session_key = e.session_key)";
    /// Each delivery tells of an ending, or of a change.
    pub DELIVERIES_WITHOUT_ENDING = "select count(*) from deliveries d where (d.ending_id is not null \
        or d.kind = 'logout_token') and not exists (select 1 from endings e \
        where e.tenant = d.tenant and e.ending_id = d.ending_id)";
    /// It waits, or it is over: never both, never in a state that nobody knows.
    pub DELIVERIES_HALF_SETTLED = "select count(*) from deliveries where (state = 'waiting') <> (settled_at is null) \
        or state not in ('waiting', 'confirmed', 'dead', 'superseded', 'cancelled', 'expired')";
    /// Nothing was confirmed without having been tried, nor by an answer that confirms nothing.
    pub DELIVERIES_CONFIRMED_BY_NOBODY = "select count(*) from deliveries where state = 'confirmed' \
        and (attempts = 0 or last_status is null or last_status < 200 or last_status > 299)";
    /// Each delivery has what its kind is made of; a logout token without a session says how far back it reaches.
    pub DELIVERIES_OF_NOTHING = "select count(*) from deliveries where (kind = 'logout_token' and (user_key is null \
        or (session_key is null and counter is null) or url is null or alg is null or initiator is null)) \
        or (kind in ('security_event', 'event') and (event_type is null or body is null)) \
        or kind not in ('logout_token', 'security_event', 'event')";
    /// A stream is told of something or not.
    pub EVENT_STREAMS_HALF_ENABLED = "select count(*) from event_streams where enabled not in (0, 1) \
        or (previous_secret is null) <> (previous_until is null)";
    /// No tenant has more streams than it may have.
    pub EVENT_STREAMS_BEYOND_CAP = "select count(*) from (select tenant from event_streams group by tenant \
        having count(*) > $1) crowded";
    /// No tenant has more Actions than it may have.
    pub ACTIONS_BEYOND_CAP = "select count(*) from (select tenant from actions group by tenant having count(*) > $1) crowded";
    /// A draft is built, has failed, or a build is due; only what is built has been built.
    pub ACTIONS_HALF_BUILT = "select count(*) from actions where status not in ('pending', 'building', 'packaged', 'built', \
        'retrying', 'failed') or (build_at is null) <> (status in ('built', 'failed')) \
        or (built_at is not null) <> (status = 'built') or deploy not in (0, 1)";
    /// What is deployed is a version of it, and none is newer than it knows.
    pub ACTIONS_WITHOUT_VERSION = "select (select count(*) from actions a where a.deployed_version is not null and not exists \
            (select 1 from action_versions v where v.tenant = a.tenant and v.version_id = a.deployed_version \
                and v.action_id = a.action_id)) \
        + (select count(*) from actions a join action_versions v on v.tenant = a.tenant and v.action_id = a.action_id \
            where v.number > a.last_number or a.deployed_revision > a.revision)";
    /// Versions go with their Action.
    pub VERSIONS_WITHOUT_ACTION = "select count(*) from action_versions v where not exists (select 1 from actions a \
        where a.tenant = v.tenant and a.action_id = v.action_id)";
    /// No Action has more versions than are kept.
    pub VERSIONS_BEYOND_CAP = "select count(*) from (select tenant, action_id from action_versions \
        group by tenant, action_id having count(*) > $1) crowded";
    /// What is bound is deployed.
    pub BOUND_TO_NOTHING = "select count(*) from action_bindings b where not exists (select 1 from actions a \
        where a.tenant = b.tenant and a.action_id = b.action_id and a.deployed_version is not null)";
    /// At each trigger the bindings are in order, and no more than may be.
    pub BOUND_OUT_OF_ORDER = "select count(*) from (select tenant, trigger_id from action_bindings group by tenant, trigger_id \
        having min(position) <> 0 or max(position) <> count(*) - 1 or count(*) > $1) disordered";
    /// What Actions stand on is kept.
    pub PACKAGES_LOST = "select (select count(*) from actions a where a.packages is not null and not exists \
            (select 1 from action_packages p where p.tenant = a.tenant and p.digest = a.packages)) \
        + (select count(*) from action_versions v where v.packages is not null and not exists \
            (select 1 from action_packages p where p.tenant = v.tenant and p.digest = v.packages))";
    /// Nothing is run that this server did not compile.
    pub BYTECODE_WITHOUT_MAC = "select count(*) from action_bytecode where length(mac) <> 32";
    /// What was published last is a version of the module, and none is newer than it knows.
    pub MODULES_WITHOUT_VERSION = "select (select count(*) from action_modules m where m.latest_version is not null \
            and not exists (select 1 from action_module_versions v where v.tenant = m.tenant \
                and v.version_id = m.latest_version and v.module_id = m.module_id)) \
        + (select count(*) from action_modules m join action_module_versions v on v.tenant = m.tenant \
            and v.module_id = m.module_id where v.number > m.last_number or m.latest_revision > m.revision)";
    /// Its versions go with it.
    pub VERSIONS_WITHOUT_MODULE = "select count(*) from action_module_versions v where not exists (select 1 \
        from action_modules m where m.tenant = v.tenant and m.module_id = v.module_id)";
    /// No tenant has more modules than it may have.
    pub MODULES_BEYOND_CAP = "select count(*) from (select tenant from action_modules group by tenant \
        having count(*) > $1) crowded";
    /// What ran ended after it had begun, in one of the ways that are known.
    pub EXECUTIONS_AWRY = "select count(*) from action_executions where updated_at < created_at \
        or status not in ('final', 'partial', 'canceled', 'suspended')";
    /// What is to run waits at a trigger that nobody waits for, and no less than from its beginning.
    pub RUNS_AWRY = "select count(*) from action_runs where due_at < created_at or attempts < 0 \
        or trigger_id not in ('post-user-registration', 'post-change-password')";
    /// A stream goes with its client.
    pub STREAMS_WITHOUT_CLIENT = "select count(*) from signal_streams s where not exists (select 1 from clients c \
        where c.tenant = s.tenant and c.client_id = s.client_id)";
    /// Nobody knows another status.
    pub STREAMS_IN_NO_STATUS = "select count(*) from signal_streams \
        where status not in ('enabled', 'paused', 'disabled')";
    /// A stream knows how many subjects it has.
    pub STREAMS_MISCOUNTED = "select count(*) from signal_streams s where s.subjects <> (select count(*) \
        from signal_subjects x where x.tenant = s.tenant and x.stream_id = s.stream_id)";
    /// Subjects go with their stream.
    pub SUBJECTS_WITHOUT_STREAM = "select count(*) from signal_subjects x where not exists (select 1 \
        from signal_streams s where s.tenant = x.tenant and s.stream_id = x.stream_id)";
    /// Each feed entry belongs to an ending.
    pub ENTRIES_WITHOUT_ENDING = "select count(*) from feed_entries f where not exists (select 1 from endings e \
        where e.tenant = f.tenant and e.ending_id = f.ending_id)";
    /// Each feed entry is in a lane; the feed's number is none.
    pub ENTRIES_WITHOUT_LANE = "select count(*) from feed_entries f \
        where not exists (select 1 from feed_lanes l where l.lane = f.lane and l.lane < 1000000)";
    /// The feed has a number.
    pub FEED_WITHOUT_NUMBER = "select count(*) from (select max(lane) as last from feed_lanes) l where l.last <> 1000000";
    /// Within a lane positions have no gap, and the head is the last one.
    pub LANES_WITH_GAPS = "select count(*) from feed_lanes l join (select lane, min(position) as first, \
        max(position) as last, count(*) as entries from feed_entries group by lane) e on e.lane = l.lane \
        where e.last <> l.head or e.last - e.first + 1 <> e.entries";
    /// What guards have heard of is an ending.
    pub HEARD_WITHOUT_ENDING = "select count(*) from ending_guards g where not exists (select 1 from endings e \
        where e.tenant = g.tenant and e.ending_id = g.ending_id)";
    /// Nobody has heard of it before it was, by more than the clocks of two nodes may differ.
    pub HEARD_BEFORE_ENDING = "select count(*) from ending_guards g join endings e on e.tenant = g.tenant \
        and e.ending_id = g.ending_id where g.settled_at < e.at - 10000000";
    /// A node with guards says how long they trust it, and one without says nothing of that.
    pub NODES_HALF_SAID = "select count(*) from feed_nodes where guards < 0 or lease_seconds < 0 \
        or (guards = 0) <> (lease_seconds = 0)";
    /// Each entry of a status list is in one, at an index that is there.
    pub STATUSES_IN_NO_LIST = "select count(*) from status_entries e where e.idx < 0 or e.idx >= 131072 or not exists \
        (select 1 from status_lists l where l.tenant = e.tenant and l.list_id = e.list_id)";
    /// And stands for a user's tokens, or for a client's own, which know no session.
    pub STATUSES_OF_NOBODY = "select count(*) from status_entries where length(grant_key) <> 12 \
        or length(user_key) not in (0, 12) or length(session_key) not in (0, length(user_key))";
    /// No client grant outlives its client.
    pub GRANTS_WITHOUT_CLIENT = "select count(*) from client_grants g where not exists (select 1 from clients c \
        where c.tenant = g.tenant and c.client_id = g.client_id)";
    /// Nor do its credentials, nor what connections know of it.
    pub CREDENTIALS_WITHOUT_CLIENT = "select count(*) from client_credentials k where not exists \
        (select 1 from clients c where c.tenant = k.tenant and c.client_id = k.client_id)";
    /// A connection is enabled for clients that are there, and goes with its rows.
    pub ENABLED_FOR_NOBODY = "select count(*) from connection_clients x where not exists \
            (select 1 from clients c where c.tenant = x.tenant and c.client_id = x.client_id) \
        or not exists (select 1 from connections c where c.tenant = x.tenant and c.id = x.connection_id)";
    /// How long cutoffs for an API must be kept is remembered.
    pub APIS_WITHOUT_LIFETIME = "select count(*) from resource_servers r where not exists \
        (select 1 from token_lifetimes l where l.tenant = r.tenant and l.audience = r.identifier)";
    /// Each tenant can sign.
    pub TENANTS_WITHOUT_SIGNING_KEY = "select count(*) from tenants t where not exists (select 1 from signing_keys k \
        where k.tenant = t.tenant and k.state = 'current')";
    /// Each tenant has one current sealing key.
    pub TENANTS_WITHOUT_SEALING_KEY = "select count(*) from tenants t where (select count(*) from sealing_keys k \
        where k.tenant = t.tenant and k.state = 'current') <> 1";
    /// Each host belongs to a tenant.
    pub DOMAINS_WITHOUT_TENANT = "select count(*) from tenant_domains d \
        where not exists (select 1 from tenants t where t.tenant = d.tenant)";
    /// Causes as they were written; each must be in the catalogue.
    pub UNKNOWN_CAUSES = "select distinct cause from (select ended_cause as cause from sessions \
        union all select ended_cause from families union all select cause from endings) c where cause is not null";
}

/// What the store cannot know by itself.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// When this is asked: what lives then is counted.
    pub now: Timestamp,
    /// Living sessions of one user.
    pub sessions_max: usize,
    /// Living families of one user and client.
    pub families_max: usize,
}

/// The name of each check, in order.
pub fn checks() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|statement| statement.name)
}

/// What is wrong, one line a check; empty when all is well.
pub async fn verify(tx: &mut Tx, bounds: &Bounds) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for check in ALL {
        let count = count(tx, check, bounds).await?;
        if count > 0 {
            wrong.push(format!("{}: {count}", check.name));
        }
    }
    Ok(wrong)
}

async fn count(tx: &mut Tx, check: &'static Statement, bounds: &Bounds) -> Result<i64, Failure> {
    let max = |max: usize| i64::try_from(max).unwrap_or(i64::MAX);
    let now = bounds.now;
    let row = match check.name {
        "SESSIONS_BEYOND_CAP" => tx.one(check, params![now, max(bounds.sessions_max)]).await?,
        "FAMILIES_BEYOND_CAP" => tx.one(check, params![now, max(bounds.families_max)]).await?,
        "ACTIONS_BEYOND_CAP" => tx.one(check, params![max(ACTIONS_MAX)]).await?,
        "VERSIONS_BEYOND_CAP" => tx.one(check, params![max(VERSIONS_MAX)]).await?,
        "BOUND_OUT_OF_ORDER" => tx.one(check, params![max(BINDINGS_MAX)]).await?,
        "MODULES_BEYOND_CAP" => tx.one(check, params![max(MODULES_MAX)]).await?,
        "EVENT_STREAMS_BEYOND_CAP" => tx.one(check, params![max(STREAMS_MAX)]).await?,
        "SESSIONS_BEYOND_BOUND" | "FAMILIES_BEYOND_BOUND" => tx.one(check, params![now]).await?,
        "POLICIES_UNLIKE_DOCUMENTS" => return policies_unlike_documents(tx, check).await,
        "UNKNOWN_CAUSES" => {
            let mut unknown = 0;
            for row in tx.all(check, params![]).await? {
                let cause: String = row.get(0)?;
                unknown += i64::from(EndingCause::parse(&cause).is_none());
            }
            return Ok(unknown);
        }
        _ => tx.one(check, params![]).await?,
    };
    row.get(0)
}

/// How many choices stand in a document or in a row, and not in both.
async fn policies_unlike_documents(tx: &mut Tx, documents: &'static Statement) -> Result<i64, Failure> {
    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(default)]
        ending_policies: Option<EndingPolicies>,
    }
    let mut said = BTreeSet::new();
    for row in tx.all(documents, params![]).await? {
        let (tenant, client, doc): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let doc: Document = read_doc("clients", &client, &doc)?;
        for (cause, artefact, choice) in doc.ending_policies.iter().flat_map(EndingPolicies::iter) {
            let choice = choice.as_str().to_owned();
            said.insert((tenant, client.clone(), cause.to_owned(), artefact.to_owned(), choice));
        }
    }
    let mut read = BTreeSet::new();
    for row in tx.all(&policies::EVERY, params![]).await? {
        let (tenant, client): (i64, String) = (row.get(0)?, row.get(1)?);
        let (cause, artefact, choice): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
        read.insert((tenant, client, cause, artefact, choice));
    }
    Ok(i64::try_from(said.symmetric_difference(&read).count()).unwrap_or(i64::MAX))
}
