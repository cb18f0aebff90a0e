//! Brings the fixed tables of a context's schema to what this build needs, step by numbered step.

use mamey_core::{Error, Result};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::error::code;

const LOCK_NOT_AVAILABLE: &str = "55P03";
const DEADLOCK_DETECTED: &str = "40P01";

/// One step, which never changes once it was released.
struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 3] = [
    Migration { number: 1, name: "tables", sql: include_str!("migrations/0001_tables.sql") },
    Migration { number: 2, name: "commit", sql: include_str!("migrations/0002_commit.sql") },
    Migration { number: 3, name: "inbox", sql: include_str!("migrations/0003_inbox.sql") },
];

/// One instance migrates a schema at a time, until the transaction ends.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('mamey schema ' || $1, 0))";

/// Asked first, because a user who may not create schemas may use one that is there.
const SCHEMA_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";

const CREATE_SCHEMA: &str = "CREATE SCHEMA mamey";

const CREATE_MIGRATIONS: &str = "\
CREATE TABLE IF NOT EXISTS mamey._migrations (
    number     bigint PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";

const APPLIED: &str = "SELECT number, checksum FROM mamey._migrations ORDER BY number";

const RECORD: &str = "INSERT INTO mamey._migrations (number, name, checksum) VALUES ($1, $2, $3)";

/// SQL for the context's own schema: `mamey` stands for it.
pub(super) fn in_schema(schema: &str, sql: &str) -> String {
    sql.replace("mamey.", &format!("{schema}."))
}

/// Applies what is missing. The caller's transaction makes it all or nothing.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    context: &str,
    schema: &str,
) -> Result<Result<()>, sqlx::Error> {
    sqlx::query(LOCK).bind(context).execute(&mut *connection).await?;
    let exists: bool =
        sqlx::query_scalar(SCHEMA_EXISTS).bind(context).fetch_one(&mut *connection).await?;
    if !exists {
        execute(connection, CREATE_SCHEMA.replace("mamey", schema)).await?;
    }
    execute(connection, "SET LOCAL client_min_messages = warning".to_owned()).await?;
    execute(connection, in_schema(schema, CREATE_MIGRATIONS)).await?;
    let applied: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(in_schema(schema, APPLIED)))
        .fetch_all(&mut *connection)
        .await?;
    if let Err(refusal) = check(schema, &applied) {
        return Ok(Err(refusal));
    }
    for migration in MIGRATIONS.iter().skip(applied.len()) {
        execute(connection, in_schema(schema, migration.sql)).await?;
        sqlx::query(AssertSqlSafe(in_schema(schema, RECORD)))
            .bind(migration.number)
            .bind(migration.name)
            .bind(checksum(migration.sql))
            .execute(&mut *connection)
            .await?;
    }
    Ok(Ok(()))
}

fn check(schema: &str, applied: &[(i64, String)]) -> Result<()> {
    for (at, (number, sum)) in applied.iter().enumerate() {
        match MIGRATIONS.get(at) {
            Some(known) if known.number == *number && checksum(known.sql) == *sum => {}
            Some(_) => {
                return Err(Error::misconfigured(format!(
                    "migration {number} of schema {schema} is not the one of this build: \
                     the schema was made by another version; use the build that made it"
                )));
            }
            None => {
                return Err(Error::misconfigured(format!(
                    "schema {schema} was migrated by a newer Mamey (migration {number}): \
                     update this build, or go back to a backup"
                )));
            }
        }
    }
    Ok(())
}

pub(super) async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// Whether another transaction held what this one needed for too long.
pub(super) fn lock_is_held(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == LOCK_NOT_AVAILABLE || code == DEADLOCK_DETECTED)
}

/// Tells two texts apart; nobody attacks it.
fn checksum(sql: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, sql.as_bytes()).to_string()
}
