//! Users, their sessions, refresh tokens and grants.

use curfew_model::{FamilyId, GrantKey};
use curfew_store::families::NewFamily;
use curfew_store::grants::GrantRow;
use curfew_testkit::both_engines;

use super::*;

/// Its name, how it is called (path by user, session, refresh token), and what is left afterwards.
type Door = (&'static str, Method, fn(&str, &str, &str) -> String, Option<Value>, [u16; 4]);

const CONNECTION: &str = "Username-Password-Authentication";

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}

impl Api {
    /// Begins a refresh-token family of a client for a user.
    async fn family(
        &self,
        person: &Person,
        client: &str,
        session: Option<Sid>,
        audience: Option<&str>,
    ) -> String {
        let (config, client) =
            self.core.configuration(TenantId(1), &ClientId::from(client)).await.expect("the configuration");
        let client = client.expect("the client");
        let connection = config.connection(&person.connection_id).expect("the connection");
        let ctx = self.ctx();
        let id = FamilyId { user: person.key, grant: GrantKey::generate(&SystemEntropy) };
        let new = NewFamily {
            id,
            client_id: client.id.clone(),
            client_counter: client.counter,
            connection_id: person.connection_id.clone(),
            connection_epoch: connection.epoch_for(&client.id).unwrap_or(0),
            audience: audience.map(str::to_owned),
            scope: "openid offline_access".into(),
            session_key: session.map(|sid| sid.session),
            auth_time: ctx.now,
            auth_time_wanted: false,
            provider: "auth0".into(),
            identity_id: person.id.0.trim_start_matches("auth0|").to_owned(),
            counter: person.counter,
            rotating: true,
            secret_hash: vec![1; 32],
            sealing_key: config.sealing.current().id(),
            issuer: ISSUER.into(),
            request_id: ctx.request.id,
            now: ctx.now,
            idle_expires_at: None,
            expires_at: None,
            device: "{}".into(),
        };
        self.core
            .store
            .transact(Lane::Ordinary, new, |tx, new| {
                Box::pin(curfew_store::families::insert(tx, TenantId(1), new))
            })
            .await
            .expect("a family");
        id.to_string()
    }

    /// The sample client, for which the default connection is enabled.
    async fn sample(&self) -> String {
        let (_, clients) = self.get("/clients?app_type=spa").await;
        text(&clients[0], "client_id").to_owned()
    }

    async fn statuses(&self, paths: &[String]) -> Vec<u16> {
        let mut statuses = Vec::new();
        for path in paths {
            statuses.push(self.get(path).await.0.as_u16());
        }
        statuses
    }
}

both_engines! {
    fn a_user_lives_its_life(store) {
        let api = Api::new(store).await;
        let sent = json!({"connection": CONNECTION, "email": "Ada@Example.com", "password": "Correct-Horse-9",
            "user_metadata": {"a": 1}, "app_metadata": {"plan": "x"}, "given_name": "Ada"});
        let (status, made) = api.post("/users", sent.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert!(text(&made, "user_id").starts_with("auth0|") && text(&made, "user_id").len() == 30);
        assert_eq!(
            (text(&made, "email"), text(&made, "name"), text(&made, "nickname"), &made["email_verified"]),
            ("ada@example.com", "ada@example.com", "ada", &json!(false))
        );
        for absent in ["password", "blocked", "last_login", "logins_count", "last_password_reset", "connection"] {
            assert!(made.get(absent).is_none(), "{absent}");
        }
        let identity = &made["identities"][0];
        assert_eq!((text(identity, "connection"), &identity["isSocial"]), (CONNECTION, &json!(false)));
        let (status, exists) = api.post("/users", sent).await;
        assert_eq!((status, text(&exists, "message")), (StatusCode::CONFLICT, "The user already exists."));

        let person = api.person(text(&made, "user_id")).await;
        let path = format!("/users/{}", person.segment());
        assert_eq!(api.get(&path).await, (StatusCode::OK, made.clone()));
        assert_eq!(api.get("/users-by-email?email=ADA%40example.com").await.1, json!([made]));
        assert_eq!(api.get("/users-by-email?email=nobody%40example.com").await.1, json!([]));

        api.advance(1);
        let (status, changed) = api
            .patch(&path, json!({"user_metadata": {"b": 2, "a": null}, "app_metadata": {}, "nickname": "A", "given_name": null}))
            .await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        assert_eq!((&changed["user_metadata"], text(&changed, "nickname")), (&json!({"b": 2}), "A"));
        assert!(changed.get("app_metadata").is_none() && changed.get("given_name").is_none());
        assert_ne!(changed["updated_at"], made["updated_at"]);

        let (_, blocked) = api.patch(&path, json!({"blocked": true})).await;
        assert_eq!(blocked["blocked"], json!(true));
        let (_, unblocked) = api.patch(&path, json!({"blocked": false})).await;
        assert_eq!(unblocked["blocked"], json!(false));

        assert_eq!(api.delete(&path).await, (StatusCode::NO_CONTENT, Value::Null));
        let (status, gone) = api.get(&path).await;
        assert_eq!(
            (status, text(&gone, "message"), text(&gone, "errorCode")),
            (StatusCode::NOT_FOUND, "The user does not exist.", "inexistent_user")
        );
        assert_eq!(api.delete(&path).await.0, StatusCode::NO_CONTENT);
        assert_eq!(api.endings("user_deleted").await, 1);
    }

    fn what_is_wrong_with_a_user_is_said(store) {
        let api = Api::new(store).await;
        let ada = api.user("ada@example.com").await;
        api.user("bob@example.com").await;
        let path = format!("/users/{}", ada.segment());
        let create = |more: Value| {
            let mut body = json!({"connection": CONNECTION, "email": "new@example.com", "password": "Correct-Horse-9"});
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            body
        };
        for (body, status, message) in [
            (create(json!({"connection": "Nothing"})), 404, "The connection does not exist"),
            (create(json!({"password": "a"})), 400, "PasswordStrengthError: Password is too weak"),
            (create(json!({"email": "x"})), 400, "Payload validation error: 'Object didn't pass validation for format email: x' on property email."),
            (create(json!({"foo": 1})), 400, "Payload validation error: 'Additional properties not allowed: foo'."),
            (create(json!({"user_id": "a|b"})), 400, "Payload validation error: 'Must not be empty or contain |' on property user_id."),
        ] {
            let (answered, refused) = api.post("/users", body).await;
            assert_eq!((answered.as_u16(), text(&refused, "message")), (status, message));
        }
        for (body, status) in [
            (json!({"email": "bob@example.com"}), 409),
            (json!({"email": "ada2@example.com", "username": "ada"}), 400),
            (json!({"password": "a"}), 400),
            (json!({"connection": "Nothing", "password": "Correct-Horse-10"}), 400),
            (json!({"app_metadata": {"a": "x".repeat(33_000)}}), 400),
        ] {
            let (answered, refused) = api.patch(&path, body.clone()).await;
            assert_eq!(answered.as_u16(), status, "{body} {refused}");
        }
        let (_, unchanged) = api.get(&path).await;
        assert_eq!(text(&unchanged, "email"), "ada@example.com");
        assert_eq!(api.patch("/users/auth0%7Cnobody", json!({"name": "x"})).await.0, StatusCode::NOT_FOUND);
        // The e-mail somebody failed to take is still free for others, and Ada's own still hers.
        assert_eq!(api.post("/users", json!({"connection": CONNECTION, "email": "ada@example.com"})).await.0, StatusCode::CONFLICT);
    }

    fn identities_are_linked_and_unlinked(store) {
        let api = Api::new(store).await;
        let (ada, bob) = (api.user("ada@example.com").await, api.user("bob@example.com").await);
        let path = format!("/users/{}/identities", ada.segment());
        let (status, linked) = api.post(&path, json!({"provider": "auth0", "user_id": bob.id})).await;
        assert_eq!(status, StatusCode::CREATED, "{linked}");
        assert_eq!(linked.as_array().expect("a list").len(), 2);
        assert_eq!(text(&linked[1]["profileData"], "email"), "bob@example.com");
        assert_eq!(api.get(&format!("/users/{}", bob.segment())).await.0, StatusCode::NOT_FOUND);
        assert_eq!(api.get("/users-by-email?email=bob%40example.com").await.1, json!([]));
        assert_eq!(api.get("/users").await.1.as_array().expect("a list").len(), 1);
        assert_eq!(api.post(&path, json!({"provider": "auth0", "user_id": bob.id})).await.0, StatusCode::CONFLICT);
        assert_eq!(api.post(&path, json!({"provider": "auth0", "user_id": ada.id})).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(api.post(&path, json!({"provider": "auth0"})).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(api.post(&path, json!({"link_with": "x.y.z"})).await.0, StatusCode::BAD_REQUEST);

        let identity = bob.id.0.trim_start_matches("auth0|");
        let (status, left) = api.delete(&format!("{path}/auth0/{identity}")).await;
        assert_eq!((status, left.as_array().expect("a list").len()), (StatusCode::OK, 1));
        let (_, again) = api.get(&format!("/users/{}", bob.segment())).await;
        assert_eq!(text(&again, "email"), "bob@example.com");
        let main = ada.id.0.trim_start_matches("auth0|");
        assert_eq!(api.delete(&format!("{path}/auth0/{main}")).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(api.delete(&format!("{path}/auth0/{identity}")).await.0, StatusCode::NOT_FOUND);
        assert_eq!(api.endings("identity_unlinked").await, 1);
    }

    fn an_account_is_linked_by_the_id_token_of_a_session_that_lives(store) {
        let api = Api::new(store).await;
        let (ada, bob) = (api.user("ada@example.com").await, api.user("bob@example.com").await);
        let session = api.session(&bob).await;
        let token = api.user_token(&ada, "update:current_user_identities").await;
        let now = api.clock.now().seconds();
        let claims = |aud: &str| json!({"iss": ISSUER, "sub": bob.id, "aud": aud, "iat": now, "exp": now + 60, "sid": session.to_string()});
        let path = format!("/users/{}/identities", ada.segment());
        let link = async |id_token: String| {
            api.call_as(&token, &Method::POST, &path, Some(json!({"link_with": id_token}))).await.0
        };
        assert_eq!(link(api.sign(&claims("another client")).await).await, StatusCode::BAD_REQUEST);
        let good = api.sign(&claims(BOOTSTRAP)).await;
        assert_eq!(api.delete(&format!("/sessions/{session}")).await.0, StatusCode::ACCEPTED);
        assert_eq!(link(good).await, StatusCode::BAD_REQUEST, "the session has ended");
        let session = api.session(&bob).await;
        let mut live = claims(BOOTSTRAP);
        live["sid"] = json!(session.to_string());
        assert_eq!(link(api.sign(&live).await).await, StatusCode::CREATED);
    }

    fn a_session_is_shown_annotated_and_ended(store) {
        let api = Api::new(store).await;
        let ada = api.user("ada@example.com").await;
        let (one, two) = (api.session(&ada).await.to_string(), api.session(&ada).await.to_string());
        let path = format!("/sessions/{one}");
        let (status, shown) = api.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{shown}");
        assert_eq!((text(&shown, "id"), text(&shown, "user_id")), (one.as_str(), ada.id.as_str()));
        assert_eq!(text(&shown["authentication"]["methods"][0], "name"), "pwd");
        assert_eq!(text(&shown["cookie"], "mode"), "persistent");
        assert_eq!(text(&shown["device"], "initial_ip"), "192.0.2.1");

        let (status, noted) = api.patch(&path, json!({"session_metadata": {"k": "v"}})).await;
        assert_eq!((status, &noted["session_metadata"]), (StatusCode::OK, &json!({"k": "v"})));
        let (status, refused) = api.patch(&path, json!({"session_metadata": {"k": 1}})).await;
        assert_eq!(
            (status, text(&refused, "message")),
            (StatusCode::BAD_REQUEST, "Metadata must not exceed 25 entries. Each key and value must be ≤ 255 characters.")
        );
        let (_, cleared) = api.patch(&path, json!({"session_metadata": null})).await;
        assert!(cleared.get("session_metadata").is_none());

        let list = format!("/users/{}/sessions", ada.segment());
        let (_, first) = api.get(&format!("{list}?take=1&include_totals=true")).await;
        let (_, second) = api.get(&format!("{list}?take=1&from={}", text(&first, "next"))).await;
        assert!(second.get("next").is_none());
        let mut ids = vec![text(&first["sessions"][0], "id"), text(&second["sessions"][0], "id")];
        let mut both = vec![one.as_str(), two.as_str()];
        ids.sort_unstable();
        both.sort_unstable();
        assert_eq!(ids, both);

        assert_eq!(api.delete(&path).await, (StatusCode::ACCEPTED, json!({})));
        assert_eq!(api.get(&path).await.0, StatusCode::NOT_FOUND);
        assert_eq!(api.patch(&path, json!({})).await.0, StatusCode::NOT_FOUND);
        assert_eq!(api.delete(&path).await.0, StatusCode::ACCEPTED);
        assert_eq!(api.delete("/sessions/nothing").await.0, StatusCode::ACCEPTED);
        let revoke = |id: &str| format!("/sessions/{id}/revoke");
        assert_eq!(api.call_as(&api.admin, &Method::POST, &revoke("nothing"), None).await.0, StatusCode::NOT_FOUND);
        let answer = api.call_as(&api.admin, &Method::POST, &revoke(&two), None).await;
        assert_eq!(answer, (StatusCode::ACCEPTED, json!({})));
        assert_eq!(api.get(&list).await.1["sessions"], json!([]));
        assert_eq!(api.get("/users/auth0%7Cnobody/sessions").await.0, StatusCode::NOT_FOUND);
    }

    fn each_door_ends_what_its_row_names(store) {
        let api = Api::new(store).await;
        let sample = api.sample().await;
        // (how, body, sessions and refresh tokens that are left of: the one named, the other of this user)
        let doors: [Door; 9] = [
            ("block", Method::PATCH, |user, _, _| format!("/users/{user}"), Some(json!({"blocked": true})), [404; 4]),
            ("delete", Method::DELETE, |user, _, _| format!("/users/{user}"), None, [404; 4]),
            ("sessions", Method::DELETE, |user, _, _| format!("/users/{user}/sessions"), None, [404, 404, 200, 200]),
            ("tokens", Method::DELETE, |user, _, _| format!("/users/{user}/refresh-tokens"), None, [200, 200, 404, 404]),
            ("access", Method::POST, |user, _, _| format!("/users/{user}/revoke-access"), None, [404; 4]),
            ("access but tokens", Method::POST, |user, _, _| format!("/users/{user}/revoke-access"),
                Some(json!({"preserve_refresh_tokens": true})), [404, 404, 200, 200]),
            ("session", Method::DELETE, |_, session, _| format!("/sessions/{session}"), None, [404, 200, 200, 200]),
            ("revoke session", Method::POST, |_, session, _| format!("/sessions/{session}/revoke"), None, [404, 200, 404, 200]),
            ("token", Method::DELETE, |_, _, token| format!("/refresh-tokens/{token}"), None, [200, 200, 404, 200]),
        ];
        for (index, (name, method, path, body, left)) in doors.into_iter().enumerate() {
            let ada = api.user(&format!("ada{index}@example.com")).await;
            let bystander = api.user(&format!("bob{index}@example.com")).await;
            let (one, two, other) =
                (api.session(&ada).await, api.session(&ada).await, api.session(&bystander).await);
            let tokens = [
                api.family(&ada, &sample, Some(one), None).await,
                api.family(&ada, &sample, Some(two), None).await,
                api.family(&bystander, &sample, Some(other), None).await,
            ];
            let paths = [
                format!("/sessions/{one}"),
                format!("/sessions/{two}"),
                format!("/refresh-tokens/{}", tokens[0]),
                format!("/refresh-tokens/{}", tokens[1]),
            ];
            assert_eq!(api.statuses(&paths).await, [200; 4], "{name}");
            let path = path(&ada.segment(), &one.to_string(), &tokens[0]);
            let (status, answer) = api.call_as(&api.admin, &method, &path, body).await;
            assert!(status.is_success(), "{name} {answer}");
            assert_eq!(api.statuses(&paths).await, left, "{name}");
            let others = [format!("/sessions/{other}"), format!("/refresh-tokens/{}", tokens[2])];
            assert_eq!(api.statuses(&others).await, [200; 2], "{name}");
        }
    }

    fn refresh_tokens_are_shown_annotated_and_revoked(store) {
        let api = Api::new(store).await;
        let sample = api.sample().await;
        let machine = api.machine().await;
        let (_, connections) = api.get("/connections").await;
        let enable = json!([{"client_id": machine, "status": true}]);
        let clients = format!("/connections/{}/clients", text(&connections[0], "id"));
        assert_eq!(api.patch(&clients, enable).await.0, StatusCode::NO_CONTENT);
        let ada = api.user("ada@example.com").await;
        let session = api.session(&ada).await;
        let one = api.family(&ada, &sample, Some(session), Some(AUDIENCE)).await;
        let two = api.family(&ada, &machine, None, None).await;
        let path = format!("/refresh-tokens/{one}");
        let (_, shown) = api.get(&path).await;
        assert_eq!(
            (&shown["id"], &shown["client_id"], &shown["session_id"], &shown["rotating"]),
            (&json!(one), &json!(sample), &json!(session.to_string()), &json!(true))
        );
        assert_eq!(shown["resource_servers"], json!([{"audience": AUDIENCE, "scopes": "openid offline_access"}]));
        assert_eq!((&shown["expires_at"], &shown["last_exchanged_at"]), (&Value::Null, &Value::Null));
        assert_eq!(api.get(&format!("/refresh-tokens/{two}")).await.1["session_id"], Value::Null);
        let (_, noted) = api.patch(&path, json!({"refresh_token_metadata": {"k": "v"}})).await;
        assert_eq!(noted["refresh_token_metadata"], json!({"k": "v"}));
        assert_eq!(api.get(&path).await.1, noted);

        let list = format!("/refresh-tokens?user_id={}", ada.segment());
        assert_eq!(api.get(&list).await.1["refresh_tokens"].as_array().expect("a list").len(), 2);
        let (_, of_client) = api.get(&format!("{list}&client_id={machine}")).await;
        assert_eq!(text(&of_client["refresh_tokens"][0], "id"), two);
        let of_user = format!("/users/{}/refresh-tokens", ada.segment());
        assert_eq!(api.get(&of_user).await.1["tokens"].as_array().expect("a list").len(), 2);
        assert_eq!(api.get("/refresh-tokens").await.0, StatusCode::BAD_REQUEST);

        let revoke = async |body: Value| api.post("/refresh-tokens/revoke", body).await.0;
        for bad in [
            json!({}),
            json!({"client_id": sample}),
            json!({"ids": [one], "user_id": ada.id}),
            json!({"user_id": ada.id, "audience": AUDIENCE}),
            json!({"ids": []}),
            json!({"ids": vec!["x"; 101]}),
        ] {
            assert_eq!(revoke(bad.clone()).await, StatusCode::BAD_REQUEST, "{bad}");
        }
        let paths = [path, format!("/refresh-tokens/{two}")];
        assert_eq!(revoke(json!({"ids": ["unknown"]})).await, StatusCode::ACCEPTED);
        assert_eq!(revoke(json!({"user_id": ada.id, "client_id": sample, "audience": "https://other/"})).await, StatusCode::ACCEPTED);
        assert_eq!(api.statuses(&paths).await, [200, 200]);
        assert_eq!(revoke(json!({"user_id": ada.id, "client_id": sample, "audience": AUDIENCE})).await, StatusCode::ACCEPTED);
        assert_eq!(api.statuses(&paths).await, [404, 200]);
        assert_eq!(revoke(json!({"ids": [two]})).await, StatusCode::ACCEPTED);
        assert_eq!(api.statuses(&paths).await, [404, 404]);
    }

    fn a_deleted_grant_takes_its_refresh_tokens_along(store) {
        let api = Api::new(store).await;
        let sample = api.sample().await;
        let ada = api.user("ada@example.com").await;
        let with_grant = api.family(&ada, &sample, None, Some(AUDIENCE)).await;
        let without = api.family(&ada, &sample, None, None).await;
        let rows = [("1", AUDIENCE), ("2", "https://other/")].map(|(id, audience)| GrantRow {
            id: id.into(),
            client_id: ClientId::from(sample.as_str()),
            user_key: ada.key,
            audience: audience.into(),
            scope: "read:a read:b".into(),
            user_id: String::new(),
        });
        api.core
            .store
            .transact(Lane::Ordinary, rows, |tx, rows| Box::pin(async move {
                for row in rows {
                    curfew_store::grants::upsert(tx, TenantId(1), row, START).await?;
                }
                Ok(())
            }))
            .await
            .expect("grants");
        let (_, page) = api.get(&format!("/grants?user_id={}&include_totals=true", ada.segment())).await;
        assert_eq!(page["total"], json!(2));
        assert_eq!(
            page["grants"][0],
            json!({"id": "1", "clientID": sample, "user_id": ada.id, "audience": AUDIENCE, "scope": ["read:a", "read:b"]})
        );
        assert_eq!(api.get("/grants?audience=https%3A%2F%2Fother%2F").await.1.as_array().expect("a list").len(), 1);
        let paths = [format!("/refresh-tokens/{with_grant}"), format!("/refresh-tokens/{without}")];
        assert_eq!(api.statuses(&paths).await, [200, 200]);
        assert_eq!(api.delete("/grants/1").await.0, StatusCode::NO_CONTENT);
        assert_eq!(api.statuses(&paths).await, [404, 200]);
        assert_eq!(api.delete("/grants").await.0, StatusCode::BAD_REQUEST);
        assert_eq!(api.delete(&format!("/grants?user_id={}", ada.segment())).await.0, StatusCode::NO_CONTENT);
        assert_eq!(api.get("/grants").await.1, json!([]));
        assert_eq!(api.endings("grant_deleted").await, 2);
    }

    fn the_users_of_a_deleted_connection_go_with_it(store) {
        let api = Api::new(store).await;
        let ada = api.user("ada@example.com").await;
        let session = api.session(&ada).await;
        let (_, connections) = api.get("/connections").await;
        let id = text(&connections[0], "id").to_owned();
        let path = format!("/connections/{id}/users?email=nobody%40example.com");
        assert_eq!(api.delete(&path).await.0, StatusCode::NO_CONTENT);
        let bob = api.user("bob@example.com").await;
        assert_eq!(api.delete(&format!("/connections/{id}/users?email=bob%40example.com")).await.0, StatusCode::NO_CONTENT);
        assert_eq!(api.get(&format!("/users/{}", bob.segment())).await.0, StatusCode::NOT_FOUND);
        assert_eq!(api.delete(&format!("/connections/{id}")).await.0, StatusCode::ACCEPTED);
        // Access is over with the answer; the row follows.
        assert_eq!(api.get(&format!("/sessions/{session}")).await.0, StatusCode::NOT_FOUND);
        let path = format!("/users/{}", ada.segment());
        let deleted = async {
            while api.get(&path).await.0 != StatusCode::NOT_FOUND {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), deleted).await.expect("the user is deleted");
    }
}
