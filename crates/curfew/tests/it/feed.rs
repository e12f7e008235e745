//! The feed of endings as guards follow it: who may, what they hear, when a stream ends, what other nodes write.

use curfew_store::Lane;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use crate::support::{Application, Curfew, Events, Guard, MANAGEMENT, Operator, Person, Tokens};

/// The examples that no test runs.
const TRAEFIK: &str = include_str!("../../../../examples/traefik/dynamic.yml");
const ENVOY: &str = include_str!("../../../../examples/envoy/envoy.yaml");

/// A person with a token for an API, and a guard before it.
struct Scene {
    operator: Operator,
    application: Application,
    person: Person,
    tokens: Tokens,
    guard: Guard,
}

impl Scene {
    async fn make(curfew: &Curfew) -> Self {
        let operator = curfew.operator().await;
        let api = operator.make_api().await;
        let application = operator.make_spa().await;
        let person = operator.make_person().await;
        let asked = [("audience", api.as_str()), ("scope", "openid offline_access")];
        let browser = curfew.browser();
        let tokens = browser.sign_in(&application, &person, &asked).await;
        let guard = operator.make_guard(&api).await;
        Self { operator, application, person, tokens, guard }
    }
}

/// How far each lane has been read at a position; its last number is the feed's.
fn lanes(position: &Value) -> Vec<i64> {
    let text = position.as_str().expect("a position");
    let (lanes, _) = text.rsplit_once('.').expect("the feed's number");
    lanes.split('.').map(|number| number.parse().expect("a number")).collect()
}

async fn end_of(events: &mut Events) -> String {
    loop {
        let (name, data) = events.next().await;
        if name == "end" {
            assert!(events.maybe().await.is_none(), "something came after the end");
            return data["reason"].as_str().expect("a reason").to_owned();
        }
    }
}

in_a_box! {
    fn an_ending_reaches_the_guards_that_follow(curfew) {
        let Scene { operator, person, tokens, guard, .. } = Scene::make(&curfew).await;
        let mut events = guard.follow(None).await;
        operator.block(&person).await.expect(200);
        let ending = events.next_of("ending").await;
        let claims = tokens.claims();
        let cutoff = &ending["cutoff"];
        assert_eq!((&cutoff[0], &cutoff[1]), (&json!("user"), &claims["cfw"]["u"]));
        assert!(claims["cfw"]["n"].as_i64() < cutoff[2].as_i64(), "the token is not below the cutoff: {ending}");
        assert!(claims["exp"].as_i64() < cutoff[3].as_i64(), "the cutoff is dropped before the token: {ending}");
        assert_eq!(ending["cause"], "user_blocked");
        let position = events.next_of("position").await;
        let lane = usize::try_from(ending["lane"].as_u64().unwrap()).unwrap();
        assert!(lanes(&position["position"])[lane] >= ending["position"].as_i64().unwrap());
    }

    fn an_echo_comes_after_what_was_acknowledged_before_its_probe(curfew) {
        let Scene { operator, person, guard, .. } = Scene::make(&curfew).await;
        let mut events = guard.follow(None).await;
        for probe in 1..=20 {
            let blocked = probe % 2 == 1;
            operator.change_user(&person, json!({"blocked": blocked})).await.expect(200);
            guard.probe(&events.stream.clone(), probe, json!({})).await.expect(202);
            let mut heard = 0;
            loop {
                let (name, data) = events.next().await;
                match name.as_str() {
                    "ending" => heard += 1,
                    "echo" if data["probe"] == probe => break,
                    "echo" | "position" => {}
                    _ => panic!("{name}: {data}"),
                }
            }
            assert_eq!(heard, i32::from(blocked), "probe {probe}");
        }
    }

    fn a_guard_resumes_where_it_was(curfew) {
        let Scene { operator, person, guard, .. } = Scene::make(&curfew).await;
        let (start, none) = guard.snapshot().await;
        assert_eq!(none, Vec::<Value>::new());
        operator.block(&person).await.expect(200);
        let mut events = guard.follow(Some(&start)).await;
        let missed = events.next_of("ending").await;
        assert_eq!(missed["cutoff"][0], "user");
        let position = events.next_of("position").await["position"].as_str().unwrap().to_owned();
        drop(events);
        let other = operator.make_person().await;
        operator.block(&other).await.expect(200);
        let mut events = guard.follow(Some(&position)).await;
        let (name, next) = events.next().await;
        assert_eq!(name, "ending");
        assert_ne!(next["cutoff"][1], missed["cutoff"][1], "an entry that was acknowledged came again");
        let (name, _) = events.next().await;
        assert_eq!(name, "position");
    }

    fn a_position_that_this_feed_has_not_reached_is_gone(curfew) {
        let Scene { guard, .. } = Scene::make(&curfew).await;
        let (position, _) = guard.snapshot().await;
        let (lanes, number) = position.rsplit_once('.').expect("the feed's number");
        let ahead = format!("{}.{number}", lanes.replace(|c: char| c.is_ascii_digit(), "9"));
        for position in [ahead.as_str(), "0.0.0"] {
            let answer = guard.get(&format!("/endings/feed?position={position}")).await.expect(410);
            assert_eq!(answer.json()["error"], "position_unknown");
        }
        for position in ["x", "1..2", "-1", ""] {
            guard.get(&format!("/endings/feed?position={position}")).await.expect(400);
        }
    }

    fn a_restored_database_has_another_feed(curfew) {
        let Scene { operator, person, guard, .. } = Scene::make(&curfew).await;
        let (before, _) = guard.snapshot().await;
        // A start, or another node, leaves the feed what it is.
        let other = curfew.another_node().await;
        assert_eq!(guard.at(&other).snapshot().await.0, before);
        drop(guard.at(&other).follow(Some(&before)).await);
        for number in [1, (1 << 53) - 1] {
            let renumbered = curfew.store().transact(Lane::Ordinary, number, |tx, number| {
                Box::pin(curfew_store::feed::renumber(tx, *number))
            });
            renumbered.await.expect("another number");
            for node in [&curfew, &other] {
                let answer = guard.at(node).get(&format!("/endings/feed?position={before}")).await.expect(410);
                assert_eq!(answer.json()["error"], "position_unknown", "however far it has come");
            }
        }
        let restarted = curfew.another_node().await;
        let guard = guard.at(&restarted);
        let (position, _) = guard.snapshot().await;
        assert_ne!(position, before);
        let mut events = guard.follow(Some(&position)).await;
        // What is acknowledged by a position of the other feed is not counted, what is by one of this is.
        let acknowledge = async |events: &mut Events, probe: u64, position: &str| {
            guard.probe(&events.stream.clone(), probe, json!({ "position": position })).await.expect(202);
            events.next_of("echo").await
        };
        acknowledge(&mut events, 1, &position).await;
        operator.at(&restarted).block(&person).await.expect(200);
        let ending = events.next_of("ending").await["ending_id"].as_str().expect("an id").to_owned();
        let (_, number) = before.rsplit_once('.').expect("a number");
        let ahead = format!("{}{number}", "9.".repeat(before.split('.').count() - 1));
        acknowledge(&mut events, 2, &ahead).await;
        let confirmed = async || {
            let receipt = operator.get(&format!("/endings/{ending}")).await.expect(200).json();
            receipt["guards"]["confirmed"].clone()
        };
        acknowledge(&mut events, 3, &ahead).await;
        assert_eq!(confirmed().await, 0);
        let echo = acknowledge(&mut events, 4, &ahead).await;
        acknowledge(&mut events, 5, echo["position"].as_str().expect("a position")).await;
        acknowledge(&mut events, 6, echo["position"].as_str().expect("a position")).await;
        assert_eq!(confirmed().await, 1);
    }

    fn a_snapshot_holds_what_can_still_matter(curfew) {
        let Scene { operator, person, application, tokens, guard } = Scene::make(&curfew).await;
        let family = operator.get(&format!("/users/{}/refresh-tokens", person.path())).await.json();
        let family = family["tokens"][0]["id"].as_str().expect("a refresh token").to_owned();
        operator.delete(&format!("/refresh-tokens/{family}")).await.expect(202);
        let sid = tokens.claims()["sid"].clone();
        operator.delete(&format!("/sessions/{}", sid.as_str().unwrap())).await.expect(202);
        operator.delete(&format!("/clients/{}", application.client_id)).await.expect(204);
        let (_, cutoffs) = guard.snapshot().await;
        let told = |kind: &str| cutoffs.iter().find(|cutoff| cutoff[0] == kind).cloned().unwrap_or_default();
        assert_eq!(told("grant")[1], tokens.claims()["cfw"]["g"]);
        assert_eq!(told("session")[1], sid);
        assert_eq!(told("client")[1], application.client_id);
        // A token lives a day and the cutoff five minutes longer.
        curfew.advance(86_400 + 299);
        let guard = Guard { token: Guard::token_of(&guard.application, &guard.api).await, ..guard };
        // Snapshots are shared for a second of real time.
        let later = curfew.another_node().await;
        assert_eq!(guard.at(&later).snapshot().await.1.len(), cutoffs.len());
        curfew.advance(2);
        let later = curfew.another_node().await;
        assert_eq!(guard.at(&later).snapshot().await.1, Vec::<Value>::new());
    }

    fn what_names_an_api_is_for_its_guards_alone(curfew) {
        let Scene { operator, guard, .. } = Scene::make(&curfew).await;
        let other = operator.make_guard(&operator.make_api().await).await;
        let mut events = guard.follow(None).await;
        let mut others = other.follow(None).await;
        let servers = operator.get("/resource-servers?per_page=100").await.json();
        let id = servers.as_array().unwrap().iter().find(|s| s["identifier"] == guard.api).unwrap()["id"].clone();
        operator.delete(&format!("/resource-servers/{}", id.as_str().unwrap())).await.expect(204);
        // The guard of the deleted API has lost its own token.
        assert_eq!(end_of(&mut events).await, "token_ended");
        let (name, _) = others.next().await;
        assert_eq!(name, "position", "guards of another API hear only that the feed went on");
        assert_eq!(other.snapshot().await.1, Vec::<Value>::new());
    }

    fn only_a_client_with_the_scope_of_guards_may_follow(curfew) {
        let Scene { operator, tokens, guard, .. } = Scene::make(&curfew).await;
        let plain = operator.make_client(json!({"app_type": "non_interactive"})).await;
        let grant = json!({"client_id": plain.client_id, "audience": guard.api, "scope": []});
        operator.post("/client-grants", grant).await.expect(201);
        let without = Guard::token_of(&plain, &guard.api).await;
        let management = guard.application.node().operator().await;
        let of_management = Tokens::of(
            &curfew
                .application_of("bootstrap", Some("a secret that is long enough to be one"))
                .token(&[("grant_type", "client_credentials"), ("audience", MANAGEMENT)])
                .await,
        );
        drop(management);
        for path in ["/endings/feed", "/endings/snapshot"] {
            let refused = |token: &str| Guard { token: token.to_owned(), ..guard.clone() };
            let cases = [
                (without.as_str(), 403, "insufficient_scope"),
                (tokens.access.as_str(), 403, "insufficient_scope"),
                (of_management.access.as_str(), 401, "invalid_token"),
                ("rubbish", 401, "invalid_token"),
            ];
            for (token, status, code) in cases {
                let answer = refused(token).get(path).await.expect(status);
                assert_eq!(answer.json()["error"], code);
                assert!(answer.headers[WWW_AUTHENTICATE].to_str().unwrap().contains(code));
            }
            let nobody = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
            let answer = curfew.send(nobody).await.expect(401);
            assert_eq!(answer.headers[WWW_AUTHENTICATE], "Bearer");
        }
        // The Management API has no guards: whoever has its tokens is known to the server itself.
        let grant = json!({"client_id": plain.client_id, "audience": MANAGEMENT, "scope": ["curfew:guard"]});
        operator.post("/client-grants", grant).await.expect(400);
    }

    fn a_stream_ends_with_its_token(curfew) {
        let Scene { operator, guard, person, .. } = Scene::make(&curfew).await;
        let grants = operator.get(&format!("/client-grants?client_id={}", guard.application.client_id)).await;
        let grant = grants.json()[0]["id"].as_str().expect("a client grant").to_owned();
        let mut events = guard.follow(None).await;
        // Somebody else's ending does not end it.
        operator.block(&person).await.expect(200);
        events.next_of("position").await;
        operator.patch(&format!("/client-grants/{grant}"), json!({"scope": []})).await.expect(200);
        operator.delete(&format!("/client-grants/{grant}")).await.expect(204);
        assert_eq!(end_of(&mut events).await, "token_ended");

        let second = operator.make_guard(&guard.api).await;
        let mut events = second.follow(None).await;
        operator.delete(&format!("/clients/{}", second.application.client_id)).await.expect(204);
        assert_eq!(end_of(&mut events).await, "token_ended");

        let third = operator.make_guard(&guard.api).await;
        let mut events = third.follow(None).await;
        curfew.advance(86_401);
        let other = curfew.operator().await;
        other.block(&other.make_person().await).await.expect(200);
        assert_eq!(end_of(&mut events).await, "token_expired");

        let fourth = Guard { token: Guard::token_of(&third.application, &third.api).await, ..third };
        let mut events = fourth.follow(None).await;
        curfew.core.feed.close();
        assert_eq!(end_of(&mut events).await, "stopping");
    }

    fn a_probe_at_another_node_is_answered_with_how_far_the_feed_had_come(curfew) {
        let Scene { operator, person, guard, .. } = Scene::make(&curfew).await;
        let other = curfew.another_node().await;
        let mut events = guard.follow(None).await;
        operator.block(&person).await.expect(200);
        let answer = guard.at(&other).probe(&events.stream.clone(), 1, json!({})).await.expect(200);
        let told = lanes(&answer.json()["position"]);
        events.next_of("ending").await;
        let own = lanes(&events.next_of("position").await["position"]);
        assert!(own.iter().zip(&told).all(|(own, told)| own >= told), "{own:?} {told:?}");
        assert!(told.iter().sum::<i64>() > 0, "the read began before the ending");
    }

    fn another_client_cannot_probe_for_a_guard(curfew) {
        let Scene { operator, guard, .. } = Scene::make(&curfew).await;
        let events = guard.follow(None).await;
        let second = operator.make_guard(&guard.api).await;
        // To it the stream is unknown, as one of another node would be.
        second.probe(&events.stream, 1, json!({})).await.expect(200);
        guard.probe(&events.stream, 1, json!({})).await.expect(202);
    }

    fn a_probe_that_is_none_is_refused(curfew) {
        let Scene { guard, .. } = Scene::make(&curfew).await;
        for more in [
            json!({"guard": {"name": "x", "lease_seconds": 0, "stale": "refuse"}}),
            json!({"guard": {"name": "x", "lease_seconds": 10, "stale": "pass"}}),
            json!({"probe": -1}),
            json!({"position": "here"}),
            json!({"activity": [["short", 1]]}),
        ] {
            let answer = guard.probe("s", 1, more.clone()).await.expect(400);
            assert_eq!(answer.json()["error"], "invalid_request", "{more}");
        }
    }

    fn activity_that_guards_report_moves_the_last_activity(curfew) {
        let Scene { person, tokens, guard, .. } = Scene::make(&curfew).await;
        let user = curfew_model::UserKey::parse(tokens.claims()["cfw"]["u"].as_str().unwrap()).unwrap();
        let last_activity = async || {
            let read = curfew.store().read(user, |tx, user| {
                Box::pin(curfew_store::users::find(tx, curfew_model::TenantId(1), user))
            });
            read.await.unwrap().expect("the user").last_activity.expect("an activity").seconds()
        };
        let before = last_activity().await;
        curfew.advance(3600);
        let now = curfew.now().seconds();
        let report = |at: i64| json!({"activity": [[tokens.claims()["cfw"]["u"], at]]});
        guard.probe("elsewhere", 1, report(now - 60)).await.expect(200);
        assert_eq!(last_activity().await, now - 60);
        assert!(before < now - 60);
        // Nobody is active in the future, and one report in a quarter of an hour is enough.
        guard.probe("elsewhere", 2, report(now + 9999)).await.expect(200);
        assert_eq!(last_activity().await, now - 60);
        curfew.advance(1800);
        guard.probe("elsewhere", 3, report(now + 99_999)).await.expect(200);
        assert_eq!(last_activity().await, now + 1800);
        drop(person);
    }

    fn what_another_node_ends_is_heard(curfew) {
        let Scene { operator, person, guard, .. } = Scene::make(&curfew).await;
        let other = curfew.another_node().await;
        let mut events = guard.follow(None).await;
        operator.at(&other).block(&person).await.expect(200);
        assert_eq!(events.next_of("ending").await["cause"], "user_blocked");
    }

    fn introspection_tells_the_callers_own_api_about_living_tokens(curfew) {
        let Scene { operator, person, tokens, guard, application } = Scene::make(&curfew).await;
        let claims = tokens.claims();
        let answer = guard.introspect(&tokens.access).await.expect(200).json();
        assert_eq!(answer["active"], true);
        for name in ["sub", "aud", "exp", "iat", "iss", "jti", "scope", "sid", "cfw"] {
            assert_eq!(answer[name], claims[name], "{name}");
        }
        assert_eq!(answer["client_id"], application.client_id);
        // By client authentication as well, but not for a client that has nothing to do with the API, nor for a public one.
        let own = guard.application.post("/oauth/introspect", &[("token", &tokens.access)]).await;
        assert_eq!(own.expect(200).json()["active"], true);
        let other = operator.make_guard(&operator.make_api().await).await;
        assert_eq!(other.introspect(&tokens.access).await.expect(200).json(), json!({"active": false}));
        application.post("/oauth/introspect", &[("token", &tokens.access)]).await.expect(401);
        for dead in ["rubbish", "a.b.c", tokens.refresh(), tokens.id.as_deref().unwrap()] {
            assert_eq!(guard.introspect(dead).await.expect(200).json(), json!({"active": false}));
        }
        guard.introspect("").await.expect(400);
        operator.block(&person).await.expect(200);
        assert_eq!(guard.introspect(&tokens.access).await.expect(200).json(), json!({"active": false}));
    }

    fn what_traefik_and_envoy_send_is_answered_as_their_examples_expect(curfew) {
        let Scene { operator, person, tokens, guard, .. } = Scene::make(&curfew).await;
        let audience: String = url::form_urlencoded::byte_serialize(guard.api.as_bytes()).collect();
        let send = async |request: http::request::Builder, token: &str| {
            let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            curfew.send(request.body(axum::body::Body::empty()).unwrap()).await
        };
        // Traefik asks with GET at the address of its configuration, and says what the request was in X-Forwarded-*.
        let traefik = || {
            http::Request::get(format!("/guard/check?audience={audience}"))
                .header("x-forwarded-method", "PUT")
                .header("x-forwarded-uri", "/orders/7")
                .header("x-forwarded-host", "orders.example")
        };
        // Envoy asks with the request's own method, and its path behind the prefix of its configuration.
        let envoy =
            || http::Request::put("/guard/check/orders/7?x=1").header("x-curfew-audience", &guard.api);
        for answer in [send(traefik(), &tokens.access).await, send(envoy(), &tokens.access).await] {
            let answer = answer.expect(200);
            assert_eq!(answer.headers["x-auth-subject"], person.user_id.as_str());
            for name in answer.headers.keys().filter(|name| name.as_str().starts_with("x-auth-")) {
                for example in [TRAEFIK, ENVOY] {
                    let named = example.to_lowercase().matches(name.as_str()).count();
                    assert!(named >= 2, "{name} is not both removed from the request and taken from the answer");
                }
            }
        }
        assert!(TRAEFIK.contains("https://login.example/guard/check?audience="));
        assert!(ENVOY.contains("path_prefix: /guard/check\n") && ENVOY.contains("key: x-curfew-audience"));
        assert!(ENVOY.contains("failure_mode_allow: false"));
        operator.block(&person).await.expect(200);
        for answer in [send(traefik(), &tokens.access).await, send(envoy(), &tokens.access).await] {
            let answer = answer.expect(401);
            assert!(answer.headers[WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
            assert!(ENVOY.contains("exact: www-authenticate"));
        }
    }

    fn a_proxy_is_told_who_asks_and_whom_to_refuse(curfew) {
        let Scene { operator, person, tokens, guard, application } = Scene::make(&curfew).await;
        let passed = guard.check(&tokens.access, "openid").await.expect(200);
        assert_eq!(passed.headers["x-auth-subject"], person.user_id.as_str());
        assert_eq!(passed.headers["x-auth-client"], application.client_id.as_str());
        assert_eq!(passed.headers["x-auth-scope"], tokens.scope.as_str());
        let short = guard.check(&tokens.access, "openid write:orders").await.expect(403);
        let challenge = "Bearer error=\"insufficient_scope\", scope=\"openid write:orders\"";
        assert_eq!(short.headers[WWW_AUTHENTICATE], challenge);
        let elsewhere = Guard { api: operator.make_api().await, ..guard.clone() };
        elsewhere.check(&tokens.access, "").await.expect(401);
        // Envoy asks with the method and the path of the request, and names the API in a header.
        let request = http::Request::post("/guard/check/orders/7")
            .header(AUTHORIZATION, format!("Bearer {}", tokens.access))
            .header("x-curfew-audience", &guard.api);
        curfew.send(request.body(axum::body::Body::empty()).unwrap()).await.expect(200);
        let unnamed = http::Request::get("/guard/check").body(axum::body::Body::empty()).unwrap();
        curfew.send(unnamed).await.expect(400);
        operator.block(&person).await.expect(200);
        let refused = guard.check(&tokens.access, "").await.expect(401);
        assert!(refused.headers[WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
    }
}
