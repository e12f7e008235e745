//! Tenant settings.

use curfew_model::config::TenantSettings;
use curfew_model::{Ctx, Failure};
use curfew_store::Lane;
use serde_json::{Value, json};

use super::write::Write;
use super::{
    Document, Outcome, Refused, default_to, ending_policies, granted, merge, merge_into, readable, stored,
    text,
};
use crate::Core;
use crate::sessions::SESSIONS_MAX;

/// The four life-times, in hours, each with a twin in minutes.
const LIFETIMES: [(&str, &str); 4] = [
    ("session_lifetime", "session_lifetime_in_minutes"),
    ("idle_session_lifetime", "idle_session_lifetime_in_minutes"),
    ("ephemeral_session_lifetime", "ephemeral_session_lifetime_in_minutes"),
    ("idle_ephemeral_session_lifetime", "idle_ephemeral_session_lifetime_in_minutes"),
];

/// What is answered for what was never set.
fn view(mut doc: Document) -> Document {
    for (index, (hours, minutes)) in LIFETIMES.into_iter().enumerate() {
        if !doc.contains_key(minutes) {
            doc.entry(hours).or_insert(json!([168, 72, 72, 24][index]));
        }
    }
    let mut flags = match doc.remove("flags") {
        Some(Value::Object(flags)) => flags,
        _ => Document::new(),
    };
    default_to(
        &mut flags,
        json!({
            "revoke_refresh_token_grant": false,
            "remove_alg_from_jwks": false,
            "enable_public_signup_user_exists_error": false,
            "disable_clickjack_protection_headers": false,
            "enable_client_connections": true,
        }),
    );
    doc.insert("flags".into(), Value::Object(flags));
    default_to(
        &mut doc,
        json!({
            "enabled_locales": ["en"],
            "session_cookie": { "mode": "persistent" },
            "sessions": {},
            "action_executions": { "retention_days": 10 },
            "oidc_logout": { "rp_logout_end_session_endpoint_discovery": true },
            "allowed_logout_urls": [],
            "sandbox_version": "22",
            "authorization_response_iss_parameter_supported": true,
            "pushed_authorization_requests_supported": false,
            "resource_parameter_profile": "audience",
        }),
    );
    if let Some(Value::Object(sessions)) = doc.get_mut("sessions") {
        default_to(sessions, json!({ "oidc_logout_prompt_enabled": true }));
    }
    doc
}

fn hours(doc: &Document, (hours, minutes): (&str, &str), default: f64) -> f64 {
    let number = |name: &str| doc.get(name).and_then(Value::as_f64);
    number(minutes).map(|minutes| minutes / 60.0).or_else(|| number(hours)).unwrap_or(default)
}

fn check(doc: &Document) -> Result<(), Refused> {
    readable::<TenantSettings>(doc)?;
    let limit =
        doc.get("sessions").and_then(|sessions| sessions.get("max_per_user")).filter(|l| !l.is_null());
    if limit
        .is_some_and(|limit| !limit.as_u64().is_some_and(|limit| (1..=SESSIONS_MAX as u64).contains(&limit)))
    {
        let text = format!("Must be an integer from 1 to {SESSIONS_MAX}, or null");
        return Err(Refused::property(&text, "sessions.max_per_user"));
    }
    for (absolute, idle, defaults) in
        [(LIFETIMES[0], LIFETIMES[1], (168.0, 72.0)), (LIFETIMES[2], LIFETIMES[3], (72.0, 24.0))]
    {
        // Only what was set is held against each other: a short absolute limit cuts the default idle one anyway.
        let set = doc.contains_key(idle.0) || doc.contains_key(idle.1);
        if set && hours(doc, idle, defaults.1) > hours(doc, absolute, defaults.0) {
            return Err(Refused::property(
                "The idle life-time must not exceed the absolute life-time",
                idle.0,
            ));
        }
    }
    Ok(())
}

/// Puts what was sent over the settings; hours and minutes of one life-time push each other out.
fn apply(doc: &mut Document, mut sent: Document) -> Result<(), Refused> {
    for (hours, minutes) in LIFETIMES {
        let is_set = |name: &str| sent.get(name).is_some_and(|value| !value.is_null());
        if is_set(hours) && is_set(minutes) {
            return Err(Refused::property(&format!("Must not be set together with {minutes}"), hours));
        }
        if is_set(hours) {
            doc.remove(minutes);
        } else if is_set(minutes) {
            doc.remove(hours);
        }
    }
    for name in ["flags", "sessions", "oidc_logout", "ending_policies"] {
        merge_into(doc, &mut sent, name);
    }
    merge(doc, sent);
    ending_policies::settle(doc)?;
    check(doc)
}

/// `GET /tenants/settings`.
pub async fn get(core: &Core, ctx: &Ctx) -> Result<Document, Failure> {
    let row = core
        .store
        .read(ctx.tenant, |tx, tenant| Box::pin(curfew_store::tenants::get_settings(tx, *tenant)))
        .await?;
    Ok(view(stored("tenants", &row.name, &row.settings)?))
}

/// `PATCH /tenants/settings`.
pub async fn update(core: &Core, ctx: &Ctx, write: Write, sent: Document) -> Outcome<Document> {
    let updated = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, sent), |tx, (ctx, write, sent)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                let row = curfew_store::tenants::get_settings(tx, ctx.tenant).await?;
                let mut doc = stored("tenants", &row.name, &row.settings)?;
                granted!(apply(&mut doc, sent.clone()));
                let policies = granted!(ending_policies::settle(&mut doc));
                if sent.contains_key("ending_policies") {
                    curfew_store::policies::replace(tx, ctx.tenant, None, &policies).await?;
                }
                curfew_store::tenants::update_settings(tx, ctx.tenant, &text(&doc)?).await?;
                write.log(tx, ctx).await?;
                Ok(Ok(doc))
            })
        })
        .await?;
    Ok(Ok(view(granted!(updated))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Document {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn hours_and_minutes_push_each_other_out() {
        let mut doc = object(json!({"session_lifetime": 24}));
        assert_eq!(apply(&mut doc, object(json!({"session_lifetime_in_minutes": 90}))), Ok(()));
        let shown = view(doc.clone());
        assert_eq!(shown["session_lifetime_in_minutes"], json!(90));
        assert!(!shown.contains_key("session_lifetime"));
        assert_eq!(shown["idle_session_lifetime"], json!(72));
        assert!(
            apply(&mut doc, object(json!({"session_lifetime": 1, "session_lifetime_in_minutes": 1})))
                .is_err()
        );
    }

    #[test]
    fn idle_must_not_exceed_absolute() {
        let mut doc = Document::new();
        assert!(apply(&mut doc, object(json!({"session_lifetime": 1, "idle_session_lifetime": 2}))).is_err());
        let mut doc = Document::new();
        assert_eq!(apply(&mut doc, object(json!({"session_lifetime": 1}))), Ok(()));
    }

    #[test]
    fn flags_are_merged() {
        let mut doc = object(json!({"flags": {"revoke_refresh_token_grant": true, "later": true}}));
        assert_eq!(apply(&mut doc, object(json!({"flags": {"remove_alg_from_jwks": true}}))), Ok(()));
        assert_eq!(
            doc["flags"],
            json!({"revoke_refresh_token_grant": true, "later": true, "remove_alg_from_jwks": true})
        );
    }

    #[test]
    fn settings_the_rest_of_the_server_could_not_read_are_refused() {
        let mut doc = Document::new();
        assert!(
            apply(&mut doc, object(json!({"sessions": {"oidc_logout_prompt_enabled": "often"}}))).is_err()
        );
    }
}
