//! A browser: it keeps cookies and fills in forms. It follows no redirect by itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::Request;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE, USER_AGENT};

use super::{Answer, Application, Curfew, ISSUER, Person, Tokens};

/// A browser with its own cookie jar. Clones share the jar: they are its tabs.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    curfew: Curfew,
    jar: Arc<Mutex<BTreeMap<String, String>>>,
    ip: IpAddr,
    user_agent: &'static str,
}

impl Browser {
    pub(super) fn new(curfew: Curfew) -> Self {
        Self { curfew, jar: Arc::default(), ip: Ipv4Addr::LOCALHOST.into(), user_agent: "" }
    }

    /// The same browser at another address, after an update.
    pub(crate) fn moved(&self, ip: IpAddr, user_agent: &'static str) -> Self {
        Self { ip, user_agent, ..self.clone() }
    }

    /// The same browser, sent to another node by the load balancer.
    pub(crate) fn at(&self, node: &Curfew) -> Self {
        Self { curfew: node.clone(), ..self.clone() }
    }

    /// This browser with the session cookie of another one.
    pub(crate) fn with_session_of(&self, other: &Self) -> Self {
        let copy = self.copy();
        let cookie = other.jar.lock().unwrap().get("__Host-curfew").cloned().expect("a session cookie");
        copy.jar.lock().unwrap().insert("__Host-curfew".to_owned(), cookie);
        copy
    }

    /// Another browser with a copy of the cookies as they are now: what a thief has, or a Back button.
    pub(crate) fn copy(&self) -> Self {
        let jar = self.jar.lock().unwrap().clone();
        Self { jar: Arc::new(Mutex::new(jar)), ..self.clone() }
    }

    /// `GET` of one of the server's own addresses, with or without the issuer in front.
    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(Request::get(place(url)).body(Body::empty()).unwrap()).await
    }

    /// `POST` of a form.
    pub(crate) async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let body = encode(fields);
        let request = Request::post(place(url)).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        let cookies = {
            let jar = self.jar.lock().unwrap();
            jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
        };
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
        }
        if !self.user_agent.is_empty() {
            request.headers_mut().insert(USER_AGENT, self.user_agent.parse().unwrap());
        }
        let answer = self.curfew.send_at_home(SocketAddr::from((self.ip, 50_000)), request).await;
        let mut jar = self.jar.lock().unwrap();
        for line in answer.headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        drop(jar);
        answer
    }

    /// Whether the browser has a session cookie.
    pub(crate) fn has_session_cookie(&self) -> bool {
        self.jar.lock().unwrap().contains_key("__Host-curfew")
    }

    /// `GET /authorize` for an application: the code flow with PKCE; `more` adds parameters or replaces them.
    pub(crate) async fn authorize(&self, application: &Application, more: &[(&str, &str)]) -> Answer {
        self.get(&application.authorize_url(more)).await
    }

    /// Silent login: `prompt=none`.
    pub(crate) async fn authorize_silently(
        &self,
        application: &Application,
        more: &[(&str, &str)],
    ) -> Answer {
        let more: Vec<_> = more.iter().copied().chain([("prompt", "none")]).collect();
        self.authorize(application, &more).await
    }

    /// Follows a redirect to the login page and submits it; the answer is the one to the form.
    pub(crate) async fn submit_login(&self, to_login: &Answer, identifier: &str, password: &str) -> Answer {
        let page = self.get(to_login.location().expect("a redirect to the login page")).await.expect(200);
        let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
        let fields = [("state", &*state), ("csrf", &*csrf), ("username", identifier), ("password", password)];
        self.post("u/login", &fields).await
    }

    /// A whole login, from `/authorize` through the login page; answers the code.
    pub(crate) async fn log_in(
        &self,
        application: &Application,
        person: &Person,
        more: &[(&str, &str)],
    ) -> String {
        let to_login = self.authorize(application, more).await.expect(302);
        assert!(to_login.leads_to("u/login"), "{:?}", to_login.location());
        let answer = self.submit_login(&to_login, &person.email, &person.password).await.expect(302);
        answer.code().unwrap_or_else(|| panic!("no code: {:?}", answer.location()))
    }

    /// Logs in at the login page and has the code redeemed.
    pub(crate) async fn sign_in(
        &self,
        application: &Application,
        person: &Person,
        more: &[(&str, &str)],
    ) -> Tokens {
        Tokens::of(&application.redeem(&self.log_in(application, person, more).await).await)
    }

    /// Has another code by the session that is there, and redeems it.
    pub(crate) async fn sign_in_again(&self, application: &Application, more: &[(&str, &str)]) -> Tokens {
        let code = self.authorize_silently(application, more).await.code().expect("a code");
        Tokens::of(&application.redeem(&code).await)
    }

    /// Follows a redirect to the consent page and answers it; the answer is the one to the form.
    pub(crate) async fn submit_consent(&self, to_consent: &Answer, action: &str) -> Answer {
        let page = self.get(to_consent.location().expect("a redirect to the consent page")).await.expect(200);
        let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
        self.post("u/consent", &[("state", &state), ("csrf", &csrf), ("action", action)]).await
    }
}

/// Path and query of an address.
pub(super) fn place(url: &str) -> String {
    format!("/{}", url.strip_prefix(ISSUER).unwrap_or(url).trim_start_matches('/'))
}

pub(super) fn encode(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}
