//! Tokens that another implementation signed (Python's `cryptography` over OpenSSL) are read.

use curfew_tokens::alg::JwsAlg;
use curfew_tokens::jws::{parse_compact, verify_hs256};
use curfew_tokens::key::{Jwk, PublicKey};

const CLAIMS: &str = r#"{"iss":"https://curfew.example/","sub":"auth0|ä","exp":4102444800}"#;

const RSA_JWK: &str = r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
const EC_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"g5Q6mjFj4SeorfkTEVXNjNX6M-mqBtWIkdZaZIZjZEg","y":"U9I8Lnq5pRjHPcm0w7uNWp3UlfL6723I5UTbJvkiGWQ"}"#;
const ED_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"Zdr776gqavI3GKeQAwd0Oaqhy333y58aeuRA49mEDHI"}"#;

const TOKENS: [(JwsAlg, &str, &str); 5] = [
    (
        JwsAlg::RS256,
        RSA_JWK,
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InBlZXIifQ.eyJpc3MiOiJodHRwczovL2N1cmZldy5leGFtcGxlLyIsInN1YiI6ImF1dGgwfMOkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.eS2Na33GKulvHl6ublPX-NqrwrF1stDe3d9uSLxvkcvDRapLw5zLb8uyIholWz7Kb8rW3akclD7mh3CEiGF99_fZTRVdEUaDypNieOPvB2ceTULta0zp6TeMg-EDDqeOPqotzTm0f4tCJxCcoYDNBog05alJNXWfPmg7oqpugqGVrLqQGAcjGUKy5V8tP_LGWpDrC-rxZ6AcqjDdL5s5jR5jSZvU2VIh1w-Jqw9Js7UeMmIB2I8GV2ku-srLn-tbl9jMr_dcfUwtK74tOxv66mKCywXTQGSC_tjU3mQc1ejq4nYNwelE75qJPSIfqxdI-7CQ9feOKkudgEI9K_w5Og",
    ),
    (
        JwsAlg::RS384,
        RSA_JWK,
        "eyJhbGciOiJSUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6InBlZXIifQ.eyJpc3MiOiJodHRwczovL2N1cmZldy5leGFtcGxlLyIsInN1YiI6ImF1dGgwfMOkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.T7hlpHrJn4vJh9K2VDgvnRWr6Kui8u87ibe0U2h9GmRTiXF8sOyGWX7M9dBnR4AXEEvgqgJejRLSdTN6eo33Sq9CFuAWpErGrCVyP3lJ5hMiBeQK6sxDGb2EuDuJxlv3fAcpM26gRE8gBI9QJeR3Niarjzidv1tRtz95uzvs_qw81Xh5-BndM4F1psKIU5dT54SmA4hW1vDvCw9FJ4CJ2JEJEBj36fn-EEYEwof4R8hQZS0OAFCxmjMeFm4wvMsX1o4Xs9-aG_qpoHATzF_9w8dTaoK3XYYwwzpL3F-61Hy3nrRSGyeAm0uEMPlYSl4Y0uE7zYllReXHysVXgV44Jw",
    ),
    (
        JwsAlg::PS256,
        RSA_JWK,
        "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InBlZXIifQ.eyJpc3MiOiJodHRwczovL2N1cmZldy5leGFtcGxlLyIsInN1YiI6ImF1dGgwfMOkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.LrBtM0ZAO7bp4mN13dhYpddYUhSpBT0wFRfE7XKpZqMdeOqt7Rjg1wVo9xfSbAeelSYdKQ2sBI5t1cAX334cQLcWv_wPiLL0qFeYU8oL0GoFBjTsMZleo2gfQ3IHVYH04YKo2jax77VQMc5VipPjzuUqelsXz6mv_SPWT5bflnEvh7Ve5V-_iFYiYoX7T_ySYLY-5QV7ogurOn3QVzfAf0Ntq0aQYCQe6XH6cTZ_6PrYE6-ee7n7cQRA3OYr5BI37m23HC_6xsnV_vY0_qh8eY3-fJ3F7oOVl-OIbBHZq14ph39h0qoY_Lzz0zKSil5rMU6kIlDSF3OsuonDWOl_Fw",
    ),
    (
        JwsAlg::ES256,
        EC_JWK,
        "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InBlZXIifQ.eyJpc3MiOiJodHRwczovL2N1cmZldy5leGFtcGxlLyIsInN1YiI6ImF1dGgwfMOkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.CVnrMsL0uxAPnkYBFnGoW2uGEGRbkq0ipf-71vpSDTeXWJoDiatnEvv0FseM_ELsJfLt-aYggX2KFTmuKvD2tg",
    ),
    (
        JwsAlg::EdDSA,
        ED_JWK,
        "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6InBlZXIifQ.eyJpc3MiOiJodHRwczovL2N1cmZldy5leGFtcGxlLyIsInN1YiI6ImF1dGgwfMOkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.EhIjSw3dhSNyF_jqs3QZFN3hqCzuW0-YpyqQRlfB-qr3Bar69M30QVeHy1_aY2B72IOoCtngtBTTvR8iiksgAw",
    ),
];

#[test]
fn asymmetric_tokens_of_a_peer() {
    for (alg, jwk, text) in TOKENS {
        let mut jwk: Jwk = serde_json::from_str(jwk).unwrap();
        jwk.alg = Some(alg.as_str().to_owned());
        let key = PublicKey::from_jwk(&jwk).unwrap();
        let jws = parse_compact(text).unwrap();
        assert_eq!(std::str::from_utf8(&jws.payload), Ok(CLAIMS));
        assert_eq!((jws.header.alg, jws.header.kid.as_deref()), (alg, Some("peer")));
        assert!(jws.verify(&key), "{alg:?}");
        for place in [0, jws.signature.len() / 2, jws.signature.len() - 1] {
            let mut forged = jws.clone();
            forged.signature[place] ^= 1;
            assert!(!forged.verify(&key), "{alg:?}");
        }
        let mut cut = jws.clone();
        cut.signature.pop();
        assert!(!cut.verify(&key), "{alg:?}");
    }
}

#[test]
fn an_hs256_token_of_a_peer() {
    let text = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InBlZXIifQ.eyJpc3MiOiJodHRwczovL2N1cmZldy5leGFtcGxlLyIsInN1YiI6ImF1dGgwfMOkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.DGrMHwYuWe8vRNPLYhPUWokIXnKYngLFj6thl9BGpK0";
    assert_eq!(verify_hs256(b"a secret", text).unwrap().payload, CLAIMS.as_bytes());
    assert!(verify_hs256(b"A secret", text).is_none());
}
