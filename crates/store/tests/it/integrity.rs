//! `verify` names what is broken.

use curfew_model::TenantId;
use curfew_store::verify::verify;
use curfew_store::{Lane, Statement, Store, params};
use curfew_testkit::both_engines;

curfew_store::statements! {
    pub(crate) HOLD_A_NAME = "insert into identifiers (tenant, connection_id, kind, value, user_key, identity_id) \
        values ($1, 'con_1', 'email', 'ada@example.com', $2, 'x')";
    pub(crate) RAISE_A_FLOOR = "insert into user_access (tenant, user_key, counter, credential_floor, session_floor, \
        family_floor, logins_count, sessions_bound) values ($1, $2, 1, 0, 2, 0, 0, 0)";
    pub(crate) SKIP_A_POSITION = "insert into feed_entries (lane, position, tenant, ending_id, at, cause, kind, keep_until) \
        values (0, 2, $1, $2, 0, 'rp_logout', 'session', 0)";
}

async fn wrong_after(store: &Store, corruption: &'static Statement) -> Vec<String> {
    store
        .transact(Lane::Ordinary, corruption, |tx, corruption| {
            let key: &[u8] = &[7; 12];
            Box::pin(async move { tx.run(corruption, params![TenantId(1), key]).await.map(drop) })
        })
        .await
        .expect("a corruption");
    store.read_long((), |tx, ()| Box::pin(verify(tx))).await.expect("a verdict")
}

both_engines! {
    /// A new store lacks only its keys, which the first start makes.
    fn what_is_broken_is_named(store) {
        let new = store.read_long((), |tx, ()| Box::pin(verify(tx))).await.expect("a verdict");
        assert_eq!(new, ["TENANTS_WITHOUT_SEALING_KEY: 1"]);
        let named = |wrong: Vec<String>, name: &str| wrong.iter().any(|line| line.starts_with(name));
        assert!(named(wrong_after(&store, &HOLD_A_NAME).await, "IDENTIFIERS_ORPHANED: 1"));
        let wrong = wrong_after(&store, &RAISE_A_FLOOR).await;
        assert!(named(wrong.clone(), "ACCESS_ORPHANED: 1") && named(wrong, "FLOORS_ABOVE_COUNTER: 1"));
        let wrong = wrong_after(&store, &SKIP_A_POSITION).await;
        assert!(named(wrong.clone(), "LANES_WITH_GAPS: 1") && named(wrong, "ENTRIES_WITHOUT_ENDING: 1"));
    }
}
