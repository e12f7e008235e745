//! A type for each kind of id, so that none is taken for another.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::entropy::Entropy;

/// A tenant's internal key; part of every primary key in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub i64);

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// A new, unpredictable key.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                Self(entropy.bytes())
            }

            /// The key's bytes, as stored.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// A stored key; `None` when the length is wrong.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads the base64url form that [`Display`](fmt::Display) writes.
            pub fn parse(text: &str) -> Option<Self> {
                Self::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom(concat!("not a ", stringify!($name))))
            }
        }
    };
}

key!(
    /// A user's internal key: 12 bytes, never reused, on the wire only inside opaque values (`sid`, `cfw.u`).
    UserKey, 12
);
key!(
    /// A session's key below its user's.
    SessionKey, 12
);
key!(
    /// The key of an authorization: of the code, of the refresh-token family it began, and of all that was issued from either.
    GrantKey, 12
);
key!(
    /// The id of one ending, under which its receipt is found.
    EndingId, 16
);
key!(
    /// One request to the server. Rotations and consumptions store it in the row they win, so that a re-run
    /// after an unknown commit outcome recognises its own work.
    RequestId, 16
);

/// A session's id on the wire (`sid`, the Management API's session `id`): 32 characters of base64url, the
/// user's key and the session's key. Carries no right by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sid {
    /// Whose session it is.
    pub user: UserKey,
    /// Which of the user's sessions.
    pub session: SessionKey,
}

/// The id of a refresh-token family on the wire has the same form as a [`Sid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FamilyId {
    /// Whose family it is.
    pub user: UserKey,
    /// The grant it began with.
    pub grant: GrantKey,
}

fn parse_pair(text: &str) -> Option<([u8; 12], [u8; 12])> {
    if text.len() != 32 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (first, second) = bytes.split_at_checked(12)?;
    Some((first.try_into().ok()?, second.try_into().ok()?))
}

fn write_pair(f: &mut fmt::Formatter<'_>, first: [u8; 12], second: [u8; 12]) -> fmt::Result {
    let mut bytes = [0; 24];
    bytes[..12].copy_from_slice(&first);
    bytes[12..].copy_from_slice(&second);
    f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
}

impl Sid {
    /// Reads the 32-character form.
    pub fn parse(text: &str) -> Option<Self> {
        parse_pair(text).map(|(user, session)| Self { user: UserKey(user), session: SessionKey(session) })
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pair(f, self.user.0, self.session.0)
    }
}

impl FamilyId {
    /// Reads the 32-character form.
    pub fn parse(text: &str) -> Option<Self> {
        parse_pair(text).map(|(user, grant)| Self { user: UserKey(user), grant: GrantKey(grant) })
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pair(f, self.user.0, self.grant.0)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as it is on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id!(
    /// A client's `client_id`: 32 characters as a rule.
    ClientId
);
text_id!(
    /// A user's `user_id` and `sub`: `auth0|` and 24 hexadecimal digits for a database user.
    UserId
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;

    #[test]
    fn sid_is_32_characters_and_reads_back() {
        let sid =
            Sid { user: UserKey::generate(&SystemEntropy), session: SessionKey::generate(&SystemEntropy) };
        let text = sid.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(Sid::parse(&text), Some(sid));
        assert_eq!(Sid::parse(&text[1..]), None);
        assert_eq!(Sid::parse("é5UIp_ID5mCTClIeBEHpXfGwq51tF_L"), None);
    }
}
