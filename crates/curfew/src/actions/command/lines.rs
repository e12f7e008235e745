//! Text for a terminal, in colours where somebody sees them.

use std::io::IsTerminal as _;

/// How something stands out.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Bold,
    Dim,
    Red,
    Yellow,
    Green,
    Cyan,
}

/// Whether there are colours.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// No colours.
    pub(super) const fn none() -> Self {
        Self(false)
    }

    /// Colours on a terminal, unless `NO_COLOR` says something or the terminal is a dumb one.
    pub(super) fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Self(std::io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb)
    }

    /// The text in a style. Bold red is what went wrong.
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        if !self.0 || text.is_empty() {
            return text.to_owned();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "1;31",
            Style::Yellow => "33",
            Style::Green => "32",
            Style::Cyan => "36",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// What an Action wrote may hold what terminals take for commands: that is shown as it is written in JavaScript.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\t' => shown.push(char),
            char if char.is_control() => shown.push_str(&format!("\\u{{{:x}}}", u32::from(char))),
            char => shown.push(char),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(visible("a\tb\u{1b}[2J\r\nc\u{9b}"), "a\tb\\u{1b}[2J\\u{d}\nc\\u{9b}");
    }

    #[test]
    fn without_colours_there_are_none() {
        assert_eq!(Paint::none().paint(Style::Red, "no"), "no");
        assert_eq!(Paint(true).paint(Style::Red, "no"), "\u{1b}[1;31mno\u{1b}[0m");
    }
}
