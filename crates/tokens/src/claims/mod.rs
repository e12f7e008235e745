//! The claims of access tokens, ID tokens, logout tokens and security event tokens, written as Auth0 writes them and read back typed.

use std::fmt;

use aws_lc_rs::digest::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::Sid;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};

use crate::alg::JwsAlg;

mod access_token;
#[cfg(feature = "issuing")]
mod id_token;
mod logout_token;
mod security_event;

pub use access_token::{
    AccessToken, AccessTokenClaims, Audience, Cfw, Confirmation, StatusReference, TokenDialect,
};
#[cfg(feature = "issuing")]
pub use id_token::{IdTokenClaims, IdTokenHint, ProfileClaims, UserinfoClaims};
pub use logout_token::{LOGOUT_EVENT, LogoutTokenClaims};
pub use security_event::{SECURITY_EVENT_TYP, SecurityEventClaims};

/// What Actions set with `setCustomClaim`, by name.
pub type CustomClaims = serde_json::Map<String, serde_json::Value>;

/// Names that custom claims cannot have: Auth0's list, and what else this server writes into tokens (`cfw`,
/// `scope`, `session_expiry`, `status`). With them a custom claim could stand beside the server's own of the same name.
pub const RESERVED: [&str; 64] = [
    "acr",
    "act",
    "active",
    "amr",
    "at_hash",
    "ath",
    "attest",
    "aud",
    "auth_time",
    "authorization_details",
    "azp",
    "c_hash",
    "cfw",
    "client_id",
    "cnf",
    "cty",
    "dest",
    "entitlements",
    "events",
    "exp",
    "groups",
    "gty",
    "htm",
    "htu",
    "iat",
    "internalService",
    "iss",
    "jcard",
    "jku",
    "jti",
    "jwe",
    "jwk",
    "kid",
    "may_act",
    "mky",
    "nbf",
    "nonce",
    "object_id",
    "org_id",
    "org_name",
    "orig",
    "origid",
    "permissions",
    "roles",
    "rph",
    "s_hash",
    "scope",
    "session_expiry",
    "sid",
    "sip_callid",
    "sip_cseq_num",
    "sip_date",
    "sip_from_tag",
    "sip_via_branch",
    "status",
    "sub",
    "sub_jwk",
    "toe",
    "txn",
    "typ",
    "uuid",
    "vot",
    "vtm",
    "x5t#S256",
];

/// Whether custom claims of this name are silently dropped.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Writes a value by its `Display` form.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The organization of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Organization<'a> {
    /// `org_id`.
    pub id: &'a str,
    /// `org_name`, when the tenant wants it in tokens.
    pub name: Option<&'a str>,
}

/// Why a payload is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not a JSON object, a required claim missing or of the wrong type, or a claim there twice.
    #[error("malformed claims")]
    Malformed,
    /// Another kind of token: an ID token where an access token is due, or the reverse.
    #[error("another kind of token")]
    Kind,
}

fn parse_sid(text: Option<String>) -> Result<Option<Sid>, ClaimsError> {
    text.map(|text| Sid::parse(&text).ok_or(ClaimsError::Malformed)).transpose()
}

/// Reads `aud`: a string or an array of strings (RFC 7519 §4.1.3).
pub(crate) fn audiences<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Audiences;

    impl<'de> Visitor<'de> for Audiences {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or an array of strings")
        }

        fn visit_str<E: de::Error>(self, audience: &str) -> Result<Self::Value, E> {
            Ok(vec![audience.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut audiences = Vec::new();
            while let Some(audience) = seq.next_element()? {
                audiences.push(audience);
            }
            Ok(audiences)
        }
    }

    deserializer.deserialize_any(Audiences)
}

/// `at_hash`, `c_hash` (OIDC Core §3.3.2.11) and `s_hash` (FAPI 1.0 Part 2 §5.1): base64url of the left half of
/// the hash of `value` that belongs to the ID token's `alg`.
pub fn half_hash(alg: JwsAlg, value: &str) -> String {
    let hash = digest(alg.half_hash_digest(), value.as_bytes());
    let octets = hash.as_ref();
    URL_SAFE_NO_PAD.encode(&octets[..octets.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::access_token::tests::{access_token, sid};
    use super::*;

    #[test]
    fn a_kind_of_token_is_not_taken_for_another() {
        let access_token = serde_json::to_vec(&access_token()).unwrap();
        assert_eq!(IdTokenHint::from_payload(&access_token), Err(ClaimsError::Kind));
        let id_token =
            IdTokenClaims { iss: "i", sub: "s", aud: "c", sid: Some(sid()), ..IdTokenClaims::default() };
        let id_token = serde_json::to_string(&id_token).unwrap();
        assert_eq!(IdTokenHint::from_payload(id_token.as_bytes()).unwrap().sid, Some(sid()));
        let with_azp = id_token.replace("\"iss\"", "\"azp\":\"c\",\"iss\"");
        assert_eq!(AccessToken::from_payload(with_azp.as_bytes()), Err(ClaimsError::Kind));
    }

    #[test]
    fn every_claim_the_server_writes_but_profile_claims_is_reserved() {
        let cnf = Confirmation::default();
        let org = Some(Organization { id: "o", name: Some("n") });
        let mut names = Vec::new();
        for dialect in TokenDialect::ALL {
            let claims = AccessTokenClaims {
                dialect: *dialect,
                gty: Some("g"),
                cnf: Some(&cnf),
                status: None,
                org,
                ..access_token()
            };
            names.extend(serde_json::to_value(claims).unwrap().as_object().unwrap().keys().cloned());
        }
        let claims = IdTokenClaims {
            sid: Some(sid()),
            nonce: Some("n"),
            auth_time: Some(1),
            acr: Some("a"),
            amr: &["mfa"],
            at_hash: Some("a"),
            c_hash: Some("c"),
            s_hash: Some("s"),
            org,
            session_expiry: Some(2),
            ..IdTokenClaims::default()
        };
        names.extend(serde_json::to_value(claims).unwrap().as_object().unwrap().keys().cloned());
        for name in names {
            assert!(is_reserved(&name), "{name}");
        }
        assert!(RESERVED.is_sorted());
        assert!(!is_reserved("email") && !is_reserved("https://example.com/roles"));
    }

    /// OIDC Core A.3 and A.4.
    #[test]
    fn oidc_core_half_hashes() {
        assert_eq!(
            half_hash(JwsAlg::RS256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
        assert_eq!(
            half_hash(JwsAlg::RS256, "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"),
            "LDktKdoQak3Pk0cnXxCltA"
        );
        assert_eq!(half_hash(JwsAlg::RS384, "").len(), 32);
        assert_eq!(half_hash(JwsAlg::EdDSA, "").len(), 43);
    }
}
