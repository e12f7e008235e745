//! What a fuzzer calls: plain functions over any bytes, which must return. They assert what must hold for
//! whatever is accepted, and say whether anything was.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::{TenantId, Timestamp};

use crate::alg::JwsAlg;
use crate::claims::{AccessToken, IdTokenHint};
use crate::client_assertion::{self, Expected};
use crate::jws::parse_compact;
use crate::key::{Jwk, PublicKey};
use crate::opaque::{RefreshTokenValue, SessionCookieValue};
use crate::pkce;
use crate::seal::{KeyEncryptionKey, SealKind, SealingKey, SealingKeys};

/// A target: takes any bytes, says whether it accepted them.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name of its folder in the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("unseal", fuzz_unseal),
    ("unwrap", fuzz_unwrap),
    ("jws", fuzz_jws),
    ("client_assertion", fuzz_client_assertion),
    ("opaque", fuzz_opaque),
    ("claims", fuzz_claims),
    ("key", fuzz_key),
    ("jwk", fuzz_jwk),
    ("pkce", fuzz_pkce),
];

/// The keys under which the corpus has a value that opens.
static SEALING_KEYS: LazyLock<SealingKeys> = LazyLock::new(|| {
    SealingKeys::new(Arc::new(SealingKey::new(1, &[1; 32])), vec![Arc::new(SealingKey::new(2, &[2; 32]))])
});

static KEY_ENCRYPTION_KEY: LazyLock<KeyEncryptionKey> =
    LazyLock::new(|| KeyEncryptionKey::from_bytes([3; 32]));

fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// [`SealingKeys::unseal`], on the bytes as a text and on their base64url form.
pub fn fuzz_unseal(bytes: &[u8]) -> bool {
    let open = |text: &str| SealingKeys::unseal(&SEALING_KEYS, SealKind::RefreshToken, TenantId(1), text);
    let opened = open(text(bytes)).is_ok();
    let encoded = URL_SAFE_NO_PAD.encode(bytes);
    let inner = open(&encoded);
    if inner.is_ok() {
        let elsewhere = SEALING_KEYS.unseal(SealKind::SessionCookie, TenantId(1), &encoded);
        assert!(elsewhere.is_err(), "a value opens as one kind only");
    }
    opened || inner.is_ok()
}

/// [`KeyEncryptionKey::unwrap`].
pub fn fuzz_unwrap(bytes: &[u8]) -> bool {
    let opened = KEY_ENCRYPTION_KEY.unwrap("label", bytes).is_ok();
    assert!(
        !opened || KEY_ENCRYPTION_KEY.unwrap("other", bytes).is_err(),
        "a value opens under one label only"
    );
    opened
}

/// [`parse_compact`]: what is accepted has one spelling only.
pub fn fuzz_jws(bytes: &[u8]) -> bool {
    let text = text(bytes);
    let Ok(jws) = parse_compact(text) else { return false };
    let (header, payload) = jws.signing_input.split_once('.').unwrap_or_default();
    assert!(!header.contains('.') && URL_SAFE_NO_PAD.encode(&jws.payload) == payload);
    assert_eq!(format!("{}.{}", jws.signing_input, URL_SAFE_NO_PAD.encode(&jws.signature)), text);
    true
}

/// [`client_assertion::verify`] and [`client_assertion::claimed_client_id`], with the key of RFC 7515 A.2.
pub fn fuzz_client_assertion(bytes: &[u8]) -> bool {
    static KEYS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
        let jwk = Jwk {
            kty: "RSA".to_owned(),
            n: Some(RFC_7515_A2_MODULUS.to_owned()),
            e: Some("AQAB".to_owned()),
            ..Jwk::default()
        };
        PublicKey::from_jwk(&jwk).into_iter().collect()
    });
    let text = text(bytes);
    let expected = Expected {
        client_id: "client",
        audiences: &["https://curfew.example/"],
        now: Timestamp::from_seconds(1_767_261_600),
        lifetime_seconds_max: 300,
    };
    let claimed = client_assertion::claimed_client_id(text);
    match client_assertion::verify(text, &KEYS, &expected) {
        Ok(verified) => {
            assert!(claimed.is_ok_and(|claimed| claimed == "client") && !verified.jti.is_empty());
            true
        }
        Err(_) => false,
    }
}

const RFC_7515_A2_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// The decoders of [`opaque`](crate::opaque): what is accepted has one encoding only.
pub fn fuzz_opaque(bytes: &[u8]) -> bool {
    let refresh_token = RefreshTokenValue::decode(bytes);
    if let Some(value) = &refresh_token {
        assert_eq!(value.encode().as_slice(), bytes);
    }
    let cookie = SessionCookieValue::decode(bytes);
    if let Some(value) = &cookie {
        assert_eq!(value.encode().as_slice(), bytes);
    }
    refresh_token.is_some() || cookie.is_some()
}

/// The readers of [`claims`](crate::claims): no payload is both an access token and an ID token.
pub fn fuzz_claims(bytes: &[u8]) -> bool {
    let access_token = AccessToken::from_payload(bytes).is_ok();
    let id_token = IdTokenHint::from_payload(bytes).is_ok();
    assert!(!(access_token && id_token));
    access_token || id_token
}

/// [`PublicKey::from_pem_or_der`]: what is accepted reads back from its JWK.
pub fn fuzz_key(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for alg in JwsAlg::ALL {
        if let Ok(key) = PublicKey::from_pem_or_der(bytes, *alg, Some("kid")) {
            assert_eq!(PublicKey::from_jwk(&key.jwk()), Ok(key));
            accepted = true;
        }
    }
    accepted
}

/// [`PublicKey::from_jwk`]: what is accepted reads back from what is written.
pub fn fuzz_jwk(bytes: &[u8]) -> bool {
    let Ok(jwk) = serde_json::from_slice::<Jwk>(bytes) else { return false };
    let Ok(key) = PublicKey::from_jwk(&jwk) else { return false };
    assert!(!key.verify(b"message", b"signature"));
    assert_eq!(PublicKey::from_jwk(&key.jwk()), Ok(key));
    true
}

/// [`pkce::verify`], with verifier and challenge on two lines.
pub fn fuzz_pkce(bytes: &[u8]) -> bool {
    let (verifier, challenge) = text(bytes).split_once('\n').unwrap_or_default();
    let s256 = pkce::verify(pkce::Method::S256, verifier, challenge);
    let plain = pkce::verify(pkce::Method::Plain, verifier, challenge);
    assert!(!plain || verifier == challenge);
    assert!(!(s256 || plain) || pkce::is_well_formed(verifier));
    s256 || plain
}
