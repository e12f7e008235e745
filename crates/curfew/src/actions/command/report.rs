//! What came of a run, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::Test;
use super::lines::{Paint, Style, visible};
use super::source::{Frame, excerpt};
use super::trial::{Failure, Outcome, Tried};

/// Characters of a command that are shown.
const COMMAND_CHARACTERS_MAX: usize = 2000;

/// The answer in the form that was asked for.
pub(super) fn write(tried: &Tried, test: &Test) -> String {
    if test.json {
        return format!("{:#}\n", machine(tried));
    }
    let paint = Paint::of_stdout();
    let mut text = head(tried, paint);
    text.push_str(&timeline(tried, paint));
    text.push_str(&commands(tried, paint));
    text.push_str(&end(tried, paint, test.verbose));
    text
}

/// `3.2 ms`, `120 ms`, `4.5 s`.
pub(super) fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms => {
            let seconds = format!("{:.1}", ms / 1000.0);
            format!("{} s", seconds.trim_end_matches(".0"))
        }
    }
}

fn head(tried: &Tried, paint: Paint) -> String {
    let path = tried.files.first().map(|file| file.path.as_str()).unwrap_or_default();
    let what = format!("{} {}", tried.trigger, tried.function);
    format!("{} {}\n", paint.paint(Style::Bold, path), paint.paint(Style::Dim, &what))
}

/// What it wrote, and whom it asked. Each has a clock of its own, so they are not mixed.
fn timeline(tried: &Tried, paint: Paint) -> String {
    let finished = &tried.finished;
    let mut text = String::new();
    if !finished.console.is_empty() || !finished.fetches.is_empty() {
        text.push('\n');
    }
    for line in &finished.console {
        let (name, style) = match line.level.name() {
            "error" => ("error", Style::Red),
            "warn" => ("warn", Style::Yellow),
            "debug" => ("debug", Style::Dim),
            name => (name, Style::Bold),
        };
        let at = paint.paint(Style::Dim, &format!("{:>8}", time(line.at)));
        let name = paint.paint(style, &format!("{name:<5}"));
        let said = visible(&line.text).replace('\n', "\n                  ");
        text.push_str(format!("{at}  {name}   {said}").trim_end());
        text.push('\n');
    }
    if finished.console_dropped > 0 {
        text.push_str(&format!(
            "          and {} lines more, which are not kept\n",
            finished.console_dropped
        ));
    }
    for fetch in &finished.fetches {
        let answer = match (fetch.status, &fetch.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => paint.paint(Style::Red, &visible(error)),
            (None, None) => "no answer".to_owned(),
        };
        let name = paint.paint(Style::Cyan, "fetch");
        let asked = visible(&format!("{} {}", fetch.method, fetch.url));
        text.push_str(&format!("          {name}   {asked}  {answer}  {}\n", time(fetch.duration)));
    }
    if finished.fetches.iter().any(|fetch| fetch.error.as_deref() == Some("EACCES")) {
        text.push_str("          EACCES: the address is private; CURFEW_EGRESS_ALLOW names networks that may be reached\n");
    }
    text
}

/// What it asked for, as it is written in an Action.
fn commands(tried: &Tried, paint: Paint) -> String {
    let mut text = String::new();
    for command in &tried.commands {
        if text.is_empty() {
            text.push('\n');
        }
        let name = command.get("type").and_then(Value::as_str).unwrap_or("?");
        let mut arguments: &[Value] =
            command.get("args").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        while let [rest @ .., Value::Null] = arguments
            && !name.contains("set")
        {
            arguments = rest;
        }
        let arguments: Vec<String> = arguments.iter().map(Value::to_string).collect();
        let mut arguments = arguments.join(", ");
        if let Some((at, _)) = arguments.char_indices().nth(COMMAND_CHARACTERS_MAX) {
            arguments.truncate(at);
            arguments.push('…');
        }
        let call = paint.paint(Style::Cyan, &visible(&format!("api.{name}")));
        text.push_str(&format!("  {call}({})\n", visible(&arguments)));
    }
    text
}

fn end(tried: &Tried, paint: Paint, verbose: bool) -> String {
    let duration = time(tried.finished.duration);
    match &tried.outcome {
        Outcome::Ran => format!("\n{} in {duration}\n", paint.paint(Style::Green, "ran")),
        Outcome::Redirects { url } => {
            let word = paint.paint(Style::Green, "ran");
            format!("\n{word} in {duration}, and sends the browser to {}\n", visible(url))
        }
        Outcome::Denied { reason, code, user_message } => {
            let code = code.as_ref().map(|code| format!(" ({})", visible(code))).unwrap_or_default();
            let word = paint.paint(Style::Yellow, "denied");
            let mut text = format!("\n{word}{code}: {}\n", visible(reason));
            if let Some(message) = user_message {
                text.push_str(&format!("the person is told: {}\n", visible(message)));
            }
            text.push_str(&format!("ran in {duration}\n"));
            text
        }
        Outcome::Failed(failure) => failed(tried, failure, paint, verbose),
    }
}

/// As compilers do it: what, where, the lines, and what to do.
fn failed(tried: &Tried, failure: &Failure, paint: Paint, verbose: bool) -> String {
    let word = paint.paint(Style::Red, "error");
    let mut text = format!("\n{word}: {}\n", paint.paint(Style::Bold, &visible(&failure.text)));
    if let Some(place) = own(failure) {
        text.push_str(&format!("  {} {}\n", paint.paint(Style::Dim, "-->"), visible(&place.to_string())));
        let file = tried.files.iter().find(|file| file.path == place.file);
        if let Some(file) = file {
            text.push_str(&excerpt(&file.code, place.line, place.column, paint));
            text.push('\n');
        }
    }
    text.push_str(&stack(&failure.frames, paint, verbose));
    for hint in &failure.hints {
        text.push_str(&format!("  {} {}\n", paint.paint(Style::Dim, "="), visible(hint)));
    }
    text.push_str(&format!(
        "\n{} after {}\n",
        paint.paint(Style::Red, "failed"),
        time(tried.finished.duration)
    ));
    text
}

fn own(failure: &Failure) -> Option<&super::source::Place> {
    failure.frames.iter().find(|frame| frame.own).and_then(|frame| frame.place.as_ref())
}

/// The author's frames; those between them only where that was asked for, or where there are no others.
fn stack(frames: &[Frame], paint: Paint, verbose: bool) -> String {
    let all = verbose || !frames.iter().any(|frame| frame.own);
    let mut text = String::new();
    let mut hidden = 0;
    let tell = |hidden: &mut usize, text: &mut String| {
        if *hidden > 0 {
            let lines = if *hidden == 1 { "line" } else { "lines" };
            let said = format!("    … {hidden} {lines} of packages (--verbose)");
            text.push_str(&format!("{}\n", paint.paint(Style::Dim, &said)));
            *hidden = 0;
        }
    };
    for frame in frames {
        let shown = format!("    {}", visible(&frame.to_string()));
        match (frame.own, all) {
            (true, _) => {
                tell(&mut hidden, &mut text);
                text.push_str(&format!("{shown}\n"));
            }
            (false, true) => text.push_str(&format!("{}\n", paint.paint(Style::Dim, &shown))),
            // The engine's own say nothing.
            (false, false) => hidden += usize::from(frame.place.is_some()),
        }
    }
    tell(&mut hidden, &mut text);
    text
}

/// For programs. What the record of an execution has too is named as there.
fn machine(tried: &Tried) -> Value {
    let ms = |duration: Duration| (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0;
    let finished = &tried.finished;
    let logs: Vec<Value> = finished
        .console
        .iter()
        .map(|line| json!({ "at_ms": ms(line.at), "level": line.level, "text": line.text }))
        .collect();
    let fetches: Vec<Value> = finished
        .fetches
        .iter()
        .map(|fetch| {
            json!({
                "method": fetch.method,
                "url": fetch.url,
                "status": fetch.status,
                "error": fetch.error,
                "duration_ms": ms(fetch.duration),
            })
        })
        .collect();
    let mut answer = json!({
        "file": tried.files.first().map(|file| &file.path),
        "trigger": tried.trigger,
        "function": tried.function,
        "duration_ms": ms(finished.duration),
        "logs": logs,
        "logs_dropped": finished.console_dropped,
        "fetches": fetches,
        "commands": tried.commands,
    });
    let (outcome, more) = match &tried.outcome {
        Outcome::Ran => ("ran", None),
        Outcome::Redirects { url } => ("redirects", Some(("redirect", json!({ "url": url })))),
        Outcome::Denied { reason, code, user_message } => {
            let denied = json!({ "reason": reason, "code": code, "user_message": user_message });
            ("denied", Some(("denied", denied)))
        }
        Outcome::Failed(failure) => {
            let place = own(failure);
            let error = json!({
                "id": failure.id,
                "msg": failure.text,
                "file": place.map(|place| &place.file),
                "line": place.map(|place| place.line),
                "column": place.map(|place| place.column),
                "stack": failure.frames.iter().map(Frame::to_string).collect::<Vec<_>>(),
                "hints": failure.hints,
            });
            ("failed", Some(("error", error)))
        }
    };
    answer["outcome"] = json!(outcome);
    if let Some((name, value)) = more {
        answer[name] = value;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let cases =
            [(0, "0.0 ms"), (3_240, "3.2 ms"), (9_960, "10 ms"), (999_600, "1 s"), (4_510_000, "4.5 s")];
        for (micros, shown) in cases {
            assert_eq!(time(Duration::from_micros(micros)), shown);
        }
    }
}
