//! Keeps committed messages until the relay has published them.

use std::borrow::Cow;
use std::collections::HashMap;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{Envelope, Partition};
use mamey_core::store::{
    Lease, OUTBOX_SCAN_MAX, OutboxDepth, OutboxPage, OutboxPlace, OutboxRead, OutboxStore, RecordId,
};
use sqlx::{AssertSqlSafe, Row};

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::store::SqliteStore;
use crate::sql::outbox::{outbox_depth, outbox_page};
use crate::sql::rows::{stored, to_json};

const ENQUEUE: &str = "\
INSERT INTO mamey_outbox (context, id, slot, key, sent_at, metadata, payload)
VALUES (?, ?, ?, ?, ?, ?, ?)";

/// The records that a read returns: what it wants is put in place of `{wanted}`. Payloads are fetched by a
/// second look at their rows: a window over them would copy all of them.
const READ: &str = "\
SELECT record.sequence, record.slot, record.key, record.metadata,
  CASE WHEN so_far <= ?6 OR place = 1 THEN record.payload END, record.id
FROM (
  SELECT sequence, row_number() OVER behind AS place, sum(bytes) OVER behind AS so_far
  FROM (
    SELECT sequence, length(payload) AS bytes FROM mamey_outbox AS record
    WHERE context = ?1 AND sequence > ?2 AND (?3 >> slot) & 1 AND {wanted}
      AND (sequence, hex(id)) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?5))
    ORDER BY sequence LIMIT ?7)
  WINDOW behind AS (ORDER BY sequence ROWS UNBOUNDED PRECEDING)
) AS head CROSS JOIN mamey_outbox AS record ON record.sequence = head.sequence
ORDER BY head.sequence";

/// All but those that wait behind another record of their key.
const ALL: &str = "\
(key IS NULL OR key NOT IN (SELECT value FROM json_each(?4)) AND NOT EXISTS (
  SELECT 1 FROM mamey_stalled AS stalled
  WHERE stalled.context = ?1 AND stalled.key = record.key AND stalled.sequence < record.sequence))";

/// Those of certain keys, up to where the read looks.
const ONLY: &str = "key IN (SELECT value FROM json_each(?4)) AND sequence <= ?8";

/// The last of the rows that such a read looks at, if there are as many as it may look at.
const SCAN: &str = "\
SELECT max(sequence) FROM (
  SELECT sequence FROM mamey_outbox WHERE context = ?1 AND sequence > ?2
  ORDER BY sequence LIMIT ?3)
HAVING count(*) = ?3";

/// The last sequence that was drawn, for any context of the file.
const DRAWN: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'mamey_outbox'";

/// The records are found by their sequences, then compared by their ids.
pub(super) const DELETE_RECORDS: &str = "\
DELETE FROM mamey_outbox WHERE sequence IN (
  SELECT record.sequence FROM json_each(?) AS asked
  CROSS JOIN mamey_outbox AS record ON record.sequence = asked.value ->> 0
  WHERE hex(record.id) = asked.value ->> 1 AND record.context = ? AND (? >> record.slot) & 1
    AND EXISTS (
      SELECT 1 FROM mamey_leases
      WHERE context = ? AND role = ? AND number = ? AND partitions = ? AND holder = ?
        AND epoch = ?))";

pub(super) const DELETE_STALLED: &str = "\
DELETE FROM mamey_stalled WHERE sequence IN (
  SELECT record.sequence FROM json_each(?) AS asked
  CROSS JOIN mamey_stalled AS record ON record.sequence = asked.value ->> 0
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
SELECT (SELECT count(*) FROM mamey_outbox WHERE context = ?1),
  (SELECT count(*) FROM mamey_stalled WHERE context = ?1),
  CASE WHEN EXISTS (SELECT 1 FROM mamey_stalled WHERE context = ?1 AND unreadable) THEN
    (SELECT count(*) FROM mamey_stalled WHERE context = ?1 AND unreadable)
    + (SELECT count(*) FROM mamey_outbox WHERE context = ?1 AND key IN (
      SELECT key FROM mamey_stalled WHERE context = ?1 AND unreadable)) ELSE 0 END,
  (SELECT sent_at FROM (
    SELECT * FROM (SELECT sequence, sent_at FROM mamey_outbox WHERE context = ?1
      ORDER BY sequence LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT sequence, sent_at FROM mamey_stalled WHERE context = ?1
      ORDER BY sequence LIMIT 1)) ORDER BY sequence LIMIT 1),
  (SELECT value FROM mamey_counters WHERE context = ?1 AND name = 'confirmed')";

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage> {
        let scan_end = match read.only {
            Some(_) => self.scan_end(read.after).await,
            None => Ok(None),
        };
        let drawn = self.database.readers.fetch_optional(sqlx::query(DRAWN)).await;
        let drawn = drawn.and_then(|row| row.map_or(Ok(0), |row| row.try_get::<i64, _>(0)));
        let page = match (scan_end, drawn) {
            (Ok(scan_end), Ok(drawn)) => {
                self.records(read, scan_end).await?.with_place(place(drawn))
            }
            (Err(cause), _) | (_, Err(cause)) => return Err(self.database.error(cause)),
        };
        Ok(page)
    }

    async fn delete_published(&self, published: &[(Lease, RecordId)]) -> Result<u64> {
        if published.is_empty() {
            return Ok(0);
        }
        let context = self.context().to_owned();
        let by_lease = by_lease(published);
        self.database.submit(DeletePublished { context, by_lease }).await
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

impl SqliteStore {
    async fn scan_end(&self, after: u64) -> Result<Option<i64>, sqlx::Error> {
        let scan = sqlx::query(SCAN)
            .bind(self.context())
            .bind(stored(after))
            .bind(i64::from(OUTBOX_SCAN_MAX));
        let row = self.database.readers.fetch_optional(scan).await?;
        row.map(|row| row.try_get(0)).transpose()
    }

    /// Reads up to `scan_end`, or to the end of the outbox.
    async fn records(&self, read: OutboxRead<'_>, scan_end: Option<i64>) -> Result<OutboxPage> {
        let sql = match read.only {
            Some(_) => READ.replace("{wanted}", ONLY),
            None => READ.replace("{wanted}", ALL),
        };
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(self.context())
            .bind(stored(read.after))
            .bind(slot_mask(read.leases.iter().map(|lease| lease.partition)))
            .bind(to_json(&read.only.unwrap_or(read.skip))?)
            .bind(to_json(&pairs(read.held))?)
            .bind(stored(read.bytes_max as u64))
            .bind(i64::from(read.limit));
        if read.only.is_some() {
            query = query.bind(scan_end.unwrap_or(i64::MAX));
        }
        let rows = self.database.readers.fetch_all(query).await;
        let page = rows.and_then(|rows| outbox_page(&rows, read.limit, str::to_owned));
        let page = page.map_err(|cause| self.database.error(cause))?;
        Ok(page.with_scan_end(scan_end.map(i64::unsigned_abs)))
    }
}

/// Where the outbox stands. A file has no timelines.
const fn place(drawn: i64) -> OutboxPlace {
    OutboxPlace::new(0, drawn.unsigned_abs())
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
pub(super) fn pairs(records: &[RecordId]) -> Vec<(u64, String)> {
    records.iter().map(|record| (record.sequence, hex(*record))).collect()
}

/// The id of a record's message as `hex` writes it.
pub(super) fn hex(record: RecordId) -> String {
    format!("{:X}", record.message.as_uuid().simple())
}

/// The records that a statement is about, by their leases.
pub(super) fn by_lease<R: Clone>(records: &[(Lease, R)]) -> HashMap<Lease, Vec<R>> {
    let mut by_lease: HashMap<Lease, Vec<R>> = HashMap::new();
    for (lease, record) in records {
        by_lease.entry(*lease).or_default().push(record.clone());
    }
    by_lease
}

/// Binds a lease: which records it covers, and that it is current.
pub(super) fn bind_lease(script: &mut Script, context: &str, lease: &Lease) {
    script
        .bind(context)
        .bind(slot_mask(std::iter::once(lease.partition)))
        .bind(context)
        .bind(lease.role.as_str())
        .bind(i64::from(lease.partition.number()))
        .bind(i64::from(lease.partition.of()))
        .bind(lease.holder.as_uuid().as_bytes().as_slice())
        .bind(stored(lease.epoch));
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
            DELETE_RECORDS
                .replace("epoch = ?", "epoch <> -?")
                .replace("holder = ?", "? IS NOT NULL")
                .into(),
            DELETE_RECORDS.into()
        );
        for (lease, records) in &self.by_lease {
            let records = to_json(&pairs(records))?;
            for delete in [&*delete, DELETE_STALLED] {
                script.statement(delete, Expect::Anything).bind(records.as_str());
                bind_lease(&mut script, &self.context, lease);
            }
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
