//! Signing keys, public keys, and their JWK form (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::{Entropy, Failure, Secret};
use serde::{Deserialize, Serialize};

use crate::alg::{JwsAlg, SigningAlg};
#[cfg(feature = "issuing")]
use crate::cert::Certificate;
use crate::{der, pem};

/// Longest PEM or DER that is read as a public key or certificate.
pub const ENCODED_KEY_BYTES_MAX: usize = 16 * 1024;

const RSA_MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// `1.2.840.113549.1.1.1`, rsaEncryption (RFC 8017 A.1).
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `1.2.840.10045.2.1`, id-ecPublicKey (RFC 5480 §2.1.1).
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `1.2.840.10045.3.1.7`, secp256r1 (RFC 5480 §2.1.1.1).
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `1.3.101.112`, id-Ed25519 (RFC 8410 §3).
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A new private key, before it is stored.
#[derive(Debug, Clone)]
pub struct GeneratedKey {
    /// The key as PKCS #8 DER. It rests only wrapped by [`KeyEncryptionKey`](crate::seal::KeyEncryptionKey).
    pub pkcs8: Secret<Vec<u8>>,
}

/// A new key id: 21 characters of `[A-Za-z0-9_-]`, unrelated to the key.
pub fn new_kid(entropy: &dyn Entropy) -> String {
    entropy.url_safe(21)
}

/// A private key, parsed and checked once, then used for every signature.
pub struct SigningKey {
    kid: String,
    alg: SigningAlg,
    pair: Pair,
    public: PublicKey,
    /// Encoded headers with the dot behind them, one for each of [`Typ::ALL`].
    headers: [String; Typ::ALL.len()],
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// The `typ` values whose headers are encoded in advance.
struct Typ;

impl Typ {
    const ALL: [&'static str; 4] = ["JWT", "at+jwt", "logout+jwt", "secevent+jwt"];
}

/// What aws-lc wants as an argument and ignores: it draws ECDSA nonces and PSS salts from its own generator.
#[expect(clippy::disallowed_methods, reason = "a placeholder that aws-lc's signing functions never read")]
fn ignored_random() -> SystemRandom {
    SystemRandom::new()
}

fn crypto(what: &'static str) -> Failure {
    Failure::Crypto(Cow::Borrowed(what))
}

impl SigningKey {
    /// Makes a private key: RSA with 2048 bits for RS256 and PS256, P-256 for ES256, Ed25519 for EdDSA.
    ///
    /// RSA takes 50 to 200 ms of processor time: keep it off the request path. The randomness is aws-lc's own
    /// (no way to hand any in), so keys are never the same in two runs of a simulation.
    pub fn generate(alg: SigningAlg) -> Result<GeneratedKey, Failure> {
        let failed = |_| crypto("a signing key could not be generated");
        let pkcs8 = match alg {
            SigningAlg::RS256 | SigningAlg::PS256 => RsaKeyPair::generate(KeySize::Rsa2048)
                .and_then(|pair| pair.as_der().map(|der| der.as_ref().to_vec()))
                .map_err(failed)?,
            SigningAlg::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .and_then(|pair| pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()))
                .map_err(failed)?,
            SigningAlg::EdDSA => Ed25519KeyPair::generate()
                .and_then(|pair| pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()))
                .map_err(failed)?,
        };
        Ok(GeneratedKey { pkcs8: Secret::new(pkcs8) })
    }

    /// Parses and checks a private key (PKCS #8 DER). Failure: `Crypto` when it is not a key for `alg`.
    pub fn from_pkcs8(kid: &str, alg: SigningAlg, pkcs8: &[u8]) -> Result<Self, Failure> {
        let rejected = |_| crypto("a stored signing key is not a key of its algorithm");
        let unusable = |_| crypto("a stored signing key has an unusable public part");
        let (pair, material) = match alg {
            SigningAlg::RS256 | SigningAlg::PS256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                let material = Material::from_rsa_der(pair.public_key().as_ref()).map_err(unusable)?;
                (Pair::Rsa(pair), material)
            }
            SigningAlg::ES256 => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(rejected)?;
                let material = Material::from_point(pair.public_key().as_ref()).map_err(unusable)?;
                (Pair::Ec(pair), material)
            }
            SigningAlg::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(rejected)?;
                let material = Material::from_ed25519(pair.public_key().as_ref()).map_err(unusable)?;
                (Pair::Ed(pair), material)
            }
        };
        let public = PublicKey::new(Some(kid), alg.jws(), material).map_err(unusable)?;
        let headers = Typ::ALL.map(|typ| encode_header(alg.jws(), typ, Some(kid)));
        Ok(Self { kid: kid.to_owned(), alg, pair, public, headers })
    }

    /// The key's id, as in headers and in the JWKS.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    pub fn alg(&self) -> SigningAlg {
        self.alg
    }

    /// Its public part.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message` as JWS wants it (RFC 7518 §3): ECDSA as `r | s`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let failed = |_| crypto("signing failed");
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding = match self.alg {
                    SigningAlg::PS256 => &RSA_PSS_SHA256,
                    SigningAlg::RS256 | SigningAlg::ES256 | SigningAlg::EdDSA => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &ignored_random(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ec(pair) => pair
                .sign(&ignored_random(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(failed),
            Pair::Ed(pair) => {
                pair.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
        }
    }

    /// The signature that stands in a certificate of this key: RSA always PKCS #1, ECDSA as DER.
    #[cfg(feature = "issuing")]
    pub(crate) fn sign_certificate(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &ignored_random(), message, &mut signature)
                    .map_err(|_| crypto("signing failed"))?;
                Ok(signature)
            }
            Pair::Ec(_) => {
                let fixed = self.sign(message)?;
                let (r, s) = fixed.split_at(fixed.len() / 2);
                Ok(der::write(der::SEQUENCE, &[&der::write_positive(r), &der::write_positive(s)]))
            }
            Pair::Ed(_) => self.sign(message),
        }
    }

    /// The encoded protected header with the dot behind it.
    pub(crate) fn header(&self, typ: &str) -> Cow<'_, str> {
        match Typ::ALL.iter().position(|known| *known == typ) {
            Some(index) => Cow::Borrowed(&self.headers[index]),
            None => Cow::Owned(encode_header(self.alg.jws(), typ, Some(&self.kid))),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct EncodedHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

/// `BASE64URL(header) .`
#[expect(clippy::expect_used, reason = "three strings always serialize")]
pub(crate) fn encode_header(alg: JwsAlg, typ: &str, kid: Option<&str>) -> String {
    let json =
        serde_json::to_vec(&EncodedHeader { alg: alg.as_str(), typ, kid }).expect("a header serializes");
    let mut text = URL_SAFE_NO_PAD.encode(json);
    text.push('.');
    text
}

/// Why a key from outside is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, DER or JWK of a public key, or a point that is not on its curve.
    #[error("not a public key")]
    Malformed,
    /// A key type, curve or algorithm that is not supported, or an algorithm that does not fit the key.
    #[error("unsupported key type or algorithm")]
    Unsupported,
    /// RSA with fewer than 2048 or more than 4096 bits.
    #[error("RSA keys must have 2048 to 4096 bits")]
    Size,
}

/// The numbers of a public key, in the form of RFC 7518 §6: big-endian without leading zeros for RSA, full
/// coordinates for P-256.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { x: [u8; 32], y: [u8; 32] },
    Ed25519 { x: [u8; 32] },
}

impl Material {
    fn from_rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let significant =
            |octets: &[u8]| -> Vec<u8> { octets.iter().copied().skip_while(|octet| *octet == 0).collect() };
        let (n, e) = (significant(n), significant(e));
        let first = *n.first().ok_or(KeyError::Malformed)?;
        let bits = n.len() * 8 - first.leading_zeros() as usize;
        if !RSA_MODULUS_BITS.contains(&bits) {
            return Err(KeyError::Size);
        }
        Ok(Self::Rsa { n, e })
    }

    /// An `RSAPublicKey` (RFC 8017 A.1.1).
    fn from_rsa_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let read = || {
            let mut reader = der::Reader::new(der::only(bytes, der::SEQUENCE)?);
            let pair = (reader.positive()?, reader.positive()?);
            reader.is_empty().then_some(pair)
        };
        let (n, e) = read().ok_or(KeyError::Malformed)?;
        Self::from_rsa(n, e)
    }

    /// An uncompressed point (SEC 1 §2.3.3).
    fn from_point(bytes: &[u8]) -> Result<Self, KeyError> {
        let (&[4], rest) = bytes.split_first_chunk::<1>().ok_or(KeyError::Malformed)? else {
            return Err(KeyError::Malformed);
        };
        let (x, y) = rest.split_first_chunk::<32>().ok_or(KeyError::Malformed)?;
        Ok(Self::P256 { x: *x, y: y.try_into().map_err(|_| KeyError::Malformed)? })
    }

    fn from_ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::Ed25519 { x: bytes.try_into().map_err(|_| KeyError::Malformed)? })
    }

    /// A `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    fn from_spki(bytes: &[u8]) -> Result<Self, KeyError> {
        let read = || {
            let mut spki = der::Reader::new(der::only(bytes, der::SEQUENCE)?);
            let mut algorithm = der::Reader::new(spki.value(der::SEQUENCE)?);
            let key = spki.bits()?;
            let oid = algorithm.value(der::OBJECT_IDENTIFIER)?;
            spki.is_empty().then_some((oid, algorithm, key))
        };
        let (oid, mut parameters, key) = read().ok_or(KeyError::Malformed)?;
        match oid {
            OID_RSA => Self::from_rsa_der(key),
            OID_EC if parameters.value(der::OBJECT_IDENTIFIER) == Some(OID_P256) => Self::from_point(key),
            OID_ED25519 => Self::from_ed25519(key),
            _ => Err(KeyError::Unsupported),
        }
    }

    /// The key bits alone: `RSAPublicKey`, uncompressed point, or the 32 octets of Ed25519.
    fn key_bits(&self) -> Vec<u8> {
        match self {
            Self::Rsa { n, e } => {
                der::write(der::SEQUENCE, &[&der::write_positive(n), &der::write_positive(e)])
            }
            Self::P256 { x, y } => [&[4], &x[..], &y[..]].concat(),
            Self::Ed25519 { x } => x.to_vec(),
        }
    }

    fn fits(&self, alg: JwsAlg) -> bool {
        match self {
            Self::Rsa { .. } => matches!(alg, JwsAlg::RS256 | JwsAlg::RS384 | JwsAlg::PS256),
            Self::P256 { .. } => alg == JwsAlg::ES256,
            Self::Ed25519 { .. } => alg == JwsAlg::EdDSA,
        }
    }

    fn default_alg(&self) -> JwsAlg {
        match self {
            Self::Rsa { .. } => JwsAlg::RS256,
            Self::P256 { .. } => JwsAlg::ES256,
            Self::Ed25519 { .. } => JwsAlg::EdDSA,
        }
    }
}

/// A public key, parsed once and bound to one algorithm.
#[derive(Clone)]
pub struct PublicKey {
    kid: Option<String>,
    alg: JwsAlg,
    material: Material,
    parsed: ParsedPublicKey,
}

impl PublicKey {
    fn new(kid: Option<&str>, alg: JwsAlg, material: Material) -> Result<Self, KeyError> {
        let verification = alg.verification().filter(|_| material.fits(alg)).ok_or(KeyError::Unsupported)?;
        let parsed =
            ParsedPublicKey::new(verification, material.key_bits()).map_err(|_| KeyError::Malformed)?;
        Ok(Self { kid: kid.map(str::to_owned), alg, material, parsed })
    }

    /// Reads a JWK. Without `alg` in it: RS256 for RSA, ES256 for P-256, EdDSA for Ed25519. Private members and
    /// `x5c` are not looked at.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let octets = |member: &Option<String>| -> Result<Vec<u8>, KeyError> {
            let text = member.as_deref().ok_or(KeyError::Malformed)?;
            if text.len() > ENCODED_KEY_BYTES_MAX {
                return Err(KeyError::Malformed);
            }
            URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Malformed)
        };
        let coordinate = |member: &Option<String>| -> Result<[u8; 32], KeyError> {
            octets(member)?.try_into().map_err(|_| KeyError::Malformed)
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::from_rsa(&octets(&jwk.n)?, &octets(&jwk.e)?)?,
            ("EC", Some("P-256")) => Material::P256 { x: coordinate(&jwk.x)?, y: coordinate(&jwk.y)? },
            ("OKP", Some("Ed25519")) => Material::Ed25519 { x: coordinate(&jwk.x)? },
            _ => return Err(KeyError::Unsupported),
        };
        let alg = match jwk.alg.as_deref() {
            Some(text) => JwsAlg::parse(text).ok_or(KeyError::Unsupported)?,
            None => material.default_alg(),
        };
        Self::new(jwk.kid.as_deref(), alg, material)
    }

    /// Reads a public key as clients register it: PEM or DER of a `SubjectPublicKeyInfo` or of an X.509
    /// certificate, or PEM of an `RSAPublicKey`. Of a certificate only the key counts: not its dates, not its
    /// signature.
    pub fn from_pem_or_der(bytes: &[u8], alg: JwsAlg, kid: Option<&str>) -> Result<Self, KeyError> {
        if bytes.len() > ENCODED_KEY_BYTES_MAX {
            return Err(KeyError::Malformed);
        }
        let block = std::str::from_utf8(bytes).ok().and_then(pem::decode);
        let material = match &block {
            Some(("PUBLIC KEY", der)) => Material::from_spki(der)?,
            Some(("RSA PUBLIC KEY", der)) => Material::from_rsa_der(der)?,
            Some(("CERTIFICATE", der)) => {
                Material::from_spki(certified_key(der).ok_or(KeyError::Malformed)?)?
            }
            Some(_) => return Err(KeyError::Unsupported),
            None => Material::from_spki(certified_key(bytes).unwrap_or(bytes))?,
        };
        Self::new(kid, alg, material)
    }

    /// The key's id, when it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm it verifies.
    pub fn alg(&self) -> JwsAlg {
        self.alg
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// The key as it stands in a JWKS, without a certificate.
    pub fn jwk(&self) -> Jwk {
        let text = |octets: &[u8]| Some(URL_SAFE_NO_PAD.encode(octets));
        let common = Jwk {
            use_: Some("sig".to_owned()),
            alg: Some(self.alg.as_str().to_owned()),
            kid: self.kid.clone(),
            ..Jwk::default()
        };
        match &self.material {
            Material::Rsa { n, e } => Jwk { kty: "RSA".to_owned(), n: text(n), e: text(e), ..common },
            Material::P256 { x, y } => {
                Jwk { kty: "EC".to_owned(), crv: Some("P-256".to_owned()), x: text(x), y: text(y), ..common }
            }
            Material::Ed25519 { x } => {
                Jwk { kty: "OKP".to_owned(), crv: Some("Ed25519".to_owned()), x: text(x), ..common }
            }
        }
    }

    /// The key as it stands in a JWKS, with `x5c` and `x5t` of its certificate.
    #[cfg(feature = "issuing")]
    pub fn jwk_with_certificate(&self, certificate: &Certificate) -> Jwk {
        Jwk { x5c: Some(vec![certificate.x5c()]), x5t: Some(certificate.x5t()), ..self.jwk() }
    }

    /// The JWK thumbprint with SHA-256, base64url (RFC 7638 §3, RFC 8037 §2): the same for the same key,
    /// whatever its `kid` and `alg`.
    pub fn thumbprint(&self) -> String {
        let text = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
        let canonical = match &self.material {
            Material::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Material::P256 { x, y } => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text(x), text(y))
            }
            Material::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
        };
        text(digest(&SHA256, canonical.as_bytes()).as_ref())
    }

    /// The key bits of its `SubjectPublicKeyInfo`.
    #[cfg(feature = "issuing")]
    pub(crate) fn key_bits(&self) -> Vec<u8> {
        self.material.key_bits()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.kid, self.alg, &self.material) == (&other.kid, other.alg, &other.material)
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("kid", &self.kid)
            .field("alg", &self.alg)
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}

/// The `SubjectPublicKeyInfo` inside an X.509 certificate (RFC 5280 §4.1).
fn certified_key(bytes: &[u8]) -> Option<&[u8]> {
    let mut certificate = der::Reader::new(der::only(bytes, der::SEQUENCE)?);
    let mut tbs = der::Reader::new(certificate.value(der::SEQUENCE)?);
    certificate.value(der::SEQUENCE)?;
    certificate.bits()?;
    tbs.skip_optional(der::CONTEXT_0);
    tbs.value(der::INTEGER)?;
    // signature, issuer, validity, subject
    for _ in 0..4 {
        tbs.value(der::SEQUENCE)?;
    }
    let spki = tbs.element(der::SEQUENCE)?;
    certificate.is_empty().then_some(spki)
}

/// What `/.well-known/jwks.json` answers (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The current key first, then the next one, then those whose tokens still live.
    pub keys: Vec<Jwk>,
}

/// A public key in JSON (RFC 7517), with the members of RSA, P-256 and Ed25519 keys and in the order Auth0
/// writes them. Members that are not listed are dropped when one is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `RSA`, `EC` or `OKP`.
    pub kty: String,
    /// `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub use_: Option<String>,
    /// RSA modulus, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA public exponent, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// `P-256` or `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// First coordinate, or the Ed25519 key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Second coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// The key's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// SHA-1 of the certificate's DER, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5t: Option<String>,
    /// The certificate's DER, base64 (not base64url).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5c: Option<Vec<String>>,
    /// The algorithm it is for. Auth0 leaves it out under the tenant flag `remove_alg_from_jwks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
}

#[cfg(test)]
mod tests {
    use curfew_model::SystemEntropy;

    use super::*;

    fn jwk(json: &str) -> Jwk {
        serde_json::from_str(json).unwrap()
    }

    /// RFC 7638 §3.1.
    #[test]
    fn rfc_7638_thumbprint() {
        let key = PublicKey::from_jwk(&jwk(
            r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
        ))
        .unwrap();
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!((key.kid(), key.alg()), (Some("2011-04-29"), JwsAlg::RS256));
    }

    /// RFC 8037 A.1 to A.4: the key, its thumbprint and its signature.
    #[test]
    fn rfc_8037_ed25519() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        // RFC 8410 §7: PrivateKeyInfo around the seed.
        let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3];
        pkcs8.extend_from_slice(OID_ED25519);
        pkcs8.extend_from_slice(&[4, 0x22, 4, 0x20]);
        pkcs8.extend_from_slice(&seed);
        let key = SigningKey::from_pkcs8("k", SigningAlg::EdDSA, &pkcs8).unwrap();
        assert_eq!(key.public().jwk().x.as_deref(), Some("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
        assert_eq!(key.public().thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let signature = key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signature),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    /// RFC 7515 A.2.1: RS256 gives the same signature every time.
    #[test]
    fn rfc_7515_a2_rs256() {
        let [n, e, d, p, q, dp, dq, qi] = [
            "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            "AQAB",
            "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
            "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
            "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
            "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
            "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
            "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
        ]
        .map(|text| der::write_positive(&URL_SAFE_NO_PAD.decode(text).unwrap()));
        let zero = der::write_positive(&[]);
        let pkcs1 = der::write(der::SEQUENCE, &[&zero, &n, &e, &d, &p, &q, &dp, &dq, &qi]);
        let oid = der::write(der::OBJECT_IDENTIFIER, &[OID_RSA]);
        let algorithm = der::write(der::SEQUENCE, &[&oid, &[5, 0]]);
        let pkcs8 = der::write(der::SEQUENCE, &[&zero, &algorithm, &der::write(4, &[&pkcs1])]);
        let key = SigningKey::from_pkcs8("k", SigningAlg::RS256, &pkcs8).unwrap();
        let signature = key
            .sign(b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ")
            .unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signature),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        );
    }

    #[test]
    fn a_key_is_refused_under_another_algorithm() {
        for generated in [SigningAlg::RS256, SigningAlg::ES256, SigningAlg::EdDSA] {
            let pkcs8 = SigningKey::generate(generated).unwrap().pkcs8;
            for alg in SigningAlg::ALL {
                let both_rsa = generated == SigningAlg::RS256 && *alg == SigningAlg::PS256;
                let loaded = SigningKey::from_pkcs8("k", *alg, pkcs8.expose());
                assert_eq!(loaded.is_ok(), generated == *alg || both_rsa, "{generated:?} as {alg:?}");
            }
            let cut = &pkcs8.expose()[..pkcs8.expose().len() - 1];
            assert!(matches!(SigningKey::from_pkcs8("k", generated, cut), Err(Failure::Crypto(_))));
        }
    }

    #[test]
    fn a_jwk_has_exactly_the_public_members() {
        let members = |alg| {
            let pkcs8 = SigningKey::generate(alg).unwrap().pkcs8;
            let key = SigningKey::from_pkcs8("k", alg, pkcs8.expose()).unwrap();
            let json = serde_json::to_value(key.public().jwk()).unwrap();
            assert_eq!(
                (&json["use"], &json["kid"], &json["alg"]),
                (&"sig".into(), &"k".into(), &alg.as_str().into())
            );
            json.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(members(SigningAlg::RS256), "alg e kid kty n use");
        assert_eq!(members(SigningAlg::PS256), "alg e kid kty n use");
        assert_eq!(members(SigningAlg::ES256), "alg crv kid kty use x y");
        assert_eq!(members(SigningAlg::EdDSA), "alg crv kid kty use x");
    }

    /// Files as OpenSSL writes them: one RSA key in six forms is one key.
    #[test]
    fn registered_keys_are_read_in_every_form() {
        let read = |bytes: &[u8], alg| PublicKey::from_pem_or_der(bytes, alg, Some("k"));
        let rsa: [&[u8]; 6] = [
            include_bytes!("../corpus/key/accepted-rsa-spki.pem"),
            include_bytes!("../corpus/key/accepted-rsa-spki.der"),
            include_bytes!("../corpus/key/accepted-rsa-pkcs1.pem"),
            include_bytes!("../corpus/key/accepted-rsa-certificate.pem"),
            include_bytes!("../corpus/key/accepted-rsa-certificate.der"),
            include_bytes!("../corpus/key/accepted-rsa-certificate-with-text.pem"),
        ];
        for alg in [JwsAlg::RS256, JwsAlg::RS384, JwsAlg::PS256] {
            let first = read(rsa[0], alg).unwrap();
            for bytes in rsa {
                assert_eq!(read(bytes, alg).as_ref(), Ok(&first));
            }
        }
        for alg in [JwsAlg::HS256, JwsAlg::ES256, JwsAlg::EdDSA] {
            assert_eq!(read(rsa[0], alg), Err(KeyError::Unsupported));
        }
        assert!(read(include_bytes!("../corpus/key/accepted-p256-spki.pem"), JwsAlg::ES256).is_ok());
        assert!(read(include_bytes!("../corpus/key/accepted-ed25519-spki.pem"), JwsAlg::EdDSA).is_ok());
        let small = include_bytes!("../corpus/key/refused-rsa-1024.pem");
        assert_eq!(read(small, JwsAlg::RS256), Err(KeyError::Size));
        let p384 = include_bytes!("../corpus/key/refused-p384.pem");
        assert_eq!(read(p384, JwsAlg::ES256), Err(KeyError::Unsupported));
        assert_eq!(read(&vec![b' '; ENCODED_KEY_BYTES_MAX + 1], JwsAlg::RS256), Err(KeyError::Malformed));
    }

    #[test]
    fn kids_are_unpredictable_and_url_safe() {
        let kid = new_kid(&SystemEntropy);
        assert_eq!(kid.len(), 21);
        assert!(kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_ne!(kid, new_kid(&SystemEntropy));
    }
}
