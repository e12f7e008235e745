//! What a flow can rely on.

use curfew_model::Failure;
use curfew_store::{Lane, Store, params};
use curfew_testkit::both_engines;

curfew_store::statements! {
    /// A table to write to.
    pub(crate) CREATE = "create table notes (id bigint not null primary key, text text not null)";
    /// One row.
    pub(crate) INSERT = "insert into notes (id, text) values ($1, $2)";
    /// One row, read back.
    pub(crate) FIND = "select id, text from notes where id = $1";
}

async fn prepare(store: &Store) {
    let made = store
        .transact(Lane::Ordinary, (), |tx, ()| {
            Box::pin(async move {
                tx.run(&CREATE, params![]).await?;
                Ok(())
            })
        })
        .await;
    made.expect("the table is made");
}

async fn write(store: &Store, id: i64) -> Result<(), Failure> {
    store
        .transact(Lane::Ordinary, id, |tx, id| {
            Box::pin(async move {
                let changed = tx.run(&INSERT, params![*id, "a"]).await?;
                assert_eq!(changed, 1);
                Ok(())
            })
        })
        .await
}

async fn exists(store: &Store, id: i64) -> bool {
    let found = store
        .read(id, |tx, id| Box::pin(async move { tx.maybe(&FIND, params![*id]).await }))
        .await
        .expect("a read");
    found.is_some_and(|row| row.get::<i64>(0).expect("an id") == id)
}

both_engines! {
    fn ok_commits(store) {
        prepare(&store).await;
        write(&store, 1).await.expect("a commit");
        assert!(exists(&store, 1).await);
        assert!(!exists(&store, 2).await);
    }

    fn err_rolls_back(store) {
        prepare(&store).await;
        let refused: Result<(), Failure> = store
            .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move {
                tx.run(&INSERT, params![1_i64, "a"]).await?;
                Err(Failure::Internal("changed its mind".into()))
            }))
            .await;
        assert!(matches!(refused, Err(Failure::Internal(_))), "{refused:?}");
        assert!(!exists(&store, 1).await);
    }
}
