//! Reads what a call answered for each of its units.

use mamey_core::criteria::Value;
use mamey_core::store::{CommitOutcome, CommitToken};
use mamey_core::{Error, Result, Retry};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::work::Document;
use crate::common::errors::{changed, id_taken};

/// What the database did with a unit.
#[derive(Debug)]
pub(crate) enum UnitAnswer {
    Committed {
        transaction: u64,
    },
    Duplicate,
    LaneParked,
    /// A document is at another version.
    Changed {
        collection: &'static str,
        id: Value,
    },
    /// A document's id is taken.
    IdTaken {
        collection: &'static str,
        id: Value,
    },
    /// Another transaction holds what it needs, and it had no turn to look in time.
    Held,
    /// The transaction that the handler opened had ended before the unit could join it.
    NotOpen,
}

impl UnitAnswer {
    /// The answer as a commit gives it.
    pub(crate) fn into_result(self) -> Result<CommitOutcome> {
        match self {
            Self::Committed { transaction } => {
                Ok(CommitOutcome::Committed(CommitToken::new(transaction)))
            }
            Self::Duplicate => Ok(CommitOutcome::Duplicate),
            Self::LaneParked => Ok(CommitOutcome::LaneParked),
            Self::Changed { collection, id } => Err(changed(collection, &id)),
            Self::IdTaken { collection, id } => Err(id_taken(collection, &id)),
            Self::Held => Err(held()),
            Self::NotOpen => Err(not_open()),
        }
    }
}

/// The answer for each of so many units; `document` finds a document by its place in the call.
///
/// The function gives the transaction's number, then three numbers for each refusal: the unit, the
/// reason, and the place of the document; units and places count from 1.
pub(crate) fn read<'w>(
    row: &PgRow,
    units: usize,
    document: impl Fn(usize) -> Option<&'w Document>,
) -> Result<Vec<UnitAnswer>, sqlx::Error> {
    let numbers: Vec<i64> = row.try_get(0)?;
    let (transaction, refusals) = numbers.split_first().ok_or_else(unreadable)?;
    let transaction = transaction.unsigned_abs();
    let mut refused: Vec<Option<(i64, i64)>> = vec![None; units];
    for refusal in refusals.chunks(3) {
        let [unit, reason, place] = refusal else {
            return Err(unreadable());
        };
        let unit = place_of(*unit).and_then(|at| refused.get_mut(at)).ok_or_else(unreadable)?;
        // Alone, the unit would be refused for the reason with the smallest number.
        if unit.is_none_or(|(known, _)| *reason < known) {
            *unit = Some((*reason, *place));
        }
    }
    let answer = |refusal: Option<(i64, i64)>| match refusal {
        None => Ok(UnitAnswer::Committed { transaction }),
        Some((reason, place)) => {
            refusal_of(reason, place_of(place).and_then(&document)).ok_or_else(unreadable)
        }
    };
    refused.into_iter().map(answer).collect()
}

fn refusal_of(reason: i64, document: Option<&Document>) -> Option<UnitAnswer> {
    let concerned = || document.map(|document| (document.collection, document.id.clone()));
    Some(match reason {
        1 | 3 => UnitAnswer::Duplicate,
        2 => UnitAnswer::LaneParked,
        4 => concerned().map(|(collection, id)| UnitAnswer::Changed { collection, id })?,
        5 => concerned().map(|(collection, id)| UnitAnswer::IdTaken { collection, id })?,
        _ => return None,
    })
}

fn held() -> Error {
    let message = "another transaction holds what the unit needs, as it does for many other units";
    Error::conflict(message).with_retry(Retry::Later)
}

/// To run again would end it again.
fn not_open() -> Error {
    let message = "the transaction of `cx.postgres()` is not as it was opened, so the unit of work was not \
        committed: let no statement end it (COMMIT, ROLLBACK) or reset its session (RESET ALL)";
    Error::misconfigured(message).with_retry(Retry::Never)
}

fn unreadable() -> sqlx::Error {
    sqlx::Error::Decode("the answer to a commit has an unknown form".into())
}

/// The place that SQL counts from 1.
fn place_of(number: i64) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}
