//! Finds the modules that a JavaScript file asks for by a literal: `require('x')`, `import … from 'x'`, `import('x')`.
//!
//! This is no parser. Where the text alone does not say whether a slash divides or begins a regular expression it guesses;
//! a wrong guess costs an entry of the table of resolutions, which is made up for when the file runs, and never more.

/// What a file asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scan {
    pub(crate) requires: Vec<String>,
    pub(crate) imports: Vec<String>,
    /// `import('x')`.
    pub(crate) dynamic_imports: Vec<String>,
    /// It has `import` or `export` statements, or `import.meta`: it can be nothing but a module.
    pub(crate) is_module: bool,
}

/// Longest literal that is looked at.
const LITERAL_BYTES_MAX: usize = 1024;

/// What came before, as far as it decides what a slash means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// An operator, an opening bracket or nothing: a regular expression may follow.
    Operator,
    /// A value: a slash divides.
    Value,
    /// A dot: the next word is a member's name.
    Dot,
}

/// What stands between brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    /// `{`
    Brace,
    /// `${` inside a template
    Template,
    /// `(` behind `if`, `while`, `for` or `with`: a statement follows its end.
    Head,
    /// `(` or `[`
    Other,
}

pub(crate) fn scan(source: &str) -> Scan {
    let mut scanner = Scanner {
        source,
        bytes: source.as_bytes(),
        at: 0,
        before: Before::Operator,
        head_follows: false,
        from_follows: false,
        open: Vec::new(),
        found: Scan::default(),
    };
    scanner.run();
    scanner.found
}

struct Scanner<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    before: Before,
    /// The last word was one whose brackets are followed by a statement.
    head_follows: bool,
    /// An `import` or `export` statement has begun, which may have a `from`.
    from_follows: bool,
    open: Vec<Bracket>,
    found: Scan,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn run(&mut self) {
        if self.bytes.starts_with(b"#!") {
            self.skip_line();
        }
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => self.at += 1,
                b'/' if self.peek(1) == Some(b'/') => self.skip_line(),
                b'/' if self.peek(1) == Some(b'*') => self.skip_comment(),
                b'/' => self.slash(),
                b'"' | b'\'' => {
                    self.literal();
                    self.before = Before::Value;
                }
                b'`' => {
                    self.at += 1;
                    self.template();
                }
                _ if is_word(byte) => self.word(),
                _ => self.sign(byte),
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    fn skip_comment(&mut self) {
        self.at += 2;
        while self.peek(0).is_some() {
            if self.peek(0) == Some(b'*') && self.peek(1) == Some(b'/') {
                self.at += 2;
                return;
            }
            self.at += 1;
        }
    }

    /// Skips what separates words.
    fn skip_blank(&mut self) {
        loop {
            match self.peek(0) {
                Some(b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c) => self.at += 1,
                Some(b'/') if self.peek(1) == Some(b'/') => self.skip_line(),
                Some(b'/') if self.peek(1) == Some(b'*') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn slash(&mut self) {
        if self.before == Before::Operator
            && let Some(end) = self.end_of_regex()
        {
            self.at = end;
            while self.peek(0).is_some_and(is_word) {
                self.at += 1;
            }
            self.before = Before::Value;
            return;
        }
        self.at += 1;
        self.before = Before::Operator;
    }

    /// Behind the closing slash of a regular expression that begins here; `None` if there is none on this line.
    fn end_of_regex(&self) -> Option<usize> {
        let mut in_class = false;
        let mut at = self.at + 1;
        loop {
            match *self.bytes.get(at)? {
                b'\n' => return None,
                b'\\' => at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'/' if !in_class => return Some(at + 1),
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads a string. `None` where it has escapes, is too long, or does not end on its line.
    fn literal(&mut self) -> Option<String> {
        let quote = self.peek(0)?;
        self.at += 1;
        let start = self.at;
        let mut plain = true;
        loop {
            match self.peek(0)? {
                b'\n' => return None,
                b'\\' => {
                    plain = false;
                    self.at += 2;
                    continue;
                }
                byte if byte == quote => break,
                _ => {}
            }
            self.at += 1;
        }
        let text = self.source.get(start..self.at);
        self.at += 1;
        text.filter(|text| plain && text.len() <= LITERAL_BYTES_MAX).map(str::to_owned)
    }

    /// Reads a template from behind its backtick, or from behind a `}` inside it.
    fn template(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.at += 2,
                b'`' => {
                    self.at += 1;
                    self.before = Before::Value;
                    return;
                }
                b'$' if self.peek(1) == Some(b'{') => {
                    self.at += 2;
                    self.open.push(Bracket::Template);
                    self.before = Before::Operator;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    fn sign(&mut self, byte: u8) {
        self.at += 1;
        let head_follows = std::mem::take(&mut self.head_follows);
        self.before = match byte {
            b'(' => {
                self.open.push(if head_follows { Bracket::Head } else { Bracket::Other });
                Before::Operator
            }
            b'[' => {
                self.open.push(Bracket::Other);
                Before::Operator
            }
            b'{' => {
                self.open.push(Bracket::Brace);
                Before::Operator
            }
            b')' | b']' => match self.open.pop() {
                Some(Bracket::Head) => Before::Operator,
                _ => Before::Value,
            },
            b'}' => {
                if self.open.pop() == Some(Bracket::Template) {
                    return self.template();
                }
                Before::Operator
            }
            b'.' if self.peek(0) == Some(b'.') => {
                // A spread.
                while self.peek(0) == Some(b'.') {
                    self.at += 1;
                }
                Before::Operator
            }
            b'.' => Before::Dot,
            b'+' | b'-' if self.peek(0) == Some(byte) && self.before == Before::Value => {
                self.at += 1;
                Before::Value
            }
            b';' => {
                self.from_follows = false;
                Before::Operator
            }
            _ => Before::Operator,
        };
    }

    fn word(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(is_word) {
            self.at += 1;
        }
        let word = self.source.get(start..self.at).unwrap_or_default();
        let is_member = self.before == Before::Dot;
        self.before = Before::Value;
        self.head_follows = false;
        if is_member {
            return;
        }
        match word {
            "require" => {
                if let Some(name) = self.call() {
                    self.found.requires.push(name);
                }
            }
            "import" => self.import(),
            "export" if self.open.is_empty() => {
                self.found.is_module = true;
                self.skip_blank();
                self.from_follows = matches!(self.peek(0), Some(b'*' | b'{'));
                self.before = Before::Operator;
            }
            "from" if self.from_follows && self.open.is_empty() => {
                let here = self.at;
                self.skip_blank();
                if matches!(self.peek(0), Some(b'"' | b'\'')) {
                    self.from_follows = false;
                    if let Some(name) = self.literal() {
                        self.found.imports.push(name);
                    }
                } else {
                    // A binding of that name.
                    self.at = here;
                }
            }
            "if" | "while" | "for" | "with" => self.head_follows = true,
            "return" | "typeof" | "instanceof" | "in" | "of" | "new" | "delete" | "void" | "throw"
            | "case" | "do" | "else" | "yield" | "await" => self.before = Before::Operator,
            _ => {}
        }
    }

    fn import(&mut self) {
        let here = self.at;
        self.skip_blank();
        match self.peek(0) {
            Some(b'(') => {
                self.at = here;
                if let Some(name) = self.call() {
                    self.found.dynamic_imports.push(name);
                }
            }
            Some(b'"' | b'\'') if self.open.is_empty() => {
                self.found.is_module = true;
                if let Some(name) = self.literal() {
                    self.found.imports.push(name);
                }
            }
            Some(b'.') => {
                self.at += 1;
                self.skip_blank();
                self.found.is_module |= self.bytes[self.at..].starts_with(b"meta");
            }
            Some(byte) if self.open.is_empty() && (is_word(byte) || matches!(byte, b'{' | b'*')) => {
                self.found.is_module = true;
                self.from_follows = true;
                self.before = Before::Operator;
            }
            _ => {}
        }
    }

    /// The literal that is the first argument of a call, if the next thing is a call with one. Reads nothing else.
    fn call(&mut self) -> Option<String> {
        let here = self.at;
        let name = self.argument();
        if name.is_none() {
            self.at = here;
        }
        name
    }

    fn argument(&mut self) -> Option<String> {
        self.skip_blank();
        (self.peek(0)? == b'(').then_some(())?;
        self.at += 1;
        self.skip_blank();
        matches!(self.peek(0)?, b'"' | b'\'').then_some(())?;
        let name = self.literal()?;
        self.skip_blank();
        let end = self.peek(0)?;
        matches!(end, b')' | b',').then_some(())?;
        if end == b')' {
            self.at += 1;
        } else {
            self.open.push(Bracket::Other);
            self.at += 1;
            self.before = Before::Operator;
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requires(source: &str) -> Vec<String> {
        scan(source).requires
    }

    #[test]
    fn calls_of_require_are_found() {
        for (source, expected) in [
            ("const a = require('a')", &["a"][..]),
            ("require(\"a\");require('b')", &["a", "b"]),
            ("var a=require ( /* x */ 'a' ) , b = require\n('b')", &["a", "b"]),
            ("require('a', 1); require('b')", &["a", "b"]),
            ("__importStar(require('./a'))", &["./a"]),
            ("`x ${require('a')} y` + require('b')", &["a", "b"]),
            ("`${`${{a:1}.a}`}`;require('a')", &["a"]),
            ("if (x) /'/.test(y); require('a')", &["a"]),
            ("a = b / c; require('a') / d", &["a"]),
            ("x.replace(/[/'\"]/g, '').y / 2; require('a')", &["a"]),
            ("return /\"/.test(x), require('a')", &["a"]),
            ("i++ / 2; require('a') // '", &["a"]),
            ("#!/usr/bin/env node '\nrequire('a')", &["a"]),
            ("f(...require('a'))", &["a"]),
            ("'unclosed\nrequire('a')", &["a"]),
            ("é = require('a')", &["a"]),
        ] {
            assert_eq!(requires(source), expected, "{source}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_not() {
        for source in [
            "// require('a')",
            "/* require('a') */",
            "\"require('a')\"",
            "`require('a')`",
            "x.require('a')",
            "x . require('a')",
            "require(a)",
            "require('a' + b)",
            "require(`a`)",
            "require('\\x61')",
            "requires('a')",
            "$require('a')",
            "/require('a')/.test(x)",
            "require.resolve('a')",
            "require('a",
            "require(",
            "require",
        ] {
            assert_eq!(requires(source), [""; 0], "{source}");
        }
    }

    #[test]
    fn imports_are_found_and_make_a_module() {
        for (source, imports) in [
            ("import a from 'a'", &["a"][..]),
            ("import a, { b as c } from \"a\"; import * as d from 'd'", &["a", "d"]),
            ("import{a}from'a';import'b'", &["a", "b"]),
            ("export * from 'a'; export { x } from 'b'; export { default as y } from 'c'", &["a", "b", "c"]),
            ("export { from };\nimport { from } from 'a'", &["a"]),
            ("import from from 'a'", &["a"]),
            ("export const from = 'a'", &[]),
            ("export default function () { return 1 }", &[]),
            ("console.log(import.meta.url)", &[]),
            ("import defer, { x } from './x.mjs' with { type: 'json' }", &["./x.mjs"]),
        ] {
            let found = scan(source);
            assert_eq!(found.imports, imports, "{source}");
            assert!(found.is_module, "{source}");
        }
        let found =
            scan("exports.a = import('b'); x = { import: 1, export: 2 }; y.import('c'); f(import(d))");
        assert_eq!((found.dynamic_imports, found.is_module), (vec!["b".to_owned()], false));
    }

    proptest! {
        #[test]
        fn nothing_panics(source in "\\PC{0,200}") {
            scan(&source);
        }

        #[test]
        fn nothing_made_of_its_own_pieces_panics(pieces in prop::collection::vec(prop::sample::select(&[
            "require", "import", "export", "from", "(", ")", "'", "\"", "`", "${", "{", "}", "/", "\\", "*", "//", "/*", "*/",
            "[", "]", ".", "...", "a", "é", "\n", " ", ";", "#!", "meta", "+", "++", "if", "return", ",",
        ][..]), 0..60)) {
            scan(&pieces.concat());
        }
    }
}
