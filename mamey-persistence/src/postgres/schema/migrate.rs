//! The numbered migrations of the fixed tables and functions, and which of them a schema lacks.

use mamey_core::{Error, Result};

use super::state::{Applied, State};
use super::statement::in_schema;
use crate::sql::migration::checksum;

/// One migration, which never changes once it was released.
struct Migration {
    number: i64,
    name: &'static str,
    /// The oldest build that can work with the schema afterwards, by the number of its last
    /// migration. In a rolling deploy such a build still runs, and may be started again.
    compatible_from: i64,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 4] = [
    migration(1, "tables", include_str!("migrations/0001_tables.sql")),
    migration(2, "commit", include_str!("migrations/0002_commit.sql")),
    migration(3, "inbox", include_str!("migrations/0003_inbox.sql")),
    migration(4, "indexes", include_str!("migrations/0004_indexes.sql")),
];

/// A migration that earlier builds cannot work with.
const fn migration(number: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration { number, name, compatible_from: number, sql }
}

const CREATE_MIGRATIONS: &str = "\
CREATE TABLE mamey._migrations (
    number          bigint PRIMARY KEY,
    name            text NOT NULL,
    checksum        text NOT NULL,
    compatible_from bigint NOT NULL,
    applied_at      timestamptz NOT NULL DEFAULT now()
)";

/// The statements that bring the schema to what this build needs.
///
/// # Errors
/// `Misconfigured` for a schema of another build that this one cannot work with.
pub(crate) fn plan(schema: &str, state: &State) -> Result<Vec<String>> {
    check(schema, &state.applied)?;
    let mut statements = Vec::new();
    if !state.has_schema {
        statements.push(format!("CREATE SCHEMA {schema}"));
    }
    if !state.has_migrations {
        statements.push(in_schema(schema, CREATE_MIGRATIONS));
    }
    let is_missing = |migration: &&Migration| {
        state.applied.iter().all(|applied| applied.number != migration.number)
    };
    for migration in MIGRATIONS.iter().filter(is_missing) {
        let Migration { number, name, compatible_from, sql } = migration;
        statements.push(in_schema(schema, sql));
        statements.push(format!(
            "INSERT INTO {schema}._migrations (number, name, checksum, compatible_from) \
             VALUES ({number}, '{name}', '{}', {compatible_from})",
            checksum(sql)
        ));
    }
    Ok(statements)
}

fn check(schema: &str, applied: &[Applied]) -> Result<()> {
    let last = MIGRATIONS.last().map_or(0, |migration| migration.number);
    for applied in applied {
        let number = applied.number;
        let known = MIGRATIONS.iter().find(|migration| migration.number == number);
        match known {
            Some(known) if checksum(known.sql) == applied.checksum => {}
            Some(_) => {
                return Err(Error::misconfigured(format!(
                    "migration {number} of schema {schema} is not the one of this build: \
                     another version created the schema; use the build that created it"
                )));
            }
            None if applied.compatible_from <= last => {
                tracing::info!(
                    schema,
                    number,
                    "a newer build has migrated the schema; this build can work with it"
                );
            }
            None => {
                return Err(Error::misconfigured(format!(
                    "schema {schema} was migrated by a newer Mamey (migration {number}), which \
                     this build cannot work with: update this build, or restore a backup"
                )));
            }
        }
    }
    Ok(())
}
