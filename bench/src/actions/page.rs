//! The document: `docs/actions-performance.md`.

use std::fmt::Write as _;
use std::process::Command;

use super::bound::Bound;
use super::cold::First;
use super::{Found, Scale, cold, hostile, logins, memory, millis, rates};
use crate::arguments::Arguments;
use crate::failed::{Result, While};
use crate::measure::{Percentiles, Spread};
use crate::proc::Machine;
use crate::report::said;

/// How it is measured.
const METHOD: &str = include_str!("method.md");
/// Milliseconds within which the next execution begins after a process was killed.
const BACK_AIM_MS: f64 = 5.0;
/// Where the paragraphs about the figures lie, below the folder of notes.
const NOTES: &str = "actions";

/// A line of text; writing to a `String` cannot fail.
macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($words:tt)+) => {{
        let _ = writeln!($out, $($words)+);
    }};
}

pub(super) fn document(
    arguments: &Arguments,
    machine: &Machine,
    scale: Scale,
    stolen_percent: f64,
    all: &[Found],
) -> Result<String> {
    let mut out = String::new();
    line!(out, "# What Actions cost");
    line!(out);
    line!(
        out,
        "Written by `cargo xtask bench -- --actions --date DATE --write docs/actions-performance.md`; not by hand."
    );
    line!(out);
    let Machine { processor, cores, kernel, file_system, .. } = machine;
    let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"])).unwrap_or_default();
    let quick = if arguments.quick { ", a quick run" } else { "" };
    line!(
        out,
        "{}: Curfew {} {commit}, {processor}, {cores} cores, Linux {kernel}, databases on {file_system}; the server and its workers on core {}, the generator on \
         core {}{quick}. {stolen_percent:.1} % of the processor time was taken by other virtual machines.",
        arguments.date,
        env!("CARGO_PKG_VERSION"),
        arguments.server_core,
        arguments.generator_core
    );
    line!(out);
    aims(&mut out, all);
    for found in all {
        line!(out, "## {}", found.engine.title());
        line!(out);
        for part in [logins(&found.logins), rates(&found.rates), first(&found.cold), memory(&found.memory)] {
            out.push_str(&part);
        }
        out.push_str(&hostile(&found.hostile));
    }
    notes(&mut out, arguments)?;
    let words = [("{attack_seconds}", scale.attack_seconds), ("{loop_seconds}", scale.loop_seconds)];
    out.push_str(
        &words.iter().fold(METHOD.to_owned(), |text, (name, value)| text.replace(name, &value.to_string())),
    );
    Ok(out)
}

fn notes(out: &mut String, arguments: &Arguments) -> Result<()> {
    let folder = arguments.notes.join(NOTES);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    if !paths.is_empty() {
        line!(out, "## Where the time goes");
        line!(out);
    }
    for path in paths {
        let text = std::fs::read_to_string(&path).doing(&path.display().to_string())?;
        line!(out, "{}\n", text.trim_end());
    }
    Ok(())
}

/// What was aimed at, and what was found.
fn aims(out: &mut String, all: &[Found]) {
    let engines: Vec<_> = all.iter().map(|found| found.engine.title()).collect();
    line!(out, "| aimed at | {} |", engines.join(" | "));
    line!(out, "| --- |{}", " --- |".repeat(engines.len()));
    let judged =
        |found: f64, aim: f64| format!("{found:.2} ms{}", if found < aim { "" } else { ", **missed**" });
    for bound in Bound::ALL {
        let Some(aim) = bound.aim_ms() else { continue };
        let cells: Vec<_> = all
            .iter()
            .map(|found| {
                let adds = found.logins.iter().find(|line| line.bound == bound);
                adds.and_then(|line| line.added).map_or("–".into(), |added| judged(added.median, aim))
            })
            .collect();
        let title = bound.title();
        line!(out, "| {title} adds less than {aim} ms to a warm silent login, p50 | {} |", cells.join(" | "));
    }
    let cells: Vec<_> = all
        .iter()
        .map(|found| {
            let is_back = |line: &&cold::Line| line.first == First::AfterKill && line.bound == Bound::Trivial;
            let back = found.cold.iter().find(is_back);
            back.map_or("–".into(), |line| judged(millis(line.more.p50), BACK_AIM_MS))
        })
        .collect();
    line!(
        out,
        "| a killed process is back in {BACK_AIM_MS} ms: so much longer takes the next login, p50 | {} |",
        cells.join(" | ")
    );
    let cells: Vec<_> = all.iter().map(|found| worst(&found.hostile)).collect();
    line!(
        out,
        "| the server's own latency stays flat under hostile code: logins, p50 and p99 without and beside the worst | {} |",
        cells.join(" | ")
    );
    line!(out);
}

/// Of the attacks beside which no Action of one's own is waited for.
fn worst(lines: &[hostile::Line]) -> String {
    let logins = lines.iter().filter(|line| !line.is_waited_for()).filter_map(|line| line.victims.first());
    logins
        .max_by_key(|(_, _, _, with)| with.p99)
        .map_or("–".into(), |(_, _, without, with)| format!("{} → {} ms", pair(without), pair(with)))
}

fn pair(found: &Percentiles) -> String {
    format!("{:.2} / {:.2}", millis(found.p50), millis(found.p99))
}

fn spread(found: &Spread) -> String {
    format!("{:.2} ({:.2}–{:.2})", found.median, found.min, found.max)
}

fn logins(lines: &[logins::Line]) -> String {
    let mut out = String::new();
    if lines.is_empty() {
        return out;
    }
    line!(out, "### A warm login");
    line!(out);
    line!(
        out,
        "| login | | p50 / p99 ms | more than without, ms, p50 of a round | CPU µs: server | workers | logins |"
    );
    line!(out, "| --- | --- | --- | --- | --- | --- | --- |");
    for line in lines {
        line!(
            out,
            "| {} | {} | {} | {} | {:.0} | {:.0} | {} |",
            line.way,
            line.bound.title(),
            pair(&line.latency),
            line.added.as_ref().map_or("–".into(), spread),
            line.cpu.0,
            line.cpu.1,
            line.samples
        );
    }
    line!(out);
    out
}

fn rates(lines: &[rates::Line]) -> String {
    let mut out = String::new();
    if lines.is_empty() {
        return out;
    }
    line!(out, "### Executions a second, on one core");
    line!(out);
    line!(
        out,
        "| operation | | per second | per CPU second | CPU µs: server | workers | executions per CPU second beyond the operation's own | operations |"
    );
    line!(out, "| --- | --- | --- | --- | --- | --- | --- | --- |");
    for line in lines {
        line!(
            out,
            "| {} | {} | {:.0} | {:.0} ({:.0}–{:.0}) | {:.0} | {:.0} | {} | {} |",
            line.operation,
            line.bound.title(),
            line.rate.median,
            line.per_cpu_second.median,
            line.per_cpu_second.min,
            line.per_cpu_second.max,
            line.cpu.0,
            line.cpu.1,
            line.executions.map_or("–".into(), |executions| format!("{executions:.0}")),
            line.samples
        );
    }
    line!(out);
    out
}

fn first(lines: &[cold::Line]) -> String {
    let mut out = String::new();
    if lines.is_empty() {
        return out;
    }
    line!(out, "### The first execution");
    line!(out);
    line!(
        out,
        "| silent login and code exchange | | p50 / p99 ms | warm | more than warm, ms | from the kill to the answer that told of it, ms | times |"
    );
    line!(out, "| --- | --- | --- | --- | --- | --- | --- |");
    for line in lines {
        line!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            line.first.title(),
            line.bound.title(),
            pair(&line.latency),
            pair(&line.warm),
            pair(&line.more),
            line.noticed.as_ref().map_or("–".into(), pair),
            line.samples
        );
    }
    line!(out);
    out
}

fn memory(lines: &[memory::Line]) -> String {
    let mut out = String::new();
    if lines.is_empty() {
        return out;
    }
    let mib = |kib: u64| u32::try_from(kib).map_or(f64::MAX, f64::from) / 1024.0;
    let both = |(all, own): (u64, u64)| format!("{:.1} / {:.1}", mib(all), mib(own));
    let maybe = |memory: Option<(u64, u64)>| memory.map_or("–".into(), both);
    line!(out, "### Memory");
    line!(out);
    line!(out, "Resident, and of that what is its own alone and in no file, in MiB.");
    line!(out);
    line!(out, "| | the tenant's process | the process that stands ready | the server |");
    line!(out, "| --- | --- | --- | --- |");
    for line in lines {
        line!(
            out,
            "| {} | {} | {} | {} |",
            line.bound.title(),
            maybe(line.worker),
            maybe(line.ready),
            both(line.server)
        );
    }
    line!(out);
    out
}

fn hostile(lines: &[hostile::Line]) -> String {
    let mut out = String::new();
    if lines.is_empty() {
        return out;
    }
    line!(out, "### Beside hostile Actions");
    line!(out);
    line!(
        out,
        "| meanwhile | who is measured | without, p50 / p99 ms | beside it, p50 / p99 ms | times | core busy with server / workers, % | executions that ended |"
    );
    line!(out, "| --- | --- | --- | --- | --- | --- | --- |");
    for line in lines {
        let (server, workers) = line.busy[1];
        for (at, (what, samples, without, with)) in line.victims.iter().enumerate() {
            let (attack, rest) = if at == 0 {
                let rest = format!("{:.0} / {:.0} | {}", server * 100.0, workers * 100.0, line.ended);
                (line.attack.what, rest)
            } else {
                ("", " | ".to_owned())
            };
            line!(out, "| {attack} | {what} | {} | {} | {samples} | {rest} |", pair(without), pair(with));
        }
    }
    line!(out);
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::arguments::EngineName;

    fn same(micros: u64) -> Percentiles {
        Percentiles::of(vec![Duration::from_micros(micros)]).unwrap()
    }

    fn login(bound: Bound, added: Option<f64>) -> logins::Line {
        logins::Line {
            way: "silent",
            bound,
            samples: 3,
            latency: same(1500),
            added: added.map(|added| Spread::of([added]).unwrap()),
            cpu: (700.0, 100.0),
        }
    }

    fn found(trivial: f64) -> Found {
        Found {
            engine: EngineName::Sqlite,
            logins: vec![login(Bound::Nothing, None), login(Bound::Trivial, Some(trivial))],
            rates: Vec::new(),
            cold: vec![cold::Line {
                first: First::AfterKill,
                bound: Bound::Trivial,
                latency: same(6000),
                warm: same(2000),
                more: same(4000),
                noticed: None,
                samples: 1,
            }],
            memory: Vec::new(),
            hostile: Vec::new(),
        }
    }

    #[test]
    fn an_aim_that_was_missed_is_said_to_be() {
        let mut out = String::new();
        aims(&mut out, &[found(0.15), found(0.25)]);
        let row = |start: &str| out.lines().find(|line| line.contains(start)).unwrap_or_default().to_owned();
        assert!(row("a trivial Action").ends_with("| 0.15 ms | 0.25 ms, **missed** |"), "{out}");
        assert!(row("killed process").ends_with("| 4.00 ms | 4.00 ms |"), "{out}");
        // What was left out is not judged.
        assert!(
            row("the article's").ends_with("| – | – |") && row("hostile").ends_with("| – | – |"),
            "{out}"
        );
    }

    #[test]
    fn parts_that_were_left_out_have_no_table() {
        assert_eq!(logins(&[]) + &rates(&[]) + &first(&[]) + &memory(&[]) + &hostile(&[]), "");
        let out = logins(&found(0.1).logins);
        assert!(
            out.contains("| silent | a trivial Action | 1.50 / 1.50 | 0.10 (0.10–0.10) | 700 | 100 | 3 |")
        );
        let none = memory(&[memory::Line {
            bound: Bound::Nothing,
            server: (2048, 1024),
            worker: None,
            ready: None,
        }]);
        assert!(none.contains("| no Action | – | – | 2.0 / 1.0 |"), "{none}");
    }
}
