//! Cutoffs as they stand in the snapshot and in the feed.

use std::borrow::Cow;
use std::fmt;

use curfew_model::{GrantKey, Sid, UserKey};
use serde::de::{self, DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest text of a cutoff that is read.
pub(crate) const CUTOFF_BYTES_MAX: usize = 4096;

/// What ends tokens. A member that a token does not have never matches. `until` is the Unix second after which no token
/// can be alive that it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cutoff {
    /// All access of a user: `cfw.u` is the user and `cfw.n` below the number.
    User {
        /// Whose.
        user: UserKey,
        /// Tokens of an earlier number have ended.
        number: i64,
        /// When it may be dropped.
        until: u32,
    },
    /// A user's sessions: as `User` for tokens with another `sid` than the spared one; one without is asked about.
    UserSessions {
        /// Whose.
        user: UserKey,
        /// Tokens of an earlier number are concerned.
        number: i64,
        /// The session that stays.
        spared: Option<Sid>,
        /// When it may be dropped.
        until: u32,
    },
    /// A user's refresh tokens: tokens of an earlier number are asked about.
    UserFamilies {
        /// Whose.
        user: UserKey,
        /// Tokens of an earlier number are asked about.
        number: i64,
        /// When it may be dropped.
        until: u32,
    },
    /// What a user gave to a client.
    UserClient {
        /// Whose.
        user: UserKey,
        /// To whom: `azp` or `client_id`.
        client_id: String,
        /// Tokens of an earlier number have ended.
        number: i64,
        /// When it may be dropped.
        until: u32,
    },
    /// A session.
    Session {
        /// Which.
        sid: Sid,
        /// When it may be dropped.
        until: u32,
    },
    /// A session whose time was over: a token with a grant is asked about, because a refresh token may stand behind it.
    SessionExpired {
        /// Which.
        sid: Sid,
        /// When it may be dropped.
        until: u32,
    },
    /// A grant: `cfw.g`.
    Grant {
        /// Which.
        grant: GrantKey,
        /// When it may be dropped.
        until: u32,
    },
    /// A client.
    Client {
        /// Which: `azp` or `client_id`.
        client_id: String,
        /// Tokens of an earlier number (`cfw.c`) have ended; all of them when there is none.
        number: Option<i64>,
        /// When it may be dropped.
        until: u32,
    },
    /// What users gave to a client: its tokens that have a `cfw.u`.
    ClientUsers {
        /// Which: `azp` or `client_id`.
        client_id: String,
        /// Tokens of an earlier number (`cfw.c`) have ended.
        number: i64,
        /// When it may be dropped.
        until: u32,
    },
    /// Everybody: tokens of users are asked about, because a key was revoked under which refresh tokens and sessions had
    /// been sealed.
    Users {
        /// Tokens that were issued (`iat`) then or before are asked about.
        at: i64,
        /// When it may be dropped.
        until: u32,
    },
    /// An API that was deleted.
    Audience {
        /// Its identifier.
        identifier: String,
        /// Tokens that were issued (`iat`) then or before have ended.
        at: i64,
        /// When it may be dropped.
        until: u32,
    },
    /// A signing key that was revoked.
    SigningKey {
        /// Which: the header's `kid`.
        kid: String,
        /// When it may be dropped.
        until: u32,
    },
}

/// Why a text is no cutoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CutoffError {
    /// A kind that this guard does not know: it is too old for the server.
    #[error("a cutoff of an unknown kind")]
    UnknownKind,
    /// Not an array, or not with the members of its kind.
    #[error("a malformed cutoff")]
    Malformed,
}

impl Cutoff {
    /// Reads a cutoff's JSON.
    pub fn parse(json: &[u8]) -> Result<Self, CutoffError> {
        if json.len() > CUTOFF_BYTES_MAX {
            return Err(CutoffError::Malformed);
        }
        let read: ReadCutoff = serde_json::from_slice(json).map_err(|_| CutoffError::Malformed)?;
        read.0
    }

    /// When it may be dropped: the Unix second after which no token can be alive that it concerns.
    pub const fn until(&self) -> u32 {
        match self {
            Self::User { until, .. }
            | Self::UserSessions { until, .. }
            | Self::UserFamilies { until, .. }
            | Self::UserClient { until, .. }
            | Self::Session { until, .. }
            | Self::SessionExpired { until, .. }
            | Self::Grant { until, .. }
            | Self::Client { until, .. }
            | Self::ClientUsers { until, .. }
            | Self::Users { until, .. }
            | Self::Audience { until, .. }
            | Self::SigningKey { until, .. } => *until,
        }
    }
}

/// A cutoff inside other JSON. An unknown kind is no error of the JSON around it.
#[derive(Debug)]
pub(crate) struct ReadCutoff(pub(crate) Result<Cutoff, CutoffError>);

impl<'de> Deserialize<'de> for ReadCutoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Members).map(Self)
    }
}

/// Unix seconds as a cutoff's last member: what is before 1970 or after 2106 is moved there.
struct Until(u32);

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = i64::deserialize(deserializer)?;
        Ok(Self(u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)))
    }
}

struct SidText(Sid);

impl<'de> Deserialize<'de> for SidText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Sid::parse(&text).map(Self).ok_or_else(|| de::Error::custom("not a session id"))
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Result<Cutoff, CutoffError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cutoff")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        fn next<'de, T: DeserializeOwned, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
            seq.next_element()?.ok_or_else(|| de::Error::custom("a member is missing"))
        }
        let kind: String = next(&mut seq)?;
        // A struct's fields are evaluated in the order in which they are written here: the order on the wire.
        let cutoff = match kind.as_str() {
            "user" => Cutoff::User { user: next(&mut seq)?, number: next(&mut seq)?, until: last(&mut seq)? },
            "user_sessions" => {
                let (user, number): (UserKey, _) = (next(&mut seq)?, next(&mut seq)?);
                let spared = next::<Option<SidText>, A>(&mut seq)?.map(|SidText(sid)| sid);
                // A session is its user's. One of somebody else could not be spared.
                if spared.is_some_and(|sid| sid.user != user) {
                    return Err(de::Error::custom("a session of somebody else"));
                }
                Cutoff::UserSessions { user, number, spared, until: last(&mut seq)? }
            }
            "user_families" => Cutoff::UserFamilies {
                user: next(&mut seq)?,
                number: next(&mut seq)?,
                until: last(&mut seq)?,
            },
            "user_client" => Cutoff::UserClient {
                user: next(&mut seq)?,
                client_id: next(&mut seq)?,
                number: next(&mut seq)?,
                until: last(&mut seq)?,
            },
            "session" => Cutoff::Session { sid: next::<SidText, A>(&mut seq)?.0, until: last(&mut seq)? },
            "session_expired" => {
                Cutoff::SessionExpired { sid: next::<SidText, A>(&mut seq)?.0, until: last(&mut seq)? }
            }
            "grant" => Cutoff::Grant { grant: next(&mut seq)?, until: last(&mut seq)? },
            "client" => {
                Cutoff::Client { client_id: next(&mut seq)?, number: next(&mut seq)?, until: last(&mut seq)? }
            }
            "client_users" => Cutoff::ClientUsers {
                client_id: next(&mut seq)?,
                number: next(&mut seq)?,
                until: last(&mut seq)?,
            },
            "users" => Cutoff::Users { at: next(&mut seq)?, until: last(&mut seq)? },
            "audience" => {
                Cutoff::Audience { identifier: next(&mut seq)?, at: next(&mut seq)?, until: last(&mut seq)? }
            }
            "signing_key" => Cutoff::SigningKey { kid: next(&mut seq)?, until: last(&mut seq)? },
            _ => {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(CutoffError::UnknownKind));
            }
        };
        Ok(Ok(cutoff))
    }
}

/// The last member, behind which nothing stands.
fn last<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<u32, A::Error> {
    let Until(until) = seq.next_element()?.ok_or_else(|| de::Error::custom("a member is missing"))?;
    match seq.next_element::<IgnoredAny>()? {
        None => Ok(until),
        Some(_) => Err(de::Error::custom("a member too many")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const U: &str = "AQEBAQEBAQEBAQEB";
    const SID: &str = "AQEBAQEBAQEBAQEBAgICAgICAgICAgIC";
    const OTHER_SID: &str = "AgICAgICAgICAgICAgICAgICAgICAgIC";

    fn parse(text: &str) -> Result<Cutoff, CutoffError> {
        Cutoff::parse(text.replace('\'', "\"").replace("$u", U).replace("$sid", SID).as_bytes())
    }

    #[test]
    fn every_kind_reads() {
        let user = UserKey([1; 12]);
        let sid = Sid::parse(SID).unwrap();
        let (number, until) = (7, 9);
        let client_id = || "client".to_owned();
        for (text, cutoff) in [
            ("['user','$u',7,9]", Cutoff::User { user, number, until }),
            (
                "['user_sessions','$u',7,'$sid',9]",
                Cutoff::UserSessions { user, number, spared: Some(sid), until },
            ),
            ("['user_sessions','$u',7,null,9]", Cutoff::UserSessions { user, number, spared: None, until }),
            ("['user_families','$u',7,9]", Cutoff::UserFamilies { user, number, until }),
            (
                "['user_client','$u','client',7,9]",
                Cutoff::UserClient { user, client_id: client_id(), number, until },
            ),
            ("['session','$sid',9]", Cutoff::Session { sid, until }),
            ("['session_expired','$sid',9]", Cutoff::SessionExpired { sid, until }),
            ("['grant','$u',9]", Cutoff::Grant { grant: GrantKey([1; 12]), until }),
            ("['client','client',7,9]", Cutoff::Client { client_id: client_id(), number: Some(7), until }),
            ("['client','client',null,9]", Cutoff::Client { client_id: client_id(), number: None, until }),
            ("['client_users','client',7,9]", Cutoff::ClientUsers { client_id: client_id(), number, until }),
            ("['users',7,9]", Cutoff::Users { at: 7, until }),
            (
                "['audience','https://api.example/',7,9]",
                Cutoff::Audience { identifier: "https://api.example/".to_owned(), at: 7, until },
            ),
            ("['signing_key','k1',9]", Cutoff::SigningKey { kid: "k1".to_owned(), until }),
            ("['session','$sid',-1]", Cutoff::Session { sid, until: 0 }),
            ("['session','$sid',9999999999]", Cutoff::Session { sid, until: u32::MAX }),
        ] {
            assert_eq!(parse(text), Ok(cutoff), "{text}");
        }
    }

    #[test]
    fn an_unknown_kind_is_told_from_nonsense() {
        for text in ["['tenant','x',9]", "['']", "['User','$u',7,9]", "['new',{'a':[1,2]},null]"] {
            assert_eq!(parse(text), Err(CutoffError::UnknownKind), "{text}");
        }
        for text in [
            "",
            "[]",
            "{}",
            "'user'",
            "[7]",
            "['user']",
            "['user','$u',7]",
            "['user','$u',7,9,9]",
            "['user','$u','7',9]",
            "['user','$u',7.5,9]",
            "['user','$u',null,9]",
            "['user','short',7,9]",
            "['session','$u',9]",
            "['session','$sid',9.5]",
            "['session',null,9]",
            "['grant','$sid',9]",
            "['user','$u',7,9] x",
            "['user','$u',7,9",
            "['unknown'",
        ] {
            assert_eq!(parse(text), Err(CutoffError::Malformed), "{text}");
        }
        let foreign = format!("['user_sessions','$u',7,'{OTHER_SID}',9]");
        assert_eq!(parse(&foreign), Err(CutoffError::Malformed));
        let long = format!("['client','{}',7,9]", "x".repeat(CUTOFF_BYTES_MAX));
        assert_eq!(parse(&long), Err(CutoffError::Malformed));
    }
}
