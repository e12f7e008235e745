//! Checks bodies and query strings against the published contract of each operation.
//!
//! The contract lies beside this file in `operations.json`: per operation the fields of its body and its query
//! parameters, each with its types and limits. Where it names no fields of an object, any are accepted, kept and
//! returned.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::render::management::Problem;

/// What one value must look like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Schema {
    types: Vec<String>,
    required: bool,
    nullable: bool,
    #[serde(rename = "enum")]
    choices: Vec<String>,
    items: Option<Box<Schema>>,
    fields: BTreeMap<String, Schema>,
    values: Option<Box<Schema>>,
    closed: bool,
    minimum: Option<i64>,
    exclusive_minimum: Option<i64>,
    maximum: Option<i64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    max_properties: Option<usize>,
    format: Option<String>,
}

/// What one operation accepts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Contract {
    query: BTreeMap<String, Schema>,
    body: Option<Schema>,
}

#[expect(clippy::expect_used, reason = "the file is part of the program; a test reads it")]
static CONTRACTS: LazyLock<BTreeMap<String, Contract>> =
    LazyLock::new(|| serde_json::from_str(include_str!("operations.json")).expect("operations.json reads"));

/// The contract of the operation called `METHOD /path/{id}`.
pub(super) fn contract(operation: &str) -> Option<&'static Contract> {
    CONTRACTS.get(operation)
}

/// The operations the contract knows, for the test that none is missing from the table of routes.
#[cfg(test)]
pub(super) fn operations() -> impl Iterator<Item = &'static str> {
    CONTRACTS.keys().map(String::as_str)
}

/// Which part of the request a violation is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Payload,
    Query,
}

/// The first thing that does not fit, and on which property.
struct Violation {
    what: String,
    property: String,
}

impl Violation {
    fn new(what: impl Into<String>, property: &str) -> Self {
        Self { what: what.into(), property: property.to_owned() }
    }

    fn problem(self, part: Part) -> Problem {
        let mut message = match part {
            Part::Payload => String::from("Payload validation error: "),
            Part::Query => String::from("Query validation error: "),
        };
        let _ = write!(message, "'{}'", self.what);
        if !self.property.is_empty() {
            let _ = write!(message, " on property {}", self.property);
        }
        message.push('.');
        match part {
            Part::Payload => Problem::body(message),
            Part::Query => Problem::query(message),
        }
    }
}

impl Contract {
    /// Reads and checks the body. Whole numbers written with a fraction (`3600.0`) come back as integers.
    pub(super) fn body(&self, bytes: &[u8], form: bool) -> Result<Value, Problem> {
        let Some(schema) = &self.body else {
            return Ok(Value::Null);
        };
        let mut value = if bytes.iter().all(u8::is_ascii_whitespace) {
            if schema.required {
                let expected = schema.types.first().map_or("object", String::as_str);
                return Err(Violation::new(format!("Expected type {expected} but found type null"), "")
                    .problem(Part::Payload));
            }
            Value::Object(Map::new())
        } else if form {
            form_body(schema, bytes)
        } else {
            serde_json::from_slice(bytes).map_err(|_| Problem::body("Invalid request payload JSON format"))?
        };
        check(schema, &mut value, "").map_err(|violation| violation.problem(Part::Payload))?;
        Ok(value)
    }

    /// Checks the query string: every parameter is known, given once unless it is a list, and of its type.
    pub(super) fn query(&self, raw: &str) -> Result<Map<String, Value>, Problem> {
        let mut parameters = Map::new();
        for (name, text) in url::form_urlencoded::parse(raw.as_bytes()) {
            let name = list_name(&name);
            let Some(schema) = self.query.get(name) else {
                return Err(Violation::new(format!("Additional properties not allowed: {name}"), "")
                    .problem(Part::Query));
            };
            let is_list = schema.types.iter().any(|kind| kind == "array");
            let value = from_text(schema, &text);
            match parameters.get_mut(name) {
                Some(Value::Array(values)) if is_list => values.push(value),
                // A parameter given twice reads as its last value would hide the first.
                Some(_) => {
                    return Err(Violation::new("Parameter given more than once", name).problem(Part::Query));
                }
                None => {
                    let value = if is_list { Value::Array(vec![value]) } else { value };
                    parameters.insert(name.to_owned(), value);
                }
            }
        }
        for (name, schema) in &self.query {
            match parameters.get_mut(name) {
                Some(value) => {
                    check(schema, value, name).map_err(|violation| violation.problem(Part::Query))?;
                }
                None if schema.required => {
                    return Err(
                        Violation::new(format!("Missing required property: {name}"), "").problem(Part::Query)
                    );
                }
                None => {}
            }
        }
        Ok(parameters)
    }

    /// Whether the operation takes a body.
    pub(super) fn takes_body(&self) -> bool {
        self.body.is_some()
    }
}

/// `strategy`, `strategy[]` and `strategy[0]` are one list.
fn list_name(name: &str) -> &str {
    match name.split_once('[') {
        Some((base, rest))
            if rest.strip_suffix(']').is_some_and(|i| i.bytes().all(|b| b.is_ascii_digit())) =>
        {
            base
        }
        _ => name,
    }
}

/// The value a query parameter or form field stands for.
fn from_text(schema: &Schema, text: &str) -> Value {
    let accepts = |kind: &str| schema.types.iter().any(|t| t == kind);
    if accepts("boolean") {
        match text {
            "true" => return Value::Bool(true),
            "false" => return Value::Bool(false),
            _ => {}
        }
    }
    if (accepts("integer") || accepts("number"))
        && let Ok(number) = text.parse::<i64>()
    {
        return Value::from(number);
    }
    Value::String(text.to_owned())
}

/// `application/x-www-form-urlencoded` for flat bodies: lists by repetition.
fn form_body(schema: &Schema, bytes: &[u8]) -> Value {
    let mut body = Map::new();
    for (name, text) in url::form_urlencoded::parse(bytes) {
        let name = list_name(&name);
        let field = schema.fields.get(name);
        let is_list = field.is_some_and(|field| field.types.iter().any(|kind| kind == "array"));
        let value =
            field.map_or_else(|| Value::String(text.clone().into_owned()), |field| from_text(field, &text));
        match body.get_mut(name) {
            Some(Value::Array(values)) => values.push(value),
            _ => {
                let value = if is_list { Value::Array(vec![value]) } else { value };
                body.insert(name.to_owned(), value);
            }
        }
    }
    Value::Object(body)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The largest whole number a JSON number carries without loss.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

fn check(schema: &Schema, value: &mut Value, path: &str) -> Result<(), Violation> {
    if value.is_null() && schema.nullable {
        return Ok(());
    }
    if let Value::Number(number) = value
        && let Some(float) = number.as_f64().filter(|_| number.is_f64())
        && float.fract() == 0.0
        && float.abs() <= INTEGER_MAX
    {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53 fits")]
        let whole = float as i64;
        *value = Value::from(whole);
    }
    check_type(schema, value, path)?;
    match value {
        Value::String(text) => check_text(schema, text, path),
        Value::Number(number) => check_number(schema, number, path),
        Value::Array(values) => check_array(schema, values, path),
        Value::Object(fields) => check_object(schema, fields, path),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn check_type(schema: &Schema, value: &Value, path: &str) -> Result<(), Violation> {
    if schema.types.is_empty() {
        return Ok(());
    }
    let found = type_of(value);
    let fits = schema.types.iter().any(|kind| kind == found || (kind == "number" && found == "integer"));
    if fits {
        return Ok(());
    }
    Err(Violation::new(format!("Expected type {} but found type {found}", schema.types.join(" or ")), path))
}

fn check_text(schema: &Schema, text: &str, path: &str) -> Result<(), Violation> {
    // Neither database keeps U+0000 in text everywhere.
    if text.contains('\0') {
        return Err(Violation::new("String contains a character that is not allowed", path));
    }
    if !schema.choices.is_empty() && !schema.choices.iter().any(|choice| choice == text) {
        return Err(Violation::new(format!("No enum match for: {text}"), path));
    }
    let length = text.chars().count();
    if let Some(min) = schema.min_length.filter(|min| length < *min) {
        return Err(Violation::new(format!("String is too short ({length} chars), minimum {min}"), path));
    }
    if let Some(max) = schema.max_length.filter(|max| length > *max) {
        return Err(Violation::new(format!("String is too long ({length} chars), maximum {max}"), path));
    }
    if let Some(format) = &schema.format
        && !fits_format(format, text)
    {
        return Err(Violation::new(
            format!("Object didn't pass validation for format {format}: {text}"),
            path,
        ));
    }
    Ok(())
}

fn fits_format(format: &str, text: &str) -> bool {
    match format {
        "email" => is_email(text),
        "uri" => url::Url::parse(text).is_ok(),
        "https-uri-or-empty" => {
            text.is_empty()
                || url::Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.fragment().is_none())
        }
        "phone" => text.strip_prefix('+').is_some_and(|digits| {
            (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        }),
        "date-time" => curfew_model::Timestamp::parse_iso(text).is_some(),
        "no-angle-brackets" => !text.contains(['<', '>']),
        "connection-name" => {
            let bytes = text.as_bytes();
            let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        }
        "sort" => text
            .rsplit_once(':')
            .is_some_and(|(field, order)| !field.is_empty() && matches!(order, "1" | "-1")),
        _ => true,
    }
}

/// An address with a local part of at most 64 characters and a domain; what mail servers accept is theirs to say.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    !local.is_empty()
        && local.len() <= 64
        && !domain.is_empty()
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';'))
        && !local.contains('@')
        && domain.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        })
}

fn check_number(schema: &Schema, number: &serde_json::Number, path: &str) -> Result<(), Violation> {
    let Some(float) = number.as_f64().filter(|float| float.abs() <= INTEGER_MAX) else {
        return Err(Violation::new(format!("Value {number} is out of range"), path));
    };
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
    let (minimum, above, maximum) = (
        schema.minimum.map(|limit| limit as f64),
        schema.exclusive_minimum.map(|limit| limit as f64),
        schema.maximum.map(|limit| limit as f64),
    );
    if let Some(limit) = minimum.filter(|limit| float < *limit) {
        return Err(Violation::new(format!("Value {number} is less than minimum {limit}"), path));
    }
    if let Some(limit) = above.filter(|limit| float <= *limit) {
        return Err(Violation::new(
            format!("Value {number} is equal or less than exclusive minimum {limit}"),
            path,
        ));
    }
    if let Some(limit) = maximum.filter(|limit| float > *limit) {
        return Err(Violation::new(format!("Value {number} is greater than maximum {limit}"), path));
    }
    Ok(())
}

fn check_array(schema: &Schema, values: &mut [Value], path: &str) -> Result<(), Violation> {
    if let Some(min) = schema.min_items.filter(|min| values.len() < *min) {
        return Err(Violation::new(format!("Array is too short ({}), minimum {min}", values.len()), path));
    }
    if let Some(max) = schema.max_items.filter(|max| values.len() > *max) {
        return Err(Violation::new(format!("Array is too long ({}), maximum {max}", values.len()), path));
    }
    let any = Schema::default();
    let items = schema.items.as_deref().unwrap_or(&any);
    for (index, value) in values.iter_mut().enumerate() {
        check(items, value, &format!("{path}[{index}]"))?;
    }
    Ok(())
}

fn check_object(schema: &Schema, fields: &mut Map<String, Value>, path: &str) -> Result<(), Violation> {
    if let Some(max) = schema.max_properties.filter(|max| fields.len() > *max) {
        return Err(Violation::new(
            format!("Too many properties defined ({}), maximum {max}", fields.len()),
            path,
        ));
    }
    if let Some(name) = schema
        .fields
        .iter()
        .find_map(|(name, field)| (field.required && !fields.contains_key(name)).then_some(name))
    {
        return Err(Violation::new(format!("Missing required property: {name}"), path));
    }
    if schema.closed {
        let extra: Vec<&str> =
            fields.keys().filter(|name| !schema.fields.contains_key(*name)).map(String::as_str).collect();
        if !extra.is_empty() {
            return Err(Violation::new(
                format!("Additional properties not allowed: {}", extra.join(",")),
                path,
            ));
        }
    }
    let any = Schema::default();
    for (name, value) in fields.iter_mut() {
        if name.contains('\0') {
            return Err(Violation::new("Property name contains a character that is not allowed", path));
        }
        let field = schema.fields.get(name).or(schema.values.as_deref()).unwrap_or(&any);
        check(field, value, &join(path, name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(operation: &str, value: &Value) -> Result<Value, String> {
        contract(operation)
            .expect("the operation exists")
            .body(value.to_string().as_bytes(), false)
            .map_err(|problem| problem.message)
    }

    fn query(operation: &str, raw: &str) -> Result<Map<String, Value>, String> {
        contract(operation).expect("the operation exists").query(raw).map_err(|problem| problem.message)
    }

    #[test]
    fn a_violation_names_the_field() {
        let cases = [
            ("POST /clients", json!({}), "'Missing required property: name'."),
            (
                "POST /clients",
                json!({"name": 1}),
                "'Expected type string but found type integer' on property name.",
            ),
            ("POST /clients", json!({"name": "x", "foo": 1}), "'Additional properties not allowed: foo'."),
            (
                "POST /clients",
                json!({"name": "x", "app_type": "toaster"}),
                "'No enum match for: toaster' on property app_type.",
            ),
            (
                "POST /clients",
                json!({"name": "x", "oidc_logout": {"backchannel_logout_session_required": "yes"}}),
                "'Expected type boolean but found type string' on property oidc_logout.backchannel_logout_session_required.",
            ),
            (
                "PATCH /clients/{id}",
                json!({"oidc_backchannel_logout": {"backchannel_logout_session_required": 1}}),
                "'Expected type boolean but found type integer' on property oidc_backchannel_logout.backchannel_logout_session_required.",
            ),
            (
                "POST /clients",
                json!({"name": "x", "refresh_token": {"rotation_type": "rotating"}}),
                "'Missing required property: expiration_type' on property refresh_token.",
            ),
            (
                "POST /clients",
                json!({"name": "x", "refresh_token":
                    {"rotation_type": "rotating", "expiration_type": "expiring", "token_lifetime": 31_557_601}}),
                "'Value 31557601 is greater than maximum 31557600' on property refresh_token.token_lifetime.",
            ),
            (
                "POST /clients",
                json!({"name": "x", "callbacks": ["https://a", 7]}),
                "'Expected type string but found type integer' on property callbacks[1].",
            ),
            (
                "POST /users",
                json!({"connection": "c", "email": "no-mail"}),
                "'Object didn't pass validation for format email: no-mail' on property email.",
            ),
            (
                "PATCH /users/{id}",
                json!({"blocked": "yes"}),
                "'Expected type boolean but found type string' on property blocked.",
            ),
            (
                "PATCH /users/{id}",
                json!({"user_metadata": {"a": "\0"}}),
                "'String contains a character that is not allowed' on property user_metadata.a.",
            ),
            ("PATCH /connections/{id}/clients", json!({}), "'Expected type array but found type object'."),
            (
                "PATCH /connections/{id}/clients",
                json!([{"client_id": "x"}]),
                "'Missing required property: status' on property [0].",
            ),
        ];
        for (operation, value, message) in cases {
            assert_eq!(body(operation, &value), Err(format!("Payload validation error: {message}")));
        }
    }

    #[test]
    fn unknown_fields_of_open_objects_are_kept() {
        let sent = json!({"name": "x", "strategy": "auth0", "options": {"brute_force_protection": true, "later": [1]}});
        assert_eq!(body("POST /connections", &sent), Ok(sent));
    }

    #[test]
    fn whole_numbers_come_back_as_integers() {
        let answer = contract("PATCH /clients/{id}")
            .expect("exists")
            .body(br#"{"jwt_configuration":{"lifetime_in_seconds":3600.0}}"#, false)
            .expect("fits");
        assert_eq!(answer["jwt_configuration"]["lifetime_in_seconds"], json!(3600));
        let too_large = contract("PATCH /clients/{id}")
            .expect("exists")
            .body(br#"{"jwt_configuration":{"lifetime_in_seconds":1e300}}"#, false);
        assert!(too_large.is_err());
    }

    #[test]
    fn a_body_that_is_no_json_and_a_body_that_is_missing_are_refused() {
        let create = contract("POST /clients").expect("exists");
        assert_eq!(
            create.body(b"{", false).map_err(|p| p.message),
            Err("Invalid request payload JSON format".to_owned())
        );
        assert_eq!(
            create.body(b"", false).map_err(|p| p.message),
            Err("Payload validation error: 'Expected type object but found type null'.".to_owned())
        );
        assert_eq!(contract("PATCH /sessions/{id}").expect("exists").body(b" ", false), Ok(json!({})));
    }

    #[test]
    fn a_form_body_has_the_types_of_the_contract() {
        let answer = contract("POST /users")
            .expect("exists")
            .body(b"connection=c&email=a%40b.example&email_verified=true", true)
            .map_err(|p| p.message);
        assert_eq!(answer, Ok(json!({"connection": "c", "email": "a@b.example", "email_verified": true})));
    }

    #[test]
    fn query_parameters_are_checked_by_name() {
        let cases = [
            ("GET /users", "per_page=101", "'Value 101 is greater than maximum 100' on property per_page."),
            ("GET /users", "page=x", "'Expected type integer but found type string' on property page."),
            ("GET /users", "page=1&page=2", "'Parameter given more than once' on property page."),
            ("GET /users", "foo=1", "'Additional properties not allowed: foo'."),
            ("GET /users-by-email", "", "'Missing required property: email'."),
            ("GET /users", "search_engine=v9", "'No enum match for: v9' on property search_engine."),
            (
                "GET /users",
                "sort=email",
                "'Object didn't pass validation for format sort: email' on property sort.",
            ),
        ];
        for (operation, raw, message) in cases {
            assert_eq!(query(operation, raw), Err(format!("Query validation error: {message}")));
        }
        let lists = query("GET /connections", "strategy=auth0&strategy[]=oidc&strategy[1]=x&name=n");
        assert_eq!(lists.map(Value::Object), Ok(json!({"strategy": ["auth0", "oidc", "x"], "name": "n"})));
    }

    #[test]
    fn streams_can_be_subscribed_to_what_the_rules_know() {
        for operation in ["POST /event-streams", "PATCH /event-streams/{id}"] {
            let body = contract(operation).and_then(|contract| contract.body.as_ref()).expect("a body");
            let one = body.fields["subscriptions"].items.as_ref().expect("items");
            assert_eq!(one.fields["event_type"].choices, curfew_model::config::EVENT_TYPES);
        }
        let test = contract("POST /event-streams/{id}/test").and_then(|contract| contract.body.as_ref());
        assert_eq!(test.expect("a body").fields["event_type"].choices, curfew_model::config::EVENT_TYPES);
    }

    proptest::proptest! {
        /// Nothing a client sends may panic.
        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>, query: String, form: bool) {
            for contract in CONTRACTS.values() {
                let _ = contract.body(&bytes, form);
                let _ = contract.query(&query);
            }
        }
    }

    #[test]
    fn addresses() {
        for good in ["a@b.example", "a+b@localhost", "jörg@bücher.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b", "a@", "a b@c.example", "a@b..c", "a@@b.example", "a@-b.example"] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
