//! Runs several statements in one trip to the connection's thread, each with what must come of it.

use futures_util::TryStreamExt;
use mamey_core::Error;
use mamey_core::criteria::Value;
use mamey_core::store::CommitOutcome;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Either, Encode, Executor, Sqlite, Type};

use super::error::unique_violation;
use super::table::FIELD_PREFIX;
use crate::schema::value_taken;

/// The most statements of one trip.
const STATEMENTS_PER_TRIP_MAX: usize = 64;

/// The most statements of a trip whose preparation is kept. Longer ones hardly come again.
const STATEMENTS_CACHED_MAX: usize = 16;

/// How a unit ends that is not kept.
pub(super) type Refusal = Result<CommitOutcome, Error>;

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
    expected: Vec<Expect>,
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
    /// Counts transactions, for commit tokens.
    pub(super) number: u64,
}

/// What must run before a unit's first statement.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) sql: &'static str,
    pub(super) statements: usize,
}

impl Transaction<'_> {
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
        let full = |trip: &Trip| trip.expected.len() >= STATEMENTS_PER_TRIP_MAX;
        if self.trips.last().is_none_or(full) {
            self.trips.push(Trip::default());
        }
        if let Some(trip) = self.trips.last_mut() {
            trip.sql.push_str(sql);
            trip.sql.push(';');
            trip.expected.push(expected);
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
        if let Some(cause) = self.unencodable {
            return Err(cause);
        }
        let mut changes = 0;
        for trip in self.trips {
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
        let cached = self.expected.len() <= STATEMENTS_CACHED_MAX;
        let query = sqlx::query_with(AssertSqlSafe(sql), self.arguments).persistent(cached);
        let mut steps = transaction.connection.fetch_many(query);
        let mut expected = self.expected.into_iter();
        let (mut rows, mut changes) = (0, 0);
        loop {
            let refusal = match steps.try_next().await {
                Ok(None) => None,
                Ok(Some(Either::Right(_))) => {
                    rows += 1;
                    continue;
                }
                Ok(Some(Either::Left(_))) if to_skip > 0 => {
                    to_skip -= 1;
                    continue;
                }
                Ok(Some(Either::Left(done))) => {
                    let expected = expected.next().unwrap_or(Expect::Anything);
                    let changed = expected.counts(done.rows_affected());
                    changes += changed;
                    match expected.unmet(std::mem::take(&mut rows), changed) {
                        Some(refusal) => Some(refusal),
                        None => continue,
                    }
                }
                Err(cause) if to_skip > 0 => return Err(cause),
                Err(cause) => Some(expected.next().unwrap_or(Expect::Anything).failed(cause)?),
            };
            return Ok(Ran { refusal, changes });
        }
    }
}

impl Expect {
    /// SQLite repeats the last count for statements that change nothing by nature.
    fn counts(&self, changes: u64) -> u64 {
        match self {
            Self::Row(_) | Self::NoRow(_) => 0,
            _ => changes,
        }
    }

    fn unmet(self, rows: u64, changes: u64) -> Option<Refusal> {
        match self {
            Self::Change(refusal) if changes == 0 => Some(refusal),
            Self::Row(refusal) if rows == 0 => Some(refusal),
            Self::NoRow(refusal) if rows > 0 => Some(refusal),
            _ => None,
        }
    }

    /// A taken id or value refuses the unit; any other failure is the transaction's.
    fn failed(self, cause: sqlx::Error) -> Result<Refusal, sqlx::Error> {
        let Some(taken) = unique_violation(&cause) else {
            return Err(cause);
        };
        match (self, taken.column.strip_prefix(FIELD_PREFIX)) {
            (Self::FreeId(error), None) => Ok(Err(error)),
            (_, Some(field)) => Ok(Err(value_taken(&taken.collection, field))),
            (_, None) => Err(cause),
        }
    }
}
