//! The guards for Node and Python, as their packages are: each language in a process of its own, that follows the feed
//! of a node over a socket. Only the time is the box's; it is told with every question.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::{Mutex, MutexGuard, mpsc};

use crate::support::{Curfew, Guard, ISSUER};

/// How long an answer may take. A guard that does not hear of something says so before.
const PATIENCE: Duration = Duration::from_secs(60);

/// In which language a guard is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Node,
    Python,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::Node, Self::Python];

    /// What a guard calls itself.
    pub(crate) fn name_of(self, guard: &Guard) -> String {
        format!("{self:?} {}", guard.application.client_id)
    }

    /// The program that hosts its guards.
    fn command(self, address: SocketAddr, certificate: &Path) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = |name: &str| here.join("../../clients").join(name);
        let (program, installed, host): (OsString, PathBuf, _) = match self {
            Self::Node => ("node".into(), package("js/guard/node_modules"), "host.mjs"),
            Self::Python => {
                let interpreter = package("python/guard/.venv/bin/python");
                (interpreter.clone().into(), interpreter, "host.py")
            }
        };
        assert!(
            installed.exists(),
            "{} is missing, without which the guard for {self:?} does not run: `cargo xtask test --only clients` \
             installs it",
            installed.display()
        );
        let mut command = Command::new(program);
        command
            .arg(here.join("tests/it/matrix").join(host))
            .args([ISSUER, &address.to_string()])
            .env("PYTHONPATH", package("python/guard/src"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SSL_CERT_FILE", certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }
}

/// A running program that answers each line by a line. It ends when this is dropped.
#[derive(Debug)]
struct Host {
    child: Child,
    answers: mpsc::UnboundedReceiver<String>,
    /// Answers that nobody has waited for yet.
    owed: usize,
}

impl Host {
    fn start(language: Language, address: SocketAddr, certificate: &Path) -> Self {
        let mut child = match language.command(address, certificate).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!(
                    "there is no program for {language:?} on the PATH: `cargo xtask test` says what to install"
                )
            }
            Err(error) => panic!("{language:?} does not start: {error}"),
        };
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let (sender, answers) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody waits for it any more.
                let _ = sender.send(line);
            }
        });
        Self { child, answers, owed: 0 }
    }

    fn say(&mut self, question: &Value) {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{question}").expect("it listens");
        self.owed += 1;
    }

    /// The answer to what was said last.
    async fn answer(&mut self) -> Value {
        loop {
            let answer =
                tokio::time::timeout(PATIENCE, self.answers.recv()).await.expect("it answers in time");
            let answer = serde_json::from_str(&answer.expect("it has not ended")).expect("JSON");
            self.owed -= 1;
            if self.owed == 0 {
                return answer;
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Guards in both languages, at one node.
#[derive(Debug)]
pub(crate) struct Foreign {
    curfew: Curfew,
    node: Mutex<Host>,
    python: Mutex<Host>,
    _certificate: NamedTempFile,
}

impl Foreign {
    pub(crate) async fn start(curfew: &Curfew) -> Self {
        let address = curfew.listen().await;
        let (with_tls, pem) = curfew.listen_with_tls().await;
        let mut certificate = NamedTempFile::with_prefix("curfew-certificate-").expect("a temporary file");
        certificate.write_all(pem.as_bytes()).expect("it is written");
        Self {
            curfew: curfew.clone(),
            node: Mutex::new(Host::start(Language::Node, address, certificate.path())),
            python: Mutex::new(Host::start(Language::Python, with_tls, certificate.path())),
            _certificate: certificate,
        }
    }

    /// Says something to the guards of a language; their host may be waited for.
    async fn say(&self, language: Language, mut question: Value) -> MutexGuard<'_, Host> {
        let host = match language {
            Language::Node => &self.node,
            Language::Python => &self.python,
        };
        question["now"] = json!(self.curfew.now().seconds());
        let mut host = host.lock().await;
        host.say(&question);
        host
    }

    /// Has a guard follow the feed in each language. Nobody waits for it here: there is more to be made meanwhile.
    pub(crate) async fn follow(&self, guard: &Guard) {
        for language in Language::ALL {
            let question = json!({
                "name": language.name_of(guard),
                "audience": guard.api,
                "clientId": guard.application.client_id,
                "clientSecret": guard.application.secret,
            });
            drop(self.say(language, question).await);
        }
    }

    /// Whether a guard that has heard of everything so far lets a token pass.
    pub(crate) async fn accepts(&self, language: Language, guard: &Guard, token: &str) -> bool {
        let heads = self.curfew.store().read((), |tx, ()| Box::pin(curfew_store::feed::heads(tx)));
        let heads = heads.await.expect("the heads of the feed");
        // One that gets no token of its own any more hears nothing, and stops trusting what it knew.
        let own = [("grant_type", "client_credentials"), ("audience", guard.api.as_str())];
        let is_lost = guard.application.token(&own).await.status != 200;
        let name = language.name_of(guard);
        let question = json!({ "name": name, "token": token, "heads": heads, "isLost": is_lost });
        let answer = self.say(language, question).await.answer().await;
        match (answer["status"].as_u64(), answer["description"].as_str()) {
            (Some(200), _) => true,
            (Some(401), Some("The access token has ended.")) => false,
            // A revoked key is none.
            (Some(401), Some("The access token is signed with an unknown key.")) => false,
            (Some(503), _) if is_lost => false,
            _ => panic!("{language:?}: {answer}"),
        }
    }
}
