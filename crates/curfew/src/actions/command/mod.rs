//! `curfew actions`: Actions on the machine of the one who writes them, without a server and without a database.
//!
//! `test` runs a file in the very worker process that a server would run it in, under the same limits, with the same
//! packages and the same policy of addresses.

mod given;
mod lines;
mod mask;
mod report;
mod source;
mod trial;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use curfew_actions::types;
use curfew_model::Secret;
use curfew_model::config::ActionTrigger;

use crate::config::Config;

/// The Action failed.
const FAILED: u8 = 1;
/// Nothing ran: what was given cannot be used.
const UNUSABLE: u8 = 2;
/// The Action ran, and said no.
const DENIED: u8 = 3;

/// What can be done with Actions here.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run an Action's file as the server would, and say what it did
    #[command(after_long_help = EXAMPLES)]
    Test(Box<Test>),
    /// Print a complete event, to be edited and given to `test --event`
    Event {
        /// Whose event
        #[arg(long, value_name = "TRIGGER", value_parser = triggers(), default_value = "post-login")]
        trigger: ActionTrigger,
    },
    /// Print TypeScript's types of `event` and `api`
    Types {
        /// One trigger's alone, under the global names of Auth0's templates too (`Event`, `PostLoginAPI`)
        #[arg(long, value_name = "TRIGGER", value_parser = triggers())]
        trigger: Option<ActionTrigger>,
    },
}

const EXAMPLES: &str = "\
Examples:
  curfew actions test greet.js
  curfew actions event > event.json
  curfew actions test single-session.js --event event.json --secrets .env --dependency auth0@7.1.0
  curfew actions test back.js --function onContinuePostLogin --event - < event.json

Exit codes: 0 it ran; 1 it failed; 2 it was not run, since something given cannot be used; 3 it ran and denied.

What it reaches is what a server's Actions reach: CURFEW_EGRESS_ALLOW names private networks that it may, CURFEW_EGRESS_CA
further authorities. Packages come from CURFEW_PACKAGES_DIR (`packages` beside the program), else from the registry in
CURFEW_NPMRC (~/.npmrc). Its requests are really made; nothing that it asks for by `api` is done.";

/// An Action to be tried.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// The Action's file, CommonJS
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// JSON file with the whole event, `-` for standard input [default: the one that `curfew actions event` prints]
    #[arg(long, value_name = "FILE")]
    pub event: Option<PathBuf>,
    /// Whose `event` and `api` it gets [default: the one whose function the file exports]
    #[arg(long, value_name = "TRIGGER", value_parser = triggers())]
    pub trigger: Option<ActionTrigger>,
    /// Which export is called, for example onContinuePostLogin [default: the trigger's own]
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
    /// A value of event.secrets; may be given several times. Other users of the machine may see it: rather use --secrets
    #[arg(long = "secret", value_name = "NAME=VALUE", value_parser = secret)]
    pub secret: Vec<Secret<String>>,
    /// File of event.secrets: a JSON object of texts, or lines of NAME=VALUE
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// A package that it requires, for example auth0@7.1.0; may be given several times
    #[arg(long = "dependency", value_name = "NAME@VERSION")]
    pub dependency: Vec<String>,
    /// An Actions module that it requires as `actions:NAME`; may be given several times
    #[arg(long = "module", value_name = "NAME=FILE")]
    pub module: Vec<String>,
    /// What `Date` begins with, for example 2026-01-01T10:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub now: Option<String>,
    /// How long it may take, at most what a server gives it [default: that]
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<f64>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Show every line of a stack, also those of packages
    #[arg(long)]
    pub verbose: bool,
}

fn triggers() -> impl TypedValueParser<Value = ActionTrigger> {
    PossibleValuesParser::new(ActionTrigger::ALL.iter().map(|trigger| trigger.as_str()))
        .try_map(|text| ActionTrigger::parse(&text).ok_or("there is no such trigger"))
}

/// Taken as it is, so that no message about it can quote it.
#[expect(clippy::unnecessary_wraps, reason = "the form that the parser asks for")]
fn secret(text: &str) -> Result<Secret<String>, String> {
    Ok(Secret::new(text.to_owned()))
}

/// Why nothing ran. For the person at the terminal; names no secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

/// Does what was asked for. `config` is read only where something runs.
pub fn run<E>(command: Command, config: impl FnOnce() -> Result<Config, E>) -> ExitCode
where
    E: std::fmt::Display,
{
    match command {
        Command::Types { trigger } => say(&types::declarations(trigger)),
        Command::Event { trigger } => say(&given::printed_sample(trigger)),
        Command::Test(test) => {
            let tried = config()
                .map_err(|error| Unusable(error.to_string()))
                .and_then(|config| trial::run(&test, &config));
            return match tried {
                Ok(tried) => {
                    say(&report::write(&tried, &test));
                    ExitCode::from(tried.exit_code())
                }
                Err(unusable) => {
                    let _ = writeln!(std::io::stderr(), "error: {unusable}");
                    ExitCode::from(UNUSABLE)
                }
            };
        }
    }
    ExitCode::SUCCESS
}

/// Writes to stdout; who reads may have stopped.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
