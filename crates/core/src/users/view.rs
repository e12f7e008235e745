//! A user as the Management API answers it, and as streams are told of it.

use curfew_model::Failure;
use curfew_model::config::read_doc;
use curfew_store::users::{IdentityRow, UserRow};
use serde_json::{Map, Value, json};

/// The user as the API answers it.
///
/// `connection` names a connection by its id; one that it does not know is named by that.
pub(crate) fn view(
    connection: &dyn Fn(&str) -> Option<String>,
    row: &UserRow,
    identities: &[IdentityRow],
) -> Result<Map<String, Value>, Failure> {
    let mut doc: Map<String, Value> = read_doc("users", row.user_id.as_str(), &row.doc)?;
    doc.insert("user_id".into(), json!(row.user_id));
    doc.insert("created_at".into(), json!(row.created_at.iso()));
    doc.insert("updated_at".into(), json!(row.updated_at.iso()));
    doc.insert(
        "identities".into(),
        identities
            .iter()
            .map(|identity| identity_view(connection, identity))
            .collect::<Result<Value, _>>()?,
    );
    if let Some(blocked) = row.blocked {
        doc.insert("blocked".into(), json!(blocked));
    }
    if row.logins_count > 0 {
        doc.insert("logins_count".into(), json!(row.logins_count));
    }
    if let Some(at) = row.last_login {
        doc.insert("last_login".into(), json!(at.iso()));
    }
    if let Some(ip) = &row.last_ip {
        doc.insert("last_ip".into(), json!(ip));
    }
    // The password a user begins with was never reset.
    let reset =
        identities.first().and_then(|primary| primary.password_set_at).filter(|at| *at > row.created_at);
    if let Some(at) = reset {
        doc.insert("last_password_reset".into(), json!(at.iso()));
    }
    Ok(doc)
}

/// An identity as the API answers it: a secondary one with the profile its user had.
pub(crate) fn identity_view(
    connection: &dyn Fn(&str) -> Option<String>,
    identity: &IdentityRow,
) -> Result<Value, Failure> {
    let name = connection(&identity.connection_id).unwrap_or_else(|| identity.connection_id.clone());
    let mut doc = Map::new();
    doc.insert("connection".into(), json!(name));
    doc.insert("provider".into(), json!(identity.provider));
    doc.insert("user_id".into(), json!(identity.identity_id));
    doc.insert("isSocial".into(), json!(false));
    if identity.position > 0 {
        const PROFILE: [&str; 10] = [
            "email",
            "email_verified",
            "name",
            "username",
            "given_name",
            "family_name",
            "nickname",
            "picture",
            "phone_number",
            "phone_verified",
        ];
        let mut profile: Map<String, Value> =
            read_doc("identities", &identity.identity_id, &identity.profile)?;
        profile.retain(|name, _| PROFILE.contains(&name.as_str()));
        doc.insert("profileData".into(), Value::Object(profile));
    }
    Ok(Value::Object(doc))
}
