//! Commits units of work, and finds out what became of one whose answer was lost.

pub(crate) mod batch;
pub(crate) mod committer;
pub(crate) mod functions;
mod lone;
pub(crate) mod work;

use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::store::{
    CommitOutcome, CommitStore, InboxStore, Origin, Outcome, Receipt, UnitOfWork,
};
use mamey_core::{Error, Result};

use self::work::Work;
use crate::common::errors::value_taken;
use crate::postgres::PostgresStore;
use crate::postgres::connection::Open;
use crate::postgres::error::{is_broken, unique_violation};

const IS_PARKED: &str = "SELECT count(*) FROM mamey._parked WHERE id = $1";

#[async_trait]
impl CommitStore for PostgresStore {
    async fn commit(&self, mut unit: UnitOfWork) -> Result<CommitOutcome> {
        let open = unit.transaction.take().map(|transaction| {
            let of_another_store = || Error::misconfigured("the transaction is of another store");
            let open = transaction.take::<Open>();
            open.filter(|it| it.is_of(&self.database.connections)).ok_or_else(of_another_store)
        });
        self.declared.check_unit(&unit)?;
        let work = Arc::new(Work::new(self, unit)?);
        let answer = match open.transpose()? {
            Some(open) => self.committer.commit_open(open, Arc::clone(&work)).await?,
            None => self.committer.commit(Arc::clone(&work)).await?,
        };
        match answer {
            Ok(outcome) => outcome.into_result(),
            Err(cause) => self.failure(&work.unit, cause).await,
        }
    }
}

impl PostgresStore {
    /// What a failure means, and what to say when nobody knows whether it committed.
    async fn failure(&self, unit: &UnitOfWork, cause: Arc<sqlx::Error>) -> Result<CommitOutcome> {
        if is_broken(&cause) && self.took_effect(unit).await {
            return Ok(CommitOutcome::Duplicate);
        }
        Err(self.refused(cause))
    }

    /// What the server's refusal means.
    pub(crate) fn refused(&self, cause: Arc<sqlx::Error>) -> Error {
        if let Some((table, constraint)) = unique_violation(&cause)
            && let Some(table) = self.tables.iter().find(|it| it.collection.name == table)
            && let Some(field) = table.refused_field(&constraint, &cause)
        {
            return value_taken(table.collection.name, &field);
        }
        self.database.error(cause)
    }

    /// Whether the unit's own mark is there, as far as the database can be asked. A call that the
    /// server still works on shows none yet; the same unit waits for it then when it comes again.
    async fn took_effect(&self, unit: &UnitOfWork) -> bool {
        if let Some(receipt) = &unit.receipt {
            return self.was_settled(receipt).await.unwrap_or(false);
        }
        let Some(reply) = &unit.reply else {
            return false;
        };
        let saved = self.saved_reply(reply.command, &reply.key).await;
        saved.is_ok_and(|saved| saved.is_some())
    }

    async fn was_settled(&self, receipt: &Receipt) -> Result<bool> {
        let id = receipt.envelope.metadata.id;
        match (receipt.origin, &receipt.outcome) {
            (Origin::Delivery, _) => self.was_received(id).await,
            // It stays parked either way, and to park it once more changes nothing else.
            (Origin::Parked, Outcome::Park { .. }) => Ok(false),
            (Origin::Parked, _) => {
                Ok(self.number(self.query(IS_PARKED).bind(id.as_uuid())).await? == 0)
            }
        }
    }
}
