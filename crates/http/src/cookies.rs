//! The server's cookies: the session, and one per login transaction.
//!
//! Over https they are `__Host-`, Secure and HttpOnly. The session's is SameSite=None, because silent login runs in a
//! frame on the application's site; a transaction's is Lax, because its pages are never framed. Over plain http, which
//! is for localhost, both are Lax and have no prefix.
//!
//! Beside the session's stands one that scripts of the server's own can read, the browser's state
//! ([`session_state`](crate::session_state)): a hash of the session cookie, which opens nothing.

use curfew_core::authorize::{CookieChange, TransactionCookie};
use curfew_model::Ctx;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::session_state::browser_state;

/// Transactions of one browser; more tabs than that evict the oldest.
const TRANSACTIONS_MAX: usize = 10;

fn is_https(ctx: &Ctx) -> bool {
    ctx.issuer.starts_with("https://")
}

fn session_name(ctx: &Ctx) -> &'static str {
    if is_https(ctx) { "__Host-curfew" } else { "curfew" }
}

fn state_name(ctx: &Ctx) -> &'static str {
    if is_https(ctx) { "__Host-curfew-state" } else { "curfew-state" }
}

fn transaction_prefix(ctx: &Ctx) -> &'static str {
    if is_https(ctx) { "__Host-curfew-tx-" } else { "curfew-tx-" }
}

fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// The session cookie's value.
pub fn session<'a>(headers: &'a HeaderMap, ctx: &Ctx) -> Option<&'a str> {
    let name = session_name(ctx);
    all(headers).find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// Whether the browser's state is that of its session cookie.
pub fn has_state(headers: &HeaderMap, ctx: &Ctx, session_cookie: &str) -> bool {
    let (name, state) = (state_name(ctx), browser_state(session_cookie));
    all(headers).any(|(own, value)| own == name && value == state)
}

/// The value of a transaction's cookie.
pub fn transaction<'a>(headers: &'a HeaderMap, ctx: &Ctx, id: &str) -> Option<&'a str> {
    let prefix = transaction_prefix(ctx);
    all(headers).find(|(name, _)| name.strip_prefix(prefix) == Some(id)).map(|(_, value)| value)
}

fn push(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.append(SET_COOKIE, value);
    }
}

fn session_attributes(ctx: &Ctx) -> &'static str {
    if is_https(ctx) { "Path=/; Secure; HttpOnly; SameSite=None" } else { "Path=/; HttpOnly; SameSite=Lax" }
}

fn transaction_attributes(ctx: &Ctx) -> &'static str {
    if is_https(ctx) { "Path=/; Secure; HttpOnly; SameSite=Lax" } else { "Path=/; HttpOnly; SameSite=Lax" }
}

fn state_attributes(ctx: &Ctx) -> &'static str {
    if is_https(ctx) { "Path=/; Secure; SameSite=None" } else { "Path=/; SameSite=Lax" }
}

/// Sets the browser's state, for a session cookie that has a `Max-Age` or none.
pub fn set_state(headers: &mut HeaderMap, ctx: &Ctx, session_cookie: &str, max_age_seconds: Option<i64>) {
    let (name, value, attributes) = (state_name(ctx), browser_state(session_cookie), state_attributes(ctx));
    let age = max_age_seconds.map_or(String::new(), |seconds| format!("; Max-Age={seconds}"));
    push(headers, &format!("{name}={value}; {attributes}{age}"));
}

/// Sets the session cookie, and with it the browser's state.
pub fn set_session(headers: &mut HeaderMap, ctx: &Ctx, change: &CookieChange) {
    let name = session_name(ctx);
    let value = change.value.expose();
    let attributes = session_attributes(ctx);
    let age = change.max_age_seconds.map_or(String::new(), |seconds| format!("; Max-Age={seconds}"));
    push(headers, &format!("{name}={value}; {attributes}{age}"));
    set_state(headers, ctx, value, change.max_age_seconds);
}

/// Takes the session cookie away, and with it the browser's state.
pub fn clear_session(headers: &mut HeaderMap, ctx: &Ctx) {
    push(headers, &format!("{}=; {}; Max-Age=0", session_name(ctx), session_attributes(ctx)));
    push(headers, &format!("{}=; {}; Max-Age=0", state_name(ctx), state_attributes(ctx)));
}

/// Sets a transaction's cookie, and takes the oldest away when there are too many. Browsers send older ones first
/// (RFC 6265 §5.4).
pub fn set_transaction(headers: &mut HeaderMap, ctx: &Ctx, sent: &HeaderMap, cookie: &TransactionCookie) {
    let prefix = transaction_prefix(ctx);
    let attributes = transaction_attributes(ctx);
    let present: Vec<&str> = all(sent).filter_map(|(name, _)| name.strip_prefix(prefix)).collect();
    let surplus = (present.len() + 1).saturating_sub(TRANSACTIONS_MAX);
    for id in present.iter().take(surplus).filter(|id| is_id(id)) {
        push(headers, &format!("{prefix}{id}=; {attributes}; Max-Age=0"));
    }
    let age = curfew_core::authorize::interact::TRANSACTION_SECONDS;
    push(headers, &format!("{prefix}{}={}; {attributes}; Max-Age={age}", cookie.id, cookie.secret.expose()));
}

/// Takes a transaction's cookie away.
pub fn clear_transaction(headers: &mut HeaderMap, ctx: &Ctx, id: &str) {
    if is_id(id) {
        push(
            headers,
            &format!("{}{id}=; {}; Max-Age=0", transaction_prefix(ctx), transaction_attributes(ctx)),
        );
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
