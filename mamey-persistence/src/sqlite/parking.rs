//! Keeps parked messages in the order of their lanes, and dead letters in the order in which
//! they were given up.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::message::{MessageIdentity, Partition};
use mamey_core::store::{DeadLetter, DeadLetterStore, ParkedMessage, ParkingStore};
use sqlx::Row;

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::outbox::slot_mask;
use super::query::values::key;
use super::store::SqliteStore;
use crate::sql::rows::{dead_letter, parked_message};

/// A head has the smallest position of its lane; a message without a lane is a head by itself.
const DUE: &str = "\
SELECT due, since, attempts, failure, metadata, payload, hex(id) FROM mamey_parked AS parked
WHERE context = ? AND (? >> slot) & 1 AND due <= ?
  AND (lane IS NULL OR position = (
    SELECT min(position) FROM mamey_parked AS other
    WHERE other.context = parked.context AND other.lane = parked.lane))
ORDER BY due, position LIMIT ?";

const NEXT_DUE: &str = "\
SELECT min(due) FROM mamey_parked AS parked
WHERE context = ? AND (? >> slot) & 1
  AND (lane IS NULL OR position = (
    SELECT min(position) FROM mamey_parked AS other
    WHERE other.context = parked.context AND other.lane = parked.lane))";

const PARKED_COUNT: &str = "SELECT count(*) FROM mamey_parked WHERE context = ?";

const DEAD_LETTERS: &str = "\
SELECT reason, attempts, first_failed, last_failed, failure, metadata, payload, hex(id)
FROM mamey_dead_letters
WHERE context = ?1
  AND given_up > coalesce(
    (SELECT given_up FROM mamey_dead_letters WHERE context = ?1 AND id = ?2), 0)
ORDER BY given_up LIMIT ?3";

const DEAD_LETTER: &str = "\
SELECT reason, attempts, first_failed, last_failed, failure, metadata, payload, hex(id)
FROM mamey_dead_letters WHERE context = ? AND id = ?";

const DEAD_LETTER_COUNT: &str = "SELECT count(*) FROM mamey_dead_letters WHERE context = ?";

const REPLAY: &str = "\
INSERT INTO mamey_parked
  (position, context, id, lane, slot, due, since, attempts, failure, metadata, payload)
SELECT position, context, id, lane, slot, ?, first_failed, 0, failure, metadata, payload
FROM mamey_dead_letters WHERE context = ? AND id = ?";

const DISCARD: &str = "DELETE FROM mamey_dead_letters WHERE context = ? AND id = ?";

#[async_trait]
impl ParkingStore for SqliteStore {
    async fn due_parked(&self, partitions: &[Partition], limit: u32) -> Result<Vec<ParkedMessage>> {
        let due = sqlx::query(DUE)
            .bind(self.context())
            .bind(slot_mask(partitions.iter().copied()))
            .bind(self.database.clock.now().as_micros())
            .bind(i64::from(limit));
        let rows = self.database.readers.fetch_all(due).await;
        rows.and_then(|rows| rows.iter().map(parked_message).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn next_due_in(&self, partitions: &[Partition]) -> Result<Option<Duration>> {
        let now = self.database.clock.now();
        let next =
            sqlx::query(NEXT_DUE).bind(self.context()).bind(slot_mask(partitions.iter().copied()));
        let row = self.database.readers.fetch_one(next).await;
        let due = row.and_then(|row| row.try_get::<Option<i64>, _>(0));
        let due = due.map_err(|cause| self.database.error(cause))?;
        Ok(due.map(|due| Timestamp::from_micros(due).duration_since(now)))
    }

    async fn parked_count(&self) -> Result<u64> {
        self.count(PARKED_COUNT).await
    }
}

#[async_trait]
impl DeadLetterStore for SqliteStore {
    async fn dead_letters(
        &self,
        after: Option<MessageIdentity>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>> {
        let listed = sqlx::query(DEAD_LETTERS)
            .bind(self.context())
            .bind(after.map(key))
            .bind(i64::from(limit));
        let rows = self.database.readers.fetch_all(listed).await;
        rows.and_then(|rows| rows.iter().map(dead_letter).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn dead_letter(&self, message: MessageIdentity) -> Result<Option<DeadLetter>> {
        let asked = sqlx::query(DEAD_LETTER).bind(self.context()).bind(key(message));
        let row = self.database.readers.fetch_optional(asked).await;
        row.and_then(|row| row.as_ref().map(dead_letter).transpose())
            .map_err(|cause| self.database.error(cause))
    }

    async fn replay_dead_letter(&self, message: MessageIdentity) -> Result<bool> {
        let due = Some(self.database.clock.now());
        self.end_dead_letter(message, due).await
    }

    async fn discard_dead_letter(&self, message: MessageIdentity) -> Result<bool> {
        self.end_dead_letter(message, None).await
    }

    async fn dead_letter_count(&self) -> Result<u64> {
        self.count(DEAD_LETTER_COUNT).await
    }
}

impl SqliteStore {
    async fn end_dead_letter(
        &self,
        message: MessageIdentity,
        replay_due: Option<Timestamp>,
    ) -> Result<bool> {
        let context = self.context().to_owned();
        let end = EndDeadLetter { context, message, replay_due };
        self.database.submit(end).await
    }
}

/// Deletes a dead letter, and parks its message again when it is replayed.
struct EndDeadLetter {
    context: String,
    message: MessageIdentity,
    replay_due: Option<Timestamp>,
}

#[async_trait]
impl Work for EndDeadLetter {
    type Output = bool;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<bool, Stop<bool>> {
        let mut script = Script::default();
        if let Some(due) = self.replay_due {
            script.statement(REPLAY, Expect::Anything).bind(due.as_micros());
            script.bind(self.context.as_str()).bind(key(self.message));
        }
        script.statement(DISCARD, Expect::Anything);
        script.bind(self.context.as_str()).bind(key(self.message));
        Ok(script.run(transaction).await?.changes > 0)
    }
}
