//! Which users made requests: told to the server with the probes, so that it knows who is inactive.

use std::collections::HashMap;

use curfew_model::UserKey;

/// One report for a user in this time is enough.
const EVERY_SECONDS: u64 = 15 * 60;
/// Users that are remembered as reported.
const REMEMBERED_MAX: usize = 65_536;
/// Reports that wait to be sent. Beyond them a user is reported with a later request.
const WAITING_MAX: usize = 16_384;
/// Reports of one probe.
const BATCH_MAX: usize = 1000;

/// A report: a user, and the Unix second of the request.
pub(crate) type Report = (UserKey, i64);

/// The reports of a guard.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    reported: HashMap<UserKey, i64>,
    waiting: Vec<Report>,
}

impl Activity {
    /// A user has made a request.
    pub(crate) fn saw(&mut self, user: UserKey, now: i64) {
        let recent = |at: i64| at.abs_diff(now) < EVERY_SECONDS;
        if self.reported.get(&user).is_some_and(|at| recent(*at)) || self.waiting.len() == WAITING_MAX {
            return;
        }
        if self.reported.len() == REMEMBERED_MAX {
            self.reported.retain(|_, at| recent(*at));
            if self.reported.len() == REMEMBERED_MAX {
                // More than one report in the time is no harm; memory without bounds would be.
                self.reported.clear();
            }
        }
        self.reported.insert(user, now);
        self.waiting.push((user, now));
    }

    /// The reports of the next probe.
    pub(crate) fn batch(&mut self) -> Vec<Report> {
        self.waiting.split_off(self.waiting.len().saturating_sub(BATCH_MAX))
    }

    /// The probe has not come through: its reports are to go with another one.
    pub(crate) fn give_back(&mut self, mut batch: Vec<Report>) {
        batch.truncate(WAITING_MAX - self.waiting.len());
        self.waiting.append(&mut batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u32) -> UserKey {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&number.to_be_bytes());
        UserKey(key)
    }

    #[test]
    fn a_user_is_reported_once_in_fifteen_minutes() {
        let mut activity = Activity::default();
        for now in [1000, 1001, 1899] {
            activity.saw(user(1), now);
        }
        assert_eq!(activity.batch(), [(user(1), 1000)]);
        assert_eq!(activity.batch(), []);
        activity.saw(user(1), 1900);
        // The clock was set back by an hour.
        activity.saw(user(2), 5500);
        activity.saw(user(2), 1900);
        assert_eq!(activity.batch(), [(user(1), 1900), (user(2), 5500), (user(2), 1900)]);
    }

    #[test]
    fn reports_are_bounded_and_come_again_when_a_probe_fails() {
        let mut activity = Activity::default();
        let many = u32::try_from(REMEMBERED_MAX).unwrap() * 2;
        (0..many).for_each(|number| activity.saw(user(number), 1000));
        assert!(activity.reported.len() <= REMEMBERED_MAX);
        let batch = activity.batch();
        assert_eq!(batch.len(), BATCH_MAX);
        activity.give_back(batch);
        let mut left = 0;
        while let batch @ [_, ..] = activity.batch().as_slice() {
            assert!(batch.len() <= BATCH_MAX);
            left += batch.len();
        }
        assert_eq!(left, WAITING_MAX);
        // Those that were not reported for want of room are reported the next time.
        activity.saw(user(many - 1), 1001);
        assert_eq!(activity.batch(), [(user(many - 1), 1001)]);
    }
}
