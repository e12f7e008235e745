//! What is to be told: taken by a lease, settled by its newest try, confirmed by any.

use curfew_model::{Failure, TenantId, Timestamp};
use curfew_store::deliveries::{self, Delivery, DeliveryState, Event, Message, Outcome, ReceiverId};
use curfew_store::{Lane, Store, Tx};
use curfew_testkit::{START, both_engines};
use futures_util::future::BoxFuture;

const TENANT: TenantId = TenantId(1);

fn later(seconds: i64) -> Timestamp {
    START.plus_seconds(seconds)
}

fn receiver() -> ReceiverId {
    ReceiverId("receiver".to_owned())
}

fn waiting(number: u8) -> Delivery {
    let event = Event { event_type: "type".to_owned(), body: "{}".to_owned() };
    let about = (None, "https://id.example/".to_owned());
    let times = (START, later(1000));
    Delivery::new([number; 16], None, (receiver(), Message::Event(event)), about, times)
}

async fn write<T: Send + 'static>(
    store: &Store,
    flow: impl for<'a> Fn(&'a mut Tx, &'a ()) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
) -> T {
    store.transact(Lane::Ordinary, (), flow).await.expect("the flow")
}

/// Waiting deliveries with the numbers from 1.
async fn with(store: &Store, count: u8) {
    store.migrate(START).await.expect("the schema");
    write(store, move |tx, ()| {
        Box::pin(async move {
            for number in 1..=count {
                assert!(deliveries::insert(tx, TENANT, &waiting(number)).await?);
            }
            Ok(())
        })
    })
    .await;
}

async fn pick(store: &Store, now: i64) -> Vec<Delivery> {
    write(store, move |tx, ()| {
        Box::pin(
            async move { deliveries::pick(tx, TENANT, &receiver(), (later(now), later(now + 10)), 9).await },
        )
    })
    .await
}

async fn settle(store: &Store, tried: &Delivery, state: DeliveryState, now: i64) -> bool {
    let tried = tried.clone();
    write(store, move |tx, ()| {
        let tried = tried.clone();
        Box::pin(async move {
            deliveries::settle(tx, TENANT, &tried, state, later(now), &Outcome::default()).await
        })
    })
    .await
}

async fn again(store: &Store, tried: &Delivery, next: i64) -> bool {
    let tried = tried.clone();
    write(store, move |tx, ()| {
        let tried = tried.clone();
        Box::pin(async move { deliveries::again(tx, TENANT, &tried, later(next), &Outcome::default()).await })
    })
    .await
}

async fn confirm(store: &Store, number: u8) -> bool {
    write(store, move |tx, ()| {
        Box::pin(async move { deliveries::confirm(tx, TENANT, &[number; 16], later(50), 200).await })
    })
    .await
}

async fn revive(store: &Store, number: u8) -> bool {
    write(store, move |tx, ()| {
        let times = (later(100), later(2000));
        Box::pin(async move { deliveries::revive(tx, TENANT, &[number; 16], times).await })
    })
    .await
}

async fn found(store: &Store, number: u8) -> Delivery {
    let found = write(store, move |tx, ()| {
        Box::pin(async move { deliveries::find(tx, TENANT, &[number; 16]).await })
    });
    found.await.expect("a delivery")
}

both_engines! {
    fn an_answer_to_an_older_try_counts_only_when_it_confirms(store) {
        with(&store, 1).await;
        let first = pick(&store, 0).await.pop().expect("it is due");
        assert!(pick(&store, 9).await.is_empty(), "it is left to who has it");
        let second = pick(&store, 10).await.pop().expect("its lease is over");
        assert_eq!((first.attempts, second.attempts), (1, 2));
        assert!(!settle(&store, &first, DeliveryState::Dead, 11).await);
        assert!(!again(&store, &first, 11).await);
        assert!(pick(&store, 12).await.is_empty(), "nothing has changed for the newer try");
        assert!(again(&store, &second, 30).await);
        assert!(confirm(&store, 1).await, "true whoever asked");
        assert!(!confirm(&store, 1).await);
        assert!(!settle(&store, &second, DeliveryState::Dead, 60).await, "it is over");
        assert_eq!(found(&store, 1).await.state, DeliveryState::Confirmed);
    }

    fn only_a_dead_letter_is_revived_or_expires_and_only_what_waits_is_given_up(store) {
        with(&store, 3).await;
        let picked = pick(&store, 0).await;
        let dead = picked.iter().find(|delivery| delivery.id == [1; 16]).expect("the first");
        assert!(settle(&store, dead, DeliveryState::Dead, 20).await);
        assert!(confirm(&store, 2).await);
        let expire = async |before: i64| {
            write(&store, move |tx, ()| Box::pin(deliveries::expire(tx, TENANT, later(before), later(90)))).await
        };
        assert_eq!(expire(20).await, 0, "it was settled just then");
        assert_eq!([revive(&store, 1).await, revive(&store, 2).await, revive(&store, 3).await], [true, false, false]);
        let revived = found(&store, 1).await;
        assert_eq!((revived.attempts, revived.next_at, revived.retry_until), (0, later(100), later(2000)));
        let dead = pick(&store, 100).await.into_iter().find(|delivery| delivery.id == [1; 16]).expect("it is due");
        assert!(settle(&store, &dead, DeliveryState::Dead, 110).await);
        assert_eq!((expire(111).await, expire(111).await), (1, 0));
        let cancelled = write(&store, |tx, ()| {
            Box::pin(async move { deliveries::cancel(tx, TENANT, &receiver(), (later(120), "gone")).await })
        });
        assert_eq!(cancelled.await, 1);
        let mut states = Vec::new();
        for number in 1..=3 {
            states.push(found(&store, number).await.state);
        }
        assert_eq!(states, [DeliveryState::Expired, DeliveryState::Confirmed, DeliveryState::Cancelled]);
    }
}
