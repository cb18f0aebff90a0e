//! One context's share of the file, which answers the ports.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::criteria::Collection;
use mamey_core::store::{Store, StoreId};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Row, Sqlite};
use tokio::sync::Notify;

use super::schema::table::Table;
use super::shared::Shared;
use crate::common::declared::{DOCUMENT_BYTES_MAX, Declared};
use crate::common::errors::closed;
use crate::common::wakeup::Listeners;

/// One context's share of the file, as one open of it sees it.
pub(super) struct SqliteStore {
    pub(super) database: Arc<Shared>,
    pub(super) declared: Declared,
    pub(super) tables: HashMap<&'static str, Arc<Table>>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) outbox_changed: Arc<Notify>,
    /// Lives as long as the store; see `Builds`.
    pub(super) _build: Arc<()>,
}

#[async_trait]
impl Store for SqliteStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::new("sqlite", DOCUMENT_BYTES_MAX).with_durable(true)
    }

    fn identity(&self) -> StoreId {
        self.database.identity
    }

    async fn ping(&self) -> Result<()> {
        let asked = self.database.readers.fetch_one(sqlx::query("SELECT 1")).await;
        asked.map(drop).map_err(|cause| self.database.error(cause))
    }
}

impl SqliteStore {
    pub(super) fn context(&self) -> &str {
        self.declared.context.as_str()
    }

    pub(super) fn table(&self, collection: &'static Collection) -> Result<&Table> {
        self.declared.check(collection)?;
        let table = self.tables.get(collection.name).map(AsRef::as_ref);
        // `check` has just found the collection, so this error cannot occur.
        table.ok_or_else(closed)
    }

    /// The one number that a query gives.
    pub(super) async fn number(&self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<u64> {
        let row = self.database.readers.fetch_one(query).await;
        let count = row.and_then(|row| row.try_get::<i64, _>(0));
        count.map(i64::unsigned_abs).map_err(|cause| self.database.error(cause))
    }

    /// The one number that a query about this context gives.
    pub(super) async fn count(&self, sql: &'static str) -> Result<u64> {
        self.number(sqlx::query(sql).bind(self.context())).await
    }
}
