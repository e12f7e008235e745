//! Pages and the answers of `/authorize` as HTTP.

use axum::body::Body;
use axum::response::Response;
use curfew_core::TenantConfig;
use curfew_core::authorize::redirect::{with_fragment, with_query};
use curfew_core::authorize::{self, Outcome, PageError, ResponseMode, Screen};
use curfew_model::{Ctx, Failure};
use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{failure_status, set_retry_after};
use crate::cookies;
use crate::pages::{
    Back, Chrome, Destination, ErrorKind, ErrorPage, FormPostPage, Lang, Nonce, Origin, Page, WebMessagePage,
};
use crate::session_state::{browser_state, session_state};

/// What pages look like for this request.
pub struct Look {
    nonce: Nonce,
    lang: Lang,
    tenant_name: String,
}

impl Look {
    /// From the tenant's settings, the request's languages, and `ui_locales`.
    pub fn new(
        ctx: &Ctx,
        config: Option<&TenantConfig>,
        headers: &HeaderMap,
        ui_locales: Option<&str>,
    ) -> Self {
        let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let enabled = config.map_or(&[][..], |config| &config.settings.enabled_locales);
        let name = config.and_then(|config| config.settings.friendly_name.clone());
        Self {
            nonce: Nonce::generate(&*ctx.entropy),
            lang: Lang::negotiate(ui_locales, accepted, enabled),
            tenant_name: name.unwrap_or_else(|| "Curfew".to_owned()),
        }
    }

    /// A page as an answer.
    pub fn page(&self, status: StatusCode, page: &impl Page) -> Response {
        let chrome = Chrome { lang: self.lang, tenant_name: &self.tenant_name, ..Chrome::new(&self.nonce) };
        let mut response = Response::new(Body::from(page.render(&chrome)));
        *response.status_mut() = status;
        for (name, value) in page.headers(&chrome) {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Our error page; without a text it shows no details.
    pub fn error(&self, ctx: &Ctx, status: StatusCode, kind: ErrorKind, code: &str, text: &str) -> Response {
        let request_id = ctx.request.id.to_string();
        let page = ErrorPage {
            kind,
            error: Some(code),
            description: Some(text).filter(|text| !text.is_empty()),
            request_id: Some(&request_id),
            ..ErrorPage::default()
        };
        self.page(status, &page)
    }

    /// The page for a failure.
    pub fn failure(&self, ctx: &Ctx, failure: &Failure) -> Response {
        let (status, retry_after) = failure_status(failure);
        let kind = if retry_after.is_some() { ErrorKind::Busy } else { ErrorKind::Server };
        let code = if retry_after.is_some() { "temporarily_unavailable" } else { "server_error" };
        let mut response = self.error(ctx, status, kind, code, "");
        set_retry_after(&mut response, retry_after);
        response
    }

    /// An error of `/authorize` that cannot go to the client. A lost login starts again where the client or the tenant
    /// says.
    pub fn page_error(&self, ctx: &Ctx, error: &PageError) -> Response {
        if let Some(start) = error.start_again.as_deref().filter(|_| error.lost) {
            return redirect(start);
        }
        if let Some(page) = error.error_page.as_deref().filter(|page| Destination::parse(page).is_some()) {
            let tracking = ctx.request.id.to_string();
            return redirect(&with_query(page, &[("lang", self.lang.tag()), ("tracking", &tracking)]));
        }
        let kind = if error.lost {
            ErrorKind::Expired
        } else if error.code == curfew_model::OAuthCode::AccessDenied {
            ErrorKind::Denied
        } else {
            ErrorKind::Request
        };
        self.error(ctx, StatusCode::BAD_REQUEST, kind, error.code.as_str(), &error.description)
    }

    /// Our error page with a way back.
    pub fn error_with_back(&self, kind: ErrorKind, code: &str, text: &str, back: &Destination) -> Response {
        let back = Some(Back { url: back, client_name: None });
        let page =
            ErrorPage { kind, error: Some(code), description: Some(text), back, ..ErrorPage::default() };
        self.page(StatusCode::BAD_REQUEST, &page)
    }

    /// What `/authorize` or one of the login's forms came to.
    pub fn outcome(
        &self,
        ctx: &Ctx,
        sent: &HeaderMap,
        outcome: Outcome,
        transaction: Option<&str>,
    ) -> Response {
        match outcome {
            Outcome::Page(error) => {
                let mut response = self.page_error(ctx, &error);
                if let Some(id) = transaction.filter(|_| !error.lost) {
                    cookies::clear_transaction(response.headers_mut(), ctx, id);
                }
                response
            }
            Outcome::Interact(interaction) => {
                let own = |place: &str| format!("{}{place}", ctx.issuer);
                let place = match interaction.screen {
                    Screen::Login => own("u/login"),
                    Screen::Signup => own("u/signup"),
                    Screen::Consent => own("u/consent"),
                    Screen::Elsewhere => interaction.elsewhere.clone().unwrap_or_default(),
                };
                let url = with_query(&place, &[("state", &interaction.state)]);
                let mut response = redirect(&url);
                let headers = response.headers_mut();
                if let Some(id) = transaction {
                    cookies::clear_transaction(headers, ctx, id);
                }
                if let Some(cookie) = &interaction.transaction {
                    cookies::set_transaction(headers, ctx, sent, cookie);
                }
                if let Some(change) = &interaction.cookie {
                    cookies::set_session(headers, ctx, change);
                }
                response
            }
            Outcome::Respond(answer) => {
                let mut answer = answer;
                add_session_state(ctx, sent, &mut answer);
                let mut response = self.respond(ctx, &answer);
                let headers = response.headers_mut();
                match (&answer.cookie, cookies::session(sent, ctx)) {
                    (Some(change), _) => cookies::set_session(headers, ctx, change),
                    // A session of before there were states, or a browser that has lost it.
                    (None, Some(cookie))
                        if answer.granted_to.is_some() && !cookies::has_state(sent, ctx, cookie) =>
                    {
                        cookies::set_state(headers, ctx, cookie, None);
                    }
                    (None, _) => {}
                }
                if let Some(id) = transaction {
                    cookies::clear_transaction(headers, ctx, id);
                }
                response
            }
        }
    }

    fn respond(&self, ctx: &Ctx, answer: &authorize::Response) -> Response {
        let parameters: Vec<(&str, &str)> =
            answer.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match answer.mode {
            ResponseMode::Query => redirect(&with_query(&answer.redirect_uri, &parameters)),
            ResponseMode::Fragment => redirect(&with_fragment(&answer.redirect_uri, &parameters)),
            ResponseMode::FormPost => match Destination::parse(&answer.redirect_uri) {
                Some(destination) => {
                    let page = FormPostPage {
                        redirect_uri: &destination,
                        params: &parameters,
                        form_ends_at: &["https:"],
                    };
                    self.page(StatusCode::OK, &page)
                }
                None => self.bad_destination(ctx),
            },
            ResponseMode::WebMessage => {
                let origin = Destination::parse(&answer.redirect_uri).and_then(|d| Origin::of(&d));
                let origins: Vec<&str> = answer.web_origins.iter().map(String::as_str).collect();
                match origin {
                    Some(origin) => {
                        let page = WebMessagePage {
                            target_origin: &origin,
                            web_origins: &origins,
                            params: &parameters,
                        };
                        self.page(StatusCode::OK, &page)
                    }
                    None => self.bad_destination(ctx),
                }
            }
        }
    }

    fn bad_destination(&self, ctx: &Ctx) -> Response {
        let text = "The redirect_uri cannot be used with this response_mode";
        self.error(ctx, StatusCode::BAD_REQUEST, ErrorKind::Request, "invalid_request", text)
    }
}

/// OIDC Session Management §3: an authorization tells the client the state of the browser, for the origin to which the answer
/// goes. An address without an origin has no frame that could ask.
fn add_session_state(ctx: &Ctx, sent: &HeaderMap, answer: &mut authorize::Response) {
    let origin = Destination::parse(&answer.redirect_uri).and_then(|destination| Origin::of(&destination));
    let (Some(client), Some(origin)) = (&answer.granted_to, origin) else { return };
    let new = answer.cookie.as_ref().map(|change| change.value.expose().as_str());
    let state = new.or(cookies::session(sent, ctx)).map_or(String::new(), browser_state);
    let value = session_state(&*ctx.entropy, client.as_str(), origin.as_str(), &state);
    answer.parameters.push(("session_state", value));
}

/// A redirect that nobody keeps.
pub fn redirect(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match HeaderValue::from_str(&ascii(to)) {
        Ok(value) => {
            headers.insert(LOCATION, value);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// Registered addresses may hold characters beyond ASCII; a header may not.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
