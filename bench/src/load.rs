//! The two kinds of load: closed (each connection asks again as soon as it was answered) and open (requests come at
//! a fixed rate, whether or not earlier ones were answered, and their waiting counts: no coordinated omission).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::failed::{Failed, Result, While};
use crate::scenario::Scenario;
use crate::wire::{Connection, Server};
use crate::world::World;

/// What is asked for over and over.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// An operation of Curfew.
    Curfew(Scenario, Rc<World>),
    /// The same requests to the floor.
    Floor(Rc<Server>, Rc<Vec<Vec<u8>>>),
}

impl Target {
    fn server(&self) -> &Rc<Server> {
        match self {
            Self::Curfew(_, world) => &world.server,
            Self::Floor(server, _) => server,
        }
    }

    async fn run(&self, connection: &mut Connection) -> Result<()> {
        match self {
            Self::Curfew(scenario, world) => scenario.run(world, connection).await,
            Self::Floor(_, requests) => {
                for request in requests.iter() {
                    let answer = connection.send_raw(request).await?;
                    if answer.status != 200 {
                        return Err(Failed(format!("the floor answered {}", answer.describe())));
                    }
                }
                Ok(())
            }
        }
    }
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Of each operation that succeeded.
    pub(crate) latencies: Vec<Duration>,
    /// Operations that failed.
    pub(crate) failures: usize,
    /// Why the first of them did.
    pub(crate) first_failure: Option<String>,
    /// From the first request to the last answer.
    pub(crate) wall: Duration,
}

impl Outcome {
    fn note(&mut self, began: Instant, result: Result<()>) {
        match result {
            Ok(()) => self.latencies.push(began.elapsed()),
            Err(failed) => {
                self.failures += 1;
                self.first_failure.get_or_insert(failed.0);
            }
        }
    }
}

/// Keeps the generator's thread looking for answers instead of sleeping between them, until it is dropped. Waking a
/// thread that sleeps costs the server that answers it processor time, and costs it most where it answers soonest.
/// Not where a database shares the generator's core.
#[derive(Debug)]
pub(crate) struct Awake(tokio::task::AbortHandle);

impl Awake {
    fn new() -> Self {
        let looking = async {
            loop {
                tokio::task::yield_now().await;
            }
        };
        Self(spawn_local(looking).abort_handle())
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the generator does while it waits for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It leaves the core to others.
    Asleep,
    /// It looks for answers all the time.
    Awake,
}

impl Waiting {
    /// From now on, until what is answered is dropped.
    pub(crate) fn begin(self) -> Option<Awake> {
        (self == Self::Awake).then(Awake::new)
    }
}

/// Failures in a row after which a connection gives up: what fails a hundred times will not succeed.
const FAILURES_MAX: usize = 100;

/// Asks on `connections` connections for `seconds`, then waits for what is under way, so that every request that
/// cost something is counted.
pub(crate) async fn closed(
    target: &Target,
    connections: usize,
    seconds: f64,
    waiting: Waiting,
) -> Result<Outcome> {
    let _awake = waiting.begin();
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (target, outcome) = (target.clone(), Rc::clone(&outcome));
            spawn_local(async move {
                let mut connection = Connection::new(target.server());
                let mut failures = 0;
                while Instant::now() < end && failures < FAILURES_MAX {
                    let began = Instant::now();
                    let result = target.run(&mut connection).await;
                    failures = if result.is_ok() { 0 } else { failures + 1 };
                    outcome.borrow_mut().note(began, result);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.doing("a connection of the generator")?;
    }
    let mut outcome = outcome.take();
    outcome.wall = started.elapsed();
    Ok(outcome)
}

/// Requests that are due, with the instants at which they were.
#[derive(Debug, Default)]
struct Due {
    waiting: RefCell<VecDeque<Instant>>,
    more: Notify,
    closed: Cell<bool>,
}

impl Due {
    async fn next(&self) -> Option<Instant> {
        loop {
            if let Some(due) = self.waiting.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.closed.get() {
                return None;
            }
            self.more.notified().await;
        }
    }
}

/// Lets `rate` requests a second fall due for `seconds`; up to `connections` are under way at once. A latency
/// begins when the request was due, not when a connection was free to send it.
pub(crate) async fn open(
    target: &Target,
    connections: usize,
    rate: f64,
    seconds: f64,
    waiting: Waiting,
) -> Result<Outcome> {
    let _awake = waiting.begin();
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let due = Rc::new(Due::default());
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (target, outcome, due) = (target.clone(), Rc::clone(&outcome), Rc::clone(&due));
            spawn_local(async move {
                let mut connection = Connection::new(target.server());
                while let Some(began) = due.next().await {
                    let result = target.run(&mut connection).await;
                    outcome.borrow_mut().note(began, result);
                }
            })
        })
        .collect();
    let timer = Timer::new()?;
    let started = Instant::now();
    let mut number = 0.0;
    loop {
        let offset = number / rate;
        if offset >= seconds {
            break;
        }
        let at = started + Duration::from_secs_f64(offset);
        timer.until(at).await?;
        due.waiting.borrow_mut().push_back(at);
        due.more.notify_one();
        number += 1.0;
    }
    due.closed.set(true);
    due.more.notify_waiters();
    for worker in workers {
        worker.await.doing("a connection of the generator")?;
    }
    let mut outcome = outcome.take();
    outcome.wall = started.elapsed();
    Ok(outcome)
}

/// A timer that is exact to some microseconds; the runtime's own is exact to a millisecond.
struct Timer(AsyncFd<rustix::fd::OwnedFd>);

impl Timer {
    #[expect(
        deprecated,
        reason = "its successor is unsafe code; this descriptor is owned here and closed with the timer"
    )]
    fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
    }

    async fn until(&self, at: Instant) -> Result<()> {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec::try_from(left).doing("setting a timer")?;
        timerfd_settime(
            self.0.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value },
        )?;
        let mut ready = self.0.readable().await?;
        let mut expirations = [0; 8];
        // What is read is how often it expired: once.
        match rustix::io::read(self.0.get_ref(), &mut expirations) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor;
    use crate::wire::Exchange;

    fn with_floor<F: Future>(body: impl FnOnce(Target) -> F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            spawn_local(floor::accept(listener));
            let server = Rc::new(Server { address, host: address.to_string(), issuer: String::new() });
            let request = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc".to_vec();
            let exchange = Exchange { request, answer_bytes: 1234 };
            let plan = floor::plan(&[exchange.clone(), exchange], &[]).unwrap();
            body(Target::Floor(server, Rc::new(plan))).await
        })
    }

    #[test]
    fn the_closed_loop_counts_what_succeeded() {
        with_floor(async |target| {
            let outcome = closed(&target, 4, 0.1, Waiting::Awake).await.unwrap();
            assert_eq!((outcome.failures, outcome.first_failure), (0, None));
            assert!(outcome.latencies.len() > 4, "{} operations", outcome.latencies.len());
            assert!(outcome.wall >= Duration::from_millis(100));
        });
    }

    #[test]
    fn the_open_loop_asks_as_often_as_it_was_told() {
        with_floor(async |target| {
            let outcome = open(&target, 4, 200.0, 0.25, Waiting::Asleep).await.unwrap();
            assert_eq!((outcome.latencies.len(), outcome.failures), (50, 0));
        });
    }

    #[test]
    fn failures_are_counted_and_the_first_is_told() {
        with_floor(async |target| {
            let Target::Floor(server, _) = target else { panic!("another target") };
            let broken = Target::Floor(server, Rc::new(vec![b"nonsense\r\n\r\n".to_vec()]));
            let outcome = closed(&broken, 2, 10.0, Waiting::Asleep).await.unwrap();
            assert_eq!((outcome.latencies.len(), outcome.failures), (0, 2 * FAILURES_MAX));
            assert!(outcome.first_failure.unwrap().contains("400"));
        });
    }
}
