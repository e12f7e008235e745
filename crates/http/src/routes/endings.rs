//! The feed of endings for guards (`docs/guards.md`): snapshot, stream, probe. Whoever calls is a guard, by its token.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::feed::{
    self, Activity, Announcement, Denied, End, Event, Guard, Position, Probed, Stream, Unknown,
};
use curfew_model::{Ctx, Failure};
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::form;
use crate::App;
use crate::render::{events as event_stream, json as json_response, oauth, set_retry_after};

/// Seconds between two probes of a guard.
const PROBE_SECONDS: u32 = 1;
/// Reports of activity that one probe may bring.
const ACTIVITY_MAX: usize = 1000;
/// Characters of a guard's name, and of what tells it from others of that name.
const NAME_MAX: usize = 100;
/// The longest lease, in seconds.
const LEASE_MAX: u8 = 60;

/// `GET /endings/snapshot`: what has ended and can still matter.
pub(super) async fn snapshot(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
) -> Response {
    let guard = match guard(&app, &ctx, &headers).await {
        Ok(guard) => guard,
        Err(response) => return *response,
    };
    let snapshot = match app.core.feed.snapshot(&ctx, &guard.audience).await {
        Ok(snapshot) => snapshot,
        Err(error) => return unavailable(&error),
    };
    let takes_gzip =
        headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(accepts_gzip);
    let body = if takes_gzip {
        Body::from(snapshot.gzip.clone())
    } else {
        match snapshot.plain().await {
            Ok(plain) => Body::from(plain),
            Err(error) => return oauth::failure(&error),
        }
    };
    let mut response = Response::new(body);
    let own = response.headers_mut();
    own.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    own.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    own.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if takes_gzip {
        own.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether `Accept-Encoding` names gzip and does not refuse it.
fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// `GET /endings/feed`: server-sent events from a position on.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let guard = match guard(&app, &ctx, &headers).await {
        Ok(guard) => guard,
        Err(response) => return *response,
    };
    let wanted = query.as_deref().map(form::urlencoded).transpose();
    let wanted = match wanted.map(|values| values.and_then(|mut values| values.remove("position"))) {
        Ok(None) => None,
        Ok(Some(text)) => match Position::parse(&text) {
            Some(position) => Some(position),
            None => return bad_request("position has no such form"),
        },
        Err(form::BadForm(text)) => return bad_request(&text),
    };
    let id = ctx.entropy.alphanumeric(22);
    match app.core.feed.subscribe(guard, wanted, id).await {
        Ok(Ok(stream)) => events(app, ctx, stream),
        Ok(Err(Unknown::Position)) => {
            let text = "The feed does not go on from this position: begin with a snapshot";
            let body = json!({"error": "position_unknown", "error_description": text});
            json_response(StatusCode::GONE, body.to_string())
        }
        Err(error) => unavailable(&error),
    }
}

fn events(app: Arc<App>, ctx: Ctx, stream: Stream) -> Response {
    let events = futures_util::stream::unfold((app, ctx, stream), async |(app, ctx, mut stream)| {
        let event = stream.next(&app.core, &ctx).await?;
        let text = write(&event, &stream, app.core.feed.node());
        Some((Ok::<_, Infallible>(Bytes::from(text)), (app, ctx, stream)))
    });
    event_stream(events)
}

/// An event as it is sent (HTML Living Standard §9.2).
fn write(event: &Event, stream: &Stream, node: &str) -> String {
    let (name, data) = match event {
        Event::Hello(position) => {
            let position = position.to_string();
            let hello = json!({
                "stream": stream.id(), "node": node, "position": position, "probe_seconds": PROBE_SECONDS
            });
            ("hello", hello.to_string())
        }
        Event::Ending(entry) => ("ending", entry.data.clone()),
        Event::Echo(probe, position) => {
            ("echo", json!({"probe": probe, "position": position.to_string()}).to_string())
        }
        Event::Position(position) => ("position", json!({"position": position.to_string()}).to_string()),
        Event::Silence => return ": \n\n".to_owned(),
        Event::End(end) => ("end", json!({"reason": End::as_str(*end)}).to_string()),
    };
    let mut text = String::with_capacity(name.len() + data.len() + 20);
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text
}

/// What a guard sends once a second.
#[derive(Deserialize)]
struct Probe {
    stream: String,
    probe: u64,
    #[serde(default)]
    position: Option<String>,
    guard: Announcement,
    #[serde(default)]
    activity: Vec<Activity>,
}

/// `POST /endings/probe`.
pub(super) async fn probe(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let guard = match guard(&app, &ctx, &headers).await {
        Ok(guard) => guard,
        Err(response) => return *response,
    };
    let probe = match body.map_err(|error| form::unread(&error)).and_then(|body| read_probe(&body)) {
        Ok(probe) => probe,
        Err(unread) => return oauth::unread(unread.status, &unread.text),
    };
    let acknowledged = match probe.position.as_deref().map(Position::parse) {
        None => None,
        Some(Some(position)) => Some(position),
        Some(None) => return bad_request("position has no such form"),
    };
    let Probe { stream, probe, guard: announcement, activity, .. } = probe;
    let probed = app.core.feed.probe(&guard, &stream, probe, acknowledged, announcement, ctx.now).await;
    if !activity.is_empty()
        && let Err(error) = feed::record_activity(&app.core, &ctx, activity).await
    {
        return unavailable(&error);
    }
    match probed {
        Ok(Probed::Here) => json_response(StatusCode::ACCEPTED, "{}"),
        Ok(Probed::Elsewhere(position)) => {
            json_response(StatusCode::OK, json!({"position": position.to_string()}).to_string())
        }
        Err(error) => unavailable(&error),
    }
}

fn read_probe(body: &[u8]) -> Result<Probe, form::Unread> {
    let refused = |text: String| form::Unread { status: StatusCode::BAD_REQUEST, text };
    let probe: Probe = serde_json::from_slice(body).map_err(|error| refused(format!("No probe: {error}")))?;
    let named = 1..=NAME_MAX;
    if !named.contains(&probe.guard.name.chars().count()) {
        return Err(refused(format!("guard.name has 1 to {NAME_MAX} characters")));
    }
    if probe.guard.instance.as_ref().is_some_and(|instance| !named.contains(&instance.chars().count())) {
        return Err(refused(format!("guard.instance has 1 to {NAME_MAX} characters")));
    }
    if !(1..=LEASE_MAX).contains(&probe.guard.lease_seconds) {
        return Err(refused(format!("guard.lease_seconds is 1 to {LEASE_MAX}")));
    }
    if probe.activity.len() > ACTIVITY_MAX {
        return Err(refused(format!("activity has at most {ACTIVITY_MAX} entries")));
    }
    Ok(probe)
}

/// The guard that calls, or the answer to somebody who is none.
pub(super) async fn guard(app: &App, ctx: &Ctx, headers: &HeaderMap) -> Result<Guard, Box<Response>> {
    let Some(token) = form::bearer(headers) else { return Err(Box::new(denied(None))) };
    match feed::authorize(&app.core, ctx, token).await {
        Ok(Ok(guard)) => Ok(guard),
        Ok(Err(denial)) => Err(Box::new(denied(Some(denial)))),
        Err(error) => Err(Box::new(unavailable(&error))),
    }
}

/// RFC 6750 §3.1.
pub(super) fn denied(denial: Option<Denied>) -> Response {
    let (status, challenge, code, text) = match denial {
        None => (StatusCode::UNAUTHORIZED, "Bearer", "invalid_request", "An access token is missing"),
        Some(Denied::Token) => (
            StatusCode::UNAUTHORIZED,
            "Bearer error=\"invalid_token\"",
            "invalid_token",
            "The access token is not valid, has expired or has ended",
        ),
        Some(Denied::Scope) => (
            StatusCode::FORBIDDEN,
            "Bearer error=\"insufficient_scope\", scope=\"curfew:guard\"",
            "insufficient_scope",
            "A client's own access token with the scope curfew:guard is needed",
        ),
    };
    let mut response = json_response(status, json!({"error": code, "error_description": text}).to_string());
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn bad_request(text: &str) -> Response {
    oauth::unread(StatusCode::BAD_REQUEST, text)
}

/// A database that cannot be read is a matter of time here: guards ask again.
fn unavailable(error: &Failure) -> Response {
    let mut response = oauth::failure(error);
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        let text = "The feed cannot be read. Try again shortly.";
        let body = json!({"error": "temporarily_unavailable", "error_description": text});
        response = json_response(StatusCode::SERVICE_UNAVAILABLE, body.to_string());
        set_retry_after(&mut response, Some(1));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_who_takes_it() {
        for (value, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate, br", false),
            ("gzip;q=0", false),
            ("identity, gzip; q=0", false),
        ] {
            assert_eq!(accepts_gzip(value), takes, "{value}");
        }
    }

    #[test]
    fn probes_are_bounded() {
        let probe = |name: &str, lease: i64, activity: usize| {
            let entry = json!(["AAAAAAAAAAAAAAAA", 1]);
            json!({
                "stream": "s", "probe": 1,
                "guard": {"name": name, "lease_seconds": lease, "stale": "introspect"},
                "activity": vec![entry; activity],
            })
            .to_string()
        };
        assert!(read_probe(probe("orders", 10, 1000).as_bytes()).is_ok());
        for wrong in [probe("", 10, 0), probe(&"n".repeat(101), 10, 0), probe("n", 0, 0), probe("n", 61, 0)] {
            assert!(read_probe(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(read_probe(probe("n", 10, 1001).as_bytes()).is_err());
        let passes = probe("n", 10, 0).replace("introspect", "pass");
        assert!(read_probe(passes.as_bytes()).is_err(), "there is no setting that lets it pass");
    }
}
