//! The operations that are measured, each as its clients do it.

use std::cell::RefCell;
use std::collections::VecDeque;

use curfew_tokens::SigningAlg;

use crate::browser::Jar;
use crate::failed::{Failed, Result};
use crate::floor::Work;
use crate::wire::{Connection, Request};
use crate::world::{ALGS, Wanted, World, token_request};

/// One of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A machine's token; the place in [`ALGS`] says for which API.
    ClientCredentials(usize),
    /// A rotating refresh token is exchanged.
    Rotation,
    /// A browser with a session comes back without seeing a page, and its code is exchanged.
    SilentLogin,
    /// A browser without a session: the login page, its form, and the exchange of the code.
    PasswordLogin,
    /// With an access token that has no audience.
    UserinfoOpaque,
    /// With an access token that is a JWT.
    UserinfoSigned,
    /// The OpenID configuration.
    Discovery,
    /// The keys.
    Jwks,
}

impl Scenario {
    /// In the order of the report.
    pub(crate) const ALL: [Self; 10] = [
        Self::ClientCredentials(0),
        Self::ClientCredentials(1),
        Self::ClientCredentials(2),
        Self::Rotation,
        Self::SilentLogin,
        Self::PasswordLogin,
        Self::UserinfoOpaque,
        Self::UserinfoSigned,
        Self::Discovery,
        Self::Jwks,
    ];

    /// For `--only`, and the name of its file of notes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ClientCredentials(0) => "client-credentials-rs256",
            Self::ClientCredentials(1) => "client-credentials-es256",
            Self::ClientCredentials(_) => "client-credentials-eddsa",
            Self::Rotation => "rotation",
            Self::SilentLogin => "silent-login",
            Self::PasswordLogin => "password-login",
            Self::UserinfoOpaque => "userinfo-opaque",
            Self::UserinfoSigned => "userinfo-jwt",
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
        }
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ClientCredentials(0) => "client_credentials, RS256",
            Self::ClientCredentials(1) => "client_credentials, ES256",
            Self::ClientCredentials(_) => "client_credentials, EdDSA",
            Self::Rotation => "refresh rotation with `openid`, RS256",
            Self::SilentLogin => "silent login and code exchange, RS256",
            Self::PasswordLogin => "password login and code exchange, RS256",
            Self::UserinfoOpaque => "userinfo, opaque token",
            Self::UserinfoSigned => "userinfo, JWT",
            Self::Discovery => "discovery",
            Self::Jwks => "JWKS",
        }
    }

    /// The ratio that is aimed at on SQLite.
    pub(crate) fn aim(self) -> Option<f64> {
        match self {
            Self::ClientCredentials(0) => Some(0.90),
            Self::ClientCredentials(1) => Some(0.50),
            Self::Rotation => Some(0.85),
            Self::SilentLogin => Some(0.80),
            Self::PasswordLogin => Some(0.98),
            _ => None,
        }
    }

    /// What the operation cannot be done without, beside its HTTP.
    pub(crate) fn work(self) -> &'static [Work] {
        const RS256: Work = Work::Sign(SigningAlg::RS256);
        match self {
            Self::ClientCredentials(0) => &[RS256],
            Self::ClientCredentials(1) => &[Work::Sign(SigningAlg::ES256)],
            Self::ClientCredentials(_) => &[Work::Sign(SigningAlg::EdDSA)],
            Self::Rotation | Self::SilentLogin => &[RS256, RS256],
            Self::PasswordLogin => &[Work::Argon2, RS256, RS256],
            Self::UserinfoSigned => &[Work::VerifyRs256],
            Self::UserinfoOpaque | Self::Discovery | Self::Jwks => &[],
        }
    }

    /// Connections of the closed loop: passwords are hashed one at a time per core, and more waiting than this
    /// would only be waiting.
    pub(crate) fn connections(self, usual: usize) -> usize {
        if self == Self::PasswordLogin { usual.min(8) } else { usual }
    }

    /// Whether the world needs browsers that have signed in.
    pub(crate) fn needs_sign_in(self) -> bool {
        matches!(self, Self::Rotation | Self::SilentLogin | Self::UserinfoOpaque | Self::UserinfoSigned)
    }

    /// Does the operation once.
    pub(crate) async fn run(self, world: &World, connection: &mut Connection) -> Result<()> {
        match self {
            Self::ClientCredentials(api) => {
                let answered = token_request(connection, &world.machine_bodies[api]).await?;
                if answered.access_token.is_empty() {
                    return Err(Failed(format!("no access token for {}", ALGS[api].as_str())));
                }
                Ok(())
            }
            Self::Rotation => {
                let family = taken(&world.families, "family")?;
                let successor = world.rotate(connection, &family).await?;
                world.families.borrow_mut().push_back(successor);
                Ok(())
            }
            Self::SilentLogin => {
                let mut jar = taken(&world.browsers, "browser")?;
                world.log_in(connection, &mut jar, None, Wanted::Api).await?;
                world.browsers.borrow_mut().push_back(jar);
                Ok(())
            }
            Self::PasswordLogin => {
                let user = world.any_user();
                world.log_in(connection, &mut Jar::default(), Some(user), Wanted::Api).await.map(drop)
            }
            Self::UserinfoOpaque => userinfo(connection, world.any_token(&world.opaque_tokens)?).await,
            Self::UserinfoSigned => userinfo(connection, world.any_token(&world.signed_tokens)?).await,
            Self::Discovery => get(connection, "/.well-known/openid-configuration", &[], b"jwks_uri").await,
            Self::Jwks => get(connection, "/.well-known/jwks.json", &[], b"kid").await,
        }
    }
}

/// Takes the one that was not used for longest; whoever succeeds puts it back, so a broken one is not used again.
fn taken<T>(shelf: &RefCell<VecDeque<T>>, what: &str) -> Result<T> {
    let first = shelf.borrow_mut().pop_front();
    first.ok_or_else(|| Failed(format!("no {what} is left: there are more connections than were prepared")))
}

async fn userinfo(connection: &mut Connection, token: &str) -> Result<()> {
    let authorization = format!("Bearer {token}");
    get(connection, "/userinfo", &[("authorization", &authorization)], b"sub").await
}

async fn get(
    connection: &mut Connection,
    target: &str,
    headers: &[(&'static str, &str)],
    expected: &[u8],
) -> Result<()> {
    let answer = connection.send(&Request { method: "GET", target, headers, body: b"" }).await?;
    let found = answer.body.windows(expected.len()).any(|window| window == expected);
    if answer.status == 200 && found {
        Ok(())
    } else {
        Err(Failed(format!("{target} answered {}", answer.describe())))
    }
}
