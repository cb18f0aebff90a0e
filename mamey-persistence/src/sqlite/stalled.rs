//! Keeps records whose publish failed until their next try.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::store::{
    Becomes, FailedRecord, Lease, StalledPage, StalledRead, StalledStore, UndeliveredReason,
};
use sqlx::Row;

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::outbox::{DELETE_RECORDS, DELETE_STALLED, bind_lease, by_lease, hex, pairs, slot_mask};
use super::store::SqliteStore;
use crate::sql::outbox::stalled_page;
use crate::sql::rows::{stored, to_json};

/// The records are found by their sequences, then compared by their ids.
const STALL: &str = "\
INSERT INTO mamey_stalled (sequence, context, id, slot, key, sent_at, metadata, payload, due,
  first_failed, last_failed, attempts, failure, unreadable)
SELECT record.sequence, record.context, record.id, record.slot, record.key, record.sent_at,
  record.metadata, record.payload, asked.value ->> 4, asked.value ->> 6, asked.value ->> 6,
  asked.value ->> 2, asked.value ->> 3, asked.value ->> 5
FROM json_each(?) AS asked
CROSS JOIN mamey_outbox AS record ON record.sequence = asked.value ->> 0
WHERE hex(record.id) = asked.value ->> 1 AND record.context = ? AND (? >> record.slot) & 1
  AND EXISTS (
    SELECT 1 FROM mamey_leases
    WHERE context = ? AND role = ? AND number = ? AND partitions = ? AND holder = ? AND epoch = ?)";

const STALL_AGAIN: &str = "\
UPDATE mamey_stalled AS record SET due = asked.value ->> 4, last_failed = asked.value ->> 6,
  attempts = asked.value ->> 2, failure = asked.value ->> 3, unreadable = asked.value ->> 5
FROM json_each(?) AS asked
WHERE record.sequence = asked.value ->> 0 AND hex(record.id) = asked.value ->> 1
  AND record.context = ? AND (? >> record.slot) & 1
  AND EXISTS (
    SELECT 1 FROM mamey_leases
    WHERE context = ? AND role = ? AND number = ? AND partitions = ? AND holder = ? AND epoch = ?)";

/// Gives up records of the outbox, or stalled ones: the table and the time of their first failure are put
/// in place of `{table}` and `{first_failed}`.
const GIVE_UP: &str = "\
INSERT INTO mamey_undelivered (context, sequence, id, slot, key, sent_at, metadata, payload, reason,
  attempts, first_failed, last_failed, failure)
SELECT record.context, record.sequence, record.id, record.slot, record.key, record.sent_at,
  record.metadata, record.payload, asked.value ->> 5, asked.value ->> 2, {first_failed},
  asked.value ->> 6, asked.value ->> 3
FROM json_each(?) AS asked
CROSS JOIN {table} AS record ON record.sequence = asked.value ->> 0
WHERE hex(record.id) = asked.value ->> 1 AND record.context = ? AND (? >> record.slot) & 1
  AND EXISTS (
    SELECT 1 FROM mamey_leases
    WHERE context = ? AND role = ? AND number = ? AND partitions = ? AND holder = ? AND epoch = ?)
ORDER BY record.sequence";

const DUE: &str = "\
SELECT record.sequence, record.slot, record.key, record.metadata,
  CASE WHEN so_far <= ?5 OR place = 1 THEN record.payload END, record.id, record.attempts,
  ?3 - record.first_failed
FROM (
  SELECT sequence, row_number() OVER behind AS place, sum(bytes) OVER behind AS so_far
  FROM (
    SELECT sequence, due, length(payload) AS bytes FROM mamey_stalled
    WHERE context = ?1 AND (?2 >> slot) & 1 AND due <= ?3
      AND (sequence, hex(id)) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?4))
    ORDER BY due, sequence LIMIT ?6)
  WINDOW behind AS (ORDER BY due, sequence ROWS UNBOUNDED PRECEDING)
) AS head CROSS JOIN mamey_stalled AS record ON record.sequence = head.sequence
ORDER BY head.place";

const NEXT_DUE: &str = "\
SELECT min(due) - ?3 FROM mamey_stalled WHERE context = ?1 AND (?2 >> slot) & 1 AND due > ?3";

/// A list without records.
const NONE: &str = "[]";

#[async_trait]
impl StalledStore for SqliteStore {
    async fn record_failures(&self, failed: &[(Lease, FailedRecord)]) -> Result<u64> {
        if failed.is_empty() {
            return Ok(0);
        }
        let context = self.context().to_owned();
        let (by_lease, now) = (by_lease(failed), self.database.clock.now());
        self.database.submit(RecordFailures { context, by_lease, now }).await
    }

    async fn due_stalled(&self, read: StalledRead<'_>) -> Result<StalledPage> {
        let slots = slot_mask(read.leases.iter().map(|lease| lease.partition));
        let now = self.database.clock.now().as_micros();
        let due = sqlx::query(DUE)
            .bind(self.context())
            .bind(slots)
            .bind(now)
            .bind(to_json(&pairs(read.held))?)
            .bind(stored(read.bytes_max as u64))
            .bind(i64::from(read.limit));
        let next = sqlx::query(NEXT_DUE).bind(self.context()).bind(slots).bind(now);
        let rows = self.database.readers.fetch_all(due).await;
        let next = self.database.readers.fetch_one(next).await.and_then(|row| row.try_get(0));
        let page = rows.and_then(|rows| stalled_page(&rows, next?, read.limit, str::to_owned));
        page.map_err(|cause| self.database.error(cause))
    }
}

/// Records failures of records whose lease is still current, and counts them.
struct RecordFailures {
    context: String,
    by_lease: HashMap<Lease, Vec<FailedRecord>>,
    now: Timestamp,
}

#[async_trait]
impl Work for RecordFailures {
    type Output = u64;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<u64, Stop<u64>> {
        let mut recorded = 0;
        for (lease, failed) in &self.by_lease {
            let (mut stalled, mut given_up) = (Vec::new(), Vec::new());
            for failed in failed {
                match failed.becomes {
                    Becomes::Stalled { delay } => stalled.push(self.stalled(failed, delay)?),
                    Becomes::Undelivered { reason } => {
                        given_up.push(self.given_up(failed, reason)?)
                    }
                }
            }
            let run = Run { context: &self.context, lease };
            recorded += run.stall(transaction, &to_json(&stalled)?).await?;
            recorded += run.give_up(transaction, &to_json(&given_up)?).await?;
        }
        Ok(recorded)
    }
}

/// A failure as the statements take it: sequence, message, attempts, failure, when the record is due, what
/// else they keep of it, and now.
type Asked<W> = (u64, String, u32, String, i64, W, i64);

impl RecordFailures {
    /// With whether the record cannot be read.
    fn stalled(&self, failed: &FailedRecord, delay: Duration) -> Result<Asked<bool>> {
        self.asked(failed, self.now.plus(delay), failed.failure.is_unreadable())
    }

    /// With why it is given up.
    fn given_up(
        &self,
        failed: &FailedRecord,
        reason: UndeliveredReason,
    ) -> Result<Asked<&'static str>> {
        self.asked(failed, self.now, reason.as_str())
    }

    fn asked<W>(&self, failed: &FailedRecord, due: Timestamp, what: W) -> Result<Asked<W>> {
        let (failure, now) = (to_json(&failed.failure)?, self.now.as_micros());
        let (id, attempts) = (failed.id, failed.attempts);
        Ok((id.sequence, hex(id), attempts, failure, due.as_micros(), what, now))
    }
}

/// The statements about the records of one lease. The last of each step says how many these are.
struct Run<'r> {
    context: &'r str,
    lease: &'r Lease,
}

impl Run<'_> {
    async fn stall(
        &self,
        transaction: &mut Transaction<'_>,
        records: &str,
    ) -> Result<u64, Stop<u64>> {
        let again = self.run(transaction, STALL_AGAIN, records).await?;
        self.run(transaction, STALL, records).await?;
        Ok(again + self.run(transaction, DELETE_RECORDS, records).await?)
    }

    async fn give_up(
        &self,
        transaction: &mut Transaction<'_>,
        records: &str,
    ) -> Result<u64, Stop<u64>> {
        let mut given_up = 0;
        for (table, first_failed, delete) in [
            ("mamey_stalled", "record.first_failed", DELETE_STALLED),
            ("mamey_outbox", "asked.value ->> 6", DELETE_RECORDS),
        ] {
            let give_up = GIVE_UP.replace("{table}", table).replace("{first_failed}", first_failed);
            self.run(transaction, &give_up, records).await?;
            given_up += self.run(transaction, delete, records).await?;
        }
        Ok(given_up)
    }

    async fn run(
        &self,
        transaction: &mut Transaction<'_>,
        sql: &str,
        records: &str,
    ) -> Result<u64, Stop<u64>> {
        if records == NONE {
            return Ok(0);
        }
        let mut script = Script::default();
        script.statement(sql, Expect::Anything).bind(records);
        bind_lease(&mut script, self.context, self.lease);
        Ok(script.run(transaction).await?.changes)
    }
}
