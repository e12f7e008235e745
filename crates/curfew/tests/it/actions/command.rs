//! `curfew actions`, run as its users run it: the binary, files, and what it prints.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::HIDDEN;

/// What a run left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// Its exit code is this one, and its output has these texts in this order.
    #[track_caller]
    fn says(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        let all = if self.code == 2 { &self.err } else { &self.out };
        let mut rest = all.as_str();
        for text in texts {
            let at = rest
                .find(text)
                .unwrap_or_else(|| panic!("no {text:?} (in this order) in\n{all}\n{}", self.err));
            rest = &rest[at + text.len()..];
        }
    }
}

/// A folder of an author's.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::with_prefix("curfew-desk-").unwrap())
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.0.path().join(name), text).unwrap();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_curfew"));
        // Nothing of the machine's own configuration counts.
        command.env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.arg("actions").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments), "")
    }
}

fn ran(mut command: Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

const GREET: &str = "\
exports.onExecutePostLogin = async (event, api) => {
  console.log('hello', event.user.email);
  console.warn(`in ${event.tenant.id}`);
  api.user.setAppMetadata('greeted', { at: new Date().toISOString() });
  api.session.setMetadata('seen', 'yes');
};
";

#[test]
fn an_action_that_runs_says_what_it_wrote_and_what_it_asked_for() {
    let desk = Desk::new();
    desk.file("greet.js", GREET);
    let ran = desk.run(&["test", "greet.js", "--now", "2026-03-04T05:06:07Z"]);
    ran.says(
        0,
        &[
            "greet.js post-login onExecutePostLogin\n",
            "log     hello ada@example.com\n",
            "warn    in login\n",
            r#"  api.user.setAppMetadata("greeted", {"at":"2026-03-04T05:06:07."#,
            "  api.session.setMetadata(\"seen\", \"yes\")\n",
            "\nran in ",
        ],
    );
    assert!(!ran.out.contains('\u{1b}'), "colours where nobody sees them: {}", ran.out);
}

#[test]
fn an_error_is_shown_in_the_authors_own_lines() {
    let desk = Desk::new();
    desk.file(
        "throws.js",
        "const limit = 3;\n\nfunction check(user) {\n  const count = user.app_metadata.nothing.count;\n  \
         return count < limit;\n}\n\nexports.onExecutePostLogin = async (event) => {\n  check(event.user);\n};\n",
    );
    let ran = desk.run(&["test", "throws.js"]);
    ran.says(
        1,
        &[
            "\nerror: TypeError: cannot read property 'count' of undefined\n  --> throws.js:4:",
            "\n2 | \n".trim_end(),
            "\n3 | function check(user) {\n4 |   const count = user.app_metadata.nothing.count;\n  | ",
            "^\n    at check (throws.js:4:",
            "    at throws.js:9:",
            "\nfailed after ",
        ],
    );
    // The mark stands below what is read of nothing.
    let lines: Vec<&str> = ran.out.lines().collect();
    let mark = lines.iter().position(|line| line.trim_end().ends_with('^')).unwrap();
    let column = lines[mark].find('^').unwrap();
    let marked = &lines[mark - 1][column..];
    assert!(marked.starts_with("user.app_metadata.nothing.count;"), "{}", ran.out);
    assert!(!ran.out.contains("native") && !ran.out.contains("--verbose"), "{}", ran.out);
    desk.run(&["test", "throws.js", "--verbose"]).says(1, &["at throws.js:9:", "(native)"]);
}

#[test]
fn an_error_on_the_first_line_has_its_own_column() {
    let desk = Desk::new();
    desk.file("one.js", "exports.onExecutePostLogin = async () => { throw new Error('first') }");
    let answer = desk.run(&["test", "one.js", "--json"]).json();
    // Of `Error`, in characters.
    assert_eq!((&answer["error"]["line"], &answer["error"]["column"]), (&json!(1), &json!(54)), "{answer}");
    desk.file("wide.js", "exports.onExecutePostLogin = async () => { 'äö😀'; throw new Error('first') }");
    let answer = desk.run(&["test", "wide.js", "--json"]).json();
    assert_eq!(answer["error"]["column"], 61, "{answer}");
}

#[test]
fn an_error_after_a_wait_is_shown_where_it_was_thrown() {
    let desk = Desk::new();
    desk.file(
        "later.js",
        "const later = async () => {\n  await new Promise((resolve) => setTimeout(resolve, 5));\n  \
         throw new RangeError('too late');\n};\nexports.onExecutePostLogin = async () => {\n  await later();\n};\n",
    );
    desk.run(&["test", "later.js"]).says(
        1,
        &[
            "error: RangeError: too late\n  --> later.js:3:",
            "\n1 | const later = async () => {\n2 |   await new Promise((resolve) => setTimeout(resolve, 5));\n3 |   throw \
             new RangeError('too late');\n",
            "^\n",
        ],
    );
}

#[test]
fn what_is_no_javascript_is_shown_where_it_is_not() {
    let desk = Desk::new();
    desk.file("broken.js", "exports.onExecutePostLogin = async () => {\n  const a = ;\n};\n");
    desk.run(&["test", "broken.js"]).says(
        1,
        &[
            "error: SyntaxError: ",
            "  --> broken.js:2:",
            "\n1 | exports.onExecutePostLogin = async () => {\n2 |   const a = ;\n  | ",
            "^\n",
        ],
    );
}

#[test]
fn a_stack_of_a_module_names_its_file() {
    let desk = Desk::new();
    desk.file("shared.js", "exports.fails = () => {\n  throw new Error('shared');\n};\n").file(
        "uses.js",
        "const { fails } = require('actions:common');\nexports.onExecutePostLogin = async () => fails();\n",
    );
    desk.run(&["test", "uses.js", "--module", "common=shared.js"]).says(
        1,
        &["error: Error: shared\n  --> shared.js:2:", "2 |   throw new Error('shared');", "at uses.js:2:"],
    );
    desk.run(&["test", "uses.js"]).says(1, &["actions:common", "= --module common=FILE"]);
}

#[test]
fn a_no_has_an_exit_code_of_its_own() {
    let desk = Desk::new();
    desk.file("no.js", "exports.onExecutePostLogin = async (event, api) => api.access.deny('not today');\n");
    let ran = desk.run(&["test", "no.js"]);
    ran.says(3, &["  api.access.deny(\"not today\")\n", "\ndenied: not today\nran in "]);
    desk.file(
        "sign-up.js",
        "exports.onExecutePreUserRegistration = async (event, api) => api.access.deny('spam', 'Not you');\n",
    );
    let ran = desk.run(&["test", "sign-up.js"]);
    ran.says(3, &["pre-user-registration", "denied: spam\nthe person is told: Not you\n"]);
    desk.file(
        "away.js",
        "exports.onExecutePostLogin = async (event, api) => api.redirect.sendUserTo('https://a.example/');",
    );
    desk.run(&["test", "away.js"]).says(0, &["ran in ", "sends the browser to https://a.example/"]);
}

#[test]
fn what_takes_too_long_is_stopped() {
    let desk = Desk::new();
    desk.file("forever.js", "exports.onExecutePostLogin = async () => { for (;;); };\n")
        .file(
            "waits.js",
            "exports.onExecutePostLogin = () => new Promise((done) => setTimeout(done, 3600000));\n",
        )
        .file("never.js", "exports.onExecutePostLogin = () => new Promise(() => {});\n");
    let limited = |file: &str| desk.run(&["test", file, "--time-limit", "0.5"]);
    limited("forever.js").says(1, &["error: it ran for longer than 500 ms", "failed after "]);
    limited("waits.js").says(1, &["error: it ran for longer than 500 ms"]);
    desk.run(&["test", "never.js"]).says(1, &["error: it awaits something that can never come"]);
    for wrong in ["0", "-1", "1000", "NaN"] {
        let limit = format!("--time-limit={wrong}");
        desk.run(&["test", "never.js", &limit]).says(2, &["--time-limit: must be above 0 and at most 20 s"]);
    }
}

#[test]
fn what_cannot_be_used_is_told_before_anything_runs() {
    let desk = Desk::new();
    desk.file("greet.js", GREET)
        .file("event.json", "{\n  \"user\": { \"email\": \"a\" \"b\": 1 }\n}\n")
        .file("list.json", "[]")
        .file("secret.json", r#"{"secrets":{}}"#)
        .file("none.js", "exports.handler = 1; // onExecutePostLogin\n")
        .file("two.js", "exports.onExecutePostLogin = exports.onExecuteCredentialsExchange = () => {};\n")
        .file("long.js", &" ".repeat(100_001));
    std::fs::write(desk.0.path().join("bytes.js"), [0xff, 0xfe]).unwrap();
    for (arguments, texts) in [
        (
            &["greet.js", "--event", "event.json"][..],
            &[
                "event.json:2:26: expected `,` or `}`\n1 | {\n2 |   \"user\": { \"email\": \"a\" \"b\": 1 }\n  |                          ^",
            ][..],
        ),
        (&["greet.js", "--event", "list.json"], &["list.json: the event must be a JSON object"]),
        (&["greet.js", "--event", "secret.json"], &["given by --secrets or --secret"]),
        (&["greet.js", "--event", "absent.json"], &["absent.json cannot be read: No such file"]),
        (&["absent.js"], &["absent.js cannot be read: No such file"]),
        (&["bytes.js"], &["bytes.js cannot be read: it is not UTF-8"]),
        (&["long.js"], &["long.js is longer than 100000 bytes"]),
        (
            &["none.js"],
            &["none.js exports no function of a trigger (onExecutePostLogin, onContinuePostLogin, "],
        ),
        (&["two.js"], &["two.js is written for post-login and credentials-exchange: --trigger says"]),
        (
            &["greet.js", "--trigger", "no-such"],
            &["invalid value 'no-such'", "[possible values: post-login, credentials-exchange, "],
        ),
        (
            &["greet.js", "--function", "onExecuteNothing"],
            &["no trigger calls onExecuteNothing, but onExecutePostLogin"],
        ),
        (
            &["greet.js", "--function", "onExecutePostLogin", "--trigger", "credentials-exchange"],
            &["onExecutePostLogin belongs to post-login"],
        ),
        (&["greet.js", "--now", "yesterday"], &["yesterday is no instant like 2026-01-01T10:00:00Z"]),
        (&["greet.js", "--dependency", "auth0@git+ssh://x"], &["--dependency: 'auth0' asks for"]),
        (&["greet.js", "--module", "greet.js"], &["--module: greet.js is not NAME=FILE"]),
        (&["greet.js", "--no-such-option"], &["unexpected argument '--no-such-option'"]),
        (&[], &["required arguments were not provided", "<FILE>"]),
    ] {
        let ran = desk.run(&[&["test"], arguments].concat());
        ran.says(2, texts);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
    // A setting of the server's that is none stops this too.
    let mut command = desk.command(&["test", "greet.js"]);
    command.env("CURFEW_EGRESS_ALLOW", "everything");
    ran(command, "").says(2, &["CURFEW_EGRESS_ALLOW: everything is no network"]);
}

#[test]
fn a_function_that_is_not_exported_is_named() {
    let desk = Desk::new();
    desk.file("greet.js", GREET);
    desk.run(&["test", "greet.js", "--function", "onContinuePostLogin"]).says(
        1,
        &[
            "error: greet.js does not export onContinuePostLogin, which post-login calls",
            "= write exports.onContinuePostLogin",
        ],
    );
}

#[test]
fn the_event_is_the_one_that_was_given_and_nothing_more() {
    let desk = Desk::new();
    let shows = "exports.onExecutePostLogin = async (event) => console.log(JSON.stringify(event));\n";
    desk.file("shows.js", shows).file("event.json", r#"{"user":{"name":"Zoë"}}"#);
    let expected = json!({"user": {"name": "Zoë"}, "secrets": {}, "configuration": {}});
    let shown = |ran: Ran| -> Value {
        let answer = ran.json();
        serde_json::from_str(answer["logs"][0]["text"].as_str().unwrap()).unwrap()
    };
    assert_eq!(shown(desk.run(&["test", "shows.js", "--json", "--event", "event.json"])), expected);
    let command = desk.command(&["test", "shows.js", "--json", "--event", "-"]);
    assert_eq!(shown(ran(command, r#"{"user":{"name":"Zoë"}}"#)), expected);
    // What is printed for it to be edited is what there is without one.
    let printed = desk.run(&["event"]);
    let mut printed: Value = printed.json();
    let mut without = shown(desk.run(&["test", "shows.js", "--json"]));
    without.as_object_mut().unwrap().retain(|name, _| name != "secrets" && name != "configuration");
    for event in [&mut printed, &mut without] {
        assert!(event["session"]["expires_at"].is_string(), "{event}");
        for name in ["session", "authentication", "user"] {
            event.as_object_mut().unwrap().remove(name);
        }
    }
    assert_eq!(printed, without);
    let other = desk.run(&["event", "--trigger", "credentials-exchange"]).json();
    assert_eq!(other["accessToken"]["scope"], json!(["read:reports"]));
}

#[test]
fn secrets_are_given_and_never_shown() {
    let desk = Desk::new();
    let tells = "exports.onExecutePostLogin = async (event, api) => {
  const { TOKEN, OTHER } = event.secrets;
  console.log(TOKEN, { TOKEN }, JSON.stringify([TOKEN]), OTHER);
  api.user.setAppMetadata(TOKEN, { inner: [TOKEN] });
  await fetch('https://127.0.0.1/' + TOKEN).catch(() => {});
  if (event.secrets.FAIL) throw new Error('with ' + TOKEN);
  api.access.deny('with ' + TOKEN);
};
";
    let value = format!("{HIDDEN}\"quoted");
    desk.file("tells.js", tells)
        .file("secrets.json", &json!({"TOKEN": value, "OTHER": "from the file"}).to_string())
        .file(".env", &format!("# for tests\nTOKEN='{HIDDEN}'\nFAIL=yes it does\n"));
    for (arguments, code, texts) in [
        (
            &["--secrets", "secrets.json"][..],
            3,
            &["[secret TOKEN]", "[secret OTHER]", "denied: with [secret TOKEN]"][..],
        ),
        (&["--secrets", "secrets.json", "--json"], 3, &["[secret TOKEN]", "with [secret TOKEN]"]),
        (&["--secrets", ".env"], 1, &["[secret TOKEN]", "error: Error: with [secret TOKEN]"]),
        (&["--secrets", ".env", "--json"], 1, &["with [secret TOKEN]"]),
    ] {
        let ran = desk.run(&[&["test", "tells.js"], arguments].concat());
        ran.says(code, texts);
        assert!(!ran.out.contains(HIDDEN) && !ran.err.contains(HIDDEN), "{}\n{}", ran.out, ran.err);
    }
    // What is said on the command line goes before the file.
    let own = format!("TOKEN={HIDDEN}");
    let ran = desk.run(&["test", "tells.js", "--secret", &own, "--secret", "OTHER=a=b"]);
    ran.says(3, &["denied: with [secret TOKEN]"]);
    assert!(!ran.out.contains(HIDDEN), "{}", ran.out);
    // What cannot be read is not quoted either.
    desk.file("wrong.json", &format!("{{\n  \"TOKEN\": {{\"{HIDDEN}\": 1}}\n}}")).file("wrong.env", HIDDEN);
    for (arguments, text) in [
        (["--secret", HIDDEN], "--secret: number 1 is not NAME=VALUE"),
        (["--secrets", "wrong.json"], "wrong.json:2:"),
        (["--secrets", "wrong.env"], "wrong.env:1: this is not NAME=VALUE"),
    ] {
        let ran = desk.run(&[&["test", "tells.js"], &arguments[..]].concat());
        ran.says(2, &[text]);
        assert!(!ran.err.contains(HIDDEN), "{}", ran.err);
    }
}

#[test]
fn packages_come_from_beside_the_server() {
    let desk = Desk::new();
    let uses = "const { ManagementClient } = require('auth0');
exports.onExecutePostLogin = async () => {
  const management = new ManagementClient({ domain: 'tenant.invalid', token: 'x' });
  console.log(typeof management.users.sessions.list);
};
";
    desk.file("uses.js", uses);
    let ran = desk.run(&["test", "uses.js", "--dependency", "auth0@7.1.0"]);
    ran.says(0, &["log     function\n", "ran in "]);
    assert!(ran.err.starts_with("getting auth0 …\nauth0 7.1.0 in "), "{}", ran.err);
    desk.run(&["test", "uses.js"]).says(
        1,
        &[
            "error: Error: Cannot find module 'auth0'",
            "  --> uses.js:1:",
            "= --dependency auth0@VERSION makes the package available",
        ],
    );
    let ran = desk.run(&["test", "uses.js", "--dependency", "no-such-package"]);
    ran.says(2, &["no-such-package"]);
}

/// Answers one request with a text.
fn answer_one(listener: TcpListener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut bytes = [0; 1024];
        while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
            let read = stream.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "the request ends early");
            asked.extend_from_slice(&bytes[..read]);
        }
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnone")
            .unwrap();
    })
}

#[test]
fn requests_are_held_to_the_servers_policy_and_shown_without_their_query() {
    let desk = Desk::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    desk.file(
        "asks.js",
        &format!(
            "exports.onExecutePostLogin = async () => {{\n  const answer = await fetch('http://{address}/a?token=x', \
             {{ method: 'PUT' }});\n  console.log(await answer.text());\n}};\n"
        ),
    );
    let ran_refused = desk.run(&["test", "asks.js"]);
    ran_refused.says(
        1,
        &[
            &format!("fetch   PUT http://{address}/a  EACCES  ") as &str,
            "CURFEW_EGRESS_ALLOW names networks",
            "error: TypeError: fetch failed\n  --> asks.js:2:",
            "\n2 |   const answer = await fetch(",
        ],
    );
    let answers = answer_one(listener);
    let mut command = desk.command(&["test", "asks.js"]);
    command.env("CURFEW_EGRESS_ALLOW", "loopback");
    ran(command, "")
        .says(0, &["log     none\n", &format!("fetch   PUT http://{address}/a  404  ") as &str, "ran in "]);
    answers.join().unwrap();
}

#[test]
fn programs_read_json() {
    let desk = Desk::new();
    desk.file("greet.js", GREET)
        .file("throws.js", "exports.onExecutePostLogin = async () => {\n  throw new TypeError('no');\n};\n");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let ran = desk.run(&["test", "greet.js", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let answer = ran.json();
    assert_eq!(
        names(&answer),
        "commands duration_ms fetches file function logs logs_dropped outcome trigger"
    );
    assert_eq!(answer["outcome"], "ran");
    assert_eq!((&answer["file"], &answer["trigger"]), (&json!("greet.js"), &json!("post-login")));
    assert_eq!(answer["logs"][0]["text"], "hello ada@example.com");
    assert_eq!(names(&answer["logs"][0]), "at_ms level text");
    assert_eq!(answer["commands"][1], json!({"type": "session.setMetadata", "args": ["seen", "yes"]}));
    assert!(answer["duration_ms"].as_f64().unwrap() > 0.0);
    let ran = desk.run(&["test", "throws.js", "--json"]);
    let (code, answer) = (ran.code, ran.json());
    assert_eq!((code, &answer["outcome"]), (1, &json!("failed")));
    let error = &answer["error"];
    assert_eq!(names(error), "column file hints id line msg stack");
    assert_eq!((&error["id"], &error["msg"]), (&json!("thrown"), &json!("TypeError: no")));
    assert_eq!((&error["file"], &error["line"]), (&json!("throws.js"), &json!(2)));
    assert!(error["stack"][0].as_str().unwrap().starts_with("at throws.js:2:"), "{error}");
}

#[test]
fn types_and_help_are_printed() {
    let desk = Desk::new();
    let all = desk.run(&["types"]);
    all.says(0, &["export interface PostLoginEvent {", "export interface PostChangePasswordAPI {"]);
    let one = desk.run(&["types", "--trigger", "pre-user-registration"]);
    one.says(
        0,
        &[
            "export interface PreUserRegistrationAPI {",
            "declare global {",
            "interface Event extends OwnEvent",
        ],
    );
    assert!(!one.out.contains("PostLoginAPI {"), "{}", one.out);
    desk.run(&["types", "--trigger", "x"]).says(2, &["[possible values: post-login, "]);
    let help = desk.run(&["test", "--help"]);
    help.says(
        0,
        &["Usage: curfew actions test", "--event <FILE>", "Examples:", "Exit codes: 0 it ran; 1 it failed"],
    );
    assert!(!Path::new(&desk.0.path().join("curfew-data")).exists(), "nothing is kept");
}
