//! Commits units of work, and finds out what became of one whose answer was lost.
//!
//! A unit is made ready (`work.rs`, with what it claims in `claims.rs`) and handed to the committer
//! (`committer.rs`), which asks `grouping.rs` who goes together. Each group is one call (`call.rs`):
//! a lone unit of the usual shape by `lone.rs`, any other group by `batch.rs`. The functions that
//! they call take all locks, check versions and parked lanes, and write (`functions/*.sql`);
//! `answer.rs` reads what became of each unit.

mod answer;
mod batch;
mod call;
mod claims;
pub(crate) mod committer;
pub(crate) mod functions;
mod grouping;
pub(crate) mod locks;
mod lone;
mod receipt;
pub(crate) mod work;

use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::store::{
    CommitOutcome, CommitStore, InboxStore, Origin, Outcome, Receipt, UnitOfWork,
};
use mamey_core::{Error, Result};

use self::work::Work;
use super::connection::lending::LentTransaction;
use super::error::{is_broken, unique_violation};
use super::store::PostgresStore;
use crate::common::errors::value_taken;

const IS_PARKED: &str = "SELECT count(*) FROM mamey._parked WHERE id = $1";

#[async_trait]
impl CommitStore for PostgresStore {
    async fn commit(&self, mut unit: UnitOfWork) -> Result<CommitOutcome> {
        let open = unit.transaction.take().map(|transaction| {
            let of_another_store = || Error::misconfigured("the transaction is of another store");
            let open = transaction.take::<LentTransaction>();
            open.filter(|it| it.is_of(&self.database.connections)).ok_or_else(of_another_store)
        });
        self.tables.declared.check_unit(&unit)?;
        let work = Arc::new(Work::new(&self.tables, unit)?);
        let answer = match open.transpose()? {
            Some(open) => self.committer.commit_open(open, Arc::clone(&work)).await?,
            None => self.committer.commit(Arc::clone(&work)).await?,
        };
        match answer {
            Ok(answer) => answer.into_result(),
            Err(cause) => self.failure(&work.unit, cause).await,
        }
    }
}

impl PostgresStore {
    /// The outcome after a failure. After a lost answer the unit's mark shows whether it committed.
    async fn failure(&self, unit: &UnitOfWork, cause: Arc<sqlx::Error>) -> Result<CommitOutcome> {
        if is_broken(&cause) && self.took_effect(unit).await {
            return Ok(CommitOutcome::Duplicate);
        }
        Err(self.refused(cause))
    }

    /// What the server's refusal means.
    pub(crate) fn refused(&self, cause: Arc<sqlx::Error>) -> Error {
        if let Some((table, constraint)) = unique_violation(&cause)
            && let Some(table) = self.tables.all.iter().find(|it| it.collection.name == table)
            && let Some(field) = table.refused_field(&constraint, &cause)
        {
            return value_taken(table.collection.name, &field);
        }
        self.database.error(cause)
    }

    /// Whether the unit's own mark exists, as far as the database can be asked. While the server
    /// still works on the call there is none; the unit then waits for that call when it comes again.
    async fn took_effect(&self, unit: &UnitOfWork) -> bool {
        if let Some(receipt) = &unit.receipt {
            return self.was_recorded(receipt).await.unwrap_or(false);
        }
        let Some(reply) = &unit.reply else {
            return false;
        };
        let saved = self.saved_reply(reply.command, &reply.key).await;
        saved.is_ok_and(|saved| saved.is_some())
    }

    async fn was_recorded(&self, receipt: &Receipt) -> Result<bool> {
        let message = receipt.identity;
        match (receipt.origin, &receipt.outcome) {
            (Origin::Delivery, _) => self.was_received(message).await,
            // It stays parked either way, and parking it once more changes nothing else.
            (Origin::Parked, Outcome::Park { .. }) => Ok(false),
            (Origin::Parked, _) => {
                Ok(self.number(self.query(IS_PARKED).bind(message.as_uuid())).await? == 0)
            }
        }
    }
}
