//! Adds an index to a live collection: fills the column and builds the index while others write.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgDatabaseError};
use tokio::time::sleep;

use super::collection::Build;
use super::names::index_name;
use super::statement::execute;
use super::table::Table;
use crate::common::errors::{not_of_type, not_unique};
use crate::postgres::error::{Stop, code, unique_violation};

/// How many documents are filled by one transaction, which locks them.
const DOCUMENTS_PER_STEP: u32 = 500;

/// How often to check whether a build that lost its client has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Raised by `_fill`: a field is not written as its type.
const OTHER_TYPE: &str = "MA010";

/// Whether the index exists and is valid, whether it is unique, and whether it is being built.
const LOOK: &str = "\
SELECT coalesce(indisvalid, false), coalesce(indisunique, false), EXISTS (
    SELECT 1 FROM pg_stat_progress_create_index AS progress
    WHERE progress.relid = tables.oid AND progress.pid <> pg_backend_pid())
FROM pg_class AS tables JOIN pg_namespace ON pg_namespace.oid = tables.relnamespace
LEFT JOIN (pg_index JOIN pg_class AS indexes ON indexes.oid = indexrelid AND indexes.relname = $3)
    ON indrelid = tables.oid
WHERE nspname = $1 AND tables.relname = $2";

/// The statements of [`build`] when nothing is in the way, for a person to run.
pub(crate) fn statements(table: &Table, build: &Build) -> Vec<String> {
    let mut statements = Vec::new();
    if build.fills {
        statements.push(fill(table, build));
    }
    statements.push(table.remove_index(build.index.field));
    statements.push(table.build_index(&build.index));
    statements.push(set_ready(table, build));
    statements
}

/// Continues what an earlier start began. The connection must not be in a transaction.
pub(crate) async fn build(
    connection: &mut PgConnection,
    context: &str,
    table: &Table,
    build: &Build,
) -> Result<(), Stop> {
    if build.fills {
        execute(connection, fill(table, build))
            .await
            .map_err(|cause| unfilled(table, build, cause))?;
    }
    loop {
        let (valid, unique, being_built) = look(connection, context, table, build).await?;
        if valid && unique == build.index.unique {
            break;
        }
        if being_built {
            sleep(LOOK_EVERY).await;
            continue;
        }
        // An index whose build was interrupted stays invalid.
        execute(connection, table.remove_index(build.index.field)).await?;
        if let Err(cause) = execute(connection, table.build_index(&build.index)).await {
            return Err(unbuilt(connection, table, build, cause).await?);
        }
    }
    execute(connection, set_ready(table, build)).await?;
    Ok(())
}

async fn look(
    connection: &mut PgConnection,
    context: &str,
    table: &Table,
    build: &Build,
) -> Result<(bool, bool, bool), sqlx::Error> {
    execute(connection, "BEGIN READ ONLY".to_owned()).await?;
    let seen = sqlx::query_as(LOOK)
        .persistent(false)
        .bind(context)
        .bind(table.collection.name)
        .bind(index_name(table.collection, build.index.field))
        .fetch_one(&mut *connection)
        .await?;
    execute(connection, "COMMIT".to_owned()).await?;
    Ok(seen)
}

/// A unique index whose build failed would go on refusing what others write, so it is dropped.
async fn unbuilt(
    connection: &mut PgConnection,
    table: &Table,
    build: &Build,
    cause: sqlx::Error,
) -> Result<Stop, sqlx::Error> {
    if unique_violation(&cause).is_none() {
        return Ok(Stop::Fail(cause));
    }
    execute(connection, table.remove_index(build.index.field)).await?;
    Ok(not_unique(table.collection.name, build.index.field).into())
}

fn unfilled(table: &Table, build: &Build, cause: sqlx::Error) -> Stop {
    if code(&cause).as_deref() != Some(OTHER_TYPE) {
        return Stop::Fail(cause);
    }
    let raised = cause.as_database_error().and_then(|it| it.try_downcast_ref::<PgDatabaseError>());
    let id = raised.and_then(PgDatabaseError::detail).unwrap_or("?");
    Stop::Refuse(not_of_type(table.collection.name, &build.index, id))
}

fn fill(table: &Table, build: &Build) -> String {
    let (schema, name, field) = (&table.schema, table.collection.name, build.index.field);
    format!("CALL {schema}._fill('{name}', '{field}', {DOCUMENTS_PER_STEP})")
}

/// Leaves an index alone that another build has retired meanwhile.
fn set_ready(table: &Table, build: &Build) -> String {
    format!(
        "UPDATE {}._indexes SET state = 'ready', filled_to = NULL \
         WHERE collection = '{}' AND field = '{}' AND state IN ('filling', 'building')",
        table.schema, table.collection.name, build.index.field
    )
}
