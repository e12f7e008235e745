//! The view against the same rules written plainly, as a search through a list; and how much memory it takes.

use curfew_model::{GrantKey, SessionKey, Sid, Timestamp, UserKey};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::fake::{AUDIENCE, ISSUER};
use crate::cutoff::Cutoff;
use crate::snapshot::SnapshotReader;
use crate::view::{Question, TokenFacts, Verdict, View};

/// The largest number of the matching cutoffs, and the latest `until`, if that is not over.
fn combined<T: Ord>(matching: impl Iterator<Item = (T, u32)>, now: u32) -> Option<T> {
    let both = matching.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)));
    both.filter(|(_, until)| *until >= now).map(|(number, _)| number)
}

/// The table of cutoffs, rule by rule.
fn reference(cutoffs: &[Cutoff], token: &TokenFacts<'_>, now: u32) -> Verdict {
    let all = || cutoffs.iter();
    let before = |own: Option<i64>, number: Option<i64>| matches!((own, number), (Some(own), Some(number)) if own < number);

    let user = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::User { user, number, until } if Some(*user) == token.user => Some((*number, *until)),
            _ => None,
        }),
        now,
    );
    let user_client = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::UserClient { user, client_id, number, until }
                if Some(*user) == token.user && Some(client_id.as_str()) == token.client_id =>
            {
                Some((*number, *until))
            }
            _ => None,
        }),
        now,
    );
    let session = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::Session { sid, until } if Some(*sid) == token.sid => Some(((), *until)),
            _ => None,
        }),
        now,
    );
    let expired = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::SessionExpired { sid, until } if Some(*sid) == token.sid => Some(((), *until)),
            _ => None,
        }),
        now,
    );
    let grant = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::Grant { grant, until } if Some(*grant) == token.grant => Some(((), *until)),
            _ => None,
        }),
        now,
    );
    // No number is the largest: it is said in the first member.
    let client = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::Client { client_id, number, until } if Some(client_id.as_str()) == token.client_id => {
                Some(((number.is_none(), *number), *until))
            }
            _ => None,
        }),
        now,
    );
    let client_users = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::ClientUsers { client_id, number, until }
                if Some(client_id.as_str()) == token.client_id =>
            {
                Some((*number, *until))
            }
            _ => None,
        }),
        now,
    );
    let audience = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::Audience { identifier, at, until } if identifier == AUDIENCE => Some((*at, *until)),
            _ => None,
        }),
        now,
    );
    let key = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::SigningKey { kid, until } if Some(kid.as_str()) == token.kid => Some(((), *until)),
            _ => None,
        }),
        now,
    );
    let everybody = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::Users { at, until } => Some((*at, *until)),
            _ => None,
        }),
        now,
    );
    let families = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::UserFamilies { user, number, until } if Some(*user) == token.user => {
                Some((*number, *until))
            }
            _ => None,
        }),
        now,
    );
    let sessions = combined(
        all().filter_map(|cutoff| match cutoff {
            Cutoff::UserSessions { user, number, until, .. } if Some(*user) == token.user => {
                Some((*number, *until))
            }
            _ => None,
        }),
        now,
    );
    // Those of the largest number say which session stays; if they do not agree, none does.
    let mut spared = all().filter_map(|cutoff| match cutoff {
        Cutoff::UserSessions { user, number, spared, .. }
            if Some(*user) == token.user && Some(*number) == sessions =>
        {
            Some(*spared)
        }
        _ => None,
    });
    let first = spared.next().flatten();
    let spared = first.filter(|first| spared.all(|other| other == Some(*first)));

    let number = token.user_number;
    let by_sessions = before(number, sessions);
    let ended = before(number, user)
        || before(number, user_client)
        || (by_sessions && token.sid.is_some() && token.sid != spared)
        || session.is_some()
        || (expired.is_some() && token.grant.is_none())
        || grant.is_some()
        || client.is_some_and(|(whole, number)| whole || before(token.client_number, number))
        || (token.user.is_some() && before(token.client_number, client_users))
        || audience.is_some_and(|at| token.issued_at <= at)
        || key.is_some();
    let question = Question {
        sessions: sessions.filter(|_| by_sessions && token.sid.is_none()),
        families: families.filter(|_| before(number, families)),
        session_expired: expired.is_some(),
        users: everybody.filter(|at| token.user.is_some() && token.issued_at <= *at),
    };
    match (ended, question == Question::default()) {
        (true, _) => Verdict::Ended,
        (false, true) => Verdict::Lives,
        (false, false) => Verdict::Ask(question),
    }
}

/// Few values of each kind, so that they meet.
fn user() -> impl Strategy<Value = UserKey> {
    (0..3_u8).prop_map(|byte| UserKey([byte; 12]))
}

fn sid() -> impl Strategy<Value = Sid> {
    (user(), 0..3_u8).prop_map(|(user, byte)| Sid { user, session: SessionKey([byte; 12]) })
}

fn grant() -> impl Strategy<Value = GrantKey> {
    (0..3_u8).prop_map(|byte| GrantKey([byte; 12]))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just(AUDIENCE.to_owned())]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..6_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn until() -> impl Strategy<Value = u32> {
    // Tokens are judged at 100.
    prop_oneof![1 => 95..105_u32, 3 => 1000..1010_u32, 1 => Just(u32::MAX)]
}

fn cutoff() -> impl Strategy<Value = Cutoff> {
    let spared = || option::of(0..3_u8);
    prop_oneof![
        (user(), number(), until()).prop_map(|(user, number, until)| Cutoff::User { user, number, until }),
        (user(), number(), spared(), until()).prop_map(|(user, number, spared, until)| {
            let spared = spared.map(|byte| Sid { user, session: SessionKey([byte; 12]) });
            Cutoff::UserSessions { user, number, spared, until }
        }),
        (user(), number(), until()).prop_map(|(user, number, until)| Cutoff::UserFamilies {
            user,
            number,
            until
        }),
        (user(), text(), number(), until()).prop_map(|(user, client_id, number, until)| Cutoff::UserClient {
            user,
            client_id,
            number,
            until
        }),
        (sid(), until()).prop_map(|(sid, until)| Cutoff::Session { sid, until }),
        (sid(), until()).prop_map(|(sid, until)| Cutoff::SessionExpired { sid, until }),
        (grant(), until()).prop_map(|(grant, until)| Cutoff::Grant { grant, until }),
        (text(), option::of(number()), until()).prop_map(|(client_id, number, until)| Cutoff::Client {
            client_id,
            number,
            until
        }),
        (text(), number(), until()).prop_map(|(client_id, number, until)| Cutoff::ClientUsers {
            client_id,
            number,
            until
        }),
        (number(), until()).prop_map(|(at, until)| Cutoff::Users { at, until }),
        (text(), number(), until()).prop_map(|(identifier, at, until)| Cutoff::Audience {
            identifier,
            at,
            until
        }),
        (text(), until()).prop_map(|(kid, until)| Cutoff::SigningKey { kid, until }),
    ]
}

/// What a token says, with its texts.
type Token = (Option<String>, Option<String>, TokenFacts<'static>);

fn token() -> impl Strategy<Value = Token> {
    let numbers = (option::of(number()), option::of(number()), number());
    let texts = (option::of(text()), option::of(text()));
    (texts, option::of(user()), numbers, option::of(grant()), option::of(sid())).prop_map(
        |((kid, client_id), user, (user_number, client_number, issued_at), grant, sid)| {
            let facts = TokenFacts {
                user,
                user_number,
                client_number,
                grant,
                sid,
                issued_at,
                ..TokenFacts::default()
            };
            (kid, client_id, facts)
        },
    )
}

fn json_of(cutoff: &Cutoff) -> serde_json::Value {
    match cutoff {
        Cutoff::User { user, number, until } => json!(["user", user, number, until]),
        Cutoff::UserSessions { user, number, spared, until } => {
            json!(["user_sessions", user, number, spared.map(|sid| sid.to_string()), until])
        }
        Cutoff::UserFamilies { user, number, until } => json!(["user_families", user, number, until]),
        Cutoff::UserClient { user, client_id, number, until } => {
            json!(["user_client", user, client_id, number, until])
        }
        Cutoff::Session { sid, until } => json!(["session", sid.to_string(), until]),
        Cutoff::SessionExpired { sid, until } => json!(["session_expired", sid.to_string(), until]),
        Cutoff::Grant { grant, until } => json!(["grant", grant, until]),
        Cutoff::Client { client_id, number, until } => json!(["client", client_id, number, until]),
        Cutoff::ClientUsers { client_id, number, until } => json!(["client_users", client_id, number, until]),
        Cutoff::Users { at, until } => json!(["users", at, until]),
        Cutoff::Audience { identifier, at, until } => json!(["audience", identifier, at, until]),
        Cutoff::SigningKey { kid, until } => json!(["signing_key", kid, until]),
    }
}

/// A view whose first cutoffs came with a snapshot, and the others after it.
fn view(snapshot: &[Cutoff], entries: &[Cutoff]) -> View {
    let mut reader = SnapshotReader::new(ISSUER, AUDIENCE);
    let mut text = json!({ "position": "0.7", "issuer": ISSUER, "cutoffs": snapshot.len() }).to_string();
    for cutoff in snapshot {
        text.push_str(&format!("\n{}", json_of(cutoff)));
    }
    reader.push(text.as_bytes()).unwrap();
    let view = reader.finish().unwrap().view;
    entries.iter().for_each(|cutoff| view.apply(cutoff));
    view
}

const NOW: u32 = 100;

fn judge(view: &View, (kid, client_id, facts): &Token, now: u32) -> Verdict {
    let facts = TokenFacts { kid: kid.as_deref(), client_id: client_id.as_deref(), ..*facts };
    view.judge(&facts, Timestamp::from_seconds(now.into()))
}

fn judge_plainly(cutoffs: &[Cutoff], (kid, client_id, facts): &Token) -> Verdict {
    let facts = TokenFacts { kid: kid.as_deref(), client_id: client_id.as_deref(), ..*facts };
    reference(cutoffs, &facts, NOW)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_view_says_what_the_list_says(
        cutoffs in vec(cutoff(), 0..12),
        split in any::<prop::sample::Index>(),
        repeated in any::<prop::sample::Index>(),
        tokens in vec(token(), 1..20),
    ) {
        let split = split.index(cutoffs.len() + 1);
        let (first, second) = cutoffs.split_at(split);
        let whole = view(first, second);
        // The other way round, and with a part that comes in the snapshot and with the feed.
        let turned = view(second, first);
        let overlap = view(&cutoffs[..split], &cutoffs[repeated.index(split + 1)..]);
        for token in &tokens {
            let expected = judge_plainly(&cutoffs, token);
            prop_assert_eq!(judge(&whole, token, NOW), expected);
            prop_assert_eq!(judge(&turned, token, NOW), expected);
            prop_assert_eq!(judge(&overlap, token, NOW), expected);
        }
        // Sweeping changes nothing that anybody could see.
        (0..256).for_each(|_| whole.sweep(Timestamp::from_seconds(NOW.into())));
        for token in &tokens {
            prop_assert_eq!(judge(&whole, token, NOW), judge_plainly(&cutoffs, token));
        }
    }
}

fn key(number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key.copy_from_slice(&curfew_tokens::digest::sha256(&number.to_be_bytes())[..12]);
    key
}

#[test]
fn a_million_cutoffs_take_less_than_a_hundred_bytes_each() {
    const MILLION: u64 = 1_000_000;
    let (number, until) = (1_795_219_200_000_001, 1_795_305_600);
    let sid = |at| Sid { user: UserKey(key(at)), session: SessionKey(key(at + MILLION)) };
    let kinds: [(&str, &dyn Fn(u64) -> Cutoff); 5] = [
        ("users", &|at| Cutoff::User { user: UserKey(key(at)), number, until }),
        ("sessions", &|at| Cutoff::Session { sid: sid(at), until }),
        ("grants", &|at| Cutoff::Grant { grant: GrantKey(key(at)), until }),
        // The two largest.
        ("users' sessions", &|at| Cutoff::UserSessions {
            user: UserKey(key(at)),
            number,
            spared: Some(sid(at)),
            until,
        }),
        ("users and clients", &|at| Cutoff::UserClient {
            user: UserKey(key(at)),
            client_id: "a client".to_owned(),
            number,
            until,
        }),
    ];
    for (kind, cutoff) in kinds {
        let view = View::new(AUDIENCE);
        (0..MILLION).for_each(|at| view.apply(&cutoff(at)));
        assert_eq!(view.len(), 1_000_000);
        let bytes = view.heap_bytes() / 1_000_000;
        assert!(bytes < 100, "{kind}: {bytes}");
        // What is over is dropped, and so is its memory.
        (0..256).for_each(|_| view.sweep(Timestamp::from_seconds(i64::from(until) + 1)));
        assert!(view.is_empty() && view.heap_bytes() < 1_000_000, "{kind}: {}", view.heap_bytes());
    }
}
