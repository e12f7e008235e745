//! Everything that is signed or sealed: keys, JWS and JWT, opaque values, client assertions, webhooks, PKCE.
//!
//! Pure functions over bytes. What comes from outside is refused with a small error enum and never panics;
//! the functions of [`fuzz`] show that for any input.
//!
//! Invariant: no runtime, no SQL, no HTTP in here; instants and randomness are handed in. The one exception is
//! [`key::SigningKey::generate`] and the salts and nonces inside signatures, which aws-lc draws itself.

pub mod alg;
#[cfg(feature = "issuing")]
pub mod cert;
pub mod claims;
pub mod client_assertion;
mod der;
#[cfg(feature = "issuing")]
pub mod fuzz;
pub mod jws;
pub mod key;
pub mod opaque;
mod pem;
pub mod pkce;
pub mod seal;
pub mod status_list;
pub mod webhook;

pub use alg::{JwsAlg, SigningAlg};
pub use jws::{ParsedJws, parse_compact, sign_compact};
pub use key::{Jwk, Jwks, PublicKey, SigningKey};
pub use seal::{KeyEncryptionKey, SealKind, SealingKey, SealingKeys, UnsealError};

/// Digests, for callers that have no other need of the cryptography below.
pub mod digest {
    /// SHA-256.
    pub fn sha256(bytes: &[u8]) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        hash
    }
}
