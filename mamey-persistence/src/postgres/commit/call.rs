//! The call that commits some units: the lean one for a lone unit of the usual shape, or a batch.

use std::sync::Arc;

use sqlx::postgres::PgRow;

use super::answer::UnitAnswer;
use super::batch::Batch;
use super::functions::Calls;
use super::lone::Lone;
use super::terms::Terms;
use super::work::Work;
use crate::postgres::query::bind::PgQuery;

/// The call for some units, which have nothing in common.
pub(crate) enum Call<'w> {
    Lone(Lone<'w>),
    Batch(Batch<'w>),
}

impl<'w> Call<'w> {
    pub(crate) fn of(works: &'w [Arc<Work>]) -> Self {
        let lone = match works {
            [work] => Lone::of(work),
            _ => None,
        };
        match lone {
            Some(lone) => Self::Lone(lone),
            None => Self::Batch(Batch::of(works)),
        }
    }

    /// The call of a function.
    pub(crate) fn query(&self, calls: &Calls, terms: &Terms<'_>) -> PgQuery<'static> {
        match self {
            Self::Lone(lone) => lone.query(&calls.lone, terms),
            Self::Batch(batch) => batch.query(&calls.batch, terms),
        }
    }

    /// What the function answered for each unit.
    pub(crate) fn answers(&self, row: &PgRow) -> Result<Vec<UnitAnswer>, sqlx::Error> {
        match self {
            Self::Lone(lone) => lone.answers(row),
            Self::Batch(batch) => batch.answers(row),
        }
    }
}
