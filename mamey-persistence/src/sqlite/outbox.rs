//! Keeps committed messages until the relay has published them.

use std::borrow::Cow;
use std::collections::HashMap;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{Envelope, Partition};
use mamey_core::store::{
    Deletion, Lease, OutboxDepth, OutboxPage, OutboxPlace, OutboxRead, OutboxStore, RecordId,
};
use sqlx::Row;

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::store::SqliteStore;
use crate::sql::rows::{outbox_depth, outbox_page, stored, to_json};

const ENQUEUE: &str = "\
INSERT INTO mamey_outbox (context, id, slot, key, sent_at, metadata, payload)
VALUES (?, ?, ?, ?, ?, ?, ?)";

/// Payloads are fetched by a second look at their rows: a window over them would copy all of them.
const READ: &str = "\
SELECT record.sequence, record.slot, record.key, record.metadata,
  CASE WHEN so_far <= ?6 OR place = 1 THEN record.payload END, record.id
FROM (
  SELECT sequence, row_number() OVER behind AS place, sum(bytes) OVER behind AS so_far
  FROM (
    SELECT sequence, length(payload) AS bytes FROM mamey_outbox
    WHERE context = ?1 AND sequence > ?2 AND (?3 >> slot) & 1
      AND (key IS NULL OR key NOT IN (SELECT value FROM json_each(?4)))
      AND (sequence, hex(id)) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?5))
    ORDER BY sequence LIMIT ?7)
  WINDOW behind AS (ORDER BY sequence ROWS UNBOUNDED PRECEDING)
) AS head CROSS JOIN mamey_outbox AS record ON record.sequence = head.sequence
ORDER BY head.sequence";

/// The last sequence that was drawn, for any context of the file.
const DRAWN: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'mamey_outbox'";

/// The records are found by their sequences, then compared by their ids.
const DELETE_PUBLISHED: &str = "\
DELETE FROM mamey_outbox WHERE sequence IN (
  SELECT record.sequence FROM json_each(?) AS asked
  CROSS JOIN mamey_outbox AS record ON record.sequence = asked.value ->> 0
  WHERE hex(record.id) = asked.value ->> 1 AND record.context = ? AND (? >> record.slot) & 1
    AND EXISTS (
      SELECT 1 FROM mamey_leases
      WHERE context = ? AND role = ? AND number = ? AND partitions = ? AND holder = ?
        AND epoch = ?))";

/// The counter is named `confirmed` in files of every build so far.
const COUNT_PUBLISHED: &str = "\
INSERT INTO mamey_counters (context, name, value) VALUES (?, 'confirmed', ?)
ON CONFLICT DO UPDATE SET value = value + excluded.value";

const DEPTH: &str = "\
SELECT count(*),
  (SELECT sent_at FROM mamey_outbox WHERE context = ?1 ORDER BY sequence LIMIT 1),
  (SELECT value FROM mamey_counters WHERE context = ?1 AND name = 'confirmed')
FROM mamey_outbox WHERE context = ?1";

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage> {
        let partitions = read.leases.iter().map(|lease| lease.partition);
        let limit = read.limit;
        let read = sqlx::query(READ)
            .bind(self.context())
            .bind(stored(read.after))
            .bind(slot_mask(partitions))
            .bind(to_json(&read.skip)?)
            .bind(to_json(&pairs(read.held))?)
            .bind(stored(read.bytes_max as u64))
            .bind(i64::from(limit));
        let drawn = self.database.readers.fetch_optional(sqlx::query(DRAWN)).await;
        let drawn = drawn.and_then(|row| row.map_or(Ok(0), |row| row.try_get::<i64, _>(0)));
        let drawn = drawn.map_err(|cause| self.database.error(cause))?;
        let rows = self.database.readers.fetch_all(read).await;
        let page = rows.and_then(|rows| outbox_page(&rows, limit, str::to_owned));
        let page = page.map_err(|cause| self.database.error(cause))?;
        Ok(page.with_place(OutboxPlace::new(0, drawn.unsigned_abs())))
    }

    async fn delete_published(&self, published: &[(Lease, RecordId)]) -> Result<Deletion> {
        if published.is_empty() {
            return Ok(Deletion::default());
        }
        let mut by_lease: HashMap<Lease, Vec<RecordId>> = HashMap::new();
        for (lease, record) in published {
            by_lease.entry(*lease).or_default().push(*record);
        }
        let context = self.context().to_owned();
        let deleted = self.database.submit(DeletePublished { context, by_lease }).await?;
        Ok(Deletion::of(deleted))
    }

    /// One writer commits at a time, so commits are visible in the order of their sequences.
    async fn outbox_complete_to(&self, read_to: u64) -> Result<u64> {
        Ok(read_to)
    }

    async fn outbox_changed(&self) {
        self.outbox_changed.notified().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        let asked = sqlx::query(DEPTH).bind(self.context());
        let row = self.database.readers.fetch_one(asked).await;
        row.and_then(|row| outbox_depth(&row)).map_err(|cause| self.database.error(cause))
    }
}

/// Adds a message to the outbox at the end of a unit.
pub(super) fn enqueue(script: &mut Script, context: &str, envelope: &Envelope) -> Result<()> {
    let metadata = &envelope.metadata;
    script
        .statement(ENQUEUE, Expect::Anything)
        .bind(context)
        .bind(metadata.id.as_uuid().as_bytes().as_slice())
        .bind(i64::from(metadata.slot()))
        .bind(metadata.key.as_ref().map(|key| key.as_str()))
        .bind(metadata.time.as_micros())
        .bind(to_json(metadata)?)
        .bind(envelope.payload.as_ref());
    Ok(())
}

/// Records as the statements take them: the sequence, and the message's id as `hex` writes it.
fn pairs(records: &[RecordId]) -> Vec<(u64, String)> {
    let hex = |record: &RecordId| format!("{:X}", record.message.as_uuid().simple());
    records.iter().map(|record| (record.sequence, hex(record))).collect()
}

/// The slots of some partitions, one bit each.
pub(super) fn slot_mask(partitions: impl Iterator<Item = Partition>) -> i64 {
    partitions
        .flat_map(Partition::slots)
        .fold(0, |mask, slot| mask | 1_i64.wrapping_shl(u32::from(slot)))
}

/// Deletes records whose lease is still current, and counts them.
struct DeletePublished {
    context: String,
    by_lease: HashMap<Lease, Vec<RecordId>>,
}

#[async_trait]
impl Work for DeletePublished {
    type Output = u64;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<u64, Stop<u64>> {
        let mut script = Script::default();
        let delete: Cow<'_, str> = mamey_core::inject_fault!(
            "epoch-ignored",
            DELETE_PUBLISHED
                .replace("epoch = ?", "epoch <> -?")
                .replace("holder = ?", "? IS NOT NULL")
                .into(),
            DELETE_PUBLISHED.into()
        );
        for (lease, records) in &self.by_lease {
            script
                .statement(&delete, Expect::Anything)
                .bind(to_json(&pairs(records))?)
                .bind(self.context.as_str())
                .bind(slot_mask(std::iter::once(lease.partition)))
                .bind(self.context.as_str())
                .bind(lease.role.as_str())
                .bind(i64::from(lease.partition.number()))
                .bind(i64::from(lease.partition.of()))
                .bind(lease.holder.as_uuid().as_bytes().as_slice())
                .bind(stored(lease.epoch));
        }
        let deleted = script.run(transaction).await?.changes;
        if deleted > 0 {
            let mut script = Script::default();
            script
                .statement(COUNT_PUBLISHED, Expect::Anything)
                .bind(self.context.as_str())
                .bind(stored(deleted));
            script.run(transaction).await?;
        }
        Ok(deleted)
    }
}
