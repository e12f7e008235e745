//! Hosts, proxies, and what of it cookies show: the issuer is the configured domain that equals the request's host.

use std::net::SocketAddr;

use axum::body::Body;
use curfew::config::Typed;
use http::Request;
use serde_json::json;

use crate::support::{Answer, Curfew, ISSUER, LOOPBACK_ISSUER, Tokens, claims};

const DISCOVERY: &str = "/.well-known/openid-configuration";

async fn ask(curfew: &Curfew, peer: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer: SocketAddr = peer.parse().expect("an address");
    curfew.send_from(peer, request.body(Body::empty()).unwrap()).await
}

/// The address that the log remembers of whoever asks.
async fn address_seen(curfew: &Curfew, peer: &str, headers: &[(&str, &str)]) -> String {
    let before = curfew.logs("flo").await.len();
    let mut all = vec![("host", "id.example")];
    all.extend(headers);
    ask(curfew, peer, "/oidc/logout?client_id=nobody", &all).await.expect(400);
    let rows = curfew.logs("flo").await;
    assert_eq!(rows.len(), before + 1);
    let seen = rows.iter().find(|row| row["user_agent"] == peer);
    seen.unwrap_or(&rows[0])["ip"].as_str().unwrap().to_owned()
}

in_a_box! {
    fn a_host_nobody_configured_is_misdirected(curfew) {
        for host in ["id.example", "ID.example", "id.example:443"] {
            let answer = ask(&curfew, "10.0.0.1:1", DISCOVERY, &[("host", host)]).await.expect(200);
            assert_eq!(answer.json()["issuer"], ISSUER);
        }
        for host in ["evil.example", "id.example.evil.example", "id.example:8443", "localhost", "127.0.0.1", "", "a b", "%"] {
            for path in [DISCOVERY, "/authorize", "/u/login", "/api/v2/users", "/userinfo"] {
                ask(&curfew, "10.0.0.1:1", path, &[("host", host)]).await.expect(421);
            }
            ask(&curfew, "10.0.0.1:1", "/health", &[("host", host)]).await.expect(200);
        }
        ask(&curfew, "10.0.0.1:1", DISCOVERY, &[]).await.expect(421);
        let long = "a".repeat(300);
        ask(&curfew, "10.0.0.1:1", DISCOVERY, &[("host", &long)]).await.expect(421);
    }

    fn without_an_issuer_loopback_names_are_the_tenants(curfew) {
        let local = curfew.another_configuration(Typed::default()).await;
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:9", "app.localhost", "LOCALHOST"] {
            let answer = ask(&local, "127.0.0.1:1", DISCOVERY, &[("host", host)]).await.expect(200);
            assert_eq!(answer.json()["issuer"], LOOPBACK_ISSUER, "{host}");
        }
        for host in ["localhost.evil.example", "example.com"] {
            ask(&local, "127.0.0.1:1", DISCOVERY, &[("host", host)]).await.expect(421);
        }
    }

    fn what_a_proxy_says_counts_from_trusted_networks_only(curfew) {
        let trusting = Typed {
            issuer: Some(ISSUER.to_owned()),
            trust_proxy: Some("10.0.0.0/8".to_owned()),
            ..Typed::default()
        };
        let behind = curfew.another_configuration(trusting).await;
        let forwarded = [("host", "inner:8080"), ("x-forwarded-host", "id.example"), ("x-forwarded-proto", "https")];
        ask(&behind, "10.1.2.3:1", DISCOVERY, &forwarded).await.expect(200);
        ask(&behind, "[::ffff:10.1.2.3]:1", DISCOVERY, &forwarded).await.expect(200);
        for stranger in ["11.0.0.1:1", "127.0.0.1:1", "[::1]:1"] {
            ask(&behind, stranger, DISCOVERY, &forwarded).await.expect(421);
        }
        ask(&curfew, "10.1.2.3:1", DISCOVERY, &forwarded).await.expect(421);
        for (peer, forwarded_for, seen) in [
            ("10.1.2.3:1", "203.0.113.7", "203.0.113.7"),
            ("10.1.2.4:1", "1.1.1.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
            ("10.1.2.5:1", "10.9.9.9", "10.9.9.9"),
            ("10.1.2.6:1", "nonsense", "10.1.2.6"),
            ("203.0.113.8:1", "1.1.1.1", "203.0.113.8"),
            ("[::ffff:203.0.113.9]:1", "1.1.1.1", "203.0.113.9"),
        ] {
            let headers = [("x-forwarded-for", forwarded_for), ("user-agent", peer)];
            assert_eq!(address_seen(&behind, peer, &headers).await, seen, "{peer} {forwarded_for}");
        }
    }

    fn cookies_are_as_strict_as_the_issuer_allows(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let to_login = browser.authorize(&spa, &[]).await;
        let line = to_login.set_cookie("__Host-curfew-tx-").unwrap();
        assert!(line.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600"), "{line}");
        let answer = browser.submit_login(&to_login, &ada.email, &ada.password).await;
        let line = answer.set_cookie("__Host-curfew=").unwrap();
        assert!(line.ends_with("; Path=/; Secure; HttpOnly; SameSite=None; Max-Age=604800"), "{line}");
        let gone = answer.set_cookie("__Host-curfew-tx-").unwrap();
        assert!(gone.contains("Max-Age=0"), "{gone}");
        // A renewed session lives longer, and so does its cookie.
        curfew.advance(600_000 / 3);
        let to_login = browser.authorize(&spa, &[("prompt", "login")]).await;
        let answer = browser.submit_login(&to_login, &ada.email, &ada.password).await;
        assert!(answer.set_cookie("__Host-curfew=").unwrap().contains("Max-Age=604800"));
        let operator = curfew.operator().await;
        operator.patch("/tenants/settings", json!({"session_cookie": {"mode": "non-persistent"}})).await.expect(200);
        let to_login = curfew.browser().authorize(&spa, &[]).await;
        assert!(to_login.leads_to("u/login"));
        let fresh = curfew.browser();
        let to_login = fresh.authorize(&spa, &[]).await;
        let answer = fresh.submit_login(&to_login, &ada.email, &ada.password).await;
        let line = answer.set_cookie("__Host-curfew=").unwrap();
        assert!(line.ends_with("; Path=/; Secure; HttpOnly; SameSite=None"), "{line}");

        // Plain http, which is for this machine: no prefix, not Secure, and so Lax.
        let local = curfew.another_configuration(Typed::default()).await;
        let url = format!("/{}", spa.authorize_url(&[]));
        let answer = ask(&local, "127.0.0.1:1", &url, &[("host", "localhost:8080")]).await.expect(302);
        let line = answer.set_cookie("curfew-tx-").unwrap();
        assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"), "{line}");
        assert!(answer.location().unwrap().starts_with("http://localhost:8080/u/login?state="));
    }

    fn what_began_under_one_domain_serves_under_no_other(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let other = curfew.under("other.example").await;
        let offline = [("scope", "openid offline_access")];
        let browser = curfew.browser();
        let waiting = browser.authorize(&spa, &offline).await;
        let page = browser.get(waiting.location().unwrap()).await.expect(200);
        let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
        let fields = [("state", &*state), ("csrf", &*csrf), ("username", &*ada.email), ("password", &*ada.password)];
        // Whoever could carry cookies from one host to the other gains nothing by it.
        browser.copy().at(&other).post("u/login", &fields).await.expect(400);
        let code = browser.post("u/login", &fields).await.code().expect("a code");
        assert!(browser.copy().at(&other).authorize(&spa, &[]).await.code().is_none());
        let silent = browser.copy().at(&other).authorize_silently(&spa, &[]).await;
        assert_eq!(silent.error().as_deref(), Some("login_required"));
        spa.at(&other).redeem(&code).await.expect(403);
        let home = Tokens::of(&spa.redeem(&code).await);
        assert_eq!(claims(home.id.as_deref().unwrap())["iss"], ISSUER);
        spa.at(&other).refresh(home.refresh()).await.expect(403);
        let home = Tokens::of(&spa.refresh(home.refresh()).await);
        // Nothing was consumed, and nothing ended.
        assert!(browser.authorize_silently(&spa, &[]).await.code().is_some());
        Tokens::of(&spa.refresh(home.refresh()).await);
        // Under the other domain a login of its own is one of its own.
        let elsewhere = other.browser();
        let to_login = elsewhere.authorize(&spa, &offline).await.expect(302);
        let location = to_login.location().unwrap();
        let page = location.strip_prefix("https://other.example/u/login").expect("the other domain's own page");
        let page = elsewhere.get(&format!("u/login{page}")).await.expect(200);
        let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
        let fields = [("state", &*state), ("csrf", &*csrf), ("username", &*ada.email), ("password", &*ada.password)];
        let answer = elsewhere.post("u/login", &fields).await.expect(302);
        assert_eq!(answer.parameter("iss").as_deref(), Some("https://other.example/"));
        let tokens = Tokens::of(&spa.at(&other).redeem(&answer.code().unwrap()).await);
        assert_eq!(claims(tokens.id.as_deref().unwrap())["iss"], "https://other.example/");
    }

    fn many_tabs_evict_the_oldest_login(curfew) {
        let spa = curfew.operator().await.make_spa().await;
        let browser = curfew.browser();
        let mut evicted = 0;
        for _ in 0..14 {
            let answer: Answer = browser.authorize(&spa, &[]).await.expect(302);
            let lines = answer.headers.get_all("set-cookie").iter();
            evicted += lines.filter(|line| line.to_str().unwrap().contains("Max-Age=0")).count();
        }
        assert_eq!(evicted, 4);
    }
}
