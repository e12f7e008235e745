//! Token Status Lists: an API that asks for it gets access tokens whose status stands in a signed list, and the bit there says
//! what introspection would say. The matrix tries the list for every cause of an ending; here are the tokens of every
//! grant, the list itself, and its indexes.

use std::sync::Arc;

use axum::body::Body;
use curfew_model::{ClientId, Entropy, GrantKey, SystemEntropy, TenantId};
use curfew_store::Lane;
use curfew_store::status_lists::{self, Entry, Origin, Subject};
use http::Request;
use serde_json::{Value, json};

use crate::support::{
    Answer, Application, CONNECTION, Curfew, MANAGEMENT, Operator, StatusList, Tokens, claims, reference,
    status,
};

const OFFLINE: &str = "openid profile email offline_access";
const DAY: i64 = 86_400;

/// How many indexes are taken in each list.
async fn taken(curfew: &Curfew) -> Vec<i64> {
    let read = curfew.store().read(TenantId(1), |tx, tenant| {
        Box::pin(async move {
            let mut taken = Vec::new();
            for (list, _) in status_lists::list(tx, *tenant).await? {
                taken.push(status_lists::count(tx, *tenant, &list).await?);
            }
            Ok(taken)
        })
    });
    read.await.expect("the lists")
}

fn sorted(mut counts: Vec<i64>) -> Vec<i64> {
    counts.sort_unstable();
    counts
}

/// Takes many indexes of the one list, for tokens of a client that there is not. Answers how many.
async fn crowd(curfew: &Curfew, indexes: std::ops::Range<u32>) -> usize {
    let taken = curfew.store().transact(Lane::Ordinary, (curfew.now(), indexes), |tx, (now, indexes)| {
        Box::pin(async move {
            let tenant = TenantId(1);
            let list_id = status_lists::open(tx, tenant).await?.expect("a list");
            let client_id = ClientId("nobody".to_owned());
            let origin = Origin { client_id, user_counter: 0, audience: "https://api.example/".to_owned() };
            let mut taken = 0;
            for idx in indexes.clone() {
                let entry = Entry { list_id: list_id.clone(), idx, keep_until: now.plus_seconds(DAY) };
                let grant = GrantKey::generate(&SystemEntropy);
                let kid = String::new();
                let subject = Subject { user: None, grant, session: None, client_counter: 0, kid };
                taken += usize::from(status_lists::allot(tx, tenant, &entry, &subject, &origin, *now).await?);
            }
            Ok(taken)
        })
    });
    taken.await.expect("the indexes")
}

/// An API that asks.
async fn asking(operator: &Operator, more: Value) -> String {
    let mut doc = json!({"token_status_list": {"enabled": true}});
    doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    operator.make_api_with(doc).await
}

/// A confidential client of every kind, with a client grant for an API.
async fn make_client(operator: &Operator, api: &str) -> Application {
    let grants = ["authorization_code", "refresh_token", "client_credentials", "password", "implicit"];
    let doc = json!({
        "app_type": "regular_web", "grant_types": grants,
        "refresh_token": {"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0},
    });
    let client = operator.make_client(doc).await;
    let grant = json!({"client_id": client.client_id, "audience": api, "scope": []});
    operator.post("/client-grants", grant).await.expect(201);
    client
}

async fn machine_token(client: &Application, api: &str) -> Answer {
    client.token(&[("grant_type", "client_credentials"), ("audience", api)]).await
}

fn refreshed(answer: &Answer) -> (String, String) {
    let tokens = Tokens::of(answer);
    (tokens.access.clone(), tokens.refresh().to_owned())
}

in_a_box! {
    fn a_session_has_one_index_and_its_bit_is_its_life(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada, api) = (operator.make_spa().await, operator.make_person().await, asking(&operator, json!({})).await);
        let browser = curfew.browser();
        let tokens = browser.sign_in(&spa, &ada, &[("audience", &api), ("scope", OFFLINE)]).await;
        let (uri, idx) = reference(&tokens.access);
        assert!(uri.starts_with("https://id.example/status-lists/") && idx < 1 << 17, "{uri} {idx}");
        assert_eq!(status(&curfew, &tokens.access).await, 0);
        // A rotation finds the entry again, at each node.
        let (second, refresh) = refreshed(&spa.refresh(tokens.refresh()).await);
        let node = curfew.another_node().await;
        let (third, _) = refreshed(&spa.at(&node).refresh(&refresh).await);
        assert_eq!((reference(&second), reference(&third)), ((uri.clone(), idx), (uri.clone(), idx)));
        // Another browser's session has another, and stays when this one ends.
        let other = curfew.browser().sign_in(&spa, &ada, &[("audience", &api), ("scope", OFFLINE)]).await;
        assert_ne!(reference(&other.access), (uri, idx));
        let sid = tokens.claims()["sid"].as_str().unwrap().to_owned();
        operator.post(&format!("/sessions/{sid}/revoke"), json!({})).await.expect(202);
        for (token, expected) in [(&tokens.access, 1), (&third, 1), (&other.access, 0)] {
            assert_eq!((status(&curfew, token).await, status(&node, token).await), (expected, expected));
        }
        operator.block(&ada).await.expect(200);
        assert_eq!(status(&curfew, &other.access).await, 1);
        operator.change_user(&ada, json!({"blocked": false})).await.expect(200);
        assert_eq!(status(&curfew, &other.access).await, 1, "unblocking brings nothing back");
    }

    fn tokens_of_every_grant_have_a_status(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({})).await;
        operator.patch("/tenants/settings", json!({"default_directory": CONNECTION})).await.expect(200);
        let (client, ada) = (make_client(&operator, &api).await, operator.make_person().await);
        let browser = curfew.browser();
        let asked = [("audience", &*api)];
        let by_code = browser.sign_in(&client, &ada, &asked).await.access;
        let mut tokens = vec![by_code];
        for response_type in ["token", "code token", "code id_token token"] {
            let more = [("audience", &*api), ("response_type", response_type)];
            let response = browser.authorize(&client, &more).await.response();
            tokens.push(response["access_token"].clone());
            if let Some(code) = response.get("code") {
                // The same session, grant and client: the same index.
                let redeemed = Tokens::of(&client.redeem(code).await).access;
                assert_eq!(reference(&redeemed), reference(tokens.last().unwrap()), "{response_type}");
            }
        }
        for scope in ["openid", OFFLINE] {
            let fields = [
                ("grant_type", "password"), ("username", &*ada.email), ("password", &*ada.password),
                ("audience", &*api), ("scope", scope),
            ];
            tokens.push(Tokens::of(&client.token(&fields).await).access);
        }
        let own = Tokens::of(&machine_token(&client, &api).await).access;
        let mut places: Vec<_> = tokens.iter().chain([&own]).map(|token| reference(token)).collect();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), tokens.len() + 1, "each has an index of its own");
        for token in tokens.iter().chain([&own]) {
            assert_eq!(status(&curfew, token).await, 0, "{}", claims(token));
        }
        operator.block(&ada).await.expect(200);
        for token in &tokens {
            assert_eq!(status(&curfew, token).await, 1, "{}", claims(token));
        }
        assert_eq!(status(&curfew, &own).await, 0, "the client's own token is nobody's else");
        // An ID token alone, and a token for /userinfo, name no status.
        let before = taken(&curfew).await;
        let bob = operator.make_person().await;
        let browser = curfew.browser();
        browser.sign_in(&client, &bob, &[]).await;
        browser.authorize(&client, &[("response_type", "id_token"), ("audience", &api)]).await.response();
        assert_eq!(taken(&curfew).await, before);
    }

    fn a_clients_own_index_is_its_client_grants(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({})).await;
        let client = make_client(&operator, &api).await;
        let answers = tokio::join!(
            machine_token(&client, &api), machine_token(&client, &api),
            machine_token(&client, &api), machine_token(&client, &api)
        );
        let tokens: Vec<String> =
            [answers.0, answers.1, answers.2, answers.3].iter().map(|answer| Tokens::of(answer).access).collect();
        let first = reference(&tokens[0]);
        assert!(tokens.iter().all(|token| reference(token) == first), "whoever is second finds the first's");
        // Who opens a list at the same instant opens one more; it stays empty until the older one is full.
        assert_eq!(taken(&curfew).await.iter().sum::<i64>(), 1);
        assert_eq!(status(&curfew, &tokens[0]).await, 0);
        let path = format!("/client-grants?client_id={}", client.client_id);
        let grant = operator.get(&path).await.expect(200).json()[0]["id"].as_str().unwrap().to_owned();
        operator.delete(&format!("/client-grants/{grant}")).await.expect(204);
        assert_eq!(status(&curfew, &tokens[0]).await, 1);
        // Made again it is another one: nothing lives again.
        let again = json!({"client_id": client.client_id, "audience": api, "scope": []});
        operator.post("/client-grants", again).await.expect(201);
        let newer = Tokens::of(&machine_token(&client, &api).await).access;
        assert_ne!(reference(&newer), first);
        assert_eq!((status(&curfew, &tokens[0]).await, status(&curfew, &newer).await), (1, 0));
    }

    fn older_and_newer_tokens_of_one_family_may_live_differently(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({})).await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let asked = [("audience", &*api), ("scope", OFFLINE)];
        let tokens = curfew.browser().sign_in(&spa, &ada, &asked).await;
        // The session ends and the refresh token stays: what named the session is over, what comes next names none.
        let sid = tokens.claims()["sid"].as_str().unwrap().to_owned();
        operator.delete(&format!("/sessions/{sid}")).await.expect(202);
        let (without, refresh) = refreshed(&spa.refresh(tokens.refresh()).await);
        assert_eq!((status(&curfew, &tokens.access).await, status(&curfew, &without).await), (1, 0));
        // Another connection is taken from the client: that ends the access tokens of all its users.
        let connection = operator.make_connection(json!({})).await;
        operator.enable(&connection, &spa.client_id, true).await;
        operator.enable(&connection, &spa.client_id, false).await;
        let (newer, refresh) = refreshed(&spa.refresh(&refresh).await);
        assert_eq!((status(&curfew, &without).await, status(&curfew, &newer).await), (1, 0));
        // The key that signed is revoked.
        let kid = curfew_tokens::parse_compact(&newer).unwrap().header.kid.unwrap();
        operator.put(&format!("/keys/signing/{kid}/revoke")).await.expect(200);
        let (newest, _) = refreshed(&spa.refresh(&refresh).await);
        assert_eq!((status(&curfew, &newer).await, status(&curfew, &newest).await), (1, 0));
        // The operator's token was signed by it as well.
        curfew.operator().await.block(&ada).await.expect(200);
        assert_eq!(status(&curfew, &newest).await, 1);
    }

    fn a_session_that_times_out_takes_no_token_along_that_a_family_stands_behind(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({"token_lifetime": 30 * DAY, "token_lifetime_for_web": 7200})).await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let with = browser.sign_in(&spa, &ada, &[("audience", &api), ("scope", OFFLINE)]).await;
        let without = browser.sign_in_again(&spa, &[("audience", &api)]).await;
        assert_eq!((status(&curfew, &with.access).await, status(&curfew, &without.access).await), (0, 0));
        // Nobody has ended the session: its time is over.
        curfew.advance(3 * DAY + 60);
        assert_eq!((status(&curfew, &with.access).await, status(&curfew, &without.access).await), (0, 1));
        curfew.sweep().await;
        assert_eq!((status(&curfew, &with.access).await, status(&curfew, &without.access).await), (0, 1));
    }

    fn an_api_begins_and_ceases_to_ask(curfew) {
        let operator = curfew.operator().await;
        let api = operator.make_api().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let before = browser.sign_in(&spa, &ada, &[("audience", &api), ("scope", OFFLINE)]).await;
        assert_eq!(before.claims().get("status"), None);
        let path = format!("/resource-servers/{}", api.replace(':', "%3A").replace('/', "%2F"));
        let asks = json!({"token_status_list": {"enabled": true}});
        let doc = operator.patch(&path, asks.clone()).await.expect(200).json();
        assert_eq!(doc["token_status_list"], asks["token_status_list"]);
        let (during, refresh) = refreshed(&spa.refresh(before.refresh()).await);
        assert_eq!(status(&curfew, &during).await, 0);
        operator.patch(&path, json!({"token_status_list": null})).await.expect(200);
        let (after, _) = refreshed(&spa.refresh(&refresh).await);
        assert_eq!(claims(&after).get("status"), None);
        // What was issued meanwhile has its status for as long as it lives.
        operator.block(&ada).await.expect(200);
        assert_eq!(status(&curfew, &during).await, 1);
        for wrong in [json!({}), json!({"enabled": "yes"}), json!(true), json!({"enabled": true, "ttl": 1})] {
            operator.patch(&path, json!({"token_status_list": wrong})).await.expect(400);
        }
        let system = json!({"token_status_list": {"enabled": true}});
        let management = MANAGEMENT.replace(':', "%3A").replace('/', "%2F");
        operator.patch(&format!("/resource-servers/{management}"), system).await.expect(400);
    }

    fn for_an_api_that_does_not_ask_nothing_is_written(curfew) {
        let operator = curfew.operator().await;
        let api = operator.make_api().await;
        let (client, ada) = (make_client(&operator, &api).await, operator.make_person().await);
        let browser = curfew.browser();
        let tokens = browser.sign_in(&client, &ada, &[("audience", &api), ("scope", OFFLINE)]).await;
        let (access, refresh) = refreshed(&client.refresh(tokens.refresh()).await);
        refreshed(&client.refresh(&refresh).await);
        browser.sign_in_again(&client, &[("audience", &api)]).await;
        browser.authorize(&client, &[("audience", &api), ("response_type", "token")]).await.response();
        let own = Tokens::of(&machine_token(&client, &api).await);
        assert!(claims(&access).get("status").is_none() && own.claims().get("status").is_none());
        assert_eq!(taken(&curfew).await, [] as [i64; 0]);
    }

    fn a_list_is_served_as_the_specification_says(curfew) {
        let operator = curfew.operator().await;
        let browser = curfew.browser();
        let document = browser.get(".well-known/oauth-authorization-server").await.json();
        let aggregation = document["status_list_aggregation_endpoint"].as_str().unwrap().to_owned();
        let answer = browser.get(&aggregation).await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json(), json!({"status_lists": []}));
        let api = asking(&operator, json!({})).await;
        let client = make_client(&operator, &api).await;
        let token = Tokens::of(&machine_token(&client, &api).await).access;
        let (uri, idx) = reference(&token);
        assert_eq!(browser.get(&aggregation).await.json(), json!({"status_lists": [uri]}));
        let answer = StatusList::fetch(&curfew, &uri).await.expect(200);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=10"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("vary"), Some("accept"));
        let list = StatusList::get(&curfew, &uri).await;
        assert_eq!(list.claims["iss"], "https://id.example/");
        assert_eq!(list.claims["ttl"], 10);
        assert_eq!(list.claims["exp"].as_i64().unwrap() - list.claims["iat"].as_i64().unwrap(), 30);
        assert_eq!(list.claims["status_list"]["aggregation_uri"], *aggregation);
        assert_eq!((list.at(idx), list.invalid()), (0, 0));
        // Shared within a second: the same bytes, which a verifier need not load again.
        let etag = answer.header("etag").unwrap().to_owned();
        let ask = async |name: &'static str, value: &str| {
            let path = uri.strip_prefix("https://id.example").unwrap();
            curfew.send(Request::get(path).header(name, value).body(Body::empty()).unwrap()).await
        };
        let unchanged = ask("if-none-match", &format!("\"x\", W/{etag}")).await.expect(304);
        assert!(unchanged.body.is_empty());
        assert_eq!(unchanged.header("etag"), Some(&*etag));
        ask("if-none-match", "\"x\"").await.expect(200);
        operator.post("/endings", json!({"client_id": client.client_id})).await.expect(201);
        assert_eq!(StatusList::get(&curfew, &uri).await.invalid(), 0, "a list is shared for a second");
        curfew.advance(1);
        assert_eq!(StatusList::get(&curfew, &uri).await.invalid(), 1);
        ask("if-none-match", &etag).await.expect(200);
        for accepted in ["*/*", "application/*;q=0.1, text/html", "application/statuslist+jwt"] {
            ask("accept", accepted).await.expect(200);
        }
        for refused in ["application/statuslist+cwt", "application/json", "text/html", "*/*;q=0"] {
            let refused = ask("accept", refused).await.expect(406);
            assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
        }
        browser.get(&format!("{uri}?time=1686925000")).await.expect(501);
        browser.get(&format!("{uri}?other=1")).await.expect(200);
        for unknown in ["x", "AAAAAAAAAAAAAAAA", "%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00", "..%2f", "%ff"] {
            let answer = browser.get(&format!("status-lists/{unknown}")).await;
            assert!([400, 404].contains(&answer.status.as_u16()), "{unknown}: {}", answer.status);
        }
        // Under another domain of the tenant a list has that domain's name.
        let other = curfew.under("other.example").await;
        let answer = other.send(Request::get(uri.strip_prefix("https://id.example").unwrap()).body(Body::empty()).unwrap());
        let elsewhere = claims(&answer.await.expect(200).text());
        assert_eq!(elsewhere["sub"], uri.replace("id.example", "other.example"));
        // And its own again, within the same second.
        StatusList::get(&curfew, &uri).await;
    }

    fn a_revoked_key_signs_no_list(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({"signing_alg": "ES256"})).await;
        let client = make_client(&operator, &api).await;
        let token = Tokens::of(&machine_token(&client, &api).await).access;
        let (uri, _) = reference(&token);
        let node = curfew.another_node().await;
        let first = StatusList::fetch(&node, &uri).await.expect(200).text();
        let kid = curfew_tokens::parse_compact(&first).unwrap().header.kid.unwrap();
        operator.put(&format!("/keys/signing/{kid}/revoke")).await.expect(200);
        // Within the same second, at a node that shares one that the key had signed.
        StatusList::get(&node, &uri).await;
    }

    fn an_index_is_used_again_when_no_token_and_no_list_names_it(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({"token_lifetime": 600, "token_lifetime_for_web": 600})).await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let once = browser.sign_in(&spa, &ada, &[("audience", &api)]).await;
        let family = browser.sign_in_again(&spa, &[("audience", &api), ("scope", OFFLINE)]).await;
        assert_eq!(taken(&curfew).await, [2]);
        operator.block(&ada).await.expect(200);
        assert_eq!((status(&curfew, &once.access).await, status(&curfew, &family.access).await), (1, 1));
        // The token is over: the list says nothing of it any more, and the index rests.
        curfew.advance(601);
        let (uri, idx) = reference(&once.access);
        assert_eq!(StatusList::get(&curfew, &uri).await.at(idx), 0);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [2]);
        curfew.advance(600);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [1]);
        // A family's entry is kept for the tokens that it may give.
        assert_eq!(status(&curfew, &family.access).await, 1);
        curfew.advance(2 * DAY);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [0], "the list is open");
    }

    fn an_entry_is_written_once_a_day_and_kept_as_long_as_its_tokens(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({"token_lifetime": 3600, "token_lifetime_for_web": 3600})).await;
        let client = make_client(&operator, &api).await;
        let first = reference(&Tokens::of(&machine_token(&client, &api).await).access);
        for _ in 0..30 {
            curfew.advance(2 * 3600);
            curfew.sweep().await;
            let token = Tokens::of(&machine_token(&client, &api).await).access;
            assert_eq!(reference(&token), first, "it is in use");
            assert_eq!(status(&curfew, &token).await, 0);
        }
        // Its last token is over and the sweep has not come yet: the same one again.
        curfew.advance(5 * DAY);
        let token = Tokens::of(&machine_token(&client, &api).await).access;
        assert_eq!(reference(&token), first);
        assert_eq!(status(&curfew, &token).await, 0);
        curfew.advance(5 * DAY);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [0]);
        let token = Tokens::of(&machine_token(&client, &api).await).access;
        assert_eq!(status(&curfew, &token).await, 0);
    }

    /// What is left of a list that was full a moment ago: whoever had found it open may still take an index of it.
    fn a_list_that_has_just_become_full_stays(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({"token_lifetime": 60, "token_lifetime_for_web": 60})).await;
        operator.patch("/tenants/settings", json!({"default_directory": CONNECTION})).await.expect(200);
        let (client, ada) = (make_client(&operator, &api).await, operator.make_person().await);
        let node = curfew.another_node_with(Arc::new(NoChance)).await;
        let fields = [
            ("grant_type", "password"), ("username", &*ada.email), ("password", &*ada.password), ("audience", &*api),
        ];
        for _ in 0..2 {
            client.at(&node).token(&fields).await.expect(200);
        }
        assert_eq!(taken(&curfew).await, [1, 1]);
        curfew.advance(661);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [0, 0]);
        curfew.advance(3000);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [0], "the one that is open");
    }

    fn a_long_list_tells_of_each_index(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({})).await;
        let client = make_client(&operator, &api).await;
        let token = Tokens::of(&machine_token(&client, &api).await).access;
        let (uri, idx) = reference(&token);
        // Before it and behind it, and more of them than are read at once.
        let ended = crowd(&curfew, 0..2100).await + crowd(&curfew, (1 << 17) - 10..1 << 17).await;
        curfew.advance(1);
        let list = StatusList::get(&curfew, &uri).await;
        assert_eq!((list.at(idx), usize::try_from(list.invalid()).unwrap()), (0, ended));
        operator.post("/endings", json!({"client_id": client.client_id})).await.expect(201);
        assert_eq!(status(&curfew, &token).await, 1);
    }

    fn tokens_without_a_refresh_token_end_with_what_they_hang_on_alone(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({})).await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let asked = [("audience", &*api)];
        let token = browser.sign_in(&spa, &ada, &asked).await.access;
        assert_eq!(status(&curfew, &token).await, 0);
        // What the client holds for the user.
        let pair = json!({"user_id": ada.user_id, "client_id": spa.client_id});
        operator.post("/refresh-tokens/revoke", pair).await.expect(202);
        let next = browser.sign_in_again(&spa, &asked).await.access;
        assert_eq!((status(&curfew, &token).await, status(&curfew, &next).await), (1, 0));
        // The API; another one of its name has nothing to do with it.
        operator.delete(&format!("/resource-servers/{}", api.replace(':', "%3A").replace('/', "%2F"))).await.expect(204);
        assert_eq!(status(&curfew, &next).await, 1);
        asking(&operator, json!({"identifier": api})).await;
        curfew.advance(1);
        let newest = browser.sign_in_again(&spa, &asked).await.access;
        assert_eq!((status(&curfew, &next).await, status(&curfew, &newest).await), (1, 0));
        // The client.
        operator.delete(&format!("/clients/{}", spa.client_id)).await.expect(204);
        assert_eq!(status(&curfew, &newest).await, 1);
    }

    fn a_full_list_makes_room_for_another(curfew) {
        let operator = curfew.operator().await;
        let api = asking(&operator, json!({"token_lifetime": 600, "token_lifetime_for_web": 600})).await;
        // At this node every index drawn is the same.
        let node = curfew.another_node_with(Arc::new(NoChance)).await;
        let mut tokens = Vec::new();
        for _ in 0..3 {
            curfew.advance(1);
            let client = make_client(&operator, &api).await;
            tokens.push(Tokens::of(&machine_token(&client.at(&node), &api).await).access);
        }
        let places: Vec<_> = tokens.iter().map(|token| reference(token)).collect();
        assert!(places.iter().all(|(_, idx)| *idx == 0), "{places:?}");
        assert_eq!(taken(&curfew).await, [1, 1, 1]);
        for token in &tokens {
            assert_eq!(status(&curfew, token).await, 0);
        }
        // Full lists that nothing is left of go, and one that has become empty enough is allotted in again.
        curfew.advance(3601);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [1, 1, 1], "there are entries in all of them");
        let client = make_client(&operator, &api).await;
        let token = Tokens::of(&machine_token(&client, &api).await).access;
        assert_eq!(reference(&token).0, places[0].0, "another index of the oldest");
        assert_eq!(sorted(taken(&curfew).await), [1, 1, 2]);
        let client = make_client(&operator, &api).await;
        let token = Tokens::of(&machine_token(&client.at(&node), &api).await).access;
        assert!(places.iter().all(|place| *place != reference(&token)), "never an index twice");
        assert_eq!(sorted(taken(&curfew).await), [1, 1, 1, 2]);
        operator.post("/endings", json!({"client_id": client.client_id})).await.expect(201);
        assert_eq!(status(&curfew, &token).await, 1, "the first index is one like any other");
        curfew.advance(4 * DAY);
        curfew.sweep().await;
        assert_eq!(taken(&curfew).await, [0], "the one in which is allotted");
        StatusList::fetch(&curfew, &places[0].0).await.expect(404);
        Tokens::of(&machine_token(&client.at(&node), &api).await);
    }
}

/// Draws the same index each time.
#[derive(Debug)]
struct NoChance;

impl Entropy for NoChance {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() == 4 { bytes.fill(0) } else { SystemEntropy.fill(bytes) }
    }
}
