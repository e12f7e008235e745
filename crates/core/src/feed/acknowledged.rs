//! Which guards have heard of an ending, as receipts count it: a guard has, once it acknowledged the entry's position, or
//! once its lease ran out, because it trusts nothing older from then on.
//!
//! A guard counts from its first echo: before that it has no view. Its lease runs from the last probe that came in,
//! which it had sent before.

use std::collections::HashMap;
use std::sync::Arc;

use curfew_model::{ClientId, EndingId, TenantId, Timestamp};
use serde_json::json;

use super::guards::{Announcement, Guard};
use super::{Entry, Position};

/// Guards that a settled ending names; all are counted.
const NAMED_MAX: usize = 100;
/// Guards that are known to a node at once. Further ones are served and not counted: their leases bound them.
const GUARDS_MAX: usize = 20_000;
/// Endings that wait for guards at once. Beyond it the oldest is settled as it stands.
const OPEN_MAX: usize = 10_000;

/// One guard among those of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Who {
    tenant: TenantId,
    audience: String,
    client: ClientId,
    name: String,
    /// Replicas bear one name.
    instance: String,
}

#[derive(Debug)]
struct Known {
    who: Arc<Who>,
    acknowledged: Option<Position>,
    lapses_at: Timestamp,
    /// During which read its first probe came in; a later one echoes it.
    probed_in: u64,
    /// It has been echoed, and so has a view.
    echoed: bool,
}

/// The guards of a node, each with a number for as long as it is known: what waits for thousands of them is looked at with
/// every read, and a number is found sooner than a name.
#[derive(Debug, Default)]
struct Guards {
    numbers: HashMap<Arc<Who>, usize>,
    known: Vec<Option<Known>>,
    free: Vec<usize>,
}

impl Guards {
    fn get(&self, number: usize) -> Option<&Known> {
        self.known.get(number).and_then(Option::as_ref)
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &Known)> + Clone {
        self.known.iter().enumerate().filter_map(|(number, known)| Some((number, known.as_ref()?)))
    }

    /// The guard, made known by `make` if it is not. `None` when there are too many.
    fn entry(&mut self, who: Who, make: impl FnOnce(Arc<Who>) -> Known) -> Option<&mut Known> {
        let number = match self.numbers.get(&who) {
            Some(number) => *number,
            None if self.numbers.len() >= GUARDS_MAX => return None,
            None => {
                let who = Arc::new(who);
                let number = self.free.pop().unwrap_or(self.known.len());
                if number == self.known.len() {
                    self.known.push(None);
                }
                *self.known.get_mut(number)? = Some(make(Arc::clone(&who)));
                self.numbers.insert(who, number);
                number
            }
        };
        self.known.get_mut(number)?.as_mut()
    }

    /// Forgets those whose leases are over, and gives their numbers to others: nothing may wait for them any more.
    fn forget_lapsed(&mut self, now: Timestamp) {
        for (number, known) in self.known.iter_mut().enumerate() {
            if let Some(lapsed) = known.take_if(|known| known.lapses_at <= now) {
                self.numbers.remove(&lapsed.who);
                self.free.push(number);
            }
        }
    }
}

/// An ending that not every guard has heard of.
#[derive(Debug)]
struct Open {
    tenant: TenantId,
    ending: EndingId,
    /// Lane and position of each entry, with the API it is for.
    entries: Vec<(i64, i64, Option<String>)>,
    /// Guards were here, be it of other APIs: whoever reads the receipt waits for this node's word.
    awaited: bool,
    waiting: Vec<usize>,
    confirmed: Vec<(Arc<Who>, Timestamp)>,
    lapsed: Vec<(Arc<Who>, Timestamp)>,
}

impl Open {
    fn has_heard(&self, known: &Known) -> bool {
        let Some(acknowledged) = &known.acknowledged else { return false };
        let concerns =
            |audience: &Option<String>| audience.as_ref().is_none_or(|own| *own == known.who.audience);
        let mut of_guard = self.entries.iter().filter(|(_, _, audience)| concerns(audience));
        of_guard.all(|(lane, position, _)| acknowledged.has_read(*lane, *position))
    }

    /// Moves the guards that need not be waited for any more.
    fn look(&mut self, guards: &Guards, now: Timestamp) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|number| {
            // Whoever is waited for is known.
            let Some(known) = guards.get(*number) else { return false };
            let of = |list: &mut Vec<_>| list.push((Arc::clone(&known.who), now));
            if self.has_heard(known) {
                of(&mut self.confirmed);
            } else if known.lapses_at <= now {
                of(&mut self.lapsed);
            } else {
                return true;
            }
            false
        });
        self.waiting = waiting;
    }

    fn settle(self) -> Settled {
        let shown = |(who, at): &(Arc<Who>, Timestamp), how: &str| json!({"name": who.name, "audience": who.audience, "client_id": who.client, how: at.iso()});
        // Those that did not confirm first: they are what somebody looks for.
        let lapsed = self.lapsed.iter().map(|guard| shown(guard, "lapsed_at"));
        let confirmed = self.confirmed.iter().map(|guard| shown(guard, "confirmed_at"));
        let guards: Vec<_> = lapsed.chain(confirmed).take(NAMED_MAX).collect();
        let last = self.confirmed.iter().map(|(_, at)| *at).max();
        let doc = json!({
            "confirmed": self.confirmed.len(),
            "lapsed": self.lapsed.len(),
            "last_confirmed_at": last.map(Timestamp::iso),
            "guards": guards,
        });
        Settled { tenant: self.tenant, ending: self.ending, doc: doc.to_string() }
    }
}

/// An ending that every guard of this node has heard of, or has stopped trusting its view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) tenant: TenantId,
    pub(super) ending: EndingId,
    /// JSON: how many confirmed and lapsed, and who.
    pub(super) doc: String,
}

/// A node's guards, and the endings that wait for them.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    guards: Guards,
    open: Vec<Open>,
    /// How many reads have begun.
    reads: u64,
}

impl Acknowledged {
    /// A probe to a stream came in.
    pub(super) fn heard(
        &mut self,
        guard: &Guard,
        stream: &str,
        acknowledged: Option<Position>,
        by: &Announcement,
        now: Timestamp,
    ) {
        let who = Who {
            tenant: guard.tenant,
            audience: guard.audience.clone(),
            client: guard.client.clone(),
            name: by.name.clone(),
            instance: by.instance.as_deref().unwrap_or(stream).to_owned(),
        };
        let lapses_at = now.plus_seconds(i64::from(by.lease_seconds));
        let reads = self.reads;
        let make = |who| Known { who, acknowledged: None, lapses_at, probed_in: reads, echoed: false };
        let Some(known) = self.guards.entry(who, make) else { return };
        known.acknowledged = acknowledged;
        known.lapses_at = lapses_at;
    }

    /// A complete read begins; answers its number.
    pub(super) fn begin_read(&mut self) -> u64 {
        self.reads += 1;
        self.reads
    }

    /// A read has ended well, and is about to echo the probes that had come in before it began.
    pub(super) fn end_read(&mut self, number: u64) {
        for known in self.guards.known.iter_mut().flatten().filter(|known| known.probed_in < number) {
            known.echoed = true;
        }
    }

    /// The streams are about to hear these.
    pub(super) fn told(&mut self, entries: &[Entry], now: Timestamp) {
        for entry in entries {
            let row = &entry.row;
            let at = (row.lane, row.position, row.entry.audience.clone());
            match self.open.iter_mut().rev().find(|open| open.ending == row.ending) {
                Some(open) => open.entries.push(at),
                None => self.open.push(Open {
                    tenant: row.tenant,
                    ending: row.ending,
                    entries: vec![at],
                    awaited: false,
                    waiting: Vec::new(),
                    confirmed: Vec::new(),
                    lapsed: Vec::new(),
                }),
            }
        }
        for open in self.open.iter_mut().filter(|open| entries.iter().any(|e| e.row.ending == open.ending)) {
            let needs = |who: &Who| {
                let concerns =
                    |audience: &Option<String>| audience.as_ref().is_none_or(|own| *own == who.audience);
                who.tenant == open.tenant && open.entries.iter().any(|(_, _, audience)| concerns(audience))
            };
            let living = self.guards.iter().filter(|(_, known)| known.lapses_at > now);
            let viewing = living.clone().filter(|(_, known)| known.echoed && needs(&known.who));
            open.waiting = viewing.map(|(number, _)| number).collect();
            open.awaited = living.count() > 0;
        }
    }

    /// What is settled by now. Where there were no guards nobody asks.
    pub(super) fn settle(&mut self, now: Timestamp) -> Vec<Settled> {
        let guards = &self.guards;
        for open in &mut self.open {
            open.look(guards, now);
        }
        let surplus = self.open.len().saturating_sub(OPEN_MAX);
        let mut number = 0;
        let (settled, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|open| {
                number += 1;
                open.waiting.is_empty() || number <= surplus
            });
        self.open = open;
        // Nobody waits for those: they were counted as lapsed.
        self.guards.forget_lapsed(now);
        settled.into_iter().filter(|open| open.awaited).map(Open::settle).collect()
    }

    /// How many guards trust what they heard here, or soon will, and the longest of their leases as of `now`, in whole
    /// seconds.
    pub(super) fn leases(&self, now: Timestamp) -> (usize, i64) {
        self.leases_of(now, |_, _| true)
    }

    /// The same of the guards of one API.
    pub(super) fn leases_before(&self, now: Timestamp, tenant: TenantId, audience: &str) -> (usize, i64) {
        self.leases_of(now, |who, known| known.echoed && who.tenant == tenant && who.audience == audience)
    }

    fn leases_of(&self, now: Timestamp, of: impl Fn(&Who, &Known) -> bool) -> (usize, i64) {
        let living = self.guards.iter().filter(|(_, known)| known.lapses_at > now && of(&known.who, known));
        let (count, last) =
            living.fold((0, now), |(count, last), (_, known)| (count + 1, last.max(known.lapses_at)));
        (count, (last.micros() - now.micros() + 999_999) / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use curfew_model::{EndingCause, Secret};
    use curfew_store::endings::StoredEntry;
    use curfew_store::feed::FeedRow;

    use super::super::guards::Stale;
    use super::*;

    const TENANT: TenantId = TenantId(1);
    const NOW: Timestamp = Timestamp::from_seconds(1000);

    fn probe(known: &mut Acknowledged) {
        let guard = Guard {
            tenant: TENANT,
            audience: "https://api.example/".into(),
            client: "client".into(),
            expires_at: NOW.plus_seconds(3600),
            token: Secret::new(String::new()),
        };
        let by =
            Announcement { name: "orders".into(), instance: None, lease_seconds: 10, stale: Stale::Refuse };
        known.heard(&guard, "stream", None, &by, NOW);
    }

    /// How many guards are waited for when something ends, as their leases run out later.
    fn waited_for(known: &mut Acknowledged, ending: u8) -> u64 {
        let entry = StoredEntry {
            kind: "user".into(),
            user_key: None,
            subject: None,
            audience: None,
            counter: Some(1),
            spared: None,
            keep_until: NOW,
        };
        let row = FeedRow {
            lane: 0,
            position: i64::from(ending),
            tenant: TENANT,
            ending: EndingId([ending; 16]),
            cause: EndingCause::UserBlocked,
            at: NOW,
            entry,
        };
        known.told(&[Entry { row, data: String::new() }], NOW);
        let mut later = std::mem::take(&mut known.open);
        for open in &mut later {
            open.look(&known.guards, NOW.plus_seconds(11));
        }
        later.iter().map(|open| open.lapsed.len() as u64).sum()
    }

    #[test]
    fn a_guard_counts_from_its_first_echo() {
        let mut known = Acknowledged::default();
        let earlier = known.begin_read();
        probe(&mut known);
        assert_eq!(waited_for(&mut known, 1), 0, "nobody has answered it");
        known.end_read(earlier);
        assert_eq!(waited_for(&mut known, 2), 0, "that read had begun before its probe came in");
        let number = known.begin_read();
        known.end_read(number);
        assert_eq!(waited_for(&mut known, 3), 1, "it has a view now");
    }
}
