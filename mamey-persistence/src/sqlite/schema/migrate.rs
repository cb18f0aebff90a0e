//! Brings the fixed tables of a file to what this build needs, step by numbered step.

use std::path::Path;
use std::sync::Arc;

use mamey_core::clock::Timestamp;
use mamey_core::store::StoreId;
use mamey_core::{Error, Result};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::sql::migration::checksum;
use crate::sqlite::connection::file::APPLICATION_ID;
use crate::sqlite::error::store_error;

/// One step. It never changes after its release.
struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 2] = [
    Migration { number: 1, name: "tables", sql: include_str!("migrations/0001_tables.sql") },
    Migration { number: 2, name: "checks", sql: include_str!("migrations/0002_checks.sql") },
];

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

const IDENTITY: &str = "SELECT id FROM mamey_identity";

/// What tells the file from another.
pub(crate) async fn identity(connection: &mut SqliteConnection) -> Result<StoreId, sqlx::Error> {
    sqlx::query_scalar(IDENTITY).fetch_one(connection).await.map(StoreId::new)
}

/// Applies what is missing in one transaction; a crash leaves the file as it was.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    now: Timestamp,
) -> Result<()> {
    let failed = |cause| store_error(path, Arc::new(cause));
    execute(connection, "BEGIN IMMEDIATE").await.map_err(failed)?;
    let applied = applied(connection).await.map_err(failed)?;
    check(path, &applied)?;
    let missing = MIGRATIONS.get(applied.len()..).unwrap_or_default();
    apply(connection, missing, now).await.map_err(failed)?;
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
                    "migration {number} of {file} differs from the one of this build: \
                     another version made the file; use the build that made it"
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
    missing: &[Migration],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
    sqlx::raw_sql(AssertSqlSafe(mark)).execute(&mut *connection).await?;
    for migration in missing {
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

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection};

    const NOW: Timestamp = Timestamp::EPOCH;

    async fn open(path: &Path) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        options.connect().await.unwrap()
    }

    async fn objects(connection: &mut SqliteConnection) -> Vec<(String, Option<String>)> {
        let all = "SELECT name, sql FROM sqlite_schema ORDER BY name";
        sqlx::query_as(all).fetch_all(connection).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_of_every_older_version_becomes_like_a_new_one_and_keeps_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.db");
        let mut new = open(&path).await;
        migrate(&mut new, &path, NOW).await.unwrap();
        let expected = objects(&mut new).await;
        for steps in 1..=MIGRATIONS.len() {
            let path = folder.path().join(format!("{steps}.db"));
            let mut old = open(&path).await;
            execute(&mut old, CREATE_MIGRATIONS).await.unwrap();
            apply(&mut old, &MIGRATIONS[..steps], NOW).await.unwrap();
            let row = "INSERT INTO mamey_inbox (context, id, received_at) VALUES ('c', x'01', 2)";
            execute(&mut old, row).await.unwrap();
            old.close().await.unwrap();

            let mut old = open(&path).await;
            migrate(&mut old, &path, NOW).await.unwrap();
            assert_eq!(objects(&mut old).await, expected, "after {steps} steps");
            let kept: i64 = sqlx::query_scalar("SELECT received_at FROM mamey_inbox")
                .fetch_one(&mut old)
                .await
                .unwrap();
            assert_eq!(kept, 2);
        }
    }
}
