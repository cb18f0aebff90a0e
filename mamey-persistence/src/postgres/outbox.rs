//! Keeps committed messages until the relay deletes them.

use std::collections::HashSet;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{
    Deletion, Lease, OutboxDepth, OutboxPage, OutboxPlace, OutboxRead, OutboxStore, RecordId,
};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::connection::shares::Purpose;
use super::error::is_held;
use super::query::bind::{column, slots};
use super::query::values::{escape, unescape};
use super::store::PostgresStore;
use crate::sql::rows::{outbox_depth, outbox_page, stored};

/// The first row tells where the outbox stands, in the same round trip.
///
/// The held records are a subquery, which is hashed; an array would be searched for each record.
///
/// The length of a payload is known without reading it, and the window sees the records in the order
/// of the subquery.
const READ: &str = "\
SELECT timeline, drawn, NULL::text, NULL::text, NULL::bytea, NULL::uuid
FROM mamey._outbox_place()
UNION ALL
SELECT sequence, slot::bigint, key, metadata,
  CASE WHEN sum(octet_length(payload)) OVER so_far <= $7 OR row_number() OVER so_far = 1
    THEN payload END, id
FROM (
  SELECT sequence, slot, key, metadata, payload, id FROM mamey._outbox
  WHERE sequence > $1 AND slot = ANY($2) AND (key IS NULL OR key <> ALL($3))
    AND (sequence, id) NOT IN (SELECT * FROM unnest($4::bigint[], $5::uuid[]))
  ORDER BY sequence LIMIT $6
) AS head WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)";

/// The lease's row is locked until the deletion is done, so that the lease is not given to another
/// instance meanwhile.
///
/// The deletion need not be on the disk when this returns: a record that comes back after a crash is
/// published again, and inboxes absorb it. A flush for it would delay every other commit.
///
/// No record is deleted before its lease is found, so the deletion waits for records that another
/// transaction holds no longer than is set there.
const DELETE_PUBLISHED: &str = "\
WITH held AS (
  SELECT place, lease.number, lease.partitions, set_config('lock_timeout', '100ms', true)
  FROM mamey._leases AS lease
  JOIN unnest($4::text[], $5::int[], $6::int[], $7::bigint[], $8::uuid[])
    WITH ORDINALITY AS asked (role, number, partitions, epoch, holder, place)
    ON (lease.role, lease.number, lease.partitions, lease.epoch, lease.holder)
     = (asked.role, asked.number, asked.partitions, asked.epoch, asked.holder)
  ORDER BY lease.role, lease.number FOR SHARE OF lease
), deleted AS (
  DELETE FROM mamey._outbox AS record
  USING unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS asked (sequence, id, place)
    JOIN held USING (place)
  WHERE record.sequence = asked.sequence AND record.id = asked.id
    AND record.slot % held.partitions = held.number
  RETURNING record.sequence
), counted AS (
  UPDATE mamey._counters SET value = value + (SELECT count(*) FROM deleted)
  WHERE name = 'published' AND EXISTS (SELECT 1 FROM deleted)
)
SELECT count(*), NULL::bigint[], set_config('synchronous_commit', 'off', true) FROM deleted";

/// The same, without the records that another transaction holds, whose sequences it gives. It costs a lock
/// of each record more, so it is used only when some are held.
const DELETE_FREE: &str = "\
WITH held AS (
  SELECT place, lease.number, lease.partitions FROM mamey._leases AS lease
  JOIN unnest($4::text[], $5::int[], $6::int[], $7::bigint[], $8::uuid[])
    WITH ORDINALITY AS asked (role, number, partitions, epoch, holder, place)
    ON (lease.role, lease.number, lease.partitions, lease.epoch, lease.holder)
     = (asked.role, asked.number, asked.partitions, asked.epoch, asked.holder)
  ORDER BY lease.role, lease.number FOR SHARE OF lease
), there AS (
  SELECT record.sequence, record.id FROM mamey._outbox AS record
  JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS asked (sequence, id, place)
    ON record.sequence = asked.sequence AND record.id = asked.id
  JOIN held ON held.place = asked.place AND record.slot % held.partitions = held.number
), free AS (
  SELECT record.sequence FROM mamey._outbox AS record JOIN there USING (sequence, id)
  FOR UPDATE OF record SKIP LOCKED
), deleted AS (
  DELETE FROM mamey._outbox WHERE sequence IN (SELECT sequence FROM free) RETURNING sequence
), counted AS (
  UPDATE mamey._counters SET value = value + (SELECT count(*) FROM deleted)
  WHERE name = 'published' AND EXISTS (SELECT 1 FROM deleted)
)
SELECT count(*), array(SELECT sequence FROM there EXCEPT SELECT sequence FROM deleted),
  set_config('synchronous_commit', 'off', true) FROM deleted";

/// The transactions that wrote to the outbox and are under way. A transaction is visible before it
/// releases its locks.
const WRITERS: &str = "\
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'mamey._outbox'::regclass AND mode = 'RowExclusiveLock'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

const DEPTH: &str = "\
SELECT (SELECT count(*) FROM mamey._outbox),
  (SELECT sent_at FROM mamey._outbox ORDER BY sequence LIMIT 1),
  (SELECT value FROM mamey._counters WHERE name = 'published')";

#[async_trait]
impl OutboxStore for PostgresStore {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage> {
        let limit = read.limit;
        let skip: Vec<_> = read.skip.iter().map(|key| escape(key.as_str()).into_owned()).collect();
        let read = self
            .query(READ)
            .bind(stored(read.after))
            .bind(slots(read.leases.iter().map(|lease| lease.partition)))
            .bind(skip)
            .bind(column(read.held, |held| stored(held.sequence)))
            .bind(column(read.held, |held| held.message.as_uuid()))
            .bind(i64::from(limit))
            .bind(stored(read.bytes_max as u64));
        let rows = self.database.connections.fetch_all(Purpose::Work, read).await;
        rows.and_then(|rows| page(&rows, limit)).map_err(|cause| self.database.error(cause))
    }

    async fn delete_published(&self, published: &[(Lease, RecordId)]) -> Result<Deletion> {
        if published.is_empty() {
            return Ok(Deletion::default());
        }
        let deleted = match self.delete(DELETE_PUBLISHED, published).await {
            Err(cause) if is_held(&cause) => self.delete(DELETE_FREE, published).await,
            deleted => deleted,
        };
        deleted.map_err(|cause| self.database.error(cause))
    }

    async fn outbox_complete_to(&self, read_to: u64) -> Result<u64> {
        // Held meanwhile, because what is seen must be taken in in the order in which it is seen.
        let mut completeness = self.completeness.lock().await;
        let rows = self.database.connections.fetch_all(Purpose::Work, self.query(WRITERS)).await;
        let writers = rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
        let writers = writers.map_err(|cause| self.database.error(cause))?;
        Ok(completeness.observe(read_to, writers))
    }

    async fn outbox_changed(&self) {
        self.outbox_changed.notified().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        let row = self.database.connections.fetch_one(Purpose::Read, self.query(DEPTH)).await;
        row.and_then(|row| outbox_depth(&row)).map_err(|cause| self.database.error(cause))
    }
}

impl PostgresStore {
    async fn delete(
        &self,
        sql: &'static str,
        published: &[(Lease, RecordId)],
    ) -> Result<Deletion, sqlx::Error> {
        let (leases, places) = leases_of(published);
        let delete = self
            .query(sql)
            .bind(column(published, |(_, record)| stored(record.sequence)))
            .bind(column(published, |(_, record)| record.message.as_uuid()))
            .bind(places)
            .bind(column(&leases, |lease| lease.role.as_str()))
            .bind(column(&leases, |lease| i32::from(lease.partition.number())))
            .bind(column(&leases, |lease| i32::from(lease.partition.of())))
            .bind(column(&leases, |lease| stored(lease.epoch)))
            .bind(column(&leases, |lease| lease.holder.as_uuid()));
        let row = self.database.connections.fetch_one(Purpose::Work, delete).await?;
        let (count, held): (i64, Option<Vec<i64>>) = (row.try_get(0)?, row.try_get(1)?);
        let held: HashSet<_> =
            held.unwrap_or_default().into_iter().map(i64::cast_unsigned).collect();
        let records = published.iter().map(|(_, record)| *record);
        let held = records.filter(|record| held.contains(&record.sequence)).collect();
        Ok(Deletion::of(count.unsigned_abs()).with_held(held))
    }
}

/// Each lease once, and the place of each record's lease among them, from 1.
fn leases_of(published: &[(Lease, RecordId)]) -> (Vec<Lease>, Vec<i64>) {
    let mut leases: Vec<Lease> = Vec::new();
    let mut places = Vec::with_capacity(published.len());
    for (lease, _) in published {
        let known = leases.iter().position(|known| known == lease);
        let place = known.unwrap_or(leases.len());
        if known.is_none() {
            leases.push(*lease);
        }
        places.push(stored(place as u64 + 1));
    }
    (leases, places)
}

/// The first row is where the outbox stands, the others are records.
fn page(rows: &[PgRow], limit: u32) -> Result<OutboxPage, sqlx::Error> {
    let (place, rows) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
    let number = |at| place.try_get::<i64, _>(at).map(i64::cast_unsigned);
    let place = OutboxPlace::new(number(0)?, number(1)?);
    let page = outbox_page(rows, limit, |key| unescape(key.to_owned()))?;
    Ok(page.with_place(place))
}
