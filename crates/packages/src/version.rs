//! Versions and ranges of versions as npm reads them.

use std::cmp::Ordering;
use std::fmt;

/// Longest version, and longest range, that is looked at.
const BYTES_MAX: usize = 256;
const RANGE_BYTES_MAX: usize = 1024;
/// Largest number in a version: the largest that JavaScript counts to.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A piece of what follows the hyphen. Numbers come before words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Number(u64),
    Word(String),
}

/// A version. Build metadata (`+…`) is not part of it: it orders nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Version {
    numbers: [u64; 3],
    pre: Vec<Piece>,
}

impl Version {
    /// Reads a whole version; a leading `v` or `=` is let pass, as npm does.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let partial = Partial::parse(text.trim().trim_start_matches(['v', '=']))?;
        let [Some(major), Some(minor), Some(patch)] = partial.numbers else { return None };
        Some(Self { numbers: [major, minor, patch], pre: partial.pre })
    }

    /// Whether it comes before a release.
    pub(crate) fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    /// The least version, also among those before a release, that has these numbers.
    fn first(numbers: [u64; 3]) -> Self {
        Self { numbers, pre: vec![Piece::Number(0)] }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        };
        self.numbers.cmp(&other.numbers).then_with(pre)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        for (at, piece) in self.pre.iter().enumerate() {
            f.write_str(if at == 0 { "-" } else { "." })?;
            match piece {
                Piece::Number(number) => write!(f, "{number}")?,
                Piece::Word(word) => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

/// A version of which the end may be left open: `1`, `1.x`, `1.2.3-rc.1`.
struct Partial {
    numbers: [Option<u64>; 3],
    pre: Vec<Piece>,
    /// A number follows an open place, as in `1.x.3`. npm lets that pass behind some operators, and overlooks the number.
    gap: bool,
}

impl Partial {
    /// Reads one that may have a `v` before it.
    fn after_v(text: &str) -> Option<Self> {
        match text.strip_prefix('v') {
            Some("") => None,
            rest => Self::parse(rest.unwrap_or(text)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (text, pre) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
        // A place may be left open, but not what follows its place.
        if text.is_empty() && (pre.is_some() || build.is_some()) {
            return None;
        }
        if build.is_some_and(|build| !build.split('.').all(is_word)) {
            return None;
        }
        let mut numbers = [None; 3];
        let (mut open, mut gap) = (false, false);
        let mut parts = text.split('.');
        for number in &mut numbers {
            match parts.next() {
                None => open = true,
                Some("x" | "X" | "*") => open = true,
                Some("") if text.is_empty() => open = true,
                Some(part) => {
                    let read = number_of(part)?;
                    gap |= open;
                    if !open {
                        *number = Some(read);
                    }
                }
            }
        }
        if parts.next().is_some() {
            return None;
        }
        let pre = match pre {
            Some(pre) if !open => pre.split('.').map(piece_of).collect::<Option<_>>()?,
            Some(pre) if !pre.split('.').all(is_word) => return None,
            _ => Vec::new(),
        };
        Some(Self { numbers, pre, gap })
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn number_of(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|&number| number <= NUMBER_MAX)
}

fn piece_of(text: &str) -> Option<Piece> {
    if !is_word(text) {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number_of(text).map(Piece::Number);
    }
    Some(Piece::Word(text.to_owned()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Less,
    AtMost,
    Exactly,
    AtLeast,
    More,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    is: Is,
    version: Version,
}

impl Bound {
    fn admits(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.is {
            Is::Less => order.is_lt(),
            Is::AtMost => order.is_le(),
            Is::Exactly => order.is_eq(),
            Is::AtLeast => order.is_ge(),
            Is::More => order.is_gt(),
        }
    }
}

/// A range: one of several lists of bounds, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range(Vec<Vec<Bound>>);

impl Range {
    /// Whether it leaves everything open.
    pub(crate) fn is_any(&self) -> bool {
        self.0.iter().any(Vec::is_empty)
    }

    /// Reads a range. `None` when it is none, which in npm makes it the name of a tag.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > RANGE_BYTES_MAX {
            return None;
        }
        let mut lists: Vec<Vec<Bound>> = text.split("||").map(bounds_of).collect::<Option<_>>()?;
        // Beside what leaves everything open nothing counts, also not what would let in a version before a release.
        if lists.iter().any(Vec::is_empty) {
            lists = vec![Vec::new()];
        }
        Some(Self(lists))
    }

    /// Whether a version is in the range. One before a release is only where a bound names one with the same numbers.
    pub(crate) fn admits(&self, version: &Version) -> bool {
        self.0.iter().any(|bounds| {
            let same =
                |bound: &Bound| bound.version.is_prerelease() && bound.version.numbers == version.numbers;
            bounds.iter().all(|bound| bound.admits(version))
                && (!version.is_prerelease() || bounds.iter().any(same))
        })
    }
}

/// The bounds of what stands between two `||`.
fn bounds_of(text: &str) -> Option<Vec<Bound>> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if let [low, "-", high] = words[..] {
        return hyphen(low, high);
    }
    let mut bounds = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (operator, rest) = operator_of(word);
        // `>= 1` is `>=1`.
        let rest = match rest {
            "" if !operator.is_empty() => words.next()?,
            rest => rest,
        };
        let partial = Partial::after_v(rest)?;
        if partial.gap && !matches!(operator, "^" | "~" | "~>") {
            return None;
        }
        comparator(operator, partial, &mut bounds);
    }
    Some(bounds)
}

fn operator_of(word: &str) -> (&str, &str) {
    let operators = [">=", "<=", "~>", ">", "<", "=", "~", "^"];
    let operator = operators.into_iter().find(|operator| word.starts_with(operator)).unwrap_or("");
    (operator, &word[operator.len()..])
}

/// Where the place behind the last one that is given starts anew: after `1.2` comes `1.3.0`.
fn next(numbers: [Option<u64>; 3]) -> Option<[u64; 3]> {
    match numbers {
        [Some(major), Some(minor), Some(_)] => Some([major, minor + 1, 0]),
        [Some(major), Some(minor), None] => Some([major, minor + 1, 0]),
        [Some(major), None, _] => Some([major + 1, 0, 0]),
        [None, ..] => None,
    }
}

fn hyphen(low: &str, high: &str) -> Option<Vec<Bound>> {
    let (low, high) = (Partial::after_v(low)?, Partial::after_v(high)?);
    let mut bounds = Vec::new();
    if low.numbers[0].is_some() {
        bounds.push(Bound { is: Is::AtLeast, version: low.filled() });
    }
    match high.numbers {
        [Some(_), Some(_), Some(_)] => bounds.push(Bound { is: Is::AtMost, version: high.filled() }),
        numbers => bounds.extend(next(numbers).map(below)),
    }
    Some(bounds)
}

fn below(numbers: [u64; 3]) -> Bound {
    Bound { is: Is::Less, version: Version::first(numbers) }
}

impl Partial {
    /// With zeros in the open places.
    fn filled(self) -> Version {
        Version { numbers: self.numbers.map(|number| number.unwrap_or(0)), pre: self.pre }
    }

    fn is_whole(&self) -> bool {
        self.numbers[2].is_some()
    }
}

/// Adds what one comparator says.
fn comparator(operator: &str, partial: Partial, bounds: &mut Vec<Bound>) {
    let [major, minor, patch] = partial.numbers;
    let at_least = |partial: Partial| Bound { is: Is::AtLeast, version: partial.filled() };
    let Some(major) = major else {
        // More or less than everything is nothing.
        if matches!(operator, ">" | "<") {
            bounds.push(below([0, 0, 0]));
        }
        return;
    };
    match operator {
        "^" => {
            let end = match (major, minor, patch) {
                (0, Some(0), Some(patch)) => [0, 0, patch + 1],
                (0, Some(minor), _) => [0, minor + 1, 0],
                _ => [major + 1, 0, 0],
            };
            bounds.extend([at_least(partial), below(end)]);
        }
        "~" | "~>" => {
            let end = minor.map_or([major + 1, 0, 0], |minor| [major, minor + 1, 0]);
            bounds.extend([at_least(partial), below(end)]);
        }
        "" | "=" if partial.is_whole() => bounds.push(Bound { is: Is::Exactly, version: partial.filled() }),
        "" | "=" => {
            let end = next(partial.numbers);
            bounds.push(at_least(partial));
            bounds.extend(end.map(below));
        }
        _ if partial.is_whole() => {
            let is = match operator {
                ">" => Is::More,
                ">=" => Is::AtLeast,
                "<" => Is::Less,
                _ => Is::AtMost,
            };
            bounds.push(Bound { is, version: partial.filled() });
        }
        ">" => bounds.extend(
            next(partial.numbers)
                .map(|numbers| Bound { is: Is::AtLeast, version: Version { numbers, pre: Vec::new() } }),
        ),
        "<=" => bounds.extend(next(partial.numbers).map(below)),
        "<" => bounds.push(below(partial.filled().numbers)),
        _ => bounds.push(at_least(partial)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn versions_are_ordered_as_semver_says() {
        // Semantic Versioning 2.0.0 §11
        let order = [
            "0.0.1-0",
            "0.0.1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "2.0.0",
        ];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("1.2.3+a"), version("v1.2.3+b.c"));
        assert_eq!(version("1.2.3-rc.1+a").to_string(), "1.2.3-rc.1");
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.x",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3+",
            "a.b.c",
            "1.2.-3",
            "1.2.9007199254740992",
            "99999999999999999999.0.0",
            "1.2.3 4",
            "latest",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(Version::parse(&format!("1.2.3-{}", "a".repeat(300))).is_none());
    }

    #[test]
    fn ranges_mean_what_npm_means() {
        for (range, inside, outside) in [
            ("", "0.0.1 1.2.3", "1.0.0-rc.1"),
            ("*", "0.0.1 1.2.3", "1.0.0-rc.1"),
            ("1", "1.0.0 1.9.9", "0.9.9 2.0.0 2.0.0-0 1.0.0-0"),
            ("1.x", "1.0.0 1.9.9", "2.0.0"),
            ("1.2.*", "1.2.0 1.2.9", "1.3.0 1.3.0-0"),
            ("=1.2", "1.2.0 1.2.9", "1.3.0"),
            ("1.2.3", "1.2.3", "1.2.4 1.2.3-0"),
            ("v1.2.3", "1.2.3", "1.2.4"),
            ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0 2.0.0-rc.1 1.3.0-rc.1"),
            ("^1.2.3-rc.2", "1.2.3-rc.2 1.2.3 1.3.0", "1.2.3-rc.1 1.2.4-rc.3 2.0.0"),
            ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
            ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
            ("^0.0", "0.0.0 0.0.9", "0.1.0"),
            ("^0", "0.0.0 0.9.9", "1.0.0"),
            ("^1.x", "1.0.0 1.9.0", "2.0.0"),
            ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
            ("~> 1.2", "1.2.0 1.2.9", "1.3.0"),
            ("~1", "1.0.0 1.9.0", "2.0.0"),
            (">=1.2.3", "1.2.3 9.0.0", "1.2.2 2.0.0-rc.1"),
            (">= 1.2.3 < 2", "1.2.3 1.9.0", "2.0.0 2.0.0-0"),
            (">1", "2.0.0", "1.9.9"),
            (">1.2", "1.3.0", "1.2.9"),
            ("<=1.2", "1.2.9 0.1.0", "1.3.0 1.3.0-0"),
            ("<1", "0.9.9", "1.0.0 1.0.0-0"),
            (">1.2.3", "1.2.4", "1.2.3"),
            ("<=1.2.3", "1.2.3", "1.2.4"),
            ("<1.2.3", "1.2.2", "1.2.3"),
            ("1.2.3 - 2.3.4", "1.2.3 2.3.4", "1.2.2 2.3.5"),
            ("1.2 - 2.3", "1.2.0 2.3.9", "1.1.9 2.4.0"),
            ("1 - 2", "1.0.0 2.9.9", "0.9.9 3.0.0"),
            ("1.2.3 || >=2 <3 || 5.x", "1.2.3 2.5.0 5.1.0", "1.2.4 3.0.0 4.0.0"),
            ("||", "1.0.0", "1.0.0-0"),
            (">*", "", "0.0.0 1.0.0"),
            (">=*", "1.0.0", ""),
            (">=1.0.0-rc.1 <1.0.0", "1.0.0-rc.1 1.0.0-rc.9", "1.0.0 0.9.9 1.0.0-beta"),
        ] {
            let read = Range::parse(range).unwrap_or_else(|| panic!("{range}"));
            for text in inside.split_whitespace() {
                assert!(read.admits(&version(text)), "{range} admits {text}");
            }
            for text in outside.split_whitespace() {
                assert!(!read.admits(&version(text)), "{range} does not admit {text}");
            }
        }
    }

    /// npm's own reading of ranges is one of the packages that lie beside the server.
    #[test]
    fn ranges_mean_what_they_mean_in_npm_itself() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};

        const SCRIPT: &str = "
            const semver = require('semver');
            const [ranges, versions] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
            const admits = range => versions.map(version => semver.satisfies(version, range));
            console.log(JSON.stringify(ranges.map(range => semver.validRange(range) === null ? null : admits(range))));
        ";
        let partials = [
            "*",
            "",
            "x",
            "1",
            "1.x",
            "1.2",
            "1.2.x",
            "1.2.3",
            "0",
            "0.2",
            "0.2.3",
            "0.0",
            "0.0.3",
            "0.0.0",
            "2.0.0",
            "1.2.3-rc.1",
            "1.2.3-0",
            "0.0.3-a",
            "v1.2.3",
            "1.x.3",
            "1.2.3+b",
            "2.0.0-rc.1+b",
            "1.2.3.4",
            "01.2.3",
            "a",
            "1.2.3-",
            "-x",
        ];
        let operators = ["", "^", "~", "~>", ">", ">=", "<", "<=", "=", "> ", "^ ", ">= v"];
        let one = |operator: &str| partials.map(|partial| format!("{operator}{partial}"));
        let mut ranges: Vec<String> = operators.iter().flat_map(|operator| one(operator)).collect();
        for (low, high) in partials.iter().flat_map(|low| partials.map(|high| (*low, high))) {
            ranges.push(format!(">={low} <{high}"));
            ranges.push(format!("^{low} || ~{high}"));
            if !low.is_empty() && !high.is_empty() {
                ranges.push(format!("{low} - {high}"));
            }
        }
        let versions = [
            "0.0.0",
            "0.0.1",
            "0.0.3",
            "0.0.4",
            "0.0.3-a",
            "0.0.3-b",
            "0.1.0",
            "0.2.0",
            "0.2.3",
            "0.2.9",
            "0.3.0",
            "1.0.0-0",
            "1.0.0",
            "1.1.9",
            "1.2.0",
            "1.2.2",
            "1.2.3-0",
            "1.2.3-rc.1",
            "1.2.3-rc.2",
            "1.2.3",
            "1.2.4-rc.1",
            "1.2.4",
            "1.3.0-0",
            "1.3.0",
            "1.9.9",
            "2.0.0-0",
            "2.0.0-rc.1",
            "2.0.0",
            "2.3.4",
            "3.0.0-0",
            "3.0.0",
            "10.0.0",
        ];
        let mut node = Command::new("node")
            .args(["--eval", SCRIPT])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shelf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node, which `cargo xtask test` installs");
        let input = serde_json::to_vec(&(&ranges, versions)).unwrap();
        node.stdin.take().unwrap().write_all(&input).unwrap();
        let output = node.wait_with_output().unwrap();
        assert!(output.status.success(), "packages to compare with: run `cargo xtask packages`");
        let answers: Vec<Option<Vec<bool>>> = serde_json::from_slice(&output.stdout).unwrap();
        let mut others = Vec::new();
        for (range, answer) in ranges.iter().zip(answers) {
            let read = Range::parse(range);
            let ours = read.map(|read| versions.map(|text| read.admits(&version(text))).to_vec());
            if ours != answer {
                others.push(format!("'{range}': {ours:?}, npm: {answer:?}"));
            }
        }
        assert!(others.is_empty(), "{} of {}\n{}", others.len(), ranges.len(), others.join("\n"));
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in [
            "latest",
            "^",
            ">=",
            "1.2.3.4",
            "1 - ",
            "git+https://host/x.git",
            "file:x",
            "^1 latest",
            "&",
            "1.2.3-é",
        ] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
        assert!(Range::parse(&"1 || ".repeat(400)).is_none());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9xX*^~<>=|v. +a-]{0,40}", other in "\\PC{0,40}", version in "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9](-[a-z0-9.]{1,6})?") {
            let read = Version::parse(&version);
            for text in [text, other] {
                let _ = Version::parse(&text);
                if let (Some(range), Some(version)) = (Range::parse(&text), &read) {
                    range.admits(version);
                }
            }
        }

        #[test]
        fn a_version_is_written_as_it_is_read(major in 0..100u64, minor in 0..100u64, patch in 0..100u64, pre in "(-[a-z]{1,3}(\\.[1-9][0-9]?)?)?") {
            let text = format!("{major}.{minor}.{patch}{pre}");
            let read = version(&text);
            prop_assert_eq!(read.to_string(), text.clone());
            prop_assert!(Range::parse(&text).unwrap().admits(&read));
            for operator in ["^", "~", "="] {
                let range = Range::parse(&format!("{operator}{text}")).unwrap();
                prop_assert!(range.admits(&read), "{} {}", operator, text);
            }
        }
    }
}
