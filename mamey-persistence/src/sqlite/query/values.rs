//! Writes values, ids and documents into columns, and reads them back.

use bytes::Bytes;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Value, ValueType};
use mamey_core::message::MessageIdentity;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, ValueRef};
use uuid::Uuid;

use crate::sql::errors::not_json;

/// The value at a place of a row, which the table's type fixes.
pub(crate) fn read_value(row: &SqliteRow, at: usize, of: ValueType) -> Result<Value, sqlx::Error> {
    Ok(match of {
        ValueType::Bool => Value::Bool(row.try_get(at)?),
        ValueType::Int => Value::Int(row.try_get(at)?),
        ValueType::Float => Value::Float(row.try_get(at)?),
        ValueType::Text => Value::Text(row.try_get(at)?),
        ValueType::Uuid => Value::Uuid(read_uuid(row, at)?),
        ValueType::Time => Value::Time(Timestamp::from_micros(row.try_get(at)?)),
    })
}

/// The value at a place of a row, which may be null.
pub(crate) fn read_value_or_null(
    row: &SqliteRow,
    at: usize,
    of: ValueType,
) -> Result<Value, sqlx::Error> {
    if row.try_get_raw(at)?.is_null() { Ok(Value::Null) } else { read_value(row, at, of) }
}

/// A UUID, stored as its 16 bytes so that it sorts by them.
fn read_uuid(row: &SqliteRow, at: usize) -> Result<Uuid, sqlx::Error> {
    let bytes: &[u8] = row.try_get(at)?;
    Uuid::from_slice(bytes).map_err(|cause| sqlx::Error::Decode(cause.into()))
}

/// A query with its values bound in order.
pub(crate) fn bind_all(sql: String, values: &[Value]) -> Query<'static, Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(sql));
    values.iter().fold(query, |query, value| match value {
        Value::Null => query.bind(None::<i64>),
        Value::Bool(value) => query.bind(i64::from(*value)),
        Value::Int(value) => query.bind(*value),
        Value::Float(value) => query.bind(*value),
        Value::Text(value) => query.bind(value.clone()),
        Value::Uuid(value) => query.bind(value.as_bytes().to_vec()),
        Value::Time(value) => query.bind(value.as_micros()),
    })
}

/// A document as text, which is how SQLite keeps it.
pub(crate) fn text_of(collection: &str, id: &Value, data: &Bytes) -> Result<String> {
    String::from_utf8(data.to_vec()).map_err(|cause| not_json(collection, id, cause))
}

/// What a message is known by, stored as its 16 bytes.
pub(crate) fn key(message: MessageIdentity) -> Vec<u8> {
    message.as_uuid().as_bytes().to_vec()
}
