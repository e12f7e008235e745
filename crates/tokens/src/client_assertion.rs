//! Client authentication with `private_key_jwt` (RFC 7523 §3, OIDC Core §9).

use std::fmt;

use curfew_model::Timestamp;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use crate::alg::JwsAlg;
use crate::claims::audiences;
use crate::jws::{JwsError, ParsedJws, parse_compact};
use crate::key::PublicKey;

/// The one value of `client_assertion_type` (RFC 7523 §2.2).
pub const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What assertions may be signed with, as discovery announces it.
pub const ALGS: [JwsAlg; 3] = [JwsAlg::RS256, JwsAlg::RS384, JwsAlg::PS256];

/// How far a client's clock may be ahead or behind.
pub const LEEWAY_SECONDS: i64 = 30;

/// Longest `jti` that is stored until it is over.
pub const JTI_BYTES_MAX: usize = 255;

/// Why an assertion is refused. Outside, all look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Not a JWS, or a claim that is missing, of the wrong type or there twice.
    #[error("malformed assertion")]
    Malformed,
    /// Signed with something else than [`ALGS`].
    #[error("unsupported algorithm")]
    Algorithm,
    /// None of the client's keys fits `kid` and `alg`.
    #[error("unknown key")]
    UnknownKey,
    /// A key fits, but the signature is not its own.
    #[error("wrong signature")]
    Signature,
    /// `iss` and `sub` are not both the client's id.
    #[error("iss and sub must be the client's id")]
    Client,
    /// `aud` names none of the server's addresses.
    #[error("wrong audience")]
    Audience,
    /// `exp` is over.
    #[error("expired")]
    Expired,
    /// `exp` is further away than assertions may live.
    #[error("expires too late")]
    Lifetime,
    /// `nbf` or `iat` is yet to come.
    #[error("not yet valid")]
    NotYetValid,
    /// `jti` is missing (OIDC Core §9 requires it), empty or longer than [`JTI_BYTES_MAX`].
    #[error("unusable jti")]
    Jti,
}

/// What an assertion must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The client that is to be authenticated.
    pub client_id: &'a str,
    /// Any one of them must be in `aud`: the issuer and the token endpoint.
    pub audiences: &'a [&'a str],
    /// The present instant.
    pub now: Timestamp,
    /// How far ahead `exp` may lie, and so how long a `jti` is remembered.
    pub lifetime_seconds_max: i64,
}

/// An assertion that holds. It counts only once: the caller consumes `jti` until `expires_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its id, unique below the client.
    pub jti: String,
    /// From when on it is refused for its age: `exp` and the leeway.
    pub expires_at: Timestamp,
    /// The `kid` of the key that signed it.
    pub kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(deserialize_with = "audiences")]
    aud: Vec<String>,
    exp: NumericDate,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(default)]
    iat: Option<NumericDate>,
    #[serde(default)]
    jti: Option<String>,
}

/// Unix seconds, rounded down; JSON may have a fraction (RFC 7519 §2).
struct NumericDate(i64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
                Ok(NumericDate(seconds))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Self::Value, E> {
                i64::try_from(seconds).map(NumericDate).map_err(|_| E::custom("out of range"))
            }

            #[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Self::Value, E> {
                // Beyond 2^53 a double has no whole seconds left.
                if seconds.abs() <= 9_007_199_254_740_992.0 {
                    Ok(NumericDate(seconds.floor() as i64))
                } else {
                    Err(E::custom("out of range"))
                }
            }
        }

        deserializer.deserialize_any(Number)
    }
}

fn parse(assertion: &str) -> Result<(ParsedJws<'_>, Claims), AssertionError> {
    let jws = parse_compact(assertion).map_err(|error| match error {
        JwsError::Algorithm => AssertionError::Algorithm,
        JwsError::TooLarge | JwsError::Malformed | JwsError::Critical => AssertionError::Malformed,
    })?;
    let claims = serde_json::from_slice(&jws.payload).map_err(|_| AssertionError::Malformed)?;
    Ok((jws, claims))
}

/// Which client an assertion claims to be from, where the request has no `client_id` of its own (RFC 7521 §4.2).
/// Nothing is verified: it only tells whose keys [`verify`] needs.
pub fn claimed_client_id(assertion: &str) -> Result<String, AssertionError> {
    let (_, claims) = parse(assertion)?;
    if claims.iss == claims.sub { Ok(claims.sub) } else { Err(AssertionError::Client) }
}

/// Verifies an assertion (RFC 7523 §3).
///
/// Steps: 1 parse, 2 the algorithm is one of [`ALGS`], 3 a key of the client that has this `alg`, and this `kid`
/// where both name one, signed it, 4 `iss` = `sub` = client, 5 `aud`, 6 `exp`, `nbf`, `iat`, 7 `jti`.
pub fn verify(
    assertion: &str,
    keys: &[PublicKey],
    expected: &Expected<'_>,
) -> Result<Verified, AssertionError> {
    let (jws, claims) = parse(assertion)?;
    if !ALGS.contains(&jws.header.alg) {
        return Err(AssertionError::Algorithm);
    }
    let fits = |key: &&PublicKey| {
        key.alg() == jws.header.alg
            && match (key.kid(), jws.header.kid.as_deref()) {
                (Some(own), Some(named)) => own == named,
                (None, _) | (_, None) => true,
            }
    };
    let mut candidates = keys.iter().filter(fits).peekable();
    if candidates.peek().is_none() {
        return Err(AssertionError::UnknownKey);
    }
    let key = candidates.find(|key| jws.verify(key)).ok_or(AssertionError::Signature)?;
    if claims.iss != expected.client_id || claims.sub != expected.client_id {
        return Err(AssertionError::Client);
    }
    if !claims.aud.iter().any(|aud| expected.audiences.contains(&aud.as_str())) {
        return Err(AssertionError::Audience);
    }
    let now = expected.now.seconds();
    let exp = claims.exp.0;
    if exp.saturating_add(LEEWAY_SECONDS) <= now {
        return Err(AssertionError::Expired);
    }
    if exp > now.saturating_add(expected.lifetime_seconds_max).saturating_add(LEEWAY_SECONDS) {
        return Err(AssertionError::Lifetime);
    }
    let latest_start = now.saturating_add(LEEWAY_SECONDS);
    if [claims.nbf, claims.iat].into_iter().flatten().any(|start| start.0 > latest_start) {
        return Err(AssertionError::NotYetValid);
    }
    let jti = claims.jti.filter(|jti| (1..=JTI_BYTES_MAX).contains(&jti.len())).ok_or(AssertionError::Jti)?;
    Ok(Verified {
        jti,
        expires_at: Timestamp::from_seconds(exp).plus_seconds(LEEWAY_SECONDS),
        kid: key.kid().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alg::SigningAlg;
    use crate::jws::sign_compact;
    use crate::key::SigningKey;

    const NOW: i64 = 1_767_261_600;

    fn expected() -> Expected<'static> {
        Expected {
            client_id: "client",
            audiences: &["https://curfew.example/", "https://curfew.example/oauth/token"],
            now: Timestamp::from_seconds(NOW),
            lifetime_seconds_max: 300,
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "client", "sub": "client", "aud": "https://curfew.example/",
            "iat": NOW, "exp": NOW + 60, "jti": "j1",
        })
    }

    fn key(kid: &str, alg: SigningAlg) -> SigningKey {
        let generated = SigningKey::generate(alg).unwrap();
        SigningKey::from_pkcs8(kid, alg, generated.pkcs8.expose()).unwrap()
    }

    #[test]
    fn each_claim_has_its_refusal() {
        let key = key("k1", SigningAlg::PS256);
        let keys = [key.public().clone()];
        let verify = |claims: &Value| {
            let assertion = sign_compact(&key, "JWT", claims).unwrap();
            verify(&assertion, &keys, &expected()).map(|verified| verified.jti)
        };
        assert_eq!(verify(&claims()), Ok("j1".to_owned()));
        for (name, value, error) in [
            ("iss", json!("other"), AssertionError::Client),
            ("sub", json!("other"), AssertionError::Client),
            ("sub", Value::Null, AssertionError::Malformed),
            ("aud", json!("https://other.example/"), AssertionError::Audience),
            ("aud", json!([]), AssertionError::Audience),
            ("aud", json!(7), AssertionError::Malformed),
            ("exp", json!(NOW - LEEWAY_SECONDS), AssertionError::Expired),
            ("exp", json!(NOW + 300 + LEEWAY_SECONDS + 1), AssertionError::Lifetime),
            ("exp", json!(i64::MAX), AssertionError::Lifetime),
            ("exp", json!(i64::MIN), AssertionError::Expired),
            ("exp", json!("soon"), AssertionError::Malformed),
            ("iat", json!(NOW + LEEWAY_SECONDS + 1), AssertionError::NotYetValid),
            ("nbf", json!(NOW + LEEWAY_SECONDS + 1), AssertionError::NotYetValid),
            ("jti", Value::Null, AssertionError::Jti),
            ("jti", json!(""), AssertionError::Jti),
            ("jti", json!("x".repeat(JTI_BYTES_MAX + 1)), AssertionError::Jti),
        ] {
            let mut changed = claims();
            changed[name] = value.clone();
            assert_eq!(verify(&changed), Err(error), "{name}: {value}");
        }
        for (name, value) in [
            ("aud", json!(["https://other.example/", "https://curfew.example/oauth/token"])),
            ("exp", json!(NOW - LEEWAY_SECONDS + 1)),
            ("exp", json!(NOW + 300 + LEEWAY_SECONDS)),
            ("exp", json!(1_767_261_660.5)),
            ("iat", json!(NOW + LEEWAY_SECONDS)),
            ("nbf", json!(NOW - 1)),
            ("jti", json!("x".repeat(JTI_BYTES_MAX))),
        ] {
            let mut changed = claims();
            changed[name] = value.clone();
            assert!(verify(&changed).is_ok(), "{name}: {value}");
        }
    }

    #[test]
    fn a_consumed_jti_outlives_the_assertion() {
        let key = key("k1", SigningAlg::RS256);
        let keys = [key.public().clone()];
        let assertion = sign_compact(&key, "JWT", &claims()).unwrap();
        let verified = verify(&assertion, &keys, &expected()).unwrap();
        let just_before =
            Expected { now: Timestamp::from_micros(verified.expires_at.micros() - 1), ..expected() };
        assert!(verify(&assertion, &keys, &just_before).is_ok());
        let then = Expected { now: verified.expires_at, ..expected() };
        assert_eq!(verify(&assertion, &keys, &then), Err(AssertionError::Expired));
    }

    #[test]
    fn kid_and_algorithm_choose_the_key() {
        let (first, second) = (key("k1", SigningAlg::RS256), key("k2", SigningAlg::RS256));
        let assertion = sign_compact(&second, "JWT", &claims()).unwrap();
        let verify = |keys: &[PublicKey]| verify(&assertion, keys, &expected()).map(|verified| verified.kid);
        let (first, second) = (first.public(), second.public());
        assert_eq!(verify(&[first.clone(), second.clone()]), Ok(Some("k2".to_owned())));
        assert_eq!(verify(std::slice::from_ref(first)), Err(AssertionError::UnknownKey));
        assert_eq!(verify(&[]), Err(AssertionError::UnknownKey));
        // The other key under this kid.
        let mut jwk = first.jwk();
        jwk.kid = Some("k2".to_owned());
        assert_eq!(verify(&[PublicKey::from_jwk(&jwk).unwrap()]), Err(AssertionError::Signature));
        // The right key, registered without a kid, or for another algorithm.
        let mut jwk = second.jwk();
        jwk.kid = None;
        assert_eq!(verify(&[first.clone(), PublicKey::from_jwk(&jwk).unwrap()]), Ok(None));
        jwk.alg = Some("PS256".to_owned());
        assert_eq!(verify(&[PublicKey::from_jwk(&jwk).unwrap()]), Err(AssertionError::UnknownKey));
    }

    #[test]
    fn algorithms_that_discovery_does_not_announce_are_refused() {
        for alg in [SigningAlg::ES256, SigningAlg::EdDSA] {
            let key = key("k1", alg);
            let assertion = sign_compact(&key, "JWT", &claims()).unwrap();
            let refused = verify(&assertion, &[key.public().clone()], &expected());
            assert_eq!(refused, Err(AssertionError::Algorithm));
        }
        let assertion = crate::jws::sign_hs256(b"secret", "JWT", &claims()).unwrap();
        assert_eq!(verify(&assertion, &[], &expected()), Err(AssertionError::Algorithm));
    }

    #[test]
    fn the_claimed_client_is_only_read() {
        let key = key("k1", SigningAlg::RS256);
        let assertion = sign_compact(&key, "JWT", &claims()).unwrap();
        assert_eq!(claimed_client_id(&assertion), Ok("client".to_owned()));
        let mut changed = claims();
        changed["sub"] = json!("other");
        let assertion = sign_compact(&key, "JWT", &changed).unwrap();
        assert_eq!(claimed_client_id(&assertion), Err(AssertionError::Client));
        assert_eq!(claimed_client_id("a.b.c"), Err(AssertionError::Malformed));
    }
}
