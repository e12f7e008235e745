//! `host.crypto`: what the runtime's `crypto` modules compute.
//!
//! Keys come as DER, which the runtime reads and writes; here they are only used. Nothing of them stays.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{self, AesKek, KeyWrap as _};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    self, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::rsa::{Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey};
use aws_lc_rs::{agreement, constant_time, digest, hkdf, hmac, pbkdf2};
use curfew_model::{Entropy as _, SystemEntropy};
use rquickjs::{Ctx, Exception, FromJs, Function, Object, Result, TypedArray, Value};

use super::bindings::{array, freeze};
use super::raw;

/// Most random bytes at a time, as in the Web's `getRandomValues`.
const RANDOM_BYTES_MAX: usize = 65_536;
/// Most rounds of a derivation in all: seconds of work.
const ROUNDS_MAX: u64 = 10_000_000;
/// Most bytes that are derived.
const DERIVED_BYTES_MAX: usize = 65_536;

type Array<'js> = TypedArray<'js, u8>;

/// The bytes of a `Uint8Array`.
pub(super) struct In(pub(super) Vec<u8>);

impl<'js> FromJs<'js> for In {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        match value.as_object().and_then(Object::as_typed_array::<u8>) {
            Some(bytes) => raw::copy(ctx, bytes).map(Self),
            None => Err(Exception::throw_type(ctx, "a Uint8Array was expected")),
        }
    }
}

/// The functions of `host.crypto`.
pub(super) fn functions<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let crypto = Object::new(ctx.clone())?;
    crypto.set_prototype(None)?;
    crypto.set("random", Function::new(ctx.clone(), random)?)?;
    crypto.set("equal", Function::new(ctx.clone(), equal)?)?;
    crypto.set("digest", Function::new(ctx.clone(), digest_of)?)?;
    crypto.set("hmac", Function::new(ctx.clone(), hmac_of)?)?;
    crypto.set("pbkdf2", Function::new(ctx.clone(), pbkdf2_of)?)?;
    crypto.set("hkdf", Function::new(ctx.clone(), hkdf_of)?)?;
    crypto.set("sign", Function::new(ctx.clone(), sign)?)?;
    crypto.set("verify", Function::new(ctx.clone(), verify)?)?;
    crypto.set("publicKey", Function::new(ctx.clone(), public_key)?)?;
    crypto.set("generateKey", Function::new(ctx.clone(), generate_key)?)?;
    crypto.set("agree", Function::new(ctx.clone(), agree)?)?;
    crypto.set("cipher", Function::new(ctx.clone(), cipher_of)?)?;
    crypto.set("wrap", Function::new(ctx.clone(), wrap)?)?;
    crypto.set("rsaEncrypt", Function::new(ctx.clone(), rsa_encrypt)?)?;
    crypto.set("rsaDecrypt", Function::new(ctx.clone(), rsa_decrypt)?)?;
    freeze(ctx, &crypto)?;
    Ok(crypto)
}

fn unsupported(ctx: &Ctx<'_>, what: &str) -> rquickjs::Error {
    Exception::throw_message(ctx, &format!("{what} is not available in Actions"))
}

fn random<'js>(ctx: Ctx<'js>, size: usize) -> Result<Array<'js>> {
    if size > RANDOM_BYTES_MAX {
        return Err(Exception::throw_range(&ctx, "more random bytes than are given at a time"));
    }
    let mut bytes = vec![0; size];
    SystemEntropy.fill(&mut bytes);
    array(&ctx, bytes)
}

fn equal(one: In, other: In) -> bool {
    constant_time::verify_slices_are_equal(&one.0, &other.0).is_ok()
}

// ---- Hashes and what is made of them

fn hash(ctx: &Ctx<'_>, name: &str) -> Result<&'static digest::Algorithm> {
    Ok(match name {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => &digest::SHA224,
        "sha256" => &digest::SHA256,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        "sha512-256" => &digest::SHA512_256,
        "sha3-256" => &digest::SHA3_256,
        "sha3-384" => &digest::SHA3_384,
        "sha3-512" => &digest::SHA3_512,
        _ => return Err(unsupported(ctx, &format!("The hash {name}"))),
    })
}

fn digest_of<'js>(ctx: Ctx<'js>, name: String, bytes: In) -> Result<Array<'js>> {
    array(&ctx, digest::digest(hash(&ctx, &name)?, &bytes.0).as_ref().to_vec())
}

fn hmac_of<'js>(ctx: Ctx<'js>, name: String, key: In, bytes: In) -> Result<Array<'js>> {
    let algorithm = match name.as_str() {
        "sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => hmac::HMAC_SHA224,
        "sha256" => hmac::HMAC_SHA256,
        "sha384" => hmac::HMAC_SHA384,
        "sha512" => hmac::HMAC_SHA512,
        _ => return Err(unsupported(&ctx, &format!("HMAC with {name}"))),
    };
    array(&ctx, hmac::sign(&hmac::Key::new(algorithm, &key.0), &bytes.0).as_ref().to_vec())
}

/// Room for what is derived.
fn derived(ctx: &Ctx<'_>, length: f64) -> Result<Vec<u8>> {
    if length.fract() != 0.0 || !(0.0..=DERIVED_BYTES_MAX as f64).contains(&length) {
        return Err(Exception::throw_range(ctx, "so many bytes cannot be derived"));
    }
    Ok(vec![0; length as usize])
}

fn pbkdf2_of<'js>(
    ctx: Ctx<'js>,
    name: String,
    password: In,
    salt: In,
    iterations: f64,
    length: f64,
) -> Result<Array<'js>> {
    let algorithm = match name.as_str() {
        "sha1" => pbkdf2::PBKDF2_HMAC_SHA1,
        "sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
        "sha384" => pbkdf2::PBKDF2_HMAC_SHA384,
        "sha512" => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return Err(unsupported(&ctx, &format!("PBKDF2 with {name}"))),
    };
    let mut out = derived(&ctx, length)?;
    let blocks = out.len().div_ceil(hash(&ctx, &name)?.output_len()) as u64;
    let iterations = match std::num::NonZeroU32::new(iterations as u32) {
        Some(rounds) if u64::from(rounds.get()).saturating_mul(blocks) <= ROUNDS_MAX => rounds,
        _ => {
            return Err(Exception::throw_range(
                &ctx,
                "PBKDF2 with so many iterations is more than an Action may do",
            ));
        }
    };
    pbkdf2::derive(algorithm, iterations, &salt.0, &password.0, &mut out);
    array(&ctx, out)
}

/// A length for HKDF.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf_of<'js>(ctx: Ctx<'js>, name: String, key: In, salt: In, info: In, length: f64) -> Result<Array<'js>> {
    let algorithm = match name.as_str() {
        "sha1" => hkdf::HKDF_SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => hkdf::HKDF_SHA256,
        "sha384" => hkdf::HKDF_SHA384,
        "sha512" => hkdf::HKDF_SHA512,
        _ => return Err(unsupported(&ctx, &format!("HKDF with {name}"))),
    };
    let mut out = derived(&ctx, length)?;
    let length = Length(out.len());
    let key = hkdf::Salt::new(algorithm, &salt.0).extract(&key.0);
    let filled = key.expand(&[&info.0], length).and_then(|okm| okm.fill(&mut out));
    if filled.is_err() {
        return Err(Exception::throw_range(&ctx, "HKDF cannot derive so many bytes"));
    }
    array(&ctx, out)
}

// ---- Signatures

/// What aws-lc-rs demands and does not use: it draws from its own generator.
#[expect(clippy::disallowed_methods, reason = "the draws are OpenSSL's own, whatever is handed in")]
fn ignored_random() -> SystemRandom {
    SystemRandom::new()
}

fn unusable(ctx: &Ctx<'_>, kind: &str) -> rquickjs::Error {
    Exception::throw_message(ctx, &format!("the {kind} key cannot be used"))
}

/// Signs; `scheme` is `rsa-pkcs1-HASH`, `rsa-pss-HASH`, `ecdsa-CURVE-HASH` or `ed25519`. ECDSA answers r and s beside each other.
fn sign<'js>(ctx: Ctx<'js>, scheme: String, pkcs8: In, bytes: In) -> Result<Array<'js>> {
    let failed = || Exception::throw_message(&ctx, "the signature could not be made");
    if scheme == "ed25519" {
        let key =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8.0).map_err(|_| unusable(&ctx, "Ed25519"))?;
        return array(&ctx, key.sign(&bytes.0).as_ref().to_vec());
    }
    if scheme.starts_with("ecdsa-") {
        let algorithm = match scheme.as_str() {
            "ecdsa-p-256-sha256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            "ecdsa-p-384-sha384" => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            "ecdsa-p-521-sha256" => &signature::ECDSA_P521_SHA256_FIXED_SIGNING,
            "ecdsa-p-521-sha384" => &signature::ECDSA_P521_SHA384_FIXED_SIGNING,
            "ecdsa-p-521-sha512" => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            "ecdsa-secp256k1-sha256" => &signature::ECDSA_P256K1_SHA256_FIXED_SIGNING,
            _ => return Err(unsupported(&ctx, &format!("The signature {scheme}"))),
        };
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8.0).map_err(|_| unusable(&ctx, "EC"))?;
        let made = key.sign(&ignored_random(), &bytes.0).map_err(|_| failed())?;
        return array(&ctx, made.as_ref().to_vec());
    }
    let encoding: &'static dyn signature::RsaEncoding = match scheme.as_str() {
        "rsa-pkcs1-sha256" => &signature::RSA_PKCS1_SHA256,
        "rsa-pkcs1-sha384" => &signature::RSA_PKCS1_SHA384,
        "rsa-pkcs1-sha512" => &signature::RSA_PKCS1_SHA512,
        "rsa-pss-sha256" => &signature::RSA_PSS_SHA256,
        "rsa-pss-sha384" => &signature::RSA_PSS_SHA384,
        "rsa-pss-sha512" => &signature::RSA_PSS_SHA512,
        _ => return Err(unsupported(&ctx, &format!("The signature {scheme}"))),
    };
    let key = RsaKeyPair::from_pkcs8(&pkcs8.0).map_err(|_| unusable(&ctx, "RSA"))?;
    let mut made = vec![0; key.public_modulus_len()];
    key.sign(encoding, &ignored_random(), &bytes.0, &mut made).map_err(|_| failed())?;
    array(&ctx, made)
}

/// Whether a signature is that of a key (SubjectPublicKeyInfo).
fn verify(ctx: Ctx<'_>, scheme: String, spki: In, bytes: In, made: In) -> Result<bool> {
    let algorithm: &'static dyn signature::VerificationAlgorithm = match scheme.as_str() {
        "ed25519" => &signature::ED25519,
        "ecdsa-p-256-sha256" => &signature::ECDSA_P256_SHA256_FIXED,
        "ecdsa-p-384-sha384" => &signature::ECDSA_P384_SHA384_FIXED,
        "ecdsa-p-521-sha256" => &signature::ECDSA_P521_SHA256_FIXED,
        "ecdsa-p-521-sha384" => &signature::ECDSA_P521_SHA384_FIXED,
        "ecdsa-p-521-sha512" => &signature::ECDSA_P521_SHA512_FIXED,
        "ecdsa-secp256k1-sha256" => &signature::ECDSA_P256K1_SHA256_FIXED,
        "rsa-pkcs1-sha1" => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        "rsa-pkcs1-sha256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "rsa-pkcs1-sha384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "rsa-pkcs1-sha512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "rsa-pss-sha256" => &signature::RSA_PSS_2048_8192_SHA256,
        "rsa-pss-sha384" => &signature::RSA_PSS_2048_8192_SHA384,
        "rsa-pss-sha512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return Err(unsupported(&ctx, &format!("The signature {scheme}"))),
    };
    Ok(UnparsedPublicKey::new(algorithm, &spki.0).verify(&bytes.0, &made.0).is_ok())
}

// ---- Keys

fn ecdh(ctx: &Ctx<'_>, curve: &str) -> Result<&'static agreement::Algorithm> {
    Ok(match curve {
        "P-256" => &agreement::ECDH_P256,
        "P-384" => &agreement::ECDH_P384,
        "P-521" => &agreement::ECDH_P521,
        _ => return Err(unsupported(ctx, &format!("A key agreement on {curve}"))),
    })
}

fn ecdsa(ctx: &Ctx<'_>, curve: &str) -> Result<&'static signature::EcdsaSigningAlgorithm> {
    Ok(match curve {
        "P-256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        "P-384" => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        "P-521" => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        "secp256k1" => &signature::ECDSA_P256K1_SHA256_FIXED_SIGNING,
        _ => return Err(unsupported(ctx, &format!("The curve {curve}"))),
    })
}

/// An X25519 key is the last 32 bytes of its PKCS #8.
fn x25519(ctx: &Ctx<'_>, pkcs8: &[u8]) -> Result<agreement::PrivateKey> {
    let seed = pkcs8.len().checked_sub(32).and_then(|start| pkcs8.get(start..)).unwrap_or_default();
    agreement::PrivateKey::from_private_key(&agreement::X25519, seed).map_err(|_| unusable(ctx, "X25519"))
}

/// The public half of a private key: a point, or the 32 bytes of a key that is none.
fn public_key<'js>(ctx: Ctx<'js>, kind: String, curve: Option<String>, pkcs8: In) -> Result<Array<'js>> {
    let curve = curve.unwrap_or_default();
    let bytes = match kind.as_str() {
        "ec" => {
            let key =
                EcdsaKeyPair::from_pkcs8(ecdsa(&ctx, &curve)?, &pkcs8.0).map_err(|_| unusable(&ctx, "EC"))?;
            key.public_key().as_ref().to_vec()
        }
        "ed25519" => {
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8.0)
                .map_err(|_| unusable(&ctx, "Ed25519"))?;
            key.public_key().as_ref().to_vec()
        }
        "x25519" => {
            let key = x25519(&ctx, &pkcs8.0)?;
            key.compute_public_key().map_err(|_| unusable(&ctx, "X25519"))?.as_ref().to_vec()
        }
        _ => return Err(unsupported(&ctx, &format!("A key of the kind {kind}"))),
    };
    array(&ctx, bytes)
}

/// Makes a key pair, as PKCS #8. The parameter is a curve, or the bits of a modulus.
fn generate_key<'js>(ctx: Ctx<'js>, kind: String, parameter: Value<'js>) -> Result<Array<'js>> {
    let failed = || Exception::throw_message(&ctx, "the key could not be made");
    let pkcs8 = match kind.as_str() {
        "rsa" => {
            let size = match parameter.as_number() {
                Some(2048.0) => rsa::KeySize::Rsa2048,
                Some(3072.0) => rsa::KeySize::Rsa3072,
                Some(4096.0) => rsa::KeySize::Rsa4096,
                _ => {
                    return Err(Exception::throw_range(
                        &ctx,
                        "an RSA key made here has 2048, 3072 or 4096 bits",
                    ));
                }
            };
            let key = RsaKeyPair::generate(size).map_err(|_| failed())?;
            key.as_der().map_err(|_| failed())?.as_ref().to_vec()
        }
        "ec" => {
            let curve = parameter.get::<String>()?;
            let key = EcdsaKeyPair::generate(ecdsa(&ctx, &curve)?).map_err(|_| failed())?;
            key.to_pkcs8v1().map_err(|_| failed())?.as_ref().to_vec()
        }
        "ed25519" => {
            let key = Ed25519KeyPair::generate().map_err(|_| failed())?;
            key.to_pkcs8v1().map_err(|_| failed())?.as_ref().to_vec()
        }
        "x25519" => {
            // RFC 8410 §7: the version, id-X25519, and the seed within two octet strings.
            let mut pkcs8 = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20".to_vec();
            let mut seed = [0; 32];
            SystemEntropy.fill(&mut seed);
            pkcs8.extend_from_slice(&seed);
            pkcs8
        }
        _ => return Err(unsupported(&ctx, &format!("A key of the kind {kind}"))),
    };
    array(&ctx, pkcs8)
}

/// What two keys have in common, or nothing where they do not fit.
fn agree<'js>(
    ctx: Ctx<'js>,
    kind: String,
    curve: Option<String>,
    pkcs8: In,
    other: In,
) -> Result<Option<Array<'js>>> {
    let (own, algorithm) = match kind.as_str() {
        "x25519" => (x25519(&ctx, &pkcs8.0)?, &agreement::X25519),
        "ec" => {
            let algorithm = ecdh(&ctx, &curve.unwrap_or_default())?;
            let own = agreement::PrivateKey::from_private_key_der(algorithm, &pkcs8.0);
            (own.map_err(|_| unusable(&ctx, "EC"))?, algorithm)
        }
        _ => return Err(unsupported(&ctx, &format!("A key agreement with a key of the kind {kind}"))),
    };
    let other = agreement::UnparsedPublicKey::new(algorithm, &other.0);
    match agreement::agree(&own, other, (), |secret| Ok(secret.to_vec())) {
        Ok(secret) => array(&ctx, secret).map(Some),
        Err(()) => Ok(None),
    }
}

// ---- Ciphers

/// Encrypts or decrypts; nothing where that fails. An authenticated cipher has its tag behind the text.
fn cipher_of<'js>(
    ctx: Ctx<'js>,
    name: String,
    encrypting: bool,
    key: In,
    iv: In,
    extra: In,
    bytes: In,
) -> Result<Option<Array<'js>>> {
    let (key, iv, bytes) = (&key.0, &iv.0, bytes.0);
    let done = match name.as_str() {
        "aes-128-gcm" => sealed(&aead::AES_128_GCM, encrypting, key, iv, &extra.0, bytes),
        "aes-192-gcm" => sealed(&aead::AES_192_GCM, encrypting, key, iv, &extra.0, bytes),
        "aes-256-gcm" => sealed(&aead::AES_256_GCM, encrypting, key, iv, &extra.0, bytes),
        "chacha20-poly1305" => sealed(&aead::CHACHA20_POLY1305, encrypting, key, iv, &extra.0, bytes),
        _ => {
            let parts: Vec<&str> = name.split('-').collect();
            let (size, mode) = match parts.as_slice() {
                ["aes", size, mode] => (*size, *mode),
                ["aes", size, "cbc", "unpadded"] => (*size, "unpadded"),
                _ => return Err(unsupported(&ctx, &format!("The cipher {name}"))),
            };
            let algorithm = match size {
                "128" => &cipher::AES_128,
                "192" => &cipher::AES_192,
                "256" => &cipher::AES_256,
                _ => return Err(unsupported(&ctx, &format!("The cipher {name}"))),
            };
            match mode {
                "cbc" => padded(algorithm, encrypting, key, iv, bytes),
                "ctr" | "unpadded" => plain(algorithm, mode == "ctr", encrypting, key, iv, bytes),
                _ => return Err(unsupported(&ctx, &format!("The cipher {name}"))),
            }
        }
    };
    done.map(|bytes| array(&ctx, bytes)).transpose()
}

fn sealed(
    algorithm: &'static aead::Algorithm,
    encrypting: bool,
    key: &[u8],
    nonce: &[u8],
    extra: &[u8],
    mut bytes: Vec<u8>,
) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    if encrypting {
        key.seal_in_place_append_tag(nonce, Aad::from(extra), &mut bytes).ok()?;
        return Some(bytes);
    }
    key.open_in_place(nonce, Aad::from(extra), &mut bytes).ok().map(|text| text.to_vec())
}

fn padded(
    algorithm: &'static cipher::Algorithm,
    encrypting: bool,
    key: &[u8],
    iv: &[u8],
    mut bytes: Vec<u8>,
) -> Option<Vec<u8>> {
    let key = UnboundCipherKey::new(algorithm, key).ok()?;
    let iv = FixedLength::<16>::try_from(iv).ok()?;
    if encrypting {
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).ok()?;
        key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(iv)).ok()?;
        return Some(bytes);
    }
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    key.decrypt(&mut bytes, DecryptionContext::Iv128(iv)).ok().map(|text| text.to_vec())
}

fn plain(
    algorithm: &'static cipher::Algorithm,
    counter: bool,
    encrypting: bool,
    key: &[u8],
    iv: &[u8],
    mut bytes: Vec<u8>,
) -> Option<Vec<u8>> {
    let key = UnboundCipherKey::new(algorithm, key).ok()?;
    let iv = FixedLength::<16>::try_from(iv).ok()?;
    if encrypting {
        let key = if counter { EncryptingKey::ctr(key) } else { EncryptingKey::cbc(key) }.ok()?;
        key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(iv)).ok()?;
        return Some(bytes);
    }
    let key = if counter { DecryptingKey::ctr(key) } else { DecryptingKey::cbc(key) }.ok()?;
    key.decrypt(&mut bytes, DecryptionContext::Iv128(iv)).ok().map(|text| text.to_vec())
}

/// AES key wrap (RFC 3394), or its reverse; nothing where that fails.
fn wrap<'js>(ctx: Ctx<'js>, wrapping: bool, key: In, bytes: In) -> Result<Option<Array<'js>>> {
    let cipher = match key.0.len() {
        16 => &key_wrap::AES_128,
        32 => &key_wrap::AES_256,
        _ => return Err(unsupported(&ctx, "Key wrapping with such a key")),
    };
    let mut out = vec![0; bytes.0.len() + 8];
    let done = AesKek::new(cipher, &key.0).and_then(|key| {
        let done = if wrapping { key.wrap(&bytes.0, &mut out) } else { key.unwrap(&bytes.0, &mut out) };
        done.map(|bytes| bytes.to_vec())
    });
    done.ok().map(|bytes| array(&ctx, bytes)).transpose()
}

fn oaep(ctx: &Ctx<'_>, scheme: &str) -> Result<&'static rsa::OaepAlgorithm> {
    Ok(match scheme {
        "oaep-sha1" => &rsa::OAEP_SHA1_MGF1SHA1,
        "oaep-sha256" => &rsa::OAEP_SHA256_MGF1SHA256,
        "oaep-sha384" => &rsa::OAEP_SHA384_MGF1SHA384,
        "oaep-sha512" => &rsa::OAEP_SHA512_MGF1SHA512,
        _ => return Err(unsupported(ctx, &format!("The encryption {scheme}"))),
    })
}

fn rsa_encrypt<'js>(ctx: Ctx<'js>, scheme: String, spki: In, bytes: In) -> Result<Option<Array<'js>>> {
    let key = PublicEncryptingKey::from_der(&spki.0).map_err(|_| unusable(&ctx, "RSA"))?;
    let mut out = vec![0; key.key_size_bytes()];
    let done = if scheme == "pkcs1" {
        Pkcs1PublicEncryptingKey::new(key)
            .and_then(|key| key.encrypt(&bytes.0, &mut out).map(|out| out.to_vec()))
    } else {
        let algorithm = oaep(&ctx, &scheme)?;
        OaepPublicEncryptingKey::new(key)
            .and_then(|key| key.encrypt(algorithm, &bytes.0, &mut out, None).map(|out| out.to_vec()))
    };
    done.ok().map(|bytes| array(&ctx, bytes)).transpose()
}

fn rsa_decrypt<'js>(ctx: Ctx<'js>, scheme: String, pkcs8: In, bytes: In) -> Result<Option<Array<'js>>> {
    let key = PrivateDecryptingKey::from_pkcs8(&pkcs8.0).map_err(|_| unusable(&ctx, "RSA"))?;
    let mut out = vec![0; key.key_size_bytes()];
    let done = if scheme == "pkcs1" {
        Pkcs1PrivateDecryptingKey::new(key)
            .and_then(|key| key.decrypt(&bytes.0, &mut out).map(|out| out.to_vec()))
    } else {
        let algorithm = oaep(&ctx, &scheme)?;
        OaepPrivateDecryptingKey::new(key)
            .and_then(|key| key.decrypt(algorithm, &bytes.0, &mut out, None).map(|out| out.to_vec()))
    };
    done.ok().map(|bytes| array(&ctx, bytes)).transpose()
}
