//! How a session begins, or is renewed by the same person in the same browser.

use curfew_model::{Ctx, EndingCause, Failure, SessionKey, Sid, UserId, UserKey};
use curfew_store::sessions::{NewSession, SessionRow};
use curfew_store::{Tx, users};
use curfew_tokens::SealKind;
use curfew_tokens::opaque::{SessionCookieValue, TokenSecret};
use serde_json::{Value, json};

use crate::TenantConfig;
use crate::endings::{self, Actor, Ending, Preserve, Target};

/// Live sessions of one user; a login beyond it ends the least recently used.
pub const SESSIONS_MAX: usize = 1000;

/// A person who passed the credential step.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// Internal key.
    pub user_key: UserKey,
    /// `sub`.
    pub user_id: UserId,
    /// The counter that was read before the credential was verified: what ends meanwhile ends this too.
    pub counter: i64,
    /// Provider of the identity.
    pub provider: String,
    /// Id of the identity.
    pub identity_id: String,
    /// Connection of the identity.
    pub connection_id: String,
    /// `pwd`.
    pub method: &'static str,
}

/// A session that began or was renewed.
#[derive(Debug, Clone)]
pub struct Started {
    /// Its id.
    pub sid: Sid,
    /// The cookie's secret; `None` when the browser keeps its cookie.
    pub secret: Option<TokenSecret>,
    /// Whether the cookie outlives the browser.
    pub persistent: bool,
    /// For the cookie's `Expires`.
    pub lifetime_seconds: i64,
}

/// Begins a session in the caller's transaction.
///
/// Steps: 1 another person's session in this browser is superseded, 2 the same person's session is renewed and keeps
/// its id, 3 else a new one is made, 4 those beyond the cap end.
pub async fn start(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    person: &Authenticated,
    present: Option<&SessionRow>,
) -> Result<Started, Failure> {
    let persistent = config.settings.persistent_sessions();
    let lifetimes = config.settings.session_lifetimes(persistent);
    let mut new = NewSession {
        sid: Sid { user: person.user_key, session: SessionKey::generate(&*ctx.entropy) },
        counter: person.counter,
        provider: person.provider.clone(),
        identity_id: person.identity_id.clone(),
        connection_id: person.connection_id.clone(),
        secret_hash: Vec::new(),
        sealing_key: config.sealing.current().id(),
        issuer: ctx.issuer.to_string(),
        now: ctx.now,
        idle_expires_at: ctx.now.plus_seconds(lifetimes.idle_seconds.min(lifetimes.absolute_seconds)),
        expires_at: ctx.now.plus_seconds(lifetimes.absolute_seconds),
        persistent,
        device: device_now(
            present.filter(|row| row.sid.user == person.user_key).map(|row| row.device.as_str()),
            ctx,
        ),
        methods: json!([{"name": person.method, "timestamp": ctx.now.iso()}]).to_string(),
    };
    if let Some(row) = present {
        if row.sid.user == person.user_key {
            new.sid = row.sid;
            if curfew_store::sessions::reauthenticate(tx, ctx.tenant, &new).await? {
                let lifetime_seconds = lifetimes.absolute_seconds;
                return Ok(Started { sid: row.sid, secret: None, persistent, lifetime_seconds });
            }
            new.sid.session = SessionKey::generate(&*ctx.entropy);
        } else {
            // The other person is gone from this browser as after a logout; applications keep their refresh tokens.
            let ending = Ending {
                preserve: Preserve::UnlessPolicy,
                ..Ending::new(EndingCause::Superseded, Target::Session(row.sid), Actor::User)
            };
            endings::end(tx, ctx, &ending).await?;
        }
    }
    let secret = TokenSecret::generate(&*ctx.entropy);
    let value = SessionCookieValue { user: new.sid.user, session: new.sid.session, secret };
    new.secret_hash = value.secret_hash().as_bytes().to_vec();
    curfew_store::sessions::insert(tx, ctx.tenant, &new).await?;
    for session in
        curfew_store::sessions::beyond_cap(tx, ctx.tenant, &person.user_key, ctx.now, SESSIONS_MAX).await?
    {
        let sid = Sid { user: person.user_key, session };
        endings::end(tx, ctx, &Ending::new(EndingCause::Superseded, Target::Session(sid), Actor::Policy))
            .await?;
    }
    Ok(Started {
        sid: new.sid,
        secret: Some(secret),
        persistent,
        lifetime_seconds: lifetimes.absolute_seconds,
    })
}

/// Counts the interactive login (`last_login`, `logins_count`, `last_ip`), as Auth0 does before anything else can
/// refuse it.
pub(crate) async fn record_login(tx: &mut Tx, ctx: &Ctx, user: &UserKey) -> Result<(), Failure> {
    users::record_login(tx, ctx.tenant, user, ctx.now, &ctx.request.ip).await
}

/// The sealed value of a session's cookie.
pub fn cookie_value(config: &TenantConfig, ctx: &Ctx, sid: &Sid, secret: &TokenSecret) -> String {
    let value = SessionCookieValue { user: sid.user, session: sid.session, secret: *secret };
    config.seal(SealKind::SessionCookie, &value.encode(), ctx)
}

/// The `device` document: the initial members stay, the last ones move.
pub(crate) fn device_now(before: Option<&str>, ctx: &Ctx) -> String {
    let before: Value = before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let initial = |name: &str, now: &str| before.get(name).and_then(Value::as_str).unwrap_or(now).to_owned();
    json!({
        "initial_ip": initial("initial_ip", &ctx.request.ip),
        "initial_user_agent": initial("initial_user_agent", &ctx.request.user_agent),
        "last_ip": ctx.request.ip,
        "last_user_agent": ctx.request.user_agent,
    })
    .to_string()
}
