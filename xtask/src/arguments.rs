//! What was typed, and what it means.

/// The whole manual; `cargo xtask --help` prints it.
pub(crate) const HELP: &str = "\
The chores of Curfew's checkout.

Usage: cargo xtask <task> [options] [-- arguments]

Tasks:
  test       Install what is missing, start a throw-away PostgreSQL, run every test.
             --only rust     the Rust tests alone (no browser; some run the guards for Node and Python)
             --only clients  the guards in other languages alone (no database, no server)
             --only e2e      the end-to-end tests alone, against the real binary
             --release       end-to-end tests against the release build
             -- NAME...      only tests whose name contains one of these
  check      Everything that is judged without running it: format, clippy, licences and sources of
             dependencies, documentation, generated files.
  generate   Write the generated files anew.
  packages   Put the npm packages that ship with the server beside it, so that Actions that need them
             deploy without a registry. `test` does so too.
  bench      Build the server and the load generator in release, start a PostgreSQL that syncs to the
             disk, run the generator.
             -- ARGS...      arguments of the generator; `-- --help` lists them
  postgres   Start a throw-away PostgreSQL and run a command with its address, then stop it.
             -- COMMAND...   for example: cargo xtask postgres -- cargo nextest run -p curfew-store
  help       This text.

Environment:
  CURFEW_CACHE_DIR   where installed tools and packages are kept
                     (default: $XDG_CACHE_HOME/curfew, or ~/.cache/curfew)
  CARGO_TARGET_DIR   where Cargo builds, as always

The tests find their database at CURFEW_TEST_POSTGRES_URL; `test` and `postgres` set it. The load generator
finds its own at CURFEW_BENCH_POSTGRES_URL, and the id of that server's process at CURFEW_BENCH_POSTGRES_PID.
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Test(Wanted),
    Check,
    Generate,
    Packages,
    Bench { arguments: Vec<String> },
    Postgres { command: Vec<String> },
}

/// Which tests to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) suite: Suite,
    pub(crate) profile: Profile,
    /// Parts of test names; empty for all tests.
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    #[default]
    All,
    Rust,
    Clients,
    EndToEnd,
}

impl Suite {
    pub(crate) fn has_rust(self) -> bool {
        matches!(self, Self::All | Self::Rust)
    }

    pub(crate) fn has_clients(self) -> bool {
        matches!(self, Self::All | Self::Clients)
    }

    pub(crate) fn has_end_to_end(self) -> bool {
        matches!(self, Self::All | Self::EndToEnd)
    }
}

/// The Cargo profile of the server that the end-to-end tests talk to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    #[default]
    Dev,
    Release,
}

/// Reads the arguments after the program's name.
///
/// An unknown word is refused by name: a misspelt option must not run something else.
pub(crate) fn parse(mut typed: impl Iterator<Item = String>) -> Result<Task, String> {
    let Some(task) = typed.next() else { return Err("which task?".into()) };
    let mut options = Vec::new();
    let mut rest = Vec::new();
    while let Some(word) = typed.next() {
        if word == "--" {
            rest.extend(typed);
            break;
        }
        options.push(word);
    }
    if options.iter().any(|option| option == "--help" || option == "-h") {
        return Ok(Task::Help);
    }
    match task.as_str() {
        "help" | "--help" | "-h" => Ok(Task::Help),
        "test" => parse_test(options, rest).map(Task::Test),
        "check" => nothing_left(&options, &rest).map(|()| Task::Check),
        "generate" => nothing_left(&options, &rest).map(|()| Task::Generate),
        "packages" => nothing_left(&options, &rest).map(|()| Task::Packages),
        "bench" => nothing_left(&options, &[]).map(|()| Task::Bench { arguments: rest }),
        "postgres" if rest.is_empty() => {
            Err("`postgres` needs a command: cargo xtask postgres -- COMMAND".into())
        }
        "postgres" => nothing_left(&options, &[]).map(|()| Task::Postgres { command: rest }),
        unknown => Err(format!("there is no task `{unknown}`")),
    }
}

fn parse_test(options: Vec<String>, names: Vec<String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { names, ..Wanted::default() };
    let mut options = options.into_iter();
    while let Some(option) = options.next() {
        let only = match option.as_str() {
            "--release" => {
                wanted.profile = Profile::Release;
                continue;
            }
            "--only" => options.next().ok_or("`--only` needs `rust`, `clients` or `e2e`")?,
            other => match other.strip_prefix("--only=") {
                Some(value) => value.to_owned(),
                None => {
                    return Err(format!("`test` does not know `{other}`; names of tests come after `--`"));
                }
            },
        };
        wanted.suite = match only.as_str() {
            "rust" => Suite::Rust,
            "clients" => Suite::Clients,
            "e2e" => Suite::EndToEnd,
            other => return Err(format!("`--only` is `rust`, `clients` or `e2e`, not `{other}`")),
        };
    }
    Ok(wanted)
}

fn nothing_left(options: &[String], rest: &[String]) -> Result<(), String> {
    match options.iter().chain(rest).next() {
        None => Ok(()),
        Some(word) => Err(format!("`{word}` means nothing here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_line_means_what_it_says() {
        let test = |suite, profile, names: &[&str]| {
            Ok(Task::Test(Wanted { suite, profile, names: names.iter().map(|&name| name.into()).collect() }))
        };
        let cases = [
            ("test", test(Suite::All, Profile::Dev, &[])),
            ("test --only rust", test(Suite::Rust, Profile::Dev, &[])),
            ("test --only=e2e --release", test(Suite::EndToEnd, Profile::Release, &[])),
            ("test --only clients", test(Suite::Clients, Profile::Dev, &[])),
            ("test --only rust -- refresh reuse", test(Suite::Rust, Profile::Dev, &["refresh", "reuse"])),
            ("check", Ok(Task::Check)),
            ("check --help", Ok(Task::Help)),
            ("packages", Ok(Task::Packages)),
            ("help", Ok(Task::Help)),
            ("bench -- --seconds 5", Ok(Task::Bench { arguments: vec!["--seconds".into(), "5".into()] })),
            ("postgres -- psql", Ok(Task::Postgres { command: vec!["psql".into()] })),
        ];
        for (line, meaning) in cases {
            assert_eq!(typed(line), meaning, "{line}");
        }
    }

    #[test]
    fn a_misspelt_word_is_refused_by_name() {
        for (line, named) in [
            ("tset", "tset"),
            ("test --olny rust", "--olny"),
            ("test --only python", "python"),
            ("test refresh", "refresh"),
            ("check --fast", "--fast"),
            ("check -- store", "store"),
            ("bench --seconds 5", "--seconds"),
        ] {
            let complaint = typed(line).unwrap_err();
            assert!(complaint.contains(named), "{line}: {complaint}");
        }
        assert!(typed("").is_err());
        assert!(typed("postgres").is_err(), "a server that nobody uses would be stopped at once");
    }
}
