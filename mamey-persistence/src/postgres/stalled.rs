//! Keeps records whose publish failed until their next try.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{Becomes, FailedRecord, Lease, StalledPage, StalledRead, StalledStore};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::outbox::{bind_leases, count, leases_of};
use super::query::bind::{column, slots};
use super::query::values::{micros, unescape};
use super::store::PostgresStore;
use crate::sql::outbox::stalled_page;
use crate::sql::rows::{stored, to_json};

/// The lease's row is locked until the failures are recorded, so that the lease is not given to another
/// instance meanwhile. A record without a reason to give it up is stalled.
const RECORD_FAILURES: &str = "\
WITH held AS (
  SELECT place, lease.number, lease.partitions FROM mamey._leases AS lease
  JOIN unnest($9::text[], $10::int[], $11::int[], $12::bigint[], $13::uuid[])
    WITH ORDINALITY AS asked (role, number, partitions, epoch, holder, place)
    ON (lease.role, lease.number, lease.partitions, lease.epoch, lease.holder)
     = (asked.role, asked.number, asked.partitions, asked.epoch, asked.holder)
  ORDER BY lease.role, lease.number FOR SHARE OF lease
), moment AS (SELECT mamey._now($8) AS now),
asked AS (
  SELECT sequence, id, attempts, failure, unreadable, reason,
    least(moment.now::numeric + delay, 9223372036854775807)::bigint AS due,
    moment.now, held.number, held.partitions
  FROM moment, unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[],
      $7::boolean[], $14::text[]) AS asked (sequence, id, place, attempts, failure, delay, unreadable,
      reason)
    JOIN held USING (place)
), taken AS (
  DELETE FROM mamey._outbox AS record USING asked
  WHERE record.sequence = asked.sequence AND record.id = asked.id
    AND record.slot % asked.partitions = asked.number
  RETURNING record.*, asked.now AS first_failed, asked.now, asked.due, asked.attempts,
    asked.failure, asked.unreadable, asked.reason
), ended AS (
  DELETE FROM mamey._stalled AS record USING asked
  WHERE record.sequence = asked.sequence AND record.id = asked.id
    AND record.slot % asked.partitions = asked.number AND asked.reason IS NOT NULL
  RETURNING record.sequence, record.id, record.slot, record.key, record.sent_at, record.metadata,
    record.payload, record.first_failed, asked.now, asked.attempts, asked.failure, asked.reason
), again AS (
  UPDATE mamey._stalled AS record SET due = asked.due, last_failed = asked.now,
    attempts = asked.attempts, failure = asked.failure, unreadable = asked.unreadable
  FROM asked
  WHERE record.sequence = asked.sequence AND record.id = asked.id
    AND record.slot % asked.partitions = asked.number AND asked.reason IS NULL
  RETURNING record.sequence
), stalled AS (
  INSERT INTO mamey._stalled (sequence, id, slot, key, sent_at, metadata, payload, due, first_failed,
    last_failed, attempts, failure, unreadable)
  SELECT sequence, id, slot, key, sent_at, metadata, payload, due, first_failed, now, attempts,
    failure, unreadable
  FROM taken WHERE reason IS NULL
), given_up AS (
  INSERT INTO mamey._undelivered (sequence, id, slot, key, sent_at, metadata, payload, first_failed,
    last_failed, attempts, failure, reason)
  SELECT * FROM (
    SELECT sequence, id, slot, key, sent_at, metadata, payload, first_failed, now, attempts, failure,
      reason
    FROM taken WHERE reason IS NOT NULL
    UNION ALL
    SELECT * FROM ended) AS given_up ORDER BY sequence
)
SELECT (SELECT count(*) FROM taken) + (SELECT count(*) FROM ended) + (SELECT count(*) FROM again)";

/// The first row is in how long the next is due that is not due now.
const DUE: &str = "\
WITH moment AS (SELECT mamey._now($2) AS now)
SELECT min(due) - min(now), NULL::bigint, NULL::text, NULL::text, NULL::bytea, NULL::uuid,
  NULL::bigint, NULL::bigint
FROM mamey._stalled, moment WHERE slot = ANY($1) AND due > now
UNION ALL
SELECT sequence, slot::bigint, key, metadata,
  CASE WHEN sum(octet_length(payload)) OVER so_far <= $6 OR row_number() OVER so_far = 1
    THEN payload END, id, attempts, waited
FROM (
  SELECT sequence, slot, key, metadata, payload, id, attempts, now - first_failed AS waited
  FROM mamey._stalled, moment
  WHERE slot = ANY($1) AND due <= now
    AND (sequence, id) NOT IN (SELECT * FROM unnest($3::bigint[], $4::uuid[]))
  ORDER BY due, sequence LIMIT $5
) AS head WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)";

#[async_trait]
impl StalledStore for PostgresStore {
    async fn record_failures(&self, failed: &[(Lease, FailedRecord)]) -> Result<u64> {
        if failed.is_empty() {
            return Ok(0);
        }
        let failures = failed.iter().map(|(_, failed)| to_json(&failed.failure));
        let failures = failures.collect::<Result<Vec<_>>>()?;
        let (leases, places) = leases_of(failed);
        let record = self
            .query(RECORD_FAILURES)
            .bind(column(failed, |(_, failed)| stored(failed.id.sequence)))
            .bind(column(failed, |(_, failed)| failed.id.message.as_uuid()))
            .bind(places)
            .bind(column(failed, |(_, failed)| i64::from(failed.attempts)))
            .bind(failures)
            .bind(column(failed, |(_, failed)| delay(failed)))
            .bind(column(failed, |(_, failed)| failed.failure.is_unreadable()))
            .bind(self.database.now());
        let record = bind_leases(record, &leases);
        let record = record.bind(column(failed, |(_, failed)| reason(failed)));
        let rows = self.database.connections.fetch_all_planned_anew(record).await;
        rows.and_then(|rows| count(&rows)).map_err(|cause| self.database.error(cause))
    }

    async fn due_stalled(&self, read: StalledRead<'_>) -> Result<StalledPage> {
        let due = self
            .query(DUE)
            .bind(slots(read.leases.iter().map(|lease| lease.partition)))
            .bind(self.database.now())
            .bind(column(read.held, |held| stored(held.sequence)))
            .bind(column(read.held, |held| held.message.as_uuid()))
            .bind(i64::from(read.limit))
            .bind(stored(read.bytes_max as u64));
        let rows = self.database.connections.fetch_all_planned_anew(due).await;
        let page = rows.and_then(|rows| page(&rows, read.limit));
        page.map_err(|cause| self.database.error(cause))
    }
}

fn delay(failed: &FailedRecord) -> i64 {
    match failed.becomes {
        Becomes::Stalled { delay } => micros(delay),
        Becomes::Undelivered { .. } => 0,
    }
}

fn reason(failed: &FailedRecord) -> Option<&'static str> {
    match failed.becomes {
        Becomes::Stalled { .. } => None,
        Becomes::Undelivered { reason } => Some(reason.as_str()),
    }
}

fn page(rows: &[PgRow], limit: u32) -> Result<StalledPage, sqlx::Error> {
    let (next_in, rows) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
    stalled_page(rows, next_in.try_get(0)?, limit, |key| unescape(key.to_owned()))
}
