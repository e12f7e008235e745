//! A verifier that goes by Token Status Lists (draft-ietf-oauth-status-list §8.3).

use std::io::Read as _;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_tokens::{Jwk, PublicKey, parse_compact};
use flate2::read::ZlibDecoder;
use http::Request;
use serde_json::Value;

use super::browser::place;
use super::{Answer, Curfew, claims};

/// A list as a verifier has read it.
#[derive(Debug, Clone)]
pub(crate) struct StatusList {
    pub(crate) claims: Value,
    bits: Vec<u8>,
}

impl StatusList {
    /// Fetches a list.
    pub(crate) async fn fetch(node: &Curfew, uri: &str) -> Answer {
        let request = Request::get(place(uri)).header("accept", "application/statuslist+jwt");
        node.send(request.body(Body::empty()).unwrap()).await
    }

    /// Fetches a list and checks it as the specification says.
    pub(crate) async fn get(node: &Curfew, uri: &str) -> Self {
        let answer = Self::fetch(node, uri).await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/statuslist+jwt"));
        let text = answer.text();
        let parsed = parse_compact(&text).expect("a JWS");
        assert_eq!(parsed.header.typ.as_deref(), Some("statuslist+jwt"));
        let request = Request::get("/.well-known/jwks.json").body(Body::empty()).unwrap();
        let jwks = node.send(request).await.expect(200).json();
        let mut keys = jwks["keys"].as_array().expect("keys").iter();
        let key = keys.find(|key| key["kid"].as_str() == parsed.header.kid.as_deref()).expect("its key");
        let jwk: Jwk = serde_json::from_value(key.clone()).expect("a JWK");
        assert!(parsed.verify(&PublicKey::from_jwk(&jwk).expect("a key")), "the signature");
        let claims = claims(&text);
        assert_eq!(claims["sub"], uri);
        let second = |name: &str| claims[name].as_i64().expect("a second");
        assert!(second("iat") <= node.now().seconds() && node.now().seconds() < second("exp"));
        assert!(second("ttl") > 0 && second("iat") + second("ttl") < second("exp"));
        assert_eq!(claims["status_list"]["bits"], 1);
        let lst =
            URL_SAFE_NO_PAD.decode(claims["status_list"]["lst"].as_str().expect("lst")).expect("base64url");
        let mut bits = Vec::new();
        ZlibDecoder::new(&lst[..]).read_to_end(&mut bits).expect("zlib");
        Self { claims, bits }
    }

    /// The status at an index, which must be in the list.
    pub(crate) fn at(&self, idx: usize) -> u8 {
        self.bits[idx / 8] >> (idx % 8) & 1
    }

    /// How many tokens are not valid.
    pub(crate) fn invalid(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }
}

/// The address and the index that an access token names.
#[track_caller]
pub(crate) fn reference(access_token: &str) -> (String, usize) {
    let status = &claims(access_token)["status"]["status_list"];
    let idx = status["idx"].as_u64().unwrap_or_else(|| panic!("no status: {}", claims(access_token)));
    (status["uri"].as_str().expect("uri").to_owned(), usize::try_from(idx).expect("an index"))
}

/// The status of an access token at a node: 0 valid, 1 not. Lists are shared for a second, which passes first.
pub(crate) async fn status(node: &Curfew, access_token: &str) -> u8 {
    node.advance(1);
    let (uri, idx) = reference(access_token);
    StatusList::get(node, &uri).await.at(idx)
}
