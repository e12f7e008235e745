//! The guard itself: what it holds, and how it decides about a token.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use curfew_model::Secret;
use curfew_tokens::claims::AccessToken;
use curfew_tokens::jws::JwsError;
use curfew_tokens::{JwsAlg, parse_compact};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::activity::Activity;
use crate::answers::Answers;
use crate::claims::Claims;
use crate::client::{Bearer, CallError, Client};
use crate::clock::Moment;
use crate::config::{Config, ConfigError, Stale};
use crate::feed;
use crate::follower::Follower;
use crate::keys::{Keys, NoKey};
use crate::layer::GuardLayer;
use crate::messages::{Introspected, TokenAnswer};
use crate::refusal::{Reason, Refusal};
use crate::view::{Question, TokenFacts, Verdict, View};

/// How far the server's clock may be ahead or behind.
const LEEWAY_SECONDS: i64 = 5;
/// How long an introspection may take, waiting included.
const INTROSPECTION: Duration = Duration::from_secs(2);
/// Characters that tell guards of one name apart.
const INSTANCE_LENGTH: usize = 16;
/// Introspections at a time.
const INTROSPECTIONS_MAX: usize = 64;

/// The guard of one API. Clones are the same guard; when the last one is dropped it stops following the feed.
#[derive(Clone)]
pub struct Guard(Arc<Running>);

struct Running {
    inner: Arc<Inner>,
    follows: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.follows.abort();
    }
}

/// What a guard knows about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether it has a stream of the feed.
    pub connected: bool,
    /// Whether it met a cutoff of a kind that it does not know: then it has no view any more, and has to be updated.
    pub too_old: bool,
    /// The age of its view; `None` when it has none, or none that was ever echoed.
    pub age: Option<Duration>,
    /// Whether it decides by its view: that is there, and not older than the lease.
    pub fresh: bool,
    /// How far it has applied the feed.
    pub position: Option<String>,
    /// How many cutoffs it holds.
    pub cutoffs: usize,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    /// Tells this guard from others of its name.
    pub(crate) instance: String,
    pub(crate) client: Client,
    pub(crate) keys: Keys,
    state: RwLock<State>,
    held: RwLock<Option<Held>>,
    answers: Mutex<Answers>,
    activity: Mutex<Activity>,
    introspections: Semaphore,
    changed: watch::Sender<()>,
}

/// What the one who follows the feed tells those who decide.
#[derive(Default)]
struct State {
    view: Option<Arc<View>>,
    echoed: Option<Moment>,
    position: Option<String>,
    connected: bool,
    too_old: bool,
}

/// The guard's own token.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) bearer: Bearer,
    /// When it is time for the next one.
    pub(crate) renew_at: Instant,
}

impl Guard {
    /// Starts a guard: from now on it follows the feed, on the runtime that this is called on.
    pub fn start(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let runtime = Handle::try_current().map_err(|_| ConfigError::Runtime)?;
        let inner = Arc::new(Inner {
            client: Client::new(&config)?,
            instance: config.entropy.alphanumeric(INSTANCE_LENGTH),
            config,
            keys: Keys::default(),
            state: RwLock::default(),
            held: RwLock::default(),
            answers: Mutex::default(),
            activity: Mutex::default(),
            introspections: Semaphore::new(INTROSPECTIONS_MAX),
            changed: watch::Sender::new(()),
        });
        let follows = runtime.spawn(feed::follow(inner.clone())).abort_handle();
        Ok(Self(Arc::new(Running { inner, follows })))
    }

    /// Decides about an access token, which must have every one of these scopes.
    ///
    /// In this order: the signature, with a key of the issuer's JWKS, `typ`, `iss`, `aud`, `exp` and `iat`, the age of
    /// the view, the cutoffs, the scopes. It waits only where the server has to be asked: for a key that is not known,
    /// and for an introspection.
    pub async fn check(&self, token: &str, required_scopes: &[&str]) -> Result<Claims, Refusal> {
        let claims = self.authenticate(token).await?;
        claims.require(required_scopes.iter().copied())?;
        Ok(claims)
    }

    /// [`Guard::check`] without the scopes.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Claims, Refusal> {
        let inner = &self.0.inner;
        let (kid, claims) = inner.verify(token).await?;
        inner.decide(token, &TokenFacts::of(Some(&kid), &claims)).await?;
        if let Some(user) = claims.cfw.user {
            inner.activity().saw(user, inner.now().wall.seconds());
        }
        Ok(claims)
    }

    /// A layer that lets only requests through whose token passes.
    pub fn layer(&self) -> GuardLayer {
        GuardLayer::new(self.clone())
    }

    /// Waits until the guard decides by its view. An API may do so before it says that it is ready; until then the guard
    /// asks the server about each token, or refuses.
    pub async fn ready(&self) {
        self.until(|status| status.fresh).await;
    }

    /// Waits for something to be so. It is looked at whenever the guard has heard something.
    pub(crate) async fn until(&self, so: impl Fn(&Status) -> bool) {
        let mut changed = self.0.inner.changed.subscribe();
        while !so(&self.status()) {
            // The sender lives as long as this guard.
            let _ = changed.changed().await;
        }
    }

    /// What the guard knows about itself: for a health check, or a metric.
    pub fn status(&self) -> Status {
        let inner = &self.0.inner;
        let now = inner.now();
        let state = inner.state.read().unwrap_or_else(PoisonError::into_inner);
        Status {
            connected: state.connected,
            too_old: state.too_old,
            age: state.echoed.filter(|_| state.view.is_some()).map(|echoed| now.since(echoed)),
            fresh: state.fresh(now, inner.lease()).is_some(),
            position: state.position.clone(),
            cutoffs: state.view.as_ref().map_or(0, |view| view.len()),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.0.inner.config).finish()
    }
}

impl State {
    /// The view, when it may decide.
    fn fresh(&self, now: Moment, lease: Duration) -> Option<&Arc<View>> {
        let (view, echoed) = (self.view.as_ref()?, self.echoed?);
        (now.since(echoed) <= lease && !view.is_blind_at(now.wall)).then_some(view)
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Moment {
        self.config.clocks.now()
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.config.lease_seconds.into())
    }

    pub(crate) fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be told from the token alone.
    async fn verify(&self, token: &str) -> Result<(String, Claims), Refusal> {
        let invalid = Refusal::InvalidToken;
        let jws = parse_compact(token).map_err(|error| match error {
            JwsError::Algorithm => invalid(Reason::Algorithm),
            JwsError::TooLarge | JwsError::Malformed | JwsError::Critical => invalid(Reason::Malformed),
        })?;
        if jws.header.alg == JwsAlg::HS256 {
            return Err(invalid(Reason::Algorithm));
        }
        let kid = jws.header.kid.as_deref().ok_or(invalid(Reason::Signature))?;
        let key =
            self.keys.find(kid, &self.client, &*self.config.clocks).await.map_err(|none| match none {
                NoKey::Unknown => invalid(Reason::Signature),
                NoKey::Unavailable => Refusal::Unavailable,
            })?;
        if !jws.verify(&key) {
            return Err(invalid(Reason::Signature));
        }
        if !matches!(jws.header.typ.as_deref(), Some("JWT" | "at+jwt")) {
            return Err(invalid(Reason::Type));
        }
        let claims = AccessToken::from_payload(&jws.payload).map_err(|_| invalid(Reason::Malformed))?;
        if claims.iss != self.config.issuer {
            return Err(invalid(Reason::Issuer));
        }
        if !claims.is_for(&self.config.audience) {
            return Err(invalid(Reason::Audience));
        }
        let now = self.now().wall.seconds();
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now {
            return Err(invalid(Reason::Expired));
        }
        if claims.iat > now.saturating_add(LEEWAY_SECONDS) {
            return Err(invalid(Reason::NotYetValid));
        }
        let kid = kid.to_owned();
        Ok((kid, Claims::new(claims, jws.payload)))
    }

    /// Whether the token's access has ended: by the view, or by the server's word.
    async fn decide(&self, token: &str, facts: &TokenFacts<'_>) -> Result<(), Refusal> {
        const ENDED: Refusal = Refusal::InvalidToken(Reason::Ended);
        let lives = |active: bool| if active { Ok(()) } else { Err(ENDED) };
        let now = self.now();
        let fresh = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.fresh(now, self.lease()).cloned()
        };
        let Some(view) = fresh else {
            return match self.config.stale {
                // Nothing is kept of this answer: what ends the token next is not heard.
                Stale::Introspect => lives(self.introspect(token).await?),
                Stale::Refuse => Err(Refusal::Unavailable),
            };
        };
        match (view.judge(facts, now.wall), self.config.stale) {
            (Verdict::Lives, _) => Ok(()),
            (Verdict::Ended, _) => Err(ENDED),
            // A token that was issued since would not be asked about: 401 makes the client fetch one.
            (Verdict::Ask(_), Stale::Refuse) => Err(Refusal::InvalidToken(Reason::MayHaveEnded)),
            (Verdict::Ask(question), Stale::Introspect) => lives(self.ask(token, question).await?),
        }
    }

    /// The server's answer to a question, kept: whatever ends the token later comes with the feed, and be it as another
    /// question.
    async fn ask(&self, token: &str, question: Question) -> Result<bool, Refusal> {
        let answers = || self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(active) = answers().get(token, &question) {
            return Ok(active);
        }
        let active = self.introspect(token).await?;
        answers().keep(token, question, active);
        Ok(active)
    }

    /// `POST /oauth/introspect` (RFC 7662). A token whose signature was verified needs no encoding in a form.
    async fn introspect(&self, token: &str) -> Result<bool, Refusal> {
        let ask = async {
            let _turn = self.introspections.acquire().await.ok()?;
            let bearer = self.held()?.bearer;
            let form = format!("token={token}");
            let answer = self.client.post_form("oauth/introspect", &bearer, form, INTROSPECTION).await;
            match answer.and_then(|answer| answer.json::<Introspected>()) {
                Ok(introspected) => Some(introspected.active),
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no introspection");
                    None
                }
            }
        };
        timeout(INTROSPECTION, ask).await.ok().flatten().ok_or(Refusal::Unavailable)
    }

    /// Tells those who decide what the follower knows.
    pub(crate) fn publish(&self, follower: &Follower, connected: bool) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            view: follower.view().cloned(),
            echoed: follower.echoed().map(|sent| sent.at),
            position: follower.position().map(ToString::to_string),
            connected,
            too_old: follower.is_too_old(),
        };
        drop(state);
        self.changed.send_replace(());
    }

    /// The guard's own token, when it has one.
    pub(crate) fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server does not take the guard's own token any more.
    pub(crate) fn forget_held(&self) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Gets a token by `client_credentials` (RFC 6749 §4.4), and holds it.
    pub(crate) async fn fetch_token(&self) -> Result<Held, CallError> {
        let request = serde_json::json!({
            "grant_type": "client_credentials",
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret.expose(),
            "audience": self.config.audience,
        });
        let answer = self.client.post_json("oauth/token", None, &request).await?;
        let TokenAnswer { access_token, expires_in } = answer.json()?;
        // Between 70 and 80 % of its life: long before its end, and not all guards at once.
        let lives = Duration::from_secs(expires_in.clamp(1, 30 * 86_400));
        let renew_at = Instant::now() + lives.mul_f64(0.8 - 0.1 * self.chance());
        let held = Held { bearer: Arc::new(Secret::new(access_token)), renew_at };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        Ok(held)
    }

    /// A random number from 0 to 1.
    pub(crate) fn chance(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.config.entropy.bytes())) / f64::from(u32::MAX)
    }
}
