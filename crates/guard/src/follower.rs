//! How the guard follows the feed, without the network: what it has heard, and how old that is.
//!
//! Invariant: [`Follower::echoed`] is the sending of a probe before whose echo every ending that was acknowledged before it
//! had been applied to [`Follower::view`].

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::Moment;
use crate::cutoff::CutoffError;
use crate::messages::{FeedEvent, Hello};
use crate::position::Position;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::sse::Event;
use crate::view::View;

/// Most probes whose echo is waited for.
const WAITING_MAX: usize = 64;

/// A probe that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) at: Moment,
}

/// What an event means for the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    Continue,
    /// The stream is open: this is its name, and how often it is to be probed.
    Opened(Hello),
    /// A signing key was revoked: the keys are to be fetched anew.
    KeyRevoked,
    /// The server has ended the stream, for this reason.
    Ended(String),
    /// What came cannot be understood: the view is gone.
    Lost,
}

/// The state of a guard towards the feed.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    view: Option<Arc<View>>,
    position: Option<Position>,
    /// Probes to the present stream, oldest first.
    sent: VecDeque<Sent>,
    /// Probes that another node answered, with how far the feed had come there, oldest first.
    elsewhere: VecDeque<(Sent, Position)>,
    echoed: Option<Sent>,
    probes: u64,
    too_old: bool,
}

impl Follower {
    /// What has ended, as far as it is known.
    pub(crate) fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// How far the feed has been applied to the view.
    pub(crate) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The newest probe that was echoed.
    pub(crate) fn echoed(&self) -> Option<Sent> {
        self.echoed
    }

    /// Whether a cutoff of an unknown kind was met: then there is no view any more.
    pub(crate) fn is_too_old(&self) -> bool {
        self.too_old
    }

    /// Takes a snapshot for the view.
    pub(crate) fn load(&mut self, snapshot: Result<Snapshot, SnapshotError>) -> Result<(), SnapshotError> {
        self.drop_view();
        if self.too_old {
            return Err(SnapshotError::UnknownKind);
        }
        let snapshot = snapshot.inspect_err(|error| self.too_old |= *error == SnapshotError::UnknownKind)?;
        self.view = Some(Arc::new(snapshot.view));
        self.position = Some(snapshot.position);
        Ok(())
    }

    /// Forgets what has ended, and how far that was: only a snapshot helps.
    pub(crate) fn drop_view(&mut self) {
        let (probes, too_old) = (self.probes, self.too_old);
        *self = Self { probes, too_old, ..Self::default() };
    }

    /// Takes an event of the stream.
    pub(crate) fn take(&mut self, event: &Event) -> Next {
        match FeedEvent::parse(event) {
            Ok(event) => self.apply(event).unwrap_or_else(|| {
                self.drop_view();
                Next::Lost
            }),
            Err(error) => {
                self.too_old |= error == CutoffError::UnknownKind;
                self.drop_view();
                Next::Lost
            }
        }
    }

    /// `None` when the event does not fit what is known: other lanes, no view.
    fn apply(&mut self, event: FeedEvent) -> Option<Next> {
        let (view, position) = (self.view.as_ref()?, self.position.as_mut()?);
        match event {
            FeedEvent::Hello(hello) => {
                // No other stream's probes come back in this one.
                self.sent.clear();
                return Some(Next::Opened(hello));
            }
            FeedEvent::Ending { cutoff, lane, position: number } => {
                view.apply(&cutoff);
                if !position.advance_lane(lane, number) {
                    return None;
                }
                self.settle();
                if matches!(cutoff, crate::cutoff::Cutoff::SigningKey { .. }) {
                    return Some(Next::KeyRevoked);
                }
            }
            FeedEvent::Echo { probe, position: read } => {
                if !position.advance(&read) {
                    return None;
                }
                let own = self.sent.iter().find(|sent| sent.number == probe).copied();
                if let Some(sent) = own {
                    self.sent.retain(|other| other.number > probe);
                    self.count(sent);
                }
                self.settle();
            }
            FeedEvent::Position(read) => {
                if !position.advance(&read) {
                    return None;
                }
                self.settle();
            }
            FeedEvent::End { reason } => return Some(Next::Ended(reason)),
            FeedEvent::Other => {}
        }
        Some(Next::Continue)
    }

    /// The next probe, which is sent at this moment. `None` without a view.
    pub(crate) fn probe(&mut self, at: Moment) -> Option<(Sent, Position)> {
        let position = self.position.clone()?;
        self.probes += 1;
        let sent = Sent { number: self.probes, at };
        if self.sent.len() == WAITING_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
        Some((sent, position))
    }

    /// Another node read the feed for a probe, as far as `position`.
    pub(crate) fn answered_elsewhere(&mut self, sent: Sent, position: Position) {
        self.sent.retain(|other| other.number != sent.number);
        if self.elsewhere.len() == WAITING_MAX {
            self.elsewhere.pop_front();
        }
        self.elsewhere.push_back((sent, position));
        self.settle();
    }

    /// Counts the probes whose position has been reached.
    fn settle(&mut self) {
        let Some(own) = &self.position else { return };
        let reached = self.elsewhere.iter().filter(|(_, position)| own.has_reached(position));
        if let Some(newest) = reached.map(|(sent, _)| *sent).max_by_key(|sent| sent.number) {
            self.elsewhere.retain(|(sent, _)| sent.number > newest.number);
            self.count(newest);
        }
    }

    fn count(&mut self, sent: Sent) {
        if self.echoed.is_none_or(|echoed| echoed.number < sent.number) {
            self.echoed = Some(sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use curfew_model::Timestamp;

    use super::*;
    use crate::snapshot::SnapshotReader;

    fn at(seconds: i64) -> Moment {
        let monotonic = Duration::from_secs(u64::try_from(seconds).unwrap());
        Moment { monotonic, wall: Timestamp::from_seconds(seconds) }
    }

    fn snapshot(position: &str) -> Result<Snapshot, SnapshotError> {
        let mut reader = SnapshotReader::new("https://id.example/", "api");
        let first = format!(r#"{{"position":"{position}","issuer":"https://id.example/","cutoffs":0}}"#);
        reader.push(first.as_bytes()).and_then(|()| reader.finish())
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.replace('\'', "\"").into_bytes() }
    }

    fn following(position: &str) -> Follower {
        let mut follower = Follower::default();
        follower.load(snapshot(position)).unwrap();
        let hello = event("hello", "{'stream':'s','node':'n','position':'0.0.1','probe_seconds':1}");
        assert!(matches!(follower.take(&hello), Next::Opened(_)));
        follower
    }

    fn ending(lane: usize, position: u64) -> Event {
        let cutoff = "['user','AQEBAQEBAQEBAQEB',7,9]";
        event("ending", &format!("{{'cutoff':{cutoff},'lane':{lane},'position':{position}}}"))
    }

    fn echoed(follower: &Follower) -> Option<u64> {
        follower.echoed().map(|sent| sent.number)
    }

    #[test]
    fn an_echo_counts_from_the_sending_of_its_probe() {
        let mut follower = following("5.5.1");
        let (first, position) = follower.probe(at(10)).unwrap();
        let (second, _) = follower.probe(at(11)).unwrap();
        assert_eq!((position.to_string().as_str(), echoed(&follower)), ("5.5.1", None));
        // Numbers that were not sent, and other streams' numbers, say nothing.
        let echo = |number: u64| event("echo", &format!("{{'probe':{number},'position':'6.5.1'}}"));
        assert_eq!(follower.take(&echo(99)), Next::Continue);
        assert_eq!(echoed(&follower), None);
        assert_eq!(follower.take(&echo(second.number)), Next::Continue);
        assert_eq!(follower.echoed(), Some(second));
        // An echo that comes late takes nothing back.
        assert_eq!(follower.take(&echo(first.number)), Next::Continue);
        assert_eq!(follower.echoed(), Some(second));
        assert_eq!(follower.position().unwrap().to_string(), "6.5.1");
    }

    #[test]
    fn probes_of_an_earlier_stream_are_not_echoed_in_this_one() {
        let mut follower = following("5.1");
        let (sent, _) = follower.probe(at(10)).unwrap();
        let hello = event("hello", "{'stream':'t','node':'n','position':'5.1','probe_seconds':1}");
        assert!(matches!(follower.take(&hello), Next::Opened(_)));
        let echo = event("echo", &format!("{{'probe':{},'position':'5.1'}}", sent.number));
        assert_eq!(follower.take(&echo), Next::Continue);
        assert_eq!(follower.echoed(), None);
    }

    #[test]
    fn an_answer_from_another_node_counts_when_every_lane_has_come_so_far() {
        let position = |text| Position::parse(text).unwrap();
        let mut follower = following("5.5.1");
        let (first, _) = follower.probe(at(10)).unwrap();
        follower.answered_elsewhere(first, position("7.6.1"));
        assert_eq!(echoed(&follower), None);
        assert_eq!(follower.take(&ending(0, 7)), Next::Continue);
        assert_eq!(echoed(&follower), None, "the second lane is behind");
        assert_eq!(follower.take(&event("position", "{'position':'7.6.1'}")), Next::Continue);
        assert_eq!(follower.echoed(), Some(first));
        let (second, _) = follower.probe(at(11)).unwrap();
        follower.answered_elsewhere(second, position("7.6.1"));
        assert_eq!(follower.echoed(), Some(second), "it has been reached before the answer came");
        let (third, _) = follower.probe(at(12)).unwrap();
        follower.answered_elsewhere(third, position("7.1"));
        follower.answered_elsewhere(third, position("7.6.0"));
        assert_eq!(follower.take(&event("position", "{'position':'9.9.1'}")), Next::Continue);
        assert_eq!(follower.echoed(), Some(second), "another feed's position is never reached");
    }

    #[test]
    fn what_cannot_be_understood_costs_the_view() {
        for (event, too_old) in [
            (event("ending", "{'cutoff':['new',1],'lane':0,'position':6}"), true),
            (event("ending", "{'cutoff':['user','x',7,9],'lane':0,'position':6}"), false),
            (event("ending", "not json"), false),
            (ending(2, 6), false),
            (event("position", "{'position':'6.1'}"), false),
            (event("echo", "{'probe':1,'position':'6.6.6.1'}"), false),
            (event("echo", "{'probe':1,'position':'6.6.2'}"), false),
            (event("position", "{'position':'6.6.0'}"), false),
        ] {
            let mut follower = following("5.5.1");
            let (sent, _) = follower.probe(at(10)).unwrap();
            assert_eq!(follower.take(&event), Next::Lost, "{event:?}");
            assert!(follower.view().is_none() && follower.probe(at(11)).is_none());
            assert_eq!(follower.is_too_old(), too_old);
            // A new snapshot begins anew, without the probes of before, unless the guard is too old.
            let loaded = follower.load(snapshot("8.8.1"));
            assert_eq!(loaded.err(), too_old.then_some(SnapshotError::UnknownKind));
            assert_eq!(follower.view().is_none(), too_old);
            let echo = format!("{{'probe':{},'position':'8.8.1'}}", sent.number);
            follower.take(&self::event("echo", &echo));
            assert_eq!(follower.echoed(), None);
        }
        // Events that are no endings may be new.
        let mut follower = following("5.5.1");
        assert_eq!(follower.take(&event("weather", "sunny")), Next::Continue);
        assert!(follower.view().is_some());
    }

    #[test]
    fn a_snapshot_with_an_unknown_kind_is_the_end() {
        let mut follower = following("5.5.1");
        assert_eq!(follower.load(Err(SnapshotError::UnknownKind)), Err(SnapshotError::UnknownKind));
        assert!(follower.is_too_old() && follower.view().is_none());
        assert_eq!(follower.load(snapshot("6.6.1")), Err(SnapshotError::UnknownKind));
    }

    #[test]
    fn what_is_waited_for_is_bounded() {
        let mut follower = following("5.1");
        let probes: Vec<Sent> = (0..200).map(|second| follower.probe(at(second)).unwrap().0).collect();
        assert_eq!(follower.sent.len(), WAITING_MAX);
        for sent in probes {
            follower.answered_elsewhere(sent, Position::parse("9.1").unwrap());
        }
        assert_eq!(follower.elsewhere.len(), WAITING_MAX);
        assert_eq!(follower.take(&event("position", "{'position':'9.1'}")), Next::Continue);
        assert_eq!((echoed(&follower), follower.elsewhere.len()), (Some(200), 0));
    }
}
