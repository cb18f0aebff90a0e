//! Remembers over how many partitions the work of a context is spread.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{InstanceId, Member, Partitioning, PartitioningStore};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::connection::shares::Purpose;
use super::store::PostgresStore;
use crate::sql::rows::partitioning;

const PARTITIONING: &str = "\
SELECT partitions::bigint, phase, other::bigint, mamey._now($1) - changed_at
FROM mamey._partitioning";

const BEGIN: &str = "\
INSERT INTO mamey._partitioning (partitions, phase, changed_at)
VALUES ($1, 'stable', mamey._now($2)) ON CONFLICT DO NOTHING";

const CHANGE: &str = "\
UPDATE mamey._partitioning
SET partitions = $1, phase = $2, other = $3, changed_at = mamey._now($4)
WHERE partitions = $5 AND phase = $6 AND other IS NOT DISTINCT FROM $7";

const MEMBERS: &str = "\
SELECT holder, partitions, wanted FROM mamey._members
WHERE role IN ('relay', 'consumer') AND expires_at > (SELECT mamey._now($1))";

#[async_trait]
impl PartitioningStore for PostgresStore {
    async fn partitioning(&self, first: u16) -> Result<(Partitioning, Duration)> {
        loop {
            let asked = self.query(PARTITIONING).bind(self.database.now());
            let row = self.database.connections.fetch_optional(Purpose::Work, asked).await;
            let row = row.map_err(|cause| self.database.error(cause))?;
            if let Some(row) = row {
                let read = row.try_get(3).and_then(|age: i64| Ok((partitioning(&row)?, age)));
                let (partitioning, age) = read.map_err(|cause| self.database.error(cause))?;
                return Ok((partitioning, Duration::from_micros(age.max(0).unsigned_abs())));
            }
            let begin = self.query(BEGIN).bind(i32::from(first)).bind(self.database.now());
            let begun = self.database.connections.execute(Purpose::Work, begin).await;
            begun.map_err(|cause| self.database.error(cause))?;
        }
    }

    async fn change_partitioning(&self, from: Partitioning, to: Partitioning) -> Result<bool> {
        let change = self
            .query(CHANGE)
            .bind(i32::from(to.partitions))
            .bind(to.phase.as_str())
            .bind(to.phase.other().map(i32::from))
            .bind(self.database.now())
            .bind(i32::from(from.partitions))
            .bind(from.phase.as_str())
            .bind(from.phase.other().map(i32::from));
        let changed = self.database.connections.execute(Purpose::Work, change).await;
        changed.map(|changed| changed > 0).map_err(|cause| self.database.error(cause))
    }

    async fn members(&self) -> Result<Vec<Member>> {
        let asked = self.query(MEMBERS).bind(self.database.now());
        let rows = self.database.connections.fetch_all(Purpose::Work, asked).await;
        rows.and_then(|rows| rows.iter().map(member).collect())
            .map_err(|cause| self.database.error(cause))
    }
}

fn member(row: &PgRow) -> Result<Member, sqlx::Error> {
    let narrow =
        |number: i32| u16::try_from(number).map_err(|cause| sqlx::Error::Decode(cause.into()));
    let (partitions, wanted) = (narrow(row.try_get(1)?)?, narrow(row.try_get(2)?)?);
    Ok(Member::new(InstanceId::new(row.try_get(0)?), partitions, wanted))
}
