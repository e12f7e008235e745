//! Everything a person can have at once: a session, a login that waits, codes, refresh tokens, access tokens.

use std::sync::Arc;

use curfew_guard::Verdict;
use curfew_testkit::Receiver;
use serde_json::{Value, json};

use super::{Artefact, Door, Foreign, Language, Witness};
use crate::support::{
    Answer, Application, Browser, CONNECTION, Curfew, Guard, MANAGEMENT, Person, Tokens, claims, status,
};

/// Scope of what has a refresh token.
const OFFLINE: &str = "openid profile email offline_access";

/// What an estate is made of; what is not given is made.
#[derive(Default)]
pub(crate) struct Plan {
    /// Put over the client's document.
    pub(crate) client: Option<Value>,
    pub(crate) application: Option<Application>,
    pub(crate) api: Option<String>,
    pub(crate) person: Option<Person>,
    /// Name of the person's connection, which the client has as well.
    pub(crate) connection: Option<String>,
}

/// Everything one person has in one browser with one client. An API may want consent, and has it then.
pub(crate) struct Estate {
    pub(crate) person: Person,
    pub(crate) application: Application,
    /// A second application, for what is about the session and not about a client.
    pub(crate) neighbour: Application,
    pub(crate) api: String,
    pub(crate) connection: String,
    pub(crate) browser: Browser,
    /// The browser's cookies as they were before the trigger: a thief's copy.
    thief: Browser,
    pub(crate) session_id: String,
    pub(crate) id_token: String,
    /// Redirects to consent pages that wait.
    pending: Vec<Answer>,
    codes: Vec<String>,
    /// The codes that were redeemed for everything below.
    pub(crate) redeemed: Vec<String>,
    pub(crate) refresh: String,
    /// What `refresh` was exchanged for: of an older generation.
    pub(crate) old_refresh: Option<String>,
    /// Behind the opaque token.
    pub(crate) userinfo_refresh: String,
    pub(crate) old_userinfo_refresh: Option<String>,
    opaque: String,
    jwt: String,
    management: String,
    pub(crate) machine: String,
    /// Before the API.
    pub(crate) guard: Guard,
    /// Where guards like it run.
    foreign: Arc<Foreign>,
}

/// Whether an answer is a yes. A clean "no" is one of the statuses that endpoint refuses with; anything else is a fault.
#[track_caller]
fn yes(answer: &Answer, what: Artefact) -> bool {
    match answer.status.as_u16() {
        200 => true,
        400 | 401 | 403 => false,
        _ => panic!("{what:?}: {} {}", answer.status, answer.text()),
    }
}

impl Estate {
    pub(crate) async fn make(door: &Door, plan: Plan) -> Self {
        let Door { curfew, operator, .. } = door;
        let connection = plan.connection.unwrap_or_else(|| CONNECTION.to_owned());
        let application = match plan.application {
            Some(application) => application,
            None => operator.make_client(client(&door.receiver, plan.client)).await,
        };
        let neighbour = operator.make_spa().await;
        for client in [&application, &neighbour] {
            operator.enable(&connection, &client.client_id, true).await;
        }
        let api = match plan.api {
            Some(api) => api,
            None => operator.make_api_with(json!({"token_status_list": {"enabled": true}})).await,
        };
        let person = match plan.person {
            Some(person) => person,
            None => operator.make_person_in(&connection).await,
        };
        let grants = operator.get(&format!("/client-grants?client_id={}", application.client_id)).await;
        if grants.expect(200).json().as_array().is_some_and(Vec::is_empty) {
            let grant = json!({
                "client_id": application.client_id, "audience": MANAGEMENT, "scope": ["read:connections"]
            });
            operator.post("/client-grants", grant).await.expect(201);
        }
        let guard = operator.make_guard(&api).await;
        door.foreign.follow(&guard).await;
        let browser = curfew.browser();
        let asked = [("audience", api.as_str()), ("scope", OFFLINE), ("connection", connection.as_str())];
        // A code is redeemed for each kind of token, which shows that codes live; two consent pages are answered, which
        // shows that pending logins do.
        browser.log_in(&application, &person, &asked).await;
        let silent = async |more: &[(&str, &str)]| {
            let answer = browser.authorize_silently(&application, more).await;
            answer.code().unwrap_or_else(|| panic!("no code: {:?}", answer.location()))
        };
        let second = silent(&[("scope", OFFLINE)]).await;
        let userinfo = Tokens::of(&application.redeem(&second).await);
        let consenting = [("audience", api.as_str()), ("scope", OFFLINE), ("prompt", "consent")];
        let own = [("audience", MANAGEMENT), ("scope", "openid read:current_user"), ("prompt", "consent")];
        let consented = async |asked: &[(&str, &str)]| {
            let page = browser.authorize(&application, asked).await;
            browser.submit_consent(&page, "accept").await.expect(302).code().expect("a code")
        };
        let first = consented(&consenting).await;
        let tokens = Tokens::of(&application.redeem(&first).await);
        let session_id = tokens.claims()["sid"].as_str().expect("sid").to_owned();
        let third = consented(&own).await;
        let management = Tokens::of(&application.redeem(&third).await);
        let mut pending = Vec::new();
        for _ in 0..2 {
            pending.push(browser.authorize(&application, &consenting).await);
        }
        let api_only = [("audience", api.as_str()), ("scope", OFFLINE)];
        let codes = vec![silent(&api_only).await, silent(&api_only).await];
        let machine = Tokens::of(&application.client_credentials().await);
        // The neighbour takes part in the session, and has no address for logout tokens.
        let joined = browser.authorize_silently(&neighbour, &[]).await.code().expect("a code");
        Tokens::of(&neighbour.redeem(&joined).await);
        Self {
            thief: browser.copy(),
            browser,
            session_id,
            id_token: tokens.id.clone().expect("an ID token"),
            pending,
            codes,
            redeemed: vec![first, second, third],
            refresh: tokens.refresh().to_owned(),
            old_refresh: None,
            userinfo_refresh: userinfo.refresh().to_owned(),
            old_userinfo_refresh: None,
            opaque: userinfo.access,
            jwt: tokens.access,
            management: management.access,
            machine: machine.access,
            guard,
            foreign: Arc::clone(&door.foreign),
            person,
            application,
            neighbour,
            api,
            connection,
        }
    }

    /// An estate out of the ending's reach.
    pub(crate) async fn witness(&self, door: &Door, witness: Witness) -> Option<Self> {
        let application = Some(self.application.clone());
        let (person, api) = (Some(self.person.clone()), Some(self.api.clone()));
        let connection = Some(self.connection.clone());
        let plan = match witness {
            Witness::Nobody => return None,
            Witness::OtherPerson => Plan { application, api, connection, ..Plan::default() },
            Witness::OtherBrowser => Plan { application, api, person, connection, ..Plan::default() },
            Witness::OtherClient => Plan { api, person, connection, ..Plan::default() },
            Witness::OtherApi => Plan { person, connection, ..Plan::default() },
            Witness::OtherConnection => {
                let other = door.operator.make_client(client(&door.receiver, None)).await;
                door.operator.enable(&self.connection, &other.client_id, false).await;
                Plan { application: Some(other), api, ..Plan::default() }
            }
        };
        Some(Self::make(door, plan).await)
    }

    /// Shows everything alive that was not shown when it was made.
    pub(crate) async fn assert_alive(&mut self, node: &Curfew, name: &str) {
        for artefact in Artefact::ALL.iter().copied() {
            if !matches!(artefact, Artefact::PendingLogin | Artefact::Code) {
                assert!(self.is_alive(node, artefact).await, "{name}: {artefact:?} never lived");
            }
        }
        let application = self.application.at(node);
        let tokens = Tokens::of(&application.refresh(&self.userinfo_refresh).await);
        let new = tokens.refresh.unwrap_or_else(|| self.userinfo_refresh.clone());
        self.old_userinfo_refresh = Some(std::mem::replace(&mut self.userinfo_refresh, new));
    }

    /// Shows that the guards in other languages let its token pass: from here on they follow the feed.
    pub(crate) async fn assert_followed(&mut self, node: &Curfew, name: &str) {
        for artefact in [Artefact::NodeGuard, Artefact::PythonGuard] {
            assert!(
                self.is_alive(node, artefact).await,
                "{name}: {artefact:?} of what is outside never lived"
            );
        }
    }

    /// Tries an artefact at a node. Codes and consent pages are used up by it; there are two of each.
    pub(crate) async fn is_alive(&mut self, node: &Curfew, artefact: Artefact) -> bool {
        let application = self.application.at(node);
        let browser = self.thief.at(node);
        let person = &self.person;
        match artefact {
            Artefact::Session => {
                let answer = browser.authorize(&self.neighbour, &[]).await.expect(302);
                assert!(answer.code().is_some() || answer.leads_to("u/login"), "{:?}", answer.location());
                answer.code().is_some()
            }
            Artefact::SilentLogin => {
                let answer = browser.authorize_silently(&self.neighbour, &[]).await.expect(302);
                let error = answer.error();
                assert!(answer.code().is_some() || error.as_deref() == Some("login_required"), "{error:?}");
                answer.code().is_some()
            }
            Artefact::PendingLogin => {
                let waiting = self.pending.pop().expect("a consent page that was not tried yet");
                let page = browser.get(waiting.location().expect("a consent page")).await;
                if page.status != 200 {
                    return yes(&page, artefact);
                }
                let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
                let fields = [("state", &*state), ("csrf", &*csrf), ("action", "accept")];
                let answer = browser.post("u/consent", &fields).await;
                match answer.code() {
                    Some(code) => yes(&application.redeem(&code).await, artefact),
                    None => answer.error().is_some() && yes(&answer, artefact),
                }
            }
            Artefact::Code => {
                let code = self.codes.pop().expect("a code that was not tried yet");
                let answer = application.redeem(&code).await;
                let alive = yes(&answer, artefact);
                if alive {
                    // What a living code gives lives as well.
                    let tokens = Tokens::of(&answer);
                    application.userinfo(&tokens.access).await.expect(200);
                    application.refresh(tokens.refresh()).await.expect(200);
                }
                alive
            }
            Artefact::RefreshToken => {
                let answer = application.refresh(&self.refresh).await;
                let alive = yes(&answer, artefact);
                if alive {
                    let tokens = Tokens::of(&answer);
                    application.userinfo(&tokens.access).await.expect(200);
                    let new = tokens.refresh.unwrap_or_else(|| self.refresh.clone());
                    self.old_refresh = Some(std::mem::replace(&mut self.refresh, new));
                }
                alive
            }
            Artefact::OpaqueToken => yes(&application.userinfo(&self.opaque).await, artefact),
            Artefact::Jwt => yes(&application.userinfo(&self.jwt).await, artefact),
            Artefact::Introspection => {
                // By the client's own credentials: the guard's token may have ended with the API.
                let guard = self.guard.at(node);
                let answer = guard.application.post("/oauth/introspect", &[("token", &self.jwt)]).await;
                let active = answer.expect(200).json()["active"].as_bool();
                active.expect("active")
            }
            Artefact::ProxyCheck => yes(&self.guard.at(node).check(&self.jwt, "openid").await, artefact),
            Artefact::Guard => {
                let guard = self.guard.at(node);
                match guard.judge(&self.jwt).await {
                    // Its own token has ended, and so has its trust in what it knows.
                    None => false,
                    Some(Verdict::Lives) => true,
                    Some(Verdict::Ended) => false,
                    Some(Verdict::Ask(_)) => {
                        guard.introspect(&self.jwt).await.expect(200).json()["active"] == true
                    }
                }
            }
            Artefact::NodeGuard => self.foreign.accepts(Language::Node, &self.guard, &self.jwt).await,
            Artefact::PythonGuard => self.foreign.accepts(Language::Python, &self.guard, &self.jwt).await,
            Artefact::StatusList => {
                let expired = claims(&self.jwt)["exp"].as_i64().expect("exp") <= node.now().seconds();
                !expired && status(node, &self.jwt).await == 0
            }
            Artefact::ManagementJwt => {
                let path = format!("/users/{}", person.path());
                yes(&application.management_get(&self.management, &path).await, artefact)
            }
            Artefact::MachineJwt => {
                yes(&application.management_get(&self.machine, "/connections").await, artefact)
            }
        }
    }

    /// Takes the codes that were not redeemed from another estate, because its own are too old by now.
    pub(crate) fn take_codes(&mut self, other: Self) {
        self.codes = other.codes;
    }

    /// The ids of the refresh tokens that began in this browser, as the Management API names them.
    pub(crate) async fn families(&self, door: &Door) -> Vec<String> {
        let path = format!("/users/{}/refresh-tokens", self.person.path());
        let list = door.operator.get(&path).await.expect(200).json();
        let tokens = list["tokens"].as_array().expect("tokens").iter();
        tokens
            .filter(|token| token["session_id"] == *self.session_id)
            .map(|token| token["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

/// A confidential client that may do everything an application can, and hears of every ending.
fn client(receiver: &Receiver, more: Option<Value>) -> Value {
    let mut doc = json!({
        "app_type": "regular_web",
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "allowed_logout_urls": ["https://app.example/out"],
        "oidc_logout": {
            "backchannel_logout_urls": [receiver.url()],
            "backchannel_logout_initiators": { "mode": "all" },
        },
        "refresh_token": { "rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0 },
    });
    if let (Value::Object(doc), Some(Value::Object(more))) = (&mut doc, more) {
        doc.extend(more);
    }
    doc
}
