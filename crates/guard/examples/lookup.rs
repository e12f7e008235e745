//! How long a look takes, and how much memory a cutoff, with a million of them. Run it with `--release`.

use curfew_guard::{Cutoff, TokenFacts, Verdict, View};
use curfew_model::{Entropy, GrantKey, SessionKey, Sid, SystemEntropy, Timestamp, UserKey};
use tokio::time::Instant;

const MILLION: usize = 1_000_000;
const LOOKS: u32 = 1_000_000;

fn main() {
    let entropy: &dyn Entropy = &SystemEntropy;
    let (number, until) = (1_795_219_200_000_001, 1_795_305_600);
    let now = Timestamp::from_seconds(1_795_219_300);
    let view = View::new("https://api.example/");
    let before = resident_bytes();
    let mut tokens = Vec::new();
    for at in 0..MILLION {
        let (user, session, grant) = (entropy.bytes(), entropy.bytes(), entropy.bytes());
        let (user, grant) = (UserKey(user), GrantKey(grant));
        let sid = Sid { user, session: SessionKey(session) };
        view.apply(&match at % 10 {
            0..4 => Cutoff::User { user, number, until },
            4..7 => Cutoff::Session { sid, until },
            7..9 => Cutoff::Grant { grant, until },
            _ => Cutoff::UserSessions { user, number, spared: Some(sid), until },
        });
        // Every second token is one that no cutoff concerns, which is looked for in every table.
        if at % 50 < 2 {
            let user = if at % 2 == 0 { user } else { UserKey(entropy.bytes()) };
            tokens.push(TokenFacts {
                kid: Some("a key"),
                client_id: Some("a client of thirty-two characters"),
                user: Some(user),
                user_number: Some(number + 1),
                client_number: Some(1),
                grant: Some(GrantKey(entropy.bytes())),
                sid: Some(Sid { user, session: SessionKey(entropy.bytes()) }),
                issued_at: 1_795_219_000,
            });
        }
    }
    let resident = resident_bytes().saturating_sub(before);
    let start = Instant::now();
    let mut lives = 0_usize;
    for facts in tokens.iter().cycle().take(LOOKS as usize) {
        lives += usize::from(view.judge(facts, now) == Verdict::Lives);
    }
    let each = start.elapsed() / LOOKS;
    println!("{} cutoffs, {} of {LOOKS} tokens live", view.len(), lives);
    println!("a look: {} ns", each.as_nanos());
    println!(
        "a cutoff: {} bytes by arithmetic, {} resident",
        view.heap_bytes() / MILLION,
        resident / MILLION
    );
}

/// Memory of this process, where the system tells (Linux, pages of 4 KiB).
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
