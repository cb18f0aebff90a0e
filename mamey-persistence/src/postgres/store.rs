//! One context's share of the database, which answers the ports.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::store::{Store, StoreId};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::{Mutex, Notify};

use super::commit::committer::Committer;
use super::completeness::Completeness;
use super::query::bind::PgQuery;
use super::schema::statement::in_schema;
use super::schema::tables::Tables;
use super::shared::Shared;
use crate::common::declared::DOCUMENT_BYTES_MAX;

/// One context's share of the database, as one open of it sees it.
pub(crate) struct PostgresStore {
    pub(crate) database: Arc<Shared>,
    pub(crate) identity: StoreId,
    pub(crate) tables: Tables,
    pub(crate) committer: Arc<Committer>,
    pub(crate) outbox_changed: Arc<Notify>,
    pub(crate) completeness: Mutex<Completeness>,
    /// Whether there were stalled records when the outbox was read last.
    pub(crate) stalls: AtomicBool,
    /// Records that the functions of this build are in use.
    pub(crate) touch_functions: Arc<str>,
}

#[async_trait]
impl Store for PostgresStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::new("postgres", DOCUMENT_BYTES_MAX).with_durable(true).with_shared(true)
    }

    fn identity(&self) -> StoreId {
        self.identity
    }

    async fn ping(&self) -> Result<()> {
        let asked = self.database.connections.fetch_one(sqlx::query("SELECT 1")).await;
        asked.map(drop).map_err(|cause| self.database.error(cause))
    }
}

impl PostgresStore {
    /// A statement about this context's schema.
    pub(crate) fn query(&self, sql: &str) -> PgQuery<'static> {
        sqlx::query(AssertSqlSafe(in_schema(&self.tables.schema, sql)))
            .persistent(self.database.connections.keeps_statements())
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, query: PgQuery<'_>) -> Result<u64> {
        let row = self.database.connections.fetch_one(query).await;
        let count = row.and_then(|row| row.try_get::<i64, _>(0));
        count.map(i64::unsigned_abs).map_err(|cause| self.database.error(cause))
    }
}
