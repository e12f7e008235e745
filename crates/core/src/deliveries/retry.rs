//! When a receiver is asked again, and when not.

use curfew_model::{Entropy, Timestamp};

use crate::outbound::{NoReply, Reply};

/// The first pause; each further one is twice as long.
const PAUSE_SECONDS: u64 = 1;
/// The longest.
const PAUSE_SECONDS_MAX: u64 = 3600;

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receiver has confirmed.
    Confirmed,
    /// It is not asked again.
    Dead(String),
    /// It is asked again at this instant.
    Again(Timestamp, String),
}

/// Judges what a receiver answered to the `attempts`-th try.
///
/// An answer of 2xx confirms. One that `refuses` says that the message was understood and is not wanted, and why: another
/// one would not change that. Everything else is tried again: when the application says, if it does so with 429 or 503, else with a growing
/// pause; until `retry_until`, and at least once.
pub(super) fn judge(
    answer: &Result<Reply, NoReply>,
    refuses: impl Fn(&Reply) -> Option<String>,
    attempts: i64,
    (now, retry_until): (Timestamp, Timestamp),
    entropy: &dyn Entropy,
) -> Verdict {
    let error = match answer {
        Ok(reply) if (200..=299).contains(&reply.status) => return Verdict::Confirmed,
        Ok(reply) => match refuses(reply) {
            Some(why) => return Verdict::Dead(why),
            None => format!("the receiver answered {}", reply.status),
        },
        Err(no_reply) => no_reply.to_string(),
    };
    if now >= retry_until {
        return Verdict::Dead(error);
    }
    let mut pause = pause_micros(attempts, entropy);
    if let Ok(Reply { status: 429 | 503, retry_after: Some(asked), .. }) = answer
        && let Some(asked) = asked_micros(asked, now)
    {
        pause = pause.max(asked.min(PAUSE_SECONDS_MAX * 1_000_000));
    }
    let next = now + std::time::Duration::from_micros(pause);
    // The last try comes when the time is over, and not a pause before.
    Verdict::Again(next.min(retry_until), error)
}

/// Between three and five quarters of the pause that is due, so that what failed together is not tried together.
fn pause_micros(attempts: i64, entropy: &dyn Entropy) -> u64 {
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 20)).unwrap_or(20);
    let pause = (PAUSE_SECONDS << doublings).min(PAUSE_SECONDS_MAX) * 1_000_000;
    let chance = u64::from(u16::from_be_bytes(entropy.bytes()));
    (pause * 3 / 4 + pause / 2 * chance / u64::from(u16::MAX)).min(PAUSE_SECONDS_MAX * 1_000_000)
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
fn asked_micros(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000_000));
    }
    let at = Timestamp::parse_http_date(text)?;
    u64::try_from(at.since(now).as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use curfew_model::SystemEntropy;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);
    const UNTIL: Timestamp = Timestamp::from_seconds(1_767_225_600 + 86_400);

    fn reply(status: u16, retry_after: Option<&str>) -> Result<Reply, NoReply> {
        Ok(Reply { status, retry_after: retry_after.map(str::to_owned), body: String::new() })
    }

    fn refuses(reply: &Reply) -> Option<String> {
        (reply.status == 400).then(|| "no".to_owned())
    }

    fn after(answer: &Result<Reply, NoReply>, attempts: i64) -> f64 {
        match judge(answer, refuses, attempts, (NOW, UNTIL), &SystemEntropy) {
            Verdict::Again(at, _) => at.since(NOW).as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_confirms_and_what_is_final() {
        for status in [200, 201, 204] {
            assert_eq!(
                judge(&reply(status, None), refuses, 1, (NOW, UNTIL), &SystemEntropy),
                Verdict::Confirmed
            );
        }
        let dead = judge(&reply(400, Some("1")), refuses, 1, (NOW, UNTIL), &SystemEntropy);
        assert!(matches!(dead, Verdict::Dead(_)), "{dead:?}");
        // When the time is over the try that was made was the last, whatever it found out but a confirmation.
        for answer in [reply(500, None), reply(429, Some("1")), Err(NoReply("gone".into()))] {
            let verdict = judge(&answer, refuses, 30, (UNTIL, UNTIL), &SystemEntropy);
            assert!(matches!(verdict, Verdict::Dead(_)), "{answer:?}");
        }
        let late = judge(&reply(200, None), refuses, 30, (UNTIL, UNTIL), &SystemEntropy);
        assert_eq!(late, Verdict::Confirmed);
    }

    #[test]
    fn pauses_double_from_a_second_to_an_hour() {
        for answer in [reply(500, None), reply(302, None), reply(404, None), Err(NoReply("down".into()))] {
            for (attempts, due) in [(1, 1.0), (2, 2.0), (3, 4.0), (10, 512.0), (12, 2048.0)] {
                let paused = after(&answer, attempts);
                assert!((due * 0.75..=due * 1.25).contains(&paused), "{attempts}: {paused}");
            }
            for attempts in [13, 40, i64::MAX] {
                assert!((2700.0..=3600.0).contains(&after(&answer, attempts)), "{attempts}");
            }
        }
    }

    #[test]
    fn an_application_may_ask_for_a_longer_pause_but_not_for_any() {
        assert_eq!(after(&reply(429, Some("120")), 1), 120.0);
        assert_eq!(after(&reply(503, Some(" 60 ")), 1), 60.0);
        assert_eq!(after(&reply(503, Some("Thu, 01 Jan 2026 00:10:00 GMT")), 1), 600.0);
        assert_eq!(after(&reply(429, Some("999999999999999999")), 1), 3600.0);
        for nothing in
            [reply(429, Some("0")), reply(429, Some("soon")), reply(500, Some("120")), reply(429, None)]
        {
            assert!(after(&nothing, 1) <= 1.25, "{nothing:?}");
        }
        // It does not get past the end either.
        let late = UNTIL.plus_seconds(-5);
        let verdict = judge(&reply(429, Some("120")), refuses, 1, (late, UNTIL), &SystemEntropy);
        assert!(matches!(verdict, Verdict::Again(at, _) if at == UNTIL), "{verdict:?}");
    }
}
