//! What a flow can rely on, whichever engine runs it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use curfew_model::{Failure, OAuthCode, Refusal};
use curfew_store::{Engine, Lane, params};
use curfew_testkit::both_engines;

use crate::notes;

curfew_store::statements! {
    pub(crate) INSERT_RETURNING = "insert into notes (id, text) values ($1, $2) returning id, text";
    pub(crate) COMMIT = "commit";
    pub(crate) BROKEN = "update notes set nothing = 1";
}

both_engines! {
    fn ok_commits(store) {
        notes::create(&store).await;
        notes::insert(&store, 1).await.expect("a commit");
        assert_eq!(notes::find(&store, 1).await.as_deref(), Some("first"));
        assert_eq!(notes::find(&store, 2).await, None);
    }

    fn a_refusal_is_a_value_and_commits(store) {
        notes::create(&store).await;
        let refused: Result<Refusal, Failure> = store
            .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
                tx.run(&notes::INSERT, params![1_i64, "ended"]).await?;
                Ok(Refusal::new(OAuthCode::InvalidGrant, "no"))
            }))
            .await;
        assert_eq!(refused.expect("a value").code, OAuthCode::InvalidGrant);
        assert_eq!(notes::find(&store, 1).await.as_deref(), Some("ended"));
    }

    fn err_rolls_back(store) {
        notes::create(&store).await;
        let failed: Result<(), Failure> = store
            .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
                tx.run(&notes::INSERT, params![1_i64, "a"]).await?;
                Err(Failure::Crypto("no key".into()))
            }))
            .await;
        assert!(matches!(failed, Err(Failure::Crypto(_))), "{failed:?}");
        assert_eq!(notes::count(&store).await, 0);
        notes::insert(&store, 1).await.expect("the store goes on");
    }

    fn a_panic_is_that_flows_failure_alone(store) {
        notes::create(&store).await;
        let failed: Result<(), Failure> = store
            .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
                tx.run(&notes::INSERT, params![1_i64, "a"]).await?;
                panic!("inside a flow");
            }))
            .await;
        assert!(matches!(failed, Err(Failure::Internal(_))), "{failed:?}");
        let failed: Result<(), Failure> =
            store.read((), |_, ()| panic!("before there is a future")).await;
        assert!(matches!(failed, Err(Failure::Internal(_))), "{failed:?}");
        assert_eq!(notes::count(&store).await, 0);
        notes::insert(&store, 1).await.expect("the store goes on");
    }

    fn a_broken_uniqueness_rule_is_a_conflict(store) {
        notes::create(&store).await;
        notes::insert(&store, 1).await.expect("the first");
        let second = notes::insert(&store, 1).await;
        assert!(matches!(second, Err(Failure::Conflict)), "{second:?}");
    }

    // PostgreSQL cannot go on after a failed statement, so on SQLite a flow may not either.
    fn ok_after_a_failed_statement_does_not_commit(store) {
        notes::create(&store).await;
        notes::insert(&store, 1).await.expect("the first");
        // Kept aside: a panic in the flow would look like what is expected.
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mended: Result<(), Failure> = store
            .transact(Lane::Ordinary, Arc::clone(&seen), |tx, seen| Box::pin(async move {
                tx.run(&notes::INSERT, params![2_i64, "a"]).await?;
                for id in [1_i64, 3] {
                    let outcome = tx.run(&notes::INSERT, params![id, "a"]).await;
                    seen.lock().expect("nobody panics with it").push(outcome);
                }
                let outcome = tx.all(&notes::COUNT, params![]).await.map(|_| 0);
                seen.lock().expect("nobody panics with it").push(outcome);
                Ok(())
            }))
            .await;
        assert!(matches!(mended, Err(Failure::Internal(_))), "{mended:?}");
        let seen = std::mem::take(&mut *seen.lock().expect("nobody panics with it"));
        assert!(
            matches!(seen[..], [Err(Failure::Conflict), Err(Failure::Internal(_)), Err(Failure::Internal(_))]),
            "{seen:?}"
        );
        assert_eq!(notes::count(&store).await, 1);
    }

    fn a_flow_reads_its_own_writes_and_counts_rows(store) {
        notes::create(&store).await;
        let flow = store.transact(Lane::Endings, (), |tx, ()| Box::pin(async move {
            let row = tx.one(&INSERT_RETURNING, params![7_i64, "a"]).await?;
            assert_eq!((row.get::<i64>(0)?, row.get::<String>(1)?), (7, String::from("a")));
            assert_eq!(tx.run(&notes::INSERT_UNLESS_THERE, params![7_i64, "b"]).await?, 0);
            assert_eq!(tx.run(&notes::INSERT_UNLESS_THERE, params![8_i64, "b"]).await?, 1);
            assert_eq!(tx.run(&notes::UPDATE, params![9_i64, "c"]).await?, 0);
            assert_eq!(tx.run(&notes::UPDATE, params![8_i64, "c"]).await?, 1);
            tx.one(&notes::COUNT, params![]).await?.get::<i64>(0)
        }));
        assert_eq!(flow.await.expect("a commit"), 2);
        assert_eq!(notes::find(&store, 8).await.as_deref(), Some("c"));
    }

    fn a_command_commits_by_itself(store) {
        notes::create(&store).await;
        let id = store.command(Lane::Ordinary, 5_i64, |tx, id| Box::pin(async move {
            tx.one(&INSERT_RETURNING, params![*id, "a"]).await?.get::<i64>(0)
        }));
        assert_eq!(id.await.expect("a commit"), 5);
        assert_eq!(notes::count(&store).await, 1);
        let conflict = store.command(Lane::Ordinary, 5_i64, |tx, id| Box::pin(async move {
            tx.one(&INSERT_RETURNING, params![*id, "a"]).await?.get::<i64>(0)
        }));
        let conflict = conflict.await;
        assert!(matches!(conflict, Err(Failure::Conflict)), "{conflict:?}");
    }

    fn a_command_may_read_before_it_writes(store) {
        notes::create(&store).await;
        notes::insert(&store, 1).await.expect("a commit");
        let next = store.command(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
            let count: i64 = tx.one(&notes::COUNT, params![]).await?.get(0)?;
            tx.one(&INSERT_RETURNING, params![count + 1, "a"]).await?.get::<i64>(0)
        }));
        assert_eq!(next.await.expect("a commit"), 2);
        assert_eq!(notes::count(&store).await, 2);
    }

    // What writes has committed on PostgreSQL: whatever follows would be a transaction of its own.
    fn a_command_ends_with_what_it_writes_on_postgres(store) {
        notes::create(&store).await;
        let two = store.command(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
            tx.run(&notes::INSERT, params![1_i64, "a"]).await?;
            tx.run(&notes::UPDATE, params![1_i64, "b"]).await
        }));
        let two = two.await;
        match store.engine() {
            Engine::Postgres => assert!(matches!(two, Err(Failure::Internal(_))), "{two:?}"),
            Engine::Sqlite => {
                assert_eq!(two.expect("a commit"), 1);
                assert_eq!(notes::find(&store, 1).await.as_deref(), Some("b"));
            }
        }
    }

    fn a_read_cannot_write(store) {
        notes::create(&store).await;
        let written = store
            .read((), |tx, ()| Box::pin(async move { tx.one(&INSERT_RETURNING, params![1_i64, "a"]).await }))
            .await;
        assert!(matches!(written, Err(Failure::Internal(_))), "{written:?}");
        assert_eq!(notes::count(&store).await, 0);
    }

    fn a_flow_does_not_steer_its_transaction(store) {
        notes::create(&store).await;
        let steered: Result<(), Failure> = store
            .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
                tx.run(&notes::INSERT, params![1_i64, "a"]).await?;
                let _ = tx.run(&COMMIT, params![]).await;
                Ok(())
            }))
            .await;
        assert!(matches!(steered, Err(Failure::Internal(_))), "{steered:?}");
        assert_eq!(notes::count(&store).await, 0);
    }

    fn a_broken_statement_fails_with_its_name(store) {
        notes::create(&store).await;
        let broken = store
            .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move { tx.run(&BROKEN, params![]).await }))
            .await;
        assert!(
            matches!(&broken, Err(Failure::Storage { context, .. }) if context == "BROKEN"),
            "{broken:?}"
        );
        let wrong_count = store
            .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
                tx.run(&notes::INSERT, params![1_i64]).await
            }))
            .await;
        assert!(matches!(wrong_count, Err(Failure::Internal(_))), "{wrong_count:?}");
        notes::insert(&store, 1).await.expect("the store goes on");
    }

    fn one_means_one(store) {
        notes::create(&store).await;
        let none = store
            .read((), |tx, ()| Box::pin(async move { tx.one(&notes::FIND, params![1_i64]).await }))
            .await;
        assert!(matches!(none, Err(Failure::Inconsistent { table: "FIND", .. })), "{none:?}");
    }

    fn a_read_that_begins_after_a_commit_sees_it(store, database) {
        notes::create(&store).await;
        let other = database.open().await;
        for id in 0..100 {
            notes::insert(&store, id).await.expect("a commit");
            assert_eq!(notes::count(&store).await, id + 1);
            assert_eq!(notes::count(&other).await, id + 1);
            let long = store
                .read_long(id, |tx, id| Box::pin(async move { tx.all(&notes::FIND, params![*id]).await }))
                .await;
            assert_eq!(long.expect("a read").len(), 1);
        }
    }

    fn many_at_once_all_count(store) {
        notes::create(&store).await;
        let ran = Arc::new(AtomicU32::new(0));
        let flows = (0..200_i64).map(|id| {
            let (store, ran) = (store.clone(), Arc::clone(&ran));
            tokio::spawn(async move {
                let flow = store.transact(Lane::Ordinary, (id, ran), |tx, (id, ran)| {
                    Box::pin(async move {
                        ran.fetch_add(1, Ordering::Relaxed);
                        tx.run(&notes::INSERT, params![*id / 2, "a"]).await.map(drop)
                    })
                });
                flow.await
            })
        });
        let mut committed = 0;
        for flow in flows.collect::<Vec<_>>() {
            match flow.await.expect("no panic") {
                Ok(()) => committed += 1,
                Err(failure) => assert!(matches!(failure, Failure::Conflict), "{failure:?}"),
            }
        }
        assert_eq!(committed, 100);
        assert_eq!(notes::count(&store).await, 100);
        assert_eq!(ran.load(Ordering::Relaxed), 200);
    }

    fn what_was_committed_is_there_after_a_restart(store, database) {
        notes::create(&store).await;
        notes::insert(&store, 1).await.expect("a commit");
        drop(store);
        let store = database.open().await;
        assert_eq!(notes::count(&store).await, 1);
    }

    fn nothing_of_the_place_prints(store, database) {
        for text in [format!("{store:?}"), format!("{:?}", database.options())] {
            assert!(!text.contains("password") && !text.contains("user="), "{text}");
        }
    }
}
