//! Fills the column of a new index from the documents that are there.

use mamey_core::Error;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Value, ValueType};
use mamey_core::domain::Index;
use serde_json::Value as Json;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::collection::Stop;
use super::table::{Table, column, sql_type, type_name};
use super::text::value_text;

/// How many documents are read at once.
const DOCUMENTS_PER_STEP: i64 = 500;

/// Computes the values of `index` from the field of the same name in each document's JSON.
pub(super) async fn backfill(
    connection: &mut PgConnection,
    table: &Table,
    index: &Index,
) -> Result<(), Stop> {
    let (name, column, of) = (&table.name, column(index.field), sql_type(index.value));
    let id = sql_type(table.collection.id);
    let page = format!(
        "SELECT id::text, data::text FROM {name} WHERE $1::text IS NULL OR id > $1::{id} \
         ORDER BY id LIMIT {DOCUMENTS_PER_STEP}"
    );
    let update = format!(
        "UPDATE {name} AS stored SET {column} = filled.value::{of} \
         FROM unnest($1::text[], $2::text[]) AS filled (id, value) \
         WHERE stored.id = filled.id::{id}"
    );
    let mut after: Option<String> = None;
    loop {
        let rows = sqlx::query(AssertSqlSafe(page.as_str()))
            .bind(after.as_deref())
            .fetch_all(&mut *connection)
            .await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some(last.try_get(0)?);
        let mut ids: Vec<String> = Vec::with_capacity(rows.len());
        let mut values = Vec::with_capacity(rows.len());
        for row in &rows {
            ids.push(row.try_get(0)?);
            values.push(value_text(&value_of(table, index, row)?).map(|text| text.into_owned()));
        }
        sqlx::query(AssertSqlSafe(update.as_str()))
            .bind(ids)
            .bind(values)
            .execute(&mut *connection)
            .await?;
    }
}

fn value_of(table: &Table, index: &Index, row: &PgRow) -> Result<Value, Stop> {
    let data: &str = row.try_get(1)?;
    let document: Json = serde_json::from_str(data).unwrap_or_default();
    let scalar = document.get(index.field).unwrap_or(&Json::Null);
    if let Some(value) = from_json(index.value, scalar) {
        return Ok(value);
    }
    let id: &str = row.try_get(0)?;
    let (collection, field, of) = (table.collection.name, index.field, type_name(index.value));
    Err(Stop::Refuse(Error::misconfigured(format!(
        "`{field}` cannot be indexed: in the document {collection}/{id} it is not written as \
         {of}; save such documents with the earlier build first, or index a new field"
    ))))
}

/// The indexed value that a JSON scalar stands for.
fn from_json(of: ValueType, scalar: &Json) -> Option<Value> {
    if scalar.is_null() {
        return Some(Value::Null);
    }
    let text = || scalar.as_str();
    Some(match of {
        ValueType::Bool => Value::Bool(scalar.as_bool()?),
        ValueType::Int => Value::Int(scalar.as_i64()?),
        // The two zeros are one, as everywhere in the indexes.
        ValueType::Float => Value::Float(scalar.as_f64()? + 0.0),
        ValueType::Text => Value::Text(text()?.to_owned()),
        ValueType::Uuid => Value::Uuid(Uuid::try_parse(text()?).ok()?),
        ValueType::Time => Value::Time(Timestamp::parse_rfc3339(text()?).ok()?),
    })
}
