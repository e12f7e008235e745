//! Values of secrets, which an Action may write, throw or set, and which nobody is to read on a terminal or in a log of a
//! build.

use std::collections::BTreeMap;

use curfew_model::Secret;
use serde_json::Value;
use url::{Url, form_urlencoded};

/// What is shorter is part of too many words.
const BYTES_MIN: usize = 4;
/// Lines of a longer value that are looked for by themselves.
const LINE_BYTES_MIN: usize = 12;

/// Puts names where values stand.
pub(super) struct Mask {
    /// The longest first: one may be part of another.
    values: Vec<(Secret<String>, String)>,
}

impl Mask {
    /// Of these.
    pub(super) fn new(secrets: &BTreeMap<String, Secret<String>>) -> Self {
        let mut values = Vec::new();
        for (name, secret) in secrets {
            let name = format!("[secret {name}]");
            let value = secret.expose();
            let lines = value.lines().filter(|line| line.len() >= LINE_BYTES_MIN && line.len() < value.len());
            // As it is, as it stands in JSON and in JavaScript, and in addresses.
            let written = Value::from(value.as_str()).to_string();
            let written =
                written.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&written);
            let field: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let all = [value.clone(), written.to_owned(), path_of(value), field.replace('+', "%20"), field];
            let all = all.into_iter();
            for value in all.chain(lines.map(str::to_owned)).filter(|value| value.len() >= BYTES_MIN) {
                values.push((Secret::new(value), name.clone()));
            }
        }
        values.sort_by_key(|(value, _)| std::cmp::Reverse(value.expose().len()));
        Self { values }
    }

    /// A text without them.
    pub(super) fn text(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (value, name)| text.replace(value.expose(), name))
    }

    /// A document without them, also in the names of its members.
    pub(super) fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.value(value)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, value)| (self.text(&name), self.value(value))).collect()
            }
            other => other,
        }
    }
}

/// As it is written in the path of an address.
fn path_of(value: &str) -> String {
    let Ok(mut url) = Url::parse("https://a/") else { return value.to_owned() };
    url.set_path(value);
    url.path().trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_named_wherever_they_stand() {
        let secrets = [("A", "hunter2"), ("B", "hunter2-long"), ("C", "to\nbe"), ("D", "x"), ("E", "")]
            .map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned())));
        let mask = Mask::new(&secrets.into());
        assert_eq!(mask.text("a hunter2 and hunter2-long, x"), "a [secret A] and [secret B], x");
        assert_eq!(mask.text(r"'to\nbe'"), "'[secret C]'");
        assert_eq!(mask.value(json!({"hunter2": ["to\nbe"]})), json!({"[secret A]": ["[secret C]"]}));
    }

    #[test]
    fn addresses_have_other_signs_for_the_same() {
        let mask = Mask::new(&[("K".to_owned(), Secret::new("a b\"c/d+é".to_owned()))].into());
        for address in
            ["https://a.example/a%20b%22c/d+%C3%A9", "?k=a+b%22c%2Fd%2B%C3%A9", "?k=a%20b%22c%2Fd%2B%C3%A9"]
        {
            let shown = mask.text(address);
            assert!(shown.ends_with("[secret K]"), "{shown}");
        }
    }

    #[test]
    fn a_key_is_found_line_by_line() {
        let key = "-----BEGIN KEY-----\nMIIBVQIBADANBgkqh\n-----END KEY-----";
        let mask = Mask::new(&[("K".to_owned(), Secret::new(key.to_owned()))].into());
        assert_eq!(mask.text("  'MIIBVQIBADANBgkqh' +"), "  '[secret K]' +");
    }
}
