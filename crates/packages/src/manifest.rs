//! What the loader reads in a `package.json`: its name, `type`, `main`, `exports` and `imports`.
//!
//! Conditions of `exports` are tried in the order in which they stand in the file, which a map sorted by key would lose.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A JSON value whose objects keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    /// A boolean or a number, which stand for nothing that is asked about.
    Other,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The member of an object. Of two of the same name the later one counts, as in JavaScript.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Json, E> {
                Ok(Json::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Json::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Json::Object(members))
            }
        }

        deserializer.deserialize_any(Values)
    }
}

/// How `.js` files of a package are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    CommonJs,
    Module,
}

/// The fields of a `package.json` that decide what a specifier means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PackageJson {
    pub(crate) name: Option<String>,
    pub(crate) main: Option<String>,
    pub(crate) kind: Option<Type>,
    /// Absent when `null`, as in Node.
    pub(crate) exports: Option<Json>,
    pub(crate) imports: Option<Json>,
}

impl PackageJson {
    /// Reads one. `None` when it is no JSON object.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        struct Fields(PackageJson);

        impl<'de> Deserialize<'de> for Fields {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> Visitor<'de> for Members {
                    type Value = Fields;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                        let mut fields = PackageJson::default();
                        while let Some(key) = map.next_key::<String>()? {
                            match &*key {
                                "name" => fields.name = text_of(map.next_value()?),
                                "main" => {
                                    fields.main = text_of(map.next_value()?).filter(|main| !main.is_empty())
                                }
                                "type" => {
                                    fields.kind = match text_of(map.next_value()?).as_deref() {
                                        Some("module") => Some(Type::Module),
                                        Some("commonjs") => Some(Type::CommonJs),
                                        _ => None,
                                    }
                                }
                                "exports" => {
                                    fields.exports =
                                        Some(map.next_value()?).filter(|value| *value != Json::Null)
                                }
                                "imports" => {
                                    let value = map.next_value()?;
                                    fields.imports = matches!(value, Json::Object(_)).then_some(value);
                                }
                                _ => drop(map.next_value::<IgnoredAny>()?),
                            }
                        }
                        Ok(Fields(fields))
                    }
                }

                deserializer.deserialize_map(Members)
            }
        }

        serde_json::from_str::<Fields>(text).ok().map(|fields| fields.0)
    }
}

fn text_of(value: Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_keep_their_order() {
        let read = PackageJson::parse(
            r#"{"name":"x","type":"module","main":"","exports":{"z":"./1","a":null,"m":[true,1,-1,0.5]},"imports":[]}"#,
        )
        .unwrap();
        let exports = Json::Object(vec![
            ("z".into(), Json::Text("./1".into())),
            ("a".into(), Json::Null),
            ("m".into(), Json::List(vec![Json::Other, Json::Other, Json::Other, Json::Other])),
        ]);
        assert_eq!(
            read,
            PackageJson {
                name: Some("x".into()),
                main: None,
                kind: Some(Type::Module),
                exports: Some(exports),
                imports: None
            }
        );
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["", "[]", "null", "\"x\"", "{", "{\"exports\":}", &"{\"exports\":[".repeat(4000)] {
            assert_eq!(PackageJson::parse(text), None, "{text:.20}");
        }
        assert_eq!(
            PackageJson::parse("{\"exports\":null,\"name\":1,\"type\":\"x\"}"),
            Some(PackageJson::default())
        );
    }

    #[test]
    fn the_last_of_two_members_counts() {
        let object: Json = serde_json::from_str(r#"{"a":"1","a":"2"}"#).unwrap();
        assert_eq!(object.get("a"), Some(&Json::Text("2".into())));
    }
}
