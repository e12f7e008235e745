//! Discovery (OIDC Discovery §3, RFC 8414, SSF §7) and keys. Announces only what works.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use curfew_core::TenantConfig;
use curfew_core::grants::GRANT_TYPES;
use curfew_core::issue::OIDC_SCOPES;
use curfew_core::signals::{POLL, PUSH};
use curfew_core::status_lists;
use curfew_model::Ctx;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::App;
use crate::render::{json as json_response, oauth};

fn cacheable(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // A minute: shorter than the time a new key is published before it signs.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.remove(http::header::PRAGMA);
    response
}

/// `/.well-known/openid-configuration`.
pub(super) async fn openid_configuration(app: State<Arc<App>>, ctx: Extension<Ctx>) -> Response {
    serve(app, ctx, "openid-configuration", |ctx, config| document(ctx, config, true).to_string()).await
}

/// `/.well-known/oauth-authorization-server`.
pub(super) async fn authorization_server(app: State<Arc<App>>, ctx: Extension<Ctx>) -> Response {
    serve(app, ctx, "oauth-authorization-server", |ctx, config| document(ctx, config, false).to_string())
        .await
}

/// `/.well-known/ssf-configuration` (SSF §7.1).
pub(super) async fn ssf_configuration(app: State<Arc<App>>, ctx: Extension<Ctx>) -> Response {
    serve(app, ctx, "ssf-configuration", |ctx, _| transmitter(ctx).to_string()).await
}

fn transmitter(ctx: &Ctx) -> Value {
    let url = |path: &str| format!("{}{path}", ctx.issuer);
    json!({
        "spec_version": "1_0",
        "issuer": *ctx.issuer,
        "jwks_uri": url(".well-known/jwks.json"),
        "delivery_methods_supported": [PUSH, POLL],
        "configuration_endpoint": url("ssf/streams"),
        "status_endpoint": url("ssf/status"),
        "add_subject_endpoint": url("ssf/subjects:add"),
        "remove_subject_endpoint": url("ssf/subjects:remove"),
        "verification_endpoint": url("ssf/verify"),
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6749" }],
        "default_subjects": "ALL",
    })
}

/// `/.well-known/jwks.json`.
pub(super) async fn jwks(app: State<Arc<App>>, ctx: Extension<Ctx>) -> Response {
    serve(app, ctx, "jwks.json", |_, config| {
        // Keys as text: nothing in them can fail to be written.
        serde_json::to_string(&config.jwks()).unwrap_or_default()
    })
    .await
}

async fn serve(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    name: &'static str,
    make: fn(&Ctx, &TenantConfig) -> String,
) -> Response {
    match app.core.tenant(ctx.tenant).await {
        Ok(config) => {
            let document = config.document(name, &ctx.issuer, || make(&ctx, &config));
            cacheable(json_response(StatusCode::OK, document))
        }
        Err(failure) => oauth::failure(&failure),
    }
}

fn document(ctx: &Ctx, config: &TenantConfig, openid: bool) -> Value {
    let url = |path: &str| json!(format!("{}{path}", ctx.issuer));
    let mut doc = Map::new();
    let mut set = |name: &str, value: Value| {
        doc.insert(name.to_owned(), value);
    };
    set("issuer", json!(*ctx.issuer));
    set("authorization_endpoint", url("authorize"));
    set("token_endpoint", url("oauth/token"));
    set("jwks_uri", url(".well-known/jwks.json"));
    set("revocation_endpoint", url("oauth/revoke"));
    set("introspection_endpoint", url("oauth/introspect"));
    set(
        "introspection_endpoint_auth_methods_supported",
        json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]),
    );
    set("status_list_aggregation_endpoint", json!(status_lists::aggregation_uri(ctx)));
    set("scopes_supported", json!(OIDC_SCOPES));
    set(
        "response_types_supported",
        json!([
            "code",
            "token",
            "id_token",
            "code token",
            "code id_token",
            "token id_token",
            "code token id_token"
        ]),
    );
    set("response_modes_supported", json!(["query", "fragment", "form_post"]));
    set("grant_types_supported", {
        let mut grants: Vec<&str> = GRANT_TYPES.to_vec();
        grants.push("implicit");
        json!(grants)
    });
    set("code_challenge_methods_supported", json!(["S256", "plain"]));
    set(
        "token_endpoint_auth_methods_supported",
        json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]),
    );
    set("token_endpoint_auth_signing_alg_values_supported", json!(["RS256", "RS384", "PS256"]));
    set(
        "revocation_endpoint_auth_methods_supported",
        json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]),
    );
    if config.settings.authorization_response_iss_parameter_supported != Some(false) {
        set("authorization_response_iss_parameter_supported", json!(true));
    }
    if openid {
        set("userinfo_endpoint", url("userinfo"));
        set("subject_types_supported", json!(["public"]));
        set("id_token_signing_alg_values_supported", json!(id_token_algs(config)));
        set(
            "claims_supported",
            json!([
                "aud",
                "auth_time",
                "email",
                "email_verified",
                "exp",
                "family_name",
                "given_name",
                "iat",
                "iss",
                "name",
                "nickname",
                "phone_number",
                "phone_number_verified",
                "picture",
                "sid",
                "sub",
                "updated_at"
            ]),
        );
        set("check_session_iframe", url("session/check"));
        set("backchannel_logout_supported", json!(true));
        set("backchannel_logout_session_supported", json!(true));
        set("frontchannel_logout_supported", json!(true));
        set("frontchannel_logout_session_supported", json!(true));
        set("request_parameter_supported", json!(false));
        set("request_uri_parameter_supported", json!(false));
        if config.settings.oidc_logout.rp_logout_end_session_endpoint_discovery != Some(false) {
            set("end_session_endpoint", url("oidc/logout"));
        }
    }
    Value::Object(doc)
}

/// HS256 by the client's secret, and what there is a key for.
fn id_token_algs(config: &TenantConfig) -> Vec<&'static str> {
    let mut algs = vec!["HS256"];
    for alg in curfew_tokens::SigningAlg::ALL {
        if config.signing_key(*alg).is_ok() {
            algs.push(alg.as_str());
        }
    }
    algs
}

/// `/pem`: the current RS256 key's certificate.
pub(super) async fn pem(State(app): State<Arc<App>>, Extension(ctx): Extension<Ctx>) -> Response {
    match app.core.tenant(ctx.tenant).await {
        Ok(config) => {
            let current = config.keys.iter().find(|key| key.row.state == "current" && key.row.alg == "RS256");
            let mut response = Response::new(axum::body::Body::from(
                current.map_or(String::new(), |k| k.row.certificate.clone()),
            ));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file"));
            cacheable(response)
        }
        Err(failure) => oauth::failure(&failure),
    }
}
