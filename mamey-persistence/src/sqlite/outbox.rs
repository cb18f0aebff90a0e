//! Keeps committed messages until the relay has published them.

use std::borrow::Cow;
use std::collections::HashMap;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{Envelope, Partition};
use mamey_core::store::{Lease, OutboxDepth, OutboxPage, OutboxRead, OutboxStore};

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::store::SqliteStore;
use crate::sql::rows::{outbox_depth, outbox_page, stored, to_json};

const ENQUEUE: &str = "\
INSERT INTO mamey_outbox (context, slot, key, sent_at, metadata, payload)
VALUES (?, ?, ?, ?, ?, ?)";

/// Payloads are fetched by a second look at their rows: a window over them would copy all of them.
const READ: &str = "\
SELECT record.sequence, record.slot, record.key, record.metadata,
  CASE WHEN so_far <= ?6 OR place = 1 THEN record.payload END
FROM (
  SELECT sequence, row_number() OVER behind AS place, sum(bytes) OVER behind AS so_far
  FROM (
    SELECT sequence, length(payload) AS bytes FROM mamey_outbox
    WHERE context = ?1 AND sequence > ?2 AND (?3 >> slot) & 1
      AND (key IS NULL OR key NOT IN (SELECT value FROM json_each(?4)))
      AND sequence NOT IN (SELECT value FROM json_each(?5))
    ORDER BY sequence LIMIT ?7)
  WINDOW behind AS (ORDER BY sequence ROWS UNBOUNDED PRECEDING)
) AS head CROSS JOIN mamey_outbox AS record ON record.sequence = head.sequence
ORDER BY head.sequence";

const DELETE_PUBLISHED: &str = "\
DELETE FROM mamey_outbox
WHERE sequence IN (SELECT value FROM json_each(?))
  AND context = ? AND (? >> slot) & 1
  AND EXISTS (
    SELECT 1 FROM mamey_leases
    WHERE context = ? AND role = ? AND number = ? AND partitions = ? AND epoch = ?)";

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
            .bind(to_json(&read.held)?)
            .bind(stored(read.bytes_max as u64))
            .bind(i64::from(limit));
        let rows = self.database.readers.fetch_all(read).await;
        rows.and_then(|rows| outbox_page(&rows, limit, str::to_owned))
            .map_err(|cause| self.database.error(cause))
    }

    async fn delete_published(&self, published: &[(Lease, u64)]) -> Result<u64> {
        if published.is_empty() {
            return Ok(0);
        }
        let mut by_lease: HashMap<Lease, Vec<u64>> = HashMap::new();
        for (lease, sequence) in published {
            by_lease.entry(*lease).or_default().push(*sequence);
        }
        let context = self.context().to_owned();
        self.database.submit(DeletePublished { context, by_lease }).await
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
        .bind(i64::from(metadata.slot()))
        .bind(metadata.key.as_ref().map(|key| key.as_str()))
        .bind(metadata.time.as_micros())
        .bind(to_json(metadata)?)
        .bind(envelope.payload.as_ref());
    Ok(())
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
    by_lease: HashMap<Lease, Vec<u64>>,
}

#[async_trait]
impl Work for DeletePublished {
    type Output = u64;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<u64, Stop<u64>> {
        let mut script = Script::default();
        let delete: Cow<'_, str> = mamey_core::inject_fault!(
            "epoch-ignored",
            DELETE_PUBLISHED.replace("epoch = ?", "epoch <> -?").into(),
            DELETE_PUBLISHED.into()
        );
        for (lease, sequences) in &self.by_lease {
            script
                .statement(&delete, Expect::Anything)
                .bind(to_json(sequences)?)
                .bind(self.context.as_str())
                .bind(slot_mask(std::iter::once(lease.partition)))
                .bind(self.context.as_str())
                .bind(lease.role.as_str())
                .bind(i64::from(lease.partition.number()))
                .bind(i64::from(lease.partition.of()))
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
