//! Brings the fixed tables of a file to what this build needs, step by numbered step.

use std::path::Path;
use std::sync::Arc;

use mamey_core::clock::Timestamp;
use mamey_core::{Error, Result};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::connection::APPLICATION_ID;
use super::error::store_error;

/// One step, which never changes once it was released.
struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 1] =
    [Migration { number: 1, name: "tables", sql: include_str!("migrations/0001_tables.sql") }];

const CREATE_MIGRATIONS: &str = "\
CREATE TABLE IF NOT EXISTS mamey_migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";

const APPLIED: &str = "SELECT number, checksum FROM mamey_migrations ORDER BY number";

const RECORD: &str =
    "INSERT INTO mamey_migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)";

/// Applies what is missing in one transaction; a crash leaves the file as it was.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    now: Timestamp,
) -> Result<()> {
    let failed = |cause| store_error(path, Arc::new(cause));
    execute(connection, "BEGIN IMMEDIATE").await.map_err(failed)?;
    let applied = applied(connection).await.map_err(failed)?;
    check(path, &applied)?;
    apply(connection, applied.len(), now).await.map_err(failed)?;
    execute(connection, "COMMIT").await.map_err(failed)
}

async fn applied(connection: &mut SqliteConnection) -> Result<Vec<(i64, String)>, sqlx::Error> {
    execute(connection, CREATE_MIGRATIONS).await?;
    sqlx::query_as(APPLIED).fetch_all(connection).await
}

fn check(path: &Path, applied: &[(i64, String)]) -> Result<()> {
    let file = path.display();
    for (at, (number, sum)) in applied.iter().enumerate() {
        match MIGRATIONS.get(at) {
            Some(known) if known.number == *number && checksum(known.sql) == *sum => {}
            Some(_) => {
                return Err(Error::misconfigured(format!(
                    "migration {number} of {file} is not the one of this build: \
                     the file was made by another version; use the build that made it"
                )));
            }
            None => {
                return Err(Error::misconfigured(format!(
                    "{file} was written by a newer Mamey (migration {number}): \
                     update this build, or go back to a copy of the file"
                )));
            }
        }
    }
    Ok(())
}

async fn apply(
    connection: &mut SqliteConnection,
    applied: usize,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
    sqlx::raw_sql(AssertSqlSafe(mark)).execute(&mut *connection).await?;
    for migration in MIGRATIONS.iter().skip(applied) {
        execute(connection, migration.sql).await?;
        sqlx::query(RECORD)
            .bind(migration.number)
            .bind(migration.name)
            .bind(checksum(migration.sql))
            .bind(now.as_micros())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

/// Tells two texts apart; nobody attacks it.
fn checksum(sql: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, sql.as_bytes()).to_string()
}
