//! The self-signed certificate of a signing key: `x5c` in the JWKS, `/pem`, and the fields of the Management
//! API's signing keys. Nobody checks its chain; it only carries the key.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use curfew_model::{Failure, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm,
};
use time::OffsetDateTime;

use crate::alg::SigningAlg;
use crate::key::SigningKey;
use crate::{der, pem};

/// `1.2.840.113549.1.7.2`, signedData (RFC 2315 §14).
const OID_SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `1.2.840.113549.1.7.1`, data (RFC 2315 §14).
const OID_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];

/// An X.509 certificate as DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
}

/// Lends a key to rcgen.
struct Signer<'a> {
    key: &'a SigningKey,
    bits: Vec<u8>,
}

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.key.alg() {
            // The key itself is not restricted to PSS, so readers that know only PKCS #1 can load it.
            SigningAlg::RS256 | SigningAlg::PS256 => &PKCS_RSA_SHA256,
            SigningAlg::ES256 => &PKCS_ECDSA_P256_SHA256,
            SigningAlg::EdDSA => &PKCS_ED25519,
        }
    }
}

impl rcgen::SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign_certificate(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl Certificate {
    /// Signs a certificate for `key` with itself. `common_name` is the issuer's host; the serial number is
    /// taken from the key, so that two certificates of one key and span are the same but for their signature.
    pub fn self_signed(
        key: &SigningKey,
        common_name: &str,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Self, Failure> {
        let failed = |_| Failure::Crypto("a certificate could not be made".into());
        let date = |at: Timestamp| OffsetDateTime::from_unix_timestamp(at.seconds()).map_err(failed);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_before = date(not_before)?;
        params.not_after = date(not_after)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let signer = Signer { key, bits: key.public().key_bits() };
        let certificate = params
            .self_signed(&signer)
            .map_err(|_| Failure::Crypto("a certificate could not be made".into()))?;
        Ok(Self { der: certificate.der().to_vec() })
    }

    /// A certificate from its PEM text; `None` when it is none.
    pub fn from_pem(text: &str) -> Option<Self> {
        match crate::pem::decode(text)? {
            ("CERTIFICATE", der) => Some(Self::from_der(der)),
            _ => None,
        }
    }

    /// A stored certificate; it is not looked into.
    pub fn from_der(der: Vec<u8>) -> Self {
        Self { der }
    }

    /// The bytes to store, and what `/cer` answers.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What `/pem` answers, and `cert` of the Management API's signing keys.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// The one element of `x5c` (RFC 7517 §4.7): base64, not base64url.
    pub fn x5c(&self) -> String {
        STANDARD.encode(&self.der)
    }

    /// `x5t` (RFC 7517 §4.8): base64url of the SHA-1 of the DER.
    pub fn x5t(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.sha1())
    }

    /// `fingerprint` of the Management API's signing keys: `AA:BB:…` of the SHA-1.
    pub fn fingerprint(&self) -> String {
        self.sha1().as_ref().iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
    }

    /// `thumbprint` of the Management API's signing keys: `AABB…` of the SHA-1.
    pub fn thumbprint(&self) -> String {
        self.sha1().as_ref().iter().map(|octet| format!("{octet:02X}")).collect()
    }

    /// `pkcs7` of the Management API's signing keys: a signed-data structure that holds this certificate and
    /// nothing else (RFC 2315 §9.1), as PEM.
    pub fn pkcs7(&self) -> String {
        let oid = |bytes| der::write(der::OBJECT_IDENTIFIER, &[bytes]);
        let empty_set = der::write(der::SET, &[]);
        let signed_data = der::write(
            der::SEQUENCE,
            &[
                &der::write_positive(&[1]),
                &empty_set,
                &der::write(der::SEQUENCE, &[&oid(OID_DATA)]),
                &der::write(der::CONTEXT_0, &[&self.der]),
                &empty_set,
            ],
        );
        let content = der::write(der::CONTEXT_0, &[&signed_data]);
        pem::encode("PKCS7", &der::write(der::SEQUENCE, &[&oid(OID_SIGNED_DATA), &content]))
    }

    fn sha1(&self) -> aws_lc_rs::digest::Digest {
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
    };

    use super::*;
    use crate::der::Reader;
    use crate::key::PublicKey;

    fn key(alg: SigningAlg) -> SigningKey {
        let generated = SigningKey::generate(alg).unwrap();
        SigningKey::from_pkcs8("k1", alg, generated.pkcs8.expose()).unwrap()
    }

    fn certificate(key: &SigningKey) -> Certificate {
        let from = Timestamp::parse_iso("2026-01-01T10:00:00Z").unwrap();
        let until = Timestamp::parse_iso("2039-09-10T10:00:00Z").unwrap();
        Certificate::self_signed(key, "tenant.curfew.example", from, until).unwrap()
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn a_certificate_carries_its_key_and_is_signed_by_it() {
        for alg in SigningAlg::ALL {
            let key = key(*alg);
            let certificate = certificate(&key);
            let carried =
                PublicKey::from_pem_or_der(certificate.pem().as_bytes(), alg.jws(), Some("k1")).unwrap();
            assert_eq!(&carried, key.public());

            let mut parts = Reader::new(der::only(certificate.der(), der::SEQUENCE).unwrap());
            let signed = parts.element(der::SEQUENCE).unwrap();
            parts.value(der::SEQUENCE).unwrap();
            let signature = parts.bits().unwrap();
            let algorithm: &dyn VerificationAlgorithm = match alg {
                SigningAlg::RS256 | SigningAlg::PS256 => &RSA_PKCS1_2048_8192_SHA256,
                SigningAlg::ES256 => &ECDSA_P256_SHA256_ASN1,
                SigningAlg::EdDSA => &ED25519,
            };
            algorithm.verify_sig(&key.public().key_bits(), signed, signature).unwrap();

            for part in [&b"tenant.curfew.example"[..], b"260101100000Z", b"390910100000Z"] {
                assert!(contains(certificate.der(), part), "{alg:?}");
            }
        }
    }

    #[test]
    fn a_jwk_carries_its_certificate() {
        let key = key(SigningAlg::RS256);
        let certificate = certificate(&key);
        let jwk = key.public().jwk_with_certificate(&certificate);
        let x5c = jwk.x5c.as_deref().unwrap();
        assert_eq!(STANDARD.decode(&x5c[0]).unwrap(), certificate.der());
        let sha1 = URL_SAFE_NO_PAD.decode(jwk.x5t.as_deref().unwrap()).unwrap();
        assert_eq!(sha1.len(), 20);
        // In the order of Auth0's answer.
        let json = serde_json::to_string(&jwk).unwrap();
        let order = ["kty", "use", "n", "e", "kid", "x5t", "x5c", "alg"];
        let places: Vec<_> = order.iter().map(|name| json.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{json}");

        assert_eq!(certificate.thumbprint(), certificate.fingerprint().replace(':', ""));
        assert_eq!(certificate.fingerprint().len(), 59);
        assert!(certificate.fingerprint().starts_with(&format!("{:02X}:{:02X}:", sha1[0], sha1[1])));
        assert_eq!(Certificate::from_der(certificate.der().to_vec()), certificate);
    }

    #[test]
    fn pkcs7_holds_the_certificate() {
        let certificate = certificate(&key(SigningAlg::ES256));
        let text = certificate.pkcs7();
        let (label, der) = pem::decode(&text).unwrap();
        assert_eq!(label, "PKCS7");
        let mut content_info = Reader::new(der::only(&der, der::SEQUENCE).unwrap());
        assert_eq!(content_info.value(der::OBJECT_IDENTIFIER), Some(OID_SIGNED_DATA));
        let content = content_info.value(der::CONTEXT_0).unwrap();
        let mut signed_data = Reader::new(der::only(content, der::SEQUENCE).unwrap());
        assert_eq!(signed_data.positive(), Some(&[1][..]));
        assert_eq!(signed_data.value(der::SET), Some(&[][..]));
        assert!(signed_data.value(der::SEQUENCE).is_some());
        assert_eq!(signed_data.value(der::CONTEXT_0), Some(certificate.der()));
        assert_eq!(signed_data.value(der::SET), Some(&[][..]));
        assert!(signed_data.is_empty());
    }

    #[test]
    fn a_date_that_is_none_is_a_failure() {
        let key = key(SigningAlg::EdDSA);
        let beyond = Timestamp::from_micros(i64::MAX);
        let made = Certificate::self_signed(&key, "host", Timestamp::from_seconds(0), beyond);
        assert!(matches!(made, Err(Failure::Crypto(_))));
    }
}
