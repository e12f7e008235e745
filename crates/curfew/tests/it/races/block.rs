//! 64 clients log in silently, redeem and refresh while their person is blocked: nothing whose request began after
//! the answer to the PATCH succeeds, and what was in flight across it is dead when it is used.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use curfew_store::Engine;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::process::Place;
use crate::process::actors::{Admin, Application, Browser, Tokens};
use crate::process::connection::Answer;

/// Clients at once.
const CLIENTS: usize = 64;
/// Successes of each kind before the PATCH is sent.
const SUCCESSES: u64 = 1000;
/// Names how often each engine runs it.
const RUNS_VARIABLE: &str = "CURFEW_TEST_RACE_RUNS";
const RUNS: u32 = 20;

#[derive(Clone, Copy)]
enum Kind {
    Silent,
    Redeem,
    Refresh,
}

/// What all clients of one run share.
#[derive(Default)]
struct Run {
    successes: [AtomicU64; 3],
    enough: Notify,
    /// When the PATCH was sent.
    sent: OnceLock<Instant>,
    /// When its answer was there.
    ended: OnceLock<Instant>,
    violations: Mutex<Vec<String>>,
    /// Successes that were answered after the PATCH was sent.
    in_flight: AtomicU64,
}

impl Run {
    /// Judges a success of a request that began at `begun`.
    fn succeeded(&self, kind: Kind, begun: Instant) {
        let successes = self.successes[kind as usize].fetch_add(1, Ordering::Relaxed) + 1;
        if successes >= SUCCESSES && self.least() >= SUCCESSES {
            self.enough.notify_one();
        }
        if self.sent.get().is_some() {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(late) = self.ended.get().and_then(|ended| begun.checked_duration_since(*ended)) {
            let kind = ["silent login", "redemption", "refresh"][kind as usize];
            self.violate(format!("{kind} begun {late:?} after the answer to the PATCH succeeded"));
        }
    }

    /// Judges a refusal of a request that began at `begun`.
    fn refused(&self, begun: Instant, answer: &Answer, error: &str, expected: &str) {
        let early = self.sent.get().is_none();
        if early || error != expected {
            self.violate(format!("refused without a reason (begun {begun:?}): {answer:?}"));
        }
    }

    fn least(&self) -> u64 {
        self.successes.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    fn violate(&self, what: String) {
        self.violations.lock().unwrap().push(what);
        // There may never be enough successes now.
        self.enough.notify_one();
    }
}

/// One of the clients, with what it was given last.
struct Client {
    run: Arc<Run>,
    browser: Browser,
    application: Application,
    /// Not redeemed yet, the newest last.
    codes: VecDeque<String>,
    /// Of the newest family.
    tokens: Option<Tokens>,
    /// The newest ones.
    access: VecDeque<String>,
}

/// Codes that a client keeps back, so that there are some when the person is blocked.
const CODES_KEPT: usize = 2;
/// Access tokens that a client keeps.
const ACCESS_KEPT: usize = 4;

impl Client {
    fn new(run: &Arc<Run>, browser: Browser, application: &Application) -> Self {
        Self {
            run: Arc::clone(run),
            browser,
            application: application.clone(),
            codes: VecDeque::new(),
            tokens: None,
            access: VecDeque::new(),
        }
    }

    /// Does everything in turn until the person is blocked, and once more with all that it holds. Answers itself, to
    /// be tried again.
    async fn work(mut self) -> Self {
        while self.run.ended.get().is_none() {
            self.silent().await;
            if self.codes.len() > CODES_KEPT {
                self.redeem().await;
            }
            self.refresh().await;
        }
        self.try_everything().await;
        self
    }

    /// Every request of these begins after the answer to the PATCH.
    async fn try_everything(&mut self) {
        self.silent().await;
        for _ in 0..self.codes.len() {
            self.redeem().await;
        }
        self.refresh().await;
        for token in &self.access {
            if self.browser.userinfo(token).await.expect("an answer") {
                self.run.violate("an access token outlived the block".into());
            }
        }
    }

    async fn silent(&mut self) {
        let begun = Instant::now();
        match self.browser.silent(&self.application).await.expect("an answer") {
            Ok(code) => {
                self.run.succeeded(Kind::Silent, begun);
                self.codes.push_back(code);
            }
            Err(answer) => {
                let error = answer.redirected_with("error").unwrap_or_default();
                self.run.refused(begun, &answer, &error, "login_required");
            }
        }
    }

    async fn redeem(&mut self) {
        let Some(code) = self.codes.pop_front() else { return };
        let begun = Instant::now();
        match self.browser.redeem(&self.application, &code).await.expect("an answer") {
            Ok(tokens) => {
                self.run.succeeded(Kind::Redeem, begun);
                self.keep(tokens);
            }
            Err(answer) => {
                let error = answer.member("error").unwrap_or_default();
                self.run.refused(begun, &answer, &error, "invalid_grant");
                // It is tried again after the PATCH, and after the block is taken away.
                self.codes.push_back(code);
            }
        }
    }

    async fn refresh(&mut self) {
        let Some(tokens) = self.tokens.clone() else { return };
        let begun = Instant::now();
        match self.browser.refresh(&self.application, &tokens.refresh).await.expect("an answer") {
            Ok(tokens) => {
                self.run.succeeded(Kind::Refresh, begun);
                self.keep(tokens);
            }
            Err(answer) => {
                let error = answer.member("error").unwrap_or_default();
                self.run.refused(begun, &answer, &error, "invalid_grant");
            }
        }
    }

    fn keep(&mut self, tokens: Tokens) {
        if self.access.len() == ACCESS_KEPT {
            self.access.pop_front();
        }
        self.access.push_back(tokens.access.clone());
        self.tokens = Some(tokens);
    }
}

/// One run: a person of its own, so that runs can share a server.
async fn run(place: &Place, admin: &mut Admin, applications: &[Application], number: u32) -> Figures {
    let person = admin.make_person(&format!("run-{number}")).await;
    let mut first = Browser::new(place.address());
    let logged_in = first.log_in(&applications[0], &person).await.expect("an answer");
    logged_in.unwrap_or_else(|answer| panic!("no login: {answer:?}"));
    let run = Arc::new(Run::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let application = &applications[number % applications.len()];
            Client::new(&run, first.same_cookie(place.address()), application)
        })
        .map(|client| tokio::spawn(client.work()))
        .collect();
    run.enough.notified().await;
    let before = run.successes.each_ref().map(|count| count.load(Ordering::Relaxed));
    run.sent.set(Instant::now()).expect("once");
    let answer = admin.set_blocked(&person, true).await.expect("an answer");
    run.ended.set(Instant::now()).expect("once");
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut after = Vec::new();
    for client in clients {
        after.push(client.await.expect("no panic"));
    }
    // A floor never goes down: taking the block away brings nothing back.
    let answer = admin.set_blocked(&person, false).await.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    for client in after.iter_mut().take(8) {
        client.try_everything().await;
    }
    let violations = std::mem::take(&mut *run.violations.lock().unwrap());
    assert!(violations.is_empty(), "run {number}: {violations:#?}");
    let in_flight = run.in_flight.load(Ordering::Relaxed);
    Figures { before, in_flight }
}

/// What a run saw.
struct Figures {
    /// Successes before the PATCH was sent.
    before: [u64; 3],
    /// Successes answered between the sending of the PATCH and its answer, or after it.
    in_flight: u64,
}

async fn runs(engine: Engine) {
    let runs = std::env::var(RUNS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    let place = Place::new(engine);
    let server = place.start();
    let mut admin = Admin::new(&place).await;
    // At most 200 families of one person and application live: with one for each eight clients none is displaced.
    let applications = admin.make_applications(CLIENTS / 4, 0).await;
    let begun = Instant::now();
    let (mut least, mut in_flight) = ([u64::MAX; 3], 0);
    for number in 0..runs {
        let figures = run(&place, &mut admin, &applications, number).await;
        for (least, count) in least.iter_mut().zip(figures.before) {
            *least = count.min(*least);
        }
        in_flight += figures.in_flight;
    }
    let [silent, redeemed, refreshed] = least;
    println!(
        "{engine:?}: {runs} runs in {:.1?}; each had at least {silent} silent logins, {redeemed} redemptions and \
         {refreshed} refreshes before the PATCH; {in_flight} successes in all crossed it",
        begun.elapsed()
    );
    server.kill();
    place.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    runs(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    runs(Engine::Postgres).await;
}
