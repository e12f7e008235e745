//! Password hashes: Argon2id on threads of its own, bcrypt verified for users that were imported, and policies.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use curfew_model::config::{Connection, PasswordPolicy};
use curfew_model::secret::constant_time_eq;
use curfew_model::{Entropy, Failure, Secret};
use tokio::sync::oneshot;

/// Memory in KiB (OWASP Password Storage: m=19456, t=2, p=1).
const MEMORY_KIB: u32 = 19_456;
/// Passes.
const PASSES: u32 = 2;
/// Bytes of salt and of output.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Longest password hashed, in bytes; more is refused before any work is done.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Hashes that may wait for each thread. Beyond it the answer is 429 with `Retry-After`.
const WAITING_PER_THREAD: usize = 32;
/// How long an idle thread keeps its memory.
const MEMORY_KEPT: std::time::Duration = std::time::Duration::from_secs(10);

enum Work {
    Hash {
        password: Secret<String>,
        salt: [u8; SALT_BYTES],
        answer: oneshot::Sender<Result<String, Failure>>,
    },
    Verify {
        password: Secret<String>,
        hash: Option<String>,
        answer: oneshot::Sender<Verified>,
    },
}

/// The outcome of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// The password is right.
    Right,
    /// It is right, and the hash should be made anew with today's parameters.
    RightButOld,
    /// It is wrong, or there is no such user: the same work was done.
    Wrong,
}

/// A bounded pool of hashing threads.
#[derive(Debug, Clone)]
pub struct Passwords {
    queue: SyncSender<Work>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

impl Passwords {
    /// Starts `threads` threads; they end with the last clone of this value.
    pub fn start(threads: usize, entropy: Arc<dyn Entropy>) -> Result<Self, Failure> {
        let threads = threads.max(1);
        let (queue, work) = sync_channel(threads * WAITING_PER_THREAD);
        let work = Arc::new(Mutex::new(work));
        for number in 0..threads {
            let work = Arc::clone(&work);
            std::thread::Builder::new()
                .name(format!("passwords-{number}"))
                .spawn(move || serve(&work))
                .map_err(|error| Failure::storage("starting a password thread", error))?;
        }
        Ok(Self { queue, entropy })
    }

    /// Hashes a password into a PHC string.
    pub async fn hash(&self, password: &Secret<String>) -> Result<String, Failure> {
        let (answer, hashed) = oneshot::channel();
        let salt = self.entropy.bytes();
        self.enqueue(Work::Hash { password: password.clone(), salt, answer })?;
        hashed.await.map_err(|_| Failure::Internal("a password thread is gone".into()))?
    }

    /// Verifies a password. With `None` for the hash it does the same work and answers [`Verified::Wrong`], so that
    /// an answer's time does not tell whether a user exists.
    pub async fn verify(&self, password: &Secret<String>, hash: Option<String>) -> Result<Verified, Failure> {
        let (answer, verified) = oneshot::channel();
        self.enqueue(Work::Verify { password: password.clone(), hash, answer })?;
        verified.await.map_err(|_| Failure::Internal("a password thread is gone".into()))
    }

    fn enqueue(&self, work: Work) -> Result<(), Failure> {
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => Failure::Busy { what: "password hashing", retry_after_seconds: 5 },
            TrySendError::Disconnected(_) => Failure::Internal("the password threads are gone".into()),
        })
    }
}

fn serve(work: &Mutex<Receiver<Work>>) {
    // 19 MiB, kept between hashes and given back when a while brings none.
    let mut kept: Vec<Block> = Vec::new();
    loop {
        let next = work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv_timeout(MEMORY_KEPT);
        let mut blocks = std::mem::take(&mut kept);
        if next.is_ok() {
            blocks.resize(MEMORY_KIB as usize, Block::default());
        }
        match next {
            Ok(Work::Hash { password, salt, answer }) => {
                let hashed = argon2_raw(&password, &salt, PASSES, MEMORY_KIB, &mut blocks).map(|hash| {
                    format!(
                        "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${}${}",
                        STANDARD_NO_PAD.encode(salt),
                        STANDARD_NO_PAD.encode(hash)
                    )
                });
                let _ = answer.send(hashed);
            }
            Ok(Work::Verify { password, hash, answer }) => {
                let _ = answer.send(verify(&password, hash.as_deref(), &mut blocks));
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        kept = blocks;
    }
}

fn argon2_raw(
    password: &Secret<String>,
    salt: &[u8],
    passes: u32,
    memory_kib: u32,
    blocks: &mut [Block],
) -> Result<[u8; HASH_BYTES], Failure> {
    let failed = |error: argon2::Error| Failure::Crypto(format!("argon2: {error}").into());
    let parameters = Params::new(memory_kib, passes, 1, Some(HASH_BYTES)).map_err(failed)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let mut hash = [0; HASH_BYTES];
    argon2
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut hash, &mut *blocks)
        .map_err(failed)?;
    Ok(hash)
}

fn verify(password: &Secret<String>, hash: Option<&str>, blocks: &mut [Block]) -> Verified {
    match hash {
        Some(hash) if hash.starts_with("$argon2id$") => verify_argon2(password, hash, blocks),
        Some(hash) if hash.starts_with("$2") => {
            // bcrypt reads 72 bytes; a longer password never made such a hash at Auth0.
            match bcrypt::verify(password.expose(), hash) {
                Ok(true) => Verified::RightButOld,
                _ => Verified::Wrong,
            }
        }
        _ => {
            let _ = argon2_raw(password, &[0; SALT_BYTES], PASSES, MEMORY_KIB, blocks);
            Verified::Wrong
        }
    }
}

fn verify_argon2(password: &Secret<String>, hash: &str, blocks: &mut [Block]) -> Verified {
    let Some((memory, passes, salt, expected)) = parse_phc(hash) else { return Verified::Wrong };
    if memory > MEMORY_KIB {
        return Verified::Wrong;
    }
    match argon2_raw(password, &salt, passes, memory, blocks) {
        Ok(made) if constant_time_eq(&made, &expected) => {
            if (memory, passes) == (MEMORY_KIB, PASSES) {
                Verified::Right
            } else {
                Verified::RightButOld
            }
        }
        _ => Verified::Wrong,
    }
}

/// `$argon2id$v=19$m=…,t=…,p=1$salt$hash`.
fn parse_phc(text: &str) -> Option<(u32, u32, Vec<u8>, Vec<u8>)> {
    let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let mut memory = None;
    let mut passes = None;
    for parameter in parts.next()?.split(',') {
        match parameter.split_once('=')? {
            ("m", value) => memory = value.parse().ok(),
            ("t", value) => passes = value.parse().ok(),
            ("p", "1") => {}
            _ => return None,
        }
    }
    let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    let hash = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
    (parts.next().is_none() && hash.len() == HASH_BYTES).then_some((memory?, passes?, salt, hash))
}

/// A rule of a policy, and whether a password keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// Auth0's code: `lengthAtLeast`, `containsAtLeast`, `identicalChars`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Whether the password keeps it.
    pub verified: bool,
}

/// The rules of a connection's policy, applied to a password.
pub fn check_policy(connection: &Connection, password: &str) -> Vec<PolicyRule> {
    let policy = connection.doc.options.password_policy;
    let own_length = match policy {
        PasswordPolicy::None => 1,
        PasswordPolicy::Low => 6,
        PasswordPolicy::Fair | PasswordPolicy::Good => 8,
        PasswordPolicy::Excellent => 10,
    };
    let length =
        connection.doc.options.password_complexity_options.min_length.unwrap_or(own_length).clamp(1, 128);
    let mut rules = vec![PolicyRule {
        code: "lengthAtLeast",
        message: format!("At least {length} characters in length"),
        verified: password.chars().count() >= length as usize,
    }];
    let kinds = [
        password.chars().any(char::is_lowercase),
        password.chars().any(char::is_uppercase),
        password.chars().any(|c| c.is_ascii_digit()),
        password.chars().any(|c| !c.is_alphanumeric()),
    ];
    match policy {
        PasswordPolicy::None | PasswordPolicy::Low => {}
        PasswordPolicy::Fair => rules.push(PolicyRule {
            code: "shouldContain",
            message: "Should contain lower case (a-z), upper case (A-Z) and numbers (0-9)".to_owned(),
            verified: kinds[0] && kinds[1] && kinds[2],
        }),
        PasswordPolicy::Good | PasswordPolicy::Excellent => rules.push(PolicyRule {
            code: "containsAtLeast",
            message: "Contain at least 3 of: lower case (a-z), upper case (A-Z), numbers (0-9), special characters (!@#$%^&*)"
                .to_owned(),
            verified: kinds.iter().filter(|kind| **kind).count() >= 3,
        }),
    }
    if policy == PasswordPolicy::Excellent {
        let characters: Vec<char> = password.chars().collect();
        rules.push(PolicyRule {
            code: "identicalChars",
            message: "No more than 2 identical characters in a row".to_owned(),
            verified: !characters.windows(3).any(|w| w[0] == w[1] && w[1] == w[2]),
        });
    }
    rules
}

/// Whether every rule is kept, and the length is within what is hashed.
pub fn is_acceptable(connection: &Connection, password: &str) -> bool {
    password.len() <= PASSWORD_BYTES_MAX
        && check_policy(connection, password).iter().all(|rule| rule.verified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curfew_model::SystemEntropy;

    fn pool() -> Passwords {
        Passwords::start(1, Arc::new(SystemEntropy)).unwrap()
    }

    #[tokio::test]
    async fn a_hash_verifies_its_password_only() {
        let pool = pool();
        let hash = pool.hash(&Secret::new("correct horse".to_owned())).await.unwrap();
        let right = Secret::new("correct horse".to_owned());
        let wrong = Secret::new("correct horsf".to_owned());
        assert_eq!(pool.verify(&right, Some(hash.clone())).await.unwrap(), Verified::Right);
        assert_eq!(pool.verify(&wrong, Some(hash)).await.unwrap(), Verified::Wrong);
        assert_eq!(pool.verify(&right, None).await.unwrap(), Verified::Wrong);
    }

    #[tokio::test]
    async fn a_bcrypt_hash_verifies_and_asks_to_be_replaced() {
        let hash = bcrypt::hash("s3cret!", 4).unwrap();
        let verified = pool().verify(&Secret::new("s3cret!".to_owned()), Some(hash)).await.unwrap();
        assert_eq!(verified, Verified::RightButOld);
    }

    #[test]
    fn policies_are_those_of_auth0() {
        let mut connection = Connection {
            id: "con_1".to_owned(),
            name: "db".to_owned(),
            strategy: "auth0".to_owned(),
            doc: curfew_model::config::ConnectionDoc::default(),
            clients: Vec::new(),
        };
        assert!(is_acceptable(&connection, "Passw0rd"));
        assert!(!is_acceptable(&connection, "password"));
        connection.doc.options.password_policy = PasswordPolicy::Excellent;
        assert!(!is_acceptable(&connection, "Passsw0rd!"));
        connection.doc.options.password_policy = PasswordPolicy::None;
        assert!(is_acceptable(&connection, "x"));
        assert!(!is_acceptable(&connection, ""));
    }
}
