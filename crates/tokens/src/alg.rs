//! The signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1), by the names that stand in `alg`.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, VerificationAlgorithm};

/// What this server signs tokens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningAlg {
    /// RSASSA-PKCS1-v1_5 with SHA-256: the default, and the only one auth0-spa-js accepts.
    RS256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl SigningAlg {
    /// Every algorithm, the default first.
    pub const ALL: &[Self] = &[Self::RS256, Self::PS256, Self::ES256, Self::EdDSA];

    /// The name in `alg`.
    pub const fn as_str(self) -> &'static str {
        self.jws().as_str()
    }

    /// Reads a name; `None` for what this server does not sign with.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|alg| alg.as_str() == text)
    }

    /// The same algorithm among all that may stand in a header.
    pub const fn jws(self) -> JwsAlg {
        match self {
            Self::RS256 => JwsAlg::RS256,
            Self::PS256 => JwsAlg::PS256,
            Self::ES256 => JwsAlg::ES256,
            Self::EdDSA => JwsAlg::EdDSA,
        }
    }
}

impl From<SigningAlg> for JwsAlg {
    fn from(alg: SigningAlg) -> Self {
        alg.jws()
    }
}

/// What may stand in the header of a JWS that this server reads. `none` is not among them (RFC 8725 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JwsAlg {
    /// HMAC with SHA-256, under a client's or an API's secret.
    HS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384: only in client assertions.
    RS384,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl JwsAlg {
    /// Every algorithm.
    pub const ALL: &[Self] = &[Self::HS256, Self::RS256, Self::RS384, Self::PS256, Self::ES256, Self::EdDSA];

    /// The name in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Reads a name. Names are case-sensitive (RFC 7515 §4.1.1).
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|alg| alg.as_str() == text)
    }

    /// The verification algorithm of a public key; `None` for HMAC.
    pub(crate) fn verification(self) -> Option<&'static dyn VerificationAlgorithm> {
        match self {
            Self::HS256 => None,
            Self::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::ES256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
            Self::EdDSA => Some(&signature::ED25519),
        }
    }

    /// The hash whose left half is an `at_hash` under this algorithm (OIDC Core §3.3.2.11). Ed25519 hashes
    /// with SHA-512 inside, and so do its `at_hash` values.
    pub(crate) fn half_hash_digest(self) -> &'static digest::Algorithm {
        match self {
            Self::HS256 | Self::RS256 | Self::PS256 | Self::ES256 => &digest::SHA256,
            Self::RS384 => &digest::SHA384,
            Self::EdDSA => &digest::SHA512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_none_is_no_algorithm() {
        for alg in JwsAlg::ALL {
            assert_eq!(JwsAlg::parse(alg.as_str()), Some(*alg));
        }
        for alg in SigningAlg::ALL {
            assert_eq!(SigningAlg::parse(alg.as_str()), Some(*alg));
            assert_eq!(alg.jws().as_str(), alg.as_str());
        }
        for text in ["none", "None", "NONE", "rs256", "HS384", ""] {
            assert_eq!(JwsAlg::parse(text), None);
        }
        assert_eq!(SigningAlg::parse("HS256"), None);
        assert_eq!(SigningAlg::parse("RS384"), None);
    }
}
