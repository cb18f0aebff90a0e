//! A list of statements, each with the result that it must have.

use mamey_core::Error;
use mamey_core::criteria::Value;
use sqlx::{Arguments, Encode, Sqlite, Type};

use super::transaction::Transaction;
use super::trip::{Ran, Refusal, Step, Trip};

/// The most statements of one trip.
const STATEMENTS_PER_TRIP_MAX: usize = 64;

/// Fails, and with it the unit, for each row that follows: the column takes no NULL. Because the
/// check fails inside SQLite, the commit can be sent in the same trip as the checks.
const FAIL: &str = "INSERT INTO mamey_checks SELECT NULL WHERE";

/// The result that a statement must have; otherwise the script ends with the refusal.
pub(crate) enum Expect {
    /// Any result.
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
pub(crate) struct Script {
    trips: Vec<Trip>,
    /// The first value that could not be encoded; [`Script::bind`] has no other way to say so.
    unencodable: Option<sqlx::Error>,
}

impl Script {
    /// Adds a statement; [`Script::bind`] adds its arguments.
    pub(crate) fn statement(&mut self, sql: &str, expected: Expect) -> &mut Self {
        match expected {
            Expect::Anything => self.step(sql, Step::Work),
            Expect::FreeId(error) => self.step(sql, Step::Insert(error)),
            Expect::Change(refusal) => {
                self.step(sql, Step::Work);
                // The check binds nothing, so what is bound next still belongs to the statement.
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
    pub(crate) fn bind<'t, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'t, Sqlite> + Type<Sqlite>,
    {
        if let Some(trip) = self.trips.last_mut()
            && let Err(cause) = trip.arguments.add(value)
        {
            self.unencodable.get_or_insert(sqlx::Error::Encode(cause));
        }
        self
    }

    /// Gives the last statement a document's value.
    pub(crate) fn bind_value(&mut self, value: &Value) -> &mut Self {
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
    pub(crate) fn bind_values(&mut self, values: &[Value]) -> &mut Self {
        values.iter().fold(self, |script, value| script.bind_value(value))
    }

    /// Runs all statements, up to the first whose expectation does not hold.
    pub(crate) async fn run(self, transaction: &mut Transaction<'_>) -> Result<Ran, sqlx::Error> {
        self.run_with(transaction, None).await
    }

    /// As [`Script::run`], for the last script of a unit: when no unit comes after it, the
    /// transaction ends in the same trip.
    pub(crate) async fn finish(
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
