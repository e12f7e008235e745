//! What runs are made of: sizes, faults, and mistakes.

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) lanes: usize,
    pub(super) nodes: usize,
    pub(super) endings: usize,
    pub(super) probes: usize,
    pub(super) lease_ticks: u8,
    pub(super) faults: &'static [Fault],
    pub(super) mistake: Option<Mistake>,
    /// Where the load balancer sends probes while nothing fails.
    pub(super) routing: Routing,
}

/// What happens beside endings, requests, and messages that take their time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// A node loses the database and nothing else. A read under way fails.
    DatabaseCut,
    /// The connection between guard and node breaks; what was still in it is lost.
    StreamCut,
    /// A node's process ends, with all that it knew.
    NodeCrash,
    /// A guard's process ends, with all that it knew.
    GuardRestart,
    /// A guard's machine sleeps: its monotonic clock stands still, its wall clock is right again when it wakes.
    Sleep,
    /// Somebody sets the wall clock of a guard's machine back, once.
    ClockSetBack,
    /// The database is restored from a backup, once: the newest entries are gone, and all nodes start anew.
    DatabaseRestored,
    /// The database fails over, once, and a node goes on reading from the old primary.
    OldPrimaryAnswers,
    /// Nodes send entries before they come to them: their own, and those that a notification told.
    EarlyEntries,
    /// Endings that do not concern this guard: positions move, and it is sent no entry.
    EndingsElsewhere,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Routing {
    ToTheNodeOfTheStream,
    ToAnotherNode,
}

/// A rule of the protocol, broken. Each must be found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mistake {
    /// A node echoes a probe as soon as it comes in.
    EchoWithoutRead,
    /// A node echoes at the end of the read that was under way when the probe came in.
    EchoAfterTheReadUnderWay,
    /// A node sends the echo before the entries of the read that the echo stands for.
    EchoBeforeTheEntries,
    /// A read that failed after its first lane counts as complete.
    FailedReadCounts,
    /// A node that does not hold the stream answers with what it knew before the probe.
    AnswerFromMemory,
    /// The guard takes another node's answer for an echo, whatever position it names.
    AnswerCountsAtOnce,
    /// The guard compares another node's position in the first lane only.
    AnswerComparedInOneLane,
    /// The guard compares the sum of the lanes.
    AnswerComparedBySum,
    /// The age of the view is counted from the arrival of the echo.
    AgeFromTheEcho,
    /// Any echo is taken for that of the newest probe.
    EchoOfTheNewestProbe,
    /// Opening a stream makes the view fresh.
    HelloCountsAsEcho,
    /// Loading a snapshot makes the view fresh.
    SnapshotCountsAsEcho,
    /// A guard that starts anew goes on with the age that its view had before.
    AgeOutlivesTheRestart,
    /// A snapshot names a position that was read after what it holds.
    SnapshotNamesALaterPosition,
    /// The guard opens its stream "from now on", and loads the snapshot afterwards.
    StreamBeforeSnapshot,
    /// A node that takes up a stream begins at what it has read itself.
    ResumedFromTheNodesPosition,
    /// The stream is taken up from what had been sent, not from what the guard had applied.
    ResumedFromWhatWasSent,
    /// An entry that came early moves the node's position past those before it.
    EarlyEntryMovesTheNode,
    /// The guard takes its position from `ending` events as well.
    PositionFromEndings,
    /// A node sends `position` only behind entries that concern the guard.
    PositionOnlyBehindEntries,
    /// Only the monotonic clock counts.
    MonotonicClockAlone,
    /// Only the wall clock counts.
    WallClockAlone,
    /// The guard trusts its view for one tick more than its lease.
    OneTickMore,
    /// Positions do not say which feed they are of: one and the same number before and after a restore.
    PositionsWithoutFeed,
}
