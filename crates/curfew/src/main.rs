//! `curfew`: the identity server. Without a command it serves.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use curfew::actions::command;
use curfew::config::{Config, ConfigError, Typed, check_environment};
use curfew::descriptors;
use curfew::serve::{World, prepare};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// An identity server that speaks Auth0's protocol, and ends access everywhere when it is ended.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Every setting is described in docs/configuration.md.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// TOML file with the same keys as the flags (`data_dir = "…"`)
    #[arg(long, env = "CURFEW_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    typed: Typed,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (also without a command)
    Serve,
    /// Read the configuration, say what it means, and stop
    CheckConfig,
    /// Try Actions on this machine, without a server
    #[command(subcommand)]
    Actions(command::Command),
}

/// How long the end of the process waits for reads that are under way.
const LAST_READS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Started by the server itself, for tenants' code: it reads no configuration and writes no log.
    if std::env::args_os().nth(1).is_some_and(|command| command == "action-worker") {
        return curfew_actions::worker::main();
    }
    let arguments = Arguments::parse();
    let Arguments { command, config, typed } = arguments;
    // Who tries an Action wants to read of that alone.
    let level = if matches!(command, Some(Command::Actions(_))) { "error" } else { "info" };
    let filter = EnvFilter::try_from_env("CURFEW_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = || resolve(config, typed);
    let done = match command {
        Some(Command::Actions(command)) => return command::run(command, config),
        Some(Command::CheckConfig) => config().map(|config| println!("{config:#?}")).map_err(Into::into),
        Some(Command::Serve) | None => config().map_err(Into::into).and_then(|config| serve(&config)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("curfew: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what lies behind it, which often says what to do.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        // Some say what lies behind them by themselves.
        if !text.ends_with(&own) {
            text.push_str(": ");
            text.push_str(&own);
        }
        cause = error.source();
    }
    text
}

fn resolve(file: Option<PathBuf>, typed: Typed) -> Result<Config, ConfigError> {
    check_environment(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))?;
    match file {
        Some(path) => typed.with_file(&path)?.resolve(),
        None => typed.resolve(),
    }
}

fn serve(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let files = descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        // From here on: whoever reads the first line may send a signal at once, and a container's first process
        // would not even be ended by one that nobody handles.
        let mut stop = pin!(stop_signal()?);
        let mut server = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            prepared = prepare(config, World::default()) => prepared?,
        };
        server.limits.connections_max = descriptors::connections_max(files, server.limits.connections_max);
        // The first line is for programs that start us; the rest is for people.
        say(&format!("listening on {}", server.issuer));
        if let Some(url) = &server.setup_url {
            say(&format!(
                "\nNobody administers this server yet. Open this link once, to begin:\n\n  {}\n",
                url.expose()
            ));
        }
        server.run(stop).await;
        Ok(())
    });
    // A long read of the sweeper's may still be under way. It has nothing to lose, and nobody waits for it.
    runtime.shutdown_timeout(LAST_READS);
    served
}

/// Writes a line to stdout. Whoever started the server may have stopped reading there, and that is no reason to end.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Handles interrupt and termination signals from now on; the future ends at the first of them.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
    })
}
