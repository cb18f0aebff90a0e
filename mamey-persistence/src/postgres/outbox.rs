//! Keeps committed messages until the relay deletes them.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{Lease, OutboxDepth, OutboxPage, OutboxRead, OutboxStore};

use super::query::bind::{column, slots};
use super::query::values::{escape, unescape};
use super::store::PostgresStore;
use crate::sql::rows::{outbox_depth, outbox_page, stored};

/// The held records are a subquery, which is hashed; an array would be searched for each record.
///
/// The length of a payload is known without reading it, and the window sees the records in the order
/// of the subquery.
const READ: &str = "\
SELECT sequence, slot::bigint, key, metadata,
  CASE WHEN sum(octet_length(payload)) OVER so_far <= $6 OR row_number() OVER so_far = 1
    THEN payload END
FROM (
  SELECT sequence, slot, key, metadata, payload FROM mamey._outbox
  WHERE sequence > $1 AND slot = ANY($2) AND (key IS NULL OR key <> ALL($3))
    AND sequence NOT IN (SELECT unnest($4::bigint[]))
  ORDER BY sequence LIMIT $5
) AS head WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)";

/// The lease's row is locked until the deletion is done, so that the lease is not given to another
/// instance meanwhile.
///
/// The deletion need not be on the disk when this returns: a record that comes back after a crash is
/// published again, and inboxes absorb it. A flush for it would delay every other commit.
const DELETE_PUBLISHED: &str = "\
WITH held AS (
  SELECT place, lease.number, lease.partitions FROM mamey._leases AS lease
  JOIN unnest($3::text[], $4::int[], $5::int[], $6::bigint[])
    WITH ORDINALITY AS asked (role, number, partitions, epoch, place)
    ON (lease.role, lease.number, lease.partitions, lease.epoch)
     = (asked.role, asked.number, asked.partitions, asked.epoch)
  ORDER BY lease.role, lease.number FOR SHARE OF lease
), deleted AS (
  DELETE FROM mamey._outbox AS record
  USING unnest($1::bigint[], $2::bigint[]) AS asked (sequence, place) JOIN held USING (place)
  WHERE record.sequence = asked.sequence AND record.slot % held.partitions = held.number
  RETURNING record.sequence
), counted AS (
  UPDATE mamey._counters SET value = value + (SELECT count(*) FROM deleted)
  WHERE name = 'published' AND EXISTS (SELECT 1 FROM deleted)
)
SELECT count(*), set_config('synchronous_commit', 'off', true) FROM deleted";

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
            .bind(read.held.iter().map(|sequence| stored(*sequence)).collect::<Vec<_>>())
            .bind(i64::from(limit))
            .bind(stored(read.bytes_max as u64));
        let rows = self.database.connections.fetch_all(read).await;
        rows.and_then(|rows| outbox_page(&rows, limit, |key| unescape(key.to_owned())))
            .map_err(|cause| self.database.error(cause))
    }

    async fn delete_published(&self, published: &[(Lease, u64)]) -> Result<u64> {
        if published.is_empty() {
            return Ok(0);
        }
        let mut leases: Vec<Lease> = Vec::new();
        let (mut sequences, mut places) = (Vec::new(), Vec::new());
        for (lease, sequence) in published {
            let known = leases.iter().position(|known| known == lease);
            let place = known.unwrap_or(leases.len());
            if known.is_none() {
                leases.push(*lease);
            }
            sequences.push(stored(*sequence));
            places.push(stored(place as u64 + 1));
        }
        let delete = self
            .query(DELETE_PUBLISHED)
            .bind(sequences)
            .bind(places)
            .bind(column(&leases, |lease| lease.role.as_str()))
            .bind(column(&leases, |lease| i32::from(lease.partition.number())))
            .bind(column(&leases, |lease| i32::from(lease.partition.of())))
            .bind(column(&leases, |lease| stored(lease.epoch)));
        self.number(delete).await
    }

    async fn outbox_changed(&self) {
        self.outbox_changed.notified().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        let row = self.database.connections.fetch_one(self.query(DEPTH)).await;
        row.and_then(|row| outbox_depth(&row)).map_err(|cause| self.database.error(cause))
    }
}
