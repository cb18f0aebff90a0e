//! Reads parked messages in the order of their lanes, and dead letters in the order in which they were
//! given up; moves dead letters back.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{MessageIdentity, Partition};
use mamey_core::store::{DeadLetter, DeadLetterStore, ParkedMessage, ParkingStore};
use sqlx::Row;

use super::query::bind::slots;
use super::store::PostgresStore;
use crate::sql::rows::{dead_letter, parked_message};

/// The head of a lane has its smallest position. A message without a lane is always a head.
const DUE: &str = "\
SELECT due, since, attempts, failure, metadata, payload, id::text FROM mamey._parked AS parked
WHERE slot = ANY($1) AND due <= (SELECT mamey._now($2))
  AND (lane IS NULL OR position = (
    SELECT min(position) FROM mamey._parked AS other WHERE other.lane = parked.lane))
ORDER BY due, position LIMIT $3";

const NEXT_DUE: &str = "\
SELECT min(greatest(due::numeric - moment.now, 0))::bigint
FROM mamey._parked AS parked, (SELECT mamey._now($2) AS now) AS moment
WHERE slot = ANY($1)
  AND (lane IS NULL OR position = (
    SELECT min(position) FROM mamey._parked AS other WHERE other.lane = parked.lane))";

const PARKED_COUNT: &str = "SELECT count(*) FROM mamey._parked";

const DEAD_LETTERS: &str = "\
SELECT reason, attempts, first_failed, last_failed, failure, metadata, payload, id::text
FROM mamey._dead_letters
WHERE given_up > coalesce((SELECT given_up FROM mamey._dead_letters WHERE id = $1), 0)
ORDER BY given_up LIMIT $2";

const DEAD_LETTER: &str = "\
SELECT reason, attempts, first_failed, last_failed, failure, metadata, payload, id::text
FROM mamey._dead_letters WHERE id = $1";

const DEAD_LETTER_COUNT: &str = "SELECT count(*) FROM mamey._dead_letters";

/// Of two calls at the same moment, one deletes the row, and only that one moves it.
const REPLAY: &str = "\
WITH deleted AS (DELETE FROM mamey._dead_letters WHERE id = $1 RETURNING *)
INSERT INTO mamey._parked
  (id, position, lane, slot, due, since, attempts, failure, metadata, payload)
SELECT id, position, lane, slot, mamey._now($2), first_failed, 0, failure, metadata, payload
FROM deleted";

const DISCARD: &str = "DELETE FROM mamey._dead_letters WHERE id = $1";

#[async_trait]
impl ParkingStore for PostgresStore {
    async fn due_parked(&self, partitions: &[Partition], limit: u32) -> Result<Vec<ParkedMessage>> {
        let due = self
            .query(DUE)
            .bind(slots(partitions.iter().copied()))
            .bind(self.database.now())
            .bind(i64::from(limit));
        let rows = self.database.connections.fetch_all(due).await;
        rows.and_then(|rows| rows.iter().map(parked_message).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn next_due_in(&self, partitions: &[Partition]) -> Result<Option<Duration>> {
        let next =
            self.query(NEXT_DUE).bind(slots(partitions.iter().copied())).bind(self.database.now());
        let row = self.database.connections.fetch_one(next).await;
        let due = row.and_then(|row| row.try_get::<Option<i64>, _>(0));
        let due = due.map_err(|cause| self.database.error(cause))?;
        Ok(due.map(|micros| Duration::from_micros(micros.unsigned_abs())))
    }

    async fn parked_count(&self) -> Result<u64> {
        self.number(self.query(PARKED_COUNT)).await
    }
}

#[async_trait]
impl DeadLetterStore for PostgresStore {
    async fn dead_letters(
        &self,
        after: Option<MessageIdentity>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>> {
        let after = after.map(|message| message.as_uuid());
        let listed = self.query(DEAD_LETTERS).bind(after).bind(i64::from(limit));
        let rows = self.database.connections.fetch_all(listed).await;
        rows.and_then(|rows| rows.iter().map(dead_letter).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn dead_letter(&self, message: MessageIdentity) -> Result<Option<DeadLetter>> {
        let asked = self.query(DEAD_LETTER).bind(message.as_uuid());
        let row = self.database.connections.fetch_optional(asked).await;
        row.and_then(|row| row.as_ref().map(dead_letter).transpose())
            .map_err(|cause| self.database.error(cause))
    }

    async fn replay_dead_letter(&self, message: MessageIdentity) -> Result<bool> {
        let replay = self.query(REPLAY).bind(message.as_uuid()).bind(self.database.now());
        let moved = self.database.connections.execute(replay).await;
        moved.map(|moved| moved > 0).map_err(|cause| self.database.error(cause))
    }

    async fn discard_dead_letter(&self, message: MessageIdentity) -> Result<bool> {
        let discard = self.query(DISCARD).bind(message.as_uuid());
        let gone = self.database.connections.execute(discard).await;
        gone.map(|gone| gone > 0).map_err(|cause| self.database.error(cause))
    }

    async fn dead_letter_count(&self) -> Result<u64> {
        self.number(self.query(DEAD_LETTER_COUNT)).await
    }
}
