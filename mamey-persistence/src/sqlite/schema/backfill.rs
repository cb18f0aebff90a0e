//! Fills the column of a new index from the existing documents.

use mamey_core::Result;
use mamey_core::criteria::{Collection, Index, Value, indexed_values};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row};

use super::table::{Table, column};
use crate::common::errors::not_of_type;
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
    index: &'static Index,
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

fn value_of(table: &Table, index: &'static Index, row: &SqliteRow) -> Result<Value, Stop<()>> {
    let name = table.collection.name;
    let only = Collection::new(name, table.collection.id).with_indexes(std::slice::from_ref(index));
    match indexed_values(&only, row.try_get(2)?) {
        Ok(values) => Ok(values.into_iter().next().unwrap_or(Value::Null)),
        Err(cause) => {
            let id = read_value(row, 1, table.collection.id)?;
            Err(Stop::Refuse(not_of_type(name, index, &id.to_string()).with_source(cause)))
        }
    }
}
