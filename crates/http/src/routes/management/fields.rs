//! `fields` and `include_fields`.

use curfew_core::management::Document;
use serde_json::{Map, Value};

/// Keeps the fields named in the query, or leaves them out when `include_fields` is false.
pub(super) fn select(query: &Map<String, Value>, mut doc: Document) -> Document {
    let Some(list) = query.get("fields").and_then(Value::as_str) else { return doc };
    let named: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if named.is_empty() {
        return doc;
    }
    let include = query.get("include_fields").and_then(Value::as_bool).unwrap_or(true);
    doc.retain(|name, _| named.contains(&name.as_str()) == include);
    doc
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selected(query: Value) -> Value {
        let (Value::Object(query), Value::Object(doc)) = (query, json!({"a": 1, "b": 2, "c": 3})) else {
            panic!("no objects");
        };
        Value::Object(select(&query, doc))
    }

    #[test]
    fn fields_are_included_or_excluded() {
        assert_eq!(selected(json!({})), json!({"a": 1, "b": 2, "c": 3}));
        assert_eq!(selected(json!({"fields": ""})), json!({"a": 1, "b": 2, "c": 3}));
        assert_eq!(selected(json!({"fields": "a, c,x"})), json!({"a": 1, "c": 3}));
        assert_eq!(selected(json!({"fields": "a", "include_fields": false})), json!({"b": 2, "c": 3}));
    }
}
