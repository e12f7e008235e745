//! What can be asked for.

use std::path::PathBuf;

use clap::Parser;

/// Measures Curfew against the least that the same work can cost: how many operations a second of processor time
/// gives, beside a bare hyper answer with the same signatures and hashes, measured in turns on the same core.
#[derive(Debug, Parser)]
#[command(name = "curfew-bench")]
pub(crate) struct Arguments {
    /// The server's binary.
    #[arg(long, env = "CURFEW_BIN", default_value = "target/release/curfew")]
    pub(crate) curfew: PathBuf,

    /// Everything: long rounds, 100,000 sessions made by real logins, a minute's rest. Takes most of an hour.
    #[arg(long, conflicts_with = "quick")]
    pub(crate) full: bool,

    /// Short rounds and 2,000 sessions: what is done unless `--full` is given.
    #[arg(long)]
    pub(crate) quick: bool,

    /// How soon everybody knows of an ending, instead of what operations cost: `docs/latency.md`. Takes about ten minutes;
    /// with `--full` two hours more, for a user who has logged in 100,000 times.
    #[arg(long, conflicts_with = "quick")]
    pub(crate) latency: bool,

    /// What tenants' Actions cost, and what hostile ones do to everybody else, instead of what operations cost:
    /// `docs/actions-performance.md`. Takes about ten minutes; with `--quick` two.
    #[arg(long, conflicts_with_all = ["full", "latency"])]
    pub(crate) actions: bool,

    /// Only this engine.
    #[arg(long, value_enum)]
    pub(crate) engine: Option<EngineName>,

    /// Only these scenarios, by the names in the table, separated by commas; with `--latency` the lines whose names contain
    /// one of these, with `--actions` the parts that are named so.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Rounds of each scenario; each measures the floor and the server once.
    #[arg(long)]
    pub(crate) rounds: Option<usize>,

    /// Seconds of each measurement in a round.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,

    /// Connections of the closed loop; a scenario that hashes passwords has eight.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,

    /// Sessions of the second part (memory, restart, endings); 0 leaves it out. With `--latency --full` the logins of the
    /// user who has logged in very often.
    #[arg(long)]
    pub(crate) sessions: Option<usize>,

    /// Seconds of rest before memory is read.
    #[arg(long)]
    pub(crate) rest: Option<u64>,

    /// Leave the open loop out.
    #[arg(long)]
    pub(crate) closed_only: bool,

    /// Writes the report to this file too.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,

    /// The day that the report is given, `YYYY-MM-DD`.
    #[arg(long, default_value = "no date given")]
    pub(crate) date: String,

    /// Folder of the paragraphs about what bounds each scenario, which the report includes as they are.
    #[arg(long, default_value = "bench/notes")]
    pub(crate) notes: PathBuf,

    /// Where the databases are made; a real disk, or durability costs nothing.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,

    /// Core of the server and of the floor.
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,

    /// Core of the generator.
    #[arg(long, default_value_t = 1)]
    pub(crate) generator_core: usize,

    /// Core of PostgreSQL: a third one if there is one, else the generator's.
    #[arg(long)]
    pub(crate) database_core: Option<usize>,

    /// A PostgreSQL server whose user may make databases; without it only SQLite is measured.
    #[arg(long, env = "CURFEW_BENCH_POSTGRES_URL", hide_env_values = true)]
    pub(crate) postgres_url: Option<String>,

    /// The first process of that server, whose processor time is then a column of its own.
    #[arg(long, env = "CURFEW_BENCH_POSTGRES_PID")]
    pub(crate) postgres_pid: Option<i32>,
}

/// A storage engine, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EngineName {
    /// The embedded default.
    Sqlite,
    /// A server of its own.
    Postgres,
}

impl EngineName {
    /// As in the report.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// How much is measured, once defaults have been filled in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Rounds of each scenario.
    pub(crate) rounds: usize,
    /// Seconds of each measurement in a round.
    pub(crate) seconds: f64,
    /// Seconds of the open loop.
    pub(crate) open_seconds: f64,
    /// Sessions of the second part.
    pub(crate) sessions: usize,
    /// Logins of the user with the most sessions.
    pub(crate) sessions_of_one: usize,
    /// Seconds of rest before memory is read.
    pub(crate) rest_seconds: u64,
    /// Restarts.
    pub(crate) restarts: usize,
}

impl Arguments {
    /// `--quick` or `--full`, with what was typed in addition.
    pub(crate) fn scale(&self) -> Scale {
        let mut scale = if self.full {
            Scale {
                rounds: 9,
                seconds: 3.0,
                open_seconds: 10.0,
                sessions: 100_000,
                sessions_of_one: 10_000,
                rest_seconds: 60,
                restarts: 20,
            }
        } else {
            Scale {
                rounds: 5,
                seconds: 0.8,
                open_seconds: 2.0,
                sessions: 2_000,
                sessions_of_one: 1_000,
                rest_seconds: 10,
                restarts: 20,
            }
        };
        scale.rounds = self.rounds.unwrap_or(scale.rounds).max(1);
        scale.seconds = self.seconds.unwrap_or(scale.seconds).max(0.1);
        scale.sessions = self.sessions.unwrap_or(scale.sessions);
        scale.sessions_of_one = scale.sessions_of_one.min(scale.sessions / 2);
        scale.rest_seconds = self.rest.unwrap_or(scale.rest_seconds);
        if self.closed_only {
            scale.open_seconds = 0.0;
        }
        scale
    }
}
