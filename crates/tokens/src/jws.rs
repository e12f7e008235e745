//! JWS compact serialization (RFC 7515 §7.1), for JWTs (RFC 7519) under one key.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::Failure;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::alg::JwsAlg;
use crate::key::{PublicKey, SigningKey, encode_header};

/// Longest compact text that is read.
pub const COMPACT_BYTES_MAX: usize = 16 * 1024;

/// Signs `claims` with `key`. The header is `{alg, typ, kid}`; those of the usual `typ` values are encoded when
/// the key is loaded.
///
/// Failure: `Crypto` when aws-lc cannot sign, `Internal` when the claims do not serialize.
pub fn sign_compact(key: &SigningKey, typ: &str, claims: &impl Serialize) -> Result<String, Failure> {
    let mut text = signing_input(&key.header(typ), claims)?;
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(text)
}

/// Signs `claims` with a shared secret: ID tokens of clients, and access tokens for APIs, whose algorithm is
/// HS256. There is no `kid`. Failure: `Crypto` when the secret is empty, which anybody could sign with;
/// `Internal` when the claims do not serialize.
pub fn sign_hs256(secret: &[u8], typ: &str, claims: &impl Serialize) -> Result<String, Failure> {
    if secret.is_empty() {
        return Err(Failure::Crypto("an HS256 secret is empty".into()));
    }
    let mut text = signing_input(&encode_header(JwsAlg::HS256, typ, None), claims)?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut text);
    Ok(text)
}

/// `BASE64URL(header) . BASE64URL(payload)`, with room for the signature of an RSA key of 4096 bits.
fn signing_input(header: &str, claims: &impl Serialize) -> Result<String, Failure> {
    let mut payload = Vec::with_capacity(768);
    serde_json::to_writer(&mut payload, claims)
        .map_err(|error| Failure::Internal(format!("claims do not serialize: {error}").into()))?;
    let mut text = String::with_capacity(header.len() + payload.len() * 4 / 3 + 700);
    text.push_str(header);
    URL_SAFE_NO_PAD.encode_string(payload, &mut text);
    Ok(text)
}

/// Why a text is not a JWS that this server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`COMPACT_BYTES_MAX`].
    #[error("too large")]
    TooLarge,
    /// Not three parts of canonical base64url, or a header that is not a JSON object, or one that names a
    /// member twice.
    #[error("malformed")]
    Malformed,
    /// An `alg` outside [`JwsAlg`], `none` among them.
    #[error("unsupported algorithm")]
    Algorithm,
    /// The header has `crit`: there is no extension that this server understands (RFC 7515 §4.1.11).
    #[error("critical header")]
    Critical,
}

/// What is read of a header. Keys and addresses of keys in it (`jwk`, `jku`, `x5c`, `x5u`) are never used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithm. It is only believed where it equals the key's.
    pub alg: JwsAlg,
    /// Which key.
    pub kid: Option<String>,
    /// What kind of token.
    pub typ: Option<String>,
}

#[derive(Deserialize)]
struct ReadHeader {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    /// Unencoded payloads (RFC 7797) must be announced in `crit`; one that is not is refused all the same.
    #[serde(default, deserialize_with = "present")]
    b64: bool,
}

/// Whether a member is there, whatever its value, `null` too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A text taken apart; nothing in it is believed before [`ParsedJws::verify`] or [`ParsedJws::verify_hs256`].
#[derive(Clone)]
pub struct ParsedJws<'a> {
    /// The protected header.
    pub header: Header,
    /// The decoded payload.
    pub payload: Vec<u8>,
    /// What is signed: the first two parts with the dot between them.
    pub signing_input: &'a str,
    /// The decoded signature.
    pub signature: Vec<u8>,
}

impl fmt::Debug for ParsedJws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedJws").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Takes a compact text apart: exactly three parts, canonical base64url without padding, a known `alg`, no
/// `crit`.
pub fn parse_compact(text: &str) -> Result<ParsedJws<'_>, JwsError> {
    if text.len() > COMPACT_BYTES_MAX {
        return Err(JwsError::TooLarge);
    }
    let (signing_input, signature) = text.rsplit_once('.').ok_or(JwsError::Malformed)?;
    let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Malformed)?;
    // The engine refuses padding, foreign characters (a fourth part's dot among them) and stray bits at the end.
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed);
    let read: ReadHeader = serde_json::from_slice(&decode(header)?).map_err(|_| JwsError::Malformed)?;
    if read.crit || read.b64 {
        return Err(JwsError::Critical);
    }
    let alg = JwsAlg::parse(&read.alg).ok_or(JwsError::Algorithm)?;
    Ok(ParsedJws {
        header: Header { alg, kid: read.kid, typ: read.typ },
        payload: decode(payload)?,
        signing_input,
        signature: decode(signature)?,
    })
}

impl ParsedJws<'_> {
    /// Whether the signature is `key`'s. The header's `alg` must be the key's own (RFC 8725 §3.1).
    pub fn verify(&self, key: &PublicKey) -> bool {
        self.header.alg == key.alg() && key.verify(self.signing_input.as_bytes(), &self.signature)
    }

    /// Whether the signature was made with this shared secret, under HS256. Compares in constant time. An empty
    /// secret verifies nothing.
    pub fn verify_hs256(&self, secret: &[u8]) -> bool {
        !secret.is_empty()
            && self.header.alg == JwsAlg::HS256
            && hmac::verify(
                &hmac::Key::new(hmac::HMAC_SHA256, secret),
                self.signing_input.as_bytes(),
                &self.signature,
            )
            .is_ok()
    }
}

/// Reads a compact text and checks it against a shared secret; `None` when either fails.
pub fn verify_hs256<'a>(secret: &[u8], text: &'a str) -> Option<ParsedJws<'a>> {
    parse_compact(text).ok().filter(|jws| jws.verify_hs256(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alg::SigningAlg;
    use crate::key::Jwk;

    fn public(jwk: serde_json::Value) -> PublicKey {
        PublicKey::from_jwk(&serde_json::from_value::<Jwk>(jwk).unwrap()).unwrap()
    }

    #[test]
    fn every_algorithm_signs_what_it_verifies() {
        for alg in SigningAlg::ALL {
            let generated = SigningKey::generate(*alg).unwrap();
            let key = SigningKey::from_pkcs8("k1", *alg, generated.pkcs8.expose()).unwrap();
            for typ in ["JWT", "at+jwt", "something+jwt"] {
                let text = sign_compact(&key, typ, &json!({ "sub": "a" })).unwrap();
                let jws = parse_compact(&text).unwrap();
                assert_eq!(
                    jws.header,
                    Header { alg: alg.jws(), kid: Some("k1".to_owned()), typ: Some(typ.to_owned()) }
                );
                assert_eq!(jws.payload, br#"{"sub":"a"}"#);
                assert!(jws.verify(key.public()), "{alg:?}");
                // The same key in the form in which others get it.
                assert!(jws.verify(&PublicKey::from_jwk(&key.public().jwk()).unwrap()));
                let mut forged = jws.clone();
                forged.signature[10] ^= 1;
                assert!(!forged.verify(key.public()));
            }
            assert!(!format!("{key:?} {generated:?}").contains(&format!("{:?}", generated.pkcs8.expose())));
        }
    }

    /// RFC 7515 A.1.
    #[test]
    fn rfc_7515_a1_hs256() {
        let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let secret = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let jws = verify_hs256(&secret, text).unwrap();
        assert_eq!(
            jws.payload,
            b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
        );
        assert!(verify_hs256(&secret[1..], text).is_none());
        assert!(verify_hs256(&secret, &text.replace(".dBj", ".eBj")).is_none());
    }

    /// RFC 7515 A.2.
    #[test]
    fn rfc_7515_a2_rs256() {
        let text = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let key = public(json!({
            "kty": "RSA", "e": "AQAB",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        }));
        let jws = parse_compact(text).unwrap();
        assert!(jws.verify(&key));
        // RSASSA-PKCS1-v1_5 is deterministic: another payload, and the signature is wrong.
        let other = text.replace("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Ei");
        assert!(!parse_compact(&other).unwrap().verify(&key));
    }

    /// RFC 7515 A.3.
    #[test]
    fn rfc_7515_a3_es256() {
        let text = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let key = public(json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }));
        assert!(parse_compact(text).unwrap().verify(&key));
    }

    /// RFC 7515 A.5: an unsecured JWS is none for us (RFC 8725 §3.1).
    #[test]
    fn rfc_7515_a5_none_is_refused() {
        let text = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
        assert_eq!(parse_compact(text).unwrap_err(), JwsError::Algorithm);
    }

    /// RFC 8037 A.4 and A.5.
    #[test]
    fn rfc_8037_a4_ed25519() {
        let text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let key = public(json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }));
        let jws = parse_compact(text).unwrap();
        assert_eq!(jws.payload, b"Example of Ed25519 signing");
        assert!(jws.verify(&key));
    }

    fn compact(header: &str) -> String {
        format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn headers_are_read_strictly() {
        for (header, error) in [
            (r#"{"alg":"none"}"#, JwsError::Algorithm),
            (r#"{"alg":"HS512"}"#, JwsError::Algorithm),
            (r#"{"alg":"RS256","crit":["exp"],"exp":1}"#, JwsError::Critical),
            (r#"{"alg":"RS256","crit":[]}"#, JwsError::Critical),
            (r#"{"alg":"RS256","crit":null}"#, JwsError::Critical),
            (r#"{"alg":"RS256","b64":false}"#, JwsError::Critical),
            (r#"{"alg":"RS256","alg":"HS256"}"#, JwsError::Malformed),
            (r#"{"alg":"RS256","kid":"a","kid":"b"}"#, JwsError::Malformed),
            (r#"{"alg":["RS256"]}"#, JwsError::Malformed),
            (r#"{"kid":"a"}"#, JwsError::Malformed),
            (r#"{"alg":"RS256"} "x""#, JwsError::Malformed),
            ("[]", JwsError::Malformed),
            ("", JwsError::Malformed),
        ] {
            assert_eq!(parse_compact(&compact(header)).unwrap_err(), error, "{header}");
        }
        assert!(parse_compact(&compact(r#"{"alg":"RS256","jku":"https://evil.example/"}"#)).is_ok());
    }

    #[test]
    fn texts_are_read_strictly() {
        let text = compact(r#"{"alg":"RS256"}"#);
        assert!(parse_compact(&text).is_ok());
        let rest = &text[..text.len() - 4];
        for other in [
            String::new(),
            "..".to_owned(),
            format!("{text}."),
            format!("{text}.AAAA"),
            format!(".{text}"),
            format!("{text}="),
            format!("{text}\n"),
            format!("{rest}AB"),
            format!("{rest}A+/A"),
            format!("{rest}é"),
            text.replacen('.', "", 1),
            text.replace(".e30.", ".e31."),
        ] {
            assert_eq!(parse_compact(&other).unwrap_err(), JwsError::Malformed, "{other}");
        }
        let long = format!("{rest}{}", "A".repeat(COMPACT_BYTES_MAX));
        assert_eq!(parse_compact(&long).unwrap_err(), JwsError::TooLarge);
    }

    #[test]
    fn a_header_cannot_choose_another_algorithm() {
        let rsa = SigningKey::generate(SigningAlg::RS256).unwrap();
        let rs256 = SigningKey::from_pkcs8("k", SigningAlg::RS256, rsa.pkcs8.expose()).unwrap();
        let ps256 = SigningKey::from_pkcs8("k", SigningAlg::PS256, rsa.pkcs8.expose()).unwrap();
        let text = sign_compact(&ps256, "JWT", &json!({})).unwrap();
        assert!(parse_compact(&text).unwrap().verify(ps256.public()));
        assert!(!parse_compact(&text).unwrap().verify(rs256.public()));
        // A good signature of the key under a header that names another algorithm.
        let input = signing_input(&encode_header(JwsAlg::RS256, "JWT", None), &json!({})).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(ps256.sign(input.as_bytes()).unwrap());
        let text = format!("{input}.{signature}");
        assert!(!parse_compact(&text).unwrap().verify(ps256.public()));
        // The public key's text as an HMAC secret (RFC 8725 §2.1).
        let public = rs256.public().jwk().n.unwrap();
        let text = sign_hs256(public.as_bytes(), "JWT", &json!({})).unwrap();
        let jws = parse_compact(&text).unwrap();
        assert!(jws.verify_hs256(public.as_bytes()));
        assert!(!jws.verify(rs256.public()));
        // And an RS256 text is no HS256 text, whatever the secret.
        let text = sign_compact(&rs256, "JWT", &json!({})).unwrap();
        assert!(!parse_compact(&text).unwrap().verify_hs256(public.as_bytes()));
    }

    #[test]
    fn an_empty_secret_neither_signs_nor_verifies() {
        assert!(matches!(sign_hs256(b"", "JWT", &json!({})), Err(Failure::Crypto(_))));
        let input = signing_input(&encode_header(JwsAlg::HS256, "JWT", None), &json!({})).unwrap();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b""), input.as_bytes());
        let text = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert!(parse_compact(&text).is_ok());
        assert!(verify_hs256(b"", &text).is_none());
    }

    #[test]
    fn claims_that_do_not_serialize_are_a_failure() {
        let claims = std::collections::HashMap::from([(vec![1], 2)]);
        assert!(matches!(sign_hs256(b"secret", "JWT", &claims), Err(Failure::Internal(_))));
    }
}
