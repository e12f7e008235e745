//! SQL has one home, and both engines understand it.

use std::fs;
use std::path::{Path, PathBuf};

use curfew_store::all_statements;
use curfew_testkit::both_engines;

both_engines! {
    fn every_statement_prepares(store) {
        let mut seen = 0;
        for statement in all_statements() {
            let prepared = store
                .read(statement, |tx, statement| Box::pin(async move { tx.prepare(statement).await }))
                .await;
            assert!(prepared.is_ok(), "{}: {prepared:?}", statement.name);
            seen += 1;
        }
        assert!(seen > 2, "the list of statements is there");
    }
}

/// The string literals of a Rust source, with the lines they begin on.
fn literals(source: &str) -> Vec<(usize, String)> {
    let (mut found, mut line, mut rest) = (Vec::new(), 1, source);
    while let Some(first) = rest.chars().next() {
        let raw = raw_string(rest);
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((text, length)) = raw {
            found.push((line, text.to_owned()));
            length
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let end = end.map_or(rest.len() - 1, |end| end + 1);
            found.push((line, rest[1..end].to_owned()));
            end + 1
        } else if first == '\'' {
            // A character, or a lifetime, which ends with its name and holds no quote.
            match rest.char_indices().nth(2) {
                Some((end, '\'')) => end + 1,
                _ if rest.starts_with("'\\") => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
                _ => 1,
            }
        } else {
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

fn raw_string(source: &str) -> Option<(&str, usize)> {
    let after = source.strip_prefix('r')?;
    let marks = after.len() - after.trim_start_matches('#').len();
    let inside = after[marks..].strip_prefix('"')?;
    let end = inside.find(&format!("\"{}", "#".repeat(marks)))?;
    Some((&inside[..end], 1 + marks + 1 + end + 1 + marks))
}

fn is_sql(text: &str) -> bool {
    let words: Vec<String> =
        text.split_whitespace().map(|word| word.trim_matches(['(', ')', ',', ';']).to_lowercase()).collect();
    let has = |word: &str| words.iter().any(|other| other == word);
    let after = |word: &str| {
        let at = words.iter().position(|other| other == word);
        at.and_then(|at| words.get(at + 1)).map_or("", String::as_str)
    };
    let first = words.first().map_or("", String::as_str);
    match first {
        // A server's own views say how it is, not what we keep in it.
        "select" | "with" => has("select") && has("from") && !after("from").starts_with("pg_"),
        "insert" | "replace" => words.get(1).is_some_and(|word| word == "into"),
        "delete" => words.get(1).is_some_and(|word| word == "from"),
        "update" => words.get(2).is_some_and(|word| word == "set"),
        "pragma" => words.len() > 1,
        "create" | "drop" | "alter" => words.get(1).is_some_and(|word| word == "table" || word == "index"),
        _ => false,
    }
}

#[test]
fn sql_is_recognised() {
    let source = r###"
        // "select a from b"
        const A: &str = "a \" select"; let lifetime: &'static str = "insert into t values (1)";
        let c = ['"', '\'', 'é']; let d = r#"with x as (select 1)
            select "y" from x"#; /* "delete from a" */
        let e = "
            update t set a = 1";
        let f = "select a client from the list below"; let g = "Update the settings";
        let h = "select state from pg_stat_activity";
    "###;
    let found: Vec<usize> =
        literals(source).iter().filter(|(_, text)| is_sql(text)).map(|(line, _)| *line).collect();
    // The sentence in `f` reads like SQL; one such sentence can be worded otherwise.
    assert_eq!(found, [3, 4, 6, 8]);
}

#[test]
fn no_sql_stands_outside_the_store() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace");
    let mut files = Vec::new();
    for folder in ["crates", "bench", "xtask"] {
        sources(&root.join(folder), &mut files);
    }
    let store = root.join("crates/store");
    // A test that stops real requests in the middle has to hold row locks from outside.
    let holds_locks = root.join("crates/curfew/tests/it/races/interleavings.rs");
    files.retain(|file| !file.starts_with(&store) && *file != holds_locks);
    assert!(files.len() > 20, "there are sources to look through");
    let mut found = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).expect("it is text");
        for (line, text) in literals(&source) {
            if is_sql(&text) {
                found.push(format!("{}:{line}: {text}", file.strip_prefix(&root).unwrap_or(&file).display()));
            }
        }
    }
    assert!(found.is_empty(), "SQL outside crates/store:\n{}", found.join("\n"));
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "node_modules" {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

// Without it the sweep looks through all families of a person for each of their sessions: with ten thousand of either,
// for half a minute.
#[tokio::test]
async fn the_sweep_finds_the_families_of_a_session_by_an_index() {
    let database = curfew_testkit::TestDatabase::new(curfew_store::Engine::Sqlite);
    let store = curfew_store::Store::open(database.options()).await.expect("it opens");
    store.migrate(curfew_model::Timestamp::from_micros(0)).await.expect("tables");
    let curfew_store::executor::Database::Sqlite(path) = database.options().database else {
        panic!("SQLite is a file")
    };
    let reader = rusqlite::Connection::open(path).expect("it opens");
    let mut plan = reader
        .prepare(&format!("explain query plan {}", curfew_store::sessions::PURGEABLE.sqlite))
        .expect("a statement");
    let steps: Vec<String> = plan
        .query_map([0, 0, 0, 0, 0], |row| row.get(3))
        .expect("a plan")
        .collect::<Result<_, _>>()
        .expect("texts");
    assert!(
        steps
            .iter()
            .any(|step| step.contains("families_session (tenant=? AND user_key=? AND session_key=?)")),
        "{steps:?}"
    );
}
