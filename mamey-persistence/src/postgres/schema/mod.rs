//! Brings a context's schema to what a build needs, while other builds run and write.
//!
//! What is missing is read first and without a lock, so a complete schema needs no right but to
//! read. Tables, columns and triggers come in one transaction. Indexes of collections in use come
//! afterwards, and the start waits for them. A start that is interrupted anywhere is continued by
//! the next one.

mod backfill;
mod collection;
pub(crate) mod functions;
mod migrate;
pub(crate) mod names;
pub(crate) mod plan;
mod record;
mod script;
mod state;
pub(crate) mod statement;
pub(crate) mod table;
pub(crate) mod tables;
mod trigger;

use std::time::Duration;

use mamey_core::{Error, Result};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::{Instant, sleep};

use self::plan::{Plan, Wanted};
use self::script::script;
use self::statement::execute;
use crate::postgres::connection::shares::Purpose;
use crate::postgres::error::{PERMISSION_DENIED, Stop, code, lock_is_held};
use crate::postgres::shared::Shared;

/// How long a start waits for another instance or a long transaction to finish.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// The pause before the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// One transaction changes a schema at a time. An instance that does not get the lock asks again:
/// waiting for it in a statement would block the concurrent index that the holder is building.
const TRY_LOCK: &str =
    "SELECT pg_try_advisory_xact_lock(hashtextextended('mamey schema ' || $1, 0))";

/// Writers queue behind a lock that is waited for, so the wait is short.
const BEGIN: &str = "\
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL statement_timeout = 0;
SET LOCAL standard_conforming_strings = on;
SET LOCAL lock_timeout = '1s';
SET LOCAL client_min_messages = warning";

/// Makes what is missing.
///
/// # Errors
/// `Misconfigured` for a schema of a build that this one cannot work with, a field that is stored as
/// another type, or a role that may not change the schema; `Unavailable`, `Conflict` and other
/// failures of the database.
pub(crate) async fn prepare(database: &Shared, wanted: &Wanted<'_>) -> Result<()> {
    let made = match make_all(database, wanted).await {
        Ok(()) => touch(database, wanted).await.map_err(Stop::Fail),
        stopped => stopped,
    };
    match made {
        Ok(()) => Ok(()),
        Err(Stop::Refuse(error)) => Err(error),
        Err(Stop::Fail(cause)) if code(&cause).as_deref() == Some(PERMISSION_DENIED) => {
            Err(lacks_rights(database, wanted, cause).await)
        }
        Err(Stop::Fail(cause)) => Err(database.error(cause)),
    }
}

/// What is missing, as SQL for a person to run; empty when nothing is.
///
/// # Errors
/// As [`prepare`].
pub(crate) async fn missing_sql(database: &Shared, wanted: &Wanted<'_>) -> Result<String> {
    let mut lent =
        database.connections.lend(Purpose::Read).await.map_err(|cause| database.error(cause))?;
    let plan = match wanted.look(&mut lent.connection).await {
        Ok(plan) => plan,
        Err(Stop::Refuse(error)) => return Err(error),
        Err(Stop::Fail(cause)) => return Err(database.error(cause)),
    };
    lent.give_back();
    Ok(script(wanted.schema(), &plan))
}

/// Records that the functions of this build are in use.
async fn touch(database: &Shared, wanted: &Wanted<'_>) -> Result<(), sqlx::Error> {
    let touch = AssertSqlSafe(wanted.functions.touch(wanted.schema()));
    database.connections.execute(Purpose::Read, sqlx::query(touch)).await.map(drop)
}

async fn make_all(database: &Shared, wanted: &Wanted<'_>) -> Result<(), Stop> {
    let until = Instant::now() + WAIT_MAX;
    loop {
        // On an error the connection is dropped, and the server rolls its transaction back.
        let mut lent = database.connections.lend(Purpose::Read).await?;
        let plan = wanted.look(&mut lent.connection).await?;
        if plan.at_once.is_empty() {
            lent.give_back();
            return build_all(database, wanted, plan).await;
        }
        let made = make_at_once(&mut lent.connection, wanted).await;
        match made {
            Ok(true) => lent.give_back(),
            Ok(false) | Err(Stop::Fail(_)) if Instant::now() > until => {
                return Err(made.err().unwrap_or_else(|| still_changing(wanted).into()));
            }
            Ok(false) => {
                lent.give_back();
                sleep(RETRY_PAUSE).await;
            }
            Err(Stop::Fail(cause)) if lock_is_held(&cause) => {
                let schema = wanted.schema();
                tracing::info!(schema, %cause, "the schema is in use; trying again");
                drop(lent);
                sleep(RETRY_PAUSE).await;
            }
            Err(stop) => return Err(stop),
        }
    }
}

/// Makes what needs a transaction; false when another instance is changing the schema.
async fn make_at_once(connection: &mut PgConnection, wanted: &Wanted<'_>) -> Result<bool, Stop> {
    execute(connection, BEGIN.to_owned()).await?;
    if !try_lock(connection, wanted.tables.context()).await? {
        execute(connection, "ROLLBACK".to_owned()).await?;
        return Ok(false);
    }
    // Another instance may have made some of it meanwhile.
    let plan = wanted.read(connection).await?;
    for statement in plan.at_once {
        execute(connection, statement).await?;
    }
    execute(connection, "COMMIT".to_owned()).await?;
    Ok(true)
}

/// Adds indexes under a lock of its own, which a connection of its own holds: neither a backfill nor
/// a concurrent index runs within a transaction.
async fn build_all(database: &Shared, wanted: &Wanted<'_>, plan: Plan<'_>) -> Result<(), Stop> {
    if plan.builds.is_empty() {
        return Ok(());
    }
    let mut lock = lock_builds(database, wanted).await?;
    let mut worker = database.connections.connect().await?;
    if database.connections.keeps_sessions() {
        execute(&mut worker, "SET statement_timeout = 0; SET lock_timeout = 0".to_owned()).await?;
    }
    // Another instance may have built some meanwhile.
    for (table, build) in wanted.look(&mut worker).await?.builds {
        tracing::info!(table = table.name, field = build.index.field, "adding an index");
        backfill::build(&mut worker, wanted.tables.context(), table, &build).await?;
        execute(&mut lock, "SELECT 1".to_owned()).await?;
    }
    execute(&mut lock, "COMMIT".to_owned()).await?;
    Ok(())
}

/// A connection that holds the lock until its transaction ends.
///
/// Each try has a transaction of its own: a concurrent index waits for every transaction that ran a
/// statement at the wrong moment, and the instance that builds the index is the one that holds the
/// lock.
async fn lock_builds(database: &Shared, wanted: &Wanted<'_>) -> Result<PgConnection, Stop> {
    let mut lock = database.connections.connect().await?;
    let schema = wanted.schema();
    let of = format!("indexes of {schema}");
    loop {
        execute(&mut lock, BEGIN.to_owned()).await?;
        if try_lock(&mut lock, &of).await? {
            break;
        }
        execute(&mut lock, "ROLLBACK".to_owned()).await?;
        tracing::info!(schema, "waiting for another instance to add indexes");
        sleep(10 * RETRY_PAUSE).await;
    }
    execute(&mut lock, "SET LOCAL idle_in_transaction_session_timeout = 0".to_owned()).await?;
    Ok(lock)
}

async fn try_lock(connection: &mut PgConnection, of: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(TRY_LOCK).persistent(false).bind(of).fetch_one(connection).await
}

async fn lacks_rights(database: &Shared, wanted: &Wanted<'_>, cause: sqlx::Error) -> Error {
    let asked = sqlx::query("SELECT current_user::text");
    let asked = database.connections.fetch_one(Purpose::Read, asked).await;
    let role: String = asked.and_then(|row| row.try_get(0)).unwrap_or_default();
    let schema = wanted.schema();
    Error::misconfigured(format!(
        "the role \"{role}\" may not change the schema {schema} of {}: make the role the \
         schema's owner (CREATE SCHEMA {schema} AUTHORIZATION \"{role}\"), or have an \
         administrator run the SQL that `migration_sql` gives: {cause}",
        database.url
    ))
    .with_source(cause)
}

fn still_changing(wanted: &Wanted<'_>) -> Error {
    let schema = wanted.schema();
    Error::unavailable(format!("another instance is still changing the schema {schema}"))
}
