//! What the run found, as tables: on standard output, and as `docs/performance.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::arguments::{Arguments, EngineName, Scale};
use crate::failed::{Result, While};
use crate::measure::{Percentiles, Row, Spread};
use crate::proc::{Machine, Memory};
use crate::program::psql;
use crate::scenario::Scenario;
use crate::size::Size;

/// The lock file that this program was built with.
const LOCK: &str = include_str!("../../Cargo.lock");
/// What the ratio is.
const RATIO: &str = include_str!("ratio.md");
/// How it is measured, with names in braces where a run has numbers.
const METHOD: &str = include_str!("method.md");
/// Of the libraries that the figures depend on.
const LIBRARIES: [&str; 8] =
    ["hyper", "axum", "tokio", "aws-lc-rs", "argon2", "rusqlite", "libsqlite3-sys", "tokio-postgres"];
/// The most that an ending may take, in milliseconds.
const ENDING_AIM_MS: f64 = 5.0;

/// What other servers reached when they were measured in this way.
const OTHERS: [(&str, Ours, &str); 10] = [
    (
        "client_credentials, RS256",
        Ours::Ratio(Scenario::ClientCredentials(0)),
        "0.46 (oidc-provider), 0.20 (Rauthy)",
    ),
    ("client_credentials, ES256", Ours::Ratio(Scenario::ClientCredentials(1)), "0.10"),
    ("durable rotation, RS256", Ours::Ratio(Scenario::Rotation), "0.32, 0.16"),
    ("durable silent login", Ours::Ratio(Scenario::SilentLogin), "0.18, 0.14"),
    ("password login", Ours::Ratio(Scenario::PasswordLogin), "0.95 (Rauthy)"),
    ("userinfo", Ours::Ratio(Scenario::UserinfoOpaque), "0.10, 0.03"),
    ("JWKS", Ours::Ratio(Scenario::Jwks), "0.14 (Rauthy)"),
    ("memory of an idle server, MiB", Ours::Idle, "16 (Glewlwyd), 54 (Rauthy)"),
    ("restart, ms", Ours::Restart, "18 (Glewlwyd), 47 (Rauthy); a bare hyper server 7"),
    ("ending a user with 10,000 sessions, ms", Ours::Ending, "77 (better-auth), 345 (Rauthy)"),
];

/// Where our own figure for a comparison is found.
enum Ours {
    Ratio(Scenario),
    Idle,
    Restart,
    Ending,
}

/// What was measured on one engine.
#[derive(Debug)]
pub(crate) struct Results {
    /// Which.
    pub(crate) engine: EngineName,
    /// The first part.
    pub(crate) rows: Vec<Row>,
    /// The second part, unless it was left out.
    pub(crate) size: Option<Size>,
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// What was asked for.
    pub(crate) arguments: &'a Arguments,
    /// How much was measured.
    pub(crate) scale: Scale,
    /// Where.
    pub(crate) machine: Machine,
    /// Share of the run that the host gave to other machines.
    pub(crate) stolen_percent: f64,
    /// PostgreSQL's core.
    pub(crate) database_core: usize,
    /// What was found.
    pub(crate) results: Vec<Results>,
}

/// A line of text; writing to a `String` cannot fail.
macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($words:tt)+) => {{
        let _ = writeln!($out, $($words)+);
    }};
}

impl Report<'_> {
    /// The tables, for a terminal.
    pub(crate) fn text(&self) -> Result<String> {
        let mut out = String::new();
        self.tables(&mut out);
        self.binary(&mut out)?;
        self.comparison(&mut out);
        Ok(out)
    }

    /// The whole document.
    pub(crate) fn document(&self) -> Result<String> {
        let mut out = String::new();
        line!(out, "# Performance");
        line!(out);
        line!(
            out,
            "Written by `cargo xtask bench -- --full --date DATE --write docs/performance.md`; not by hand."
        );
        line!(out);
        self.introduction(&mut out);
        self.tables(&mut out);
        self.binary(&mut out)?;
        self.comparison(&mut out);
        self.notes(&mut out)?;
        self.method(&mut out);
        Ok(out)
    }

    fn introduction(&self, out: &mut String) {
        let Machine { processor, cores, memory_gib, kernel, system, file_system } = &self.machine;
        line!(out, "| | |");
        line!(out, "| --- | --- |");
        line!(out, "| date | {} |", self.arguments.date);
        line!(out, "| machine | {processor}, {cores} cores, {memory_gib} GiB; databases on {file_system} |");
        line!(out, "| system | {system}, Linux {kernel} |");
        let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"])).unwrap_or_default();
        line!(out, "| Curfew | {} {commit} |", env!("CARGO_PKG_VERSION"));
        let compiler = said(Command::new("rustc").arg("--version")).unwrap_or_else(|| "unknown".into());
        line!(out, "| compiler | {compiler} |");
        let versions: Vec<_> = LIBRARIES.iter().filter_map(|name| locked(LOCK, name)).collect();
        line!(out, "| libraries | {} |", versions.join(", "));
        if self.results.iter().any(|results| results.engine == EngineName::Postgres) {
            let version =
                self.arguments.postgres_url.as_deref().and_then(|url| psql(url, "show server_version").ok());
            line!(out, "| PostgreSQL | {} |", version.unwrap_or_else(|| "unknown".into()));
        }
        let kind = if self.arguments.full { "full" } else { "quick" };
        let Scale { rounds, seconds, .. } = self.scale;
        line!(
            out,
            "| run | {kind}: {rounds} rounds of {seconds} s for each side; {:.1} % of the processor time was taken by other virtual machines |",
            self.stolen_percent
        );
        line!(out);
        line!(out, "{RATIO}");
    }

    fn tables(&self, out: &mut String) {
        for results in &self.results {
            line!(out, "## {}", results.engine.title());
            line!(out);
            if !results.rows.is_empty() {
                scenarios(out, results);
            }
            if let Some(size) = &results.size {
                sizes(out, size, results.engine);
            }
        }
    }

    fn binary(&self, out: &mut String) -> Result<()> {
        let path = &self.arguments.curfew;
        let size = std::fs::metadata(path).doing("measuring the binary")?.len();
        let stripped = stripped_bytes(path).map_or_else(|| "unknown".into(), mib);
        line!(out, "## The binary");
        line!(out);
        line!(out, "{} as built for release, {stripped} without symbols.", mib(size));
        line!(out);
        Ok(())
    }

    fn comparison(&self, out: &mut String) {
        line!(out, "## Beside other servers");
        line!(out);
        line!(
            out,
            "The best figures that others reached when they were measured in this way, earlier, on their durable settings. Ratios if nothing else is said."
        );
        line!(out);
        let engines: Vec<_> = self.results.iter().map(|results| results.engine.title()).collect();
        line!(out, "| | Curfew, {} | others |", engines.join(" | Curfew, "));
        line!(out, "| --- |{} --- |", " --- |".repeat(engines.len()));
        for (what, ours, others) in &OTHERS {
            let cells: Vec<_> = self.results.iter().map(|results| own(ours, results)).collect();
            line!(out, "| {what} | {} | {others} |", cells.join(" | "));
        }
        line!(out);
    }

    /// The paragraphs about what bounds the scenarios, in the order of the scenarios, then all others.
    fn notes(&self, out: &mut String) -> Result<()> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for entry in std::fs::read_dir(&self.arguments.notes).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(".md") {
                names.insert(name.to_owned());
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        line!(out, "## What bounds it");
        line!(out);
        let ordered = Scenario::ALL.map(Scenario::name).into_iter().filter(|name| names.contains(*name));
        let mut order: Vec<String> = ordered.map(str::to_owned).collect();
        order.extend(names.into_iter().filter(|name| Scenario::ALL.iter().all(|other| other.name() != name)));
        for name in order {
            let path = self.arguments.notes.join(format!("{name}.md"));
            let text = std::fs::read_to_string(&path).doing(&path.display().to_string())?;
            line!(out, "{}", text.trim_end());
            line!(out);
        }
        Ok(())
    }

    fn method(&self, out: &mut String) {
        let Arguments { server_core, generator_core, connections, .. } = self.arguments;
        let mut text = METHOD.to_owned();
        for (name, value) in [
            ("{server_core}", *server_core),
            ("{generator_core}", *generator_core),
            ("{database_core}", self.database_core),
            ("{connections}", *connections),
            ("{browsers}", crate::BROWSERS),
            ("{users}", crate::USERS),
        ] {
            text = text.replace(name, &value.to_string());
        }
        out.push_str(&text);
    }
}

fn scenarios(out: &mut String, results: &Results) {
    let sqlite = results.engine == EngineName::Sqlite;
    let aim_head = if sqlite { " aim |" } else { "" };
    let database_head = if sqlite { "" } else { " PostgreSQL's µs each |" };
    line!(
        out,
        "| operation | ratio |{aim_head} operations per CPU second | floor's | CPU µs each |{database_head} closed loop: per second | p50 ms | p99 ms | open loop: per second | p50 ms | p99 ms |"
    );
    line!(
        out,
        "| --- | --- |{}{} --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        if sqlite { " --- |" } else { "" },
        if sqlite { "" } else { " --- |" }
    );
    for row in &results.rows {
        let aim = match row.scenario.aim() {
            _ if !sqlite => String::new(),
            Some(aim) => format!(" {aim:.2}{} |", if row.ratio.median >= aim { "" } else { ", missed" }),
            None => " – |".to_owned(),
        };
        let database = match row.database_cpu {
            _ if sqlite => String::new(),
            Some(each) => format!(" {:.0} |", each.as_secs_f64() * 1e6),
            None => " – |".to_owned(),
        };
        let open = match &row.open {
            Some((rate, found)) => format!("{rate:.0} | {}", percentiles(found)),
            None => "– | – | –".to_owned(),
        };
        line!(
            out,
            "| {} | **{:.2}** ({:.2}–{:.2}) |{aim} {:.0} | {:.0} | {:.1} |{database} {:.0} | {} | {open} |",
            row.scenario.title(),
            row.ratio.median,
            row.ratio.min,
            row.ratio.max,
            row.per_cpu_second.median,
            row.floor_per_cpu_second.median,
            1e6 / row.per_cpu_second.median,
            row.rate.median,
            percentiles(&row.closed),
        );
    }
    line!(out);
    let busy = results.rows.iter().map(|row| {
        let (server, floor) = row.busy;
        format!("{} {:.0} and {:.0} %", row.scenario.name(), server * 100.0, floor * 100.0)
    });
    line!(
        out,
        "How busy the core was with Curfew, and with the floor: {}.",
        busy.collect::<Vec<_>>().join(", ")
    );
    line!(out);
    let requests = results.rows.iter().map(|row| {
        let work: Vec<_> = row.scenario.work().iter().map(|work| work.name()).collect();
        let work = if work.is_empty() { String::new() } else { format!(" + {}", work.join(" + ")) };
        format!("{} {}{work}", row.scenario.name(), row.requests)
    });
    line!(out, "Requests and work of each operation: {}.", requests.collect::<Vec<_>>().join("; "));
    line!(out);
    for row in &results.rows {
        if let (count @ 1.., Some(first)) = &row.failures {
            line!(out, "{count} operations of {} failed, the first because {first}", row.scenario.name());
            line!(out);
        }
    }
}

fn sizes(out: &mut String, size: &Size, engine: EngineName) {
    let memory =
        |Memory { rss_kib, pss_kib }: Memory| format!("{} | {}", mib(rss_kib << 10), mib(pss_kib << 10));
    let (rest, rest_cpu) = size.rest;
    line!(
        out,
        "With {} sessions, each made by a login ({:.0} s in all):",
        size.sessions,
        size.seeding.as_secs_f64()
    );
    line!(out);
    line!(out, "| | RSS | PSS |");
    line!(out, "| --- | --- | --- |");
    line!(out, "| idle, after the start | {} |", memory(size.idle));
    line!(out, "| after the last login | {} |", memory(size.loaded));
    line!(out, "| after {} s of rest | {} |", rest.as_secs(), memory(size.rested));
    line!(out);
    line!(out, "The rest cost {:.0} ms of processor time.", rest_cpu.as_secs_f64() * 1000.0);
    if engine == EngineName::Sqlite {
        line!(out, "The database is {} on the disk.", mib(size.database_bytes));
    }
    line!(
        out,
        "Restart to the first answer: {} ms (a bare hyper server: {} ms).",
        spread(&size.restart),
        spread(&size.floor_restart)
    );
    line!(out);
    line!(out, "| ending a user with | ms | aim |");
    line!(out, "| --- | --- | --- |");
    for ending in &size.endings {
        let what = if ending.live == ending.logins {
            format!("{} sessions", ending.logins)
        } else {
            format!("{} logins, {} of them live", ending.logins, ending.live)
        };
        let kept = if ending.milliseconds.median < ENDING_AIM_MS { "" } else { ", missed" };
        line!(
            out,
            "| {what} | {}, {} users | under {ENDING_AIM_MS:.0}{kept} |",
            spread(&ending.milliseconds),
            ending.users
        );
    }
    line!(out);
}

fn own(ours: &Ours, results: &Results) -> String {
    let size = results.size.as_ref();
    let found = match ours {
        Ours::Ratio(scenario) => {
            let row = results.rows.iter().find(|row| row.scenario == *scenario);
            row.map(|row| format!("{:.2}", row.ratio.median))
        }
        Ours::Idle => size.map(|size| format!("{}", size.idle.rss_kib >> 10)),
        Ours::Restart => size.map(|size| format!("{:.0}", size.restart.median)),
        Ours::Ending => size.and_then(|size| {
            let most = size.endings.last()?;
            Some(format!(
                "{:.1} (with {} live of {} logins)",
                most.milliseconds.median, most.live, most.logins
            ))
        }),
    };
    found.unwrap_or_else(|| "–".into())
}

fn spread(found: &Spread) -> String {
    format!("{:.1} ({:.1}–{:.1})", found.median, found.min, found.max)
}

fn percentiles(found: &Percentiles) -> String {
    let milliseconds = |latency: Duration| latency.as_secs_f64() * 1000.0;
    format!("{:.2} | {:.2}", milliseconds(found.p50), milliseconds(found.p99))
}

fn mib(bytes: u64) -> String {
    // In tenths, so that no floating point is needed for a count of bytes.
    let tenths = (bytes * 10 + (1 << 19)) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn stripped_bytes(path: &Path) -> Option<u64> {
    let folder = tempfile::tempdir().ok()?;
    let copy = folder.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&copy).arg(path).status().ok()?;
    status.success().then(|| std::fs::metadata(&copy).ok()).flatten().map(|metadata| metadata.len())
}

/// What a program answers, if it is there and content.
pub(crate) fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `name version` of a package in a lock file.
fn locked(lock: &str, name: &str) -> Option<String> {
    let package =
        lock.split("[[package]]").find(|package| package.contains(&format!("\nname = \"{name}\"\n")))?;
    let version = package.split_once("\nversion = \"")?.1.split_once('"')?.0;
    Some(format!("{name} {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"tokio-util\"\nversion = \"9\"\n\n[[package]]\nname = \"tokio\"\nversion = \"1.2.3\"\n";
        assert_eq!(locked(lock, "tokio").as_deref(), Some("tokio 1.2.3"));
        assert_eq!(locked(lock, "hyper"), None);
        assert!(locked(LOCK, "argon2").is_some(), "the floor hashes with it");
    }

    #[test]
    fn sizes_are_written_in_tenths_of_a_mebibyte() {
        assert_eq!(mib(0), "0.0 MiB");
        assert_eq!(mib(3 << 19), "1.5 MiB");
    }
}
