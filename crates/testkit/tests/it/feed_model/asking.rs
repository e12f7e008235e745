//! What a guard may keep of an introspection, where a cutoff makes it ask.
//!
//! Some cutoffs do not decide: they say that something of this person has ended, and the guard asks whether this token
//! hangs on it. The answer may be kept, or each request of a person who stays would cost a question. But an answer speaks
//! of the past: what ends the token afterwards may come with another such cutoff, before or after the answer.
//!
//! One token, a few cutoffs that each make the guard ask about it, one of which really ends it. The guard's view is fresh
//! all the time: how old it may be is the matter of [`super::protocol`].

use super::explore::Model;

#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) cutoffs: u8,
    pub(super) mistake: Option<KeptTooLong>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeptTooLong {
    /// The answer stands for this token until it expires, whatever cutoff comes later.
    UntilTheTokenExpires,
    /// The answer stands for the cutoffs that are known when it comes.
    ForWhatIsKnownWhenItComes,
    /// A request waits for the answer to a question that was asked before the newest cutoff came.
    ForRequestsThatCameLater,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    /// How many cutoffs have been committed.
    committed: u8,
    /// Which of them has ended the token.
    ended_by: Option<u8>,
    /// How many of them the guard knows.
    known: u8,
    question: Option<Question>,
    kept: Option<Kept>,
    /// The newest request that waits for an answer, by how many cutoffs were known when it came.
    waiting: Option<u8>,
    /// A request was let through although the guard knew of the ending when it came.
    let_through: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Question {
    /// How many cutoffs were known when it was asked.
    known: u8,
    /// Whether the token lived when the server looked.
    active: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kept {
    Ended,
    /// Not ended by any of the first so many cutoffs.
    LivesAfter(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Commit {
        ends_the_token: bool,
    },
    Hear,
    Request,
    /// The server looks.
    Look,
    Answer,
}

impl Asking {
    fn makes(&self, mistake: KeptTooLong) -> bool {
        self.mistake == Some(mistake)
    }

    /// What the guard says to a request without asking.
    fn decides(&self, state: &State) -> Option<bool> {
        match state.kept {
            Some(Kept::Ended) => Some(false),
            Some(Kept::LivesAfter(_)) if self.makes(KeptTooLong::UntilTheTokenExpires) => Some(true),
            Some(Kept::LivesAfter(cutoffs)) if cutoffs >= state.known => Some(true),
            Some(Kept::LivesAfter(_)) | None => (state.known == 0).then_some(true),
        }
    }

    fn answer(&self, state: &mut State) {
        let Some(Question { known, active: Some(active) }) = state.question.take() else { return };
        let answered = |came_at: u8| known >= came_at || self.makes(KeptTooLong::ForRequestsThatCameLater);
        if let Some(came_at) = state.waiting {
            if !active || answered(came_at) {
                state.waiting = None;
                state.let_through |= active && state.ended_by.is_some_and(|cutoff| cutoff <= came_at);
            } else {
                state.question = Some(Question { known: state.known, active: None });
            }
        }
        let stands_for = match self.mistake {
            Some(KeptTooLong::ForWhatIsKnownWhenItComes) => state.known,
            _ => known,
        };
        state.kept = Some(if active { Kept::LivesAfter(stands_for) } else { Kept::Ended });
    }
}

impl Model for Asking {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            committed: 0,
            ended_by: None,
            known: 0,
            question: None,
            kept: None,
            waiting: None,
            let_through: false,
        }
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.committed < self.cutoffs {
            actions.push(Action::Commit { ends_the_token: false });
            if state.ended_by.is_none() {
                actions.push(Action::Commit { ends_the_token: true });
            }
        }
        if state.known < state.committed {
            actions.push(Action::Hear);
        }
        if state.waiting != Some(state.known) && self.decides(state).is_none() {
            actions.push(Action::Request);
        }
        match state.question {
            Some(Question { active: None, .. }) => actions.push(Action::Look),
            Some(Question { active: Some(_), .. }) => actions.push(Action::Answer),
            None => {}
        }
    }

    fn after(&self, state: &State, action: Action) -> State {
        let mut state = *state;
        match action {
            Action::Commit { ends_the_token } => {
                state.committed += 1;
                if ends_the_token {
                    state.ended_by = Some(state.committed);
                }
            }
            Action::Hear => state.known += 1,
            Action::Request => {
                state.waiting = Some(state.known);
                state.question.get_or_insert(Question { known: state.known, active: None });
            }
            Action::Look => {
                if let Some(question) = &mut state.question {
                    question.active = Some(state.ended_by.is_none());
                }
            }
            Action::Answer => self.answer(&mut state),
        }
        state
    }

    /// A request that comes after the guard has heard of the ending is let through.
    fn is_broken(&self, state: &State) -> bool {
        let knows = state.ended_by.is_some_and(|cutoff| cutoff <= state.known);
        state.let_through || (knows && self.decides(state) == Some(true))
    }

    /// In the end the guard knows what to say without asking.
    fn calm(&self, state: &State) -> Option<Action> {
        match (state.question, state.known < state.committed) {
            (_, true) => Some(Action::Hear),
            (Some(Question { active: None, .. }), _) => Some(Action::Look),
            (Some(Question { active: Some(_), .. }), _) => Some(Action::Answer),
            (None, _) => self.decides(state).is_none().then_some(Action::Request),
        }
    }
}
