//! What the parties do, and everything that can happen to them.

use super::explore::Model;
use super::state::{
    Age, Database, ENDINGS_MAX, Entries, Event, Guard, LANES, Link, NODES, Node, PROBES_MAX, Position, Probe,
    STREAM_MAX, Stage, State, Stream, View, entries_between, joined, positions_within, reaches,
};
use super::world::{Fault, Mistake, Routing, World};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Tick,
    /// An ending commits and is acknowledged.
    End {
        lane: u8,
        elsewhere: bool,
    },
    CutDatabase {
        node: u8,
    },
    HealDatabase {
        node: u8,
    },
    Crash {
        node: u8,
    },
    Start {
        node: u8,
    },
    /// A read begins, and finds what is in the first lane.
    BeginRead {
        node: u8,
    },
    /// The read finds what is in the second lane, and is complete.
    EndRead {
        node: u8,
    },
    SendEarly {
        lane: u8,
        number: u8,
    },
    RestoreDatabase {
        heads: Position,
    },
    FailOver {
        left_behind: u8,
    },
    CutStream,
    /// The guard loads a snapshot, made when the node had read so far.
    LoadSnapshot {
        node: u8,
        position: Position,
    },
    OpenStream {
        node: u8,
    },
    SendProbe,
    ProbeArrives {
        probe: u8,
        node: u8,
    },
    ReadEvent,
    RestartGuard,
    Sleep,
    Wake,
    SetClockBack,
}

impl World {
    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Up to which age the guard trusts its view.
    fn trusted_ticks(&self) -> u8 {
        self.lease_ticks + u8::from(self.makes(Mistake::OneTickMore))
    }

    /// The age of a view that is too old. How much too old makes no difference.
    fn stale(&self) -> Age {
        let ticks = self.trusted_ticks() + 1;
        Age { monotonic: ticks, wall: ticks as i8 }
    }

    /// "The larger of what its monotonic clock and its wall clock say".
    fn ticks(&self, age: Age) -> u8 {
        let wall = u8::try_from(age.wall).unwrap_or(0);
        match self.mistake {
            Some(Mistake::MonotonicClockAlone) => age.monotonic,
            Some(Mistake::WallClockAlone) => wall,
            _ => age.monotonic.max(wall),
        }
    }

    /// Whether the guard decides by its view, rather than asking or refusing.
    fn trusts_its_view(&self, guard: &Guard) -> bool {
        guard.awake && guard.view.is_some() && self.ticks(guard.age) <= self.trusted_ticks()
    }

    /// Endings that concern the guard and are not in its view.
    fn unheard(&self, state: &State) -> impl Iterator<Item = (usize, u8)> {
        let database = state.database;
        let heard = state.guard.view.map_or(Entries::NONE, |view| view.heard);
        entries_between([0; LANES], database.heads).filter(move |&(lane, number)| {
            !database.elsewhere.contains(lane, number) && !heard.contains(lane, number)
        })
    }

    fn tick(&self, state: &mut State) {
        for ticks in state.database.since.iter_mut().flatten() {
            *ticks = (*ticks + 1).min(self.lease_ticks + 1);
        }
        let stale = self.stale();
        let guard = &mut state.guard;
        let ages = std::iter::once(&mut guard.age)
            .chain(guard.probes.iter_mut().flatten().map(|probe| &mut probe.age));
        for age in ages {
            age.wall = (age.wall + 1).min(stale.wall);
            if guard.awake {
                age.monotonic = (age.monotonic + 1).min(stale.monotonic);
            }
        }
    }

    fn stop_node(&self, state: &mut State, node: u8, link: Link) {
        state.nodes[usize::from(node)] = Node { link, known: [0; LANES], read: None };
        if state.guard.stream.is_some_and(|stream| stream.node == node) {
            state.guard.lose_stream();
        }
        for at in (0..PROBES_MAX).rev() {
            let stage = state.guard.probes[at].map(|probe| probe.stage);
            if matches!(stage, Some(Stage::Waiting { node: waiting_at, .. }) if waiting_at == node) {
                state.guard.forget_probe(at);
            }
        }
    }

    fn begin_read(&self, state: &mut State, node: u8) {
        let at = &mut state.nodes[usize::from(node)];
        at.read = Some(readable(&state.database, at.link)[0]);
        for probe in state.guard.probes.iter_mut().flatten() {
            if let Stage::Waiting { node: waiting_at, missed, .. } = &mut probe.stage
                && *waiting_at == node
            {
                *missed = false;
            }
        }
    }

    /// The read has found what is in all lanes (or, by mistake, has failed before the second).
    fn end_read(&self, state: &mut State, node: u8, failed: bool) {
        let at = &mut state.nodes[usize::from(node)];
        let Some(first_lane) = at.read.take() else { return };
        let second_lane = if failed { at.known[1] } else { readable(&state.database, at.link)[1] };
        at.known = joined(at.known, [first_lane, second_lane]);
        let known = at.known;

        let waited_for_it = |stage: Stage, wanted: bool| match stage {
            Stage::Waiting { node: waiting_at, in_stream, missed } => {
                waiting_at == node && in_stream == wanted && !missed
            }
            _ => false,
        };
        let mut echoes = Vec::new();
        for (number, probe) in state.guard.probes.iter_mut().flatten().enumerate() {
            if waited_for_it(probe.stage, true) {
                probe.stage = Stage::Echoed;
                echoes.push(number as u8);
            } else if waited_for_it(probe.stage, false) {
                probe.stage = Stage::Answered { position: known, feed: state.database.feed };
            }
        }
        if state.guard.stream.is_some_and(|stream| stream.node == node) {
            self.send(state, known, &echoes);
        }
    }

    /// Sends everything that the stream lacks up to this position, and these echoes behind it.
    fn send(&self, state: &mut State, up_to: Position, echoes: &[u8]) {
        let Some(stream) = &mut state.guard.stream else { return };
        let position = joined(stream.sent, up_to);
        let entries = entries_between(stream.sent, position)
            .filter(|&(lane, number)| !state.database.elsewhere.contains(lane, number))
            .map(|(lane, number)| Event::Ending { lane: lane as u8, number });
        let echoes = echoes.iter().map(|&probe| Event::Echo { probe, position });
        let mut events: Vec<_> = entries.collect();
        let moved = position != stream.sent
            && (!self.makes(Mistake::PositionOnlyBehindEntries) || !events.is_empty());
        if self.makes(Mistake::EchoBeforeTheEntries) {
            events = echoes.chain(events).collect();
        } else if echoes.len() > 0 {
            // An echo names the position as well.
            events.extend(echoes);
        } else if moved {
            events.push(Event::Position(position));
        }
        stream.sent = position;
        if !events.into_iter().all(|event| stream.push(event)) {
            state.guard.lose_stream();
        }
    }

    fn send_early(&self, state: &mut State, lane: u8, number: u8) {
        let Some(stream) = &mut state.guard.stream else { return };
        let kept = stream.push(Event::Ending { lane, number });
        if self.makes(Mistake::EarlyEntryMovesTheNode) {
            stream.sent[usize::from(lane)] = number;
            let known = &mut state.nodes[usize::from(stream.node)].known[usize::from(lane)];
            *known = number.max(*known);
        }
        if !kept {
            state.guard.lose_stream();
        }
    }

    fn probe_arrives(&self, state: &mut State, probe: u8, node: u8) {
        let number = usize::from(probe);
        let at = state.nodes[usize::from(node)];
        let holds_the_stream = state.guard.stream.is_some_and(|stream| stream.node == node);
        let Some(Probe { stage, .. }) = &mut state.guard.probes[number] else { return };
        let in_stream = holds_the_stream && *stage == Stage::OnTheWay { current: true };
        let missed = at.read.is_some() && !self.makes(Mistake::EchoAfterTheReadUnderWay);
        *stage = Stage::Waiting { node, in_stream, missed };
        if in_stream && self.makes(Mistake::EchoWithoutRead) {
            *stage = Stage::Echoed;
            self.send(state, at.known, &[probe]);
        } else if !in_stream && self.makes(Mistake::AnswerFromMemory) {
            *stage = Stage::Answered { position: at.known, feed: state.database.feed };
        }
    }

    fn load_snapshot(&self, state: &mut State, node: u8, position: Position) {
        let mut heard = Entries::up_to(position);
        heard.0 &= !state.database.elsewhere.0;
        let position = match self.mistake {
            Some(Mistake::SnapshotNamesALaterPosition) => state.nodes[usize::from(node)].known,
            _ => position,
        };
        state.guard.view = Some(View { position, feed: state.database.feed, heard });
        if self.makes(Mistake::SnapshotCountsAsEcho) {
            state.guard.age = Age::ZERO;
        }
    }

    fn open_stream(&self, state: &mut State, node: u8) {
        let known = state.nodes[usize::from(node)].known;
        let from = match state.guard.view {
            // "From now on": only by mistake does a guard without a view open a stream.
            None => known,
            Some(view) => {
                let is_of_another_feed =
                    view.feed != state.database.feed && !self.makes(Mistake::PositionsWithoutFeed);
                if is_of_another_feed || !reaches(state.database.heads, view.position) {
                    // 410 `position_unknown`
                    return state.guard.lose_view(self.stale());
                }
                match self.mistake {
                    Some(Mistake::ResumedFromTheNodesPosition) => known,
                    _ => view.position,
                }
            }
        };
        state.guard.stream = Some(Stream { node, sent: from, events: [None; STREAM_MAX] });
        if self.makes(Mistake::HelloCountsAsEcho) {
            state.guard.age = Age::ZERO;
        }
        self.send(state, known, &[]);
    }

    fn read_event(&self, state: &mut State) {
        let guard = &mut state.guard;
        let (Some(view), Some(stream)) = (&mut guard.view, &mut guard.stream) else { return };
        match stream.pop() {
            Some(Event::Ending { lane, number }) => {
                let lane = usize::from(lane);
                view.heard.insert(lane, number);
                if self.makes(Mistake::PositionFromEndings) {
                    view.position[lane] = view.position[lane].max(number);
                }
            }
            Some(Event::Position(position)) => view.position = joined(view.position, position),
            Some(Event::Echo { probe, position }) => {
                view.position = joined(view.position, position);
                self.count(guard, probe.into());
            }
            None => {}
        }
    }

    /// This probe counts as echoed: those sent before it no longer matter.
    fn count(&self, guard: &mut Guard, number: usize) {
        let newest = guard.probes.iter().flatten().last().copied();
        let Some(probe) = guard.probes[number] else { return };
        guard.age = match self.mistake {
            Some(Mistake::AgeFromTheEcho) => Age::ZERO,
            Some(Mistake::EchoOfTheNewestProbe) => newest.unwrap_or(probe).age,
            _ => probe.age,
        };
        for number in (0..=number).rev() {
            guard.forget_probe(number);
        }
    }

    /// Whether another node's answer counts: "once the guard's own position, in every lane, is at least this".
    fn answer_counts(&self, view: View, position: Position, feed: u8) -> bool {
        let own = view.position;
        match self.mistake {
            Some(Mistake::AnswerCountsAtOnce) => true,
            Some(Mistake::AnswerComparedInOneLane) => own[0] >= position[0],
            Some(Mistake::AnswerComparedBySum) => own.iter().sum::<u8>() >= position.iter().sum(),
            Some(Mistake::PositionsWithoutFeed) => reaches(own, position),
            _ => reaches(own, position) && view.feed == feed,
        }
    }

    /// Counts answers that the guard's position has come up to, and brings states that will never differ into one form.
    fn settle(&self, state: &mut State) {
        let guard = &mut state.guard;
        if let Some(view) = guard.view.filter(|_| guard.awake) {
            let counts = |probe: &Option<Probe>| match probe.map(|probe| probe.stage) {
                Some(Stage::Answered { position, feed }) => self.answer_counts(view, position, feed),
                _ => false,
            };
            if let Some(number) = guard.probes.iter().rposition(counts) {
                self.count(guard, number);
            }
        }
        // An echo of a probe that is older than the lease would leave the view as stale as it is.
        for number in (0..PROBES_MAX).rev() {
            if guard.probes[number].is_some_and(|probe| self.ticks(probe.age) > self.trusted_ticks()) {
                guard.forget_probe(number);
            }
        }
        if self.ticks(guard.age) > self.trusted_ticks() {
            guard.age = self.stale();
        }
        // What a guard has heard it must never again let pass, not even after it has started anew: from then on the
        // ending counts as one that was acknowledged long ago.
        let heard = guard.view.map_or(Entries::NONE, |view| view.heard);
        let database = &mut state.database;
        for (lane, number) in entries_between([0; LANES], database.heads) {
            if heard.contains(lane, number) || database.elsewhere.contains(lane, number) {
                database.since[lane][usize::from(number) - 1] = self.lease_ticks + 1;
            }
        }
        // Nodes have no names: exchanged, they do the same.
        if self.nodes == NODES && self.mistake.is_none() && state.nodes[0] > state.nodes[1] {
            state.nodes.swap(0, 1);
            if let Some(stream) = &mut state.guard.stream {
                stream.node = 1 - stream.node;
            }
            for probe in state.guard.probes.iter_mut().flatten() {
                if let Stage::Waiting { node, .. } = &mut probe.stage {
                    *node = 1 - *node;
                }
            }
        }
    }

    fn restore_database(&self, state: &mut State, heads: Position) {
        for (lane, number) in entries_between(heads, state.database.heads) {
            state.database.since[lane][usize::from(number) - 1] = 0;
        }
        state.database.heads = heads;
        state.database.feed += 1;
        state.database.elsewhere.intersect(Entries::up_to(heads));
        for node in 0..self.nodes as u8 {
            self.stop_node(state, node, Link::Connected);
        }
        // Entries that are gone are no endings any more; their numbers will be those of others.
        if let Some(view) = &mut state.guard.view {
            view.heard.intersect(Entries::up_to(heads));
        }
    }

    fn guard_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let guard = &state.guard;
        let running = || (0..self.nodes).filter(move |&node| state.nodes[node].link != Link::Down);
        if self.has(Fault::GuardRestart) && *guard != Guard::new(self.stale()) {
            actions.push(Action::RestartGuard);
        }
        if !guard.awake {
            actions.push(Action::Wake);
            return;
        }
        if self.has(Fault::Sleep) {
            actions.push(Action::Sleep);
        }
        if self.has(Fault::ClockSetBack) && !guard.clock_was_set_back {
            actions.push(Action::SetClockBack);
        }
        if guard.view.is_none() {
            for node in running() {
                let known = state.nodes[node].known;
                let node = node as u8;
                actions
                    .extend(positions_within(known).map(|position| Action::LoadSnapshot { node, position }));
            }
        }
        if guard.stream.is_none() && (guard.view.is_some() || self.makes(Mistake::StreamBeforeSnapshot)) {
            // Whether a position is of this feed only the database knows.
            let can_open = |node: &usize| {
                !self.has(Fault::DatabaseRestored) || state.nodes[*node].link == Link::Connected
            };
            actions.extend(running().filter(can_open).map(|node| Action::OpenStream { node: node as u8 }));
        }
        if guard.view.is_some()
            && let Some(stream) = guard.stream
        {
            if stream.events[0].is_some() {
                actions.push(Action::ReadEvent);
            }
            // One probe a tick.
            let mut ages = guard.probes.iter().flatten().map(|probe| probe.age).chain([guard.age]);
            if !ages.any(Age::is_of_this_tick) {
                actions.push(Action::SendProbe);
            }
        }
    }

    fn network_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, probe) in state.guard.probes.iter().flatten().enumerate() {
            if matches!(probe.stage, Stage::OnTheWay { .. }) {
                let running = (0..self.nodes).filter(|&node| state.nodes[node].link != Link::Down);
                actions.extend(
                    running.map(|node| Action::ProbeArrives { probe: number as u8, node: node as u8 }),
                );
            }
        }
        let Some(stream) = state.guard.stream else { return };
        if self.has(Fault::StreamCut) {
            actions.push(Action::CutStream);
        }
        if self.has(Fault::EarlyEntries) {
            let not_sent = |&(lane, number): &(usize, u8)| {
                let entry = Event::Ending { lane: lane as u8, number };
                number > stream.sent[lane] && !stream.events.contains(&Some(entry))
            };
            actions.extend(
                self.unheard(state)
                    .filter(not_sent)
                    .map(|(lane, number)| Action::SendEarly { lane: lane as u8, number }),
            );
        }
    }

    fn server_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let database = &state.database;
        if usize::from(database.heads.iter().sum::<u8>()) < self.endings {
            for lane in 0..self.lanes as u8 {
                actions.push(Action::End { lane, elsewhere: false });
                if self.has(Fault::EndingsElsewhere) {
                    actions.push(Action::End { lane, elsewhere: true });
                }
            }
        }
        if self.has(Fault::DatabaseRestored) && database.feed == 0 {
            let lost = |heads: &Position| *heads != database.heads;
            actions.extend(
                positions_within(database.heads).filter(lost).map(|heads| Action::RestoreDatabase { heads }),
            );
        }
        for node in 0..self.nodes as u8 {
            let Node { link, read, .. } = state.nodes[usize::from(node)];
            match link {
                Link::Down => actions.push(Action::Start { node }),
                Link::CutOff => actions.push(Action::HealDatabase { node }),
                Link::Connected | Link::OldPrimary => {
                    actions.push(match read {
                        None => Action::BeginRead { node },
                        Some(_) => Action::EndRead { node },
                    });
                    if self.has(Fault::DatabaseCut) {
                        actions.push(Action::CutDatabase { node });
                    }
                }
            }
            if link != Link::Down && self.has(Fault::NodeCrash) {
                actions.push(Action::Crash { node });
            }
            let may_fail_over = self.has(Fault::OldPrimaryAnswers) && database.old_heads.is_none();
            if link == Link::Connected && may_fail_over {
                actions.push(Action::FailOver { left_behind: node });
            }
        }
    }
}

/// What a read finds.
fn readable(database: &Database, link: Link) -> Position {
    match (link, database.old_heads) {
        (Link::OldPrimary, Some(heads)) => heads,
        _ => database.heads,
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            database: Database {
                heads: [0; LANES],
                since: [[0; ENDINGS_MAX]; LANES],
                elsewhere: Entries::NONE,
                feed: 0,
                old_heads: None,
            },
            nodes: [Node { link: Link::Connected, known: [0; LANES], read: None }; NODES],
            guard: Guard::new(self.stale()),
        }
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        self.server_actions(state, actions);
        self.network_actions(state, actions);
        self.guard_actions(state, actions);
    }

    fn after(&self, state: &State, action: Action) -> State {
        let mut state = *state;
        match action {
            Action::Tick => self.tick(&mut state),
            Action::End { lane, elsewhere } => {
                let lane = usize::from(lane);
                state.database.heads[lane] += 1;
                let number = state.database.heads[lane];
                state.database.since[lane][usize::from(number) - 1] = 0;
                if elsewhere {
                    state.database.elsewhere.insert(lane, number);
                }
            }
            Action::CutDatabase { node } => {
                if self.makes(Mistake::FailedReadCounts) {
                    self.end_read(&mut state, node, true);
                }
                let node = &mut state.nodes[usize::from(node)];
                node.link = Link::CutOff;
                node.read = None;
            }
            Action::HealDatabase { node } | Action::Start { node } => {
                state.nodes[usize::from(node)].link = Link::Connected;
            }
            Action::Crash { node } => self.stop_node(&mut state, node, Link::Down),
            Action::BeginRead { node } => self.begin_read(&mut state, node),
            Action::EndRead { node } => self.end_read(&mut state, node, false),
            Action::SendEarly { lane, number } => self.send_early(&mut state, lane, number),
            Action::RestoreDatabase { heads } => self.restore_database(&mut state, heads),
            Action::FailOver { left_behind } => {
                state.database.old_heads = Some(state.database.heads);
                state.nodes[usize::from(left_behind)].link = Link::OldPrimary;
            }
            Action::CutStream => {
                if self.makes(Mistake::ResumedFromWhatWasSent)
                    && let (Some(view), Some(stream)) = (&mut state.guard.view, state.guard.stream)
                {
                    view.position = joined(view.position, stream.sent);
                }
                state.guard.lose_stream();
            }
            Action::LoadSnapshot { node, position } => self.load_snapshot(&mut state, node, position),
            Action::OpenStream { node } => self.open_stream(&mut state, node),
            Action::SendProbe => {
                let guard = &mut state.guard;
                if guard.probes_under_way() == self.probes {
                    guard.forget_probe(0);
                }
                let at = guard.probes_under_way();
                guard.probes[at] = Some(Probe { age: Age::ZERO, stage: Stage::OnTheWay { current: true } });
            }
            Action::ProbeArrives { probe, node } => self.probe_arrives(&mut state, probe, node),
            Action::ReadEvent => self.read_event(&mut state),
            Action::RestartGuard => {
                let Guard { age, clock_was_set_back, .. } = state.guard;
                let age = if self.makes(Mistake::AgeOutlivesTheRestart) { age } else { self.stale() };
                state.guard = Guard { clock_was_set_back, ..Guard::new(age) };
            }
            Action::Sleep => state.guard.awake = false,
            Action::Wake => state.guard.awake = true,
            Action::SetClockBack => {
                let guard = &mut state.guard;
                guard.clock_was_set_back = true;
                guard.probes.iter_mut().flatten().for_each(|probe| probe.age.set_back());
                // A view that was never fresh has no age that a clock could tell.
                if guard.age != self.stale() {
                    guard.age.set_back();
                }
            }
        }
        self.settle(&mut state);
        state
    }

    /// I2: a request with an ended token is let through more than a lease after the ending was acknowledged. A request may
    /// come at any time, so every state is asked.
    fn is_broken(&self, state: &State) -> bool {
        self.trusts_its_view(&state.guard)
            && self
                .unheard(state)
                .any(|(lane, number)| state.database.since[lane][usize::from(number) - 1] > self.lease_ticks)
    }

    /// Everything is healed, and each message arrives: the guard is to hear of all endings and to have a view of this tick.
    fn calm(&self, state: &State) -> Option<Action> {
        let guard = &state.guard;
        if !guard.awake {
            return Some(Action::Wake);
        }
        for node in 0..self.nodes as u8 {
            match state.nodes[usize::from(node)].link {
                Link::Down => return Some(Action::Start { node }),
                Link::CutOff => return Some(Action::HealDatabase { node }),
                Link::Connected | Link::OldPrimary => {}
            }
        }
        if guard.view.is_none() {
            return Some(Action::LoadSnapshot { node: 0, position: state.nodes[0].known });
        }
        let Some(stream) = guard.stream else {
            return Some(Action::OpenStream { node: 0 });
        };
        if stream.events[0].is_some() {
            return Some(Action::ReadEvent);
        }
        let read = |node: u8| match state.nodes[usize::from(node)].read {
            None => Action::BeginRead { node },
            Some(_) => Action::EndRead { node },
        };
        let under_way = guard.probes.iter().flatten().enumerate().next();
        if let Some((number, probe)) = under_way {
            return Some(match probe.stage {
                Stage::OnTheWay { .. } => {
                    let node = match self.routing {
                        Routing::ToTheNodeOfTheStream => stream.node,
                        Routing::ToAnotherNode => (stream.node + 1) % self.nodes as u8,
                    };
                    Action::ProbeArrives { probe: number as u8, node }
                }
                Stage::Waiting { node, .. } => read(node),
                Stage::Echoed => panic!("its echo is not among the events: {state:?}"),
                Stage::Answered { .. } => read(stream.node),
            });
        }
        if self.unheard(state).next().is_some() {
            return Some(read(stream.node));
        }
        (!guard.age.is_of_this_tick()).then_some(Action::SendProbe)
    }
}
