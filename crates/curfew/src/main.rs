//! `curfew`: the identity server. Without a command it serves.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use curfew::config::{Typed, check_environment};
use curfew::serve::{World, prepare};
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("CURFEW_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("curfew: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    check_environment(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))?;
    let typed = match &arguments.config {
        Some(path) => arguments.typed.with_file(path)?,
        None => arguments.typed,
    };
    let config = typed.resolve()?;
    if let Some(Command::CheckConfig) = arguments.command {
        println!("{config:#?}");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = prepare(&config, World::default()).await?;
        // The first line is for programs that start us; the rest is for people.
        say(&format!("listening on {}", server.issuer));
        if let Some(url) = &server.setup_url {
            say(&format!(
                "\nNobody administers this server yet. Open this link once, to begin:\n\n  {}\n",
                url.expose()
            ));
        }
        server.run(stop_signal()).await;
        Ok(())
    })
}

/// Writes a line to stdout. Whoever started the server may have stopped reading there, and that is no reason to end.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Ends at the first interrupt or termination signal.
async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending::<()>().await,
        }
    };
    tokio::select! {
        _ = interrupt => {}
        () = terminate => {}
    }
    tracing::info!("stopping");
}
