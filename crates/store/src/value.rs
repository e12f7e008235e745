//! What goes into a statement: the three types that both engines store alike.

use std::fmt;

use curfew_model::{
    ClientId, EndingCause, EndingId, GrantKey, LogCode, RequestId, Secret, SessionKey, TenantId, Timestamp,
    UserId, UserKey,
};

/// One parameter of a statement, or one value of a row.
///
/// `BIGINT` (also truth values as 0 and 1, and instants in microseconds UTC), `TEXT`, and `BYTEA`/`BLOB`:
/// there is no other column type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// `NULL`.
    Null,
    /// `BIGINT`.
    Int(i64),
    /// `TEXT`.
    Text(&'a str),
    /// `BYTEA` on PostgreSQL, `BLOB` on SQLite.
    Bytes(&'a [u8]),
}

/// Kind and length only: parameters are people's data, and drivers print them.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(_) => f.write_str("an integer"),
            Self::Text(text) => write!(f, "text of {} bytes", text.len()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// `params![a, b]` is the slice of [`Value`]s that a statement's `$1`, `$2` stand for.
#[macro_export]
macro_rules! params {
    () => { &[] as &[$crate::Value<'_>] };
    ($($value:expr),+ $(,)?) => { &[$($crate::Value::from($value)),+] };
}

macro_rules! from {
    ($($type:ty, $value:ident => $to:expr;)*) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self { $to }
        }
    )*};
}

from! {
    i64, value => Self::Int(value);
    i32, value => Self::Int(i64::from(value));
    u32, value => Self::Int(i64::from(value));
    bool, value => Self::Int(i64::from(value));
    Timestamp, value => Self::Int(value.micros());
    TenantId, value => Self::Int(value.0);
    &'a str, value => Self::Text(value);
    &'a String, value => Self::Text(value);
    &'a [u8], value => Self::Bytes(value);
    &'a Vec<u8>, value => Self::Bytes(value);
    &'a UserKey, value => Self::Bytes(value.as_bytes());
    &'a SessionKey, value => Self::Bytes(value.as_bytes());
    &'a GrantKey, value => Self::Bytes(value.as_bytes());
    &'a EndingId, value => Self::Bytes(value.as_bytes());
    &'a RequestId, value => Self::Bytes(value.as_bytes());
    &'a UserId, value => Self::Text(value.as_str());
    &'a ClientId, value => Self::Text(value.as_str());
    &'a Secret<String>, value => Self::Text(value.expose());
    &'a Secret<Vec<u8>>, value => Self::Bytes(value.expose());
    EndingCause, value => Self::Text(value.as_str());
    LogCode, value => Self::Text(value.as_str());
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a, T> From<Option<T>> for Value<'a>
where
    T: Into<Value<'a>>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

// One by one: an impl for every `&Option<T>` sends type inference in circles.
macro_rules! from_optional {
    ($($type:ty)*) => {$(
        impl<'a> From<&'a Option<$type>> for Value<'a> {
            fn from(value: &'a Option<$type>) -> Self {
                value.as_ref().map_or(Self::Null, Into::into)
            }
        }
    )*};
}

from_optional! {
    String Vec<u8> UserKey SessionKey GrantKey EndingId RequestId UserId ClientId Secret<String> Secret<Vec<u8>>
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_column_type() {
        let key = UserKey([7; 12]);
        let name = Some(String::from("a"));
        let values: &[Value<'_>] = params![
            true,
            Timestamp::from_micros(5),
            "t",
            &key,
            None::<i64>,
            &name,
            name.as_deref(),
            Some(&key)
        ];
        assert!(
            values
                == [
                    Value::Int(1),
                    Value::Int(5),
                    Value::Text("t"),
                    Value::Bytes(&[7; 12]),
                    Value::Null,
                    Value::Text("a"),
                    Value::Text("a"),
                    Value::Bytes(&[7; 12]),
                ]
        );
    }

    #[test]
    fn values_do_not_print() {
        assert_eq!(format!("{:?}", Value::Text("hunter2")), "text of 7 bytes");
    }
}
