//! Visits every state that a model can come to, breadth first, so that the way to the first fault is the shortest.
//!
//! States are compared whole, never by a hash alone: what is said about "all states" is said about all of them.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};

/// A model that needs more states than this is too large for a test.
const STATES_MAX: usize = 4_000_000;

/// No run without faults is longer; one that is goes in a circle.
const CALM_STEPS_MAX: usize = 1_000;

pub(super) trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Action: Copy + Eq + Debug;

    fn start(&self) -> Self::State;

    /// Everything that can happen next.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);

    fn after(&self, state: &Self::State, action: Self::Action) -> Self::State;

    /// Whether what is promised is broken here.
    fn is_broken(&self, state: &Self::State) -> bool;

    /// The next action of a run in which nothing fails any more; none where such a run has come to its goal.
    fn calm(&self, state: &Self::State) -> Option<Self::Action>;
}

/// Everything that a model can come to, or the way to the first state in which its promise is broken.
pub(super) struct Explored<M: Model> {
    states: States<M::State>,
    /// For each state but the first, from which one it was first reached.
    parents: Vec<u32>,
    pub(super) transitions: usize,
    /// How many actions lead to the farthest state.
    pub(super) depth: usize,
    /// The actions that lead to the first broken state, and that state.
    pub(super) broken: Option<(Vec<M::Action>, M::State)>,
}

pub(super) fn explore<M: Model>(model: &M) -> Explored<M> {
    let mut explored =
        Explored::<M> { states: States::default(), parents: vec![0], transitions: 0, depth: 0, broken: None };
    explored.states.insert(model.start());
    let mut actions = Vec::new();
    let (mut at, mut end_of_depth) = (0, 1);
    while at < explored.states.all.len() {
        if at == end_of_depth {
            explored.depth += 1;
            end_of_depth = explored.states.all.len();
        }
        let state = explored.states.all[at].clone();
        if model.is_broken(&state) {
            explored.broken = Some((explored.way_to(model, at), state));
            return explored;
        }
        model.actions(&state, &mut actions);
        for action in actions.drain(..) {
            explored.transitions += 1;
            if explored.states.insert(model.after(&state, action)) {
                explored.parents.push(at as u32);
            }
        }
        assert!(explored.states.all.len() < STATES_MAX, "this model has too many states");
        at += 1;
    }
    explored
}

impl<M: Model> Explored<M> {
    pub(super) fn states(&self) -> usize {
        self.states.all.len()
    }

    /// Lets everything go well from each state on: how many actions the longest such run has, or the way to a state from
    /// which it never comes to its goal.
    pub(super) fn calm_steps(&self, model: &M) -> Result<usize, (Vec<M::Action>, M::State)> {
        const UNKNOWN: u16 = u16::MAX;
        let mut steps = vec![UNKNOWN; self.states()];
        let mut run = Vec::new();
        for from in 0..self.states() {
            let mut at = from;
            let mut left = loop {
                if steps[at] != UNKNOWN {
                    break steps[at];
                }
                let state = &self.states.all[at];
                let Some(action) = model.calm(state) else {
                    steps[at] = 0;
                    break 0;
                };
                run.push(at);
                if run.len() > CALM_STEPS_MAX {
                    return Err((self.way_to(model, from), self.states.all[from].clone()));
                }
                at = self
                    .states
                    .find(&model.after(state, action))
                    .unwrap_or_else(|| panic!("{action:?} is not among the actions of {state:?}"));
            };
            while let Some(at) = run.pop() {
                left += 1;
                steps[at] = left;
            }
        }
        Ok(steps.into_iter().max().unwrap_or(0).into())
    }

    fn way_to(&self, model: &M, state: usize) -> Vec<M::Action> {
        let mut way = Vec::new();
        let mut actions = Vec::new();
        let mut at = state;
        while at != 0 {
            let parent = self.parents[at] as usize;
            actions.clear();
            model.actions(&self.states.all[parent], &mut actions);
            let leads_here =
                |action: &M::Action| model.after(&self.states.all[parent], *action) == self.states.all[at];
            way.extend(actions.iter().copied().find(leads_here));
            at = parent;
        }
        way.reverse();
        way
    }
}

/// A set that remembers the order of arrival and keeps each state once: the table holds indices into `all`.
struct States<S> {
    all: Vec<S>,
    table: Vec<u32>,
}

const EMPTY: u32 = u32::MAX;

impl<S> Default for States<S> {
    fn default() -> Self {
        Self { all: Vec::new(), table: vec![EMPTY; 1 << 10] }
    }
}

impl<S: Eq + Hash> States<S> {
    /// Whether it was not there before.
    fn insert(&mut self, state: S) -> bool {
        let slot = self.slot_of(&state);
        if self.table[slot] != EMPTY {
            return false;
        }
        self.table[slot] = self.all.len() as u32;
        self.all.push(state);
        if self.all.len() * 2 > self.table.len() {
            self.table = vec![EMPTY; self.table.len() * 2];
            for index in 0..self.all.len() {
                let slot = self.slot_of(&self.all[index]);
                self.table[slot] = index as u32;
            }
        }
        true
    }

    fn find(&self, state: &S) -> Option<usize> {
        let index = self.table[self.slot_of(state)];
        (index != EMPTY).then_some(index as usize)
    }

    /// Where this state stands in the table, or the empty place where it would.
    fn slot_of(&self, state: &S) -> usize {
        let mut hasher = Multiplier(0);
        state.hash(&mut hasher);
        let mask = self.table.len() - 1;
        let mut slot = hasher.finish() as usize & mask;
        while self.table[slot] != EMPTY && self.all[self.table[slot] as usize] != *state {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

/// Quick rather than safe against an adversary, of whom there is none here.
struct Multiplier(u64);

impl Hasher for Multiplier {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
