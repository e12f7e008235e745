//! The author's own lines: what a stack says of them, and how they are shown.

use super::given::File;
use super::lines::{Paint, Style};

/// Lines that are shown before the one that matters.
const BEFORE: usize = 2;
/// Columns of a line that are shown. Some files are one line.
const COLUMNS_MAX: usize = 160;

/// A line of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Which function, if it has a name.
    pub(super) function: Option<String>,
    /// Where; `None` within the engine.
    pub(super) place: Option<Place>,
    /// Whether that is in a file of the author's.
    pub(super) own: bool,
}

/// A place in a file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.place.as_ref().map_or_else(|| "native".to_owned(), Place::to_string);
        match &self.function {
            Some(function) => write!(f, "at {function} ({place})"),
            None => write!(f, "at {place}"),
        }
    }
}

/// Reads a stack of the engine's, and gives the author's files their own names again.
pub(super) fn frames(stack: &str, files: &[File]) -> Vec<Frame> {
    stack.lines().filter_map(|line| frame(line.trim(), files)).collect()
}

fn frame(line: &str, files: &[File]) -> Option<Frame> {
    let rest = line.strip_prefix("at ")?;
    let (function, place) = match rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")) {
        Some((function, place)) => (Some(function), place),
        None => (None, rest),
    };
    let function =
        function.filter(|function| !function.is_empty() && *function != "<anonymous>").map(str::to_owned);
    if place == "native" {
        return Some(Frame { function, place: None, own: false });
    }
    let mut parts = place.rsplitn(3, ':');
    let (column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (mut column, line): (usize, usize) = (column.parse().ok()?, line.parse().ok()?);
    let own = files.iter().find(|own| own.name == file);
    if line == 1 {
        column = column.saturating_sub(curfew_actions::FIRST_LINE_COLUMNS).max(1);
    }
    if let Some(own) = own {
        column = characters(&own.code, line, column);
    }
    let file = own.map_or(file, |own| &own.path).to_owned();
    Some(Frame { function, place: Some(Place { file, line, column }), own: own.is_some() })
}

/// A column that counts bytes, in characters.
pub(super) fn characters(text: &str, line: usize, column: usize) -> usize {
    let line = line.checked_sub(1).and_then(|before| text.lines().nth(before)).unwrap_or_default();
    let bytes = column.saturating_sub(1);
    let characters = line.char_indices().take_while(|(at, _)| *at < bytes).count();
    1 + characters + bytes.saturating_sub(line.len())
}

/// A line with those before it, and a mark below its column.
pub(super) fn excerpt(text: &str, line: usize, column: usize, paint: Paint) -> String {
    let first = line.saturating_sub(BEFORE).max(1);
    let width = line.to_string().len();
    let gutter = |number: &str| paint.paint(Style::Dim, &format!("{number:>width$} |"));
    let mut shown = String::new();
    for (number, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text)) {
        if number < first {
            continue;
        }
        if number > line {
            break;
        }
        let begin = if number == line { window(text, column) } else { 0 };
        let harmless = |char: char| if char.is_control() && char != '\t' { '\u{fffd}' } else { char };
        let part: String = text.chars().skip(begin).take(COLUMNS_MAX).map(harmless).collect();
        shown.push_str(format!("{} {part}", gutter(&number.to_string())).trim_end());
        shown.push('\n');
        if number == line {
            let before: String = part
                .chars()
                .chain(std::iter::repeat(' '))
                .take(column.saturating_sub(1).saturating_sub(begin))
                .map(|char| if char == '\t' { '\t' } else { ' ' })
                .collect();
            shown.push_str(&format!("{} {before}{}\n", gutter(""), paint.paint(Style::Red, "^")));
        }
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// Where the part of a long line begins that is shown.
fn window(text: &str, column: usize) -> usize {
    if text.chars().count() <= COLUMNS_MAX { 0 } else { column.saturating_sub(COLUMNS_MAX / 2) }
}

/// Whether code speaks of this function, outside of comments and texts.
///
/// This is no parser. A wrong guess is put right by `--trigger` or `--function`.
pub(super) fn exported(code: &str, function: &str) -> bool {
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            '"' | '\'' => text_bytes(rest, first),
            char if is_word(char) => {
                let word = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
                if &rest[..word] == function {
                    return true;
                }
                word
            }
            other => other.len_utf8(),
        };
        rest = &rest[skipped..];
    }
    false
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '$')
}

/// Of a text in quotes, which ends with its line at the latest.
fn text_bytes(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        match char {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            char if char == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<File> {
        let file = |name: &str, path: &str| File { name: name.into(), path: path.into(), code: "".into() };
        vec![file("action.js", "src/mine.js"), file("actions:shared", "src/shared.js")]
    }

    #[test]
    fn a_stack_names_the_authors_files() {
        let stack = "    at inner (action.js:2:3)\n    at action.js:7:1\n    at x (actions:shared:3:4)\n    \
                     at y (auth0/dist/index.js:1:200)\n    at call (native)\n    at <anonymous> (action.js:8:2)\nnonsense";
        let frames: Vec<_> =
            frames(stack, &files()).iter().map(|frame| (frame.to_string(), frame.own)).collect();
        let first = 200 - curfew_actions::FIRST_LINE_COLUMNS;
        assert_eq!(
            frames,
            [
                ("at inner (src/mine.js:2:3)".to_owned(), true),
                ("at src/mine.js:7:1".to_owned(), true),
                ("at x (src/shared.js:3:4)".to_owned(), true),
                (format!("at y (auth0/dist/index.js:1:{first})"), false),
                ("at call (native)".to_owned(), false),
                ("at src/mine.js:8:2".to_owned(), true),
            ]
        );
    }

    #[test]
    fn an_excerpt_marks_the_column() {
        let text = "one\ntwo\n\tthree = four;\nfive";
        assert_eq!(excerpt(text, 3, 2, Paint::none()), "1 | one\n2 | two\n3 | \tthree = four;\n  | \t^");
        assert_eq!(excerpt("a", 1, 4, Paint::none()), "1 | a\n  |    ^");
        // Nowhere.
        assert_eq!(excerpt("a", 0, 0, Paint::none()), "");
        assert_eq!(excerpt("", 9, 9, Paint::none()), "");
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(characters("x\nä = 'ü😀'; y", 2, 16), 11);
        assert_eq!(characters("abc", 1, 3), 3);
        assert_eq!(characters("abc", 1, 6), 6);
        assert_eq!(characters("abc", 0, 0), 1);
        assert_eq!(characters("abc", 7, 2), 2);
    }

    #[test]
    fn of_a_long_line_the_part_around_is_shown() {
        let text = format!("{}!{}", "a".repeat(1000), "b".repeat(1000));
        let shown = excerpt(&text, 1, 1001, Paint::none());
        let [line, mark] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
        assert!(line.len() < 200 && line.find('!') == mark.find('^'), "{shown}");
    }

    #[test]
    fn a_function_is_found_where_it_is_code() {
        let code = "// exports.onContinuePostLogin\n/* onContinuePostLogin */ const a = 'onContinuePostLogin';\n\
                    exports.onExecutePostLogin = async () => {};";
        assert!(exported(code, "onExecutePostLogin"));
        assert!(!exported(code, "onContinuePostLogin"));
        assert!(!exported("exports.onExecutePostLoginToo = 1", "onExecutePostLogin"));
        assert!(exported("const it's = 1\nmodule.exports = { onExecutePostLogin }", "onExecutePostLogin"));
    }
}
