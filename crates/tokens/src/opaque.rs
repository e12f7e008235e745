//! What stands inside sealed values: fixed binary encodings, the version byte first, exact lengths.

use std::fmt;

use aws_lc_rs::digest;
use curfew_model::secret::constant_time_eq;
use curfew_model::{Entropy, FamilyId, GrantKey, SessionKey, Sid, UserKey};

const VERSION: u8 = 1;

/// The 16 random bytes in a session cookie or refresh token whose hash is in the row, so that the server's keys
/// alone forge none.
#[derive(Clone, Copy)]
pub struct TokenSecret(pub [u8; 16]);

impl TokenSecret {
    /// A new, unpredictable secret.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }
}

impl PartialEq for TokenSecret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for TokenSecret {}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// What a [`TokenSecret`] is for; part of its hash, so that a hash of one purpose says nothing under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretLabel {
    /// The secret in a session cookie.
    SessionCookie,
    /// The secret in a refresh token.
    RefreshToken,
}

impl SecretLabel {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::SessionCookie => b"curfew session cookie v1",
            Self::RefreshToken => b"curfew refresh token v1",
        }
    }
}

/// SHA-256 of label and secret, as the row has it. The secret has 128 random bits, so no slow hash is needed.
/// Equality takes constant time.
#[derive(Clone, Copy)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    pub fn of(label: SecretLabel, secret: &TokenSecret) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(label.as_bytes());
        context.update(&[0]);
        context.update(&secret.0);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// A stored hash; `None` when the length is wrong.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The hash as stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A refresh token: one generation of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshTokenValue {
    /// Whose family.
    pub user: UserKey,
    /// The grant the family began with, which is the family's key below the user.
    pub grant: GrantKey,
    /// How many rotations it has behind it.
    pub generation: u32,
    /// The family's secret.
    pub secret: TokenSecret,
}

impl RefreshTokenValue {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 1 + 12 + 12 + 4 + 16;

    /// Version, user, grant, generation (big-endian), secret.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = VERSION;
        bytes[1..13].copy_from_slice(&self.user.0);
        bytes[13..25].copy_from_slice(&self.grant.0);
        bytes[25..29].copy_from_slice(&self.generation.to_be_bytes());
        bytes[29..].copy_from_slice(&self.secret.0);
        bytes
    }

    /// Reads an encoding; `None` when version or length is another.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = versioned::<{ Self::LEN }>(bytes)?;
        let (user, rest) = bytes.split_first_chunk::<12>()?;
        let (grant, rest) = rest.split_first_chunk::<12>()?;
        let (generation, secret) = rest.split_first_chunk::<4>()?;
        Some(Self {
            user: UserKey(*user),
            grant: GrantKey(*grant),
            generation: u32::from_be_bytes(*generation),
            secret: TokenSecret(secret.try_into().ok()?),
        })
    }

    /// The id under which the Management API knows the family.
    pub fn family_id(&self) -> FamilyId {
        FamilyId { user: self.user, grant: self.grant }
    }

    /// What the family's row must have.
    pub fn secret_hash(&self) -> SecretHash {
        SecretHash::of(SecretLabel::RefreshToken, &self.secret)
    }
}

/// A session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCookieValue {
    /// Whose session.
    pub user: UserKey,
    /// Which of the user's sessions.
    pub session: SessionKey,
    /// The session's secret.
    pub secret: TokenSecret,
}

impl SessionCookieValue {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 1 + 12 + 12 + 16;

    /// Version, user, session, secret.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = VERSION;
        bytes[1..13].copy_from_slice(&self.user.0);
        bytes[13..25].copy_from_slice(&self.session.0);
        bytes[25..].copy_from_slice(&self.secret.0);
        bytes
    }

    /// Reads an encoding; `None` when version or length is another.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = versioned::<{ Self::LEN }>(bytes)?;
        let (user, rest) = bytes.split_first_chunk::<12>()?;
        let (session, secret) = rest.split_first_chunk::<12>()?;
        Some(Self {
            user: UserKey(*user),
            session: SessionKey(*session),
            secret: TokenSecret(secret.try_into().ok()?),
        })
    }

    /// The session's id on the wire.
    pub fn sid(&self) -> Sid {
        Sid { user: self.user, session: self.session }
    }

    /// What the session's row must have.
    pub fn secret_hash(&self) -> SecretHash {
        SecretHash::of(SecretLabel::SessionCookie, &self.secret)
    }
}

/// What follows the version byte, if `bytes` are exactly `LEN` long.
fn versioned<const LEN: usize>(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first()? {
        (&VERSION, rest) if bytes.len() == LEN => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use curfew_model::SystemEntropy;

    use super::*;

    fn refresh_token() -> RefreshTokenValue {
        RefreshTokenValue {
            user: UserKey([1; 12]),
            grant: GrantKey([2; 12]),
            generation: 0x0102_0304,
            secret: TokenSecret([3; 16]),
        }
    }

    #[test]
    fn encodings_are_fixed() {
        let mut expected = vec![1];
        expected.extend([1; 12]);
        expected.extend([2; 12]);
        expected.extend([1, 2, 3, 4]);
        expected.extend([3; 16]);
        assert_eq!(refresh_token().encode().as_slice(), expected);

        let cookie = SessionCookieValue {
            user: UserKey([1; 12]),
            session: SessionKey([2; 12]),
            secret: TokenSecret([3; 16]),
        };
        let mut expected = vec![1];
        expected.extend([1; 12]);
        expected.extend([2; 12]);
        expected.extend([3; 16]);
        assert_eq!(cookie.encode().as_slice(), expected);
        assert_eq!(SessionCookieValue::decode(&expected), Some(cookie));
    }

    #[test]
    fn another_length_or_version_is_refused() {
        let bytes = refresh_token().encode();
        assert_eq!(RefreshTokenValue::decode(&bytes), Some(refresh_token()));
        assert_eq!(RefreshTokenValue::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(RefreshTokenValue::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(RefreshTokenValue::decode(&[]), None);
        let mut other_version = bytes;
        other_version[0] = 2;
        assert_eq!(RefreshTokenValue::decode(&other_version), None);
        assert_eq!(SessionCookieValue::decode(&bytes), None);
    }

    #[test]
    fn hashes_differ_by_label_and_secret() {
        let secret = TokenSecret::generate(&SystemEntropy);
        let hash = SecretHash::of(SecretLabel::RefreshToken, &secret);
        assert_eq!(SecretHash::from_slice(hash.as_bytes()), Some(hash));
        assert_ne!(hash, SecretHash::of(SecretLabel::SessionCookie, &secret));
        assert_ne!(hash, SecretHash::of(SecretLabel::RefreshToken, &TokenSecret::generate(&SystemEntropy)));
        assert_eq!(SecretHash::from_slice(&[0; 31]), None);
        assert_eq!(format!("{:?} {hash:?}", refresh_token().secret), "TokenSecret(…) SecretHash(…)");
    }
}
