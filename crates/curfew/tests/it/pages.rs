//! The pages of a login: whose they are, how long they serve, what they tell, and what they leave behind.

use serde_json::{Value, json};

use crate::support::{Answer, Application, Browser, CALLBACK, Operator, Person, Tokens, claims};

const LOST: &str = "we couldn&#39;t find your session";

/// A login page with what its form carries.
struct Shown {
    url: String,
    state: String,
    csrf: String,
}

async fn open(browser: &Browser, application: &Application, more: &[(&str, &str)]) -> Shown {
    let to_page = browser.authorize(application, more).await.expect(302);
    let url = to_page.location().unwrap().to_owned();
    let page = browser.get(&url).await.expect(200);
    Shown { url, state: page.hidden("state"), csrf: page.hidden("csrf") }
}

async fn submit(browser: &Browser, shown: &Shown, person: &Person, password: &str) -> Answer {
    let fields = [
        ("state", &*shown.state),
        ("csrf", &*shown.csrf),
        ("username", &*person.email),
        ("password", password),
    ];
    browser.post("u/login", &fields).await
}

#[track_caller]
fn is_lost(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.location()), (400, None));
    assert!(answer.text().contains(LOST) || answer.text().contains("error_expired"), "{}", answer.text());
}

async fn user(operator: &Operator, person: &Person) -> Value {
    operator.get(&format!("/users/{}", person.path())).await.expect(200).json()
}

async fn sid(application: &Application, code: &str) -> Value {
    claims(&Tokens::of(&application.redeem(code).await).id.unwrap())["sid"].clone()
}

/// A client of somebody else's.
async fn third_party(operator: &Operator, more: Value) -> Application {
    let mut doc = json!({"app_type": "spa", "is_first_party": false});
    doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    operator.make_client(doc).await
}

/// An API that does not skip consent, as APIs made through the Management API are.
async fn asking_api(operator: &Operator, skips: bool) -> String {
    let identifier = format!("https://asking-{skips}.example/");
    let doc = json!({
        "identifier": identifier,
        "name": "Things",
        "scopes": [{"value": "read:things", "description": "Read your things"}, {"value": "write:things"}],
        "skip_consent_for_verifiable_first_party_clients": skips,
    });
    operator.post("/resource-servers", doc).await.expect(201);
    identifier
}

in_a_box! {
    fn a_form_serves_its_own_browser_only(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (browser, stranger) = (curfew.browser(), curfew.browser());
        let shown = open(&browser, &spa, &[]).await;
        for csrf in ["", "wrong", &shown.csrf[1..]] {
            let forged = Shown { csrf: csrf.to_owned(), url: String::new(), state: shown.state.clone() };
            is_lost(&submit(&browser, &forged, &ada, &ada.password).await);
        }
        // A half-done login that somebody sent as a link is of no use elsewhere.
        is_lost(&stranger.get(&shown.url).await);
        is_lost(&submit(&stranger, &shown, &ada, &ada.password).await);
        let own = open(&stranger, &spa, &[]).await;
        let mixed = Shown { state: shown.state.clone(), csrf: own.csrf, url: String::new() };
        is_lost(&submit(&stranger, &mixed, &ada, &ada.password).await);
        for state in ["", "nonsense", "AQAAAAFQ"] {
            is_lost(&browser.get(&format!("u/login?state={state}")).await);
        }
        browser.post("u/login", &[("state", &shown.state), ("state", &shown.state)]).await.expect(400);
        assert!(!browser.has_session_cookie() && !stranger.has_session_cookie());
        // Two tabs do not disturb each other.
        let (one, two) = (open(&browser, &spa, &[("state", "one")]).await, open(&browser, &spa, &[("state", "two")]).await);
        assert_eq!(submit(&browser, &one, &ada, &ada.password).await.parameter("state").as_deref(), Some("one"));
        assert_eq!(submit(&browser, &two, &ada, &ada.password).await.parameter("state").as_deref(), Some("two"));
    }

    fn a_login_may_take_an_hour(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let (early, late) = (open(&browser, &spa, &[]).await, open(&browser, &spa, &[]).await);
        curfew.advance(3600);
        assert!(submit(&browser, &early, &ada, &ada.password).await.code().is_some());
        curfew.advance(1);
        is_lost(&submit(&browser, &late, &ada, &ada.password).await);
        is_lost(&browser.get(&late.url).await);
        // With a way to begin again the person is taken there.
        let again = json!({"initiate_login_uri": "https://app.example/login"});
        operator.patch(&format!("/clients/{}", spa.client_id), again).await.expect(200);
        let answer = browser.get(&late.url).await.expect(302);
        assert_eq!(answer.location(), Some("https://app.example/login"));
    }

    fn going_back_after_the_end_yields_nothing(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let shown = open(&browser, &spa, &[]).await;
        assert!(submit(&browser, &shown, &ada, &ada.password).await.code().is_some());
        is_lost(&browser.get(&shown.url).await);
        is_lost(&submit(&browser, &shown, &ada, &ada.password).await);
        browser.get("v2/logout").await.expect(200);
        is_lost(&submit(&browser, &shown, &ada, &ada.password).await);
        assert!(!browser.has_session_cookie());
        assert_eq!(user(&operator, &ada).await["logins_count"], 1);
    }

    fn another_person_takes_the_browser_over(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada, bob) = (operator.make_spa().await, operator.make_person().await, operator.make_person().await);
        let browser = curfew.browser();
        let of_ada = sid(&spa, &browser.log_in(&spa, &ada, &[]).await).await;
        let before = browser.copy();
        let shown = open(&browser, &spa, &[("prompt", "login")]).await;
        let code = submit(&browser, &shown, &bob, &bob.password).await.code().unwrap();
        let of_bob = sid(&spa, &code).await;
        assert_ne!(of_ada, of_bob);
        assert_eq!(before.authorize_silently(&spa, &[]).await.error().as_deref(), Some("login_required"));
        operator.get(&format!("/sessions/{}", of_ada.as_str().unwrap())).await.expect(404);
        // The same person again keeps the session.
        curfew.advance(60);
        let shown = open(&browser, &spa, &[("prompt", "login")]).await;
        let code = submit(&browser, &shown, &bob, &bob.password).await.code().unwrap();
        assert_eq!(sid(&spa, &code).await, of_bob);
        let session = operator.get(&format!("/sessions/{}", of_bob.as_str().unwrap())).await.expect(200).json();
        assert_eq!(session["authenticated_at"], json!(curfew.now().iso()));
    }

    fn a_wrong_password_tells_nothing_about_the_user(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let nobody = Person { email: "nobody@example.com".to_owned(), ..ada.clone() };
        let text = |answer: &Answer, person: &Person| {
            let page = answer.clone().expect(400).text().replace(&*person.email, "");
            page.lines().filter(|line| !line.contains("nonce=")).collect::<Vec<_>>().join("\n")
        };
        let shown = open(&browser, &spa, &[]).await;
        let wrong = submit(&browser, &shown, &ada, "wrong").await;
        assert!(wrong.text().contains("Wrong email or password."));
        assert!(wrong.text().contains(&format!("value=\"{}\"", ada.email)));
        assert!(!wrong.text().contains("value=\"wrong\""));
        assert_eq!(text(&wrong, &ada), text(&submit(&browser, &shown, &nobody, "wrong").await, &nobody));
        for (person, password) in [(&ada, ""), (&nobody, ""), (&ada, &*"x".repeat(5000)), (&ada, "nul\u{1}")] {
            submit(&browser, &shown, person, password).await.expect(400);
        }
        operator.block(&ada).await.expect(200);
        assert_eq!(text(&wrong, &ada), text(&submit(&browser, &shown, &ada, "wrong").await, &ada));
        assert_eq!(user(&operator, &ada).await.get("logins_count"), None);
        assert_eq!(curfew.logs("fu").await.len(), 2);
        assert_eq!(curfew.logs("fp").await.len(), 5);
        assert_eq!(curfew.logs("fp").await[0]["user_id"], json!(ada.user_id));
        assert!(curfew.logs("fp").await.iter().all(|row| !row.to_string().contains("wrong\"")));
    }

    fn a_blocked_user_goes_back_to_the_application(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        browser.log_in(&spa, &ada, &[]).await;
        let first = user(&operator, &ada).await;
        assert_eq!((&first["logins_count"], &first["last_ip"]), (&json!(1), &json!("127.0.0.1")));
        assert_eq!(first["last_login"], json!(curfew.now().iso()));
        curfew.advance(60);
        browser.authorize_silently(&spa, &[]).await.code().unwrap();
        assert_eq!(user(&operator, &ada).await["last_login"], first["last_login"], "silent login is no login");
        operator.block(&ada).await.expect(200);
        let shown = open(&browser, &spa, &[]).await;
        let answer = submit(&browser, &shown, &ada, &ada.password).await.expect(302);
        assert!(answer.location().unwrap().starts_with(CALLBACK));
        assert_eq!(answer.error().as_deref(), Some("unauthorized"));
        assert_eq!(answer.error_description().as_deref(), Some("user is blocked"));
        assert_eq!(answer.parameter("state").as_deref(), Some("a-state"));
        assert_eq!(answer.code(), None);
        is_lost(&submit(&browser, &shown, &ada, &ada.password).await);
        // The attempt counted (reference §9.4).
        let now = user(&operator, &ada).await;
        assert_eq!((&now["logins_count"], &now["last_login"]), (&json!(2), &json!(curfew.now().iso())));
        let failed = curfew.logs("f").await;
        assert_eq!((failed.len(), &failed[0]["description"]), (1, &json!("user is blocked")));
        assert_eq!(curfew.logs("s").await.len(), 1);
        assert_eq!(curfew.logs("ssa").await.len(), 1);
    }

    fn a_third_party_asks_for_consent_once(curfew) {
        let operator = curfew.operator().await;
        let (client, ada) = (third_party(&operator, json!({})).await, operator.make_person().await);
        let api = asking_api(&operator, true).await;
        let browser = curfew.browser();
        let asked = [("audience", &*api), ("scope", "openid read:things")];
        let shown = open(&browser, &client, &asked).await;
        let to_consent = submit(&browser, &shown, &ada, &ada.password).await.expect(302);
        assert!(to_consent.leads_to("u/consent"), "{:?}", to_consent.location());
        assert!(browser.has_session_cookie(), "the session stands before the consent");
        let page = browser.get(to_consent.location().unwrap()).await.expect(200);
        for text in ["Read your things", "Things", &*ada.email] {
            assert!(page.text().contains(text), "{text}");
        }
        let silent = browser.authorize_silently(&client, &asked).await;
        assert_eq!(silent.error().as_deref(), Some("consent_required"));
        assert_eq!(silent.error_description().as_deref(), Some("Consent required"));
        let answer = browser.submit_consent(&to_consent, "accept").await.expect(302);
        let tokens = Tokens::of(&client.redeem(&answer.code().unwrap()).await);
        assert_eq!(tokens.scope, "openid read:things");
        assert!(browser.authorize_silently(&client, &asked).await.code().is_some(), "it was given");
        let grants = operator.get(&format!("/grants?user_id={}", ada.path())).await.expect(200).json();
        assert_eq!((&grants[0]["audience"], &grants[0]["clientID"]), (&json!(api), &json!(client.client_id)));
        // More scope, or prompt=consent, asks again.
        let wider = [("audience", &*api), ("scope", "openid read:things write:things")];
        assert!(browser.authorize(&client, &wider).await.leads_to("u/consent"));
        let again = [("audience", &*api), ("scope", "openid"), ("prompt", "consent")];
        let to_consent = browser.authorize(&client, &again).await;
        assert!(to_consent.leads_to("u/consent"));
        // No: our page, since a stranger's callback proves nothing.
        let no = browser.submit_consent(&to_consent, "deny").await.expect(400);
        assert!(no.text().contains("User did not authorize the request"));
        let path = format!("/clients/{}", client.client_id);
        operator.patch(&path, json!({"redirection_policy": "allow_always"})).await.expect(200);
        let to_consent = browser.authorize(&client, &again).await;
        let no = browser.submit_consent(&to_consent, "deny").await.expect(302);
        assert_eq!(no.error().as_deref(), Some("access_denied"));
        assert_eq!(curfew.logs("fsa").await.len(), 1);
    }

    fn a_first_party_is_asked_where_the_api_or_the_callback_says_so(curfew) {
        let operator = curfew.operator().await;
        let local = "http://localhost:3000/callback";
        let app = "com.example.app://callback";
        let callbacks = json!({"app_type": "spa", "callbacks": [CALLBACK, local, app]});
        let (spa, ada) = (operator.make_client(callbacks).await, operator.make_person().await);
        let (asks, skips) = (asking_api(&operator, false).await, asking_api(&operator, true).await);
        let browser = curfew.browser();
        browser.log_in(&spa, &ada, &[]).await;
        let leads_to_consent = |audience: &str, redirect_uri: &str| {
            let (browser, spa) = (browser.clone(), spa.clone());
            let (audience, redirect_uri) = (audience.to_owned(), redirect_uri.to_owned());
            async move {
                let more = [("audience", &*audience), ("redirect_uri", &*redirect_uri)];
                browser.authorize(&spa, &more).await.leads_to("u/consent")
            }
        };
        assert!(!leads_to_consent("", CALLBACK).await && !leads_to_consent("", local).await);
        assert!(leads_to_consent(&asks, CALLBACK).await);
        assert!(!leads_to_consent(&skips, CALLBACK).await);
        assert!(leads_to_consent(&skips, local).await && leads_to_consent(&skips, app).await);
        let path = format!("/clients/{}", spa.client_id);
        let confirmed = json!({"skip_non_verifiable_callback_uri_confirmation_prompt": true});
        operator.patch(&path, confirmed.clone()).await.expect(200);
        assert!(!leads_to_consent(&skips, local).await && leads_to_consent(&asks, local).await);
        operator.patch(&path, json!({"skip_non_verifiable_callback_uri_confirmation_prompt": null})).await.expect(200);
        operator.patch("/tenants/settings", confirmed).await.expect(200);
        assert!(!leads_to_consent(&skips, local).await);
        let to_consent = browser.authorize(&spa, &[("audience", &asks)]).await;
        let no = browser.submit_consent(&to_consent, "deny").await.expect(302);
        assert_eq!(no.error().as_deref(), Some("access_denied"));
        assert_eq!(no.error_description().as_deref(), Some("User did not authorize the request"));
        assert_eq!(no.parameter("state").as_deref(), Some("a-state"));
    }

    fn a_consent_page_dies_with_its_session(curfew) {
        let operator = curfew.operator().await;
        let (client, ada, bob) = (third_party(&operator, json!({})).await, operator.make_person().await, operator.make_person().await);
        let spa = operator.make_spa().await;
        let browser = curfew.browser();
        browser.log_in(&spa, &ada, &[]).await;
        let shown = open(&browser, &client, &[]).await;
        // The state of a consent is no state of a login or of a sign-up.
        is_lost(&submit(&browser, &shown, &bob, &bob.password).await);
        let fields = [("state", &*shown.state), ("csrf", &*shown.csrf), ("email", "x@example.com"), ("password", "Correct-Horse-8")];
        is_lost(&browser.post("u/signup", &fields).await);
        let shown = open(&browser, &client, &[]).await;
        browser.get("v2/logout").await.expect(200);
        let accept = [("state", &*shown.state), ("csrf", &*shown.csrf), ("action", "accept")];
        is_lost(&browser.post("u/consent", &accept).await);
        browser.log_in(&spa, &ada, &[]).await;
        is_lost(&browser.post("u/consent", &accept).await);
        let shown = open(&browser, &client, &[]).await;
        operator.block(&ada).await.expect(200);
        let accept = [("state", &*shown.state), ("csrf", &*shown.csrf), ("action", "accept")];
        is_lost(&browser.post("u/consent", &accept).await);
    }

    fn a_consent_is_answered_by_whom_it_asks(curfew) {
        let operator = curfew.operator().await;
        let (client, ada, bob) = (third_party(&operator, json!({})).await, operator.make_person().await, operator.make_person().await);
        let spa = operator.make_spa().await;
        let (of_ada, of_bob) = (curfew.browser(), curfew.browser());
        of_ada.log_in(&spa, &ada, &[]).await;
        of_bob.log_in(&spa, &bob, &[]).await;
        let shown = open(&of_ada, &client, &[]).await;
        let accept = [("state", &*shown.state), ("csrf", &*shown.csrf), ("action", "accept")];
        // Both are logged in; the page belongs to one of them, in one session.
        is_lost(&of_ada.with_session_of(&of_bob).post("u/consent", &accept).await);
        let another = curfew.browser();
        another.log_in(&spa, &ada, &[]).await;
        is_lost(&of_ada.with_session_of(&another).post("u/consent", &accept).await);
        for person in [&ada, &bob] {
            let given = operator.get(&format!("/grants?user_id={}", person.path())).await.expect(200).json();
            assert_eq!(given, json!([]));
        }
        assert!(of_ada.post("u/consent", &accept).await.code().is_some());
    }

    fn a_callback_that_was_taken_away_is_answered_no_more(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let shown = open(&browser, &spa, &[]).await;
        let path = format!("/clients/{}", spa.client_id);
        operator.patch(&path, json!({"callbacks": ["https://elsewhere.example/callback"]})).await.expect(200);
        is_lost(&submit(&browser, &shown, &ada, &ada.password).await);
        assert!(!browser.has_session_cookie());
        assert!(user(&operator, &ada).await.get("logins_count").is_none_or(|count| *count == json!(0)));
        operator.patch(&path, json!({"callbacks": [CALLBACK]})).await.expect(200);
        assert!(submit(&browser, &shown, &ada, &ada.password).await.code().is_some());
    }

    fn sessions_end_by_idleness_and_by_age(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let settings = json!({"session_lifetime_in_minutes": 60, "idle_session_lifetime_in_minutes": 20});
        operator.patch("/tenants/settings", settings).await.expect(200);
        let (used, idle) = (curfew.browser(), curfew.browser());
        let code = used.log_in(&spa, &ada, &[]).await;
        let first = sid(&spa, &code).await;
        idle.log_in(&spa, &ada, &[]).await;
        for _ in 0..3 {
            curfew.advance(19 * 60);
            assert_eq!(sid(&spa, &used.authorize_silently(&spa, &[]).await.code().unwrap()).await, first);
        }
        assert_eq!(idle.authorize_silently(&spa, &[]).await.error().as_deref(), Some("login_required"));
        curfew.advance(3 * 60);
        assert_eq!(used.authorize_silently(&spa, &[]).await.error().as_deref(), Some("login_required"));
    }
}
