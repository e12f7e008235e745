//! Status lists: an index is a subject's until no token names it any more, and a list goes when nothing is left of it,
//! whoever comes in between.

use curfew_model::{ClientId, Failure, GrantKey, TenantId, Timestamp};
use curfew_store::status_lists::{self, Entry, Origin, Subject};
use curfew_store::{Lane, Store, Tx};
use curfew_testkit::{START, both_engines};
use futures_util::future::BoxFuture;

const TENANT: TenantId = TenantId(1);
const LIST: &str = "list";

fn later(seconds: i64) -> Timestamp {
    START.plus_seconds(seconds)
}

fn subject(number: u8) -> Subject {
    let kid = "kid".to_owned();
    Subject { user: None, grant: GrantKey([number; 12]), session: None, client_counter: 1, kid }
}

fn entry(idx: u32) -> Entry {
    Entry { list_id: LIST.to_owned(), idx, keep_until: later(100) }
}

async fn write<T: Send + 'static>(
    store: &Store,
    flow: impl for<'a> Fn(&'a mut Tx, &'a ()) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
) -> T {
    store.transact(Lane::Ordinary, (), flow).await.expect("the flow")
}

async fn insert(store: &Store, list: &'static str) -> bool {
    write(store, move |tx, ()| Box::pin(status_lists::insert(tx, TENANT, list, START, 1))).await
}

async fn with_a_list(store: &Store) {
    store.migrate(START).await.expect("the schema");
    assert!(insert(store, LIST).await);
}

async fn allot(store: &Store, idx: u32, number: u8) -> bool {
    write(store, move |tx, ()| {
        Box::pin(async move {
            let client_id = ClientId("client".to_owned());
            let origin = Origin { client_id, user_counter: 0, audience: "https://api.example/".to_owned() };
            status_lists::allot(tx, TENANT, &entry(idx), &subject(number), &origin, START).await
        })
    })
    .await
}

async fn kept_until(store: &Store, number: u8) -> Option<Timestamp> {
    let found = write(store, move |tx, ()| {
        Box::pin(async move { status_lists::of_subject(tx, TENANT, &subject(number)).await })
    });
    found.await.map(|entry| entry.keep_until)
}

async fn purge(store: &Store, idx: i64, before: i64) {
    write(store, move |tx, ()| Box::pin(status_lists::purge(tx, TENANT, (LIST, idx), later(before)))).await;
}

async fn open(store: &Store) -> Option<String> {
    write(store, |tx, ()| Box::pin(status_lists::open(tx, TENANT))).await
}

async fn fill(store: &Store, now: i64) {
    write(store, move |tx, ()| Box::pin(status_lists::fill(tx, TENANT, LIST, later(now)))).await;
}

async fn reopen(store: &Store, before: i64) -> bool {
    write(store, move |tx, ()| Box::pin(status_lists::reopen(tx, TENANT, LIST, later(before)))).await
}

async fn delete(store: &Store, before: i64) -> bool {
    write(store, move |tx, ()| Box::pin(status_lists::delete(tx, TENANT, LIST, later(before)))).await
}

both_engines! {
    fn an_index_is_kept_for_its_longest_token(store) {
        with_a_list(&store).await;
        assert!(allot(&store, 5, 1).await);
        assert!(!allot(&store, 5, 2).await, "the index is taken");
        assert!(!allot(&store, 6, 1).await, "the subject has one");
        let keep = async |until: i64| {
            write(&store, move |tx, ()| {
                Box::pin(async move { status_lists::keep(tx, TENANT, &entry(5), later(until)).await })
            })
            .await
        };
        assert!(!keep(50).await, "a shorter token changes nothing");
        assert_eq!(kept_until(&store, 1).await, Some(later(100)));
        assert!(keep(200).await);
        // Whoever sweeps had seen the row before.
        purge(&store, 5, 150).await;
        assert_eq!(kept_until(&store, 1).await, Some(later(200)));
        purge(&store, 5, 201).await;
        assert_eq!(kept_until(&store, 1).await, None);
        assert!(!keep(300).await, "it is gone");
        assert!(allot(&store, 5, 2).await);
    }

    fn a_list_goes_when_it_has_long_been_full_and_is_empty(store) {
        with_a_list(&store).await;
        assert!(!insert(&store, "other").await, "there is as many as there may be");
        assert!(!delete(&store, 1000).await, "it is open");
        fill(&store, 10).await;
        assert_eq!(open(&store).await, None);
        fill(&store, 500).await;
        assert!(!delete(&store, 10).await && !reopen(&store, 10).await, "it became full just then");
        // Somebody who had found it open takes an index.
        assert!(allot(&store, 5, 1).await);
        assert!(!delete(&store, 11).await, "there is an entry");
        assert!(reopen(&store, 11).await, "it is full since it first was");
        assert_eq!(open(&store).await.as_deref(), Some(LIST));
        purge(&store, 5, 201).await;
        fill(&store, 20).await;
        assert!(delete(&store, 21).await);
        assert!(insert(&store, "other").await);
    }
}
