//! What the server answered about tokens of which the view alone cannot say whether they live.

use std::collections::HashMap;

use curfew_tokens::digest::sha256;

use crate::view::Question;

/// Answers of one generation. There are two: the newer one becomes the older one when it is full.
const GENERATION_MAX: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Answer {
    active: bool,
    question: Question,
}

/// A bounded memory of answers. That a token lives is true for the question that was asked; that it has ended, for ever.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    newer: HashMap<[u8; 32], Answer>,
    older: HashMap<[u8; 32], Answer>,
}

impl Answers {
    /// Whether the token lives, if that is known.
    pub(crate) fn get(&self, token: &str, question: &Question) -> Option<bool> {
        let key = sha256(token.as_bytes());
        let answer = self.newer.get(&key).or_else(|| self.older.get(&key))?;
        (!answer.active || answer.question == *question).then_some(answer.active)
    }

    /// Keeps an answer. The token's own end is checked before anything is looked up here, so it needs none.
    pub(crate) fn keep(&mut self, token: &str, question: Question, active: bool) {
        if self.newer.len() == GENERATION_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(sha256(token.as_bytes()), Answer { active, question });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_question_and_an_end_for_ever() {
        let question = |families| Question { families: Some(families), ..Question::default() };
        let mut answers = Answers::default();
        assert_eq!(answers.get("t", &question(5)), None);
        answers.keep("t", question(5), true);
        assert_eq!(answers.get("t", &question(5)), Some(true));
        assert_eq!(answers.get("other", &question(5)), None);
        // Another family of the user has ended since: this one's may be it.
        assert_eq!(answers.get("t", &question(7)), None);
        answers.keep("t", question(7), false);
        for families in [5, 7, 9] {
            assert_eq!(answers.get("t", &question(families)), Some(false));
        }
    }

    #[test]
    fn the_newest_answers_are_kept_and_no_more() {
        let mut answers = Answers::default();
        let many = GENERATION_MAX * 3;
        for number in 0..many {
            answers.keep(&number.to_string(), Question::default(), true);
        }
        assert!(answers.newer.len() + answers.older.len() <= 2 * GENERATION_MAX);
        let known = |number: usize| answers.get(&number.to_string(), &Question::default()).is_some();
        assert!((many - GENERATION_MAX..many).all(known));
        assert!(!known(0));
    }
}
