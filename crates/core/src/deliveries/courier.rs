//! The job that carries deliveries out: wakes when something ended here, looks now and then for what ended elsewhere and
//! for what is due again.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_model::{Ctx, Failure};
use curfew_store::Lane;
use curfew_store::deliveries::{self, Delivery, ReceiverId};
use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use super::attempt::attempt;
use super::fanout;
use crate::Core;

/// How long a picked delivery is left to who picked it. Longer than a try may take, so that nobody else makes it too.
const LEASE_SECONDS: i64 = 10;
/// Receivers whose deliveries are picked in one transaction: the first of many are asked while the next are picked.
const RECEIVERS_PER_PICK: usize = 16;
/// How often one looks without having been woken.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What tries under way have to come to an end when the server stops. Those that do not are made again.
const LAST_TRIES: Duration = Duration::from_secs(1);

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Tries in all.
    pub tries: usize,
    /// Tries at one receiver.
    pub tries_per_receiver: usize,
    /// Tries at a receiver whose last one failed.
    pub tries_per_failing_receiver: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tries: 64, tries_per_receiver: 8, tries_per_failing_receiver: 1 }
    }
}

/// Carries deliveries out, of one tenant.
#[derive(Debug)]
pub struct Courier {
    core: Arc<Core>,
    /// Whose, and under which issuer; the instant is read anew for each step.
    ctx: Ctx,
    desk: Arc<Desk>,
}

impl Courier {
    /// A courier of the tenant of `ctx`.
    pub fn new(core: Arc<Core>, ctx: Ctx, limits: Limits) -> Self {
        Self { core, ctx, desk: Arc::new(Desk { limits, seats: Mutex::default() }) }
    }

    /// Carries out until `stop` is done.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut written = self.core.store.endings_written();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = pin!(stop);
        let mut under_way = JoinSet::new();
        let mut expand = true;
        loop {
            while under_way.try_join_next().is_some() {}
            // A look is short: it comes to its end also when the server stops meanwhile.
            expand = match self.look(&mut under_way, expand).await {
                Ok(More::Open) if stop.as_mut().now_or_never().is_some() => break,
                Ok(More::Open) => true,
                Ok(More::Crowded) => tokio::select! {
                    biased;
                    () = &mut stop => break,
                    Some(_) = under_way.join_next() => false,
                    _ = written.changed() => true,
                    _ = looks.tick() => true,
                },
                Ok(More::Nothing) => tokio::select! {
                    biased;
                    () = &mut stop => break,
                    _ = written.changed() => true,
                    _ = looks.tick() => true,
                },
                Err(failure) => {
                    tracing::warn!(%failure, "cannot look for deliveries; it is tried again");
                    tokio::select! {
                        biased;
                        () = &mut stop => break,
                        () = tokio::time::sleep(LOOK_EVERY) => true,
                    }
                }
            };
        }
        let _ =
            tokio::time::timeout(LAST_TRIES, async { while under_way.join_next().await.is_some() {} }).await;
    }

    /// Does everything that is due at the present instant, and waits for it.
    pub async fn work_off(&self) -> Result<(), Failure> {
        let mut under_way = JoinSet::new();
        loop {
            let more = self.look(&mut under_way, true).await?;
            if under_way.join_next().await.is_none() && more == More::Nothing {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Ctx {
        Ctx { now: self.core.clock.now(), ..self.ctx.clone() }
    }

    /// Steps: 1 work out who has to hear of what ended, 2 pick what is due, of as many receivers and as much of each
    /// as there is room for, 3 begin the tries.
    async fn look(&self, under_way: &mut JoinSet<()>, expand: bool) -> Result<More, Failure> {
        let ctx = self.now();
        let open = expand && fanout::expand(&self.core, &ctx).await?;
        let due = self
            .core
            .store
            .read(self.now(), |tx, ctx| Box::pin(deliveries::due_receivers(tx, ctx.tenant, ctx.now)))
            .await?;
        let mut crowded = false;
        for receivers in self.desk.turns(due).chunks(RECEIVERS_PER_PICK) {
            let room = self.desk.room(receivers);
            crowded |= room.len() < receivers.len();
            if room.is_empty() {
                break;
            }
            for delivery in self.pick(&room).await? {
                self.begin(under_way, delivery);
            }
            // What a receiver has more of than it had room for is due as soon as a try ends.
            crowded = true;
        }
        Ok(match (open, crowded) {
            (true, _) => More::Open,
            (false, true) if !under_way.is_empty() => More::Crowded,
            (false, _) => More::Nothing,
        })
    }

    async fn pick(&self, room: &[(ReceiverId, usize)]) -> Result<Vec<Delivery>, Failure> {
        self.core
            .store
            .transact(Lane::Ordinary, (self.now(), room.to_vec()), |tx, (ctx, room)| {
                Box::pin(async move {
                    let times = (ctx.now, ctx.now.plus_seconds(LEASE_SECONDS));
                    let mut picked = Vec::new();
                    for (receiver, tries) in room {
                        let limit = i64::try_from(*tries).unwrap_or(i64::MAX);
                        picked.extend(deliveries::pick(tx, ctx.tenant, receiver, times, limit).await?);
                    }
                    Ok(picked)
                })
            })
            .await
    }

    fn begin(&self, under_way: &mut JoinSet<()>, delivery: Delivery) {
        let (core, ctx) = (Arc::clone(&self.core), self.now());
        let seat = Desk::sit(&self.desk, &delivery.receiver);
        under_way.spawn(async move {
            match attempt(&core, &ctx, &delivery).await {
                Ok(well) => seat.note(well),
                Err(failure) => {
                    // The lease runs out, and the delivery is due again.
                    tracing::error!(%failure, receiver = %delivery.receiver, "a delivery could not be tried");
                }
            }
        });
    }
}

/// What a look leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    /// Fan-outs are still open.
    Open,
    /// Tries are under way, and others may wait for their room.
    Crowded,
    /// Nothing that is known.
    Nothing,
}

/// Who has how much room.
#[derive(Debug)]
struct Desk {
    limits: Limits,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    of_receiver: HashMap<ReceiverId, usize>,
    failing: HashSet<ReceiverId>,
    /// Whose turn was last.
    last: Option<ReceiverId>,
}

impl Desk {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receivers in turn: those after the one that was last come first, so that none waits for ever behind others.
    fn turns(&self, mut due: Vec<ReceiverId>) -> Vec<ReceiverId> {
        due.sort_unstable();
        if let Some(last) = &self.seats().last {
            let after = due.partition_point(|receiver| receiver <= last);
            due.rotate_left(after);
        }
        due
    }

    /// How many tries each of these receivers has room for now; those without are left out.
    fn room(&self, receivers: &[ReceiverId]) -> Vec<(ReceiverId, usize)> {
        let mut seats = self.seats();
        let mut left = self.limits.tries.saturating_sub(seats.taken);
        let mut room = Vec::new();
        for receiver in receivers {
            let most = if seats.failing.contains(receiver) {
                self.limits.tries_per_failing_receiver
            } else {
                self.limits.tries_per_receiver
            };
            let taken = seats.of_receiver.get(receiver).copied().unwrap_or(0);
            let tries = most.saturating_sub(taken).min(left);
            if tries > 0 {
                left -= tries;
                room.push((receiver.clone(), tries));
            }
        }
        if let Some((receiver, _)) = room.last() {
            seats.last = Some(receiver.clone());
        }
        room
    }

    fn sit(desk: &Arc<Self>, receiver: &ReceiverId) -> Seat {
        let mut seats = desk.seats();
        seats.taken += 1;
        *seats.of_receiver.entry(receiver.clone()).or_default() += 1;
        Seat { desk: Arc::clone(desk), receiver: receiver.clone() }
    }
}

/// Room for one try; given back when it is dropped, however the try ended.
struct Seat {
    desk: Arc<Desk>,
    receiver: ReceiverId,
}

impl Seat {
    fn note(&self, well: bool) {
        let mut seats = self.desk.seats();
        if well {
            seats.failing.remove(&self.receiver);
        } else {
            seats.failing.insert(self.receiver.clone());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.desk.seats();
        seats.taken = seats.taken.saturating_sub(1);
        if let Some(taken) = seats.of_receiver.get_mut(&self.receiver) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                seats.of_receiver.remove(&self.receiver);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<ReceiverId> {
        names.iter().map(|name| ReceiverId((*name).to_owned())).collect()
    }

    fn desk(tries: usize) -> Arc<Desk> {
        let limits = Limits { tries, tries_per_receiver: 3, tries_per_failing_receiver: 1 };
        Arc::new(Desk { limits, seats: Mutex::default() })
    }

    fn room(desk: &Desk, names: &[&str]) -> Vec<(String, usize)> {
        desk.room(&ids(names)).into_iter().map(|(receiver, tries)| (receiver.0, tries)).collect()
    }

    #[test]
    fn nobody_takes_the_room_of_others() {
        let desk = desk(10);
        let receiver = ReceiverId("a".to_owned());
        let mut sitting: Vec<Seat> = (0..3).map(|_| Desk::sit(&desk, &receiver)).collect();
        assert_eq!(room(&desk, &["a", "b"]), [("b".to_owned(), 3)]);
        let seat = sitting.pop().expect("one of three");
        seat.note(false);
        drop(seat);
        assert_eq!(room(&desk, &["a"]), [], "two tries at one that fails");
        drop(sitting);
        assert_eq!(room(&desk, &["a"]), [("a".to_owned(), 1)]);
        Desk::sit(&desk, &receiver).note(true);
        assert_eq!(room(&desk, &["a"]), [("a".to_owned(), 3)]);
    }

    #[test]
    fn each_has_its_turn() {
        let desk = desk(4);
        assert_eq!(desk.turns(ids(&["c", "a", "b"])), ids(&["a", "b", "c"]));
        assert_eq!(room(&desk, &["a", "b", "c"]), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        assert_eq!(desk.turns(ids(&["a", "b", "c"])), ids(&["c", "a", "b"]));
    }
}
