//! The guard against a server in the same process.

mod cutoffs;
mod fake;
mod following;
mod reference;
mod tokens;

use curfew_model::{GrantKey, SessionKey, Sid, UserKey};
use curfew_tokens::{SigningKey, sign_compact};
use serde_json::{Value, json};

use fake::{AUDIENCE, ISSUER, START};

use crate::{Claims, Guard, Reason, Refusal};

const ENDED: Refusal = Refusal::InvalidToken(Reason::Ended);

fn user() -> UserKey {
    UserKey([1; 12])
}

fn sid() -> Sid {
    Sid { user: user(), session: SessionKey([2; 12]) }
}

fn grant() -> GrantKey {
    GrantKey([3; 12])
}

/// The claims of a user's token.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "auth0|ada", "aud": [AUDIENCE, "http://localhost/userinfo"],
        "iat": START, "exp": START + 86_400, "scope": "openid read:orders", "azp": "client", "jti": "j",
        "sid": sid().to_string(),
        "cfw": { "u": user(), "n": 100, "c": 50, "g": grant() },
    })
}

fn sign(key: &SigningKey, claims: &Value) -> String {
    sign_compact(key, "JWT", claims).unwrap()
}

/// Decides about a token of which only the life is in question.
async fn check(guard: &Guard, token: &str) -> Result<(), Refusal> {
    guard.check(token, &[]).await.map(|_: Claims| ())
}

/// Waits until the guard has applied everything that is in the feed.
async fn heard(guard: &Guard, fake: &fake::Fake) {
    let position = fake.position();
    guard.until(|status| status.position.as_deref() == Some(&position)).await;
}
