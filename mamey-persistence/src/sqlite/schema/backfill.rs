//! Fills the column of a new index from the existing documents.

use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Index, Value, ValueType};
use mamey_core::{Error, Result};
use serde_json::Value as Json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::table::{Table, column};
use crate::sql::names::type_name;
use crate::sqlite::commit::script::{Expect, Script};
use crate::sqlite::commit::transaction::Transaction;
use crate::sqlite::commit::work::Stop;
use crate::sqlite::query::values::read_value;

/// How many documents are read at once.
const DOCUMENTS_PER_STEP: i64 = 500;

/// Computes the values of `index` from the field of the same name in each document's JSON.
pub(crate) async fn backfill(
    connection: &mut SqliteConnection,
    table: &Table,
    index: &Index,
) -> Result<(), Stop<()>> {
    let name = &table.name;
    let page = format!(
        "SELECT rowid, id, data FROM {name} WHERE rowid > ? ORDER BY rowid LIMIT {DOCUMENTS_PER_STEP}"
    );
    let column = column(index.field);
    let update = format!("UPDATE {name} SET {column} = ? WHERE rowid = ?");
    let mut after = i64::MIN;
    loop {
        let rows = sqlx::query(AssertSqlSafe(page.as_str()))
            .bind(after)
            .fetch_all(&mut *connection)
            .await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.try_get(0)?;
        let mut script = Script::default();
        for row in &rows {
            let value = value_of(table, index, row)?;
            script.statement(&update, Expect::Anything);
            script.bind_value(&value).bind(row.try_get::<i64, _>(0)?);
        }
        let mut transaction = Transaction::new(connection, None, 0);
        script.run(&mut transaction).await?;
    }
}

fn value_of(table: &Table, index: &Index, row: &SqliteRow) -> Result<Value, Stop<()>> {
    let data: &[u8] = row.try_get(2)?;
    let document: Json = serde_json::from_slice(data).unwrap_or_default();
    let scalar = document.get(index.field).unwrap_or(&Json::Null);
    if let Some(value) = from_json(index.value, scalar) {
        return Ok(value);
    }
    let id = read_value(row, 1, table.collection.id)?;
    let (collection, field, of) = (table.collection.name, index.field, type_name(index.value));
    Err(Stop::Refuse(Error::misconfigured(format!(
        "`{field}` cannot be indexed: in the document {collection}/{id} it is not written as \
         {of}; save such documents with the earlier build first, or index a new field"
    ))))
}

/// The indexed value of a JSON scalar.
fn from_json(of: ValueType, scalar: &Json) -> Option<Value> {
    if scalar.is_null() {
        return Some(Value::Null);
    }
    let text = || scalar.as_str();
    Some(match of {
        ValueType::Bool => Value::Bool(scalar.as_bool()?),
        ValueType::Int => Value::Int(scalar.as_i64()?),
        // Adding zero turns -0 into 0, as in all indexes.
        ValueType::Float => Value::Float(scalar.as_f64()? + 0.0),
        ValueType::Text => Value::Text(text()?.to_owned()),
        ValueType::Uuid => Value::Uuid(Uuid::try_parse(text()?).ok()?),
        ValueType::Time => Value::Time(Timestamp::parse_rfc3339(text()?).ok()?),
    })
}
