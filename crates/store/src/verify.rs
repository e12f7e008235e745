//! Checks of the whole store that no single flow makes. Tests end with them; an operator may run them too. They scan, so
//! they are no part of any request.

use curfew_model::Failure;

use crate::{Statement, Tx, params, statements};

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
    /// Each user has a primary identity.
    pub USERS_WITHOUT_IDENTITY = "select count(*) from users u where not exists (select 1 from identities i \
        where i.tenant = u.tenant and i.user_key = u.user_key and i.position = 0)";
    /// No floor is above its counter.
    pub FLOORS_ABOVE_COUNTER = "select count(*) from user_access \
        where credential_floor > counter or session_floor > counter or family_floor > counter";
    /// No session remembers a counter its user never had.
    pub SESSIONS_FROM_THE_FUTURE = "select count(*) from sessions s join user_access a on a.tenant = s.tenant \
        and a.user_key = s.user_key where s.counter > a.counter";
    /// No family remembers a counter its user never had.
    pub FAMILIES_FROM_THE_FUTURE = "select count(*) from families f join user_access a on a.tenant = f.tenant \
        and a.user_key = f.user_key where f.counter > a.counter";
    /// Each ending has its fan-out row.
    pub ENDINGS_WITHOUT_FANOUT = "select count(*) from endings e where not exists (select 1 from fanouts f \
        where f.tenant = e.tenant and f.ending_id = e.ending_id)";
    /// Each feed entry belongs to an ending.
    pub ENTRIES_WITHOUT_ENDING = "select count(*) from feed_entries f where not exists (select 1 from endings e \
        where e.tenant = f.tenant and e.ending_id = f.ending_id)";
    /// Within a lane positions have no gap, and the head is the last one.
    pub LANES_WITH_GAPS = "select count(*) from feed_lanes l join (select lane, min(position) as first, \
        max(position) as last, count(*) as entries from feed_entries group by lane) e on e.lane = l.lane \
        where e.last <> l.head or e.last - e.first + 1 <> e.entries";
    /// No client grant outlives its client.
    pub GRANTS_WITHOUT_CLIENT = "select count(*) from client_grants g where not exists (select 1 from clients c \
        where c.tenant = g.tenant and c.client_id = g.client_id)";
    /// Each tenant has one current sealing key.
    pub TENANTS_WITHOUT_SEALING_KEY = "select count(*) from tenants t where (select count(*) from sealing_keys k \
        where k.tenant = t.tenant and k.state = 'current') <> 1";
}

/// What is wrong, one line a check; empty when all is well.
pub async fn verify(tx: &mut Tx) -> Result<Vec<String>, Failure> {
    let checks: [&'static Statement; 13] = [
        &USERS_INCOMPLETE,
        &ACCESS_ORPHANED,
        &IDS_ORPHANED,
        &IDENTIFIERS_ORPHANED,
        &USERS_WITHOUT_IDENTITY,
        &FLOORS_ABOVE_COUNTER,
        &SESSIONS_FROM_THE_FUTURE,
        &FAMILIES_FROM_THE_FUTURE,
        &ENDINGS_WITHOUT_FANOUT,
        &ENTRIES_WITHOUT_ENDING,
        &LANES_WITH_GAPS,
        &GRANTS_WITHOUT_CLIENT,
        &TENANTS_WITHOUT_SEALING_KEY,
    ];
    let mut wrong = Vec::new();
    for check in checks {
        let count: i64 = tx.one(check, params![]).await?.get(0)?;
        if count > 0 {
            wrong.push(format!("{}: {count}", check.name));
        }
    }
    Ok(wrong)
}
