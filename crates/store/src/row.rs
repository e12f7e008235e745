//! What comes out of a statement.

use curfew_model::{
    ClientId, EndingCause, EndingId, Failure, GrantKey, RequestId, Secret, SessionKey, TenantId, Timestamp,
    UserId, UserKey,
};
use tokio_postgres::types::{FromSql, Type};

use crate::statement::Statement;
use crate::value::Value;

/// One row, owned: it outlives the transaction that read it.
pub struct Row {
    statement: &'static str,
    cells: Cells,
}

enum Cells {
    Sqlite(Box<[Cell]>),
    Postgres(tokio_postgres::Row),
}

enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Names the statement and the number of columns; what stands in them is people's data.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a row of {} with {} columns", self.statement, self.len())
    }
}

impl Row {
    /// Reads a column, counted from 0.
    ///
    /// Failure: [`Failure::Inconsistent`] with the statement's name when the column is absent, `NULL` where `T`
    /// takes none, or of another type or length.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, Failure> {
        let value = self.value(index);
        value.and_then(T::from_value).ok_or_else(|| Failure::Inconsistent {
            table: self.statement,
            column: COLUMNS.get(index).copied().unwrap_or("far column"),
            id: value.map_or_else(
                || String::from("no such column, or of a type that is not stored"),
                |value| format!("{value:?} is no {}", std::any::type_name::<T>()),
            ),
        })
    }

    /// How many columns it has.
    pub fn len(&self) -> usize {
        match &self.cells {
            Cells::Sqlite(cells) => cells.len(),
            Cells::Postgres(row) => row.len(),
        }
    }

    /// Whether it has no column.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn value(&self, index: usize) -> Option<Value<'_>> {
        match &self.cells {
            Cells::Sqlite(cells) => cells.get(index).map(|cell| match cell {
                Cell::Null => Value::Null,
                Cell::Int(value) => Value::Int(*value),
                Cell::Text(text) => Value::Text(text),
                Cell::Bytes(bytes) => Value::Bytes(bytes),
            }),
            Cells::Postgres(row) => row.try_get::<_, Value<'_>>(index).ok(),
        }
    }

    pub(crate) fn postgres(statement: &Statement, row: tokio_postgres::Row) -> Self {
        Self { statement: statement.name, cells: Cells::Postgres(row) }
    }

    /// Copies the row a cursor stands on. `None` when a value is a float, or a text that is not UTF-8.
    pub(crate) fn sqlite(statement: &Statement, row: &rusqlite::Row<'_>, columns: usize) -> Option<Self> {
        let cells = (0..columns).map(|index| match row.get_ref(index).ok()? {
            rusqlite::types::ValueRef::Null => Some(Cell::Null),
            rusqlite::types::ValueRef::Integer(value) => Some(Cell::Int(value)),
            rusqlite::types::ValueRef::Real(_) => None,
            rusqlite::types::ValueRef::Text(text) => {
                Some(Cell::Text(std::str::from_utf8(text).ok()?.to_owned()))
            }
            rusqlite::types::ValueRef::Blob(bytes) => Some(Cell::Bytes(bytes.to_owned())),
        });
        Some(Self { statement: statement.name, cells: Cells::Sqlite(cells.collect::<Option<_>>()?) })
    }
}

/// `Failure::Inconsistent` names columns by static text.
const COLUMNS: [&str; 64] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33", "34", "35",
    "36", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47", "48", "49", "50", "51", "52",
    "53", "54", "55", "56", "57", "58", "59", "60", "61", "62", "63",
];

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i64::from(i32::from_sql(ty, raw)?)),
            Type::INT2 => Self::Int(i64::from(i16::from_sql(ty, raw)?)),
            // Comparisons and EXISTS answer a boolean on PostgreSQL and 0 or 1 on SQLite.
            Type::BOOL => Self::Int(i64::from(bool::from_sql(ty, raw)?)),
            Type::BYTEA => Self::Bytes(raw),
            _ => Self::Text(<&str>::from_sql(ty, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::INT4 | Type::INT2 | Type::BOOL | Type::BYTEA)
            || <&str as FromSql<'_>>::accepts(ty)
    }
}

/// What can be read out of a column.
pub trait FromValue: Sized {
    /// The value, or `None` when `value` is of another type or length, or `NULL` where the type takes none.
    fn from_value(value: Value<'_>) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $to:expr;)*) => {$(
        impl FromValue for $type {
            fn from_value(value: Value<'_>) -> Option<Self> {
                match value { $pattern => $to, _ => None }
            }
        }
    )*};
}

from_value! {
    i64: Value::Int(value) => Some(value);
    u32: Value::Int(value) => value.try_into().ok();
    bool: Value::Int(value @ (0 | 1)) => Some(value == 1);
    Timestamp: Value::Int(value) => Some(Self::from_micros(value));
    TenantId: Value::Int(value) => Some(Self(value));
    String: Value::Text(text) => Some(text.to_owned());
    Secret<String>: Value::Text(text) => Some(Self::new(text.to_owned()));
    UserId: Value::Text(text) => Some(Self(text.to_owned()));
    ClientId: Value::Text(text) => Some(Self(text.to_owned()));
    EndingCause: Value::Text(text) => Self::parse(text);
    Vec<u8>: Value::Bytes(bytes) => Some(bytes.to_owned());
    Secret<Vec<u8>>: Value::Bytes(bytes) => Some(Self::new(bytes.to_owned()));
    UserKey: Value::Bytes(bytes) => Self::from_slice(bytes);
    SessionKey: Value::Bytes(bytes) => Self::from_slice(bytes);
    GrantKey: Value::Bytes(bytes) => Self::from_slice(bytes);
    EndingId: Value::Bytes(bytes) => Self::from_slice(bytes);
    RequestId: Value::Bytes(bytes) => Self::from_slice(bytes);
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
