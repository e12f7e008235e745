//! The protocol of docs/guards.md as a model, of which every state is visited: feed, lanes, probes, lease and failover.
//!
//! # What is shown
//!
//! **I2, bounded reach.** Let an ending be acknowledged at one moment, and a guard let a request with the ended token pass at
//! another. By real time, the second is at most the guard's lease after the first. And more: what a guard has once heard
//! it never lets pass again, also when it was started anew in between, so that a receipt which says "told" stays true.
//!
//! **It hears.** From every state, however bad: once nothing fails any more and each message arrives, the guard comes to
//! know all endings and to have a fresh view, in a bounded number of steps and without waiting for any timer. Also when the
//! load balancer sends each of its probes to a node that does not hold its stream.
//!
//! **The rules are needed.** For each of them there is a [`Mistake`] that breaks it, and the way to an accepted token that
//! was ended longer ago than the lease.
//!
//! # What is modelled
//!
//! Time goes in ticks, and a tick may come at any moment. Endings commit in lanes and are acknowledged at once, which is the
//! earliest that they can be. Nodes read one lane after the other, so that anything may come in between. Probes, answers and
//! the events of a stream take any time, or get lost; streams break; a probe arrives at any node. A guard reads one event at a
//! time. A snapshot may be as old as it likes. What else happens is a [`Fault`].
//!
//! How long ago something was is counted up to where it makes no difference any more. So there is no longest run: the states
//! are those of runs of any length, with any number of cuts, crashes, restarts and naps. Bounded are the sizes: two
//! nodes, two lanes, two endings, two probes under way, four events in a stream that is then cut as too slow.
//!
//! One guard: guards share nothing but their nodes' reads, which come at any time anyway.
//!
//! # What is not
//!
//! - The code. This is the page; that nodes and guards do what the page says is what their own tests show.
//! - How the kinds of cutoffs match tokens, authorization, and when cutoffs are dropped.
//! - A request that has passed the check and is then held up, be it by a sleeping machine: it was let pass at the check.
//! - A machine that sleeps *and* whose wall clock is set back, or whose clocks both stand still, like that of a virtual machine
//!   that is suspended and not told. Each of the two alone is modelled.

mod asking;
mod explore;
mod protocol;
mod state;
mod world;

use asking::{Asking, KeptTooLong};
use explore::{Explored, Model, explore};
use world::{Fault, Mistake, Routing, World};

const WORLD: World = World {
    lanes: 2,
    nodes: 2,
    endings: 2,
    probes: 1,
    lease_ticks: 1,
    faults: &[],
    mistake: None,
    routing: Routing::ToTheNodeOfTheStream,
};

fn report<M: Model>(explored: &Explored<M>) -> String {
    format!(
        "{} states, {} transitions, the farthest after {} actions",
        explored.states(),
        explored.transitions,
        explored.depth
    )
}

/// Visits every state: the promise is kept in each, and from each a calm run comes to its goal.
fn holds<M: Model + std::fmt::Debug>(model: &M) -> Explored<M> {
    let explored = explore(model);
    if let Some((way, state)) = &explored.broken {
        panic!("{model:?}: broken by {way:#?}\nin {state:#?}");
    }
    match explored.calm_steps(model) {
        Ok(steps) => println!("{model:?}: {}; calm after {steps} actions", report(&explored)),
        Err((way, state)) => panic!("{model:?}: never calm after {way:#?}\nin {state:#?}"),
    }
    explored
}

/// Visits states until the promise is broken, which it must be.
fn is_broken<M: Model + std::fmt::Debug>(model: &M) {
    let explored = explore(model);
    let Some((way, _)) = &explored.broken else {
        panic!("{model:?}: not found out in {}", report(&explored));
    };
    println!("{model:?}: broken by {way:?}; {}", report(&explored));
}

/// The world keeps the promise, and each of the mistakes alone breaks it.
fn holds_but_for(world: World, mistakes: &[Mistake]) {
    holds(&world);
    for mistake in mistakes {
        is_broken(&World { mistake: Some(*mistake), ..world });
    }
}

#[test]
fn a_node_that_is_cut_off_from_the_database_alone() {
    let world = World { faults: &[Fault::DatabaseCut, Fault::StreamCut], ..WORLD };
    holds_but_for(
        world,
        &[
            Mistake::EchoWithoutRead,
            Mistake::EchoAfterTheReadUnderWay,
            Mistake::EchoBeforeTheEntries,
            Mistake::FailedReadCounts,
            Mistake::AnswerFromMemory,
            Mistake::AnswerCountsAtOnce,
            Mistake::AnswerComparedInOneLane,
            Mistake::AnswerComparedBySum,
            Mistake::OneTickMore,
        ],
    );
}

#[test]
fn a_delayed_stream() {
    let world = World { lanes: 1, nodes: 1, probes: 2, lease_ticks: 3, faults: &[Fault::StreamCut], ..WORLD };
    holds_but_for(world, &[Mistake::AgeFromTheEcho, Mistake::EchoOfTheNewestProbe]);
}

#[test]
fn a_node_that_is_killed_and_its_guards_go_to_another() {
    let world = World { lanes: 1, lease_ticks: 2, faults: &[Fault::NodeCrash, Fault::StreamCut], ..WORLD };
    holds_but_for(
        world,
        &[Mistake::ResumedFromTheNodesPosition, Mistake::ResumedFromWhatWasSent, Mistake::HelloCountsAsEcho],
    );
}

#[test]
fn a_guard_that_is_restarted_while_the_server_is_away() {
    let faults = &[Fault::GuardRestart, Fault::NodeCrash, Fault::DatabaseCut];
    holds_but_for(World { lanes: 1, faults, ..WORLD }, &[Mistake::AgeOutlivesTheRestart]);
}

#[test]
fn a_snapshot_that_is_older_than_what_the_node_has_read() {
    let world = World { lanes: 1, faults: &[Fault::StreamCut], ..WORLD };
    holds_but_for(
        world,
        &[Mistake::SnapshotCountsAsEcho, Mistake::SnapshotNamesALaterPosition, Mistake::StreamBeforeSnapshot],
    );
}

#[test]
fn a_machine_that_sleeps() {
    let world =
        World { lanes: 1, nodes: 1, lease_ticks: 3, faults: &[Fault::Sleep, Fault::StreamCut], ..WORLD };
    holds_but_for(world, &[Mistake::MonotonicClockAlone]);
}

#[test]
fn a_wall_clock_that_is_set_back() {
    let world = World {
        lanes: 1,
        nodes: 1,
        lease_ticks: 3,
        faults: &[Fault::ClockSetBack, Fault::StreamCut],
        ..WORLD
    };
    holds_but_for(world, &[Mistake::WallClockAlone]);
}

/// An entry may be sent early, but what stands for "everything up to here" moves only when everything has been sent.
#[test]
fn entries_that_come_early() {
    let world = World { lanes: 1, faults: &[Fault::EarlyEntries, Fault::StreamCut], ..WORLD };
    holds_but_for(world, &[Mistake::EarlyEntryMovesTheNode, Mistake::PositionFromEndings]);
}

/// A guard's position moves with endings that are none of its business, or the answers of other nodes would never count.
#[test]
fn probes_that_only_ever_reach_another_node() {
    let world = World { faults: &[Fault::EndingsElsewhere], routing: Routing::ToAnotherNode, ..WORLD };
    holds(&world);
    let world = World { mistake: Some(Mistake::PositionOnlyBehindEntries), ..world };
    let explored = explore(&world);
    assert!(explored.broken.is_none(), "nothing is let pass");
    assert!(explored.calm_steps(&world).is_err(), "but the guard's view never gets fresh again");
}

/// After a restore the numbers of lost entries are given to others, so a position has to say which feed it is of. On the wire
/// it does not say so today: what is broken here is what guards do.
#[test]
fn a_database_that_is_restored_from_a_backup() {
    let world = World { lanes: 1, faults: &[Fault::DatabaseRestored, Fault::StreamCut], ..WORLD };
    holds_but_for(world, &[Mistake::PositionsWithoutFeed]);
}

/// The bound rests on this: what answers a node's reads is the database in which endings are committed. An old primary that
/// still answers after a failover breaks it, as it breaks every other check that reads.
#[test]
fn an_old_primary_has_to_be_fenced() {
    is_broken(&World { lanes: 1, faults: &[Fault::OldPrimaryAnswers], ..WORLD });
}

#[test]
fn everything_at_once() {
    let faults = &[
        Fault::DatabaseCut,
        Fault::StreamCut,
        Fault::NodeCrash,
        Fault::GuardRestart,
        Fault::Sleep,
        Fault::EarlyEntries,
        Fault::EndingsElsewhere,
        Fault::DatabaseRestored,
    ];
    holds(&World { lanes: 1, endings: 1, faults, ..WORLD });
}

#[test]
fn an_answer_to_a_guard_that_asked() {
    let contract = Asking { cutoffs: 3, mistake: None };
    holds(&contract);
    for mistake in [
        KeptTooLong::UntilTheTokenExpires,
        KeptTooLong::ForWhatIsKnownWhenItComes,
        KeptTooLong::ForRequestsThatCameLater,
    ] {
        is_broken(&Asking { mistake: Some(mistake), ..contract });
    }
}
