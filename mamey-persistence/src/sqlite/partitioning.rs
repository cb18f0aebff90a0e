//! Remembers over how many partitions the work of a context is spread.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::store::{InstanceId, Member, Partitioning, PartitioningStore};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::store::SqliteStore;
use crate::sql::rows::partitioning;

const PARTITIONING: &str = "\
SELECT partitions, phase, other, changed_at FROM mamey_partitioning WHERE context = ?";

const BEGIN: &str = "\
INSERT INTO mamey_partitioning (context, partitions, phase, changed_at) VALUES (?, ?, 'stable', ?)
ON CONFLICT DO NOTHING";

const CHANGE: &str = "\
UPDATE mamey_partitioning SET partitions = ?, phase = ?, other = ?, changed_at = ?
WHERE context = ? AND partitions = ? AND phase = ? AND other IS ?";

const MEMBERS: &str = "\
SELECT holder, partitions, wanted FROM mamey_members
WHERE context = ? AND role IN ('relay', 'consumer') AND expires_at > ?";

#[async_trait]
impl PartitioningStore for SqliteStore {
    async fn partitioning(&self, first: u16) -> Result<(Partitioning, Duration)> {
        let now = self.database.clock.now();
        loop {
            let asked = sqlx::query(PARTITIONING).bind(self.context());
            let row = self.database.readers.fetch_optional(asked).await;
            let row = row.map_err(|cause| self.database.error(cause))?;
            if let Some(row) = row {
                let read = row.try_get(3).and_then(|at| Ok((partitioning(&row)?, at)));
                let (partitioning, at) = read.map_err(|cause| self.database.error(cause))?;
                return Ok((partitioning, now.duration_since(Timestamp::from_micros(at))));
            }
            let mut script = Script::default();
            script
                .statement(BEGIN, Expect::Anything)
                .bind(self.context())
                .bind(i64::from(first))
                .bind(now.as_micros());
            self.database.submit(Change(script)).await?;
        }
    }

    async fn change_partitioning(&self, from: Partitioning, to: Partitioning) -> Result<bool> {
        let mut script = Script::default();
        script
            .statement(CHANGE, Expect::Anything)
            .bind(i64::from(to.partitions))
            .bind(to.phase.as_str())
            .bind(to.phase.other().map(i64::from))
            .bind(self.database.clock.now().as_micros())
            .bind(self.context())
            .bind(i64::from(from.partitions))
            .bind(from.phase.as_str())
            .bind(from.phase.other().map(i64::from));
        self.database.submit(Change(script)).await
    }

    async fn members(&self) -> Result<Vec<Member>> {
        let now = self.database.clock.now().as_micros();
        let asked = sqlx::query(MEMBERS).bind(self.context()).bind(now);
        let rows = self.database.readers.fetch_all(asked).await;
        rows.and_then(|rows| rows.iter().map(member).collect())
            .map_err(|cause| self.database.error(cause))
    }
}

fn member(row: &SqliteRow) -> Result<Member, sqlx::Error> {
    Ok(Member::new(InstanceId::new(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?))
}

/// Runs a script, and says whether it has changed a row.
struct Change(Script);

#[async_trait]
impl Work for Change {
    type Output = bool;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<bool, Stop<bool>> {
        Ok(std::mem::take(&mut self.0).run(transaction).await?.changes > 0)
    }
}
