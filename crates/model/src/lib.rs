//! What every other crate of Curfew talks about: ids, instants, secrets, the request's context, and the
//! two kinds of "no" (a [`Refusal`] commits, a [`Failure`] rolls back).
//!
//! Invariant: no runtime, no SQL, no HTTP in here.

pub mod clock;
pub mod config;
pub mod ctx;
pub mod decision;
pub mod ending;
pub mod entropy;
pub mod ids;
pub mod log;
pub mod policy;
pub mod secret;

pub use clock::{Clock, SystemClock, Timestamp};
pub use ctx::{Ctx, RequestInfo};
pub use decision::{Decision, Failure, OAuthCode, Refusal};
pub use ending::{EndingCause, Initiator};
pub use entropy::{Entropy, SystemEntropy};
pub use ids::{
    ClientId, EndingId, FamilyId, GrantKey, RequestId, SessionKey, Sid, TenantId, UserId, UserKey,
};
pub use log::LogCode;
pub use policy::{Artefact, Choice, EndingPolicies, Spares};
pub use secret::Secret;
