//! Routes, pages and the one error renderer: the only crate that knows HTTP.
//!
//! [`router`] is the whole surface; [`server::run`] puts it on a socket. Every request gets its
//! [`Ctx`](curfew_model::Ctx) first ([`context`]): the instant, the tenant and the issuer of the host it was for.

pub mod context;
pub mod cookies;
pub mod fuzz;
pub mod pages;
pub mod render;
pub mod routes;
pub mod server;
pub mod session_state;

use std::sync::Arc;

use curfew_core::Core;
use curfew_model::{ClientId, Secret};
use ipnet::IpNet;
use tokio::sync::Mutex;

pub use routes::router;

/// What the operator configured of the HTTP side.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Networks whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Without a configured issuer, loopback names are the default tenant's: its issuer then.
    pub loopback_issuer: Option<String>,
}

/// What every handler needs.
#[derive(Debug)]
pub struct App {
    /// The rules.
    pub core: Arc<Core>,
    /// The HTTP side.
    pub settings: Settings,
    /// What the set-up link opens, while there is no administrator.
    pub setup: Mutex<Option<Setup>>,
}

/// For which origin the sample single-page application is registered.
pub const SAMPLE_ORIGIN: &str = "http://localhost:3000";

/// What the set-up page needs, and shows once.
#[derive(Debug)]
pub struct Setup {
    /// The token in the set-up link.
    pub token: Secret<String>,
    /// The machine-to-machine client of the first start.
    pub machine_client_id: ClientId,
    /// Its secret.
    pub machine_client_secret: Secret<String>,
    /// The sample single-page application.
    pub sample_client_id: ClientId,
}
