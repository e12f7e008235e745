//! `POST /oauth/revoke` (RFC 7009). Refresh tokens only, as at Auth0.

use std::sync::Arc;

use curfew_model::{Ctx, Decision, EndingCause, Failure, OAuthCode, Refusal};
use curfew_store::{Lane, families};
use curfew_tokens::SealKind;
use curfew_tokens::opaque::RefreshTokenValue;

use crate::Core;
use crate::clients::{self, ClientCredentials};
use crate::endings::{self, Actor, Ending, Target};
use crate::grants::Parameters;
use crate::grants::authorization_code::secret_matches;

/// Revokes a refresh token: its family, or with the tenant's flag `revoke_refresh_token_grant` all that the client
/// holds for the user at that API.
///
/// Steps: 1 authenticate the client, 2 read the token, 3 a foreign client's token is refused and ends nothing, 4 end.
/// An unknown token is answered as if it had been revoked (RFC 7009 §2.2).
pub async fn revoke(
    core: &Core,
    ctx: &Ctx,
    credentials: &ClientCredentials,
    parameters: &Parameters,
) -> Result<Decision<()>, Failure> {
    let (config, client) = match clients::authenticate(core, ctx, credentials).await? {
        Decision::Granted(granted) => granted,
        Decision::Refused(refusal) => return Ok(Decision::Refused(refusal)),
    };
    let token = match parameters.require("token") {
        Ok(token) => token,
        Err(refusal) => return Ok(Decision::Refused(refusal)),
    };
    let unsealed = config.sealing.unseal(SealKind::RefreshToken, config.tenant, token).ok();
    let Some(value) = unsealed.and_then(|unsealed| RefreshTokenValue::decode(&unsealed.plaintext)) else {
        return Ok(Decision::Granted(()));
    };
    let whole_grant = config.settings.flags.revoke_refresh_token_grant;
    let arguments = (ctx.clone(), Arc::clone(&client), value, whole_grant);
    core.store
        .transact(Lane::Endings, arguments, |tx, (ctx, client, value, whole_grant)| {
            Box::pin(async move {
                let id = value.family_id();
                let Some(row) = families::find(tx, ctx.tenant, &id).await? else {
                    return Ok(Decision::Granted(()));
                };
                if !secret_matches(&row.secret_hash, value.secret_hash().as_bytes()) {
                    return Ok(Decision::Granted(()));
                }
                if row.client_id != client.id {
                    let text = "Token was not issued to this client";
                    return Ok(Decision::Refused(Refusal::new(OAuthCode::InvalidRequest, text)));
                }
                let target = if *whole_grant {
                    Target::UserClient {
                        user: id.user,
                        client: client.id.clone(),
                        audience: Some(row.audience.clone().unwrap_or_default()),
                    }
                } else {
                    Target::Family(id)
                };
                let actor = Actor::Client(client.id.clone());
                endings::end(tx, ctx, &Ending::new(revoke_cause(*whole_grant), target, actor)).await?;
                Ok(Decision::Granted(()))
            })
        })
        .await
}

/// The whole grant falls by the row of a client's families, one token by its own.
const fn revoke_cause(whole_grant: bool) -> EndingCause {
    if whole_grant { EndingCause::ClientFamiliesRevoked } else { EndingCause::TokenRevoked }
}
