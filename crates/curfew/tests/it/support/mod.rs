//! Curfew in a box: the server as `curfew serve` puts it together, on an empty database of either engine, its clock
//! standing still until it is moved. Nothing listens: requests go straight into the router.
//!
//! [`in_a_box!`] declares stories. A story talks to the server as its callers do: as a [`Browser`] (cookies), an
//! [`Application`] (the token endpoint, `/userinfo`), or the [`Operator`] (the Management API).

mod answer;
mod application;
mod browser;
mod double;
mod guard;
mod listener;
mod operator;
mod status;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use curfew::actions::Own;
use curfew::config::Typed;
use curfew::serve::{Assembled, World, assemble, job_ctx};
use curfew_actions::{Pool, WorkerCommand};
use curfew_core::Core;
use curfew_core::actions::{Builds, Runner, Runs};
use curfew_core::deliveries::{Courier, Limits};
use curfew_core::grants::authorization_code::FAMILIES_MAX;
use curfew_core::sessions::SESSIONS_MAX;
use curfew_http::context::Peer;
use curfew_model::{Clock as _, Entropy, SystemEntropy, Timestamp};
use curfew_store::verify::{Bounds, verify};
use curfew_store::{Engine, Lane, Store, StoreOptions};
use curfew_testkit::{TestDatabase, VirtualClock, engines};
use http::header::HOST;
use http::{Request, Response};
use tempfile::TempDir;
use tokio::task::AbortHandle;
use tower::ServiceExt as _;

pub(crate) use answer::Answer;
pub(crate) use application::{Application, CALLBACK, Tokens, VERIFIER, claims};
pub(crate) use browser::Browser;
pub(crate) use double::Double;
pub(crate) use guard::{Events, Guard};
pub(crate) use listener::Reach;
pub(crate) use operator::{Operator, Person};
pub(crate) use status::{StatusList, reference, status};

/// The issuer of the box's one tenant. Browsers and applications reach it over https as far as anybody can tell.
pub(crate) const ISSUER: &str = "https://id.example/";
/// The issuer of a box without one.
pub(crate) const LOOPBACK_ISSUER: &str = "http://localhost:8080/";
/// The audience of its Management API.
pub(crate) const MANAGEMENT: &str = "https://id.example/api/v2/";
/// The database connection a tenant begins with.
pub(crate) const CONNECTION: &str = "Username-Password-Authentication";
/// The password of everybody who has not changed it.
pub(crate) const PASSWORD: &str = "Correct-Horse-7";

pub(crate) const BOOTSTRAP: &str = "bootstrap";
pub(crate) const BOOTSTRAP_SECRET: &str = "a secret that is long enough to be one";

/// Declares stories: `fn name(curfew) { … }` becomes the tests `name::sqlite` and `name::postgres`, each with a box of
/// its own ([`Curfew`]). The body is asynchronous.
macro_rules! in_a_box {
    ($($(#[$attribute:meta])* fn $name:ident($curfew:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn story($curfew: $crate::support::Curfew) $body

            #[test]
            fn sqlite() {
                $crate::support::run(::curfew_store::Engine::Sqlite, story);
            }

            #[test]
            fn postgres() {
                $crate::support::run(::curfew_store::Engine::Postgres, story);
            }
        }
    )*};
}

/// Runs a story in a box, then checks the whole store.
pub(crate) fn run<F: Future<Output = ()>>(engine: Engine, story: impl FnOnce(Curfew) -> F) {
    engines::with_database(engine, |database| async move {
        let curfew = Curfew::start(&database).await;
        Box::pin(story(curfew.clone())).await;
        curfew.verify().await;
        database
    });
}

/// Where the packages of Actions are that ship with the server: beside it.
pub(crate) fn packages_dir() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_curfew")).with_file_name("packages")
}

/// One running server: a node. Clones are the same node.
#[derive(Debug, Clone)]
pub(crate) struct Curfew {
    /// The rules and the store behind them, for what has no route: the sweeper, the revocation of a sealing key.
    pub(crate) core: Arc<Core>,
    courier: Arc<Courier>,
    builds: Arc<Builds>,
    router: Router,
    /// What runs its Actions.
    pub(crate) workers: Pool,
    /// What its Actions reach; the server does not hold itself.
    _own: Arc<Own>,
    /// What reads the feed for this node's guards.
    feed: Arc<AbortHandle>,
    clock: Arc<VirtualClock>,
    place: Arc<Place>,
    /// The host that requests are for.
    host: &'static str,
}

/// Where a server's state is: what a second node shares with the first.
#[derive(Debug)]
struct Place {
    database: StoreOptions,
    folder: TempDir,
}

/// A background job; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct InBackground(tokio::task::JoinHandle<()>);

impl Drop for InBackground {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Curfew {
    async fn start(database: &TestDatabase) -> Self {
        let folder = TempDir::with_prefix("curfew-box-").expect("a temporary folder");
        let place = Arc::new(Place { database: database.options(), folder });
        Self::on(place, Arc::new(VirtualClock::default())).await
    }

    async fn on(place: Arc<Place>, clock: Arc<VirtualClock>) -> Self {
        // Applications that are told of endings are on this machine.
        let typed = Typed {
            issuer: Some(ISSUER.to_owned()),
            egress_allow: Some("127.0.0.0/8".to_owned()),
            ..Typed::default()
        };
        Self::configured(place, clock, typed).await
    }

    /// Another node on the same database, whose chance is not the system's.
    pub(crate) async fn another_node_with(&self, entropy: Arc<dyn Entropy>) -> Self {
        let typed = Typed { issuer: Some(ISSUER.to_owned()), ..Typed::default() };
        Self::assembled(Arc::clone(&self.place), Arc::clone(&self.clock), typed, (entropy, None)).await
    }

    /// Another node on the same database, whose Actions are run by the test.
    pub(crate) async fn another_node_running(&self, runner: Arc<dyn Runner>) -> Self {
        let typed = Typed { issuer: Some(ISSUER.to_owned()), ..Typed::default() };
        self.another_node_of(runner, typed).await
    }

    /// The same, configured otherwise.
    pub(crate) async fn another_node_of(&self, runner: Arc<dyn Runner>, typed: Typed) -> Self {
        let world: (Arc<dyn Entropy>, _) = (Arc::new(SystemEntropy), Some(runner));
        Self::assembled(Arc::clone(&self.place), Arc::clone(&self.clock), typed, world).await
    }

    async fn configured(place: Arc<Place>, clock: Arc<VirtualClock>, typed: Typed) -> Self {
        Self::assembled(place, clock, typed, (Arc::new(SystemEntropy), None)).await
    }

    async fn assembled(
        place: Arc<Place>,
        clock: Arc<VirtualClock>,
        typed: Typed,
        (entropy, runner): (Arc<dyn Entropy>, Option<Arc<dyn Runner>>),
    ) -> Self {
        let typed = Typed {
            data_dir: Some(place.folder.path().to_owned()),
            bootstrap_client_id: Some(BOOTSTRAP.to_owned()),
            bootstrap_client_secret: Some(BOOTSTRAP_SECRET.to_owned()),
            packages_dir: Some(packages_dir()),
            // No registry that this machine may know.
            npmrc: Some("/dev/null".into()),
            // However busy the machine is: only a story of limits meets one.
            actions_time_ms: typed.actions_time_ms.clone().or_else(|| Some(60_000.into())),
            actions_cpu_ms: typed.actions_cpu_ms.clone().or_else(|| Some(60_000.into())),
            ..typed
        };
        let issuer = typed.issuer.clone().unwrap_or_else(|| LOOPBACK_ISSUER.to_owned());
        let config = typed.resolve().expect("the configuration reads");
        // The test's own program runs no Actions.
        let action_worker = Some(WorkerCommand {
            program: env!("CARGO_BIN_EXE_curfew").into(),
            arguments: vec!["action-worker".into()],
        });
        let world = World { clock: Arc::<VirtualClock>::clone(&clock), entropy, action_worker, runner };
        let assembled = assemble(&config, place.database.clone(), world, &issuer).await;
        let Assembled { own, workers, .. } = assembled.expect("the server starts");
        let core = Arc::clone(&own.app().core);
        tokio::spawn({
            let core = Arc::clone(&core);
            async move { core.logs.run().await }
        });
        let feed = tokio::spawn({
            let feed = Arc::clone(&core.feed);
            async move { feed.run().await }
        });
        let feed = Arc::new(feed.abort_handle());
        let courier = Arc::new(Courier::new(Arc::clone(&core), job_ctx(&core, &issuer), Limits::default()));
        let builds = Arc::new(Builds::new(Arc::clone(&core), job_ctx(&core, &issuer)));
        let router = own.router();
        Self { core, courier, builds, router, workers, _own: own, feed, clock, place, host: "id.example" }
    }

    /// Another node on the same database, with caches of its own; or this one after a restart.
    pub(crate) async fn another_node(&self) -> Self {
        Self::on(Arc::clone(&self.place), Arc::clone(&self.clock)).await
    }

    /// Another node on the same database that is configured otherwise; without an issuer it is [`LOOPBACK_ISSUER`].
    pub(crate) async fn another_configuration(&self, typed: Typed) -> Self {
        Self::configured(Arc::clone(&self.place), Arc::clone(&self.clock), typed).await
    }

    /// The same node under another domain of the tenant, `https://{host}/`.
    pub(crate) async fn under(&self, host: &'static str) -> Self {
        let ctx = job_ctx(&self.core, ISSUER);
        let added = self.store().transact(Lane::Ordinary, ctx, move |tx, ctx| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                curfew_store::tenants::set_domain(tx, ctx, host, &format!("https://{host}/")).await
            })
        });
        assert!(added.await.expect("a domain"), "the domain is another tenant's");
        Self { host, ..self.clone() }
    }

    /// A browser that has never been here.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.clone())
    }

    /// The operator: everything the Management API can do.
    pub(crate) async fn operator(&self) -> Operator {
        let machine = self.application_of(BOOTSTRAP, Some(BOOTSTRAP_SECRET));
        let answer = machine.token(&[("grant_type", "client_credentials"), ("audience", MANAGEMENT)]).await;
        Operator::new(self.clone(), answer.expect(200).json()["access_token"].as_str().unwrap())
    }

    /// A caller of the Management API with a token of its own.
    pub(crate) fn operator_by(&self, token: &str) -> Operator {
        Operator::new(self.clone(), token)
    }

    /// An application that is registered already.
    pub(crate) fn application_of(&self, client_id: &str, secret: Option<&str>) -> Application {
        Application::new(self.clone(), client_id, secret)
    }

    /// Sends one request. Redirects are answers, nothing follows them.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        self.send_at_home(SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000)), request).await
    }

    /// Sends one request to the host, from an address.
    async fn send_at_home(&self, peer: SocketAddr, mut request: Request<Body>) -> Answer {
        request.headers_mut().insert(HOST, self.host.parse().unwrap());
        self.send_from(peer, request).await
    }

    /// Sends one request as it is, from an address.
    pub(crate) async fn send_from(&self, peer: SocketAddr, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(Peer(peer));
        let response = self.router.clone().oneshot(request).await.expect("a router always answers");
        Answer::read(response).await
    }

    /// Sends one request to the host, and answers as soon as the answer begins.
    pub(crate) async fn open(&self, mut request: Request<Body>) -> Response<Body> {
        request.headers_mut().insert(HOST, self.host.parse().unwrap());
        request.extensions_mut().insert(Peer(SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000))));
        self.router.clone().oneshot(request).await.expect("a router always answers")
    }

    /// The present instant, of every node.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets `seconds` pass, on every node.
    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(seconds);
    }

    /// Tells applications what is due to be told at this instant, each once.
    pub(crate) async fn deliver(&self) {
        self.courier.work_off().await.expect("the deliveries");
    }

    /// Builds the Actions that are due to be built at this instant.
    pub(crate) async fn build(&self) {
        self.builds.work_off().await.expect("the builds");
    }

    /// The same, for stories of Actions that need a package which ships with the server.
    #[track_caller]
    pub(crate) fn assert_packages(&self) {
        let folder = packages_dir();
        assert!(folder.is_dir(), "no packages in {}: run `cargo xtask packages`", folder.display());
    }

    /// What runs the Actions that nobody waits for.
    pub(crate) fn runs(&self) -> Runs {
        Runs::new(Arc::clone(&self.core), job_ctx(&self.core, ISSUER))
    }

    /// Runs the Actions that nobody waits for and that are due at this instant.
    pub(crate) async fn run_actions(&self) {
        self.runs().work_off().await.expect("the runs");
    }

    /// Has applications told as a running server does, until the answer is dropped.
    pub(crate) fn deliver_in_background(&self) -> InBackground {
        let courier = Arc::clone(&self.courier);
        InBackground(tokio::spawn(async move { courier.run(std::future::pending()).await }))
    }

    /// Runs the background sweep once, after what comes before it in a server that runs.
    pub(crate) async fn sweep(&self) -> curfew_core::sweep::Swept {
        self.deliver().await;
        // Log rows still on their way would be left to the next sweep.
        self.core.logs.drain().await;
        curfew_core::sweep::sweep(&self.core, &job_ctx(&self.core, ISSUER)).await.expect("the sweep")
    }

    /// This node reads the feed no more, as if it were gone.
    pub(crate) fn stop_feed(&self) {
        self.feed.abort();
    }

    /// The tenant's log rows of one type.
    pub(crate) async fn logs(&self, code: &str) -> Vec<serde_json::Value> {
        self.core.logs.drain().await;
        let rows = self
            .store()
            .read((), |tx, ()| Box::pin(curfew_store::logs::newest(tx, curfew_model::TenantId(1), 1000)));
        let rows = rows.await.expect("the log");
        let of_code = rows.into_iter().filter(|(_, own, _)| own == code);
        of_code.map(|(_, _, doc)| serde_json::from_str(&doc).expect("JSON")).collect()
    }

    /// The store, for checks that no route can make.
    pub(crate) fn store(&self) -> &Store {
        &self.core.store
    }

    /// Checks the integrity of the whole store.
    pub(crate) async fn verify(&self) {
        self.core.logs.drain().await;
        let bounds = Bounds { now: self.now(), sessions_max: SESSIONS_MAX, families_max: FAMILIES_MAX };
        let wrong = self.store().read_long(bounds, |tx, bounds| Box::pin(verify(tx, bounds))).await;
        assert_eq!(wrong.expect("the store can be read"), Vec::<String>::new());
    }
}
