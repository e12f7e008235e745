//! Endings as things one can see: `/api/v2/endings` and its receipts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Curfew, Events, Guard, MANAGEMENT, Person, Tokens};

/// Lets the applications be told, and the reader of the feed finish what it has begun, and once more from the beginning.
async fn settle(curfew: &Curfew) {
    curfew.deliver().await;
    for _ in 0..2 {
        curfew.core.feed.read_from_now().await.expect("the feed can be read");
    }
}

/// A guard that has been echoed, and so counts.
async fn connected(guard: &Guard) -> Events {
    let mut events = guard.follow(None).await;
    let (position, _) = guard.snapshot().await;
    guard.probe(&events.stream, 1, json!({"position": position})).await.expect(202);
    events.next_of("echo").await;
    events
}

async fn signed_in(curfew: &Curfew) -> (Person, Tokens, String) {
    let operator = curfew.operator().await;
    let api = operator.make_api().await;
    let application = operator.make_spa().await;
    let person = operator.make_person().await;
    let asked = [("audience", api.as_str()), ("scope", "openid offline_access")];
    let tokens = curfew.browser().sign_in(&application, &person, &asked).await;
    (person, tokens, api)
}

fn only(body: &Value) -> &Value {
    let endings = body["endings"].as_array().expect("endings");
    assert_eq!(endings.len(), 1, "{body}");
    &endings[0]
}

in_a_box! {
    fn ending_a_user_answers_a_receipt(curfew) {
        let operator = curfew.operator().await;
        let (person, tokens, api) = signed_in(&curfew).await;
        let guard = operator.make_guard(&api).await;
        let asked = json!({"user_id": person.user_id, "reason": "left the company"});
        let body = operator.post("/endings", asked).await.expect(201).json();
        let receipt = only(&body);
        assert_eq!((&receipt["cause"], &receipt["user_id"]), (&json!("access_revoked"), &json!(person.user_id)));
        assert_eq!((&receipt["fell"], &receipt["reason"]), (&json!(["user"]), &json!("left the company")));
        // No guard had a view that could be wrong. Which applications took part is not worked out yet.
        assert_eq!((&receipt["guards"]["complete"], &receipt["guards"]["confirmed"]), (&json!(true), &json!(0)));
        assert_eq!((&body["complete"], &receipt["applications"]["complete"]), (&json!(false), &json!(false)));
        assert_eq!(guard.introspect(&tokens.access).await.expect(200).json(), json!({"active": false}));
        let id = receipt["id"].as_str().expect("an id");
        curfew.deliver().await;
        let done = operator.get(&format!("/endings/{id}")).await.expect(200).json();
        assert_eq!((&done["cause"], &done["complete"]), (&json!("access_revoked"), &json!(true)));
        let clients = done["applications"]["without_address"].as_array().expect("clients");
        assert_eq!(clients.len(), 1, "the application has no address, and the receipt says so: {done}");
        operator.get("/endings/AAAAAAAAAAAAAAAAAAAAAA").await.expect(404);
        operator.get("/endings/rubbish").await.expect(404);
    }

    fn each_kind_of_thing_can_be_ended(curfew) {
        let operator = curfew.operator().await;
        let application = operator.make_spa().await;
        let api = operator.make_api().await;
        let people = [operator.make_person().await, operator.make_person().await];
        let asked = [("audience", api.as_str()), ("scope", "openid offline_access")];
        let log_in = async |person: &Person| curfew.browser().sign_in(&application, person, &asked).await;
        let guard = operator.make_guard(&api).await;
        let active = async |tokens: &Tokens| guard.introspect(&tokens.access).await.expect(200).json()["active"] == true;

        let tokens = log_in(&people[0]).await;
        let body = operator.post("/endings", json!({"session_id": tokens.claims()["sid"]})).await.expect(201).json();
        assert_eq!(only(&body)["fell"], json!(["session", "grant"]));
        assert!(!active(&tokens).await);

        let tokens = log_in(&people[0]).await;
        let path = format!("/users/{}/refresh-tokens", people[0].path());
        let family = operator.get(&path).await.json()["tokens"][0]["id"].clone();
        let body = operator.post("/endings", json!({"refresh_token_id": family})).await.expect(201).json();
        assert_eq!(only(&body)["fell"], json!(["grant"]));
        assert!(!active(&tokens).await);
        // There is nothing left to end.
        let body = operator.post("/endings", json!({"refresh_token_id": family})).await.expect(201).json();
        assert_eq!(body, json!({"complete": true, "endings": []}));

        let tokens = log_in(&people[0]).await;
        let pair = json!({"user_id": people[0].user_id, "client_id": application.client_id});
        let body = operator.post("/endings", pair).await.expect(201).json();
        assert_eq!(only(&body)["fell"], json!(["user_client"]));
        assert!(!active(&tokens).await);

        let both = [log_in(&people[0]).await, log_in(&people[1]).await];
        let ids = json!({"user_ids": [people[0].user_id, people[1].user_id]});
        let body = operator.post("/endings", ids).await.expect(201).json();
        assert_eq!(body["endings"].as_array().unwrap().len(), 2);
        assert!(!active(&both[0]).await && !active(&both[1]).await);

        let tokens = log_in(&people[0]).await;
        let client = json!({"client_id": application.client_id});
        let body = operator.post("/endings", client).await.expect(201).json();
        assert_eq!(only(&body)["fell"], json!(["client"]));
        assert!(!active(&tokens).await);
        // The client stays.
        assert!(active(&log_in(&people[0]).await).await);

        for (wrong, status) in [
            (json!({}), 400),
            (json!({"user_id": "auth0|nobody"}), 404),
            (json!({"client_id": "nobody"}), 404),
            (json!({"session_id": "x"}), 404),
            (json!({"user_ids": []}), 400),
            (json!({"user_id": "x", "session_id": "y"}), 400),
            (json!({"user_id": "x", "wait_ms": 60_000}), 400),
        ] {
            operator.post("/endings", wrong).await.expect(status);
        }
    }

    fn a_rehearsal_counts_and_ends_nothing(curfew) {
        let operator = curfew.operator().await;
        let (person, tokens, api) = signed_in(&curfew).await;
        let guard = operator.make_guard(&api).await;
        let asked = json!({"user_id": person.user_id, "dry_run": true});
        let counts = operator.post("/endings", asked).await.expect(200).json();
        assert_eq!((&counts["users"], &counts["sessions"], &counts["refresh_tokens"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!(counts["first"][0]["email"], person.email);
        let asked = json!({"client_id": guard.application.client_id, "dry_run": true});
        let counts = operator.post("/endings", asked).await.expect(200).json();
        let warning = counts["warnings"][0].as_str().expect("a warning");
        assert!(warning.contains(&api), "{warning}");
        assert_eq!(guard.introspect(&tokens.access).await.expect(200).json()["active"], true);
        assert_eq!(operator.get("/endings").await.expect(200).json()["endings"], json!([]));
        // What has ended would not end again.
        let asked = json!({"session_id": tokens.claims()["sid"], "dry_run": true});
        let counts = async || {
            let counts = operator.post("/endings", asked.clone()).await.expect(200).json();
            (counts["sessions"].clone(), counts["refresh_tokens"].clone())
        };
        let list = operator.get(&format!("/users/{}/refresh-tokens", person.path())).await.expect(200).json();
        let of_family = json!({"refresh_token_id": list["tokens"][0]["id"], "dry_run": true});
        let family = async || operator.post("/endings", of_family.clone()).await.expect(200).json()["refresh_tokens"].clone();
        assert_eq!((counts().await, family().await), ((json!(1), json!(1)), json!(1)));
        operator.post("/endings", json!({"session_id": tokens.claims()["sid"]})).await.expect(201);
        assert_eq!((counts().await, family().await), ((json!(0), json!(0)), json!(0)));
    }

    fn a_repetition_with_the_same_key_is_the_same_ending(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        let asked = json!({"user_id": person.user_id, "idempotency_key": "once"});
        let first = operator.post("/endings", asked.clone()).await.expect(201).json();
        // Signing in again, in between, is not undone by a request that comes once more.
        let application = operator.make_spa().await;
        let wanted = [("audience", api.as_str()), ("scope", "openid")];
        let tokens = curfew.browser().sign_in(&application, &person, &wanted).await;
        let again = operator.post("/endings", asked).await.expect(201).json();
        assert_eq!(only(&again)["id"], only(&first)["id"]);
        let guard = operator.make_guard(&api).await;
        assert_eq!(guard.introspect(&tokens.access).await.expect(200).json()["active"], true);
        let other = operator.make_person().await;
        let asked = json!({"user_id": other.user_id, "idempotency_key": "once"});
        operator.post("/endings", asked).await.expect(409);
    }

    fn a_key_is_its_callers_own(curfew) {
        let operator = curfew.operator().await;
        let machine = json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]});
        let machine = operator.make_client(machine).await;
        let scope = json!(["create:endings", "read:endings"]);
        let grant = json!({"client_id": machine.client_id, "audience": MANAGEMENT, "scope": scope});
        operator.post("/client-grants", grant).await.expect(201);
        let second = curfew.operator_by(&Tokens::of(&machine.client_credentials().await).access);
        let people = [operator.make_person().await, operator.make_person().await];
        let mut actors = Vec::new();
        for (caller, person) in [(&operator, &people[0]), (&second, &people[1])] {
            let asked = json!({"user_id": person.user_id, "idempotency_key": "once"});
            let body = caller.post("/endings", asked).await.expect(201).json();
            assert_eq!(only(&body)["user_id"], person.user_id, "somebody else's ending");
            actors.push(only(&body)["actor"]["client_id"].clone());
        }
        assert_eq!(actors, [json!("bootstrap"), json!(machine.client_id)]);
    }

    fn a_list_of_users_ends_at_the_first_that_does_not_exist(curfew) {
        let operator = curfew.operator().await;
        let people = [operator.make_person().await, operator.make_person().await];
        let ids = json!([people[0].user_id, "auth0|nobody", people[1].user_id]);
        operator.post("/endings", json!({"user_ids": ids})).await.expect(404);
        let ended = async |person: &Person| {
            let body = operator.get(&format!("/endings?user_id={}", person.path())).await.expect(200).json();
            body["endings"].as_array().expect("endings").len()
        };
        assert_eq!((ended(&people[0]).await, ended(&people[1]).await), (1, 0));
        // What is too much ends nothing at all.
        let many: Vec<&str> = vec![&people[1].user_id; 101];
        for wrong in [
            json!({"user_ids": many}),
            json!({"user_id": people[1].user_id, "reason": "r".repeat(501)}),
            json!({"user_id": people[1].user_id, "idempotency_key": "k".repeat(201)}),
        ] {
            operator.post("/endings", wrong).await.expect(400);
        }
        assert_eq!(ended(&people[1]).await, 0);
    }

    fn nobody_waits_longer_than_they_want_to(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        // It never acknowledges.
        let _events = connected(&operator.make_guard(&api).await).await;
        let asked = json!({"user_id": person.user_id, "wait_ms": 50});
        let answered = tokio::time::timeout(Duration::from_secs(30), operator.post("/endings", asked)).await;
        let body = answered.expect("an answer").expect(201).json();
        assert_eq!((&body["complete"], &only(&body)["guards"]["complete"]), (&json!(false), &json!(false)));
    }

    fn endings_are_listed_newest_first(curfew) {
        let operator = curfew.operator().await;
        let people = [operator.make_person().await, operator.make_person().await, operator.make_person().await];
        for person in &people {
            curfew.advance(60);
            operator.block(person).await.expect(200);
        }
        curfew.advance(60);
        operator.delete(&format!("/users/{}", people[2].path())).await.expect(204);
        let list = async |query: &str| operator.get(&format!("/endings?{query}")).await.expect(200).json();
        let named = |body: &Value| -> Vec<(Value, Value)> {
            let endings = body["endings"].as_array().expect("endings").iter();
            endings.map(|ending| (ending["cause"].clone(), ending["user_id"].clone())).collect()
        };
        let all = named(&list("").await);
        assert_eq!(all[0], (json!("user_deleted"), json!(people[2].user_id)));
        assert_eq!(all[3], (json!("user_blocked"), json!(people[0].user_id)));
        let first = list("take=3").await;
        assert_eq!(named(&first), all[..3]);
        let rest = list(&format!("take=3&from={}", first["next"].as_str().expect("more"))).await;
        assert_eq!(named(&rest), all[3..]);
        assert_eq!(rest.get("next"), None);
        assert_eq!(named(&list("cause=user_deleted").await), all[..1]);
        assert_eq!(named(&list(&format!("user_id={}", people[0].path())).await), all[3..]);
        let since = curfew.now().plus_seconds(-60).iso();
        assert_eq!(named(&list(&format!("after={since}")).await), all[..2]);
        assert_eq!(named(&list(&format!("before={since}")).await), all[2..]);
        operator.get("/endings?cause=nonsense").await.expect(400);
        operator.get("/endings?after=yesterday").await.expect(400);
    }

    fn a_receipt_is_complete_when_the_guards_have_acknowledged(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        let guard = operator.make_guard(&api).await;
        let mut events = connected(&guard).await;
        let body = operator.post("/endings", json!({"user_id": person.user_id})).await.expect(201).json();
        let id = only(&body)["id"].as_str().unwrap().to_owned();
        assert_eq!(body["complete"], false, "{body}");
        let receipt = async || operator.get(&format!("/endings/{id}")).await.expect(200).json();
        events.next_of("ending").await;
        let position = events.next_of("position").await["position"].clone();
        // Having been told is not having heard.
        settle(&curfew).await;
        assert_eq!(receipt().await["complete"], false);
        guard.probe(&events.stream, 2, json!({"position": position})).await.expect(202);
        settle(&curfew).await;
        let done = receipt().await;
        assert_eq!(done["complete"], true, "{done}");
        assert_eq!((&done["guards"]["confirmed"], &done["guards"]["lapsed"]), (&json!(1), &json!(0)));
        let told = &done["guards"]["nodes"][0]["guards"][0];
        assert_eq!((&told["name"], &told["audience"]), (&json!("a-guard"), &json!(api)));
        assert!(told["confirmed_at"].is_string());
    }

    fn a_guard_that_says_nothing_lapses_with_its_lease(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        let guard = operator.make_guard(&api).await;
        let events = connected(&guard).await;
        settle(&curfew).await;
        // It is cut off, and somebody is blocked meanwhile.
        drop(events);
        let body = operator.post("/endings", json!({"user_id": person.user_id})).await.expect(201).json();
        let id = only(&body)["id"].as_str().unwrap().to_owned();
        let receipt = async || operator.get(&format!("/endings/{id}")).await.expect(200).json();
        settle(&curfew).await;
        let open = receipt().await;
        assert_eq!(open["complete"], false, "{open}");
        assert!(open["guards"]["open_until"].is_string());
        curfew.advance(9);
        settle(&curfew).await;
        assert_eq!(receipt().await["complete"], false);
        curfew.advance(1);
        settle(&curfew).await;
        let done = receipt().await;
        assert_eq!(done["complete"], true, "{done}");
        assert_eq!((&done["guards"]["confirmed"], &done["guards"]["lapsed"]), (&json!(0), &json!(1)));
    }

    // Nobody is counted for another: replicas of an API, or processes of a host, may bear one name.
    fn two_guards_of_one_name_are_two(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        let guard = operator.make_guard(&api).await;
        let (mut one, two) = (connected(&guard).await, connected(&guard).await);
        settle(&curfew).await;
        let body = operator.post("/endings", json!({"user_id": person.user_id})).await.expect(201).json();
        let id = only(&body)["id"].as_str().unwrap().to_owned();
        let receipt = async || operator.get(&format!("/endings/{id}")).await.expect(200).json();
        one.next_of("ending").await;
        let position = one.next_of("position").await["position"].clone();
        guard.probe(&one.stream, 2, json!({"position": position})).await.expect(202);
        settle(&curfew).await;
        assert_eq!(receipt().await["complete"], false, "the other has not heard");
        guard.probe(&two.stream, 2, json!({"position": position})).await.expect(202);
        settle(&curfew).await;
        let done = receipt().await;
        assert_eq!((&done["complete"], &done["guards"]["confirmed"]), (&json!(true), &json!(2)));
    }

    fn a_guard_that_connects_anew_is_the_same(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        let guard = operator.make_guard(&api).await;
        let named = json!({"name": "orders", "instance": "7", "lease_seconds": 10, "stale": "introspect"});
        let (position, _) = guard.snapshot().await;
        let mut events = guard.follow(None).await;
        guard.probe(&events.stream, 1, json!({"position": position, "guard": named})).await.expect(202);
        events.next_of("echo").await;
        settle(&curfew).await;
        drop(events);
        let body = operator.post("/endings", json!({"user_id": person.user_id})).await.expect(201).json();
        let id = only(&body)["id"].as_str().unwrap().to_owned();
        settle(&curfew).await;
        let mut events = guard.follow(Some(&position)).await;
        events.next_of("ending").await;
        let position = events.next_of("position").await["position"].clone();
        guard.probe(&events.stream, 2, json!({"position": position, "guard": named})).await.expect(202);
        settle(&curfew).await;
        let done = operator.get(&format!("/endings/{id}")).await.expect(200).json();
        assert_eq!((&done["guards"]["confirmed"], &done["guards"]["lapsed"]), (&json!(1), &json!(0)));
        assert_eq!(done["complete"], true);
    }

    fn the_guards_of_a_node_that_vanished_hold_the_receipt_open_no_longer_than_their_leases(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        let guard = operator.make_guard(&api).await;
        let other = curfew.another_node().await;
        let events = connected(&guard.at(&other)).await;
        settle(&other).await;
        drop(events);
        other.stop_feed();
        let deliver = async || curfew.deliver().await;
        let body = operator.post("/endings", json!({"user_id": person.user_id})).await.expect(201).json();
        let id = only(&body)["id"].as_str().unwrap().to_owned();
        let receipt = async || operator.get(&format!("/endings/{id}")).await.expect(200).json();
        deliver().await;
        assert_eq!(receipt().await["complete"], false);
        curfew.advance(19);
        let open = receipt().await;
        assert_eq!((&open["complete"], &open["guards"]["lapsed"]), (&json!(false), &json!(0)));
        let until = open["guards"]["open_until"].clone();
        curfew.advance(1);
        let done = receipt().await;
        assert_eq!((&done["complete"], &done["guards"]["lapsed"]), (&json!(true), &json!(1)));
        let node = json!({"node": other.core.feed.node(), "silent": true, "settled_at": until, "lapsed": 1, "guards": []});
        assert_eq!(done["guards"]["nodes"], json!([node]));
        // It stays so when the node itself has been forgotten.
        curfew.advance(2 * 86_400);
        curfew.sweep().await;
        let operator = curfew.operator().await;
        let later = operator.get(&format!("/endings/{id}")).await.expect(200).json();
        assert_eq!((&later["guards"], &later["fell"]), (&done["guards"], &done["fell"]));
    }

    fn a_receipt_is_complete_when_the_applications_have_confirmed(curfew) {
        let operator = curfew.operator().await;
        let receiver = curfew_testkit::Receiver::start().await;
        let application = operator
            .make_client(json!({
                "app_type": "regular_web",
                "oidc_logout": {
                    "backchannel_logout_urls": [receiver.url()],
                    "backchannel_logout_initiators": {"mode": "all"},
                },
            }))
            .await;
        let person = operator.make_person().await;
        curfew.browser().sign_in(&application, &person, &[]).await;
        let _delivering = curfew.deliver_in_background();
        let asked = json!({"user_id": person.user_id, "wait_ms": 20_000});
        let body = operator.post("/endings", asked).await.expect(201).json();
        assert_eq!(body["complete"], true, "{body}");
        let applications = &only(&body)["applications"];
        assert_eq!(applications["counts"], json!({"confirmed": 1, "waiting": 0}));
        let delivery = &applications["deliveries"][0];
        assert_eq!((&delivery["client_id"], &delivery["state"]), (&json!(application.client_id), &json!("confirmed")));
        assert!(delivery["settled_at"].is_string() && delivery["attempts"] == 1);
    }

    fn endings_are_kept_with_their_receipts_and_then_go(curfew) {
        let operator = curfew.operator().await;
        let (person, _, _) = signed_in(&curfew).await;
        operator.post("/endings", json!({"user_id": person.user_id})).await.expect(201);
        curfew.deliver().await;
        let count = async || {
            let operator = curfew.operator().await;
            let body = operator.get("/endings?cause=access_revoked").await.expect(200).json();
            body["endings"].as_array().expect("endings").len()
        };
        curfew.advance(399 * 86_400);
        curfew.sweep().await;
        assert_eq!(count().await, 1);
        curfew.advance(2 * 86_400);
        curfew.sweep().await;
        assert_eq!(count().await, 0);
    }

    fn one_can_see_who_could_still_act(curfew) {
        let operator = curfew.operator().await;
        let (person, _, api) = signed_in(&curfew).await;
        let unused = operator.make_person().await;
        let access = async |person: &Person| {
            operator.get(&format!("/users/{}/access", person.path())).await.expect(200).json()
        };
        let none = access(&unused).await;
        assert_eq!((&none["sessions"], &none["refresh_tokens"]), (&json!(0), &json!(0)));
        assert_eq!((&none["resource_servers"], &none["applications"]), (&json!([]), &json!([])));
        assert_eq!(none["if_blocked_now"]["at_resource_servers_until"], curfew.now().iso());

        let found = access(&person).await;
        assert_eq!((&found["sessions"], &found["refresh_tokens"]), (&json!(1), &json!(1)));
        let client = found["applications"][0].clone();
        assert_eq!(client["logout_address"], false);
        assert_eq!(found["if_blocked_now"]["applications_that_cannot_be_told"], json!([client["client_id"]]));
        // Nobody stands before the API: a token lives a day there.
        let day = curfew.now().plus_seconds(86_400).iso();
        assert_eq!(found["resource_servers"][0]["audience"], api);
        assert_eq!(found["resource_servers"][0]["access_tokens_expire_by"], day);
        assert_eq!(found["if_blocked_now"]["at_resource_servers_until"], day);

        // With a guard it is the guard's lease.
        let guard = operator.make_guard(&api).await;
        let _events = connected(&guard).await;
        let lease = curfew.now().plus_seconds(10).iso();
        let found = access(&person).await;
        assert_eq!(found["resource_servers"][0]["guards"], 1);
        assert_eq!(found["if_blocked_now"]["at_resource_servers_until"], lease);

        operator.block(&person).await.expect(200);
        let blocked = access(&person).await;
        assert_eq!((&blocked["blocked"], &blocked["sessions"]), (&json!(true), &json!(0)));
        curfew.advance(2 * 86_400);
        let operator = curfew.operator().await;
        let later = operator.get(&format!("/users/{}/access", person.path())).await.expect(200).json();
        assert_eq!(later["resource_servers"], json!([]));
        operator.get("/users/auth0%7Cnobody/access").await.expect(404);
    }
}
