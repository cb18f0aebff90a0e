//! Keeps committed messages until the relay confirms them.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::Partition;
use mamey_core::store::{Lease, OutboxDepth, OutboxRead, OutboxRecord, OutboxStore};

use super::PostgresStore;
use super::commit::batch::column;
use super::query::text::escape;
use crate::sql::rows::{outbox_depth, outbox_record, stored};

/// What is held stands in a subquery, which is hashed; an array would be searched for each record.
const READ: &str = "\
SELECT sequence, metadata, payload FROM mamey._outbox
WHERE sequence > $1 AND slot = ANY($2) AND (key IS NULL OR key <> ALL($3))
  AND sequence NOT IN (SELECT unnest($4::bigint[]))
ORDER BY sequence LIMIT $5";

/// The lease's row is held until the deletion is done, so that it does not change hands meanwhile.
///
/// The deletion need not be on the disk when this returns: what a crash brings back is published
/// again, and absorbed. Without it every other commit waits for one flush more.
const CONFIRM: &str = "\
WITH held AS (
  SELECT place, lease.number, lease.partitions FROM mamey._leases AS lease
  JOIN unnest($3::text[], $4::int[], $5::int[], $6::bigint[])
    WITH ORDINALITY AS asked (role, number, partitions, epoch, place)
    ON (lease.role, lease.number, lease.partitions, lease.epoch)
     = (asked.role, asked.number, asked.partitions, asked.epoch)
  ORDER BY lease.role, lease.number FOR SHARE OF lease
), gone AS (
  DELETE FROM mamey._outbox AS record
  USING unnest($1::bigint[], $2::bigint[]) AS asked (sequence, place) JOIN held USING (place)
  WHERE record.sequence = asked.sequence AND record.slot % held.partitions = held.number
  RETURNING record.sequence
), counted AS (
  UPDATE mamey._counters SET value = value + (SELECT count(*) FROM gone)
  WHERE name = 'confirmed' AND EXISTS (SELECT 1 FROM gone)
)
SELECT count(*), set_config('synchronous_commit', 'off', true) FROM gone";

const DEPTH: &str = "\
SELECT (SELECT count(*) FROM mamey._outbox),
  (SELECT sent_at FROM mamey._outbox ORDER BY sequence LIMIT 1),
  (SELECT value FROM mamey._counters WHERE name = 'confirmed')";

#[async_trait]
impl OutboxStore for PostgresStore {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<Vec<OutboxRecord>> {
        let skip: Vec<_> = read.skip.iter().map(|key| escape(key.as_str()).into_owned()).collect();
        let read = self
            .query(READ)
            .bind(stored(read.after))
            .bind(slots(read.leases.iter().map(|lease| lease.partition)))
            .bind(skip)
            .bind(read.held.iter().map(|sequence| stored(*sequence)).collect::<Vec<_>>())
            .bind(i64::from(read.limit));
        let rows = self.database.connections.fetch_all(read).await;
        rows.and_then(|rows| rows.iter().map(outbox_record).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn delete_published(&self, confirmed: &[(Lease, u64)]) -> Result<u64> {
        if confirmed.is_empty() {
            return Ok(0);
        }
        let mut leases: Vec<Lease> = Vec::new();
        let (mut sequences, mut places) = (Vec::new(), Vec::new());
        for (lease, sequence) in confirmed {
            let known = leases.iter().position(|known| known == lease);
            let place = known.unwrap_or(leases.len());
            if known.is_none() {
                leases.push(*lease);
            }
            sequences.push(stored(*sequence));
            places.push(stored(place as u64 + 1));
        }
        let confirm = self
            .query(CONFIRM)
            .bind(sequences)
            .bind(places)
            .bind(column(&leases, |lease| lease.role.as_str()))
            .bind(column(&leases, |lease| i32::from(lease.partition.number())))
            .bind(column(&leases, |lease| i32::from(lease.partition.of())))
            .bind(column(&leases, |lease| stored(lease.epoch)));
        self.number(confirm).await
    }

    async fn outbox_changed(&self) {
        self.outbox_changed.notified().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        let row = self.database.connections.fetch_one(self.query(DEPTH)).await;
        row.and_then(|row| outbox_depth(&row)).map_err(|cause| self.database.error(cause))
    }
}

/// The slots of some partitions.
pub(super) fn slots(partitions: impl Iterator<Item = Partition>) -> Vec<i16> {
    partitions.flat_map(Partition::slots).filter_map(|slot| i16::try_from(slot).ok()).collect()
}
