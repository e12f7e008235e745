//! Signing keys: the next one is published before it is used, a rotation moves each one on, a revoked one verifies
//! nothing.

use curfew_model::{Ctx, EndingCause, Failure, Secret};
use curfew_store::signing_keys::{self as rows, KeyState, NewSigningKey, SigningKeyRow};
use curfew_store::{Lane, Tx};
use curfew_tokens::cert::Certificate;
use curfew_tokens::key::new_kid;
use curfew_tokens::{SigningAlg, SigningKey};
use serde_json::{Value, json};

use super::write::Write;
use super::{Document, Entity, Outcome, Refused, granted};
use crate::Core;
use crate::config::signing_label;
use crate::endings::{self, Ending, Target};

/// How long the certificates say they are valid. Nobody checks it: keys end by rotation and revocation.
const CERTIFICATE_SECONDS: i64 = 5000 * 86_400;

/// The two keys an algorithm begins with.
#[derive(Debug)]
pub(super) struct Pair {
    current: NewSigningKey,
    next: NewSigningKey,
}

/// Makes a key: private part wrapped, certificate signed by itself.
pub(super) async fn make(core: &Core, ctx: &Ctx, alg: SigningAlg) -> Result<NewSigningKey, Failure> {
    let generated = tokio::task::spawn_blocking(move || SigningKey::generate(alg))
        .await
        .map_err(|_| Failure::Crypto("a signing key could not be generated".into()))??;
    let kid = new_kid(&*ctx.entropy);
    let key = SigningKey::from_pkcs8(&kid, alg, generated.pkcs8.expose())?;
    let host = host_of(&ctx.issuer);
    let certificate =
        Certificate::self_signed(&key, host, ctx.now, ctx.now.plus_seconds(CERTIFICATE_SECONDS))?;
    let label = signing_label(ctx.tenant, &kid);
    let wrapped = core.kek.wrap(&label, generated.pkcs8.expose(), &*ctx.entropy);
    Ok(NewSigningKey {
        kid,
        alg: alg.as_str(),
        wrapped: Secret::new(wrapped),
        certificate: certificate.pem(),
    })
}

/// `https://HOST:PORT/` without scheme, port and path.
fn host_of(issuer: &str) -> &str {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    rest.split(['/', ':']).next().filter(|host| !host.is_empty()).unwrap_or("localhost")
}

/// Makes the keys of an algorithm that is wanted and has none yet.
pub(super) async fn make_if_missing(
    core: &Core,
    ctx: &Ctx,
    wanted: Option<SigningAlg>,
) -> Result<Option<Pair>, Failure> {
    let Some(alg) = wanted else { return Ok(None) };
    if core.tenant(ctx.tenant).await?.signing_key(alg).is_ok() {
        return Ok(None);
    }
    Ok(Some(Pair { current: make(core, ctx, alg).await?, next: make(core, ctx, alg).await? }))
}

/// Stores what [`make_if_missing`] made, unless another request was first. The tenant's row is taken first, so this
/// comes before the rows of clients.
pub(super) async fn store_new(tx: &mut Tx, ctx: &Ctx, pair: &Option<Pair>) -> Result<(), Failure> {
    let Some(pair) = pair else { return Ok(()) };
    curfew_store::tenants::touch(tx, ctx.tenant).await?;
    rows::insert(tx, ctx, &pair.current, KeyState::Current).await?;
    rows::insert(tx, ctx, &pair.next, KeyState::Next).await.map(drop)
}

fn certificate(row: &SigningKeyRow) -> Result<Certificate, Failure> {
    Certificate::from_pem(&row.certificate).ok_or_else(|| Failure::Inconsistent {
        table: "signing_keys",
        column: "certificate",
        id: row.kid.clone(),
    })
}

fn view(row: &SigningKeyRow) -> Result<Document, Failure> {
    let certificate = certificate(row)?;
    let mut doc = Document::new();
    doc.insert("kid".into(), json!(row.kid));
    doc.insert("cert".into(), json!(certificate.pem()));
    doc.insert("pkcs7".into(), json!(certificate.pkcs7()));
    doc.insert("fingerprint".into(), json!(certificate.fingerprint()));
    doc.insert("thumbprint".into(), json!(certificate.thumbprint()));
    for (name, state) in
        [("current", KeyState::Current), ("next", KeyState::Next), ("previous", KeyState::Previous)]
    {
        doc.insert(name.into(), json!(row.state == state));
    }
    doc.insert("revoked".into(), json!(row.state == KeyState::Revoked));
    for (name, at) in [
        ("current_since", row.current_since),
        ("current_until", row.current_until),
        ("revoked_at", row.revoked_at),
    ] {
        if let Some(at) = at {
            doc.insert(name.into(), json!(at.iso()));
        }
    }
    Ok(doc)
}

fn short(kid: &str, certificate: &Certificate) -> Document {
    let mut doc = Document::new();
    doc.insert("kid".into(), json!(kid));
    doc.insert("cert".into(), Value::String(certificate.pem()));
    doc
}

/// `GET /keys/signing`, the current ones first.
pub async fn list(core: &Core, ctx: &Ctx) -> Result<Vec<Document>, Failure> {
    let mut keys = core.store.read(ctx.tenant, |tx, tenant| Box::pin(rows::list(tx, *tenant))).await?;
    keys.sort_by_key(|row| match row.state {
        KeyState::Current => 0,
        KeyState::Next => 1,
        KeyState::Previous => 2,
        KeyState::Revoked => 3,
    });
    keys.iter().map(view).collect()
}

/// `GET /keys/signing/{kid}`.
pub async fn get(core: &Core, ctx: &Ctx, kid: String) -> Outcome<Document> {
    let found = core
        .store
        .read((ctx.tenant, kid), |tx, (tenant, kid)| Box::pin(rows::find(tx, *tenant, kid)))
        .await?;
    match found {
        Some(row) => Ok(Ok(view(&row)?)),
        None => Ok(Err(Refused::Inexistent(Entity::SigningKey))),
    }
}

/// `POST /keys/signing/rotate`: for each algorithm next becomes current, current becomes previous, and a new key is
/// published as next. Answers the new next key, as Auth0 does; of several algorithms that of RS256.
pub async fn rotate(core: &Core, ctx: &Ctx, write: Write) -> Result<Document, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let mut fresh = Vec::new();
    for alg in SigningAlg::ALL {
        if config.signing_key(*alg).is_ok() {
            fresh.push(make(core, ctx, *alg).await?);
        }
    }
    let answer = match fresh.first() {
        Some(key) => {
            let certificate = Certificate::from_pem(&key.certificate)
                .ok_or_else(|| Failure::Crypto("a new certificate does not read".into()))?;
            short(&key.kid, &certificate)
        }
        None => return Err(Failure::Crypto("the tenant has no signing key".into())),
    };
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, fresh), |tx, (ctx, write, fresh)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                for key in fresh {
                    rows::retire_current(tx, ctx, key.alg).await?;
                    follow(tx, ctx, key).await?;
                }
                write.log(tx, ctx).await
            })
        })
        .await?;
    Ok(answer)
}

/// The current key has gone: the next one follows, and `key` is published in its place.
async fn follow(tx: &mut Tx, ctx: &Ctx, key: &NewSigningKey) -> Result<(), Failure> {
    let state = if rows::promote_next(tx, ctx, key.alg).await? { KeyState::Next } else { KeyState::Current };
    rows::insert(tx, ctx, key, state).await.map(drop)
}

/// `PUT /keys/signing/{kid}/revoke`: what it signed is refused from now on. A revoked current or next key is
/// followed by another at once, so that the tenant can always sign.
pub async fn revoke(core: &Core, ctx: &Ctx, write: Write, kid: String) -> Outcome<Document> {
    let found = core
        .store
        .read((ctx.tenant, kid.clone()), |tx, (tenant, kid)| Box::pin(rows::find(tx, *tenant, kid)))
        .await?;
    let Some(row) = found else { return Ok(Err(Refused::Inexistent(Entity::SigningKey))) };
    let answer = short(&row.kid, &certificate(&row)?);
    let substitute = match (row.state, SigningAlg::parse(&row.alg)) {
        (KeyState::Current | KeyState::Next, Some(alg)) => Some(make(core, ctx, alg).await?),
        _ => None,
    };
    let revoked = core
        .store
        .transact(
            Lane::Endings,
            (ctx.clone(), write, kid, substitute),
            |tx, (ctx, write, kid, substitute)| {
                Box::pin(async move {
                    curfew_store::tenants::touch(tx, ctx.tenant).await?;
                    let Some(row) = rows::find(tx, ctx.tenant, kid).await? else {
                        return Ok(Err(Refused::Inexistent(Entity::SigningKey)));
                    };
                    let newly = rows::revoke(tx, ctx, kid).await?;
                    // States only move on, so a key that is current or next now was so when the substitute was made.
                    match (row.state, substitute) {
                        (KeyState::Current, Some(key)) => follow(tx, ctx, key).await?,
                        (KeyState::Next, Some(key)) => {
                            rows::insert(tx, ctx, key, KeyState::Next).await?;
                        }
                        _ => {}
                    }
                    write.log(tx, ctx).await?;
                    if newly {
                        let target = Target::SigningKey { kid: kid.clone() };
                        let ending =
                            Ending::new(EndingCause::SigningKeyRevoked, target, write.caller.actor());
                        endings::end(tx, ctx, &ending).await?;
                    }
                    Ok(Ok(()))
                })
            },
        )
        .await?;
    granted!(revoked);
    Ok(Ok(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_name_is_the_bare_host() {
        assert_eq!(host_of("https://id.example/"), "id.example");
        assert_eq!(host_of("http://localhost:8080/"), "localhost");
        assert_eq!(host_of(""), "localhost");
    }
}
