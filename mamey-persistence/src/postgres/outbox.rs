//! Keeps committed messages until the relay deletes them.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::Key;
use mamey_core::store::{
    Lease, OUTBOX_SCAN_MAX, OutboxDepth, OutboxPage, OutboxPlace, OutboxRead, OutboxStore, RecordId,
};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::query::bind::{PgQuery, column, slots};
use super::query::values::{escape, unescape};
use super::store::PostgresStore;
use crate::sql::outbox::{outbox_depth, outbox_page};
use crate::sql::rows::stored;

/// What a read wants is put in place of `{wanted}`. Its first row tells where the outbox stands, in the same
/// round trip, and what is put in place of `{first}`.
///
/// The held records and the keys are subqueries, which are hashed; arrays would be searched for each record.
///
/// The length of a payload is known without reading it, and the window sees the records in the order
/// of the subquery.
const READ: &str = "\
SELECT timeline, drawn, {first}, NULL::text, NULL::bytea, NULL::uuid
FROM mamey._outbox_place()
UNION ALL
SELECT sequence, slot::bigint, key, metadata,
  CASE WHEN sum(octet_length(payload)) OVER so_far <= $7 OR row_number() OVER so_far = 1
    THEN payload END, id
FROM (
  SELECT sequence, slot, key, metadata, payload, id FROM mamey._outbox AS record
  WHERE sequence > $1 AND slot = ANY($2) AND {wanted}
    AND (sequence, id) NOT IN (SELECT * FROM unnest($4::bigint[], $5::uuid[]))
  ORDER BY sequence LIMIT $6
) AS head WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)";

/// Whether there are stalled records: then what this read returned may wait behind them.
const ANY_STALLED: &str = "CASE WHEN EXISTS (SELECT FROM mamey._stalled) THEN 'some' END";

/// All but those of certain keys, while nothing is stalled.
const UNSTALLED: &str = "(key IS NULL OR key NOT IN (SELECT unnest($3::text[])))";

/// As before, and without those that wait behind a stalled record of their key.
const PAST_STALLED: &str = "\
(key IS NULL OR key NOT IN (SELECT unnest($3::text[])) AND sequence < coalesce(
  (SELECT min(stalled.sequence) FROM mamey._stalled AS stalled WHERE stalled.key = record.key),
  9223372036854775807))";

/// Those of certain keys, up to where the read looks. The planner must not turn this into a join.
const ONLY: &str = "\
(key IN (SELECT unnest($3::text[]))) IS TRUE
    AND sequence <= coalesce((SELECT last FROM scan), 9223372036854775807)";

const SCAN_END: &str = "(SELECT last::text FROM scan)";

/// The last of the rows that such a read looks at, if there are as many as it may look at.
const SCAN: &str = "\
WITH scan AS (
  SELECT max(sequence) AS last FROM (
    SELECT sequence FROM mamey._outbox WHERE sequence > $1 ORDER BY sequence LIMIT $8
  ) AS looked_at HAVING count(*) = $8
)
";

/// The lease's row is locked until the deletion is done, so that the lease is not given to another
/// instance meanwhile.
///
/// The deletion need not be on the disk when this returns: a record that comes back after a crash is
/// published again, and inboxes absorb it. A flush for it would delay every other commit.
///
/// The table is put in place of `{table}`.
const DELETE_PUBLISHED: &str = "\
WITH held AS (
  SELECT place, lease.number, lease.partitions FROM mamey._leases AS lease
  JOIN unnest($4::text[], $5::int[], $6::int[], $7::bigint[], $8::uuid[])
    WITH ORDINALITY AS asked (role, number, partitions, epoch, holder, place)
    ON (lease.role, lease.number, lease.partitions, lease.epoch, lease.holder)
     = (asked.role, asked.number, asked.partitions, asked.epoch, asked.holder)
  ORDER BY lease.role, lease.number FOR SHARE OF lease
), deleted AS (
  DELETE FROM {table} AS record
  USING unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS asked (sequence, id, place)
    JOIN held USING (place)
  WHERE record.sequence = asked.sequence AND record.id = asked.id
    AND record.slot % held.partitions = held.number
  RETURNING record.sequence
), counted AS (
  UPDATE mamey._counters SET value = value + (SELECT count(*) FROM deleted)
  WHERE name = 'published' AND EXISTS (SELECT 1 FROM deleted)
)
SELECT count(*), set_config('synchronous_commit', 'off', true) FROM deleted";

/// The transactions that wrote to the outbox and are under way. A transaction is visible before it
/// releases its locks.
const WRITERS: &str = "\
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'mamey._outbox'::regclass AND mode = 'RowExclusiveLock'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

const DEPTH: &str = "\
SELECT (SELECT count(*) FROM mamey._outbox), (SELECT count(*) FROM mamey._stalled),
  CASE WHEN EXISTS (SELECT FROM mamey._stalled WHERE unreadable) THEN
    (SELECT count(*) FROM mamey._stalled WHERE unreadable)
    + (SELECT count(*) FROM mamey._outbox
      WHERE key IN (SELECT key FROM mamey._stalled WHERE unreadable)) ELSE 0 END,
  (SELECT sent_at FROM (
    (SELECT sequence, sent_at FROM mamey._outbox ORDER BY sequence LIMIT 1)
    UNION ALL
    (SELECT sequence, sent_at FROM mamey._stalled ORDER BY sequence LIMIT 1)
  ) AS firsts ORDER BY sequence LIMIT 1),
  (SELECT value FROM mamey._counters WHERE name = 'published')";

#[async_trait]
impl OutboxStore for PostgresStore {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage> {
        let page = match read.only {
            Some(only) => self.read_only(&read, only).await,
            None => self.read_all(&read).await,
        };
        page.map_err(|cause| self.database.error(cause))
    }

    async fn delete_published(&self, published: &[(Lease, RecordId)]) -> Result<u64> {
        if published.is_empty() {
            return Ok(0);
        }
        let connections = &self.database.connections;
        let deleted = self.number(self.delete("mamey._outbox", published)).await?;
        if deleted == published.len() as u64 {
            return Ok(deleted);
        }
        let stalled = self.delete("mamey._stalled", published);
        let rows = connections.fetch_all_planned_anew(stalled).await;
        let stalled = rows.and_then(|rows| count(&rows));
        stalled.map(|stalled| deleted + stalled).map_err(|cause| self.database.error(cause))
    }

    async fn outbox_complete_to(&self, read_to: u64) -> Result<u64> {
        // Held meanwhile, because what is seen must be taken in in the order in which it is seen.
        let mut completeness = self.completeness.lock().await;
        let rows = self.database.connections.fetch_all(self.query(WRITERS)).await;
        let writers = rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
        let writers = writers.map_err(|cause| self.database.error(cause))?;
        Ok(completeness.observe(read_to, writers))
    }

    async fn outbox_changed(&self) {
        self.outbox_changed.notified().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        let row = self.database.connections.fetch_one(self.query(DEPTH)).await;
        row.and_then(|row| outbox_depth(&row)).map_err(|cause| self.database.error(cause))
    }
}

impl PostgresStore {
    /// A read of all keys. While it is unknown whether records are stalled, a read that finds that some
    /// are is repeated by the one that leaves out what waits behind them.
    async fn read_all(&self, read: &OutboxRead<'_>) -> Result<OutboxPage, sqlx::Error> {
        if !self.stalls.load(Ordering::Relaxed) {
            let rows = self.bound(ANY_STALLED, UNSTALLED, read, read.skip);
            let rows = self.database.connections.fetch_all(rows).await?;
            let (page, any_stalled) = page(&rows, read.limit)?;
            if any_stalled.is_none() {
                return Ok(page);
            }
        }
        let rows = self.bound(ANY_STALLED, PAST_STALLED, read, read.skip);
        let rows = self.database.connections.fetch_all_planned_anew(rows).await?;
        let (page, any_stalled) = page(&rows, read.limit)?;
        self.stalls.store(any_stalled.is_some(), Ordering::Relaxed);
        Ok(page)
    }

    async fn read_only(
        &self,
        read: &OutboxRead<'_>,
        only: &[Key],
    ) -> Result<OutboxPage, sqlx::Error> {
        let rows = self.bound(SCAN_END, ONLY, read, only).bind(i64::from(OUTBOX_SCAN_MAX));
        let rows = self.database.connections.fetch_all_planned_anew(rows).await?;
        let (page, scan_end) = page(&rows, read.limit)?;
        let scan_end = scan_end.map(str::parse).transpose();
        let scan_end = scan_end.map_err(|cause| sqlx::Error::Decode(Box::new(cause)))?;
        Ok(page.with_scan_end(scan_end))
    }

    fn bound(
        &self,
        first: &str,
        wanted: &str,
        read: &OutboxRead<'_>,
        keys: &[Key],
    ) -> PgQuery<'static> {
        let keys: Vec<_> = keys.iter().map(|key| escape(key.as_str()).into_owned()).collect();
        let scan = if read.only.is_some() { SCAN } else { "" };
        let sql = READ.replace("{first}", first).replace("{wanted}", wanted);
        self.query(&format!("{scan}{sql}"))
            .bind(stored(read.after))
            .bind(slots(read.leases.iter().map(|lease| lease.partition)))
            .bind(keys)
            .bind(column(read.held, |held| stored(held.sequence)))
            .bind(column(read.held, |held| held.message.as_uuid()))
            .bind(i64::from(read.limit))
            .bind(stored(read.bytes_max as u64))
    }

    fn delete(&self, table: &str, published: &[(Lease, RecordId)]) -> PgQuery<'static> {
        let (leases, places) = leases_of(published);
        let delete = self
            .query(&DELETE_PUBLISHED.replace("{table}", table))
            .bind(column(published, |(_, record)| stored(record.sequence)))
            .bind(column(published, |(_, record)| record.message.as_uuid()))
            .bind(places);
        bind_leases(delete, &leases)
    }
}

/// The leases of some records, each once, and for each record the place of its lease, from 1 on.
pub(super) fn leases_of<R>(records: &[(Lease, R)]) -> (Vec<Lease>, Vec<i64>) {
    let mut leases: Vec<Lease> = Vec::new();
    let mut places = Vec::with_capacity(records.len());
    for (lease, _) in records {
        let known = leases.iter().position(|known| known == lease);
        let place = known.unwrap_or(leases.len());
        if known.is_none() {
            leases.push(*lease);
        }
        places.push(stored(place as u64 + 1));
    }
    (leases, places)
}

/// Binds the columns by which statements find leases: role, number, partitions, epoch, holder.
pub(super) fn bind_leases(query: PgQuery<'static>, leases: &[Lease]) -> PgQuery<'static> {
    query
        .bind(column(leases, |lease| lease.role.as_str()))
        .bind(column(leases, |lease| i32::from(lease.partition.number())))
        .bind(column(leases, |lease| i32::from(lease.partition.of())))
        .bind(column(leases, |lease| stored(lease.epoch)))
        .bind(column(leases, |lease| lease.holder.as_uuid()))
}

/// The first row is where the outbox stands, and what the read says beside it; the others are records.
fn page(rows: &[PgRow], limit: u32) -> Result<(OutboxPage, Option<&str>), sqlx::Error> {
    let (first, rows) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
    let number = |at| first.try_get::<i64, _>(at).map(i64::cast_unsigned);
    let place = OutboxPlace::new(number(0)?, number(1)?);
    let page = outbox_page(rows, limit, |key| unescape(key.to_owned()))?;
    Ok((page.with_place(place), first.try_get(2)?))
}

/// The number in the first row.
pub(super) fn count(rows: &[PgRow]) -> Result<u64, sqlx::Error> {
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    first.try_get::<i64, _>(0).map(i64::unsigned_abs)
}
