//! Creates the tables of a context's collections, and adds and drops their indexes.

use std::collections::HashMap;

use mamey_core::Error;
use mamey_core::domain::Index;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::backfill::backfill;
use super::error::unique_violation;
use super::migrate::{execute, in_schema};
use super::table::{Table, type_name};

const KNOWN_COLLECTION: &str = "SELECT id_type FROM mamey._collections WHERE name = $1";
const RECORD_COLLECTION: &str = "INSERT INTO mamey._collections (name, id_type) VALUES ($1, $2)";
const KNOWN_INDEXES: &str =
    "SELECT field, type, is_unique, is_live FROM mamey._indexes WHERE collection = $1";
const RECORD_INDEX: &str = "\
INSERT INTO mamey._indexes (collection, field, type, is_unique, is_live)
VALUES ($1, $2, $3, $4, true)
ON CONFLICT (collection, field) DO UPDATE SET is_unique = excluded.is_unique, is_live = true";
const RETIRE_INDEX: &str =
    "UPDATE mamey._indexes SET is_live = false WHERE collection = $1 AND field = $2";

/// Why the preparation of a context stopped.
pub(super) enum Stop {
    /// What it declares does not go with what is stored.
    Refuse(Error),
    /// The database failed.
    Fail(sqlx::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refuse(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(cause: sqlx::Error) -> Self {
        Self::Fail(cause)
    }
}

/// An index as the database knows it.
struct Known {
    of: String,
    unique: bool,
    live: bool,
}

pub(super) async fn prepare(
    connection: &mut PgConnection,
    schema: &str,
    table: &Table,
) -> Result<(), Stop> {
    let collection = table.collection;
    let known: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(in_schema(schema, KNOWN_COLLECTION)))
            .bind(collection.name)
            .fetch_optional(&mut *connection)
            .await?;
    match known {
        None => return create(connection, schema, table).await,
        Some(of) if of == type_name(collection.id) => {}
        Some(of) => return Err(other_type(collection.name, "id", &of).into()),
    }
    let mut known = known_indexes(connection, schema, table).await?;
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
        record(connection, schema, table, index).await?;
    }
    for (field, _) in known.iter().filter(|(_, known)| known.live) {
        retire(connection, schema, table, field).await?;
    }
    Ok(())
}

async fn create(connection: &mut PgConnection, schema: &str, table: &Table) -> Result<(), Stop> {
    execute(connection, table.create()).await?;
    sqlx::query(AssertSqlSafe(in_schema(schema, RECORD_COLLECTION)))
        .bind(table.collection.name)
        .bind(type_name(table.collection.id))
        .execute(&mut *connection)
        .await?;
    for index in table.collection.indexes {
        build_index(connection, table, index).await?;
        record(connection, schema, table, index).await?;
    }
    Ok(())
}

async fn known_indexes(
    connection: &mut PgConnection,
    schema: &str,
    table: &Table,
) -> Result<HashMap<String, Known>, sqlx::Error> {
    let rows: Vec<(String, String, bool, bool)> =
        sqlx::query_as(AssertSqlSafe(in_schema(schema, KNOWN_INDEXES)))
            .bind(table.collection.name)
            .fetch_all(connection)
            .await?;
    let known = |(field, of, unique, live)| (field, Known { of, unique, live });
    Ok(rows.into_iter().map(known).collect())
}

/// Changes an index that is there: its uniqueness, or its values when they were not kept up.
async fn revive(
    connection: &mut PgConnection,
    table: &Table,
    index: &Index,
    before: &Known,
) -> Result<(), Stop> {
    execute(connection, table.drop_index(index.field)).await?;
    if !before.live {
        backfill(connection, table, index).await?;
    }
    Ok(())
}

async fn build_index(
    connection: &mut PgConnection,
    table: &Table,
    index: &Index,
) -> Result<(), Stop> {
    match execute(connection, table.create_index(index)).await {
        Err(cause) if unique_violation(&cause).is_some() => {
            let (name, field) = (table.collection.name, index.field);
            Err(Stop::Refuse(Error::misconfigured(format!(
                "`{field}` of `{name}` cannot become unique, because two documents have the same \
                 value: change one of them with the earlier build first"
            ))))
        }
        other => Ok(other?),
    }
}

async fn record(
    connection: &mut PgConnection,
    schema: &str,
    table: &Table,
    index: &Index,
) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(in_schema(schema, RECORD_INDEX)))
        .bind(table.collection.name)
        .bind(index.field)
        .bind(type_name(index.value))
        .bind(index.unique)
        .execute(connection)
        .await
        .map(drop)
}

/// The column stays, and its values grow stale; a unique index must not judge by them.
async fn retire(
    connection: &mut PgConnection,
    schema: &str,
    table: &Table,
    field: &str,
) -> Result<(), sqlx::Error> {
    execute(connection, table.drop_index(field)).await?;
    sqlx::query(AssertSqlSafe(in_schema(schema, RETIRE_INDEX)))
        .bind(table.collection.name)
        .bind(field)
        .execute(connection)
        .await
        .map(drop)
}

fn other_type(collection: &str, field: &str, of: &str) -> Error {
    Error::misconfigured(format!(
        "`{field}` of `{collection}` is stored as {of}: keep that type, \
         or give the field or the collection another name"
    ))
}
