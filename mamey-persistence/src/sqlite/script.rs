//! Runs several statements in one trip to the connection's thread, each with what must come of it.

use futures_util::TryStreamExt;
use mamey_core::Error;
use mamey_core::criteria::Value;
use mamey_core::store::CommitOutcome;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Encode, Executor, Sqlite, Type};

use super::error::{is_failed_check, unique_violation};
use crate::common::errors::value_taken;
use crate::sql::names::FIELD_PREFIX;

/// The most statements of one trip.
const STATEMENTS_PER_TRIP_MAX: usize = 64;

/// The most statements of a trip whose preparation is kept. Longer ones hardly come again.
const STATEMENTS_CACHED_MAX: usize = 16;

/// How a unit ends that is not kept.
pub(super) type Refusal = Result<CommitOutcome, Error>;

/// Fails, and with it the unit, for each row that follows: the column takes no NULL. A check that
/// fails inside SQLite lets a commit travel in the same trip as what it depends on.
const FAIL: &str = "INSERT INTO mamey_checks SELECT NULL WHERE";

/// What must come of a statement; otherwise the script ends.
pub(super) enum Expect {
    /// Whatever it is.
    Anything,
    /// A row is changed.
    Change(Refusal),
    /// A row is found.
    Row(Refusal),
    /// No row is found.
    NoRow(Refusal),
    /// The id is free.
    FreeId(Error),
}

/// Statements to run in order.
#[derive(Default)]
pub(super) struct Script {
    trips: Vec<Trip>,
    unencodable: Option<sqlx::Error>,
}

#[derive(Default)]
struct Trip {
    sql: String,
    arguments: SqliteArguments,
    steps: Vec<Step>,
}

/// One statement of a trip.
enum Step {
    /// Its changes count.
    Work,
    /// As `Work`; a taken id refuses the unit.
    Insert(Error),
    /// It fails when the unit must not be kept.
    Check(Refusal),
}

/// What came of a script.
pub(super) struct Ran {
    /// The first expectation that did not hold.
    pub(super) refusal: Option<Refusal>,
    /// How many rows were changed.
    pub(super) changes: u64,
}

/// A transaction as the script sees it: the connection, and what is still to be said to it.
pub(super) struct Transaction<'c> {
    pub(super) connection: &'c mut SqliteConnection,
    /// Statements that open the unit. They travel with its first statement to save a trip.
    pub(super) opening: Option<Opening>,
    /// What may travel with the last statement of the transaction's last unit.
    pub(super) closing: Option<&'static str>,
    /// Whether it has ended so.
    pub(super) closed: bool,
    /// Counts transactions, for commit tokens.
    pub(super) number: u64,
}

/// What must run before a unit's first statement.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) sql: &'static str,
    pub(super) statements: usize,
}

impl<'c> Transaction<'c> {
    /// The `number`th, which begins as `opening` says.
    pub(super) fn new(
        connection: &'c mut SqliteConnection,
        opening: Option<Opening>,
        number: u64,
    ) -> Self {
        Self { connection, opening, closing: None, closed: false, number }
    }

    /// The connection, inside the unit.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        if let Some(opening) = self.opening.take() {
            sqlx::raw_sql(opening.sql).execute(&mut *self.connection).await?;
        }
        Ok(self.connection)
    }
}

impl Script {
    /// Adds a statement; its arguments follow by [`Script::bind`].
    pub(super) fn statement(&mut self, sql: &str, expected: Expect) -> &mut Self {
        match expected {
            Expect::Anything => self.step(sql, Step::Work),
            Expect::FreeId(error) => self.step(sql, Step::Insert(error)),
            Expect::Change(refusal) => {
                self.step(sql, Step::Work);
                // It binds nothing, so the arguments of the statement before it follow as they are.
                self.step(&format!("{FAIL} changes() = 0"), Step::Check(refusal))
            }
            Expect::Row(refusal) => {
                self.step(&format!("{FAIL} NOT EXISTS ({sql})"), Step::Check(refusal))
            }
            Expect::NoRow(refusal) => {
                self.step(&format!("{FAIL} EXISTS ({sql})"), Step::Check(refusal))
            }
        }
    }

    fn step(&mut self, sql: &str, step: Step) -> &mut Self {
        let full = |trip: &Trip| trip.steps.len() >= STATEMENTS_PER_TRIP_MAX;
        if self.trips.last().is_none_or(full) {
            self.trips.push(Trip::default());
        }
        if let Some(trip) = self.trips.last_mut() {
            trip.sql.push_str(sql);
            trip.sql.push(';');
            trip.steps.push(step);
        }
        self
    }

    /// Gives the last statement its next argument.
    pub(super) fn bind<'t, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'t, Sqlite> + Type<Sqlite>,
    {
        if let Some(trip) = self.trips.last_mut()
            && let Err(cause) = trip.arguments.add(value)
        {
            self.unencodable = Some(sqlx::Error::Encode(cause));
        }
        self
    }

    /// Gives the last statement a document's value.
    pub(super) fn bind_value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.bind(None::<i64>),
            Value::Bool(value) => self.bind(i64::from(*value)),
            Value::Int(value) => self.bind(*value),
            Value::Float(value) => self.bind(*value),
            Value::Text(value) => self.bind(value.as_str()),
            Value::Uuid(value) => self.bind(value.as_bytes().as_slice()),
            Value::Time(value) => self.bind(value.as_micros()),
        }
    }

    /// Gives the last statement several values.
    pub(super) fn bind_values(&mut self, values: &[Value]) -> &mut Self {
        values.iter().fold(self, |script, value| script.bind_value(value))
    }

    /// Runs all statements, up to the first whose expectation does not hold.
    pub(super) async fn run(self, transaction: &mut Transaction<'_>) -> Result<Ran, sqlx::Error> {
        self.run_with(transaction, None).await
    }

    /// As [`Script::run`], for the last script of a unit: when no unit comes after it, the
    /// transaction ends in the same trip.
    pub(super) async fn finish(
        self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Ran, sqlx::Error> {
        let closing = match self.trips.is_empty() {
            true => None,
            false => transaction.closing.take(),
        };
        let ran = self.run_with(transaction, closing).await?;
        transaction.closed = closing.is_some() && ran.refusal.is_none();
        Ok(ran)
    }

    async fn run_with(
        self,
        transaction: &mut Transaction<'_>,
        closing: Option<&str>,
    ) -> Result<Ran, sqlx::Error> {
        if let Some(cause) = self.unencodable {
            return Err(cause);
        }
        let (mut changes, last) = (0, self.trips.len().saturating_sub(1));
        for (at, mut trip) in self.trips.into_iter().enumerate() {
            if at == last {
                trip.sql.push_str(closing.unwrap_or_default());
            }
            let ran = trip.run(transaction).await?;
            changes += ran.changes;
            if ran.refusal.is_some() {
                let refusal = ran.refusal;
                return Ok(Ran { refusal, changes });
            }
        }
        let refusal = None;
        Ok(Ran { refusal, changes })
    }
}

impl Trip {
    async fn run(self, transaction: &mut Transaction<'_>) -> Result<Ran, sqlx::Error> {
        let opening = transaction.opening.take();
        let mut to_skip = opening.map_or(0, |opening| opening.statements);
        let sql = opening.map_or_else(String::new, |opening| opening.sql.to_owned()) + &self.sql;
        let cached = self.steps.len() <= STATEMENTS_CACHED_MAX;
        let query = sqlx::query_with(AssertSqlSafe(sql), self.arguments).persistent(cached);
        let mut results = transaction.connection.execute_many(query);
        let (mut steps, mut changes) = (self.steps.into_iter(), 0);
        loop {
            match results.try_next().await {
                Ok(None) => return Ok(Ran { refusal: None, changes }),
                Ok(Some(_)) if to_skip > 0 => to_skip -= 1,
                Ok(Some(done)) => {
                    changes += steps.next().map_or(0, |step| step.counts(done.rows_affected()));
                }
                // What opens or closes the transaction concerns all of it.
                Err(cause) if to_skip > 0 => return Err(cause),
                Err(cause) => {
                    let Some(step) = steps.next() else { return Err(cause) };
                    return Ok(Ran { refusal: Some(step.failed(cause)?), changes });
                }
            }
        }
    }
}

impl Step {
    fn counts(&self, changes: u64) -> u64 {
        match self {
            Self::Work | Self::Insert(_) => changes,
            Self::Check(_) => 0,
        }
    }

    /// A check, a taken id or a taken value refuses the unit; any other failure is the transaction's.
    fn failed(self, cause: sqlx::Error) -> Result<Refusal, sqlx::Error> {
        if let Self::Check(refusal) = self {
            return if is_failed_check(&cause) { Ok(refusal) } else { Err(cause) };
        }
        let Some(taken) = unique_violation(&cause) else {
            return Err(cause);
        };
        match (self, taken.column.strip_prefix(FIELD_PREFIX)) {
            (Self::Insert(error), None) => Ok(Err(error)),
            (_, Some(field)) => Ok(Err(value_taken(&taken.collection, field))),
            (_, None) => Err(cause),
        }
    }
}
