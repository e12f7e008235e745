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
