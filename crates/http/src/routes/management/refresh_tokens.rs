//! `/refresh-tokens`.

use curfew_core::management::refresh_tokens::{self, Revoke};
use curfew_model::{ClientId, FamilyId, GrantKey, UserId};
use serde_json::Value;

use super::{Answer, Call, fields};
use crate::render::management::Problem;

pub(super) async fn list(call: Call) -> Answer {
    let after = call.checkpoint().await?.and_then(|position| GrantKey::parse(&position.id));
    let user = UserId(call.text("user_id").unwrap_or_default());
    let client = call.text("client_id").map(ClientId);
    let (items, next) =
        refresh_tokens::list_of_user(&call.core, &call.ctx, user, client, after, call.take()).await??;
    let items = items.into_iter().map(|item| Value::Object(fields::select(&call.query, item))).collect();
    call.show_keyed("refresh_tokens", items, next.map(|key| key.to_string())).await
}

pub(super) async fn get(call: Call) -> Answer {
    let token = refresh_tokens::get(&call.core, &call.ctx, &call.param(0)).await??;
    call.show(token)
}

pub(super) async fn patch(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let token = refresh_tokens::update(&call.core, &call.ctx, write, &call.param(0), doc).await??;
    call.show(token)
}

pub(super) async fn delete(call: Call) -> Answer {
    refresh_tokens::delete(&call.core, &call.ctx, call.write(), &call.param(0)).await?;
    call.done()
}

pub(super) async fn revoke(mut call: Call) -> Answer {
    let write = call.write();
    let mut doc = call.document();
    let ids = doc.remove("ids");
    let mut take = |name: &str| match doc.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let revoke = match (ids, take("user_id"), take("client_id"), take("audience")) {
        (Some(Value::Array(ids)), None, None, None) => {
            Revoke::Tokens(ids.iter().filter_map(|id| FamilyId::parse(id.as_str()?)).collect())
        }
        (None, Some(user), None, None) => Revoke::User(UserId(user)),
        (None, Some(user), Some(client), audience) => {
            Revoke::Client { user: UserId(user), client: ClientId(client), audience }
        }
        _ => {
            return Err(Problem::body(
                "Payload validation error: 'Exactly one of ids, user_id, user_id with client_id, or user_id with \
                 client_id and audience is required'.",
            ));
        }
    };
    refresh_tokens::end(&call.core, &call.ctx, write, revoke).await??;
    call.done()
}
