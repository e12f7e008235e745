//! `/users` and `/users-by-email`.

pub(super) mod access;
pub(super) mod by_email;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod get;
pub(super) mod identities;
pub(super) mod list;
pub(super) mod refresh_tokens;
pub(super) mod revoke_access;
pub(super) mod sessions;
pub(super) mod update;
