//! The credential step: an identifier and a password. The work is the same whether or not the user exists.

use curfew_model::config::Connection;
use curfew_model::{Ctx, Failure, LogCode, Secret};
use curfew_store::Lane;
use curfew_store::users::{self, LoginRow};
use serde_json::json;

use super::{normalize_email, normalize_username};
use crate::Core;
use crate::logs::LogEntry;
use crate::passwords::{PASSWORD_BYTES_MAX, Verified};
use crate::sessions::Authenticated;

/// What a credential step found out.
#[derive(Debug)]
pub enum Checked {
    /// The person is who they say. `blocked` is decided by the caller, after the login was counted.
    Right {
        /// Who it is, with the counter that was read before the password was verified.
        person: Authenticated,
        /// Whether an administrator blocked the user.
        blocked: bool,
    },
    /// Wrong password or no such user: nobody outside learns which.
    Wrong,
}

/// Checks an identifier and a password in the connections a login may use.
///
/// Steps: 1 read the user behind the identifier, in the first connection that has one, with the counter, 2 verify, with the same work when there is none,
/// 3 replace an outdated hash. What ends the user's access between 1 and the session is seen by the counter.
pub async fn check_password(
    core: &Core,
    ctx: &Ctx,
    connections: &[&Connection],
    client_id: &str,
    identifier: &str,
    password: &Secret<String>,
) -> Result<Checked, Failure> {
    let found = find(core, ctx, connections, identifier).await?;
    let too_long = password.expose().len() > PASSWORD_BYTES_MAX;
    let presented = if too_long { Secret::new(String::new()) } else { password.clone() };
    let hash = found.as_ref().and_then(|(row, _)| row.password_hash.clone());
    let verified = core.passwords.verify(&presented, hash.clone().filter(|_| !too_long)).await?;
    let Some((row, connection_id)) = found else {
        log_failure(core, ctx, LogCode::UnknownUser, None, client_id, "Unknown user");
        return Ok(Checked::Wrong);
    };
    if verified == Verified::Wrong {
        let user_id = Some(row.user_id.as_str());
        log_failure(core, ctx, LogCode::WrongPassword, user_id, client_id, "Wrong email or password.");
        return Ok(Checked::Wrong);
    }
    if let (Verified::RightButOld, Some(old)) = (verified, hash) {
        rehash(core, ctx, &row, old, password).await?;
    }
    Ok(Checked::Right {
        blocked: row.blocked,
        person: Authenticated {
            user_key: row.user_key,
            user_id: row.user_id,
            counter: row.counter,
            provider: row.provider,
            identity_id: row.identity_id,
            connection_id,
            method: "pwd",
        },
    })
}

async fn find(
    core: &Core,
    ctx: &Ctx,
    connections: &[&Connection],
    identifier: &str,
) -> Result<Option<(LoginRow, String)>, Failure> {
    let ids: Vec<String> = connections.iter().map(|connection| connection.id.clone()).collect();
    let arguments = (ctx.tenant, ids, normalize_email(identifier), normalize_username(identifier));
    core.store
        .read(arguments, |tx, (tenant, ids, email, username)| {
            Box::pin(async move {
                for id in ids {
                    for (kind, value) in [("email", &*email), ("username", &*username)] {
                        let Some(value) = value else { continue };
                        if let Some(row) = users::find_login(tx, *tenant, id, kind, value).await? {
                            return Ok(Some((row, id.clone())));
                        }
                    }
                }
                Ok(None)
            })
        })
        .await
}

async fn rehash(
    core: &Core,
    ctx: &Ctx,
    row: &LoginRow,
    old: String,
    password: &Secret<String>,
) -> Result<(), Failure> {
    let new = core.passwords.hash(password).await?;
    let arguments = (ctx.tenant, row.clone(), old, new);
    core.store
        .transact(Lane::Ordinary, arguments, |tx, (tenant, row, old, new)| {
            let identity = (row.provider.as_str(), row.identity_id.as_str());
            Box::pin(users::rehash(tx, *tenant, &row.user_key, identity, (old, new)))
        })
        .await
}

fn log_failure(core: &Core, ctx: &Ctx, code: LogCode, user_id: Option<&str>, client_id: &str, text: &str) {
    core.logs.send(
        ctx,
        &LogEntry { code, user_id, client_id: Some(client_id), description: text, details: json!({}) },
    );
}
