//! Paging and fields.

use curfew_testkit::both_engines;

use super::*;

fn ids(items: &Value, field: &str) -> Vec<String> {
    items
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item[field].as_str().expect("an id").to_owned())
        .collect()
}

both_engines! {
    fn a_list_by_number_has_totals_when_they_are_asked_for(store) {
        let api = Api::new(store).await;
        for n in 0..5 {
            api.user(&format!("user{n}@example.com")).await;
            api.advance(1);
        }
        let (_, bare) = api.get("/users").await;
        assert_eq!(bare.as_array().expect("a list").len(), 5);
        let (_, page) = api.get("/users?page=1&per_page=2&include_totals=true").await;
        assert_eq!(
            (&page["start"], &page["limit"], &page["length"], &page["total"]),
            (&json!(2), &json!(2), &json!(2), &json!(5))
        );
        let emails = ids(&page["users"], "email");
        assert_eq!(emails, ["user2@example.com", "user3@example.com"]);
        let (_, newest) = api.get("/users?sort=created_at:-1&per_page=1").await;
        assert_eq!(ids(&newest, "email"), ["user4@example.com"]);
        let (status, beyond) = api.get("/users?page=10&per_page=100").await;
        assert_eq!((status, &beyond["errorCode"]), (StatusCode::BAD_REQUEST, &json!("invalid_paging")));
        assert_eq!(api.get("/users?page=9&per_page=100").await, (StatusCode::OK, json!([])));
        let (status, refused) = api.get("/users?q=email:x").await;
        assert_eq!((status, &refused["errorCode"]), (StatusCode::BAD_REQUEST, &json!("operation_not_supported")));
    }

    fn a_list_by_checkpoint_goes_on_where_it_ended(store) {
        let api = Api::new(store).await;
        for n in 0..5 {
            let (status, _) = api
                .post("/resource-servers", json!({"identifier": format!("https://api{n}.example/"), "name": "x"}))
                .await;
            assert_eq!(status, StatusCode::CREATED);
            let client = json!({"name": format!("c{n}")});
            assert_eq!(api.post("/clients", client).await.0, StatusCode::CREATED);
        }
        let (_, all) = api.get("/clients?per_page=100").await;
        let all = ids(&all, "client_id");
        let mut found = Vec::new();
        let mut path = "/clients?take=3".to_owned();
        loop {
            let (status, page) = api.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            found.extend(ids(&page["clients"], "client_id"));
            match page["next"].as_str() {
                Some(next) => path = format!("/clients?take=3&from={next}"),
                None => break,
            }
        }
        assert_eq!(found, all);
    }

    fn a_checkpoint_opens_at_its_own_list_only_unchanged_and_for_a_day(store) {
        let api = Api::new(store).await;
        for n in 0..3 {
            assert_eq!(api.post("/clients", json!({"name": format!("c{n}")})).await.0, StatusCode::CREATED);
        }
        let (_, page) = api.get("/clients?take=1").await;
        let next = page["next"].as_str().expect("a checkpoint").to_owned();
        let refused = async |path: String| {
            let (status, body) = api.get(&path).await;
            assert_eq!((status, &body["errorCode"]), (StatusCode::BAD_REQUEST, &json!("invalid_query_string")), "{path}");
        };
        let mut changed = next.clone();
        let last = changed.pop();
        changed.push(if last == Some('A') { 'E' } else { 'A' });
        refused(format!("/clients?take=1&from={changed}")).await;
        refused("/clients?from=x".to_owned()).await;
        refused(format!("/connections?from={next}")).await;
        refused(format!("/clients?is_first_party=true&from={next}")).await;
        assert_eq!(api.get(&format!("/clients?take=2&from={next}")).await.0, StatusCode::OK);
        api.advance(86_400 - 60);
        let fresh = api.machine_token(BOOTSTRAP, "read:clients").await;
        let path = format!("/clients?take=2&from={next}");
        assert_eq!(api.call_as(&fresh, &Method::GET, &path, None).await.0, StatusCode::OK);
        api.advance(60);
        let fresh = api.machine_token(BOOTSTRAP, "read:clients").await;
        assert_eq!(api.call_as(&fresh, &Method::GET, &path, None).await.0, StatusCode::BAD_REQUEST);
    }

    fn fields_are_chosen(store) {
        let api = Api::new(store).await;
        let (_, chosen) = api.get("/clients?fields=client_id,name&include_fields=true").await;
        assert!(chosen.as_array().expect("a list").iter().all(|client| client.as_object().expect("an object").len() == 2));
        let (_, rest) = api.get(&format!("/clients/{BOOTSTRAP}?fields=name,client_secret&include_fields=false")).await;
        assert!(rest.get("name").is_none() && rest.get("client_secret").is_none() && rest.get("client_id").is_some());
    }

    fn lists_are_filtered(store) {
        let api = Api::new(store).await;
        let spa = json!({"name": "spa", "app_type": "spa", "is_first_party": false});
        assert_eq!(api.post("/clients", spa).await.0, StatusCode::CREATED);
        let count = async |path: &str| api.get(path).await.1.as_array().expect("a list").len();
        assert_eq!(count("/clients").await, 3);
        assert_eq!(count("/clients?app_type=spa").await, 2);
        assert_eq!(count("/clients?app_type=spa,non_interactive").await, 3);
        assert_eq!(count("/clients?is_first_party=false").await, 1);
        assert_eq!(count("/clients?is_global=true").await, 0);
        assert_eq!(count("/connections?strategy=auth0&name=Username-Password-Authentication").await, 1);
        assert_eq!(count("/connections?strategy=oidc").await, 0);
        assert_eq!(count("/resource-servers?identifiers=https%3A%2F%2Fid.example%2Fapi%2Fv2%2F").await, 1);
        assert_eq!(count("/resource-servers?identifiers=other").await, 0);
    }
}
