//! What a fuzzer calls: plain functions over any bytes, which must return. They assert what must hold for whatever is
//! accepted, and say whether anything was.

use std::sync::Arc;

use curfew_model::{Ctx, RequestId, RequestInfo, SystemEntropy, TenantId, Timestamp};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::cookies;
use crate::routes::form;

/// A target: takes any bytes, says whether it accepted them.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name of its folder in the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("cookies", fuzz_cookies),
    ("form", fuzz_form),
    ("json", fuzz_json),
    ("authorization", fuzz_authorization),
];

fn ctx() -> Ctx {
    Ctx {
        now: Timestamp::from_seconds(0),
        entropy: Arc::new(SystemEntropy),
        tenant: TenantId(1),
        issuer: Arc::from("https://id.example/"),
        request: Arc::new(RequestInfo {
            id: RequestId([0; 16]),
            ip: String::new(),
            user_agent: String::new(),
            host: String::new(),
            nesting: 0,
            method: String::new(),
            language: String::new(),
        }),
    }
}

fn header(name: http::HeaderName, bytes: &[u8]) -> Option<HeaderMap> {
    Some(HeaderMap::from_iter([(name, HeaderValue::from_bytes(bytes).ok()?)]))
}

/// The session's cookie and a transaction's, out of a `Cookie` header.
pub fn fuzz_cookies(bytes: &[u8]) -> bool {
    let Some(headers) = header(COOKIE, bytes) else { return false };
    let ctx = ctx();
    let found = [cookies::session(&headers, &ctx), cookies::transaction(&headers, &ctx, "abc")];
    for value in found.into_iter().flatten() {
        assert!(!value.contains(';'), "{value}");
    }
    // What is evicted is named in an answer: nothing of the request may change its form.
    let mut answer = HeaderMap::new();
    let cookie = curfew_core::authorize::TransactionCookie {
        id: "new".to_owned(),
        secret: curfew_model::Secret::new("secret".to_owned()),
    };
    cookies::set_transaction(&mut answer, &ctx, &headers, &cookie);
    for line in answer.values() {
        let line = line.to_str().unwrap_or_default();
        assert!(line.starts_with("__Host-curfew-tx-") && line.matches(';').count() == 5, "{line}");
    }
    found.iter().any(Option::is_some)
}

/// A form's parameters.
pub fn fuzz_form(bytes: &[u8]) -> bool {
    let Ok(values) = form::body(&HeaderMap::new(), bytes) else { return false };
    assert!(values.values().all(|value| !value.contains('\0')));
    let again = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&values).finish();
    assert_eq!(form::urlencoded(&again).as_ref(), Ok(&values));
    !values.is_empty()
}

/// A JSON body's parameters.
pub fn fuzz_json(bytes: &[u8]) -> bool {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let Ok(values) = form::body(&headers, bytes) else { return false };
    assert!(values.values().all(|value| !value.contains('\0')));
    true
}

/// A client's or a token's credentials, out of an `Authorization` header.
pub fn fuzz_authorization(bytes: &[u8]) -> bool {
    let Some(headers) = header(AUTHORIZATION, bytes) else { return false };
    let credentials = form::client_credentials(&headers, &std::collections::HashMap::new());
    assert_eq!(credentials.client_id.is_some(), credentials.client_secret.is_some());
    assert!(!(credentials.client_id.is_some() && form::bearer(&headers).is_some()));
    credentials.client_id.is_some() || form::bearer(&headers).is_some()
}
