//! Doors × artefacts: for every cause of an ending, what falls with it and what stays.
//!
//! [`row`] is the expectation, written by hand beside the rules' own table
//! ([`falls`](curfew_core::endings::falls)); its match is exhaustive, and [`doors`] must open a door for every cause, so
//! that a cause without a row does not compile. Each door is walked through its real trigger over HTTP: an
//! [`estate`] with every artefact is made and shown alive, the trigger ends what it ends, and then each artefact is
//! tried on another node, whose caches were warm. What a second trigger undoes (unblocking, enabling again, making
//! again) revives nothing. And every [`Outlet`] is looked at: what those were told who do not ask.
//!
//! An artefact is a line of [`artefacts!`], an outlet one of [`outlets!`]; neither builds before it is tried.

mod doors;
mod estate;
mod foreign;
mod outlets;

use std::sync::Arc;

use curfew_core::endings::{Reach, falls};
use curfew_model::EndingCause;
use curfew_store::endings::{Recorded, StoredEntry};
use curfew_testkit::Receiver;

use crate::support::{Curfew, Operator};
use estate::{Estate, Plan};
use foreign::{Foreign, Language};
use outlets::{Heard, Outlet, Signals};

/// Declares what access consists of, and which artefact stands for it in the matrix.
macro_rules! artefacts {
    ($($(#[$doc:meta])* $name:ident => $thing:ident,)*) => {
        /// What access consists of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Artefact {
            $($(#[$doc])* $name,)*
        }

        impl Artefact {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// What ends with what: one token is the same wherever it is shown.
            const fn thing(self) -> Self {
                match self {
                    $(Self::$name => Self::$thing,)*
                }
            }
        }
    };
}

artefacts! {
    /// The session cookie: single sign-on at `/authorize`, instead of the login page.
    Session => Session,
    /// `prompt=none` with that cookie.
    SilentLogin => SilentLogin,
    /// A consent page that waits for its answer, after the credential step.
    PendingLogin => PendingLogin,
    /// An authorization code that was not redeemed yet, with `offline_access`.
    Code => Code,
    /// The refresh token of an API.
    RefreshToken => RefreshToken,
    /// An opaque access token at `/userinfo`, with a refresh token of its own behind it.
    OpaqueToken => OpaqueToken,
    /// A JWT for that API at `/userinfo`.
    Jwt => Jwt,
    /// The same JWT at `/oauth/introspect`.
    Introspection => Jwt,
    /// The same JWT at `/guard/check`, behind a proxy.
    ProxyCheck => Jwt,
    /// The same JWT at a guard that has read the feed from its beginning, and asks where the feed says so.
    Guard => Jwt,
    /// The same JWT at the guard for Node, which follows the feed all the time.
    NodeGuard => Jwt,
    /// The same JWT at the guard for Python.
    PythonGuard => Jwt,
    /// The same JWT at an API that goes by status lists.
    StatusList => Jwt,
    /// The user's own JWT at the Management API; no refresh token stands behind it.
    ManagementJwt => ManagementJwt,
    /// The client's own JWT at the Management API.
    MachineJwt => MachineJwt,
}

/// What an application hears that takes part in the session and listens for logout tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    Nothing,
    /// A token with the session's `sid`.
    OfSession,
    /// A token without: every session of that person has ended.
    OfPerson,
}

/// What is expected of a cause.
struct Row {
    /// What ends. Everything else stays alive.
    ends: &'static [Artefact],
    /// The kinds of its feed entries.
    feed: &'static [&'static str],
    /// The type of its log row.
    log: &'static str,
    /// The application's logout token.
    hears: Hears,
}

/// A row. Where the session ends the application hears of it.
const fn expect(ends: &'static [Artefact], feed: &'static [&'static str], log: &'static str) -> Row {
    let ends_session = matches!(ends, [Artefact::Session, ..]);
    let hears = if ends_session { Hears::OfSession } else { Hears::Nothing };
    Row { ends, feed, log, hears }
}

/// A row where everything of a person ends.
const fn expect_all(feed: &'static [&'static str], log: &'static str) -> Row {
    use Artefact::{Code, Jwt, ManagementJwt, OpaqueToken, PendingLogin, RefreshToken, Session, SilentLogin};
    let ends = &[Session, SilentLogin, PendingLogin, Code, RefreshToken, OpaqueToken, Jwt, ManagementJwt];
    Row { ends, feed, log, hears: Hears::OfPerson }
}

/// The matrix.
const fn row(cause: EndingCause) -> Row {
    use Artefact::{
        Code as C, Jwt as J, MachineJwt as X, ManagementJwt as M, OpaqueToken as O, PendingLogin as P,
        RefreshToken as R, Session as S, SilentLogin as L,
    };
    use EndingCause as E;
    match cause {
        E::UserBlocked | E::AccessRevoked => expect_all(&["user"], "session_revoked"),
        E::UserDeleted => expect_all(&["user"], "sdu"),
        E::PasswordChanged => expect(&[S, L, P, C, O, J, M], &["user_sessions"], "scp"),
        E::IdentifierChanged => expect(&[S, L, P, C, O, J, M], &["user_sessions"], "sce"),
        E::IdentityUnlinked => expect(&[S, L, P, C, O, J, M], &["session"], "session_revoked"),
        E::RpLogout => expect(&[S, L, P, C, O, J, M], &["session"], "slo"),
        E::SessionDeleted => expect(&[S, L, P, C, O, J, M], &["session"], "session_revoked"),
        E::SessionRevoked => {
            expect(&[S, L, P, C, R, O, J, M], &["session", "grant", "grant"], "session_revoked")
        }
        E::Superseded => expect(&[S, L, P, C, R, O, J, M], &["session", "grant", "grant"], "session_revoked"),
        E::UserSessionsDeleted => expect(&[S, L, P, C, O, J, M], &["user_sessions"], "session_revoked"),
        E::UserFamiliesRevoked => expect(&[P, C, R, O, J], &["user_families"], "srrt"),
        E::ClientFamiliesRevoked => expect(&[P, C, R, O, J, M], &["user_client"], "srrt"),
        E::GrantDeleted => expect(&[P, C, R, O, J, M], &["user_client"], "session_revoked"),
        E::FamilyRevoked | E::TokenRevoked => expect(&[R, O, J], &["grant"], "srrt"),
        E::RotationToggled | E::FamilyExpired => expect(&[R, O, J], &["grant"], "session_revoked"),
        E::RefreshTokenReuse => expect(&[R, O, J], &["grant"], "ferrt"),
        E::FamilyLimit => expect(&[R, O, J], &["grant"], "resource_cleanup"),
        E::CodeReplay => expect(&[R, O, J, M], &["grant"], "session_revoked"),
        E::IdleTimeout | E::LifetimeReached => {
            expect(&[S, L, P, C, M], &["session_expired"], "session_revoked")
        }
        E::ClientGrantDeleted => expect(&[X], &["grant"], "session_revoked"),
        E::ClientDeleted => expect(&[P, C, R, O, J, M, X], &["client"], "session_revoked"),
        // Who is at a login page of a client that stays has been given nothing yet.
        E::ClientAccessRevoked => expect(&[C, R, O, J, M, X], &["client"], "session_revoked"),
        E::ClientSecretRotated => expect(&[], &[], "session_revoked"),
        E::ResourceServerDeleted => expect(&[P, C, R, J], &["audience"], "session_revoked"),
        E::ConnectionDeleted => expect_all(&["client_users"], "session_revoked"),
        E::ConnectionDisabled => expect(&[P, C, R, O, J, M], &["client_users"], "session_revoked"),
        E::SigningKeyRevoked => expect(&[J, M, X], &["signing_key"], "session_revoked"),
        E::SealingKeyRevoked => expect(&[S, L, P, C, R, O, J, M], &["users"], "session_revoked"),
    }
}

/// What of everything is outside an ending's reach and must stay: a second estate, alike but for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// Another person, with the same client, API and connection.
    OtherPerson,
    /// The same person in another browser.
    OtherBrowser,
    /// The same person with another client.
    OtherClient,
    /// The same person with another client, at another API.
    OtherApi,
    /// Another person in another connection, with the same client.
    OtherConnection,
    /// Nothing is out of reach.
    Nobody,
}

/// One cause's door, in a box.
pub(crate) struct Door {
    pub(crate) cause: EndingCause,
    /// Where estates are made and the trigger is pulled.
    pub(crate) curfew: Curfew,
    /// Where artefacts are tried.
    other: Curfew,
    pub(crate) operator: Operator,
    /// Guards in other languages.
    foreign: Arc<Foreign>,
    /// Where logout tokens for the applications go.
    receiver: Receiver,
    /// Who hears security events.
    signals: Signals,
}

impl Door {
    async fn new(curfew: Curfew, cause: EndingCause) -> Self {
        let foreign = Arc::new(Foreign::start(&curfew).await);
        let other = curfew.another_node().await;
        let operator = curfew.operator().await;
        let signals = Signals::start(&curfew, &operator).await;
        Self { cause, curfew, other, operator, foreign, receiver: Receiver::start().await, signals }
    }

    /// Walks through the door by one trigger: everything is alive before; afterwards what [`row`] names has ended, in
    /// `estate` and not in the witness, and the ending is recorded.
    async fn walk(
        &self,
        trigger: &str,
        plan: Plan,
        witness: Witness,
        walk: impl AsyncFnOnce(&Self, &mut Estate),
    ) -> Walked<'_> {
        let told = row(self.cause).feed;
        self.walk_sparing(trigger, plan, witness, (&[], told), walk).await
    }

    /// The same for a trigger that spares some of what the cause ends, and then tells the feed something else.
    async fn walk_sparing(
        &self,
        trigger: &str,
        plan: Plan,
        witness: Witness,
        (spared, told): (&[Artefact], &[&str]),
        walk: impl AsyncFnOnce(&Self, &mut Estate),
    ) -> Walked<'_> {
        let row = row(self.cause);
        let name = format!("{} by {trigger}", self.cause.as_str());
        let mut estate = Estate::make(self, plan).await;
        let mut outside = estate.witness(self, witness).await;
        estate.assert_alive(&self.other, &name).await;
        if let Some(outside) = &mut outside {
            outside.assert_followed(&self.other, &name).await;
        }
        let (before, began) = (self.endings().await, self.curfew.now());
        let bodies = self.receiver.bodies().len();
        self.signals.listen().await;
        Box::pin(walk(self, &mut estate)).await;
        let ends = |a: &Artefact| row.ends.contains(&a.thing()) && !spared.contains(&a.thing());
        let ends: Vec<Artefact> = Artefact::ALL.iter().copied().filter(ends).collect();
        let mut wrong = Vec::new();
        for artefact in Artefact::ALL.iter().copied() {
            let alive = estate.is_alive(&self.other, artefact).await;
            if alive == ends.contains(&artefact) {
                wrong.push(format!("{artefact:?} {}", if alive { "still lives" } else { "has ended" }));
            }
        }
        if let Some(outside) = &mut outside {
            for artefact in Artefact::ALL.iter().copied() {
                if !outside.is_alive(&self.other, artefact).await {
                    wrong.push(format!("{artefact:?} of {witness:?} has ended"));
                }
            }
        }
        // What was tried may have ended something of the same cause.
        self.curfew.deliver().await;
        let after = self.endings().await;
        let heard = Heard {
            door: self,
            estate: &estate,
            outside: outside.as_ref(),
            endings: after.into_iter().filter(|ending| !before.contains(ending)).collect(),
            began,
            bodies,
            feed: told,
            // Where the refresh tokens are spared not everything has ended.
            hears: match row.hears {
                Hears::OfPerson if !spared.is_empty() => Hears::OfSession,
                hears => hears,
            },
        };
        for outlet in Outlet::ALL {
            let faults = outlet.faults(&heard).await;
            wrong.extend(faults.into_iter().map(|fault| format!("{outlet:?}: {fault}")));
        }
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
        Walked { door: self, estate, ends, name }
    }

    async fn endings(&self) -> Vec<Recorded> {
        let read = self.curfew.store().read(curfew_model::TenantId(1), |tx, tenant| {
            Box::pin(curfew_store::endings::newest(tx, *tenant, 100_000))
        });
        read.await.expect("the endings")
    }

    /// Whether an ending is one of the users that are deleted, one by one, with a connection.
    fn goes_with_connection(&self, ending: &Recorded) -> bool {
        self.cause == EndingCause::ConnectionDeleted && ending.cause == EndingCause::UserDeleted
    }

    async fn entries(&self, ending: &Recorded) -> Vec<StoredEntry> {
        let read = self.curfew.store().read(ending.id, |tx, id| {
            Box::pin(curfew_store::endings::entries(tx, curfew_model::TenantId(1), id))
        });
        read.await.expect("the feed")
    }

    async fn logs(&self) -> Vec<(String, String)> {
        let read = self.curfew.store().read(curfew_model::TenantId(1), |tx, tenant| {
            Box::pin(curfew_store::logs::newest(tx, *tenant, 100_000))
        });
        read.await.expect("the log").into_iter().map(|(_, code, doc)| (code, doc)).collect()
    }
}

/// A door that was walked through.
pub(crate) struct Walked<'a> {
    door: &'a Door,
    pub(crate) estate: Estate,
    ends: Vec<Artefact>,
    name: String,
}

impl Walked<'_> {
    /// Undoes the trigger: what it ended stays ended.
    async fn undone_by(&mut self, undo: impl AsyncFnOnce(&Door, &mut Estate)) {
        Box::pin(undo(self.door, &mut self.estate)).await;
        for artefact in &self.ends {
            let alive = self.estate.is_alive(&self.door.other, *artefact).await;
            assert!(!alive, "{}: {artefact:?} lives again after it was undone", self.name);
        }
    }
}

#[test]
fn the_matrix_agrees_with_the_rules_table() {
    for cause in EndingCause::ALL {
        let (row, falls) = (row(*cause), falls(*cause));
        let ends = |some: &[Artefact]| some.iter().any(|artefact| row.ends.contains(artefact));
        let name = cause.as_str();
        let sessions = ends(&[Artefact::Session, Artefact::SilentLogin]);
        assert_eq!(sessions, falls.sessions != Reach::Stays, "{name}: sessions");
        assert_eq!(sessions, row.hears != Hears::Nothing, "{name}: logout tokens");
        // A replay ends the code that was replayed; the one of the matrix is another.
        let pending = ends(&[Artefact::PendingLogin, Artefact::Code]);
        let named_only = falls.pending == Reach::ThatOne;
        assert_eq!(pending, falls.pending != Reach::Stays && !named_only, "{name}: pending logins and codes");
        assert_eq!(ends(&[Artefact::RefreshToken]), falls.families != Reach::Stays, "{name}: families");
        let tokens = [Artefact::OpaqueToken, Artefact::Jwt, Artefact::ManagementJwt, Artefact::MachineJwt];
        assert_eq!(ends(&tokens), falls.tokens != Reach::Stays, "{name}: access tokens");
        // A token dies with its session unless a living family stands behind it: only one of the matrix has none.
        if falls.tokens == Reach::UnlessFamily {
            let ended: Vec<&Artefact> = tokens.iter().filter(|token| row.ends.contains(token)).collect();
            assert_eq!(ended, [&Artefact::ManagementJwt], "{name}: access tokens");
        }
    }
}
