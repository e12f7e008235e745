//! What a guard checks by itself, and how the layer answers.

use curfew_tokens::claims::TokenDialect;
use curfew_tokens::jws::sign_hs256;
use curfew_tokens::sign_compact;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::fake::{Fake, START, pass, signing_key};
use super::{check, claims, sign};
use crate::{Claims, Guard, Reason, Refusal};

#[tokio::test(start_paused = true)]
async fn each_claim_has_its_refusal() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config()).await;
    let now = START + 1000;
    pass(1000).await;
    guard.ready().await;
    for (name, value, reason) in [
        ("iss", json!("https://other.example/"), Reason::Issuer),
        ("iss", json!("http://localhost"), Reason::Issuer),
        ("aud", json!("http://localhost/userinfo"), Reason::Audience),
        ("aud", json!([]), Reason::Audience),
        ("aud", Value::Null, Reason::Malformed),
        ("exp", json!(now - 6), Reason::Expired),
        ("exp", json!(i64::MIN), Reason::Expired),
        ("exp", json!("never"), Reason::Malformed),
        ("iat", json!(now + 8), Reason::NotYetValid),
        ("iat", json!(i64::MAX), Reason::NotYetValid),
        // An ID token.
        ("cfw", Value::Null, Reason::Malformed),
        ("client_id", json!("second"), Reason::Malformed),
    ] {
        let mut changed = claims();
        changed[name] = value.clone();
        let refused = check(&guard, &sign(&fake.key(), &changed)).await;
        assert_eq!(refused, Err(Refusal::InvalidToken(reason)), "{name}: {value}");
    }
    for (name, value) in [
        ("exp", json!(now + 1)),
        ("exp", json!(now - 3)),
        ("iat", json!(now + 4)),
        ("aud", claims()["aud"][0].clone()),
    ] {
        let mut changed = claims();
        changed[name] = value.clone();
        assert_eq!(check(&guard, &sign(&fake.key(), &changed)).await, Ok(()), "{name}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_issuers_signatures_count() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config()).await;
    let good = sign(&fake.key(), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = signed.split_once('.').unwrap();
    // {"alg":"none","typ":"JWT","kid":"k1"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiazEifQ.{payload}.");
    let foreign = sign(&signing_key("k1"), &claims());
    let mut longer = good.clone();
    longer.push('A');
    for (token, reason) in [
        (none, Reason::Algorithm),
        (sign_hs256(b"k1", "JWT", &claims()).unwrap(), Reason::Algorithm),
        (foreign, Reason::Signature),
        (sign(&signing_key("another"), &claims()), Reason::Signature),
        (format!("{signed}."), Reason::Signature),
        (format!("{payload}.{payload}.{signature}"), Reason::Malformed),
        (longer, Reason::Signature),
        (String::new(), Reason::Malformed),
        ("x".repeat(20_000), Reason::Malformed),
        (sign_compact(&fake.key(), "logout+jwt", &claims()).unwrap(), Reason::Type),
    ] {
        assert_eq!(check(&guard, &token).await, Err(Refusal::InvalidToken(reason)), "{token}");
    }
    for dialect in TokenDialect::ALL {
        let token = sign_compact(&fake.key(), dialect.typ(), &claims()).unwrap();
        assert_eq!(check(&guard, &token).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_looked_for_once_in_thirty_seconds() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config()).await;
    let read = || fake.asked("/.well-known/jwks.json");
    assert_eq!(read(), 1);
    let unknown = Err(Refusal::InvalidToken(Reason::Signature));
    for number in 0..5 {
        assert_eq!(check(&guard, &sign(&signing_key(&number.to_string()), &claims())).await, unknown);
    }
    assert_eq!(read(), 2);
    fake.rotate("k2");
    let token = sign(&fake.key(), &claims());
    assert_eq!(check(&guard, &token).await, unknown);
    pass(31).await;
    assert_eq!(check(&guard, &token).await, Ok(()));
    assert_eq!(read(), 3);
    // If the issuer cannot be asked, nobody can say whether the key is its own.
    pass(31).await;
    fake.rotate("k3");
    fake.state().jwks_status = Some(500);
    let token = sign(&fake.key(), &claims());
    for _ in 0..3 {
        assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable));
    }
    assert_eq!(read(), 4);
    // What the issuer no longer has is forgotten in time, without anybody asking for it.
    fake.state().jwks_status = None;
    let old = sign(&signing_key("k1"), &claims());
    pass(1200).await;
    assert!(read() > 4);
    assert_eq!(check(&guard, &old).await, unknown);
    assert_eq!(check(&guard, &token).await, Ok(()));
}

/// Answers with who asks.
async fn api(request: Request<()>) -> Result<Response<String>, std::convert::Infallible> {
    let claims = request.extensions().get::<Claims>().expect("claims");
    assert_eq!(claims.read::<Value>().unwrap()["sub"], claims.sub);
    Ok(Response::new(claims.sub.clone()))
}

async fn ask(guard: &Guard, token: Option<&str>, scopes: &[&str]) -> (u16, Option<String>, String) {
    let service = guard.layer().require(scopes.iter().copied()).layer(service_fn(api));
    let mut request = Request::new(());
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    let response = service.oneshot(request).await.unwrap();
    let challenge = response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), challenge, response.into_body())
}

#[tokio::test(start_paused = true)]
async fn the_layer_answers_for_the_api() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config()).await;
    let token = sign(&fake.key(), &claims());
    for scopes in [&[][..], &["read:orders"], &["openid", "read:orders"]] {
        assert_eq!(ask(&guard, Some(&token), scopes).await, (200, None, "auth0|ada".to_owned()));
    }
    let (status, challenge, _) = ask(&guard, Some(&token), &["read:orders", "write:orders"]).await;
    let lacking = r#"Bearer error="insufficient_scope", scope="read:orders write:orders""#;
    assert_eq!((status, challenge.as_deref()), (403, Some(lacking)));
    assert_eq!(ask(&guard, None, &[]).await, (401, Some("Bearer".to_owned()), String::new()));
    let (status, challenge, body) = ask(&guard, Some("nonsense"), &[]).await;
    let malformed = r#"Bearer error="invalid_token", error_description="The access token is malformed""#;
    assert_eq!((status, challenge.as_deref()), (401, Some(malformed)));
    assert!(body.contains("invalid_token"));
    // An ended token's scopes are not looked at.
    fake.end(json!(["user", "AQEBAQEBAQEBAQEB", 101, START + 100_000]));
    super::heard(&guard, &fake).await;
    assert_eq!(ask(&guard, Some(&token), &["write:orders"]).await.0, 401);
}
