//! Client credentials: public keys that clients authenticate with (`private_key_jwt`).

use curfew_model::{ClientId, Ctx, Failure, Timestamp};
use curfew_store::Lane;
use curfew_store::clients::CredentialRow;
use curfew_tokens::{JwsAlg, PublicKey};
use serde_json::{Value, json};

use super::write::Write;
use super::{Document, Entity, Outcome, Refused, drop_nulls, granted, stored, text};
use crate::Core;

/// Most credentials of one client.
const PER_CLIENT_MAX: usize = 10;

/// A credential that is to be stored.
#[derive(Debug, Clone)]
pub(super) struct New {
    pub(super) id: String,
    pub(super) doc: Document,
}

/// Checks what was sent and makes the document: the key must be one, and gets its thumbprint as `kid` when none is
/// sent.
fn make(ctx: &Ctx, mut doc: Document) -> Result<New, Refused> {
    drop_nulls(&mut doc);
    if doc.get("credential_type").and_then(Value::as_str) != Some("public_key") {
        return Err(Refused::not_supported("Only credentials of type public_key are supported."));
    }
    if doc.get("parse_expiry_from_cert").and_then(Value::as_bool) == Some(true) {
        return Err(Refused::not_supported("parse_expiry_from_cert is not supported; send expires_at."));
    }
    let Some(pem) = doc.get("pem").and_then(Value::as_str) else {
        return Err(Refused::Invalid {
            message: "Payload validation error: 'Missing required property: pem'.".to_owned(),
            code: "invalid_body",
        });
    };
    let alg = doc.get("alg").and_then(Value::as_str).unwrap_or("RS256").to_owned();
    let jws_alg = JwsAlg::parse(&alg).filter(|alg| *alg != JwsAlg::HS256);
    let key = jws_alg.and_then(|alg| PublicKey::from_pem_or_der(pem.as_bytes(), alg, None).ok());
    let Some(key) = key else {
        return Err(Refused::property("Not a public key that is supported for this algorithm", "pem"));
    };
    let kid = match doc.get("kid").and_then(Value::as_str) {
        Some(kid) => kid.to_owned(),
        None => key.thumbprint(),
    };
    check_expiry(ctx, &doc)?;
    doc.insert("alg".into(), json!(alg));
    doc.insert("kid".into(), json!(kid));
    doc.insert("updated_at".into(), json!(ctx.now.iso()));
    Ok(New { id: format!("cred_{}", ctx.entropy.alphanumeric(22)), doc })
}

fn check_expiry(ctx: &Ctx, doc: &Document) -> Result<(), Refused> {
    match doc.get("expires_at").and_then(Value::as_str).map(Timestamp::parse_iso) {
        None => Ok(()),
        Some(Some(at)) if at > ctx.now => Ok(()),
        Some(_) => Err(Refused::property("Must be an instant to come", "expires_at")),
    }
}

/// Takes credentials that are sent with a new client out of its document and leaves their ids.
pub(super) fn inline(ctx: &Ctx, client: &mut Document) -> Result<Vec<New>, Refused> {
    const PROPERTY: &str = "client_authentication_methods.private_key_jwt.credentials";
    let Some(sent) = client
        .get_mut("client_authentication_methods")
        .and_then(|methods| methods.get_mut("private_key_jwt"))
        .and_then(|method| method.get_mut("credentials"))
        .and_then(Value::as_array_mut)
    else {
        return Ok(Vec::new());
    };
    if sent.len() > PER_CLIENT_MAX {
        return Err(Refused::property("Too many credentials", PROPERTY));
    }
    let mut made: Vec<New> = Vec::new();
    for entry in sent.iter_mut() {
        let Value::Object(doc) = entry.take() else {
            return Err(Refused::property("Expected type object", PROPERTY));
        };
        let new = make(ctx, doc)?;
        if made.iter().any(|other| other.doc.get("kid") == new.doc.get("kid")) {
            return Err(Refused::property("Two credentials with one kid", PROPERTY));
        }
        *entry = json!({ "id": new.id });
        made.push(new);
    }
    Ok(made)
}

/// The credential as the API answers it: without the key.
fn view(id: &str, mut doc: Document, created_at: Timestamp) -> Document {
    for hidden in ["pem", "parse_expiry_from_cert"] {
        doc.remove(hidden);
    }
    doc.insert("id".into(), json!(id));
    doc.insert("created_at".into(), json!(created_at.iso()));
    doc
}

fn row_view(row: &CredentialRow) -> Result<Document, Failure> {
    Ok(view(&row.id, stored("client_credentials", &row.id, &row.doc)?, row.created_at))
}

/// `POST /clients/{client_id}/credentials`.
pub async fn create(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    client: ClientId,
    sent: Document,
) -> Outcome<Document> {
    let new = granted!(make(ctx, sent));
    let answer = view(&new.id, new.doc.clone(), ctx.now);
    let created = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, client, new), |tx, (ctx, write, client, new)| {
            Box::pin(async move {
                if !curfew_store::clients::touch(tx, ctx.tenant, client).await? {
                    return Ok(Err(Refused::Inexistent(Entity::Client)));
                }
                let own = curfew_store::clients::list_credentials(tx, ctx.tenant, client).await?;
                if own.len() >= PER_CLIENT_MAX {
                    return Ok(Err(Refused::not_supported(
                        "The client has as many credentials as it may have.",
                    )));
                }
                for row in own {
                    if stored("client_credentials", &row.id, &row.doc)?.get("kid") == new.doc.get("kid") {
                        return Ok(Err(Refused::exists("A credential with the same kid already exists.")));
                    }
                }
                curfew_store::clients::insert_credential(tx, ctx, client, &new.id, &text(&new.doc)?).await?;
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await?;
    granted!(created);
    Ok(Ok(answer))
}

/// `GET /clients/{client_id}/credentials`.
pub async fn list(core: &Core, ctx: &Ctx, client: ClientId) -> Outcome<Vec<Document>> {
    let rows = core
        .store
        .read((ctx.tenant, client), |tx, (tenant, client)| {
            Box::pin(async move {
                if curfew_store::clients::find(tx, *tenant, client).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::Client)));
                }
                curfew_store::clients::list_credentials(tx, *tenant, client).await.map(Ok)
            })
        })
        .await?;
    Ok(Ok(granted!(rows).iter().map(row_view).collect::<Result<_, _>>()?))
}

/// `GET /clients/{client_id}/credentials/{credential_id}`.
pub async fn get(core: &Core, ctx: &Ctx, client: ClientId, id: String) -> Outcome<Document> {
    let row = core
        .store
        .read((ctx.tenant, client, id), |tx, (tenant, client, id)| {
            Box::pin(curfew_store::clients::find_credential(tx, *tenant, client, id))
        })
        .await?;
    match row {
        Some(row) => Ok(Ok(row_view(&row)?)),
        None => Ok(Err(Refused::Inexistent(Entity::Credential))),
    }
}

/// `PATCH /clients/{client_id}/credentials/{credential_id}`: only when it expires.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    client: ClientId,
    id: String,
    sent: Document,
) -> Outcome<Document> {
    granted!(check_expiry(ctx, &sent));
    let row = core
        .store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), write, client, id, sent),
            |tx, (ctx, write, client, id, sent)| {
                Box::pin(async move {
                    if !curfew_store::clients::touch(tx, ctx.tenant, client).await? {
                        return Ok(Err(Refused::Inexistent(Entity::Client)));
                    }
                    let Some(row) =
                        curfew_store::clients::find_credential(tx, ctx.tenant, client, id).await?
                    else {
                        return Ok(Err(Refused::Inexistent(Entity::Credential)));
                    };
                    let mut doc = stored("client_credentials", id, &row.doc)?;
                    super::merge(&mut doc, sent.clone());
                    doc.insert("updated_at".into(), json!(ctx.now.iso()));
                    let doc = text(&doc)?;
                    curfew_store::clients::update_credential(tx, ctx.tenant, client, id, &doc).await?;
                    write.log(tx, ctx).await?;
                    Ok(Ok(CredentialRow { doc, ..row }))
                })
            },
        )
        .await?;
    Ok(Ok(row_view(&granted!(row))?))
}

/// `DELETE /clients/{client_id}/credentials/{credential_id}`, also of one that is not there. A client that names it
/// names it no more.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, client: ClientId, id: String) -> Outcome<()> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, client, id), |tx, (ctx, write, client, id)| {
            Box::pin(async move {
                if !curfew_store::clients::touch(tx, ctx.tenant, client).await? {
                    return Ok(Err(Refused::Inexistent(Entity::Client)));
                }
                curfew_store::clients::delete_credential(tx, ctx.tenant, client, id).await?;
                if let Some(row) = curfew_store::clients::find(tx, ctx.tenant, client).await? {
                    let mut doc = stored("clients", client.as_str(), &row.doc)?;
                    if forget(&mut doc, id) {
                        let doc = text(&doc)?;
                        curfew_store::clients::update_doc(tx, ctx.tenant, client, &doc, row.version).await?;
                    }
                }
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await
}

/// Takes a credential's id out of the client's document; `false` when it was not named.
fn forget(client: &mut Document, id: &str) -> bool {
    let Some(named) = client
        .get_mut("client_authentication_methods")
        .and_then(|methods| methods.get_mut("private_key_jwt"))
        .and_then(|method| method.get_mut("credentials"))
        .and_then(Value::as_array_mut)
    else {
        return false;
    };
    let before = named.len();
    named.retain(|entry| entry.get("id").and_then(Value::as_str) != Some(id));
    named.len() != before
}
