//! What configuration writes promise: versions move, names are taken once, keys move on.

use std::sync::Arc;

use curfew_model::{
    ClientId, Ctx, Failure, RequestId, RequestInfo, Secret, SystemEntropy, TenantId, Timestamp,
};
use curfew_store::signing_keys::{KeyState, NewSigningKey};
use curfew_store::{Lane, Store};
use curfew_testkit::{START, both_engines};

const TENANT: TenantId = TenantId(1);

fn ctx(now: Timestamp) -> Ctx {
    Ctx {
        now,
        entropy: Arc::new(SystemEntropy),
        tenant: TENANT,
        issuer: "https://id.example/".into(),
        request: Arc::new(RequestInfo {
            id: RequestId([0; 16]),
            ip: "192.0.2.1".into(),
            user_agent: "test".into(),
            host: "id.example".into(),
            nesting: 0,
            method: String::new(),
            language: String::new(),
        }),
    }
}

/// Runs a flow over the context of `START` that must commit.
macro_rules! commit {
    ($store:expr, |$tx:ident, $ctx:ident| $flow:expr) => {
        commit!($store, START, |$tx, $ctx| $flow)
    };
    ($store:expr, $now:expr, |$tx:ident, $ctx:ident| $flow:expr) => {
        $store
            .transact(Lane::Ordinary, ctx($now), |$tx, $ctx| {
                let _ = $ctx;
                Box::pin(async move { $flow })
            })
            .await
            .expect("the flow commits")
    };
}

async fn tenant_version(store: &Store) -> i64 {
    store
        .read((), |tx, ()| {
            Box::pin(async move {
                let (version, _) =
                    curfew_store::config::versions(tx, TENANT, &ClientId(String::new())).await?;
                Ok(version)
            })
        })
        .await
        .expect("a read")
}

async fn client_version(store: &Store, id: &'static str) -> Option<i64> {
    store
        .read(id, |tx, id| {
            Box::pin(async move {
                let (_, version) = curfew_store::config::versions(tx, TENANT, &ClientId::from(*id)).await?;
                Ok(version)
            })
        })
        .await
        .expect("a read")
}

async fn insert_client(store: &Store, now: Timestamp) -> bool {
    commit!(store, now, |tx, ctx| {
        let secret = Secret::new("sealed".to_owned());
        curfew_store::clients::insert(tx, ctx, &client_id(), "{}", &secret).await
    })
}

/// Whether the client's version moved with a write.
async fn moves_client<T>(store: &Store, write: impl Future<Output = T>) -> bool {
    let before = client_version(store, "client").await;
    write.await;
    client_version(store, "client").await > before
}

fn client_id() -> ClientId {
    ClientId::from("client")
}

fn key(kid: &str) -> NewSigningKey {
    NewSigningKey {
        kid: kid.to_owned(),
        alg: "RS256",
        wrapped: Secret::new(vec![1, 2, 3]),
        certificate: "PEM".to_owned(),
    }
}

async fn states(store: &Store) -> Vec<(String, KeyState)> {
    let keys = store
        .read((), |tx, ()| Box::pin(curfew_store::signing_keys::list(tx, TENANT)))
        .await
        .expect("a read");
    keys.into_iter().map(|key| (key.kid, key.state)).collect()
}

both_engines! {
    fn every_write_about_a_client_moves_its_version(store) {
        assert!(insert_client(&store, START).await);
        assert!(!insert_client(&store, START).await);
        assert!(moves_client(&store, async {
            commit!(store, |tx, ctx| {
                let id = client_id();
                let version = curfew_store::clients::find(tx, TENANT, &id).await?.expect("there").version;
                let taken = curfew_store::clients::update_doc(tx, TENANT, &id, "{\"a\":1}", version - 1).await?;
                assert!(!taken, "an older version must not win");
                assert!(curfew_store::clients::update_doc(tx, TENANT, &id, "{\"a\":1}", version).await?);
                Ok(())
            });
        }).await);
        assert!(moves_client(&store, async {
            commit!(store, |tx, ctx| {
                let (id, secret) = (client_id(), Secret::new("other".to_owned()));
                assert!(curfew_store::clients::update_secret(tx, TENANT, &id, &secret).await?);
                Ok(())
            });
        }).await);
        assert!(moves_client(&store, async {
            commit!(store, |tx, ctx| {
                let id = client_id();
                assert!(curfew_store::clients::touch(tx, TENANT, &id).await?);
                curfew_store::clients::insert_credential(tx, ctx, &id, "cred_1", "{}").await?;
                assert!(curfew_store::client_grants::insert(tx, ctx, "cgr_1", &id, "api", "{}").await?);
                assert!(!curfew_store::client_grants::insert(tx, ctx, "cgr_2", &id, "api", "{}").await?);
                Ok(())
            });
        }).await);
    }

    fn a_client_made_again_is_newer_than_every_copy_of_the_old_one(store) {
        assert!(insert_client(&store, START).await);
        commit!(store, |tx, ctx| {
            assert!(curfew_store::clients::touch(tx, TENANT, &client_id()).await?);
            curfew_store::client_grants::insert(tx, ctx, "cgr_1", &client_id(), "api", "{}").await
        });
        let old = client_version(&store, "client").await;
        assert!(commit!(store, |tx, ctx| {
            curfew_store::clients::delete(tx, TENANT, &client_id()).await
        }));
        assert_eq!(client_version(&store, "client").await, None);
        let left = commit!(store, |tx, ctx| curfew_store::client_grants::find(tx, TENANT, "cgr_1").await);
        assert!(left.is_none());
        assert!(insert_client(&store, START.plus_seconds(1)).await);
        assert!(client_version(&store, "client").await > old);
    }

    fn names_and_identifiers_are_taken_once(store) {
        let (first, second, api, again) = commit!(store, |tx, ctx| {
            curfew_store::tenants::touch(tx, TENANT).await?;
            let first = curfew_store::connections::insert(tx, ctx, "con_1", "Users", "auth0", "{}").await?;
            let second = curfew_store::connections::insert(tx, ctx, "con_2", "Users", "auth0", "{}").await?;
            let api = curfew_store::resource_servers::insert(tx, ctx, "1", "api", "{}", None).await?;
            let again = curfew_store::resource_servers::insert(tx, ctx, "2", "api", "{}", None).await?;
            Ok((first, second, api, again))
        });
        assert_eq!((first, second, api, again), (true, false, true, false));
        let version = tenant_version(&store).await;
        commit!(store, |tx, ctx| curfew_store::tenants::touch(tx, TENANT).await);
        assert_eq!(tenant_version(&store).await, version + 1);
    }

    fn what_a_disabling_ended_stays_ended(store) {
        let epoch = async || {
            let rows = commit!(store, |tx, ctx| curfew_store::config::get_tenant(tx, TENANT, &Default::default()).await);
            rows.connections[0].epoch_for(&client_id())
        };
        commit!(store, |tx, ctx| {
            curfew_store::connections::insert(tx, ctx, "con_1", "Users", "auth0", "{}").await?;
            curfew_store::connections::enable_for(tx, TENANT, "con_1", &client_id()).await
        });
        assert_eq!(epoch().await, Some(0));
        let off = async || commit!(store, |tx, ctx| {
            curfew_store::connections::disable_for(tx, TENANT, "con_1", &client_id()).await
        });
        assert!(off().await);
        assert_eq!(epoch().await, None);
        assert!(!off().await, "a second disabling finds it disabled");
        commit!(store, |tx, ctx| {
            curfew_store::connections::enable_for(tx, TENANT, "con_1", &client_id()).await
        });
        assert_eq!(epoch().await, Some(1));
    }

    fn a_shorter_life_time_counts_only_when_the_longer_tokens_are_over(store) {
        let longest = async |now: Timestamp| commit!(store, now, |tx, ctx| {
            curfew_store::endings::longest_lifetime(tx, TENANT, ctx.now).await
        });
        for (at, seconds) in [(0, 100), (10, 1000), (20, 50)] {
            let now = START.plus_seconds(at);
            match seconds {
                100 => commit!(store, now, |tx, ctx| curfew_store::resource_servers::set_lifetime(tx, ctx, "a", 100).await),
                1000 => commit!(store, now, |tx, ctx| curfew_store::resource_servers::set_lifetime(tx, ctx, "a", 1000).await),
                _ => commit!(store, now, |tx, ctx| curfew_store::resource_servers::set_lifetime(tx, ctx, "a", 50).await),
            }
        }
        assert_eq!(longest(START.plus_seconds(20)).await, 1000);
        assert_eq!(longest(START.plus_seconds(1019)).await, 1000);
        assert_eq!(longest(START.plus_seconds(1020)).await, 50);
    }

    fn there_is_one_current_and_one_next_key(store) {
        let stored = commit!(store, |tx, ctx| {
            let mut stored = Vec::new();
            for (kid, state) in [("a", KeyState::Current), ("b", KeyState::Current), ("c", KeyState::Next), ("d", KeyState::Next)] {
                stored.push(curfew_store::signing_keys::insert(tx, ctx, &key(kid), state).await?);
            }
            Ok::<_, Failure>(stored)
        });
        assert_eq!(stored, [true, false, true, false]);
        commit!(store, START.plus_seconds(1), |tx, ctx| {
            assert!(curfew_store::signing_keys::retire_current(tx, ctx, "RS256").await?);
            assert!(curfew_store::signing_keys::promote_next(tx, ctx, "RS256").await?);
            assert!(curfew_store::signing_keys::insert(tx, ctx, &key("e"), KeyState::Next).await?);
            assert!(curfew_store::signing_keys::revoke(tx, ctx, "a").await?);
            assert!(!curfew_store::signing_keys::revoke(tx, ctx, "a").await?);
            Ok(())
        });
        let expected = [("a", KeyState::Revoked), ("c", KeyState::Current), ("e", KeyState::Next)];
        assert_eq!(states(&store).await, expected.map(|(kid, state)| (kid.to_owned(), state)));
    }

    fn one_of_two_nodes_makes_the_sealing_key(store) {
        let made = commit!(store, |tx, ctx| {
            let wrapped = Secret::new(vec![1]);
            let first = curfew_store::signing_keys::insert_sealing_key(tx, ctx, 1, &wrapped).await?;
            let second = curfew_store::signing_keys::insert_sealing_key(tx, ctx, 1, &wrapped).await?;
            Ok((first, second, curfew_store::signing_keys::count_sealing_keys(tx, TENANT).await?))
        });
        assert_eq!(made, (true, false, 1));
    }
}
