//! Following the feed, and what goes wrong there. In every fault: within the lease the view decides, beyond it nothing
//! passes unasked, and when the fault is over the guard recovers by itself.

use serde_json::json;

use super::fake::{Fake, Introspection, Network, Probes, START, pass};
use super::{ENDED, check, claims, heard, sign, user};
use crate::{Guard, Refusal, Stale};

const UNTIL: i64 = START + 100_000;

/// A fault, and how it is over.
type Fault = (&'static str, fn(&Fake), fn(&Fake));

/// Each leaves the stream or the probes without an echo.
const FAULTS: [Fault; 6] = [
    ("refused", |fake| fake.go(Network::Down), |fake| fake.go(Network::Up)),
    ("hanging", |fake| fake.go(Network::Hanging), |fake| fake.go(Network::Up)),
    ("no echo", |fake| fake.state().probes = Probes::NotEchoed, |fake| fake.state().probes = Probes::Echoed),
    ("no answer", |fake| fake.state().probes = Probes::Hanging, |fake| fake.state().probes = Probes::Echoed),
    (
        "no feed",
        |fake| {
            fake.state().feed_status = Some(503);
            fake.cut();
        },
        |fake| fake.state().feed_status = None,
    ),
    ("silence", |fake| fake.state().delayed = true, |fake| fake.state().delayed = false),
];

async fn refuses_from(guard: &Guard, token: &str, lease: u64, fault: &str) {
    pass(lease - 3).await;
    assert_eq!(check(guard, token).await, Ok(()), "{fault}: within the lease");
    pass(6).await;
    assert_eq!(check(guard, token).await, Err(Refusal::Unavailable), "{fault}: beyond the lease");
    pass(3600).await;
    assert_eq!(check(guard, token).await, Err(Refusal::Unavailable), "{fault}: an hour later");
}

#[tokio::test(start_paused = true)]
async fn beyond_its_lease_a_view_decides_nothing() {
    for (fault, begin, end) in FAULTS {
        for (stale, lease) in [(Stale::Refuse, 10), (Stale::Introspect, 10), (Stale::Refuse, 60)] {
            let fake = Fake::new();
            let guard = fake.guard(fake.config().stale(stale).lease_seconds(lease)).await;
            let token = sign(&fake.key(), &claims());
            assert_eq!(check(&guard, &token).await, Ok(()));
            begin(&fake);
            fake.state().introspection = Introspection::Hanging;
            refuses_from(&guard, &token, lease.into(), fault).await;
            // What ends meanwhile is heard as soon as the fault is over, by the position that the guard holds.
            fake.end(json!(["user", user(), 101, UNTIL]));
            end(&fake);
            guard.ready().await;
            assert_eq!(check(&guard, &token).await, Err(ENDED), "{fault}");
            assert_eq!(fake.asked("/endings/snapshot"), 1, "{fault}: the view was kept");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_its_lease_a_guard_asks_about_each_token_anew() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config()).await;
    let token = sign(&fake.key(), &claims());
    fake.state().probes = Probes::NotEchoed;
    pass(20).await;
    for asked in 1..=3 {
        assert_eq!(check(&guard, &token).await, Ok(()));
        assert_eq!(fake.asked("/oauth/introspect"), asked);
    }
    fake.state().introspection = Introspection::Active(false);
    assert_eq!(check(&guard, &token).await, Err(ENDED));
    fake.state().probes = Probes::Echoed;
    guard.ready().await;
    assert_eq!(check(&guard, &token).await, Ok(()), "that answer was not kept");
    assert_eq!(fake.asked("/oauth/introspect"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_knows_it() {
    for seconds in [11, 3600, 86_000] {
        let fake = Fake::new();
        let guard = fake.guard(fake.config().stale(Stale::Refuse)).await;
        let token = sign(&fake.key(), &claims());
        assert_eq!(check(&guard, &token).await, Ok(()));
        fake.clocks.set(seconds);
        assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable), "{seconds}");
        guard.ready().await;
        assert_eq!(check(&guard, &token).await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_forward_and_back_costs_the_view() {
    let fake = Fake::new();
    fake.end(json!(["user", user(), 101, START + 1000]));
    fake.write_snapshot();
    let guard = fake.guard(fake.config().stale(Stale::Refuse)).await;
    let mut token = claims();
    token["exp"] = json!(START + 700);
    let token = sign(&fake.key(), &token);
    assert_eq!(check(&guard, &token).await, Err(ENDED));
    fake.clocks.set(2000);
    // The cutoff is over now, and the view is swept of it.
    pass(300).await;
    assert_eq!(guard.status().cutoffs, 0);
    fake.clocks.set(-2000);
    assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable), "what was dropped is missed");
    guard.until(|status| status.cutoffs == 1 && status.fresh).await;
    assert_eq!(check(&guard, &token).await, Err(ENDED));
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_was_delayed_makes_the_view_no_younger_than_its_probe() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config().stale(Stale::Refuse).lease_seconds(2)).await;
    let token = sign(&fake.key(), &claims());
    let told = fake.state().told.len();
    fake.state().delayed = true;
    fake.until(|state| state.told.len() == told + 4).await;
    assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable));
    let before = guard.status().age.unwrap();
    fake.let_through(1);
    guard.until(|status| status.age.unwrap() < before).await;
    assert!(guard.status().age.unwrap().as_secs_f64() >= 2.9, "{:?}", guard.status());
    assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable));
    fake.state().delayed = false;
    fake.let_through(99);
    guard.ready().await;
    assert_eq!(check(&guard, &token).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn another_nodes_answer_counts_when_the_stream_has_come_so_far() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config().stale(Stale::Refuse).lease_seconds(3)).await;
    let token = sign(&fake.key(), &claims());
    fake.state().probes = Probes::Elsewhere;
    pass(30).await;
    assert_eq!(check(&guard, &token).await, Ok(()), "nothing new, and the other node says so");
    fake.state().delayed = true;
    fake.end(json!(["user", user(), 101, UNTIL]));
    pass(4).await;
    assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable), "the stream is behind");
    fake.let_through(99);
    fake.state().delayed = false;
    guard.ready().await;
    assert_eq!(check(&guard, &token).await, Err(ENDED));
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_unknown_costs_the_view() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config().stale(Stale::Refuse)).await;
    let token = sign(&fake.key(), &claims());
    fake.state().feed_status = Some(410);
    fake.cut();
    guard.until(|status| !status.connected && status.age.is_none()).await;
    assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable), "the lease is of no account");
    fake.end(json!(["user", user(), 101, UNTIL]));
    fake.write_snapshot();
    fake.state().feed_status = None;
    guard.ready().await;
    assert!(fake.asked("/endings/snapshot") >= 2);
    assert_eq!(check(&guard, &token).await, Err(ENDED));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_taken_whole_or_not_at_all() {
    for gzip in [false, true] {
        for lacks in [0, 1, 9, 40] {
            let fake = Fake::new();
            fake.end(json!(["user", user(), 101, UNTIL]));
            fake.end(json!(["user", user(), 7, UNTIL]));
            fake.write_snapshot();
            fake.state().gzip = gzip;
            fake.state().snapshot_lacks = lacks;
            let guard = Guard::start(fake.config().stale(Stale::Refuse)).unwrap();
            let token = sign(&fake.key(), &claims());
            // The last line's end is no part of it.
            if lacks > 1 || (gzip && lacks == 1) {
                fake.until(|state| state.asked("/endings/snapshot") == 3).await;
                assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable), "{gzip} {lacks}");
                fake.state().snapshot_lacks = 0;
            }
            guard.ready().await;
            assert_eq!(check(&guard, &token).await, Err(ENDED), "{gzip} {lacks}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_unknown_costs_the_view_for_good() {
    for in_snapshot in [false, true] {
        let fake = Fake::new();
        let guard = Guard::start(fake.config()).unwrap();
        if in_snapshot {
            fake.go(Network::Down);
            fake.end(json!(["tenant", "t", UNTIL]));
            fake.write_snapshot();
            fake.go(Network::Up);
        } else {
            guard.ready().await;
            fake.end(json!(["tenant", "t", UNTIL]));
        }
        guard.until(|status| status.too_old).await;
        pass(3600).await;
        fake.cut();
        pass(100_000).await;
        let status = guard.status();
        assert!(!status.fresh && status.age.is_none() && status.cutoffs == 0, "{status:?}");
        fake.state().introspection = Introspection::Active(false);
        let mut late = claims();
        late["exp"] = json!(START + 1_000_000);
        assert_eq!(
            check(&guard, &sign(&fake.key(), &late)).await,
            Err(ENDED),
            "it still asks, with a token of its own"
        );
        fake.state().introspection = Introspection::Status(500);
        assert_eq!(check(&guard, &sign(&fake.key(), &late)).await, Err(Refusal::Unavailable));
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_starts_alone_lets_nothing_pass() {
    let fake = Fake::new();
    fake.go(Network::Down);
    let guard = Guard::start(fake.config()).unwrap();
    let token = sign(&fake.key(), &claims());
    pass(60).await;
    assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable));
    fake.go(Network::Up);
    guard.ready().await;
    assert_eq!(check(&guard, &token).await, Ok(()));
    assert_eq!(fake.asked("/oauth/introspect"), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_without_a_gap() {
    let fake = Fake::new();
    fake.state().token_seconds = 100;
    let guard = fake.guard(fake.config().stale(Stale::Refuse)).await;
    let token = sign(&fake.key(), &claims());
    for _ in 0..500 {
        pass(1).await;
        assert_eq!(check(&guard, &token).await, Ok(()));
        assert!(guard.status().age.unwrap().as_secs() < 3);
    }
    assert!((6..=8).contains(&fake.asked("/oauth/token")), "{}", fake.asked("/oauth/token"));
    assert_eq!(fake.asked("/endings/snapshot"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_ended_is_taken_up_again_where_it_was() {
    for reason in ["token_expired", "token_ended", "stopping", "too_slow", "silent", "something new"] {
        let fake = Fake::new();
        let guard = fake.guard(fake.config()).await;
        fake.end(json!(["user", user(), 7, UNTIL]));
        heard(&guard, &fake).await;
        let position = fake.position();
        fake.say("end", &json!({ "reason": reason }));
        fake.until(|state| state.taken_up.len() == 2).await;
        assert_eq!(fake.state().taken_up[1], position);
        let tokens = if reason.starts_with("token") { 2 } else { 1 };
        assert_eq!(fake.asked("/oauth/token"), tokens, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_spread_and_become_rarer() {
    let fake = Fake::new();
    let _guard = fake.guard(fake.config()).await;
    fake.state().feed_status = Some(500);
    fake.cut();
    let before = fake.asked("/endings/feed");
    pass(1).await;
    let soon = fake.asked("/endings/feed") - before;
    pass(599).await;
    let all = fake.asked("/endings/feed") - before;
    // Waits of up to 0.1, 0.2, 0.4 … seconds at first, and of up to 5 seconds later.
    assert!((2..=40).contains(&soon), "{soon} in the first second");
    assert!((120..=500).contains(&all), "{all} in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn probes_acknowledge_announce_and_report() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config().name("orders-api-1").lease_seconds(20)).await;
    let token = sign(&fake.key(), &claims());
    for _ in 0..5 {
        assert_eq!(check(&guard, &token).await, Ok(()));
    }
    fake.end(json!(["user", user(), 7, UNTIL]));
    heard(&guard, &fake).await;
    let told = fake.state().told.len();
    // The report of a probe that did not come through goes with the next one.
    fake.state().probes = Probes::Hanging;
    fake.until(|state| state.told.len() == told + 1).await;
    fake.state().probes = Probes::Echoed;
    fake.until(|state| state.told.iter().filter(|probe| probe["activity"].is_array()).count() == 2).await;
    let probes = fake.state().told.clone();
    let numbers: Vec<_> = probes.iter().map(|probe| probe["probe"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
    let probe = &probes[told];
    assert_eq!(probe["position"], fake.position());
    let instance = probe["guard"]["instance"].as_str().expect("which of its name");
    assert_eq!(instance.len(), 16);
    assert_eq!(
        probe["guard"],
        json!({ "name": "orders-api-1", "instance": instance, "lease_seconds": 20, "stale": "introspect" })
    );
    let reports: Vec<_> = probes.iter().filter_map(|probe| probe.get("activity")).collect();
    assert!(reports.iter().all(|report| report[0][0] == json!(user())), "{reports:?}");
    assert_eq!(reports[0], reports[1]);
    // Acknowledged, it is not said again.
    pass(60).await;
    let more = fake.state().told.iter().filter(|probe| probe["activity"].is_array()).count();
    assert_eq!(more, 2);
}
