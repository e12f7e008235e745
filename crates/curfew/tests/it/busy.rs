//! More passwords than can be hashed: who is too many hears when to come again, and nobody else notices.

use futures_util::future::join_all;

/// Of each kind: several times what may wait for the threads that hash, of which there is one for each core.
fn logins() -> usize {
    200 * std::thread::available_parallelism().map_or(1, usize::from)
}

in_a_box! {
    fn a_full_queue_of_passwords_is_told_with_retry_after(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let wrong = [("grant_type", "http://auth0.com/oauth/grant-type/password-realm"), ("username", &ada.email),
            ("password", "not-her-password"), ("realm", "Username-Password-Authentication")];
        let client = operator.make_client(serde_json::json!({
            "app_type": "regular_web",
            "grant_types": ["http://auth0.com/oauth/grant-type/password-realm"],
        })).await;
        let browser = curfew.browser();
        let page = browser.authorize(&spa, &[]).await;
        let forms = join_all((0..logins()).map(|_| {
            let (browser, page, ada) = (browser.copy(), &page, &ada);
            async move { browser.submit_login(page, &ada.email, "not-her-password").await }
        }));
        let tokens = join_all((0..logins()).map(|_| client.token(&wrong)));
        let (tokens, forms, jwks) = tokio::join!(tokens, forms, async {
            let request = http::Request::get("/.well-known/jwks.json");
            curfew.send(request.body(axum::body::Body::empty()).unwrap()).await
        });
        // Whoever does not ask for a hash is answered as ever.
        jwks.expect(200);
        for (kind, answers) in [("token", tokens), ("form", forms)] {
            let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
            assert!(!busy.is_empty() && busy.len() < answers.len(), "{kind}: {} were refused", busy.len());
            for answer in busy {
                assert_eq!(answer.header("retry-after"), Some("5"), "{kind}: {}", answer.text());
                if kind == "token" {
                    assert_eq!(answer.error().as_deref(), Some("too_many_requests"), "{}", answer.text());
                }
            }
        }
        // The queue is worked off; then she can sign in.
        let signed_in = browser.submit_login(&page, &ada.email, &ada.password).await;
        assert!(signed_in.code().is_some(), "{}", signed_in.text());
    }
}
