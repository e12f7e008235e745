//! What goes in comes out, alike on both engines.

use curfew_model::{
    ClientId, EndingCause, EndingId, Failure, GrantKey, RequestId, Secret, SessionKey, TenantId, Timestamp,
    UserId, UserKey,
};
use curfew_store::{Lane, Row, Store, params};
use curfew_testkit::both_engines;

curfew_store::statements! {
    pub(crate) CREATE = {
        postgres: "create table kinds (id bigint not null primary key, n bigint, t text, b bytea)",
        sqlite: "create table kinds (id bigint not null primary key, n bigint, t text, b blob)",
    };
    pub(crate) WRITE = "insert into kinds (id, n, t, b) values (1, $1, $2, $3)
        on conflict (id) do update set n = excluded.n, t = excluded.t, b = excluded.b returning n, t, b";
    pub(crate) SELECT = "select n, t, b from kinds where id = 1";
    pub(crate) EXPRESSIONS = "select count(*), exists (select 1 from kinds where id = $1), 1 = 2, 1, 'a',
        max(n) + 1, coalesce(max(t), 'b') from kinds";
    pub(crate) CAST = "select n from kinds where b = cast($1 as bytea) and n >= cast($2 as bigint)";
    pub(crate) OUT_OF_ORDER = "select n from kinds where t = $2 and n = $1 and t = $2";
    pub(crate) SMALL = "select 1 where 1 = $1";
    pub(crate) FRACTION = "select 0.5";
}

async fn create(store: &Store) {
    let made = store
        .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move { tx.run(&CREATE, params![]).await }));
    made.await.expect("the table is made");
}

/// Writes one row and answers it as the statement returned it and as it was read again.
async fn write(
    store: &Store,
    n: Option<i64>,
    t: Option<&str>,
    b: Option<&[u8]>,
) -> Result<[Row; 2], Failure> {
    let args = (n, t.map(str::to_owned), b.map(<[u8]>::to_owned));
    let flow = store.transact(Lane::Ordinary, args, |tx, (n, t, b)| {
        Box::pin(
            async move { Ok([tx.one(&WRITE, params![*n, t, b]).await?, tx.one(&SELECT, params![]).await?]) },
        )
    });
    flow.await
}

fn is_inconsistent<T: std::fmt::Debug>(value: Result<T, Failure>, named: &str) {
    match value {
        Err(Failure::Inconsistent { column, .. }) => assert_eq!(column, named),
        other => panic!("{other:?}"),
    }
}

both_engines! {
    fn every_value_comes_back(store) {
        create(&store).await;
        let long = "é😀'\"\\\n".repeat(1000);
        for (n, t, b) in [
            (None, None, None),
            (Some(0), Some(""), Some(&b""[..])),
            (Some(i64::MIN), Some("$1 ?1"), Some(&[0, 255, 0][..])),
            (Some(i64::MAX), Some(long.as_str()), Some(&[7; 5000][..])),
        ] {
            for row in write(&store, n, t, b).await.expect("a row") {
                assert_eq!(row.len(), 3);
                assert_eq!(row.get::<Option<i64>>(0).expect("a number"), n);
                assert_eq!(row.get::<Option<String>>(1).expect("a text").as_deref(), t);
                assert_eq!(row.get::<Option<Vec<u8>>>(2).expect("bytes").as_deref(), b);
            }
        }
    }

    fn types_of_the_model_come_back(store) {
        create(&store).await;
        let [_, row] = write(&store, Some(1), Some("rp_logout"), Some(&[9; 12])).await.expect("a row");
        assert_eq!(row.get::<u32>(0).expect("it fits"), 1);
        assert!(row.get::<bool>(0).expect("it fits"));
        assert_eq!(row.get::<Timestamp>(0).expect("it fits"), Timestamp::from_micros(1));
        assert_eq!(row.get::<TenantId>(0).expect("it fits"), TenantId(1));
        assert_eq!(row.get::<Secret<String>>(1).expect("it fits").expose(), "rp_logout");
        assert_eq!(row.get::<UserId>(1).expect("it fits").as_str(), "rp_logout");
        assert_eq!(row.get::<ClientId>(1).expect("it fits").as_str(), "rp_logout");
        assert_eq!(row.get::<EndingCause>(1).expect("it fits"), EndingCause::RpLogout);
        assert_eq!(row.get::<[u8; 12]>(2).expect("it fits"), [9; 12]);
        assert_eq!(row.get::<UserKey>(2).expect("it fits"), UserKey([9; 12]));
        assert_eq!(row.get::<SessionKey>(2).expect("it fits"), SessionKey([9; 12]));
        assert_eq!(row.get::<GrantKey>(2).expect("it fits"), GrantKey([9; 12]));
        assert_eq!(row.get::<Option<GrantKey>>(2).expect("it fits"), Some(GrantKey([9; 12])));
        let [_, row] = write(&store, None, None, Some(&[9; 16])).await.expect("a row");
        assert_eq!(row.get::<EndingId>(2).expect("it fits"), EndingId([9; 16]));
        assert_eq!(row.get::<RequestId>(2).expect("it fits"), RequestId([9; 16]));
    }

    fn a_row_that_makes_no_sense_is_refused(store) {
        create(&store).await;
        let [_, row] = write(&store, None, Some("a"), Some(&[9; 11])).await.expect("a row");
        is_inconsistent(row.get::<i64>(0), "0");
        is_inconsistent(row.get::<i64>(1), "1");
        is_inconsistent(row.get::<String>(0), "0");
        is_inconsistent(row.get::<EndingCause>(1), "1");
        is_inconsistent(row.get::<Option<Vec<u8>>>(1), "1");
        is_inconsistent(row.get::<UserKey>(2), "2");
        is_inconsistent(row.get::<[u8; 12]>(2), "2");
        is_inconsistent(row.get::<i64>(3), "3");
        let [_, row] = write(&store, Some(-2), None, None).await.expect("a row");
        is_inconsistent(row.get::<u32>(0), "0");
        is_inconsistent(row.get::<bool>(0), "0");
        let fraction = store
            .read((), |tx, ()| Box::pin(async move { tx.one(&FRACTION, params![]).await?.get::<i64>(0) }))
            .await;
        assert!(matches!(fraction, Err(Failure::Inconsistent { table: "FRACTION", .. })), "{fraction:?}");
    }

    fn expressions_are_integers_and_texts(store) {
        create(&store).await;
        write(&store, Some(i64::from(i32::MAX)), None, None).await.expect("a row");
        let row = store
            .read((), |tx, ()| Box::pin(async move { tx.one(&EXPRESSIONS, params![1_i64]).await }))
            .await
            .expect("a row");
        assert_eq!(row.get::<i64>(0).expect("a count"), 1);
        assert!(row.get::<bool>(1).expect("exists"));
        assert!(!row.get::<bool>(2).expect("a comparison"));
        assert_eq!(row.get::<i64>(3).expect("a literal"), 1);
        assert_eq!(row.get::<String>(4).expect("a literal"), "a");
        assert_eq!(row.get::<i64>(5).expect("a sum"), i64::from(i32::MAX) + 1);
        assert_eq!(row.get::<String>(6).expect("a default"), "b");
    }

    fn parameters_are_numbered_not_counted(store) {
        create(&store).await;
        write(&store, Some(5), Some("a"), Some(&[1, 2])).await.expect("a row");
        let found = store
            .read((), |tx, ()| Box::pin(async move {
                let numbered = tx.one(&OUT_OF_ORDER, params![5_i64, "a"]).await?.get::<i64>(0)?;
                let cast = tx.one(&CAST, params![&[1, 2], 5_i64]).await?.get::<i64>(0)?;
                let small = tx.one(&SMALL, params![1_i64]).await?.get::<i64>(0)?;
                Ok((numbered, cast, small))
            }))
            .await;
        assert_eq!(found.expect("three rows"), (5, 5, 1));
    }

    // PostgreSQL has no U+0000 in texts, so nobody may.
    fn a_text_with_a_nul_is_refused(store) {
        create(&store).await;
        let refused = write(&store, None, Some("a\0b"), None).await;
        assert!(matches!(refused, Err(Failure::Internal(_))), "{refused:?}");
    }
}
