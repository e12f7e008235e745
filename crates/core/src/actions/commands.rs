//! What Actions ask for through `api`, read strictly: whatever comes from a worker may be anything.

use curfew_model::Timestamp;
use curfew_model::config::ActionTrigger;
use curfew_tokens::claims::{CustomClaims, is_reserved};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Commands of one Action.
const COMMANDS_MAX: usize = 1000;
/// Bytes of a name, a key or a reason.
const TEXT_BYTES_MAX: usize = 2048;
/// Bytes of an address that a browser is sent to.
const URL_BYTES_MAX: usize = 4096;
/// Bytes of what one flow sets of a user's metadata, of either kind. The runtime says so at 32 KiB of an Action's own; numbers
/// are written differently here and there.
const METADATA_BYTES_MAX: usize = 33 * 1024;
/// Bytes of the keys and values of a transaction's metadata; the runtime says so at 16 KiB.
const TRANSACTION_BYTES_MAX: usize = 17 * 1024;
/// Bytes of the custom claims of one token.
const CLAIMS_BYTES_MAX: usize = 100 * 1024;
/// Bytes, as JSON, of what an authorization code carries to the issuing: custom claims and limits of the refresh token.
const CARRIED_BYTES_MAX: usize = 5 * 1024;
/// Bytes, as JSON, of everything that was asked for when a browser is sent elsewhere: it waits in the address.
const WAITING_BYTES_MAX: usize = 3 * 1024;
/// Changes to the metadata of a session or a refresh token.
const CHANGES_MAX: usize = 200;
/// Scopes that are added or removed.
const SCOPES_MAX: usize = 200;

/// Namespaces of claims that are Auth0's own.
const FOREIGN_HOSTS: [&str; 3] = ["auth0.com", "webtask.io", "webtask.run"];

/// One call of `api`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", content = "args", deny_unknown_fields)]
enum Command {
    #[serde(rename = "access.deny")]
    Deny(Deny),
    #[serde(rename = "accessToken.setCustomClaim")]
    AccessTokenClaim(String, Value),
    #[serde(rename = "idToken.setCustomClaim")]
    IdTokenClaim(String, Value),
    #[serde(rename = "accessToken.addScope")]
    AddScope((String,)),
    #[serde(rename = "accessToken.removeScope")]
    RemoveScope((String,)),
    #[serde(rename = "session.revoke")]
    RevokeSession(Option<String>, RevokeOptions),
    #[serde(rename = "session.setExpiresAt")]
    SessionExpiresAt((f64,)),
    #[serde(rename = "session.setIdleExpiresAt")]
    SessionIdleExpiresAt((f64,)),
    #[serde(rename = "session.setCookieMode")]
    SessionCookieMode((CookieMode,)),
    #[serde(rename = "session.setMetadata")]
    SetSessionMetadata(String, String),
    #[serde(rename = "session.deleteMetadata")]
    DeleteSessionMetadata((String,)),
    #[serde(rename = "session.evictMetadata")]
    EvictSessionMetadata([(); 0]),
    #[serde(rename = "refreshToken.revoke")]
    RevokeRefreshToken((Option<String>,)),
    #[serde(rename = "refreshToken.setExpiresAt")]
    RefreshTokenExpiresAt((f64,)),
    #[serde(rename = "refreshToken.setIdleExpiresAt")]
    RefreshTokenIdleExpiresAt((f64,)),
    #[serde(rename = "refreshToken.setMetadata")]
    SetRefreshTokenMetadata(String, String),
    #[serde(rename = "refreshToken.deleteMetadata")]
    DeleteRefreshTokenMetadata((String,)),
    #[serde(rename = "refreshToken.evictMetadata")]
    EvictRefreshTokenMetadata([(); 0]),
    #[serde(rename = "user.setAppMetadata")]
    AppMetadata(String, Value),
    #[serde(rename = "user.setUserMetadata")]
    UserMetadata(String, Value),
    #[serde(rename = "redirect.sendUserTo")]
    Redirect((String,)),
    #[serde(rename = "transaction.setMetadata")]
    TransactionMetadata(String, Value),
    #[serde(rename = "validation.error")]
    ValidationError(String, String),
}

/// `access.deny` has a reason, a code and a reason, or a reason and what the person is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Deny {
    One((String,)),
    Two((String, Option<String>)),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct RevokeOptions {
    preserve_refresh_tokens: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CookieMode {
    Persistent,
    NonPersistent,
}

/// A change to the metadata of a session or a refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetadataChange {
    /// One key.
    Set(String, String),
    /// One key goes.
    Delete(String),
    /// All go.
    Evict,
}

impl MetadataChange {
    /// Applies changes to a stored document; what is wrong with the outcome otherwise.
    pub(crate) fn apply(changes: &[Self], stored: Option<&str>) -> Result<Option<String>, &'static str> {
        let mut doc: Map<String, Value> =
            stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        for change in changes {
            match change {
                Self::Set(key, value) => drop(doc.insert(key.clone(), Value::from(value.as_str()))),
                Self::Delete(key) => drop(doc.remove(key)),
                Self::Evict => doc.clear(),
            }
        }
        crate::management::session_metadata(&Value::Object(doc))
            .map_err(|()| "Metadata must not exceed 25 entries. Each key and value must be ≤ 255 characters.")
    }
}

/// Why there is nothing for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Of credentials-exchange: which error.
    pub code: Option<String>,
    /// For the client; for the log where there is a message for the person.
    pub reason: String,
    /// Of pre-user-registration: for the person.
    pub user_message: Option<String>,
}

/// The end of a session that an Action asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokedSession {
    /// Whether its refresh tokens stay.
    pub preserve_refresh_tokens: bool,
}

/// What Actions set of a session, or of a refresh token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// The absolute end; of several the earliest.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// The end by idleness; of several the earliest.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub idle_expires_at: Option<i64>,
    /// In order.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<MetadataChange>,
}

impl Limits {
    /// Whether nothing was set.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The absolute end.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.map(Timestamp::from_micros)
    }

    /// The end by idleness.
    pub(crate) fn idle_expires_at(&self) -> Option<Timestamp> {
        self.idle_expires_at.map(Timestamp::from_micros)
    }
}

/// What the Actions of one flow asked for, in the order they did. It rests in the sealed state of a login whose browser was
/// sent elsewhere.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Effects {
    /// Of the access token.
    pub access_claims: CustomClaims,
    /// Of the ID token.
    pub id_claims: CustomClaims,
    /// Scopes, added or removed.
    pub scopes: Vec<(ScopeChange, String)>,
    /// Of the session.
    pub session: Limits,
    /// Whether the session's cookie outlives the browser.
    pub persistent: Option<bool>,
    /// The session's end.
    #[serde(skip)]
    pub session_revoked: Option<RevokedSession>,
    /// Of the refresh token.
    pub refresh_token: Limits,
    /// Whether the refresh token ends.
    #[serde(skip)]
    pub refresh_token_revoked: bool,
    /// Keys of `app_metadata`; `null` removes one.
    pub app_metadata: Map<String, Value>,
    /// Keys of `user_metadata`; `null` removes one.
    pub user_metadata: Map<String, Value>,
    /// What later Actions see as `event.transaction.metadata`.
    pub transaction_metadata: Map<String, Value>,
    /// The first "no".
    #[serde(skip)]
    pub denied: Option<Denied>,
    /// Where the browser is to go meanwhile.
    #[serde(skip)]
    pub redirect: Option<String>,
}

/// What becomes of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ScopeChange {
    /// It is granted.
    Add,
    /// It is not.
    Remove,
}

/// Why a command is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unheard(pub &'static str);

impl Effects {
    /// Takes up what one Action asked for. Nothing of it counts where one command cannot be read, or where it is more than
    /// can travel through the browser, if it has to (`travels`).
    pub(crate) fn take(
        &mut self,
        trigger: ActionTrigger,
        commands: &[Value],
        travels: bool,
    ) -> Result<(), Unheard> {
        if commands.len() > COMMANDS_MAX {
            return Err(Unheard("it called its api too often"));
        }
        let mut after = self.clone();
        for command in commands {
            let command =
                Command::deserialize(command).map_err(|_| Unheard("a call of its api cannot be read"))?;
            after.hear(trigger, command)?;
        }
        if travels {
            after.can_travel()?;
        }
        *self = after;
        Ok(())
    }

    fn can_travel(&self) -> Result<(), Unheard> {
        if json_len(&(&self.access_claims, &self.id_claims, &self.refresh_token)) > CARRIED_BYTES_MAX {
            return Err(Unheard(
                "the custom claims of this login are more than the 5 KB that its authorization code carries",
            ));
        }
        if self.redirect.is_some() && json_len(self) > WAITING_BYTES_MAX {
            return Err(Unheard(
                "what Actions have asked for so far is more than the 3 KB that are kept while the person is elsewhere",
            ));
        }
        Ok(())
    }

    /// The scope that was asked for, with what was added and without what was removed.
    pub(super) fn scope_of(&self, asked: &str) -> String {
        let mut scope: Vec<&str> = crate::issue::scope_values(asked).collect();
        for (change, value) in &self.scopes {
            scope.retain(|own| own != value);
            if *change == ScopeChange::Add {
                scope.push(value);
            }
        }
        scope.join(" ")
    }

    fn deny(&mut self, denied: Denied) {
        if self.denied.is_none() {
            self.denied = Some(denied);
        }
    }

    fn hear(&mut self, trigger: ActionTrigger, command: Command) -> Result<(), Unheard> {
        use ActionTrigger as T;
        match (trigger, command) {
            (T::PostLogin, Command::Deny(Deny::One((reason,)))) => {
                self.deny(Denied { code: None, reason: text(reason)?, user_message: None });
            }
            (T::CredentialsExchange, Command::Deny(Deny::Two((code, Some(reason))))) => {
                if !["invalid_scope", "invalid_request", "server_error"].contains(&code.as_str()) {
                    return Err(Unheard("it denied access with another code"));
                }
                self.deny(Denied { code: Some(code), reason: text(reason)?, user_message: None });
            }
            (T::PreUserRegistration, Command::Deny(Deny::Two((reason, message)))) => {
                let user_message = message.map(text).transpose()?;
                self.deny(Denied { code: None, reason: text(reason)?, user_message });
            }
            (T::PostLogin | T::PreUserRegistration, Command::ValidationError(code, message)) => {
                let (code, message) = (text(code)?, text(message)?);
                self.deny(Denied { code: Some(code), reason: message.clone(), user_message: Some(message) });
            }
            (T::PostLogin | T::CredentialsExchange, Command::AccessTokenClaim(name, value)) => {
                claim(&mut self.access_claims, name, value)?;
            }
            (T::PostLogin, Command::IdTokenClaim(name, value)) => claim(&mut self.id_claims, name, value)?,
            (T::PostLogin, Command::AddScope((scope,))) => self.scope(ScopeChange::Add, scope)?,
            (T::PostLogin, Command::RemoveScope((scope,))) => self.scope(ScopeChange::Remove, scope)?,
            (T::PostLogin | T::PreUserRegistration, Command::AppMetadata(key, value)) => {
                user_metadata(&mut self.app_metadata, key, value)?;
            }
            (T::PostLogin | T::PreUserRegistration, Command::UserMetadata(key, value)) => {
                user_metadata(&mut self.user_metadata, key, value)?;
            }
            (_, Command::TransactionMetadata(key, value)) => {
                if !(value.is_string() || value.is_number() || value.is_boolean()) {
                    return Err(Unheard("the metadata of a transaction are strings, numbers and flags"));
                }
                self.transaction_metadata.insert(text(key)?, value);
                let bytes = |(key, value): (&String, &Value)| match value {
                    Value::String(text) => key.len() + text.len(),
                    other => key.len() + json_len(other),
                };
                if self.transaction_metadata.iter().map(bytes).sum::<usize>() > TRANSACTION_BYTES_MAX {
                    return Err(Unheard("the metadata of a transaction may be 16 KB"));
                }
            }
            (T::PostLogin, Command::Redirect((url,))) => {
                let web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
                if url.len() > URL_BYTES_MAX || !web || url.chars().any(|c| c.is_control() || c == ' ') {
                    return Err(Unheard("it sent the person to no address of the web"));
                }
                self.redirect.get_or_insert(url);
            }
            (T::PostLogin, command) => self.hear_of_session(command)?,
            _ => return Err(Unheard("its trigger has no such call")),
        }
        Ok(())
    }

    fn hear_of_session(&mut self, command: Command) -> Result<(), Unheard> {
        match command {
            Command::RevokeSession(reason, options) => {
                let preserve_refresh_tokens = options.preserve_refresh_tokens;
                self.session_revoked = Some(RevokedSession { preserve_refresh_tokens });
                let reason = text(reason.unwrap_or_else(|| "The session was revoked.".to_owned()))?;
                self.deny(Denied { code: None, reason, user_message: None });
            }
            Command::SessionExpiresAt((at,)) => earliest(&mut self.session.expires_at, at)?,
            Command::SessionIdleExpiresAt((at,)) => earliest(&mut self.session.idle_expires_at, at)?,
            Command::SessionCookieMode((mode,)) => self.persistent = Some(mode == CookieMode::Persistent),
            Command::SetSessionMetadata(key, value) => {
                change(&mut self.session.metadata, MetadataChange::Set(text(key)?, text(value)?))?;
            }
            Command::DeleteSessionMetadata((key,)) => {
                change(&mut self.session.metadata, MetadataChange::Delete(text(key)?))?;
            }
            Command::EvictSessionMetadata([]) => change(&mut self.session.metadata, MetadataChange::Evict)?,
            Command::RevokeRefreshToken((reason,)) => {
                self.refresh_token_revoked = true;
                let reason = text(reason.unwrap_or_else(|| "The refresh token was revoked.".to_owned()))?;
                self.deny(Denied { code: None, reason, user_message: None });
            }
            Command::RefreshTokenExpiresAt((at,)) => earliest(&mut self.refresh_token.expires_at, at)?,
            Command::RefreshTokenIdleExpiresAt((at,)) => {
                earliest(&mut self.refresh_token.idle_expires_at, at)?;
            }
            Command::SetRefreshTokenMetadata(key, value) => {
                change(&mut self.refresh_token.metadata, MetadataChange::Set(text(key)?, text(value)?))?;
            }
            Command::DeleteRefreshTokenMetadata((key,)) => {
                change(&mut self.refresh_token.metadata, MetadataChange::Delete(text(key)?))?;
            }
            Command::EvictRefreshTokenMetadata([]) => {
                change(&mut self.refresh_token.metadata, MetadataChange::Evict)?;
            }
            _ => return Err(Unheard("its trigger has no such call")),
        }
        Ok(())
    }

    fn scope(&mut self, change: ScopeChange, scope: String) -> Result<(), Unheard> {
        // RFC 6749 §3.3: scope-token.
        let is_token = scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
        if scope.is_empty() || scope.len() > 280 || !is_token {
            return Err(Unheard("it named what is no scope"));
        }
        if self.scopes.len() >= SCOPES_MAX {
            return Err(Unheard("it named too many scopes"));
        }
        self.scopes.push((change, scope));
        Ok(())
    }
}

fn text(text: String) -> Result<String, Unheard> {
    if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
        return Err(Unheard("it said more than may be said there"));
    }
    Ok(text)
}

/// Bytes of a value as JSON.
fn json_len(value: &impl Serialize) -> usize {
    // Values that came as JSON can be written as JSON.
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// A custom claim. Reserved names, and namespaces that are Auth0's own, are dropped, as there.
fn claim(claims: &mut CustomClaims, name: String, value: Value) -> Result<(), Unheard> {
    let name = text(name)?;
    if name.is_empty() || is_reserved(&name) || is_foreign(&name) {
        return Ok(());
    }
    if value.is_null() {
        claims.remove(&name);
    } else {
        claims.insert(name, value);
    }
    if json_len(claims) > CLAIMS_BYTES_MAX {
        return Err(Unheard("the custom claims of a token may be 100 KB"));
    }
    Ok(())
}

fn is_foreign(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if name == "urn:auth0" || name.starts_with("urn:auth0:") {
        return true;
    }
    let Some((_, rest)) = name.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("").split(':').next().unwrap_or("");
    FOREIGN_HOSTS
        .iter()
        .any(|foreign| host == *foreign || host.strip_suffix(foreign).is_some_and(|sub| sub.ends_with('.')))
}

fn user_metadata(metadata: &mut Map<String, Value>, key: String, value: Value) -> Result<(), Unheard> {
    metadata.insert(text(key)?, value);
    if json_len(metadata) > METADATA_BYTES_MAX {
        return Err(Unheard("what one flow sets of app_metadata, or of user_metadata, may be 32 KB"));
    }
    Ok(())
}

fn change(changes: &mut Vec<MetadataChange>, change: MetadataChange) -> Result<(), Unheard> {
    if changes.len() >= CHANGES_MAX {
        return Err(Unheard("it changed metadata too often"));
    }
    changes.push(change);
    Ok(())
}

/// Milliseconds since 1970, as JavaScript counts; of several the earliest.
fn earliest(own: &mut Option<i64>, milliseconds: f64) -> Result<(), Unheard> {
    // What `Date` can hold.
    if !(0.0..=8.64e15).contains(&milliseconds) {
        return Err(Unheard("it named what is no instant"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "8.64e15 is far below what i64 holds")]
    let micros = (milliseconds.trunc() as i64).saturating_mul(1000);
    *own = Some(own.map_or(micros, |before| before.min(micros)));
    Ok(())
}

/// What becomes of a flow by what one Action asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Through,
    /// It ends with a "no".
    Denied {
        /// For the client; for the log where there is a message for the person.
        reason: String,
        /// Which error, where the Action names one.
        code: Option<String>,
        /// For the person.
        user_message: Option<String>,
    },
    /// The browser leaves.
    Redirected {
        /// To where, without the `state` that is added.
        url: String,
    },
}

/// Whether what is asked for in this flow travels through a browser.
pub(super) fn travels(event: &Value) -> bool {
    let protocol = event.pointer("/transaction/protocol").and_then(Value::as_str);
    protocol.is_some_and(|protocol| protocol.starts_with("oidc-"))
}

/// Reads what one Action asked for as the flows do: what becomes of one that runs it alone, or why it is not heard.
pub fn judge(trigger: ActionTrigger, event: &Value, commands: &[Value]) -> Result<Verdict, &'static str> {
    let mut effects = Effects::default();
    effects.take(trigger, commands, travels(event)).map_err(|unheard| unheard.0)?;
    Ok(match (effects.denied, effects.redirect) {
        (Some(Denied { code, reason, user_message }), _) => Verdict::Denied { reason, code, user_message },
        (None, Some(url)) => Verdict::Redirected { url },
        (None, None) => Verdict::Through,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(trigger: ActionTrigger, commands: Value) -> Result<Effects, Unheard> {
        let mut effects = Effects::default();
        effects.take(trigger, commands.as_array().expect("a list"), false).map(|()| effects)
    }

    fn post_login(commands: Value) -> Effects {
        heard(ActionTrigger::PostLogin, commands).expect("it is heard")
    }

    #[test]
    fn the_first_no_counts_and_everything_else_is_heard_as_well() {
        let effects = post_login(json!([
            {"type": "access.deny", "args": ["not today"]},
            {"type": "access.deny", "args": ["nor tomorrow"]},
            {"type": "user.setAppMetadata", "args": ["a", {"b": 1}]},
            {"type": "user.setUserMetadata", "args": ["c", null]},
        ]));
        assert_eq!(effects.denied.map(|denied| denied.reason).as_deref(), Some("not today"));
        assert_eq!(Value::Object(effects.app_metadata), json!({"a": {"b": 1}}));
        assert_eq!(Value::Object(effects.user_metadata), json!({"c": null}));
    }

    #[test]
    fn claims_of_the_server_are_not_set() {
        let effects = post_login(json!([
            {"type": "accessToken.setCustomClaim", "args": ["sub", "somebody else"]},
            {"type": "accessToken.setCustomClaim", "args": ["cfw", {}]},
            {"type": "accessToken.setCustomClaim", "args": ["https://x.auth0.com/a", 1]},
            {"type": "accessToken.setCustomClaim", "args": ["urn:auth0:a", 1]},
            {"type": "accessToken.setCustomClaim", "args": ["https://auth0.com.example/a", 1]},
            {"type": "accessToken.setCustomClaim", "args": ["https://notauth0.com/a", 2]},
            {"type": "idToken.setCustomClaim", "args": ["color", "red"]},
            {"type": "idToken.setCustomClaim", "args": ["color", null]},
            {"type": "idToken.setCustomClaim", "args": ["nickname", "Ada"]},
        ]));
        assert_eq!(
            Value::Object(effects.access_claims),
            json!({"https://auth0.com.example/a": 1, "https://notauth0.com/a": 2})
        );
        assert_eq!(Value::Object(effects.id_claims), json!({"nickname": "Ada"}));
    }

    #[test]
    fn of_several_ends_the_earliest_counts_and_of_several_modes_the_last() {
        let effects = post_login(json!([
            {"type": "session.setExpiresAt", "args": [2000]},
            {"type": "session.setExpiresAt", "args": [1000.9]},
            {"type": "session.setCookieMode", "args": ["persistent"]},
            {"type": "session.setCookieMode", "args": ["non-persistent"]},
            {"type": "refreshToken.setIdleExpiresAt", "args": [3000]},
        ]));
        assert_eq!(effects.session.expires_at, Some(1_000_000));
        assert_eq!(effects.persistent, Some(false));
        assert_eq!(effects.refresh_token.idle_expires_at, Some(3_000_000));
    }

    #[test]
    fn scopes_are_added_and_removed_in_order() {
        let effects = post_login(json!([
            {"type": "accessToken.addScope", "args": ["read:x"]},
            {"type": "accessToken.removeScope", "args": ["email"]},
            {"type": "accessToken.removeScope", "args": ["read:y"]},
            {"type": "accessToken.addScope", "args": ["read:y"]},
        ]));
        assert_eq!(effects.scope_of("openid email read:y"), "openid read:x read:y");
    }

    #[test]
    fn what_cannot_be_read_is_not_heard_at_all() {
        for wrong in [
            json!({"type": "access.deny", "args": []}),
            json!({"type": "access.deny", "args": ["code", "reason"]}),
            json!({"type": "access.deny", "args": ["x".repeat(5000)]}),
            json!({"type": "access.deny", "args": ["reason"], "more": 1}),
            json!({"type": "access.deny"}),
            json!({"type": "no.such", "args": []}),
            json!({"type": "session.setExpiresAt", "args": ["tomorrow"]}),
            json!({"type": "session.setExpiresAt", "args": [-1]}),
            json!({"type": "session.setExpiresAt", "args": [1e300]}),
            json!({"type": "session.setMetadata", "args": ["a", 1]}),
            json!({"type": "session.evictMetadata", "args": [1]}),
            json!({"type": "session.revoke", "args": ["x", {"other": true}]}),
            json!({"type": "accessToken.addScope", "args": ["two scopes"]}),
            json!({"type": "accessToken.setCustomClaim", "args": ["a", "x".repeat(200_000)]}),
            json!({"type": "user.setAppMetadata", "args": ["a", "x".repeat(40_000)]}),
            json!({"type": "redirect.sendUserTo", "args": ["javascript:alert(1)"]}),
            json!({"type": "redirect.sendUserTo", "args": ["https://x.example/\r\nset-cookie: a"]}),
            json!({"type": "transaction.setMetadata", "args": ["a", {}]}),
            json!("access.deny"),
            json!(null),
        ] {
            let before = json!({"type": "user.setAppMetadata", "args": ["kept", 1]});
            let outcome = heard(ActionTrigger::PostLogin, json!([before, wrong]));
            assert!(outcome.is_err(), "{wrong}");
        }
        // What Actions before it asked for still counts.
        let mut effects = post_login(json!([{"type": "user.setAppMetadata", "args": ["kept", 1]}]));
        let wrong = [json!({"type": "user.setAppMetadata", "args": ["lost", 1]}), json!(null)];
        assert!(effects.take(ActionTrigger::PostLogin, &wrong, false).is_err());
        assert_eq!(Value::Object(effects.app_metadata), json!({"kept": 1}));
        let many = vec![json!({"type": "access.deny", "args": ["no"]}); COMMANDS_MAX + 1];
        assert!(heard(ActionTrigger::PostLogin, json!(many)).is_err());
    }

    #[test]
    fn a_trigger_hears_what_it_has() {
        let deny = json!([{"type": "access.deny", "args": ["invalid_scope", "not you"]}]);
        let effects = heard(ActionTrigger::CredentialsExchange, deny).expect("it is heard");
        assert_eq!(effects.denied.and_then(|denied| denied.code).as_deref(), Some("invalid_scope"));
        for (trigger, wrong) in [
            (
                ActionTrigger::CredentialsExchange,
                json!({"type": "access.deny", "args": ["other", "not you"]}),
            ),
            (ActionTrigger::CredentialsExchange, json!({"type": "session.revoke", "args": [null, {}]})),
            (ActionTrigger::PreUserRegistration, json!({"type": "accessToken.addScope", "args": ["a"]})),
            (ActionTrigger::PostUserRegistration, json!({"type": "access.deny", "args": ["no", null]})),
        ] {
            assert!(heard(trigger, json!([wrong])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_browser_is_sent_to_one_place() {
        let effects = post_login(json!([
            {"type": "redirect.sendUserTo", "args": ["https://first.example/"]},
            {"type": "redirect.sendUserTo", "args": ["https://second.example/"]},
        ]));
        assert_eq!(effects.redirect.as_deref(), Some("https://first.example/"));
    }

    #[test]
    fn what_travels_through_a_browser_has_to_fit() {
        let claims = |bytes: usize| {
            let value = "x".repeat(bytes / 2);
            json!([
                {"type": "idToken.setCustomClaim", "args": ["a", value]},
                {"type": "accessToken.setCustomClaim", "args": ["b", value]},
            ])
        };
        let take = |before: &[Value], commands: &Value, travels| {
            let mut effects = Effects::default();
            effects.take(ActionTrigger::PostLogin, before, travels)?;
            effects.take(ActionTrigger::PostLogin, commands.as_array().expect("a list"), travels)
        };
        assert_eq!(take(&[], &claims(CARRIED_BYTES_MAX - 100), true), Ok(()));
        assert!(take(&[], &claims(CARRIED_BYTES_MAX), true).is_err());
        assert_eq!(take(&[], &claims(CARRIED_BYTES_MAX), false), Ok(()), "where tokens are answered at once");
        // Those of Actions before it count as well.
        let before = claims(CARRIED_BYTES_MAX - 100);
        let more = json!([{"type": "idToken.setCustomClaim", "args": ["c", "x".repeat(200)]}]);
        assert!(take(before.as_array().expect("a list"), &more, true).is_err());
        // Everything that was asked for waits while the person is elsewhere.
        let away = |bytes: usize| {
            json!([
                {"type": "user.setAppMetadata", "args": ["a", "x".repeat(bytes)]},
                {"type": "redirect.sendUserTo", "args": ["https://terms.example/"]},
            ])
        };
        assert_eq!(take(&[], &away(WAITING_BYTES_MAX - 500), true), Ok(()));
        assert!(take(&[], &away(WAITING_BYTES_MAX), true).is_err());
        let stays = json!([{"type": "user.setAppMetadata", "args": ["a", "x".repeat(WAITING_BYTES_MAX)]}]);
        assert_eq!(take(&[], &stays, true), Ok(()));
    }

    #[test]
    fn metadata_of_a_transaction_have_a_limit_in_all() {
        let set = |key: &str, bytes: usize| json!({"type": "transaction.setMetadata", "args": [key, "\n".repeat(bytes)]});
        // What has to be escaped in JSON counts as it is.
        assert!(heard(ActionTrigger::PostLogin, json!([set("a", 8192), set("b", 8190)])).is_ok());
        assert!(
            heard(ActionTrigger::PostLogin, json!([set("a", 8192), set("b", 8192), set("c", 1024)])).is_err()
        );
    }

    #[test]
    fn metadata_are_held_to_their_rules() {
        let set = |key: &str, value: &str| MetadataChange::Set(key.to_owned(), value.to_owned());
        let stored = Some(r#"{"a":"1","b":"2"}"#);
        let applied = MetadataChange::apply(&[set("c", "3"), MetadataChange::Delete("a".into())], stored);
        assert_eq!(applied, Ok(Some(r#"{"b":"2","c":"3"}"#.to_owned())));
        assert_eq!(MetadataChange::apply(&[MetadataChange::Evict], stored), Ok(None));
        assert!(MetadataChange::apply(&[set("no spaces", "3")], stored).is_err());
        assert!(MetadataChange::apply(&[set("c", &"x".repeat(256))], stored).is_err());
    }
}
