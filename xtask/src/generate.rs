//! Files that are written from others; `cargo xtask check` fails when one is not what it would be written as.
//!
//! A generated part stands between two comments in its file, so that people can write around it.

use std::path::Path;
use std::process::ExitCode;

use crate::steps::Steps;
use crate::workspace;

/// A part of a file that is written by a function.
struct Generated {
    /// Below the top folder.
    file: &'static str,
    /// The part stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`.
    name: &'static str,
    write: fn(&Path) -> Result<String, String>,
}

const GENERATED: &[Generated] = &[
    Generated { file: "ARCHITECTURE.md", name: "crates", write: crate_table },
    Generated { file: "docs/events.md", name: "causes", write: cause_table },
    Generated { file: "docs/events.md", name: "log codes", write: log_table },
    Generated { file: "docs/management-api.md", name: "operations", write: operation_table },
];

/// The task `generate`.
pub(crate) fn run() -> ExitCode {
    let root = workspace::root();
    let mut steps = Steps::new("generate");
    for generated in GENERATED {
        steps.run(format!("{} ({})", generated.file, generated.name), || {
            let path = root.join(generated.file);
            let old = workspace::read(&path)?;
            let new = generated.applied(&root, &old)?;
            if new != old {
                std::fs::write(&path, new).map_err(|error| format!("{}: {error}", path.display()))?;
                println!("written");
            }
            Ok(())
        });
    }
    steps.finish()
}

/// Complains about every file that `generate` would change.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let mut stale = Vec::new();
    for generated in GENERATED {
        let old = workspace::read(&root.join(generated.file))?;
        if generated.applied(root, &old)? != old {
            stale.push(format!("{} ({})", generated.file, generated.name));
        }
    }
    if stale.is_empty() { Ok(()) } else { Err(format!("run `cargo xtask generate`: {}", stale.join(", "))) }
}

impl Generated {
    /// The file's text with the part written anew.
    fn applied(&self, root: &Path, text: &str) -> Result<String, String> {
        let part = (self.write)(root)?;
        replace_part(text, self.name, &part).ok_or_else(|| {
            format!("{} has no lines `{}` and `{}`", self.file, opening(self.name), closing(self.name))
        })
    }
}

fn opening(name: &str) -> String {
    format!("<!-- generated: {name} -->")
}

fn closing(name: &str) -> String {
    format!("<!-- end: {name} -->")
}

fn replace_part(text: &str, name: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(&opening(name))?;
    let (_, after) = rest.split_once(&closing(name))?;
    Some(format!("{before}{}\n{}\n{}{after}", opening(name), part.trim_end(), closing(name)))
}

/// Which of our packages stands on which, from the manifests.
fn crate_table(root: &Path) -> Result<String, String> {
    let members = workspace::members(root)?;
    let ours = |names: &[String]| {
        let list: Vec<_> = names
            .iter()
            .filter(|name| members.iter().any(|(_, member)| member.name == **name))
            .map(|name| format!("`{name}`"))
            .collect();
        if list.is_empty() { "–".to_owned() } else { list.join(", ") }
    };
    let mut table =
        String::from("| package | folder | stands on | in tests also on |\n| --- | --- | --- | --- |\n");
    for (folder, member) in &members {
        table += &format!(
            "| `{}` | `{folder}` | {} | {} |\n",
            member.name,
            ours(&member.dependencies),
            ours(&member.dev_dependencies)
        );
    }
    Ok(table)
}

/// The catalogue of causes, as a table.
fn cause_table(root: &Path) -> Result<String, String> {
    catalogue_table(root, "crates/model/src/ending.rs", "causes!", "cause | how it comes about")
}

/// The catalogue of log codes, as a table.
fn log_table(root: &Path) -> Result<String, String> {
    catalogue_table(root, "crates/model/src/log.rs", "log_codes!", "code | what happened")
}

fn catalogue_table(root: &Path, file: &str, invocation: &str, header: &str) -> Result<String, String> {
    let entries = catalogue(&workspace::read(&root.join(file))?, invocation);
    if entries.is_empty() {
        return Err(format!("{file}: `{invocation}` names nothing"));
    }
    let mut table = format!("| {header} |\n| --- | --- |\n");
    for (wire, comment) in entries {
        table += &format!("| `{wire}` | {comment} |\n");
    }
    Ok(table)
}

/// The entries of a catalogue macro, each a comment and a line `Name = "wire",`: the name on the wire and the comment.
fn catalogue(text: &str, invocation: &str) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut comment = Vec::new();
    let body = text.lines().skip_while(|line| !line.starts_with(invocation)).skip(1);
    for line in body.take_while(|line| !line.starts_with('}')).map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            comment.push(words.trim().replace('|', "\\|"));
        } else if let Some((_, wire)) = line.trim_end_matches(',').split_once(" = ") {
            entries.push((wire.trim_matches('"').to_owned(), comment.join(" ")));
            comment.clear();
        }
    }
    entries
}

/// The operations of the Management API, as a table.
fn operation_table(root: &Path) -> Result<String, String> {
    const FILE: &str = "crates/http/src/routes/management/mod.rs";
    let operations = operations(&workspace::read(&root.join(FILE))?);
    if operations.is_empty() {
        return Err(format!("{FILE}: `operations!` names nothing"));
    }
    let mut table = String::from("| operation | any of these scopes |\n| --- | --- |\n");
    for (operation, scopes) in operations {
        table += &format!("| `{operation}` | `{}` |\n", scopes.join("`, `"));
    }
    Ok(table)
}

/// The entries of `operations!`, each `METHOD "path" ["scope", …] STATUS "summary" => handler;`.
fn operations(text: &str) -> Vec<(String, Vec<String>)> {
    let body = text.lines().skip_while(|line| !line.starts_with("operations! {")).skip(1);
    let body: Vec<&str> = body.take_while(|line| !line.starts_with('}')).map(str::trim).collect();
    let entries = body.join(" ");
    let quoted =
        |text: &str| -> Vec<String> { text.split('"').skip(1).step_by(2).map(str::to_owned).collect() };
    entries
        .split(';')
        .filter_map(|entry| {
            let (head, rest) = entry.split_once('[')?;
            let (scopes, _) = rest.split_once(']')?;
            let method = head.split_whitespace().next()?;
            let path = quoted(head).into_iter().next()?;
            Some((format!("{method} {path}"), quoted(scopes)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_its_surroundings_stay() {
        let text = "before\n<!-- generated: x -->\nold\n<!-- end: x -->\nafter\n";
        let new = replace_part(text, "x", "new\n").unwrap();
        assert_eq!(new, "before\n<!-- generated: x -->\nnew\n<!-- end: x -->\nafter\n");
        assert_eq!(replace_part(&new, "x", "new").as_deref(), Some(&*new), "writing twice changes nothing");
        assert_eq!(replace_part("no marks here", "x", "new"), None);
    }

    #[test]
    fn operations_are_read_from_their_table() {
        let text = r#"
operations! {
    GET "/users" ["read:users", "read:all"] OK "List" => users::list;
    POST "/keys/{id}" [
        "a:b"
    ] CREATED
        "Make" => keys::make;
}
other! { GET "/x" ["y"] OK "z" => w; }
"#;
        let expected = [
            ("GET /users".to_owned(), vec!["read:users".to_owned(), "read:all".to_owned()]),
            ("POST /keys/{id}".to_owned(), vec!["a:b".to_owned()]),
        ];
        assert_eq!(operations(text), expected);
    }

    #[test]
    fn a_catalogue_is_read_from_its_macro() {
        let text = r#"
macro_rules! causes { () => {}; }

causes! {
    /// Blocked by
    /// an administrator.
    UserBlocked = "user_blocked",
    /// A | B.
    RpLogout = "rp_logout",
}

other! { Not = "this", }
"#;
        let entries = catalogue(text, "causes!");
        let entries: Vec<_> =
            entries.iter().map(|(wire, comment)| (wire.as_str(), comment.as_str())).collect();
        assert_eq!(entries, [("user_blocked", "Blocked by an administrator."), ("rp_logout", "A \\| B.")]);
        assert!(catalogue(text, "absent!").is_empty());
    }
}
