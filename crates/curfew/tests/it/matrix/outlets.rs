//! What those are told of an ending who do not ask: looked at after a door was walked through.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use curfew_model::{EndingCause, Timestamp};
use curfew_store::endings::Recorded;
use curfew_testkit::Receiver;
use serde_json::{Value, json};

use super::{Door, Estate, Hears, Language, row};
use crate::backchannel::token;
use crate::signals::{Rx, caep, of_session, of_user};
use crate::support::{Curfew, Operator};

/// How long guards may take to acknowledge: they do with their next probe, a second later at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// After this a receipt waits for no guard: the longest lease here, and what clocks may differ.
const LAPSED_SECONDS: i64 = 21;

/// Declares the outlets; each is looked at by [`Outlet::faults`].
macro_rules! outlets {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Through what an ending is heard of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Outlet {
            $($(#[$doc])* $name,)*
        }

        impl Outlet {
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

outlets! {
    /// Its row, with the one that has it fanned out.
    Record,
    /// What stands in the feed.
    Feed,
    /// The tenant's log.
    Log,
    /// Logout tokens for the applications that took part in the session.
    LogoutToken,
    /// Security events, pushed.
    PushedSignal,
    /// Security events, fetched.
    PolledSignal,
    /// What it says of itself. The last: time may pass for it.
    Receipt,
}

/// A door that was walked through, and what is expected of it.
pub(super) struct Heard<'a> {
    pub(super) door: &'a Door,
    pub(super) estate: &'a Estate,
    pub(super) outside: Option<&'a Estate>,
    /// The endings since the trigger was pulled.
    pub(super) endings: Vec<Recorded>,
    /// When it was.
    pub(super) began: Timestamp,
    /// How many logout tokens had come by then.
    pub(super) bodies: usize,
    /// The kinds of feed entries.
    pub(super) feed: &'a [&'a str],
    pub(super) hears: Hears,
}

impl Outlet {
    /// What of it is not as expected.
    pub(super) async fn faults(self, heard: &Heard<'_>) -> Vec<String> {
        match self {
            Self::Record => heard.record(),
            Self::Feed => heard.feed().await,
            Self::Log => heard.log().await,
            Self::LogoutToken => heard.logout_tokens().await,
            Self::PushedSignal => heard.signals(self.told_by_push(heard).await),
            Self::PolledSignal => heard.signals(self.told_by_poll(heard).await),
            Self::Receipt => heard.receipts().await,
        }
    }
}

impl Outlet {
    async fn told_by_push(self, heard: &Heard<'_>) -> Vec<Value> {
        let Signals { rx, pushed, heard: before, .. } = &heard.door.signals;
        let mut told = Vec::new();
        for body in &pushed.bodies()[before.load(Ordering::Relaxed)..] {
            told.push(rx.check(body).await);
        }
        told
    }

    async fn told_by_poll(self, heard: &Heard<'_>) -> Vec<Value> {
        let Signals { rx, polled, .. } = &heard.door.signals;
        let mut told = Vec::new();
        loop {
            let taken = rx.take(polled).await;
            if taken.is_empty() {
                return told;
            }
            told.extend(taken);
        }
    }
}

/// A receiver of the Shared Signals Framework that wants to hear of every session that ends, in both ways.
pub(super) struct Signals {
    rx: Rx,
    pushed: Receiver,
    polled: String,
    /// How many tokens had been pushed before a door was opened.
    heard: AtomicUsize,
}

impl Signals {
    pub(super) async fn start(curfew: &Curfew, operator: &Operator) -> Self {
        let (rx, pushed) = (Rx::new(curfew, operator).await, Receiver::start().await);
        let events = [caep("session-revoked")];
        rx.push(&pushed, &events).await;
        let polled = rx.polled(&events).await;
        Self { rx, pushed, polled, heard: AtomicUsize::new(0) }
    }

    /// From here on what comes is of the door that is opened next; a stream that nobody polled for a month is back.
    pub(super) async fn listen(&self) {
        self.rx.set_status(&self.polled, "enabled").await.expect(200);
        self.heard.store(self.pushed.bodies().len(), Ordering::Relaxed);
    }
}

impl Heard<'_> {
    /// Every ending has this cause, and a fan-out row.
    fn record(&self) -> Vec<String> {
        let cause = self.door.cause;
        let mut faults = Vec::new();
        if !self.endings.iter().any(|ending| ending.cause == cause) {
            faults.push(format!("no ending was recorded: {:?}", self.endings));
        }
        for ending in &self.endings {
            if ending.cause != cause && !self.door.goes_with_connection(ending) {
                faults.push(format!("another cause: {ending:?}"));
            }
            if ending.fanned_out_from.is_none() {
                faults.push(format!("no fan-out row: {ending:?}"));
            }
        }
        faults
    }

    /// The kinds of an ending's entries, as they are expected.
    fn expected_kinds(&self, ending: &Recorded) -> &[&str] {
        if self.door.goes_with_connection(ending) { row(ending.cause).feed } else { self.feed }
    }

    async fn feed(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for ending in &self.endings {
            let entries = self.door.entries(ending).await;
            let mut kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
            if self.door.cause == EndingCause::ConnectionDeleted {
                // One for each client that had it.
                kinds.dedup();
            }
            if kinds != self.expected_kinds(ending) {
                faults.push(format!("{} told {kinds:?}", ending.cause.as_str()));
            }
        }
        faults
    }

    /// One log row for each.
    async fn log(&self) -> Vec<String> {
        let logs = self.door.logs().await;
        let mut faults = Vec::new();
        for ending in &self.endings {
            let id = ending.id.to_string();
            let own = logs.iter().filter(|(code, doc)| doc.contains(&id) && !code.starts_with("oidc_"));
            let codes: Vec<&str> = own.map(|(code, _)| code.as_str()).collect();
            if codes != [row(ending.cause).log] {
                faults.push(format!("{} wrote {codes:?}", ending.cause.as_str()));
            }
        }
        faults
    }

    /// The logout token of an estate's own session.
    fn logout_of(estate: &Estate, hears: Hears) -> Option<Logout> {
        let sid = match hears {
            Hears::Nothing => return None,
            Hears::OfSession => Some(estate.session_id.clone()),
            Hears::OfPerson => None,
        };
        Some(Logout { client: estate.application.client_id.clone(), sub: estate.person.user_id.clone(), sid })
    }

    /// The application hears of the session that ended, and of no other.
    async fn logout_tokens(&self) -> Vec<String> {
        let mut told = BTreeSet::new();
        for body in &self.door.receiver.bodies()[self.bodies..] {
            let claims = token(&self.door.curfew, body).await;
            let text = |name: &str| claims[name].as_str().map(str::to_owned);
            told.insert(Logout {
                client: text("aud").expect("aud"),
                sub: text("sub").expect("sub"),
                sid: text("sid"),
            });
        }
        // Sessions of earlier doors may be within the reach of this one; nobody looks at them.
        let is_of = |logout: &Logout, estate: &Estate| logout.client == estate.application.client_id;
        let looked_at =
            |logout: &&Logout| is_of(logout, self.estate) || self.outside.is_some_and(|e| is_of(logout, e));
        let told: Vec<Logout> = told.iter().filter(looked_at).cloned().collect();
        let expected: Vec<Logout> = Self::logout_of(self.estate, self.hears).into_iter().collect();
        if told == expected { Vec::new() } else { vec![format!("{told:?} instead of {expected:?}")] }
    }

    /// A receiver of every user's events hears of the session that ended, or of the person whose sessions all ended, and
    /// not of what did not end.
    fn signals(&self, told: Vec<Value>) -> Vec<String> {
        let told: Vec<Value> = told.into_iter().map(|claims| claims["sub_id"].clone()).collect();
        // Where the refresh tokens are spared it is all sessions all the same.
        let of_person = row(self.door.cause).hears == Hears::OfPerson
            || self.door.cause == EndingCause::UserSessionsDeleted;
        let person = of_user(&self.estate.person);
        let session = of_session(&self.estate.person, &self.estate.session_id);
        let expected = match (self.hears, of_person) {
            (Hears::Nothing, _) => None,
            (_, true) => Some(&person),
            (_, false) => Some(&session),
        };
        let mut faults = Vec::new();
        for subject in [&person, &session] {
            if told.contains(subject) != (expected == Some(subject)) {
                faults.push(format!("{subject} instead of {expected:?} in {told:?}"));
            }
        }
        if let Some(outside) = self.outside {
            let session = of_session(&outside.person, &outside.session_id);
            let is_other_session = outside.session_id != self.estate.session_id;
            let is_other_person = outside.person.user_id != self.estate.person.user_id;
            if (is_other_session && told.contains(&session))
                || (is_other_person && told.contains(&of_user(&outside.person)))
            {
                faults.push(format!("of somebody else: {told:?}"));
            }
        }
        faults
    }

    /// Each receipt closes, and says what happened.
    async fn receipts(&self) -> Vec<String> {
        // A guard that could not be asked meanwhile, or whose API is gone, is waited for until its lease is over.
        let lapsed = self.door.curfew.now().since(self.began) > Duration::from_secs(5)
            || self.door.cause == EndingCause::ResourceServerDeleted;
        if lapsed {
            self.door.curfew.advance(LAPSED_SECONDS);
        }
        // The operator's own token may have ended.
        let operator = self.door.curfew.operator().await;
        let mut faults = Vec::new();
        let (mut confirmed, mut guards) = (BTreeSet::new(), BTreeSet::new());
        for ending in &self.endings {
            let receipt = match tokio::time::timeout(PATIENCE, self.closed(&operator, ending)).await {
                Ok(receipt) => receipt,
                Err(_) => {
                    faults.push(format!("it stays open: {}", self.receipt(&operator, ending).await));
                    continue;
                }
            };
            let entries = self.door.entries(ending).await;
            let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
            if receipt["fell"] != json!(kinds) || receipt["cause"] != ending.cause.as_str() {
                faults.push(format!("it does not say what fell: {receipt}"));
            }
            for delivery in receipt["applications"]["deliveries"].as_array().expect("deliveries") {
                let text = |name: &str| delivery[name].as_str().map(str::to_owned);
                if delivery["kind"] == "logout_token" && delivery["state"] == "confirmed" {
                    confirmed.insert(Logout {
                        client: text("client_id").expect("a client"),
                        sub: text("user_id").expect("a user"),
                        sid: text("session_id"),
                    });
                }
            }
            let own = self.hears != Hears::Nothing && ending.user_id.is_some();
            let neighbour = json!(self.estate.neighbour.client_id);
            let untold = receipt["applications"]["without_address"].as_array().expect("a list");
            let is_of_estate = ending.user_id.as_ref().is_some_and(|id| id.0 == self.estate.person.user_id);
            if own && is_of_estate && !untold.contains(&neighbour) {
                faults.push(format!("it does not name an application without address: {receipt}"));
            }
            for node in receipt["guards"]["nodes"].as_array().expect("nodes") {
                // One that fell silent names none.
                for guard in node["guards"].as_array().into_iter().flatten() {
                    if guard["confirmed_at"].is_string() {
                        guards.insert(guard["name"].as_str().expect("a name").to_owned());
                    }
                }
            }
        }
        let expected = Self::logout_of(self.estate, self.hears);
        if let Some(expected) = expected.filter(|expected| !confirmed.contains(expected)) {
            faults.push(format!("{expected:?} is not confirmed: {confirmed:?}"));
        }
        let concerns_all = self.feed.iter().any(|kind| !matches!(*kind, "audience" | "grant"));
        if concerns_all && !lapsed {
            let own = Language::ALL.map(|language| language.name_of(&self.estate.guard));
            let silent: Vec<&String> = own.iter().filter(|name| !guards.contains(*name)).collect();
            if !silent.is_empty() {
                faults.push(format!("{silent:?} did not acknowledge: {guards:?}"));
            }
        }
        faults
    }

    async fn receipt(&self, operator: &Operator, ending: &Recorded) -> Value {
        operator.get(&format!("/endings/{}", ending.id)).await.expect(200).json()
    }

    async fn closed(&self, operator: &Operator, ending: &Recorded) -> Value {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            let receipt = self.receipt(operator, ending).await;
            if receipt["complete"] == true {
                return receipt;
            }
            looks.tick().await;
        }
    }
}

/// A logout token, or the delivery of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Logout {
    client: String,
    sub: String,
    sid: Option<String>,
}
