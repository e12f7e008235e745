//! Which sessions an ending has ended: written down with it, so that who took part in them can be worked out later. An
//! ending does not look for what it ends; a counter and the floor before it say it all.

use serde::{Deserialize, Serialize};

/// Which sessions fell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fell", rename_all = "snake_case")]
pub(crate) enum Scope {
    /// All that a user had, with everything else of theirs.
    Everything {
        /// The user's counter after the ending: those below it.
        counter: i64,
        /// The floor before it: those below had ended already.
        floor: i64,
    },
    /// All sessions of a user.
    Sessions {
        /// As above.
        counter: i64,
        /// As above.
        floor: i64,
    },
    /// Those that one identity had opened.
    Identity {
        /// `auth0`.
        provider: String,
        /// Id without prefix.
        identity_id: String,
        /// As above.
        counter: i64,
        /// As above, of the user or of the identity, whichever was higher.
        floor: i64,
    },
    /// The one that the ending names.
    Session,
    /// Those that stood on a connection.
    Connection {
        /// Which.
        id: String,
    },
    /// Those whose cookie a key had sealed.
    SealingKey {
        /// Which.
        id: u32,
    },
}
