//! How a user is made: by the Management API, or by signing up.

use std::sync::Arc;

use curfew_model::config::{ActionTrigger, Connection};
use curfew_model::{ClientId, Ctx, Failure, Secret, UserId, UserKey};
use curfew_store::users::{self, UserRow};
use curfew_store::{Lane, Tx};
use serde_json::{Map, Value, json};

use super::{identifiers_of, normalize_email};
use crate::actions::{event, runs};
use crate::changes::{self, Change, UserChange};
use crate::{Core, TenantConfig, passwords};

/// A user that is to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// In which connection.
    pub connection: Connection,
    /// Everything but password and connection: profile, metadata, `email_verified`.
    pub doc: Map<String, Value>,
    /// Without one the user cannot log in until it is set.
    pub password: Option<Secret<String>>,
    /// The id without `auth0|`, if the caller chose it.
    pub identity_id: Option<String>,
    /// Whether the user begins blocked.
    pub blocked: Option<bool>,
}

/// How it went.
#[derive(Debug)]
pub enum Creation {
    /// The user is made.
    Created(Box<UserRow>),
    /// Somebody has the e-mail, the user name or the id.
    Exists,
    /// The password breaks the connection's policy.
    WeakPassword(Vec<passwords::PolicyRule>),
    /// The e-mail is none, or neither e-mail nor user name was given.
    Invalid(&'static str),
}

/// What runs when the user is there.
#[derive(Debug, Clone)]
pub(super) struct After {
    /// The tenant's configuration.
    pub config: Arc<TenantConfig>,
    /// `event`, without `user`.
    pub event: Value,
    /// Where somebody signs up.
    pub client_id: Option<ClientId>,
}

/// Makes a user, past all Actions. The password is hashed before the transaction.
///
/// Steps: 1 defaults, 2 policy, 3 hash, 4 identifiers, then the user (a taken identifier rolls all back).
pub async fn create(core: &Core, ctx: &Ctx, new: NewUser) -> Result<Creation, Failure> {
    create_with(core, ctx, new, None).await
}

/// The same, with what runs when the user is there.
pub(super) async fn create_with(
    core: &Core,
    ctx: &Ctx,
    mut new: NewUser,
    after: Option<After>,
) -> Result<Creation, Failure> {
    if let Some(decided) = judge(&mut new) {
        return Ok(decided);
    }
    let hash = match &new.password {
        Some(password) => Some(core.passwords.hash(password).await?),
        None => None,
    };
    let user_key = UserKey::generate(&*ctx.entropy);
    let identity_id = new.identity_id.clone().unwrap_or_else(|| ctx.entropy.hex(24));
    let followed = after.is_some();
    let arguments = (ctx.clone(), new, hash, user_key, identity_id, after);
    let created = core
        .store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, new, hash, user_key, identity_id, after)| {
            Box::pin(insert(tx, ctx, new, hash.as_deref(), (*user_key, identity_id), after.as_ref()))
        })
        .await;
    match created {
        Ok(row) => {
            if followed {
                core.runs_due.notify_one();
            }
            Ok(Creation::Created(Box::new(row)))
        }
        Err(Failure::Conflict) => Ok(Creation::Exists),
        Err(failure) => Err(failure),
    }
}

/// What can be judged without a database, once the defaults are filled in: a refusal, or nothing.
pub(super) fn judge(new: &mut NewUser) -> Option<Creation> {
    if let Some(fault) = complete(new) {
        return Some(Creation::Invalid(fault));
    }
    let password = new.password.as_ref()?;
    (!passwords::is_acceptable(&new.connection, password.expose()))
        .then(|| Creation::WeakPassword(passwords::check_policy(&new.connection, password.expose())))
}

async fn insert(
    tx: &mut Tx,
    ctx: &Ctx,
    new: &NewUser,
    hash: Option<&str>,
    (user_key, identity_id): (UserKey, &str),
    after: Option<&After>,
) -> Result<UserRow, Failure> {
    let user_id = UserId(format!("auth0|{identity_id}"));
    let doc = Value::Object(new.doc.clone()).to_string();
    let inserted = users::insert(
        tx,
        ctx.tenant,
        &users::NewUser {
            user_key,
            user_id: &user_id,
            provider: "auth0",
            identity_id,
            connection_id: &new.connection.id,
            identifiers: &identifiers_of(&new.doc, &new.connection),
            doc: &doc,
            password_hash: hash,
            blocked: new.blocked,
            now: ctx.now,
        },
    )
    .await?;
    if !inserted {
        return Err(Failure::Conflict);
    }
    let row = users::find(tx, ctx.tenant, &user_key)
        .await?
        .ok_or_else(|| Failure::Internal("a user vanished in its own transaction".into()))?;
    let identities = users::identities(tx, ctx.tenant, &user_key).await?;
    let user = changes::User::of(&row, &identities)?;
    changes::record(tx, ctx, &Change::User(UserChange::Created { user })).await?;
    if let Some(After { config, event, client_id }) = after {
        let mut event = event.clone();
        event["user"] = event::user(config, &row, &identities)?;
        let about = (&row.user_id, client_id.as_ref());
        runs::plan(tx, ctx, ActionTrigger::PostUserRegistration, event, about).await?;
    }
    Ok(row)
}

/// Fills Auth0's defaults in; what is wrong with the document otherwise.
fn complete(new: &mut NewUser) -> Option<&'static str> {
    let doc = &mut new.doc;
    if let Some(email) = doc.get("email").and_then(Value::as_str).map(str::to_owned) {
        let Some(email) = normalize_email(&email) else { return Some("email") };
        let local = email.split('@').next().unwrap_or(&email).to_owned();
        doc.insert("email".to_owned(), json!(email));
        doc.entry("email_verified").or_insert(json!(false));
        doc.entry("name").or_insert_with(|| json!(email));
        doc.entry("nickname").or_insert_with(|| json!(local));
        doc.entry("picture").or_insert_with(|| json!(initials_picture(&email)));
    } else if let Some(username) = doc.get("username").and_then(Value::as_str).map(str::to_owned) {
        doc.entry("name").or_insert_with(|| json!(username));
        doc.entry("nickname").or_insert_with(|| json!(username));
    } else if !doc.contains_key("phone_number") {
        return Some("email or username");
    }
    if new.connection.doc.options.requires_username && !doc.contains_key("username") {
        return Some("username");
    }
    if let Some(username) = doc.get("username").and_then(Value::as_str).map(str::to_owned) {
        let Some(username) = super::normalize_username(&username) else { return Some("username") };
        doc.insert("username".to_owned(), json!(username));
    }
    None
}

/// A picture with the user's initials: Auth0's own fallback address, which needs no third party's profile of the
/// person.
fn initials_picture(email: &str) -> String {
    let initials: String = email.chars().filter(char::is_ascii_alphabetic).take(2).collect();
    format!("https://cdn.auth0.com/avatars/{}.png", if initials.is_empty() { "xx" } else { &initials })
}

/// The document of a user who signs up: only what people may say of themselves.
pub fn signup_document(sent: &Map<String, Value>) -> Map<String, Value> {
    const OWN: [&str; 8] =
        ["email", "username", "given_name", "family_name", "name", "nickname", "picture", "user_metadata"];
    let fits = |name: &str, value: &Value| {
        if name == "user_metadata" { value.is_object() } else { value.is_string() }
    };
    sent.iter()
        .filter(|(name, value)| OWN.contains(&name.as_str()) && fits(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
