//! Runs several statements in one trip to the connection's thread.

use futures_util::TryStreamExt;
use mamey_core::Error;
use mamey_core::store::CommitOutcome;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Executor};

use super::transaction::Transaction;
use crate::common::errors::value_taken;
use crate::sql::names::FIELD_PREFIX;
use crate::sqlite::error::{is_failed_check, unique_violation};
use crate::sqlite::schema::table::field_of;

/// The most statements of a trip that stays prepared. A longer text is rarely used twice.
const STATEMENTS_CACHED_MAX: usize = 16;

/// Why a unit is not kept: its outcome, or an error.
pub(crate) type Refusal = Result<CommitOutcome, Error>;

/// Statements that are sent together.
#[derive(Default)]
pub(super) struct Trip {
    pub(super) sql: String,
    pub(super) arguments: SqliteArguments,
    pub(super) steps: Vec<Step>,
}

/// One statement of a trip.
pub(super) enum Step {
    /// Its changes count.
    Work,
    /// As `Work`; a taken id refuses the unit.
    Insert(Error),
    /// It fails if the unit must not be kept.
    Check(Refusal),
}

/// The result of a script or a trip.
pub(crate) struct Ran {
    /// The first expectation that did not hold.
    pub(crate) refusal: Option<Refusal>,
    /// How many rows were changed.
    pub(crate) changes: u64,
}

impl Trip {
    /// Runs the statements up to the first that fails.
    pub(super) async fn run(self, transaction: &mut Transaction<'_>) -> Result<Ran, sqlx::Error> {
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
                // A statement that opens the transaction failed: the whole transaction is lost.
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
            (_, Some(field)) => Ok(Err(value_taken(&taken.collection, &field_of(field)))),
            (_, None) => Err(cause),
        }
    }
}
