//! What clients were told, kept on their side, and held against the server after it was killed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::process::Place;
use crate::process::actors::{Admin, Application, Browser, Person};
use crate::process::connection::{Answer, Lost};
use crate::process::dice::Dice;

/// Families that are refreshed all the time.
const CHAINS: usize = 8;
/// Browsers that log in all the time.
const BROWSERS: usize = 3;
/// People whose access is ended under load, and by how many administrators at once.
const VICTIMS: usize = 12;
const ENDERS: usize = 3;
/// Of the applications: longer than a server takes to come back.
const LEEWAY_SECONDS: u32 = 300;

/// How an operation went, as far as its client knows.
enum Outcome<T> {
    Done(T),
    /// The answer was lost, or said that the server could not: it was done, or not.
    Unknown,
}

/// Sorts answers: what a live client's good request must never see is a refusal.
fn outcome<T>(answer: Result<Result<T, Answer>, Lost>) -> Outcome<T> {
    match answer {
        Ok(Ok(value)) => Outcome::Done(value),
        Err(Lost) => Outcome::Unknown,
        Ok(Err(answer))
            if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS =>
        {
            Outcome::Unknown
        }
        Ok(Err(answer)) => panic!("refused: {answer:?} {}", String::from_utf8_lossy(&answer.body)),
    }
}

/// A family, as the client that refreshes it sees it.
struct Chain {
    browser: Browser,
    /// Every token that was acknowledged, the newest last.
    tokens: Vec<String>,
}

/// How access is ended here.
#[derive(Debug, Clone, Copy)]
enum Door {
    Block,
    DeleteUser,
    RevokeSession,
    DeleteSessions,
    RevokeToken,
}

const DOORS: [Door; 5] =
    [Door::Block, Door::DeleteUser, Door::RevokeSession, Door::DeleteSessions, Door::RevokeToken];

/// Which of somebody's artefacts live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Alive {
    session: bool,
    refresh: bool,
    access: bool,
}

const ALL_ALIVE: Alive = Alive { session: true, refresh: true, access: true };

impl Door {
    /// What lives after it.
    fn leaves(self) -> Alive {
        let (session, refresh) = match self {
            Self::Block | Self::DeleteUser | Self::RevokeSession => (false, false),
            Self::DeleteSessions => (false, true),
            Self::RevokeToken => (true, false),
        };
        Alive { session, refresh, access: false }
    }
}

/// Somebody whose access is ended.
struct Victim {
    person: Person,
    browser: Browser,
    access: String,
    refresh: String,
    session_id: String,
    door: Door,
    /// `None`: nobody tried. `Some(true)`: acknowledged. `Some(false)`: tried, and the answer is unknown.
    ended: Option<bool>,
}

/// Everything that was acknowledged.
pub(crate) struct Ledger {
    application: Application,
    people: u32,
    frequent: Person,
    chains: Vec<Chain>,
    /// Browsers that logged in, with the codes that were redeemed.
    logins: Vec<(Browser, String)>,
    victims: Vec<Victim>,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    kills: u32,
    rotations: u64,
    logins: u64,
    endings: u64,
    unknown_endings: u64,
}

/// Load that runs, and what it brings in.
pub(crate) struct Load {
    count: watch::Sender<u64>,
    stopped: AtomicBool,
    rotations: AtomicU64,
    tasks: std::sync::Mutex<JoinSet<Returned>>,
}

enum Returned {
    Chain(Chain),
    Logins(Vec<(Browser, String)>),
    Ender(Vec<Victim>),
}

impl Load {
    /// Waits until `more` further operations were acknowledged.
    pub(crate) async fn acknowledged(&self, more: u64) {
        let mut count = self.count.subscribe();
        let wanted = *count.borrow_and_update() + more;
        count.wait_for(|count| *count >= wanted || self.stopped.load(Ordering::Relaxed)).await.expect("load");
    }

    fn acknowledge(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }
}

impl Ledger {
    /// For a server that has just begun.
    pub(crate) async fn new(place: &Place, admin: &mut Admin) -> Self {
        let application = admin.make_applications(1, LEEWAY_SECONDS).await.remove(0);
        let frequent = admin.make_person("frequent").await;
        let mut ledger = Self {
            application,
            people: 0,
            frequent,
            chains: Vec::new(),
            logins: Vec::new(),
            victims: Vec::new(),
            figures: Figures::default(),
        };
        let first = logged_in(place.address(), &ledger.application, &ledger.frequent).await;
        for _ in 0..CHAINS {
            let chain = begin_chain(first.same_cookie(place.address()), &ledger.application).await;
            ledger.chains.push(chain);
        }
        ledger.logins.push((first, String::new()));
        ledger
    }

    /// Begins load: refreshes, logins and endings at the same time.
    pub(crate) async fn load(&mut self, place: &Place, dice: &mut Dice) -> Arc<Load> {
        let mut admin = Admin::new(place).await;
        self.make_victims(place, &mut admin, dice).await;
        let load = Arc::new(Load {
            count: watch::Sender::new(0),
            stopped: AtomicBool::new(false),
            rotations: AtomicU64::new(0),
            tasks: std::sync::Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for chain in self.chains.drain(..) {
            tasks.spawn(chain.work(Arc::clone(&load), self.application.clone()));
        }
        for _ in 0..BROWSERS {
            let (application, person) = (self.application.clone(), self.frequent.clone());
            tasks.spawn(log_in_forever(Arc::clone(&load), place.address(), application, person));
        }
        let victims = std::mem::take(&mut self.victims);
        let mut shares: Vec<Vec<Victim>> = (0..ENDERS).map(|_| Vec::new()).collect();
        for (number, victim) in victims.into_iter().enumerate() {
            shares[number % ENDERS].push(victim);
        }
        for share in shares {
            let admin = Admin::new(place).await;
            let application = self.application.clone();
            tasks.spawn(end_all(Arc::clone(&load), admin, application, share, dice.child()));
        }
        *load.tasks.lock().unwrap() = tasks;
        load
    }

    async fn make_victims(&mut self, place: &Place, admin: &mut Admin, dice: &mut Dice) {
        for _ in 0..VICTIMS {
            self.people += 1;
            let person = admin.make_person(&format!("victim-{}", self.people)).await;
            let mut browser = logged_in(place.address(), &self.application, &person).await;
            let code = browser.silent(&self.application).await.unwrap().unwrap();
            let tokens = browser.redeem(&self.application, &code).await.unwrap().unwrap();
            let sessions =
                admin.done(Method::GET, &format!("{}/sessions", person.path()), &Value::Null).await;
            self.victims.push(Victim {
                session_id: sessions["sessions"][0]["id"].as_str().expect("a session").to_owned(),
                person,
                browser,
                access: tokens.access,
                refresh: tokens.refresh,
                door: DOORS[dice.below(DOORS.len() as u64) as usize],
                ended: None,
            });
        }
    }

    /// Stops the load and takes over what its clients know.
    pub(crate) async fn settle(&mut self, load: Arc<Load>) {
        load.stopped.store(true, Ordering::Relaxed);
        load.acknowledge();
        let mut tasks = std::mem::take(&mut *load.tasks.lock().unwrap());
        while let Some(returned) = tasks.join_next().await {
            match returned.expect("no client saw what must not be") {
                Returned::Chain(chain) => self.chains.push(chain),
                Returned::Logins(logins) => {
                    self.figures.logins += logins.len() as u64;
                    self.logins.extend(logins);
                }
                Returned::Ender(victims) => self.victims.extend(victims),
            }
        }
        self.figures.kills += 1;
        self.figures.rotations += load.rotations.load(Ordering::Relaxed);
    }

    /// Holds the server to everything that was acknowledged.
    pub(crate) async fn check(&mut self, place: &Place) {
        for victim in self.victims.drain(..) {
            match victim.ended {
                Some(true) => self.figures.endings += 1,
                Some(false) => self.figures.unknown_endings += 1,
                None => {}
            }
            victim.check(&self.application).await;
        }
        for (mut browser, code) in self.logins.drain(1..) {
            let silent = browser.silent(&self.application).await.expect("an answer");
            silent.unwrap_or_else(|answer| panic!("an acknowledged login was lost: {answer:?}"));
            let again = browser.redeem(&self.application, &code).await.expect("an answer");
            assert!(again.is_err(), "an acknowledged redemption was lost: its code served again");
        }
        for (number, chain) in std::mem::take(&mut self.chains).into_iter().enumerate() {
            let mut chain = chain.check(&self.application).await;
            if number % 3 == 0 {
                chain.replay(&self.application).await;
                let browser = self.logins[0].0.same_cookie(place.address());
                chain = begin_chain(browser, &self.application).await;
            }
            self.chains.push(chain);
        }
    }

    pub(crate) fn summary(&self) -> String {
        let Figures { kills, rotations, logins, endings, unknown_endings } = &self.figures;
        format!(
            "{kills} kills; acknowledged and found again: {rotations} rotations, {logins} logins with their \
             redemptions, {endings} endings; {unknown_endings} endings were cut off and found whole"
        )
    }
}

async fn logged_in(address: SocketAddr, application: &Application, person: &Person) -> Browser {
    let mut browser = Browser::new(address);
    let code = browser.log_in(application, person).await.expect("an answer");
    code.unwrap_or_else(|answer| panic!("no login: {answer:?}"));
    browser
}

async fn begin_chain(mut browser: Browser, application: &Application) -> Chain {
    let code = browser.silent(application).await.unwrap().unwrap();
    let tokens = browser.redeem(application, &code).await.unwrap().unwrap();
    Chain { browser, tokens: vec![tokens.refresh] }
}

impl Chain {
    fn newest(&self) -> &str {
        self.tokens.last().expect("it began with one")
    }

    async fn work(mut self, load: Arc<Load>, application: Application) -> Returned {
        while load.goes_on() {
            let newest = self.newest().to_owned();
            let answer = self.browser.refresh(&application, &newest).await;
            // Without an answer the same token is presented again.
            if let Outcome::Done(tokens) = outcome(answer) {
                self.tokens.push(tokens.refresh);
                load.rotations.fetch_add(1, Ordering::Relaxed);
                load.acknowledge();
            }
        }
        Returned::Chain(self)
    }

    /// The newest token that was acknowledged serves: it is current, or the predecessor of the one whose answer was
    /// lost. Were its rotation lost, it would be a token of the future, which ends the family.
    async fn check(mut self, application: &Application) -> Self {
        let newest = self.newest().to_owned();
        let tokens = self.browser.refresh(application, &newest).await.expect("an answer");
        let tokens = tokens.unwrap_or_else(|answer| panic!("an acknowledged rotation was lost: {answer:?}"));
        self.tokens.push(tokens.refresh);
        self
    }

    /// One before the predecessor does not serve, and ends the family: its rotations stand.
    async fn replay(&mut self, application: &Application) {
        let Some(old) = self.tokens.len().checked_sub(4).map(|place| self.tokens[place].clone()) else {
            return;
        };
        let replayed = self.browser.refresh(application, &old).await.expect("an answer");
        assert!(replayed.is_err(), "a token that was rotated away serves again");
        let newest = self.newest().to_owned();
        let newest = self.browser.refresh(application, &newest).await.expect("an answer");
        assert!(newest.is_err(), "a replay ended nothing");
    }
}

async fn log_in_forever(
    load: Arc<Load>,
    address: SocketAddr,
    application: Application,
    person: Person,
) -> Returned {
    let mut logins = Vec::new();
    while load.goes_on() {
        let mut browser = Browser::new(address);
        let Outcome::Done(code) = outcome(browser.log_in(&application, &person).await) else { continue };
        load.acknowledge();
        let Outcome::Done(_) = outcome(browser.redeem(&application, &code).await) else { continue };
        load.acknowledge();
        logins.push((browser, code));
    }
    Returned::Logins(logins)
}

async fn end_all(
    load: Arc<Load>,
    mut admin: Admin,
    application: Application,
    mut victims: Vec<Victim>,
    mut dice: Dice,
) -> Returned {
    for victim in &mut victims {
        load.acknowledged(dice.below(80)).await;
        if !load.goes_on() {
            break;
        }
        let answer = match victim.end(&mut admin, &application).await {
            Ok(answer) if answer.status.is_success() => Ok(Ok(())),
            Ok(answer) => Ok(Err(answer)),
            Err(lost) => Err(lost),
        };
        victim.ended = Some(matches!(outcome(answer), Outcome::Done(())));
        load.acknowledge();
    }
    Returned::Ender(victims)
}

impl Victim {
    async fn end(&mut self, admin: &mut Admin, application: &Application) -> Result<Answer, Lost> {
        let person = self.person.path();
        match self.door {
            Door::Block => admin.set_blocked(&self.person, true).await,
            Door::DeleteUser => admin.call(Method::DELETE, &person, &Value::Null).await,
            Door::RevokeSession => {
                let path = format!("sessions/{}/revoke", self.session_id);
                admin.call(Method::POST, &path, &Value::Null).await
            }
            Door::DeleteSessions => {
                admin.call(Method::DELETE, &format!("{person}/sessions"), &Value::Null).await
            }
            Door::RevokeToken => self.browser.revoke(application, &self.refresh).await,
        }
    }

    async fn check(mut self, application: &Application) {
        let access = self.browser.userinfo(&self.access).await.expect("an answer");
        let refresh = self.browser.refresh(application, &self.refresh).await.expect("an answer").is_ok();
        let session = self.browser.silent(application).await.expect("an answer").is_ok();
        let alive = Alive { session, refresh, access };
        let allowed = match self.ended {
            None => [ALL_ALIVE, ALL_ALIVE],
            Some(true) => [self.door.leaves(), self.door.leaves()],
            // Whole, or not there.
            Some(false) => [self.door.leaves(), ALL_ALIVE],
        };
        assert!(allowed.contains(&alive), "{:?}, acknowledged: {:?}: {alive:?}", self.door, self.ended);
    }
}
