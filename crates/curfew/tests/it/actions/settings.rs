//! What the operator lets Actions use.

use std::collections::BTreeSet;
use std::time::Duration;

use curfew::config::Typed;
use tokio::time::Instant;

use super::*;
use crate::process::Place;
use crate::support::ISSUER;

/// A node that is configured like this, beside the one of the story.
async fn node(curfew: &Curfew, typed: Typed) -> Operator {
    let typed = Typed { issuer: Some(ISSUER.to_owned()), ..typed };
    curfew.another_configuration(typed).await.operator().await
}

/// An Action whose function has this body, ready to be tried out.
async fn built(curfew: &Curfew, operator: &Operator, body: &str) -> Value {
    let mut doc = post_login("tried");
    doc["code"] = json!(format!("let runs = 0; exports.onExecutePostLogin = async () => {{ {body} }};"));
    let action = make(operator, doc).await;
    curfew.build().await;
    action
}

/// The body fails on a node that is configured like this, and on no other.
async fn fails_only_under(curfew: &Curfew, typed: Typed, body: &str, error: &str) {
    let operator = curfew.operator().await;
    let action = built(curfew, &operator, body).await;
    assert_eq!(tried(&operator, &action).await.1, Value::Null, "{body}");
    assert_eq!(tried(&node(curfew, typed).await, &action).await.1, error, "{body}");
}

in_a_box! {
    fn an_action_has_the_time_it_is_given(curfew) {
        let typed = Typed { actions_time_ms: Some(500.into()), ..Typed::default() };
        let waits = "await new Promise((done) => setTimeout(done, 1500));";
        fails_only_under(&curfew, typed, waits, "timed_out").await;
    }

    fn an_action_has_the_processor_time_it_is_given(curfew) {
        let typed = Typed { actions_cpu_ms: Some(50.into()), ..Typed::default() };
        let computes = "for (let i = 0; i < 1e7; i++) runs += i;";
        fails_only_under(&curfew, typed, computes, "timed_out").await;
    }

    fn an_action_has_the_memory_it_is_given(curfew) {
        let typed = Typed { actions_memory_mib: Some(32.into()), ..Typed::default() };
        let takes = "new Uint8Array(64 << 20).fill(1);";
        fails_only_under(&curfew, typed, takes, "out_of_memory").await;
    }

    fn as_many_run_at_a_time_as_may(curfew) {
        let operator = node(&curfew, Typed { actions_workers: Some(1.into()), ..Typed::default() }).await;
        let counts = "console.log(++runs); await new Promise((done) => setTimeout(done, 50));";
        let action = built(&curfew, &operator, counts).await;
        assert_eq!(tried(&operator, &action).await.0[0]["text"], "1");
        // One process runs them all, one after the other, and keeps what is outside of the function.
        let all = futures_util::future::join_all((0..5).map(|_| tried(&operator, &action))).await;
        let counted: BTreeSet<_> = all.iter().map(|(logs, _)| logs[0]["text"].as_str()).collect();
        assert_eq!(counted, ["2", "3", "4", "5", "6"].map(Some).into(), "{all:?}");
    }
}

in_a_process! {
    fn a_start_says_how_far_actions_are_confined(place) {
        // Of what the first server said nothing is known here: it says less.
        let mut command = place.command(env!("CARGO_BIN_EXE_curfew"));
        command.env("CURFEW_LISTEN", place.another_address().to_string()).env("CURFEW_LOG", "info");
        let server = place.start_as(command);
        let told = |place: &Place| {
            let said = place.said();
            ["Actions are fully confined", "ACTIONS ARE NOT FULLY CONFINED"].iter().any(|text| said.contains(text))
        };
        let until = Instant::now() + Duration::from_secs(60);
        while !told(&place) {
            assert!(Instant::now() < until, "nothing is told:\n{}", place.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.kill();
    }
}
