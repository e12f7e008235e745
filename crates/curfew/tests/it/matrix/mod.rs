//! Doors × artefacts: for every cause of an ending, what falls with it and what stays.
//!
//! [`row`] is the expectation, written by hand beside the rules' own table
//! ([`falls`](curfew_core::endings::falls)); its match is exhaustive, and [`doors`] must open a door for every cause, so
//! that a cause without a row does not compile. Each door is walked through its real trigger over HTTP: an
//! [`estate`] with every artefact is made and shown alive, the trigger ends what it ends, and then each artefact is
//! tried on another node, whose caches were warm. What a second trigger undoes (unblocking, enabling again, making
//! again) revives nothing.

mod doors;
mod estate;

use curfew_core::endings::{Reach, falls};
use curfew_model::EndingCause;
use curfew_store::endings::Recorded;

use crate::support::{Curfew, Operator};
use estate::{Estate, Plan};

/// What access consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Artefact {
    /// The session cookie: single sign-on at `/authorize`, instead of the login page.
    Session,
    /// `prompt=none` with that cookie.
    SilentLogin,
    /// A consent page that waits for its answer, after the credential step.
    PendingLogin,
    /// An authorization code that was not redeemed yet, with `offline_access`.
    Code,
    /// The refresh token of an API.
    RefreshToken,
    /// An opaque access token at `/userinfo`, with a refresh token of its own behind it.
    OpaqueToken,
    /// A JWT for that API at `/userinfo`.
    Jwt,
    /// The same JWT at `/oauth/introspect`.
    Introspection,
    /// The same JWT at `/guard/check`, behind a proxy.
    ProxyCheck,
    /// The same JWT at a guard that has read the feed from its beginning, and asks where the feed says so.
    Guard,
    /// The user's own JWT at the Management API; no refresh token stands behind it.
    ManagementJwt,
    /// The client's own JWT at the Management API.
    MachineJwt,
}

impl Artefact {
    pub(crate) const ALL: [Self; 12] = [
        Self::Session,
        Self::SilentLogin,
        Self::PendingLogin,
        Self::Code,
        Self::RefreshToken,
        Self::OpaqueToken,
        Self::Jwt,
        Self::Introspection,
        Self::ProxyCheck,
        Self::Guard,
        Self::ManagementJwt,
        Self::MachineJwt,
    ];

    /// What ends with what: one token is the same wherever it is shown.
    const fn thing(self) -> Self {
        match self {
            Self::Jwt | Self::Introspection | Self::ProxyCheck | Self::Guard => Self::Jwt,
            Self::Session
            | Self::SilentLogin
            | Self::PendingLogin
            | Self::Code
            | Self::RefreshToken
            | Self::OpaqueToken
            | Self::ManagementJwt
            | Self::MachineJwt => self,
        }
    }
}

/// What is expected of a cause.
struct Row {
    /// What ends. Everything else stays alive.
    ends: &'static [Artefact],
    /// The kinds of its feed entries.
    feed: &'static [&'static str],
    /// The type of its log row.
    log: &'static str,
}

const fn expect(ends: &'static [Artefact], feed: &'static [&'static str], log: &'static str) -> Row {
    Row { ends, feed, log }
}

/// The matrix.
const fn row(cause: EndingCause) -> Row {
    use Artefact::{
        Code as C, Jwt as J, MachineJwt as X, ManagementJwt as M, OpaqueToken as O, PendingLogin as P,
        RefreshToken as R, Session as S, SilentLogin as L,
    };
    use EndingCause as E;
    match cause {
        E::UserBlocked | E::AccessRevoked => expect(&[S, L, P, C, R, O, J, M], &["user"], "session_revoked"),
        E::UserDeleted => expect(&[S, L, P, C, R, O, J, M], &["user"], "sdu"),
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
        E::ConnectionDeleted => expect(&[S, L, P, C, R, O, J, M], &["client_users"], "session_revoked"),
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
}

impl Door {
    async fn new(curfew: Curfew, cause: EndingCause) -> Self {
        let other = curfew.another_node().await;
        let operator = curfew.operator().await;
        Self { cause, curfew, other, operator }
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
        let before = self.endings().await;
        Box::pin(walk(self, &mut estate)).await;
        self.check_record(&name, told, &before).await;
        let ends = |a: &Artefact| row.ends.contains(&a.thing()) && !spared.contains(&a.thing());
        let ends: Vec<Artefact> = Artefact::ALL.into_iter().filter(ends).collect();
        let mut wrong = Vec::new();
        for artefact in Artefact::ALL {
            let alive = estate.is_alive(&self.other, artefact).await;
            if alive == ends.contains(&artefact) {
                wrong.push(format!("{artefact:?} {}", if alive { "still lives" } else { "has ended" }));
            }
        }
        if let Some(outside) = &mut outside {
            for artefact in Artefact::ALL {
                if !outside.is_alive(&self.other, artefact).await {
                    wrong.push(format!("{artefact:?} of {witness:?} has ended"));
                }
            }
        }
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        Walked { door: self, estate, ends, name }
    }

    async fn endings(&self) -> Vec<Recorded> {
        let read = self.curfew.store().read(curfew_model::TenantId(1), |tx, tenant| {
            Box::pin(curfew_store::endings::newest(tx, *tenant, 100_000))
        });
        read.await.expect("the endings")
    }

    /// Every ending since `before` has this cause, a fan-out row, its feed entries and one log row.
    async fn check_record(&self, name: &str, told: &[&str], before: &[Recorded]) {
        let after = self.endings().await;
        let new: Vec<&Recorded> = after.iter().filter(|ending| !before.contains(ending)).collect();
        assert!(
            new.iter().any(|ending| ending.cause == self.cause),
            "{name}: no ending was recorded: {new:?}"
        );
        let logs = self.logs().await;
        for ending in new {
            // The users of a deleted connection are deleted one by one.
            let of_connection = self.cause == EndingCause::ConnectionDeleted;
            let told = if of_connection && ending.cause == EndingCause::UserDeleted {
                row(ending.cause).feed
            } else {
                assert_eq!(ending.cause, self.cause, "{name}");
                told
            };
            assert!(ending.fanned_out_from.is_some(), "{name}: no fan-out row");
            let mut kinds = self.feed_kinds(ending).await;
            if of_connection {
                // One for each client that had it.
                kinds.dedup();
            }
            assert_eq!(kinds, told, "{name}: feed entries");
            let id = ending.id.to_string();
            let lines: Vec<&str> =
                logs.iter().filter(|(_, doc)| doc.contains(&id)).map(|(code, _)| code.as_str()).collect();
            assert_eq!(lines, [row(ending.cause).log], "{name}: log rows");
        }
    }

    async fn feed_kinds(&self, ending: &Recorded) -> Vec<String> {
        let read = self.curfew.store().read(ending.id, |tx, id| {
            Box::pin(curfew_store::endings::entries(tx, curfew_model::TenantId(1), id))
        });
        read.await.expect("the feed").into_iter().map(|entry| entry.kind).collect()
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
