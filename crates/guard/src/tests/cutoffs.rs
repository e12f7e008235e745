//! Each kind of cutoff: a token that lives first, and then has ended; and one beside it that goes on.

use serde_json::{Value, json};

use super::fake::{AUDIENCE, Fake, Introspection, START};
use super::{ENDED, check, claims, grant, heard, sid, sign, user};
use crate::{Config, Guard, Reason, Refusal, Stale};

const UNTIL: i64 = START + 100_000;

/// The claims of a machine's token.
fn machine() -> Value {
    let mut claims = claims();
    claims["sub"] = json!("client@clients");
    claims["cfw"] = json!({ "c": 50 });
    claims.as_object_mut().unwrap().remove("sid");
    claims
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn without_sid() -> Value {
    with(|claims| drop(claims.as_object_mut().unwrap().remove("sid")))
}

fn without_grant() -> Value {
    with(|claims| drop(claims["cfw"].as_object_mut().unwrap().remove("g")))
}

fn in_another_session() -> Value {
    with(|claims| claims["sid"] = json!("AQEBAQEBAQEBAQEBCQkJCQkJCQkJCQkJ"))
}

/// Cutoff, a token that it ends, a token that it does not.
fn that_end() -> Vec<(Value, Value, Value)> {
    let (sid, grant, client, other) = (sid().to_string(), grant(), "client", json!("AgICAgICAgICAgIC"));
    let newer = |claims: Value| {
        let mut claims = claims;
        claims["cfw"]["n"] = json!(200);
        claims["cfw"]["c"] = json!(200);
        claims
    };
    let somebody_else = with(|claims| claims["cfw"]["u"] = other.clone());
    let another_client = with(|claims| claims["azp"] = json!("another"));
    vec![
        (json!(["user", user(), 101, UNTIL]), claims(), newer(claims())),
        (json!(["user", user(), 101, UNTIL]), without_sid(), somebody_else),
        (json!(["user_sessions", user(), 101, null, UNTIL]), claims(), newer(claims())),
        (json!(["user_sessions", user(), 101, sid, UNTIL]), in_another_session(), claims()),
        (json!(["user_client", user(), client, 101, UNTIL]), claims(), another_client.clone()),
        (json!(["session", sid, UNTIL]), claims(), in_another_session()),
        (json!(["session", sid, UNTIL]), without_grant(), without_sid()),
        (json!(["session_expired", sid, UNTIL]), without_grant(), in_another_session()),
        (json!(["grant", grant, UNTIL]), claims(), with(|claims| claims["cfw"]["g"] = other.clone())),
        (json!(["client", client, null, UNTIL]), claims(), another_client.clone()),
        (json!(["client", client, null, UNTIL]), machine(), another_client.clone()),
        (json!(["client", client, 51, UNTIL]), machine(), newer(machine())),
        (json!(["client_users", client, 51, UNTIL]), claims(), machine()),
        (
            json!(["audience", AUDIENCE, START, UNTIL]),
            claims(),
            with(|claims| claims["iat"] = json!(START + 1)),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_kind_ends_its_tokens_and_no_others() {
    for stale in [Stale::Introspect, Stale::Refuse] {
        for (cutoff, ended, lives) in that_end() {
            let fake = Fake::new();
            // Whatever the server would say: nobody asks it.
            fake.state().introspection = Introspection::Active(true);
            let guard = fake.guard(fake.config().stale(stale)).await;
            let [ended, lives] = [ended, lives].map(|claims| sign(&fake.key(), &claims));
            assert_eq!(check(&guard, &ended).await, Ok(()), "{cutoff}");
            fake.end(cutoff.clone());
            heard(&guard, &fake).await;
            assert_eq!(check(&guard, &ended).await, Err(ENDED), "{cutoff}");
            assert_eq!(check(&guard, &lives).await, Ok(()), "{cutoff}");
            // A guard that starts now knows it from the snapshot.
            fake.write_snapshot();
            let second = fake.guard(fake.config().stale(stale)).await;
            assert_eq!(check(&second, &ended).await, Err(ENDED), "{cutoff}");
            assert_eq!(check(&second, &lives).await, Ok(()), "{cutoff}");
            assert_eq!(fake.asked("/oauth/introspect"), 0, "{cutoff}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_ends_what_it_signed_and_is_forgotten() {
    let fake = Fake::new();
    let guard = fake.guard(fake.config()).await;
    let old = sign(&fake.key(), &claims());
    assert_eq!(check(&guard, &old).await, Ok(()));
    fake.rotate("k2");
    let read = fake.asked("/.well-known/jwks.json");
    fake.end(json!(["signing_key", "k1", UNTIL]));
    heard(&guard, &fake).await;
    assert_eq!(check(&guard, &old).await, Err(ENDED));
    fake.until(|state| state.asked("/.well-known/jwks.json") > read).await;
    assert_eq!(check(&guard, &sign(&fake.key(), &claims())).await, Ok(()));
}

/// Cutoffs for which the view alone does not decide, with a token that each concerns.
fn that_ask() -> Vec<(Value, Value)> {
    vec![
        (json!(["user_sessions", user(), 101, null, UNTIL]), without_sid()),
        (json!(["user_families", user(), 101, UNTIL]), claims()),
        (json!(["session_expired", sid().to_string(), UNTIL]), claims()),
        (json!(["users", START, UNTIL]), claims()),
    ]
}

async fn asking(config: impl FnOnce(Config) -> Config, cutoff: Value) -> (Fake, Guard) {
    let fake = Fake::new();
    let guard = fake.guard(config(fake.config())).await;
    fake.end(cutoff);
    heard(&guard, &fake).await;
    (fake, guard)
}

#[tokio::test(start_paused = true)]
async fn where_the_view_does_not_decide_the_server_does_once() {
    for (cutoff, concerned) in that_ask() {
        let (fake, guard) = asking(|config| config, cutoff.clone()).await;
        let token = sign(&fake.key(), &concerned);
        for _ in 0..3 {
            assert_eq!(check(&guard, &token).await, Ok(()), "{cutoff}");
        }
        assert_eq!(fake.asked("/oauth/introspect"), 1, "{cutoff}");
        let mut other = concerned.clone();
        other["jti"] = json!("another");
        let other = sign(&fake.key(), &other);
        fake.state().introspection = Introspection::Active(false);
        for _ in 0..3 {
            assert_eq!(check(&guard, &other).await, Err(ENDED), "{cutoff}");
        }
        assert_eq!(fake.asked("/oauth/introspect"), 2, "{cutoff}");
        // The same cutoff once more is the same question; a token that is not concerned is no question.
        fake.end(cutoff.clone());
        heard(&guard, &fake).await;
        assert_eq!(check(&guard, &token).await, Ok(()));
        assert_eq!(check(&guard, &sign(&fake.key(), &machine())).await, Ok(()));
        assert_eq!(fake.asked("/oauth/introspect"), 2, "{cutoff}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_cutoff_makes_the_guard_ask_again() {
    let later = [
        (
            without_sid(),
            json!(["user_sessions", user(), 101, null, UNTIL]),
            json!(["user_sessions", user(), 102, null, UNTIL]),
        ),
        (
            claims(),
            json!(["user_families", user(), 101, UNTIL]),
            json!(["user_families", user(), 102, UNTIL]),
        ),
        (claims(), json!(["users", START, UNTIL]), json!(["users", START + 1, UNTIL])),
        (
            claims(),
            json!(["session_expired", sid().to_string(), UNTIL]),
            json!(["user_families", user(), 101, UNTIL]),
        ),
    ];
    for (concerned, first, second) in later {
        let (fake, guard) = asking(|config| config, first.clone()).await;
        let token = sign(&fake.key(), &concerned);
        assert_eq!(check(&guard, &token).await, Ok(()), "{first}");
        fake.state().introspection = Introspection::Active(false);
        assert_eq!(check(&guard, &token).await, Ok(()), "{first}");
        fake.end(second.clone());
        heard(&guard, &fake).await;
        assert_eq!(check(&guard, &token).await, Err(ENDED), "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_nothing_passes() {
    for (cutoff, concerned) in that_ask() {
        let (fake, guard) = asking(|config| config, cutoff.clone()).await;
        let token = sign(&fake.key(), &concerned);
        for introspection in [Introspection::Hanging, Introspection::Status(500), Introspection::Status(401)]
        {
            fake.state().introspection = introspection;
            assert_eq!(check(&guard, &token).await, Err(Refusal::Unavailable), "{cutoff} {introspection:?}");
        }
        // No answer is no answer to keep.
        fake.state().introspection = Introspection::Active(true);
        assert_eq!(check(&guard, &token).await, Ok(()), "{cutoff}");

        let (fake, guard) = asking(|config| config.stale(Stale::Refuse), cutoff.clone()).await;
        let refused = check(&guard, &sign(&fake.key(), &concerned)).await;
        assert_eq!(refused, Err(Refusal::InvalidToken(Reason::MayHaveEnded)), "{cutoff}");
        assert_eq!(fake.asked("/oauth/introspect"), 0);
    }
}
