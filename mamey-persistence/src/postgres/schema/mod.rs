//! Brings a context's schema to what a build needs, beside other builds and while they write.
//!
//! What is missing is found first and without a lock, so a schema that is complete asks for no right
//! but to read. Tables, columns and triggers then come in one transaction. Indexes of collections
//! that are in use come afterwards, and the start waits for them. A start that is cut off anywhere is
//! taken up by the next.

mod backfill;
mod collection;
pub(crate) mod migrate;
pub(crate) mod state;
pub(crate) mod table;

use std::time::Duration;

use mamey_core::message::ContextName;
use mamey_core::{Error, Result};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::{Instant, sleep};

use self::collection::Missing;
use self::migrate::execute;
use self::state::State;
use self::table::Table;
use crate::postgres::commit::functions::Functions;
use crate::postgres::error::{PERMISSION_DENIED, code, lock_is_held};
use crate::postgres::{Shared, Stop};

/// How long a start waits for another instance or a long transaction to make way.
const MAKE_WAY_MAX: Duration = Duration::from_mins(2);

/// The pause before the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// One transaction changes a schema at a time. Whoever cannot have the lock asks again: to wait for
/// it in a statement would hold up the concurrent index for which its holder waits.
const TRY_LOCK: &str =
    "SELECT pg_try_advisory_xact_lock(hashtextextended('mamey schema ' || $1, 0))";

/// Writers queue behind a lock that is waited for, so the wait is short.
const BEGIN: &str = "\
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '1s';
SET LOCAL client_min_messages = warning";

const LOOK: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What one context needs.
pub(crate) struct Wanted<'w> {
    context: &'w ContextName,
    /// The quoted name of the context's schema.
    schema: &'w str,
    tables: &'w [Table],
    functions: &'w Functions,
}

/// All that a schema lacks.
struct Plan<'w> {
    at_once: Vec<String>,
    builds: Vec<(&'w Table, collection::Build)>,
}

impl<'w> Wanted<'w> {
    /// `schema` is the quoted name.
    pub(crate) fn new(
        context: &'w ContextName,
        schema: &'w str,
        tables: &'w [Table],
        functions: &'w Functions,
    ) -> Self {
        Self { context, schema, tables, functions }
    }

    fn plan(&self, state: &State) -> Result<Plan<'w>> {
        let mut at_once = migrate::plan(self.schema, state)?;
        let mut builds = Vec::new();
        for table in self.tables {
            let missing: Missing = collection::plan(table, state)?;
            at_once.extend(missing.at_once);
            builds.extend(missing.builds.into_iter().map(|build| (table, build)));
        }
        at_once.extend(self.functions.plan(self.schema, state));
        Ok(Plan { at_once, builds })
    }

    /// What is missing, as one moment shows it.
    async fn look(&self, connection: &mut PgConnection) -> Result<Plan<'w>, Stop> {
        execute(connection, LOOK.to_owned()).await?;
        let plan = self.read(connection).await?;
        execute(connection, "COMMIT".to_owned()).await?;
        Ok(plan)
    }

    /// As [`Wanted::look`], within the caller's transaction.
    async fn read(&self, connection: &mut PgConnection) -> Result<Plan<'w>, Stop> {
        let state = State::read(connection, self.context.as_str(), self.schema).await?;
        Ok(self.plan(&state)?)
    }
}

impl Shared {
    /// Makes what is missing.
    pub(crate) async fn prepare(&self, wanted: &Wanted<'_>) -> Result<()> {
        let made = match self.make_all(wanted).await {
            Ok(()) => self.touch(wanted).await.map_err(Stop::Fail),
            stopped => stopped,
        };
        match made {
            Ok(()) => Ok(()),
            Err(Stop::Refuse(error)) => Err(error),
            Err(Stop::Fail(cause)) if code(&cause).as_deref() == Some(PERMISSION_DENIED) => {
                Err(self.lacks_rights(wanted, cause).await)
            }
            Err(Stop::Fail(cause)) => Err(self.error(cause)),
        }
    }

    /// Says that the functions of this build are in use.
    async fn touch(&self, wanted: &Wanted<'_>) -> Result<(), sqlx::Error> {
        let touch = AssertSqlSafe(wanted.functions.touch(wanted.schema));
        self.connections.execute(sqlx::query(touch)).await.map(drop)
    }

    /// What is missing, as SQL for a person to run; empty when nothing is.
    pub(crate) async fn missing_sql(&self, wanted: &Wanted<'_>) -> Result<String> {
        let mut lent = self.connections.lend().await.map_err(|cause| self.error(cause))?;
        let plan = match wanted.look(&mut lent.connection).await {
            Ok(plan) => plan,
            Err(Stop::Refuse(error)) => return Err(error),
            Err(Stop::Fail(cause)) => return Err(self.error(cause)),
        };
        lent.give_back();
        Ok(script(wanted, &plan))
    }

    async fn make_all(&self, wanted: &Wanted<'_>) -> Result<(), Stop> {
        let until = Instant::now() + MAKE_WAY_MAX;
        loop {
            // Dropped on an error, the connection takes its transaction with it.
            let mut lent = self.connections.lend().await?;
            let plan = wanted.look(&mut lent.connection).await?;
            if plan.at_once.is_empty() {
                lent.give_back();
                return self.build_all(wanted, plan).await;
            }
            let made = make_at_once(&mut lent.connection, wanted).await;
            match made {
                Ok(true) => lent.give_back(),
                Ok(false) | Err(Stop::Fail(_)) if Instant::now() > until => {
                    return Err(made.err().unwrap_or_else(|| held_up(wanted).into()));
                }
                Ok(false) => {
                    lent.give_back();
                    sleep(RETRY_PAUSE).await;
                }
                Err(Stop::Fail(cause)) if lock_is_held(&cause) => {
                    tracing::info!(schema = wanted.schema, %cause, "the schema is in use; trying again");
                    drop(lent);
                    sleep(RETRY_PAUSE).await;
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Builds what is missing under a lock of its own, which a connection of its own holds: neither
    /// a backfill nor a concurrent index runs within a transaction.
    async fn build_all(&self, wanted: &Wanted<'_>, plan: Plan<'_>) -> Result<(), Stop> {
        if plan.builds.is_empty() {
            return Ok(());
        }
        let mut lock = self.lock_builds(wanted).await?;
        let mut worker = self.connections.connect().await?;
        if self.connections.keeps_sessions() {
            execute(&mut worker, "SET statement_timeout = 0".to_owned()).await?;
        }
        // Another instance may have built some meanwhile.
        for (table, build) in wanted.look(&mut worker).await?.builds {
            tracing::info!(table = table.name, field = build.index.field, "adding an index");
            backfill::build(&mut worker, wanted.context.as_str(), table, &build).await?;
            execute(&mut lock, "SELECT 1".to_owned()).await?;
        }
        execute(&mut lock, "COMMIT".to_owned()).await?;
        Ok(())
    }

    /// A connection that holds the lock until its transaction ends.
    ///
    /// Each try has a transaction of its own: a concurrent index waits for the end of any that ran a
    /// statement at the wrong moment, and its builder is who this waits for.
    async fn lock_builds(&self, wanted: &Wanted<'_>) -> Result<PgConnection, Stop> {
        let mut lock = self.connections.connect().await?;
        let of = format!("indexes of {}", wanted.schema);
        loop {
            execute(&mut lock, BEGIN.to_owned()).await?;
            if try_lock(&mut lock, &of).await? {
                break;
            }
            execute(&mut lock, "ROLLBACK".to_owned()).await?;
            tracing::info!(schema = wanted.schema, "waiting for another instance to add indexes");
            sleep(10 * RETRY_PAUSE).await;
        }
        execute(&mut lock, "SET LOCAL idle_in_transaction_session_timeout = 0".to_owned()).await?;
        Ok(lock)
    }

    async fn lacks_rights(&self, wanted: &Wanted<'_>, cause: sqlx::Error) -> Error {
        let asked = self.connections.fetch_one(sqlx::query("SELECT current_user::text")).await;
        let role: String = asked.and_then(|row| row.try_get(0)).unwrap_or_default();
        let schema = wanted.schema;
        Error::misconfigured(format!(
            "the role \"{role}\" may not change the schema {schema} of {}: make the role the \
             schema's owner (CREATE SCHEMA {schema} AUTHORIZATION \"{role}\"), or have an \
             administrator run the SQL that `migration_sql` gives: {cause}",
            self.place
        ))
        .with_source(cause)
    }
}

/// Makes what needs a transaction; false when another instance is at it.
async fn make_at_once(connection: &mut PgConnection, wanted: &Wanted<'_>) -> Result<bool, Stop> {
    execute(connection, BEGIN.to_owned()).await?;
    if !try_lock(connection, wanted.context.as_str()).await? {
        execute(connection, "ROLLBACK".to_owned()).await?;
        return Ok(false);
    }
    // Another instance may have made some meanwhile.
    let plan = wanted.read(connection).await?;
    for statement in plan.at_once {
        execute(connection, statement).await?;
    }
    execute(connection, "COMMIT".to_owned()).await?;
    Ok(true)
}

async fn try_lock(connection: &mut PgConnection, of: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(TRY_LOCK).persistent(false).bind(of).fetch_one(connection).await
}

fn held_up(wanted: &Wanted<'_>) -> Error {
    Error::unavailable(format!("another instance is still changing the schema {}", wanted.schema))
}

/// The plan for `psql`, which stops at the first error and may run it again.
fn script(wanted: &Wanted<'_>, plan: &Plan<'_>) -> String {
    if plan.at_once.is_empty() && plan.builds.is_empty() {
        return String::new();
    }
    let schema = wanted.schema;
    let mut text = format!(
        "-- What the schema {schema} lacks. Run it with: psql -v ON_ERROR_STOP=1 -f FILE\n\
         -- Afterwards let the service's role, here app, use it:\n\
         --   GRANT USAGE ON SCHEMA {schema} TO app;\n\
         --   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO app;\n\
         --   GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO app;\n"
    );
    if !plan.at_once.is_empty() {
        text.push_str("\nBEGIN;\nSET LOCAL lock_timeout = '1s';\n\n");
        for statement in &plan.at_once {
            text.push_str(statement.trim_end().trim_end_matches(';'));
            text.push_str(";\n\n");
        }
        text.push_str("COMMIT;\n");
    }
    for (table, build) in &plan.builds {
        text.push_str("\n-- Not within a transaction.\n");
        for statement in backfill::statements(table, build) {
            text.push_str(&statement);
            text.push_str(";\n");
        }
    }
    text
}
