//! What waits on streams: held and released, fetched under a lease, given up in the order in which it came.

use curfew_model::{ClientId, Failure, TenantId, Timestamp, UserId};
use curfew_store::deliveries::{self, Delivery, DeliveryState, Event, Message, ReceiverId};
use curfew_store::signals::{self, Added, HELD, StreamRow, StreamStatus};
use curfew_store::{Lane, Store, Tx};
use curfew_testkit::{START, both_engines};
use futures_util::future::BoxFuture;

const TENANT: TenantId = TenantId(1);
const STREAM: &str = "ssf_1";

fn later(seconds: i64) -> Timestamp {
    START.plus_seconds(seconds)
}

fn waiting(number: u8) -> Delivery {
    let event = Event { event_type: format!("type-{}", number % 2), body: format!("{{\"n\":{number}}}") };
    let to = (ReceiverId(STREAM.to_owned()), Message::SecurityEvent(event));
    let about = (Some(UserId::from("auth0|1")), "https://id.example/".to_owned());
    let times = (later(i64::from(number)), later(1000));
    // The keys run against the order in which they came.
    Delivery { next_at: HELD, ..Delivery::new([255 - number; 16], None, to, about, times) }
}

fn stream() -> StreamRow {
    StreamRow {
        id: STREAM.to_owned(),
        client_id: ClientId("receiver".to_owned()),
        issuer: "https://id.example/".to_owned(),
        doc: "{}".to_owned(),
        authorization: None,
        status: StreamStatus::Enabled,
        reason: None,
        subjects: 0,
        updated_at: START,
        active_at: START,
    }
}

async fn write<T: Send + 'static>(
    store: &Store,
    flow: impl for<'a> Fn(&'a mut Tx, &'a ()) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
) -> T {
    store.transact(Lane::Ordinary, (), flow).await.expect("the flow")
}

async fn with_five(store: &Store) {
    store.migrate(START).await.expect("the schema");
    write(store, |tx, ()| {
        Box::pin(async move {
            for number in 1..=5 {
                assert!(deliveries::insert(tx, TENANT, &waiting(number)).await?);
            }
            Ok(())
        })
    })
    .await;
}

fn numbers(deliveries: &[Delivery]) -> Vec<u8> {
    deliveries.iter().map(|delivery| 255 - delivery.id[0]).collect()
}

async fn in_state(store: &Store, state: DeliveryState) -> Vec<u8> {
    let found =
        write(store, move |tx, ()| Box::pin(deliveries::in_state(tx, TENANT, state, None, 100))).await;
    let mut numbers = numbers(&found);
    numbers.sort_unstable();
    numbers
}

both_engines! {
    fn what_is_held_is_fetched_in_its_order_and_left_to_who_has_it(store) {
        with_five(&store).await;
        let fetch = async |now: i64, limit: i64, of_type: Option<&'static str>| {
            let fetched = write(&store, move |tx, ()| {
                Box::pin(signals::fetch(tx, TENANT, STREAM, (later(now), later(now + 10)), limit, of_type))
            });
            numbers(&fetched.await)
        };
        assert_eq!(fetch(100, 2, None).await, [1, 2]);
        assert_eq!(fetch(101, 2, Some("type-1")).await, [3, 5]);
        assert_eq!(fetch(102, 9, None).await, [4]);
        assert_eq!(fetch(110, 9, None).await, [1, 2]);
        let any = write(&store, |tx, ()| Box::pin(signals::any_waiting(tx, TENANT, STREAM, later(110), None)));
        assert!(!any.await);
        // The courier does not come to what is held.
        let due = write(&store, |tx, ()| Box::pin(deliveries::due_receivers(tx, TENANT, later(1_000_000)))).await;
        assert_eq!(due, []);
    }

    fn only_what_was_handed_out_is_settled_and_only_by_its_stream(store) {
        with_five(&store).await;
        let acknowledge = async |stream: &'static str, number: u8| {
            let now = later(200);
            write(&store, move |tx, ()| {
                Box::pin(async move {
                    signals::acknowledge(tx, TENANT, stream, &[255 - number; 16], now).await
                })
            })
            .await
        };
        assert!(!acknowledge(STREAM, 1).await, "nobody has it");
        write(&store, |tx, ()| {
            Box::pin(signals::fetch(tx, TENANT, STREAM, (later(100), later(110)), 2, None))
        })
        .await;
        assert!(!acknowledge("ssf_2", 1).await, "another stream's");
        assert!(acknowledge(STREAM, 1).await);
        assert!(!acknowledge(STREAM, 1).await, "it is over");
        let rejected = write(&store, |tx, ()| {
            Box::pin(async move {
                signals::reject(tx, TENANT, STREAM, &[253; 16], (later(200), "no")).await
            })
        });
        assert!(rejected.await);
        assert_eq!(in_state(&store, DeliveryState::Confirmed).await, [1]);
        assert_eq!(in_state(&store, DeliveryState::Dead).await, [2]);
    }

    fn the_oldest_die_first(store) {
        with_five(&store).await;
        let expire = async |now: i64, max: i64| {
            write(&store, move |tx, ()| Box::pin(signals::expire(tx, TENANT, STREAM, later(now), max))).await
        };
        assert_eq!(expire(10, 5).await, 0);
        assert_eq!(expire(10, 3).await, 2);
        assert_eq!(in_state(&store, DeliveryState::Dead).await, [1, 2]);
        assert_eq!(expire(1000, 3).await, 3);
        assert_eq!(in_state(&store, DeliveryState::Waiting).await, [] as [u8; 0]);
    }

    fn what_is_released_is_due_in_its_order(store) {
        with_five(&store).await;
        write(&store, |tx, ()| Box::pin(signals::release(tx, TENANT, STREAM, later(2000)))).await;
        let pick = async || {
            let picked = write(&store, |tx, ()| {
                Box::pin(async move {
                    let receiver = ReceiverId(STREAM.to_owned());
                    deliveries::pick(tx, TENANT, &receiver, (later(500), later(510)), 2).await
                })
            });
            let mut numbers = numbers(&picked.await);
            numbers.sort_unstable();
            numbers
        };
        let tried_until = async || {
            let found = write(&store, |tx, ()| Box::pin(deliveries::find(tx, TENANT, &[254; 16])));
            found.await.expect("the first").retry_until
        };
        assert_eq!(tried_until().await, later(2000));
        assert_eq!((pick().await, pick().await), (vec![1, 2], vec![3, 4]));
        write(&store, |tx, ()| Box::pin(signals::hold(tx, TENANT, STREAM, later(3000)))).await;
        assert_eq!(pick().await, [] as [u8; 0]);
        assert_eq!(tried_until().await, later(3000));
    }

    fn subjects_are_counted_up_to_their_limit(store) {
        store.migrate(START).await.expect("the schema");
        write(&store, |tx, ()| Box::pin(async move { signals::insert(tx, TENANT, &stream(), START).await })).await;
        let add = async |name: u8| {
            write(&store, move |tx, ()| {
                Box::pin(async move {
                    signals::insert_subject(tx, TENANT, STREAM, (&[name; 32], None, "{}"), START, 2).await
                })
            })
            .await
        };
        assert_eq!([add(1).await, add(1).await, add(2).await, add(3).await], [Added::There, Added::There, Added::There, Added::Full]);
        assert_eq!(add(2).await, Added::There, "it was there before");
        write(&store, |tx, ()| Box::pin(signals::delete_subject(tx, TENANT, STREAM, &[1; 32], None))).await;
        assert_eq!((add(3).await, add(4).await), (Added::There, Added::Full));
    }

    fn a_stream_is_disabled_unless_its_receiver_was_here_meanwhile(store) {
        store.migrate(START).await.expect("the schema");
        write(&store, |tx, ()| Box::pin(async move { signals::insert(tx, TENANT, &stream(), START).await })).await;
        write(&store, |tx, ()| Box::pin(signals::note_active(tx, TENANT, STREAM, later(50), later(40)))).await;
        let disable = async |before: i64| {
            let times = (later(100), later(before));
            write(&store, move |tx, ()| Box::pin(signals::disable(tx, TENANT, STREAM, "gone", times))).await
        };
        assert!(!disable(49).await);
        assert!(disable(50).await);
        assert!(!disable(50).await, "it is");
    }

    fn a_later_event_takes_the_place_of_earlier_ones(store) {
        with_five(&store).await;
        let bodies = write(&store, |tx, ()| {
            Box::pin(async move {
                let about = (&UserId::from("auth0|1"), "type-0");
                signals::supersede(tx, TENANT, STREAM, about, later(10)).await
            })
        });
        assert_eq!(bodies.await.len(), 2);
        assert_eq!(in_state(&store, DeliveryState::Superseded).await, [2, 4]);
    }

    fn what_waits_for_no_stream_is_given_up(store) {
        with_five(&store).await;
        let orphans = async || write(&store, |tx, ()| Box::pin(signals::cancel_orphans(tx, TENANT, later(1)))).await;
        write(&store, |tx, ()| Box::pin(async move { signals::insert(tx, TENANT, &stream(), START).await })).await;
        assert_eq!(orphans().await, 0);
        assert!(write(&store, |tx, ()| Box::pin(signals::delete(tx, TENANT, STREAM, later(1)))).await);
        assert_eq!(in_state(&store, DeliveryState::Cancelled).await, [1, 2, 3, 4, 5]);
        write(&store, |tx, ()| {
            Box::pin(async move { deliveries::insert(tx, TENANT, &waiting(6)).await })
        })
        .await;
        assert_eq!(orphans().await, 1);
    }
}
