//! What there is at one moment: the database, the nodes, the guard, and what is under way between them.

pub(super) const LANES: usize = 2;
pub(super) const NODES: usize = 2;
/// How many endings a run may have, and so the largest number within a lane.
pub(super) const ENDINGS_MAX: usize = 2;
/// How many probes of a guard may be under way at once. Sending another gives up the oldest.
pub(super) const PROBES_MAX: usize = 2;
/// How many events a stream holds for a guard that does not read; with one more the node cuts it (`too_slow`).
pub(super) const STREAM_MAX: usize = 4;
/// By how many ticks a wall clock is set back.
pub(super) const SET_BACK_TICKS: i8 = 2;

/// How far each lane goes.
pub(super) type Position = [u8; LANES];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) database: Database,
    pub(super) nodes: [Node; NODES],
    pub(super) guard: Guard,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Database {
    pub(super) heads: Position,
    /// Ticks since each ending was acknowledged, up to one more than the lease.
    pub(super) since: [[u8; ENDINGS_MAX]; LANES],
    /// Entries that do not concern the guard.
    pub(super) elsewhere: Entries,
    /// How often the database has been restored.
    pub(super) feed: u8,
    /// The heads of the old primary, if there is one.
    pub(super) old_heads: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Node {
    pub(super) link: Link,
    /// How far this node has completely read.
    pub(super) known: Position,
    /// A read under way, with what it has found in the first lane. It looks at the second when it ends.
    pub(super) read: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Link {
    /// The process does not run.
    Down,
    /// It runs, and has no database.
    CutOff,
    Connected,
    /// Connected to a database that is no longer the primary.
    OldPrimary,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Guard {
    pub(super) awake: bool,
    pub(super) clock_was_set_back: bool,
    pub(super) view: Option<View>,
    /// Since the sending of the last probe that was echoed.
    pub(super) age: Age,
    /// Oldest first, without holes.
    pub(super) probes: [Option<Probe>; PROBES_MAX],
    pub(super) stream: Option<Stream>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct View {
    pub(super) position: Position,
    pub(super) feed: u8,
    pub(super) heard: Entries,
}

/// What the guard's two clocks say about the time since an event, up to one tick more than what it trusts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Age {
    pub(super) monotonic: u8,
    pub(super) wall: i8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Probe {
    pub(super) age: Age,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Stage {
    /// Sent and nowhere yet. `current`: it names the stream that is open.
    OnTheWay { current: bool },
    /// At a node. `missed`: it came while a read was under way, which therefore does not count.
    Waiting { node: u8, in_stream: bool, missed: bool },
    /// Its echo is in the stream.
    Echoed,
    /// Another node has answered how far the feed had come.
    Answered { position: Position, feed: u8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stream {
    pub(super) node: u8,
    /// How far the node has sent.
    pub(super) sent: Position,
    /// What the guard has not yet read, first in first out, without holes.
    pub(super) events: [Option<Event>; STREAM_MAX],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Event {
    Ending { lane: u8, number: u8 },
    Position(Position),
    Echo { probe: u8, position: Position },
}

/// A set of entries, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Entries(pub(super) u8);

impl Entries {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn bit(lane: usize, number: u8) -> u8 {
        1 << (lane * ENDINGS_MAX + usize::from(number) - 1)
    }

    pub(super) fn up_to(position: Position) -> Self {
        let mut entries = Self::NONE;
        entries_between([0; LANES], position).for_each(|(lane, number)| entries.insert(lane, number));
        entries
    }

    pub(super) fn insert(&mut self, lane: usize, number: u8) {
        self.0 |= Self::bit(lane, number);
    }

    pub(super) fn contains(self, lane: usize, number: u8) -> bool {
        self.0 & Self::bit(lane, number) != 0
    }

    pub(super) fn intersect(&mut self, other: Self) {
        self.0 &= other.0;
    }
}

/// Lane and number of all entries after one position, up to another.
pub(super) fn entries_between(after: Position, up_to: Position) -> impl Iterator<Item = (usize, u8)> {
    (0..LANES).flat_map(move |lane| (after[lane] + 1..=up_to[lane]).map(move |number| (lane, number)))
}

pub(super) fn joined(one: Position, other: Position) -> Position {
    [one[0].max(other[0]), one[1].max(other[1])]
}

pub(super) fn reaches(own: Position, other: Position) -> bool {
    (0..LANES).all(|lane| own[lane] >= other[lane])
}

/// Every position that is not beyond this one.
pub(super) fn positions_within(position: Position) -> impl Iterator<Item = Position> {
    (0..=position[0]).flat_map(move |first| (0..=position[1]).map(move |second| [first, second]))
}

impl Age {
    pub(super) const ZERO: Self = Self { monotonic: 0, wall: 0 };

    pub(super) fn is_of_this_tick(self) -> bool {
        self.monotonic == 0 && self.wall <= 0
    }

    pub(super) fn set_back(&mut self) {
        self.wall -= SET_BACK_TICKS;
    }
}

impl Stream {
    /// False where the guard is too slow for one more.
    pub(super) fn push(&mut self, event: Event) -> bool {
        let free = self.events.iter_mut().find(|place| place.is_none());
        free.map(|place| *place = Some(event)).is_some()
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let first = self.events[0].take();
        self.events.rotate_left(1);
        first
    }
}

impl Guard {
    /// A process that has just started.
    pub(super) fn new(stale: Age) -> Self {
        Self {
            awake: true,
            clock_was_set_back: false,
            view: None,
            age: stale,
            probes: [None; PROBES_MAX],
            stream: None,
        }
    }

    pub(super) fn probes_under_way(&self) -> usize {
        self.probes.iter().flatten().count()
    }

    /// Forgets a probe. Its echo, if it still comes, is only a position.
    pub(super) fn forget_probe(&mut self, forgotten: usize) {
        self.probes[forgotten..].rotate_left(1);
        self.probes[PROBES_MAX - 1] = None;
        let events = self.stream.iter_mut().flat_map(|stream| stream.events.iter_mut().flatten());
        for event in events {
            if let Event::Echo { probe, position } = *event {
                let at = usize::from(probe);
                if at == forgotten {
                    *event = Event::Position(position);
                } else if at > forgotten {
                    *event = Event::Echo { probe: probe - 1, position };
                }
            }
        }
    }

    /// What the stream carried is lost, and so are the probes that were to be echoed in it.
    pub(super) fn lose_stream(&mut self) {
        self.stream = None;
        for at in (0..PROBES_MAX).rev() {
            match self.probes[at].as_mut().map(|probe| &mut probe.stage) {
                Some(Stage::OnTheWay { current }) => *current = false,
                Some(Stage::Waiting { in_stream: true, .. } | Stage::Echoed) => self.forget_probe(at),
                Some(Stage::Waiting { in_stream: false, .. } | Stage::Answered { .. }) | None => {}
            }
        }
    }

    pub(super) fn lose_view(&mut self, stale: Age) {
        *self = Self { awake: self.awake, clock_was_set_back: self.clock_was_set_back, ..Self::new(stale) };
    }
}
