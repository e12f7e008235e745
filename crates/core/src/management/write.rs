//! The log row of a Management API write, made in the write's own transaction.

use curfew_model::{ClientId, Ctx, Failure, LogCode, UserId};
use curfew_store::Tx;
use serde_json::{Value, json};

use crate::endings::Actor;
use crate::logs::{self, LogEntry};

/// Whose token a Management API request came with.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The client the token was issued to.
    pub client_id: Option<ClientId>,
    /// The user the token is for, when it is a user's.
    pub user_id: Option<UserId>,
    /// The token's `sub`.
    pub sub: String,
    /// The token's `jti`.
    pub jti: Option<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
}

impl Caller {
    /// Whether the token has this scope.
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| own == scope)
    }

    /// The caller as the one who ends something.
    pub fn actor(&self) -> Actor {
        Actor::Management { client_id: self.client_id.as_ref().map(|id| id.0.clone()), sub: self.sub.clone() }
    }
}

/// What is written down of a request that writes.
#[derive(Debug, Clone)]
pub struct Write {
    /// Who asked.
    pub caller: Caller,
    /// What the operation is called: `Create a client`.
    pub summary: &'static str,
    /// `POST`.
    pub method: &'static str,
    /// `/api/v2/clients`.
    pub path: String,
    /// The query parameters.
    pub query: Value,
    /// The body, secrets masked.
    pub body: Value,
    /// What a success answers.
    pub status: u16,
}

/// Names of fields whose values are never written down.
const MASKED: [&str; 11] = [
    "password",
    "client_secret",
    "signing_secret",
    "access_token",
    "access_token_secret",
    "link_with",
    "private_key",
    "password_hash",
    "token",
    "header_value",
    "authorization_header",
];

/// Replaces what must not be written down by `*****`, at every depth.
fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if MASKED.contains(&name.as_str()) && !field.is_null() {
                    *field = json!("*****");
                } else if name == "secrets" {
                    mask_values(field);
                } else {
                    mask(field);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Of the secrets of an Action the names are written down.
fn mask_values(secrets: &mut Value) {
    match secrets {
        Value::Array(list) => {
            for secret in list.iter_mut() {
                if let Some(value) = secret.get_mut("value").filter(|value| !value.is_null()) {
                    *value = json!("*****");
                }
            }
        }
        Value::Null => {}
        other => *other = json!("*****"),
    }
}

impl Write {
    /// Writes the row (`sapi`).
    pub async fn log(&self, tx: &mut Tx, ctx: &Ctx) -> Result<(), Failure> {
        let mut body = self.body.clone();
        mask(&mut body);
        let details = json!({
            "request": {
                "method": self.method.to_ascii_lowercase(),
                "path": self.path,
                "query": self.query,
                "userAgent": ctx.request.user_agent,
                "body": body,
                "channel": "api",
                "ip": ctx.request.ip,
                "auth": {
                    "user": { "user_id": self.caller.user_id },
                    "strategy": "jwt",
                    "credentials": { "jti": self.caller.jti, "scopes": self.caller.scopes },
                },
            },
            "response": { "statusCode": self.status, "body": {} },
        });
        let entry = LogEntry {
            code: LogCode::ManagementWrite,
            user_id: self.caller.user_id.as_ref().map(UserId::as_str),
            client_id: self.caller.client_id.as_ref().map(ClientId::as_str),
            description: self.summary,
            details,
        };
        logs::write(tx, ctx, &entry).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_at_every_depth() {
        let mut body = json!({"email": "a@b.example", "password": "hunter2", "client_secret": null,
            "nested": [{"signing_secret": "s", "refresh_token": {"leeway": 1}}],
            "secrets": [{"name": "KEY", "value": "hunter2"}, {"name": "KEPT"}], "payload": {"secrets": {"KEY": "hunter2"}}});
        mask(&mut body);
        assert_eq!(
            body,
            json!({"email": "a@b.example", "password": "*****", "client_secret": null,
                "nested": [{"signing_secret": "*****", "refresh_token": {"leeway": 1}}],
                "secrets": [{"name": "KEY", "value": "*****"}, {"name": "KEPT"}], "payload": {"secrets": "*****"}})
        );
    }
}
