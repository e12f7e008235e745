//! What a fuzzer calls: plain functions over any bytes, which must return. They assert what must hold for
//! whatever is accepted, and say whether anything was.

use curfew_model::Timestamp;

use crate::cutoff::Cutoff;
use crate::messages::FeedEvent;
use crate::snapshot::SnapshotReader;
use crate::sse::{Event, EventReader, TooLong};
use crate::view::{TokenFacts, Verdict, View};

/// A target: takes any bytes, says whether it accepted them.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name of its folder in the corpus.
pub const TARGETS: &[(&str, Target)] =
    &[("cutoff", fuzz_cutoff), ("snapshot", fuzz_snapshot), ("stream", fuzz_stream)];

const AUDIENCE: &str = "https://api.example/";

/// A token that a cutoff concerns.
fn concerned(cutoff: &Cutoff) -> TokenFacts<'_> {
    let before = |number: i64| number.checked_sub(1);
    match cutoff {
        Cutoff::User { user, number, .. }
        | Cutoff::UserSessions { user, number, .. }
        | Cutoff::UserFamilies { user, number, .. } => {
            TokenFacts { user: Some(*user), user_number: before(*number), ..TokenFacts::default() }
        }
        Cutoff::UserClient { user, client_id, number, .. } => TokenFacts {
            user: Some(*user),
            user_number: before(*number),
            client_id: Some(client_id),
            ..TokenFacts::default()
        },
        Cutoff::Session { sid, .. } | Cutoff::SessionExpired { sid, .. } => {
            TokenFacts { sid: Some(*sid), ..TokenFacts::default() }
        }
        Cutoff::Grant { grant, .. } => TokenFacts { grant: Some(*grant), ..TokenFacts::default() },
        Cutoff::Client { client_id, number, .. } => TokenFacts {
            client_id: Some(client_id),
            client_number: number.and_then(before),
            ..TokenFacts::default()
        },
        Cutoff::ClientUsers { client_id, number, .. } => TokenFacts {
            user: Some(curfew_model::UserKey([0; 12])),
            client_id: Some(client_id),
            client_number: before(*number),
            ..TokenFacts::default()
        },
        Cutoff::Users { at, .. } => {
            TokenFacts { user: Some(curfew_model::UserKey([0; 12])), issued_at: *at, ..TokenFacts::default() }
        }
        Cutoff::Audience { at, .. } => TokenFacts { issued_at: *at, ..TokenFacts::default() },
        Cutoff::SigningKey { kid, .. } => TokenFacts { kid: Some(kid), ..TokenFacts::default() },
    }
}

/// [`Cutoff::parse`]: what is accepted ends a token, and only while it matters.
pub fn fuzz_cutoff(bytes: &[u8]) -> bool {
    let Ok(cutoff) = Cutoff::parse(bytes) else { return false };
    // Below the smallest number, and of other APIs, there is no token.
    let never = match &cutoff {
        Cutoff::User { number, .. }
        | Cutoff::UserSessions { number, .. }
        | Cutoff::UserFamilies { number, .. }
        | Cutoff::UserClient { number, .. }
        | Cutoff::ClientUsers { number, .. }
        | Cutoff::Client { number: Some(number), .. } => *number == i64::MIN,
        Cutoff::Audience { identifier, .. } => identifier != AUDIENCE,
        Cutoff::Session { .. }
        | Cutoff::SessionExpired { .. }
        | Cutoff::Grant { .. }
        | Cutoff::Users { .. }
        | Cutoff::Client { number: None, .. }
        | Cutoff::SigningKey { .. } => false,
    };
    let (facts, until) = (concerned(&cutoff), Timestamp::from_seconds(cutoff.until().into()));
    let view = View::new(AUDIENCE);
    assert_eq!(view.judge(&facts, until), Verdict::Lives);
    view.apply(&cutoff);
    assert_eq!(view.judge(&facts, until) == Verdict::Lives, never, "{cutoff:?}");
    if cutoff.until() < u32::MAX {
        assert_eq!(view.judge(&facts, until.plus_seconds(1)), Verdict::Lives);
    }
    true
}

/// [`SnapshotReader`]: the same whole and in pieces.
pub fn fuzz_snapshot(bytes: &[u8]) -> bool {
    let read = |piece: usize| {
        let mut reader = SnapshotReader::new("https://id.example/", AUDIENCE);
        bytes.chunks(piece).try_for_each(|piece| reader.push(piece))?;
        let snapshot = reader.finish()?;
        Ok::<_, crate::snapshot::SnapshotError>((snapshot.position, snapshot.view.len()))
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(whole, read(1));
    assert_eq!(whole, read(7));
    whole.is_ok()
}

/// [`EventReader`], and what stands in its events: the same whole and in pieces.
pub fn fuzz_stream(bytes: &[u8]) -> bool {
    let read = |piece: usize| -> Result<Vec<Event>, TooLong> {
        let mut reader = EventReader::default();
        bytes.chunks(piece).try_fold(Vec::new(), |mut events, piece| {
            events.extend(reader.push(piece)?);
            Ok(events)
        })
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(whole, read(1));
    assert_eq!(whole, read(5));
    let Ok(events) = whole else { return false };
    let understood = events.iter().map(FeedEvent::parse).collect::<Result<Vec<_>, _>>();
    understood.is_ok_and(|events| events.iter().any(|event| *event != FeedEvent::Other))
}
