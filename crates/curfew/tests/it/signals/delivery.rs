//! How events come to receivers: tried, fetched, acknowledged, held back, and given up where it can be seen.

use curfew_store::Lane;
use curfew_store::deliveries::{self, Delivery, DeliveryState, Event, Message, ReceiverId};
use curfew_store::signals::{self, StreamRow};
use curfew_testkit::{Behaviour, Receiver};
use serde_json::{Value, json};

use super::{
    DAY, HOUR, PATIENCE, POLL, PUSH, Rx, TENANT, caep, event, every_event, in_state, of_user, one, pass,
    risc, sign_in, ssf, types,
};
use crate::support::{Curfew, ISSUER, Operator};

/// Somebody is blocked: one event for a stream that asked for `account-disabled`.
async fn block_somebody(operator: &Operator) {
    let person = operator.make_person().await;
    operator.block(&person).await.expect(200);
}

/// Writes an event for a stream as if it had been worked out while the stream was enabled.
async fn straggle(curfew: &Curfew, stream: &str) {
    let written =
        curfew.store().transact(Lane::Ordinary, (curfew.now(), stream.to_owned()), |tx, (now, stream)| {
            Box::pin(async move {
                let event = Event { event_type: risc("account-disabled"), body: "{}".to_owned() };
                let to = (ReceiverId(stream.clone()), Message::SecurityEvent(event));
                let times = (*now, now.plus_seconds(DAY));
                let delivery = Delivery::new([7; 16], None, to, (None, ISSUER.to_owned()), times);
                deliveries::insert(tx, TENANT, &delivery).await
            })
        });
    assert!(written.await.expect("a delivery"));
}

in_a_box! {
    fn a_receiver_that_is_down_for_an_hour_hears_of_it_then(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        rx.push(&to, &[risc("account-disabled")]).await;
        to.go_down().await;
        block_somebody(&operator).await;
        let at = curfew.now().seconds();
        curfew.deliver().await;
        pass(&curfew, HOUR, 60).await;
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 1);
        to.come_back().await;
        to.behaves(Behaviour::Status(500));
        pass(&curfew, HOUR, 60).await;
        to.behaves(Behaviour::Status(202));
        pass(&curfew, 2 * HOUR, 600).await;
        let told = rx.pushed(&to).await;
        assert!(told.len() > 1);
        for again in &told {
            assert_eq!(again, &told[0], "the same token in each try, jti and all");
        }
        assert_eq!(told[0]["iat"], json!(at));
        let confirmed = in_state(&curfew, DeliveryState::Confirmed).await;
        assert_eq!((confirmed.len(), confirmed[0].last_status), (1, Some(202)));
    }

    fn what_a_receiver_answers_decides_whether_it_is_asked_again(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let said = |err: &str| {
            Behaviour::Body(400, json!({"err": err, "description": "not so"}).to_string())
        };
        for (behaviour, state, error) in [
            (Behaviour::Status(202), DeliveryState::Confirmed, None),
            (said("invalid_key"), DeliveryState::Dead, Some("invalid_key: not so")),
            (said("access_denied"), DeliveryState::Dead, Some("access_denied: not so")),
            (said("some_other"), DeliveryState::Waiting, Some("the receiver answered 400")),
            (Behaviour::Status(400), DeliveryState::Waiting, Some("the receiver answered 400")),
            (Behaviour::Status(500), DeliveryState::Waiting, Some("the receiver answered 500")),
        ] {
            let to = Receiver::start().await;
            to.behaves(behaviour.clone());
            let stream = rx.push(&to, &[risc("account-disabled")]).await;
            block_somebody(&operator).await;
            curfew.deliver().await;
            let found: Vec<_> =
                in_state(&curfew, state).await.into_iter().filter(|d| d.receiver.0 == stream).collect();
            assert_eq!(found.len(), 1, "{behaviour:?}");
            assert_eq!(found[0].last_error.as_deref(), error, "{behaviour:?}");
            rx.call(http::Method::DELETE, &format!("/ssf/streams?stream_id={stream}"), None).await.expect(204);
        }
        // 429 says when.
        let to = Receiver::start().await;
        rx.push(&to, &[risc("account-disabled")]).await;
        to.behaves(Behaviour::RetryAfter(429, "120".to_owned()));
        block_somebody(&operator).await;
        curfew.deliver().await;
        to.behaves(Behaviour::Status(202));
        pass(&curfew, 110, 10).await;
        assert_eq!(to.bodies().len(), 1);
        pass(&curfew, 20, 10).await;
        assert_eq!(to.bodies().len(), 2);
    }

    fn a_dead_letter_is_listed_and_retried(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        let stream = rx.push(&to, &[risc("account-disabled")]).await;
        to.behaves(Behaviour::Body(400, json!({"err": "invalid_issuer"}).to_string()));
        block_somebody(&operator).await;
        curfew.deliver().await;
        let dead = operator.get("/deliveries?state=dead").await.expect(200).json();
        let letter = &dead["deliveries"][0];
        assert_eq!(letter["last_error"], "invalid_issuer");
        assert!(letter.to_string().contains(&stream), "{letter}");
        assert!(letter.to_string().contains(&risc("account-disabled")), "{letter}");
        to.behaves(Behaviour::Status(202));
        let id = letter["id"].as_str().unwrap();
        operator.post(&format!("/deliveries/{id}/retry"), json!({})).await.expect(202);
        curfew.deliver().await;
        assert_eq!(in_state(&curfew, DeliveryState::Confirmed).await.len(), 1);
    }

    fn a_poll_that_waits_is_answered_when_something_ends(curfew) {
        let operator = curfew.operator().await;
        let (rx, spa) = (Rx::new(&curfew, &operator).await, operator.make_spa().await);
        let ada = operator.make_person().await;
        sign_in(&curfew, &spa, &ada).await;
        let stream = rx.polled(&[caep("session-revoked")]).await;
        let _courier = curfew.deliver_in_background();
        let waiting = tokio::spawn({
            let (rx, path) = (rx.clone(), format!("/ssf/poll/{stream}"));
            async move { rx.post(&path, json!({})).await.expect(200).json() }
        });
        // It waits: nothing has come.
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        operator.block(&ada).await.expect(200);
        let polled = tokio::time::timeout(PATIENCE, waiting).await.expect("an answer").expect("no panic");
        let sets = polled["sets"].as_object().unwrap();
        assert_eq!(sets.len(), 1, "{polled}");
        let token = sets.values().next().and_then(Value::as_str).unwrap();
        assert_eq!(event(&rx.check(token).await).0, caep("session-revoked"));
        // A verification wakes it as well.
        let waiting = tokio::spawn({
            let (rx, path) = (rx.clone(), format!("/ssf/poll/{stream}"));
            let jti = sets.keys().next().unwrap().clone();
            async move { rx.post(&path, json!({"ack": [jti]})).await.expect(200).json() }
        });
        rx.post("/ssf/verify", json!({"stream_id": stream, "state": "s"})).await.expect(204);
        let polled = tokio::time::timeout(PATIENCE, waiting).await.expect("an answer").expect("no panic");
        assert_eq!(polled["sets"].as_object().unwrap().len(), 1, "{polled}");
    }

    /// A server that stops answers those who wait, and they ask another one.
    fn a_poll_does_not_outlast_its_server(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let path = format!("/ssf/poll/{}", rx.polled(&every_event()).await);
        curfew.core.feed.close();
        let polled = tokio::time::timeout(PATIENCE, rx.post(&path, json!({}))).await.expect("an answer");
        assert_eq!(polled.expect(200).json(), json!({"sets": {}}));
    }

    /// Who waits for events is judged anew when they come.
    fn a_poll_that_waited_is_not_answered_with_what_its_receiver_may_not_hear(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let stream = rx.polled(&[risc("account-disabled")]).await;
        block_somebody(&operator).await;
        curfew.deliver().await;
        // Its token was accepted before the grant was changed.
        let (ctx, token) = (curfew::serve::job_ctx(&curfew.core, ISSUER), rx.token("ssf.read").await);
        let access = curfew_core::signals::Access::Read;
        let accepted = curfew_core::signals::authorize(&curfew.core, &ctx, &token, access).await.expect("an answer");
        let receiver = accepted.expect("a receiver");
        let grants = operator.get(&format!("/client-grants?client_id={}", rx.application.client_id)).await;
        let grant = format!("/client-grants/{}", grants.expect(200).json()[0]["id"].as_str().unwrap());
        let poll = curfew_core::signals::Poll::read(br#"{"returnImmediately": true}"#).expect("a request");
        for (scope, heard) in [(["read:users"], None), (["ssf.read"], Some(1))] {
            operator.patch(&grant, json!({"scope": scope})).await.expect(200);
            let polled = curfew_core::signals::poll(&curfew.core, &ctx, &receiver, &stream, &poll).await;
            let sets = polled.expect("an answer").ok().map(|polled| polled.sets.len());
            assert_eq!(sets, heard, "{scope:?}");
        }
    }

    fn what_is_fetched_is_acknowledged_or_comes_again(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let stream = rx.polled(&[risc("account-disabled")]).await;
        for _ in 0..5 {
            block_somebody(&operator).await;
        }
        curfew.deliver().await;
        let first = rx.poll(&stream, json!({"maxEvents": 2})).await;
        let jtis: Vec<String> = first["sets"].as_object().unwrap().keys().cloned().collect();
        assert_eq!((jtis.len(), &first["moreAvailable"]), (2, &json!(true)));
        let rest = rx.poll(&stream, json!({})).await;
        assert_eq!((rest["sets"].as_object().unwrap().len(), rest.get("moreAvailable")), (3, None));
        // What was handed out is left to who has it, for a while.
        assert_eq!(rx.poll(&stream, json!({})).await, json!({"sets": {}}));
        curfew.advance(11);
        let again = rx.poll(&stream, json!({"maxEvents": 2})).await;
        assert_eq!(again["sets"], first["sets"], "the oldest first, and the same tokens");
        // One is acknowledged, one cannot be taken.
        let error = json!({"err": "invalid_audience", "description": "who?"});
        let settled = json!({"ack": [jtis[0]], "setErrs": {(&jtis[1]): &error}, "maxEvents": 0});
        assert_eq!(rx.poll(&stream, settled.clone()).await, json!({"sets": {}}));
        let dead = in_state(&curfew, DeliveryState::Dead).await;
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].last_error.as_deref(), Some("invalid_audience: who?"));
        assert_eq!(in_state(&curfew, DeliveryState::Confirmed).await.len(), 1);
        // Again, and what is nothing of this stream's, changes nothing.
        assert_eq!(rx.poll(&stream, settled).await, json!({"sets": {}}));
        let other = Rx::new(&curfew, &operator).await;
        let others = other.polled(&[]).await;
        let foreign: Vec<String> = rest["sets"].as_object().unwrap().keys().cloned().collect();
        other.poll(&others, json!({"ack": foreign, "maxEvents": 0})).await;
        let errors: serde_json::Map<_, _> = foreign.iter().map(|jti| (jti.clone(), error.clone())).collect();
        other.poll(&others, json!({"setErrs": errors, "maxEvents": 0})).await;
        other.poll(&others, json!({"ack": ["", "x", "\u{0}"], "maxEvents": 0})).await;
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 3);
        // Nothing is acknowledged that was not handed out.
        block_somebody(&operator).await;
        curfew.deliver().await;
        let waiting = in_state(&curfew, DeliveryState::Waiting).await;
        let untried = waiting.iter().find(|delivery| delivery.attempts == 0).expect("one more");
        let jti = format!("{:032x}", u128::from_be_bytes(untried.id));
        rx.poll(&stream, json!({"ack": [jti], "maxEvents": 0})).await;
        rx.poll(&stream, json!({"setErrs": {(&jti): &error}, "maxEvents": 0})).await;
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 4);
    }

    fn polls_are_for_the_streams_own_receiver_and_make_sense(curfew) {
        let operator = curfew.operator().await;
        let (rx, other) = (Rx::new(&curfew, &operator).await, Rx::new(&curfew, &operator).await);
        let (stream, to) = (rx.polled(&[]).await, Receiver::start().await);
        other.post(&format!("/ssf/poll/{stream}"), json!({"returnImmediately": true})).await.expect(404);
        rx.post("/ssf/poll/nothing", json!({"returnImmediately": true})).await.expect(404);
        rx.post("/ssf/poll/%00", json!({"returnImmediately": true})).await.expect(404);
        for wrong in [json!([]), json!({"maxEvents": -1}), json!({"ack": vec!["x"; 1001]}), json!({"setErrs": {"x": {}}})] {
            rx.post(&format!("/ssf/poll/{stream}"), wrong).await.expect(400);
        }
        let pushed = rx.push(&to, &[]).await;
        rx.post(&format!("/ssf/poll/{pushed}"), json!({"returnImmediately": true})).await.expect(400);
    }

    fn a_paused_stream_holds_what_comes(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        let pushed = rx.push(&to, &[risc("account-disabled")]).await;
        let polled = rx.polled(&[risc("account-disabled")]).await;
        to.go_down().await;
        block_somebody(&operator).await;
        curfew.deliver().await;
        for stream in [&pushed, &polled] {
            rx.set_status(stream, "paused").await.expect(200);
        }
        to.come_back().await;
        block_somebody(&operator).await;
        pass(&curfew, 2 * DAY, HOUR).await;
        assert_eq!((to.bodies().len(), rx.poll(&polled, json!({})).await), (0, json!({"sets": {}})));
        for stream in [&pushed, &polled] {
            rx.set_status(stream, "enabled").await.expect(200);
        }
        curfew.deliver().await;
        assert_eq!((rx.pushed(&to).await.len(), rx.take(&polled).await.len()), (2, 2));
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 0);
    }

    fn a_disabled_stream_has_nothing(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        let pushed = rx.push(&to, &[risc("account-disabled")]).await;
        let polled = rx.polled(&[risc("account-disabled")]).await;
        to.go_down().await;
        block_somebody(&operator).await;
        curfew.deliver().await;
        for stream in [&pushed, &polled] {
            rx.set_status(stream, "disabled").await.expect(200);
        }
        assert_eq!(in_state(&curfew, DeliveryState::Cancelled).await.len(), 2);
        to.come_back().await;
        block_somebody(&operator).await;
        curfew.deliver().await;
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 0);
        // What was picked up before, and is written only now.
        straggle(&curfew, &pushed).await;
        curfew.deliver().await;
        assert_eq!(in_state(&curfew, DeliveryState::Cancelled).await.len(), 3);
        block_somebody(&operator).await;
        for stream in [&pushed, &polled] {
            rx.set_status(stream, "enabled").await.expect(200);
        }
        // It ended while the streams were disabled, but is worked out only now.
        let mut late = rx.take(&polled).await.len();
        curfew.deliver().await;
        late += rx.take(&polled).await.len();
        assert!(late <= 1, "what was cancelled does not come back");
        assert!(rx.pushed(&to).await.len() <= 1);
    }

    fn what_is_undone_does_not_overtake_what_was_done(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        rx.push(&to, &[risc("account-disabled"), risc("account-enabled")]).await;
        let ada = operator.make_person().await;
        to.go_down().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        pass(&curfew, 600, 60).await;
        to.come_back().await;
        operator.change_user(&ada, json!({"blocked": false})).await.expect(200);
        curfew.deliver().await;
        assert_eq!(to.bodies().len(), 0, "the first event waits for its next try, and the second for it");
        pass(&curfew, 2 * HOUR, 30).await;
        let told: Vec<String> =
            rx.pushed(&to).await.iter().map(|claims| event(claims).0.to_owned()).collect();
        assert_eq!(told, [risc("account-disabled"), risc("account-enabled")]);
        // The other way round the older is not right any more.
        to.go_down().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        operator.change_user(&ada, json!({"blocked": false})).await.expect(200);
        curfew.deliver().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        let superseded = in_state(&curfew, DeliveryState::Superseded).await;
        assert_eq!(superseded.len(), 1);
        to.come_back().await;
        pass(&curfew, 2 * HOUR, 30).await;
        let told: Vec<String> =
            rx.pushed(&to).await.iter().skip(2).map(|claims| event(claims).0.to_owned()).collect();
        assert_eq!(told, [risc("account-disabled"), risc("account-disabled")]);
    }

    fn events_of_one_account_do_not_wait_for_those_of_another(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        rx.push(&to, &[risc("account-disabled"), risc("account-enabled")]).await;
        let eve = operator.make_person().await;
        operator.block(&eve).await.expect(200);
        curfew.deliver().await;
        to.behaves(Behaviour::Status(500));
        block_somebody(&operator).await;
        curfew.deliver().await;
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 1, "it is tried again later");
        to.behaves(Behaviour::Status(202));
        operator.change_user(&eve, json!({"blocked": false})).await.expect(200);
        curfew.deliver().await;
        let told = rx.pushed(&to).await.pop().expect("an event");
        assert_eq!((event(&told).0, &told["sub_id"]), (&*risc("account-enabled"), &of_user(&eve)));
    }

    fn claims_that_wait_are_told_as_they_are_in_the_end(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let ada = operator.make_person().await;
        curfew.deliver().await;
        let stream = rx.polled(&[caep("token-claims-change")]).await;
        let bob = operator.make_person().await;
        operator.change_user(&bob, json!({"name": "Bob"})).await.expect(200);
        for change in [json!({"name": "A", "nickname": "a"}), json!({"name": "B"}), json!({"name": "C"})] {
            operator.change_user(&ada, change).await.expect(200);
            curfew.deliver().await;
        }
        let told = rx.take(&stream).await;
        assert_eq!(told.len(), 2, "of each person once");
        for (person, claims) in [(&ada, json!({"name": "C", "nickname": "a"})), (&bob, json!({"name": "Bob"}))] {
            let found = told.iter().find(|claims| claims["sub_id"] == of_user(person)).expect("the person's");
            assert_eq!(event(found).1["claims"], claims);
        }
    }

    /// `delivery` is one property: what a receiver does not send again is gone.
    fn a_secret_goes_with_the_delivery_that_had_it(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        let stream = rx.push(&to, &[risc("account-disabled")]).await;
        let push = json!({"stream_id": stream, "delivery": {"method": PUSH, "endpoint_url": to.url()}});
        rx.call(http::Method::PATCH, "/ssf/streams", Some(push)).await.expect(200);
        block_somebody(&operator).await;
        curfew.deliver().await;
        assert_eq!(to.requests()[0].header("authorization"), None);
    }

    fn a_change_of_the_way_takes_along_what_waits(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        let stream = rx.polled(&[risc("account-disabled")]).await;
        block_somebody(&operator).await;
        curfew.deliver().await;
        let push = json!({"stream_id": stream, "delivery": {"method": PUSH, "endpoint_url": to.url()}});
        rx.call(http::Method::PATCH, "/ssf/streams", Some(push)).await.expect(200);
        curfew.deliver().await;
        assert_eq!(rx.pushed(&to).await.len(), 1);
        assert_eq!(to.requests()[0].header("authorization"), None);
        to.behaves(Behaviour::Status(500));
        block_somebody(&operator).await;
        curfew.deliver().await;
        let poll = json!({"stream_id": stream, "delivery": {"method": POLL}});
        rx.call(http::Method::PATCH, "/ssf/streams", Some(poll)).await.expect(200);
        assert_eq!(rx.take(&stream).await.len(), 1);
    }

    fn what_nobody_fetches_dies_where_it_can_be_seen(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let stream = rx.polled(&every_event()).await;
        block_somebody(&operator).await;
        curfew.deliver().await;
        curfew.advance(7 * DAY - HOUR);
        curfew.sweep().await;
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 3);
        curfew.advance(2 * HOUR);
        curfew.sweep().await;
        let dead = in_state(&curfew, DeliveryState::Dead).await;
        assert_eq!((dead.len(), dead[0].last_error.as_deref()), (3, Some("nobody fetched it in time")));
        // A stream that nobody polls for a month is disabled, and says so to who comes after all.
        curfew.advance(15 * DAY);
        rx.poll(&stream, json!({})).await;
        curfew.advance(29 * DAY);
        curfew.sweep().await;
        let status = rx.get(&format!("/ssf/status?stream_id={stream}")).await.expect(200).json();
        assert_eq!(status["status"], "enabled", "it was polled in between");
        curfew.advance(29 * DAY);
        curfew.sweep().await;
        let status = rx.get(&format!("/ssf/status?stream_id={stream}")).await.expect(200).json();
        assert_eq!(status["status"], "enabled", "its receiver has looked at it in between");
        // One that is pushed needs nobody to come.
        let to = Receiver::start().await;
        let pushed = rx.push(&to, &[]).await;
        curfew.advance(30 * DAY);
        block_somebody(&curfew.operator().await).await;
        curfew.deliver().await;
        curfew.advance(DAY);
        curfew.sweep().await;
        let told = rx.take(&stream).await;
        assert_eq!(types(&told), [ssf("stream-updated")]);
        let updated = one(&told, &ssf("stream-updated"));
        assert_eq!(updated["sub_id"], json!({"format": "opaque", "id": stream}));
        assert_eq!(event(updated).1["status"], "disabled");
        let status = rx.get(&format!("/ssf/status?stream_id={stream}")).await.expect(200).json();
        assert_eq!((&status["status"], &status["reason"]), (&json!("disabled"), &event(updated).1["reason"]));
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 0);
        let status = rx.get(&format!("/ssf/status?stream_id={pushed}")).await.expect(200).json();
        assert_eq!(status["status"], "enabled");
    }

    fn a_receiver_that_was_granted_no_more_hears_no_more(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        rx.push(&to, &[risc("account-disabled")]).await;
        let grants = operator.get(&format!("/client-grants?client_id={}", rx.application.client_id)).await;
        let grant = grants.expect(200).json()[0]["id"].as_str().unwrap().to_owned();
        operator.patch(&format!("/client-grants/{grant}"), json!({"scope": ["read:users"]})).await.expect(200);
        block_somebody(&operator).await;
        curfew.deliver().await;
        assert_eq!(to.bodies().len(), 0);
        let cancelled = in_state(&curfew, DeliveryState::Cancelled).await;
        assert_eq!(cancelled.len(), 1);
        // With the client its streams go, and what waits on them.
        operator.patch(&format!("/client-grants/{grant}"), json!({"scope": ["ssf.manage"]})).await.expect(200);
        rx.polled(&[risc("account-disabled")]).await;
        to.behaves(Behaviour::Status(500));
        block_somebody(&operator).await;
        curfew.deliver().await;
        operator.delete(&format!("/clients/{}", rx.application.client_id)).await.expect(204);
        assert_eq!(in_state(&curfew, DeliveryState::Cancelled).await.len(), 3);
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 0);
    }

    fn an_event_survives_a_server_that_stops(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        rx.push(&to, &[risc("account-disabled")]).await;
        let polled = rx.polled(&[risc("account-disabled")]).await;
        block_somebody(&operator).await;
        // This node goes between the commit and the first look; another works it off.
        let other = curfew.another_node().await;
        other.deliver().await;
        assert_eq!(rx.pushed(&to).await.len(), 1);
        assert_eq!(rx.take(&polled).await.len(), 1);
        curfew.deliver().await;
        assert_eq!(to.bodies().len(), 1, "each once");
    }

    fn a_stream_that_does_not_read_keeps_nobody_else_from_being_told(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        rx.push(&to, &[risc("account-disabled")]).await;
        let broken = curfew.store().transact(Lane::Ordinary, curfew.now(), |tx, now| {
            Box::pin(async move {
                let row = signals::list(tx, TENANT).await?.pop().expect("a stream");
                let row = StreamRow { id: "ssf_0".to_owned(), doc: "{}".to_owned(), ..row };
                signals::insert(tx, TENANT, &row, *now).await
            })
        });
        broken.await.expect("another stream");
        block_somebody(&operator).await;
        curfew.sweep().await;
        assert_eq!(rx.pushed(&to).await.len(), 1);
    }

    fn a_key_that_is_revoked_leaves_the_receivers_secret_readable(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        rx.push(&to, &[risc("account-disabled")]).await;
        let ctx = curfew::serve::job_ctx(&curfew.core, crate::support::ISSUER);
        let actor = curfew_core::endings::Actor::Policy;
        let revoked = curfew_core::management::sealing_keys::revoke(&curfew.core, &ctx, 1, actor).await;
        assert!(revoked.expect("it is revoked"));
        block_somebody(&operator).await;
        curfew.deliver().await;
        assert_eq!(to.requests()[0].header("authorization"), Some("Bearer of-the-receiver"));
    }
}
