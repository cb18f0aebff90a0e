//! Creates the tables of a context's collections, and adds and drops their indexes.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::criteria::Index;
use mamey_core::message::ContextName;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::backfill::backfill;
use super::table::Table;
use crate::common::errors::{not_unique, other_type};
use crate::common::fields::type_name;
use crate::sqlite::commit::transaction::Transaction;
use crate::sqlite::commit::work::{Stop, Work};
use crate::sqlite::error::unique_violation;

const KNOWN_COLLECTION: &str =
    "SELECT id_type FROM mamey_collections WHERE context = ? AND name = ?";
const RECORD_COLLECTION: &str =
    "INSERT INTO mamey_collections (context, name, id_type) VALUES (?, ?, ?)";
const KNOWN_INDEXES: &str = "\
SELECT field, type, is_unique, is_live FROM mamey_indexes WHERE context = ? AND collection = ?";
const RECORD_INDEX: &str = "\
INSERT INTO mamey_indexes (context, collection, field, type, is_unique, is_live)
VALUES (?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET is_unique = excluded.is_unique, is_live = 1";
const RETIRE_INDEX: &str = "\
UPDATE mamey_indexes SET is_live = 0 WHERE context = ? AND collection = ? AND field = ?";

/// Brings all tables of one context to what it declares.
pub(crate) struct Prepare {
    pub(crate) context: ContextName,
    pub(crate) tables: Vec<Arc<Table>>,
}

/// An index as recorded in the file.
struct Known {
    of: String,
    unique: bool,
    live: bool,
}

#[async_trait]
impl Work for Prepare {
    type Output = ();

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Stop<()>> {
        let connection = transaction.connection().await?;
        for table in &self.tables {
            prepare(connection, &self.context, table).await?;
        }
        Ok(())
    }
}

async fn prepare(
    connection: &mut SqliteConnection,
    context: &ContextName,
    table: &Table,
) -> Result<(), Stop<()>> {
    let collection = table.collection;
    let known: Option<String> = sqlx::query_scalar(KNOWN_COLLECTION)
        .bind(context.as_str())
        .bind(collection.name)
        .fetch_optional(&mut *connection)
        .await?;
    match known {
        None => return create(connection, context, table).await,
        Some(of) if of == type_name(collection.id) => {}
        Some(of) => return Err(other_type(collection.name, "id", &of).into()),
    }
    let mut known = known_indexes(connection, context, table).await?;
    for index in collection.indexes {
        let before = known.remove(index.field);
        match before {
            Some(before) if before.of != type_name(index.value) => {
                return Err(other_type(collection.name, index.field, &before.of).into());
            }
            Some(before) if before.live && before.unique == index.unique => continue,
            Some(before) => revive(connection, table, index, &before).await?,
            None => {
                execute(connection, table.add_column(index)).await?;
                backfill(connection, table, index).await?;
            }
        }
        build_index(connection, table, index).await?;
        record(connection, context, table, index).await?;
    }
    let written = |field: &str| table.others.iter().any(|other| other.field == field);
    for (field, _) in known.iter().filter(|(field, known)| known.live && !written(field)) {
        retire(connection, context, table, field).await?;
    }
    Ok(())
}

async fn create(
    connection: &mut SqliteConnection,
    context: &ContextName,
    table: &Table,
) -> Result<(), Stop<()>> {
    execute(connection, table.create()).await?;
    sqlx::query(RECORD_COLLECTION)
        .bind(context.as_str())
        .bind(table.collection.name)
        .bind(type_name(table.collection.id))
        .execute(&mut *connection)
        .await?;
    for index in table.collection.indexes {
        build_index(connection, table, index).await?;
        record(connection, context, table, index).await?;
    }
    Ok(())
}

async fn known_indexes(
    connection: &mut SqliteConnection,
    context: &ContextName,
    table: &Table,
) -> Result<HashMap<String, Known>, sqlx::Error> {
    let rows: Vec<(String, String, bool, bool)> = sqlx::query_as(KNOWN_INDEXES)
        .bind(context.as_str())
        .bind(table.collection.name)
        .fetch_all(connection)
        .await?;
    let known = |(field, of, unique, live)| (field, Known { of, unique, live });
    Ok(rows.into_iter().map(known).collect())
}

/// Drops an index that is built again: its uniqueness has changed, or its values are stale and are
/// filled anew.
async fn revive(
    connection: &mut SqliteConnection,
    table: &Table,
    index: &'static Index,
    before: &Known,
) -> Result<(), Stop<()>> {
    execute(connection, table.drop_index(index.field)).await?;
    if !before.live {
        backfill(connection, table, index).await?;
    }
    Ok(())
}

async fn build_index(
    connection: &mut SqliteConnection,
    table: &Table,
    index: &Index,
) -> Result<(), Stop<()>> {
    match execute(connection, table.create_index(index)).await {
        Err(cause) if unique_violation(&cause).is_some() => {
            Err(not_unique(table.collection.name, index.field).into())
        }
        other => Ok(other?),
    }
}

async fn record(
    connection: &mut SqliteConnection,
    context: &ContextName,
    table: &Table,
    index: &Index,
) -> Result<(), sqlx::Error> {
    sqlx::query(RECORD_INDEX)
        .bind(context.as_str())
        .bind(table.collection.name)
        .bind(index.field)
        .bind(type_name(index.value))
        .bind(index.unique)
        .execute(connection)
        .await
        .map(drop)
}

/// Drops the index of a field that is no longer declared. The column stays and its values become
/// stale, which a unique index must not refuse by.
async fn retire(
    connection: &mut SqliteConnection,
    context: &ContextName,
    table: &Table,
    field: &str,
) -> Result<(), sqlx::Error> {
    execute(connection, table.drop_index(field)).await?;
    sqlx::query(RETIRE_INDEX)
        .bind(context.as_str())
        .bind(table.collection.name)
        .bind(field)
        .execute(connection)
        .await
        .map(drop)
}

async fn execute(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}
