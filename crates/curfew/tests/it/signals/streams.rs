//! What receivers say of their streams: the management API of the framework, and who may use it.

use curfew_store::Lane;
use curfew_store::signals::{self, StreamRow};
use curfew_testkit::{Behaviour, Receiver};
use http::Method;
use serde_json::{Value, json};

use super::{POLL, PUSH, Rx, TENANT, caep, event, every_event, of_user, risc, send, ssf, types};
use crate::support::{CONNECTION, Curfew, ISSUER, Operator, Person};

async fn block(operator: &Operator, people: &[&Person]) {
    for person in people {
        operator.block(person).await.expect(200);
    }
}

/// Makes more streams like this one, of the same client.
async fn crowd(curfew: &Curfew, like: &str, count: usize) {
    let arguments = (curfew.now(), like.to_owned(), count);
    let made = curfew.store().transact(Lane::Ordinary, arguments, |tx, (now, like, count)| {
        Box::pin(async move {
            let rows = signals::list(tx, TENANT).await?;
            let row = rows.into_iter().find(|row| row.id == *like).expect("the stream");
            for number in 0..*count {
                let row = StreamRow { id: format!("ssf_{number}"), ..row.clone() };
                signals::insert(tx, TENANT, &row, *now).await?;
            }
            Ok(())
        })
    });
    made.await.expect("the streams");
}

fn subjects(events: &[Value]) -> Vec<Value> {
    events.iter().map(|claims| claims["sub_id"].clone()).collect()
}

in_a_box! {
    fn the_transmitter_can_be_discovered(curfew) {
        let answer = curfew.browser().get(".well-known/ssf-configuration").await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let url = |path: &str| format!("{ISSUER}{path}");
        assert_eq!(
            answer.json(),
            json!({
                "spec_version": "1_0",
                "issuer": ISSUER,
                "jwks_uri": url(".well-known/jwks.json"),
                "delivery_methods_supported": [PUSH, POLL],
                "configuration_endpoint": url("ssf/streams"),
                "status_endpoint": url("ssf/status"),
                "add_subject_endpoint": url("ssf/subjects:add"),
                "remove_subject_endpoint": url("ssf/subjects:remove"),
                "verification_endpoint": url("ssf/verify"),
                "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
                "default_subjects": "ALL",
            })
        );
        // Whoever is told of an endpoint finds it there.
        let rx = Rx::new(&curfew, &curfew.operator().await).await;
        for endpoint in ["configuration_endpoint", "status_endpoint", "verification_endpoint", "add_subject_endpoint"] {
            let url = answer.json()[endpoint].as_str().unwrap().replace(ISSUER, "/");
            rx.post(&url, json!({"stream_id": "none", "status": "paused", "delivery": 1, "subject": {}})).await;
            let status = rx.post(&url, json!([])).await.status;
            assert_eq!(status, 400, "{endpoint}");
        }
    }

    fn a_stream_is_made_read_changed_replaced_and_deleted(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        let unknown = "urn:example:events:unknown";
        let asked = json!({
            "delivery": {"method": PUSH, "endpoint_url": to.url(), "authorization_header": "Bearer x"},
            "events_requested": [unknown, caep("session-revoked")],
            "description": "of the story",
        });
        let made = rx.post("/ssf/streams", asked).await.expect(201);
        assert_eq!(made.header("cache-control"), Some("no-store"));
        let made = made.json();
        let id = made["stream_id"].as_str().unwrap().to_owned();
        assert_eq!(
            made,
            json!({
                "stream_id": id, "iss": ISSUER, "aud": rx.application.client_id,
                "delivery": {"method": PUSH, "endpoint_url": to.url(), "authorization_header": "Bearer x"},
                "events_supported": every_event(),
                "events_requested": [unknown, caep("session-revoked")],
                "events_delivered": [caep("session-revoked")],
                "min_verification_interval": 30, "default_subjects": "ALL", "description": "of the story",
            })
        );
        let path = format!("/ssf/streams?stream_id={id}");
        assert_eq!(rx.get(&path).await.expect(200).json(), made);
        assert_eq!(rx.get("/ssf/streams").await.expect(200).json(), json!([made]));
        // Who may only read does not see what the endpoint is told by.
        let reader = rx.token("ssf.read").await;
        let seen = send(&curfew, &reader, Method::GET, &path, None).await.expect(200).json();
        assert_eq!(seen["delivery"], json!({"method": PUSH, "endpoint_url": to.url()}));
        // An update leaves the rest; what the transmitter supplies may be sent back as it is.
        let change = json!({"stream_id": id, "description": "another", "iss": ISSUER, "aud": made["aud"]});
        let changed = rx.call(Method::PATCH, "/ssf/streams", Some(change)).await.expect(200).json();
        let mut wanted = made.clone();
        wanted["description"] = json!("another");
        assert_eq!(changed, wanted);
        for wrong in [json!({"aud": "other"}), json!({"events_delivered": []}), json!({"iss": "https://x.example/"})] {
            let mut change = wrong.clone();
            change["stream_id"] = json!(id);
            rx.call(Method::PATCH, "/ssf/streams", Some(change.clone())).await.expect(400);
            rx.call(Method::PUT, "/ssf/streams", Some(change)).await.expect(400);
        }
        assert_eq!(rx.get(&path).await.expect(200).json(), wanted);
        // A replacement does not.
        let replaced = json!({"stream_id": id, "events_requested": [risc("account-purged")]});
        let replaced = rx.call(Method::PUT, "/ssf/streams", Some(replaced)).await.expect(200).json();
        assert_eq!(replaced["delivery"], json!({"method": POLL, "endpoint_url": format!("{ISSUER}ssf/poll/{id}")}));
        assert_eq!(replaced["events_delivered"], json!([risc("account-purged")]));
        assert_eq!(replaced.get("description"), None);
        assert_eq!(replaced["inactivity_timeout"], 30 * 86_400);
        rx.call(Method::DELETE, &path, None).await.expect(204);
        rx.get(&path).await.expect(404);
        rx.call(Method::DELETE, &path, None).await.expect(404);
        assert_eq!(rx.get("/ssf/streams").await.expect(200).json(), json!([]));
        // Written down, without the secret.
        let written = curfew.logs("sapi").await;
        let made = written.iter().find(|row| row["description"] == "Create a stream").expect("a row");
        assert_eq!(made["details"]["request"]["body"]["delivery"]["authorization_header"], "*****");
    }

    fn a_stream_belongs_to_who_made_it(curfew) {
        let operator = curfew.operator().await;
        let (rx, other) = (Rx::new(&curfew, &operator).await, Rx::new(&curfew, &operator).await);
        let id = rx.polled(&[]).await;
        let subject = json!({"format": "email", "email": "a@example.com"});
        let body = json!({"stream_id": id, "status": "paused", "subject": subject});
        for (method, path, body) in [
            (Method::GET, format!("/ssf/streams?stream_id={id}"), None),
            (Method::DELETE, format!("/ssf/streams?stream_id={id}"), None),
            (Method::GET, format!("/ssf/status?stream_id={id}"), None),
            (Method::PATCH, "/ssf/streams".to_owned(), Some(&body)),
            (Method::PUT, "/ssf/streams".to_owned(), Some(&body)),
            (Method::POST, "/ssf/status".to_owned(), Some(&body)),
            (Method::POST, "/ssf/subjects:add".to_owned(), Some(&body)),
            (Method::POST, "/ssf/subjects:remove".to_owned(), Some(&body)),
            (Method::POST, "/ssf/verify".to_owned(), Some(&body)),
        ] {
            let answer = other.call(method.clone(), &path, body.cloned()).await;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert_eq!(answer.json()["error"], "not_found");
        }
        assert_eq!(other.get("/ssf/streams").await.expect(200).json(), json!([]));
        assert_eq!(rx.get("/ssf/streams").await.expect(200).json().as_array().unwrap().len(), 1);
    }

    fn only_receivers_may(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let id = rx.polled(&[]).await;
        let (query, poll) = (format!("?stream_id={id}"), format!("/ssf/poll/{id}"));
        let body = json!({
            "stream_id": id, "status": "enabled", "returnImmediately": true,
            "subject": {"format": "email", "email": "a@example.com"},
        });
        let reads = [
            (Method::GET, "/ssf/streams".to_owned()),
            (Method::GET, format!("/ssf/streams{query}")),
            (Method::GET, format!("/ssf/status{query}")),
            (Method::POST, poll),
        ];
        let writes = [
            (Method::PATCH, "/ssf/streams".to_owned()),
            (Method::PUT, "/ssf/streams".to_owned()),
            (Method::POST, "/ssf/status".to_owned()),
            (Method::POST, "/ssf/subjects:add".to_owned()),
            (Method::POST, "/ssf/subjects:remove".to_owned()),
            (Method::POST, "/ssf/verify".to_owned()),
            (Method::POST, "/ssf/streams".to_owned()),
            (Method::DELETE, format!("/ssf/streams{query}")),
        ];
        let (reader, manager) = (rx.token("ssf.read").await, rx.token("ssf.manage").await);
        let stranger = Rx::with(&curfew, &operator, &["read:users"]).await.token("read:users").await;
        // A person's token for the Management API is nobody's receiver.
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let asked = [("audience", crate::support::MANAGEMENT), ("scope", "read:current_user ssf.manage")];
        let of_person = curfew.browser().sign_in(&spa, &ada, &asked).await.access;
        for (method, path) in reads.iter().chain(&writes) {
            let sent = (*method != Method::GET && *method != Method::DELETE).then(|| body.clone());
            let none = http::Request::builder().method(method.clone()).uri(path);
            let none = curfew.send(none.body(axum::body::Body::empty()).unwrap()).await;
            assert_eq!((none.status.as_u16(), none.header("www-authenticate")), (401, Some("Bearer")), "{path}");
            let bad = send(&curfew, "rubbish", method.clone(), path, sent.clone()).await.expect(401);
            assert_eq!(bad.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
            for token in [&stranger, &of_person] {
                let answer = send(&curfew, token, method.clone(), path, sent.clone()).await.expect(403);
                assert!(answer.header("www-authenticate").unwrap().contains("insufficient_scope"), "{path}");
            }
        }
        for (method, path) in &reads {
            let sent = (*method != Method::GET).then(|| body.clone());
            send(&curfew, &reader, method.clone(), path, sent).await.expect(200);
        }
        for (method, path) in &writes {
            let sent = (*method != Method::DELETE).then(|| body.clone());
            send(&curfew, &reader, method.clone(), path, sent.clone()).await.expect(403);
            let answer = send(&curfew, &manager, method.clone(), path, sent).await;
            assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        }
        // A token in the query is none (RFC 6750 §2.3).
        let request = http::Request::get(format!("/ssf/streams?access_token={manager}"));
        curfew.send(request.body(axum::body::Body::empty()).unwrap()).await.expect(401);
    }

    fn streams_are_bounded(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let first = rx.polled(&[]).await;
        for _ in 1..10 {
            rx.polled(&[]).await;
        }
        assert_eq!(rx.post("/ssf/streams", json!({})).await.expect(409).json()["error"], "too_many_streams");
        // They are nobody else's limit, up to that of the tenant.
        let other = Rx::new(&curfew, &operator).await;
        other.polled(&[]).await;
        crowd(&curfew, &first, 200 - 12).await;
        let last = other.polled(&[]).await;
        assert_eq!(other.post("/ssf/streams", json!({})).await.expect(409).json()["error"], "too_many_streams");
        other.call(Method::DELETE, &format!("/ssf/streams?stream_id={last}"), None).await.expect(204);
        other.polled(&[]).await;
        for wrong in [
            json!({"delivery": {"method": "urn:other"}}),
            json!({"delivery": {"method": PUSH, "endpoint_url": "http://10.0.0.1/"}}),
            json!({"delivery": {"method": PUSH, "endpoint_url": "https://rx.example/#x"}}),
            json!({"delivery": {"method": PUSH, "endpoint_url": "https://rx.example/", "authorization_header": "a\nb"}}),
            json!({"events_requested": vec!["x"; 51]}),
            json!({"description": "x".repeat(501)}),
            json!([]),
        ] {
            rx.post("/ssf/streams", wrong.clone()).await.expect(400);
        }
        let id = rx.get("/ssf/streams").await.json()[0]["stream_id"].clone();
        let subject = json!({"format": "email", "email": "a@example.com"});
        for (path, wrong) in [
            ("/ssf/status", json!({"stream_id": id, "status": "stopped"})),
            ("/ssf/status", json!({"stream_id": id, "status": "paused", "reason": "x".repeat(501)})),
            ("/ssf/status", json!({"status": "paused"})),
            ("/ssf/verify", json!({"stream_id": id, "state": "x".repeat(1001)})),
            ("/ssf/verify", json!({"stream_id": id, "state": 1})),
            ("/ssf/verify", json!({"stream_id": "\u{0}"})),
            ("/ssf/subjects:add", json!({"subject": subject})),
            ("/ssf/subjects:add", json!({"stream_id": id})),
            ("/ssf/subjects:add", json!({"stream_id": id, "subject": {"format": "opaque", "id": id}})),
            ("/ssf/subjects:add", json!({"stream_id": id, "subject": {"format": "email", "email": "nobody"}})),
            ("/ssf/subjects:add", json!({"stream_id": id, "subject": {"format": "complex", "session": subject}})),
            ("/ssf/subjects:add", json!({"stream_id": id, "subject": {"format": "complex", "user": subject, "device": subject}})),
        ] {
            rx.post(path, wrong.clone()).await.expect(400);
        }
        let foreign = json!({"format": "iss_sub", "iss": "https://other.example/", "sub": "auth0|1"});
        rx.post("/ssf/subjects:add", json!({"stream_id": id, "subject": foreign})).await.expect(404);
        rx.get("/ssf/streams?stream_id=a&stream_id=b").await.expect(400);
        rx.get("/ssf/status").await.expect(400);
    }

    fn a_status_is_what_the_receiver_said(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let id = rx.polled(&[]).await;
        let path = format!("/ssf/status?stream_id={id}");
        assert_eq!(rx.get(&path).await.expect(200).json(), json!({"stream_id": id, "status": "enabled"}));
        let paused = json!({"stream_id": id, "status": "paused", "reason": "a holiday"});
        assert_eq!(rx.post("/ssf/status", paused.clone()).await.expect(200).json(), paused);
        assert_eq!(rx.get(&path).await.expect(200).json(), paused);
        let enabled = json!({"stream_id": id, "status": "enabled"});
        assert_eq!(rx.post("/ssf/status", enabled.clone()).await.expect(200).json(), enabled);
        // What a receiver did itself it is not told of.
        assert_eq!(rx.take(&id).await, [] as [Value; 0]);
    }

    fn a_stream_of_everybody_can_leave_somebody_out(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let people = [operator.make_person().await, operator.make_person().await, operator.make_person().await];
        let [ada, bob, eve] = &people;
        let id = rx.polled(&[risc("account-disabled"), risc("account-purged")]).await;
        let by_sub = json!({"stream_id": id, "subject": of_user(ada)});
        let by_email = json!({"stream_id": id, "subject": {"format": "email", "email": bob.email.to_uppercase()}});
        rx.post("/ssf/subjects:remove", by_sub.clone()).await.expect(204);
        rx.post("/ssf/subjects:remove", by_sub).await.expect(204);
        rx.post("/ssf/subjects:remove", by_email).await.expect(204);
        block(&operator, &[ada, bob, eve]).await;
        curfew.deliver().await;
        assert_eq!(subjects(&rx.take(&id).await), [of_user(eve)]);
        // Added again, by whatever name, they are back.
        let complex = json!({"format": "complex", "user": of_user(bob)});
        assert_eq!(rx.post("/ssf/subjects:add", json!({"stream_id": id, "subject": complex})).await.expect(200).text(), "");
        for person in [ada, bob] {
            operator.delete(&format!("/users/{}", person.path())).await.expect(204);
        }
        curfew.deliver().await;
        assert_eq!(subjects(&rx.take(&id).await), [of_user(bob)]);
    }

    fn a_stream_of_nobody_hears_of_who_was_added(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let people = [operator.make_person().await, operator.make_person().await, operator.make_person().await];
        let [ada, bob, eve] = &people;
        let events = [risc("account-disabled"), risc("account-purged")];
        let id = rx.stream(json!({"events_requested": events, "default_subjects": "NONE"})).await;
        let add = async |subject: Value| {
            rx.post("/ssf/subjects:add", json!({"stream_id": id, "subject": subject})).await.expect(200);
        };
        add(of_user(ada)).await;
        add(json!({"format": "email", "email": bob.email})).await;
        // Nobody of that name is there; the answer does not say so.
        add(json!({"format": "email", "email": "later@example.com"})).await;
        add(json!({"format": "iss_sub", "iss": ISSUER, "sub": "auth0|nobody"})).await;
        block(&operator, &[ada, bob, eve]).await;
        curfew.deliver().await;
        let told = subjects(&rx.take(&id).await);
        assert!(told.len() == 2 && told.contains(&of_user(ada)) && told.contains(&of_user(bob)), "{told:?}");
        // A person stays who was meant, whatever becomes of the address; and one that meant nobody means who has it.
        operator.change_user(bob, json!({"email": "bob@example.org"})).await.expect(200);
        let later = operator.make_person_with(CONNECTION, json!({"email": "later@example.com"})).await;
        block(&operator, &[&later]).await;
        operator.delete(&format!("/users/{}", bob.path())).await.expect(204);
        curfew.deliver().await;
        let told = rx.take(&id).await;
        assert_eq!(types(&told), [risc("account-disabled"), risc("account-purged")]);
        assert!(subjects(&told).contains(&of_user(&later)), "{told:?}");
        assert!(subjects(&told).contains(&of_user(bob)), "{told:?}");
        let remove = json!({"stream_id": id, "subject": {"format": "email", "email": ada.email}});
        rx.post("/ssf/subjects:remove", remove).await.expect(204);
        block(&operator, &[ada]).await;
        curfew.deliver().await;
        assert_eq!(rx.take(&id).await, [] as [Value; 0]);
        // With another default whoever was named is forgotten.
        let change = json!({"stream_id": id, "default_subjects": "ALL"});
        rx.call(Method::PATCH, "/ssf/streams", Some(change)).await.expect(200);
        block(&operator, &[eve]).await;
        curfew.deliver().await;
        assert_eq!(subjects(&rx.take(&id).await), [of_user(eve)]);
    }

    /// That an address is somebody else's now is told to who knows them by it.
    fn a_name_is_asked_for_as_it_was_before_it_changed(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let events = [risc("identifier-changed")];
        let [hears, left_out] = [
            rx.stream(json!({"events_requested": events, "default_subjects": "NONE"})).await,
            rx.stream(json!({"events_requested": events})).await,
        ];
        // Nobody has it yet, so it stands for whoever does.
        let later = json!({"format": "email", "email": "later@example.com"});
        rx.post("/ssf/subjects:add", json!({"stream_id": hears, "subject": later})).await.expect(200);
        rx.post("/ssf/subjects:remove", json!({"stream_id": left_out, "subject": later})).await.expect(204);
        let doc = json!({"email": "later@example.com", "email_verified": true});
        let person = operator.make_person_with(CONNECTION, doc).await;
        let change = json!({"email": "other@example.com", "email_verified": true});
        operator.change_user(&person, change).await.expect(200);
        curfew.deliver().await;
        let told = rx.take(&hears).await;
        assert_eq!(subjects(&told), [later]);
        assert_eq!(event(&told[0]).1["new-value"], "other@example.com");
        assert_eq!(rx.take(&left_out).await, [] as [Value; 0]);
    }

    fn a_verification_says_that_the_stream_works(curfew) {
        let operator = curfew.operator().await;
        let (rx, to) = (Rx::new(&curfew, &operator).await, Receiver::start().await);
        let (pushed, polled) = (rx.push(&to, &[]).await, rx.polled(&[]).await);
        for id in [&pushed, &polled] {
            let body = json!({"stream_id": id, "state": "a-state"});
            assert_eq!(rx.post("/ssf/verify", body).await.expect(204).text(), "");
        }
        curfew.deliver().await;
        for (id, told) in [(&pushed, rx.pushed(&to).await), (&polled, rx.take(&polled).await)] {
            assert_eq!(told.len(), 1);
            assert_eq!(told[0]["sub_id"], json!({"format": "opaque", "id": id}));
            assert_eq!(event(&told[0]), (ssf("verification").as_str(), &json!({"state": "a-state"})));
        }
        let again = rx.post("/ssf/verify", json!({"stream_id": polled})).await.expect(429);
        assert_eq!(again.header("retry-after"), Some("30"));
        curfew.advance(30);
        rx.post("/ssf/verify", json!({"stream_id": polled})).await.expect(204);
        let told = rx.take(&polled).await;
        assert_eq!(event(&told[0]), (ssf("verification").as_str(), &json!({})));
        // A receiver that did not ask for it says so, and is not asked again.
        to.behaves(Behaviour::Body(400, json!({"err": "invalid_state"}).to_string()));
        rx.post("/ssf/verify", json!({"stream_id": pushed, "state": "b"})).await.expect(204);
        curfew.deliver().await;
        curfew.advance(3600);
        curfew.deliver().await;
        assert_eq!(to.bodies().len(), 2);
        // While a stream is paused it waits; on one that is disabled nothing is sent.
        rx.set_status(&polled, "paused").await.expect(200);
        rx.post("/ssf/verify", json!({"stream_id": polled})).await.expect(204);
        assert_eq!(rx.take(&polled).await, [] as [Value; 0]);
        rx.set_status(&polled, "enabled").await.expect(200);
        assert_eq!(types(&rx.take(&polled).await), [ssf("verification")]);
        curfew.advance(60);
        rx.set_status(&polled, "disabled").await.expect(200);
        rx.post("/ssf/verify", json!({"stream_id": polled})).await.expect(400);
    }
}
