//! Which origins may read answers (reference §2.1, §14.6). No cookie ever counts at these endpoints.

use axum::body::Body;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{Method, Request};
use serde_json::json;

use crate::support::{Answer, Curfew};

async fn from(curfew: &Curfew, origin: &str, path: &str, client_id: &str) -> Answer {
    let body = format!("client_id={client_id}&grant_type=refresh_token&refresh_token=x&token=x");
    let request = Request::post(path)
        .header(ORIGIN, origin)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body));
    curfew.send(request.unwrap()).await
}

in_a_box! {
    fn a_clients_own_origins_may_read_its_answers(curfew) {
        let operator = curfew.operator().await;
        let more = json!({
            "app_type": "spa",
            "callbacks": ["https://app.example/callback", "com.example.app://callback"],
            "web_origins": ["https://web.example/"],
            "allowed_origins": ["https://Allowed.example"],
        });
        let spa = operator.make_client(more).await;
        for path in ["/oauth/token", "/oauth/revoke"] {
            for origin in ["https://app.example", "https://web.example", "https://allowed.example"] {
                let answer = from(&curfew, origin, path, &spa.client_id).await;
                assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{path}");
                assert_eq!(answer.header("vary"), Some("Origin"));
                assert!(answer.header("access-control-expose-headers").unwrap().contains("Retry-After"));
                assert_eq!(answer.header("access-control-allow-credentials"), None);
            }
            for origin in ["https://evil.example", "http://app.example", "https://app.example:8443", "null"] {
                let answer = from(&curfew, origin, path, &spa.client_id).await;
                assert_eq!(answer.header("access-control-allow-origin"), None, "{path} {origin}");
                assert_eq!(answer.header("vary"), Some("Origin"));
            }
        }
        let refused = curfew.logs("fco").await;
        assert_eq!(refused.len(), 8);
        assert!(refused.iter().any(|row| row["details"]["origin"] == "https://evil.example"));
        assert_eq!(from(&curfew, "https://app.example", "/oauth/token", "nobody").await.header("access-control-allow-origin"), None);
    }

    fn a_preflight_allows_what_the_sdks_send(curfew) {
        for path in ["/oauth/token", "/oauth/revoke", "/userinfo", "/dbconnections/signup", "/dbconnections/change_password"] {
            let request = Request::builder()
                .method(Method::OPTIONS)
                .uri(path)
                .header(ORIGIN, "https://app.example")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "auth0-client,content-type")
                .body(Body::empty());
            let answer = curfew.send(request.unwrap()).await.expect(204);
            assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"), "{path}");
            let headers = answer.header("access-control-allow-headers").unwrap().to_lowercase();
            for name in ["auth0-client", "content-type", "authorization", "dpop"] {
                assert!(headers.contains(name), "{path} {name}");
            }
            assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));
        }
    }
}
