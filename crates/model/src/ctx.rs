//! What one request or job hands down: its instant, its chance, its tenant, and who asks.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::ids::{RequestId, TenantId};

/// Built once per request or job and handed down first. Cheap to clone, because a flow that runs on the storage's
/// writer takes its own.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// The one instant of this request: every comparison and every stamp uses it.
    pub now: Timestamp,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// Whose data this is about.
    pub tenant: TenantId,
    /// The issuer this request came in under: `https://DOMAIN/`, with the trailing slash.
    pub issuer: Arc<str>,
    /// Who asks, from where.
    pub request: Arc<RequestInfo>,
}

/// Who asks, from where. Goes into sessions' `device` and into log rows; decides nothing but how deep Actions may go.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// This request's id.
    pub id: RequestId,
    /// The End-User's or client's address, after the trusted proxies.
    pub ip: String,
    /// `User-Agent`, cut at 512 bytes.
    pub user_agent: String,
    /// The host the request was for.
    pub host: String,
    /// How many Actions wait for this request: 0 for one that came from outside.
    pub nesting: u8,
    /// The method; empty for a job.
    pub method: String,
    /// The first language of `Accept-Language`, cut at 64 bytes.
    pub language: String,
}
