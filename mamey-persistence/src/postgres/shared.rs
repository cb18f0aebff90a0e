//! What all contexts on one database share: connections, the wake-up, limits and counters.

use std::sync::Arc;

use mamey_core::clock::Clock;
use mamey_core::store::StoreId;
use mamey_core::{Error, Result};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::commit::turns::Turns;
use super::connection::Connections;
use super::connection::servers::Servers;
use super::connection::shares::Purpose;
use super::error::store_error;
use super::options::PostgresOptions;
use super::schema::statement::in_schema;
use super::stats::Counters;
use super::wakeup::Wakeup;
use crate::common::errors::closed;

/// How many units of all contexts wait for their commit at a time; further callers wait.
const UNITS_WAITING_MAX: u32 = 1024;

const IDENTITY: &str = "SELECT id FROM mamey._identity";

/// One connected database.
pub(crate) struct Shared {
    /// The URL without secrets.
    pub(crate) url: String,
    pub(crate) connections: Arc<Connections>,
    pub(crate) counters: Counters,
    pub(crate) wakeup: Arc<Wakeup>,
    /// The units that wait for what other transactions hold.
    pub(crate) turns: Turns,
    clock: Option<Arc<dyn Clock>>,
    /// Bounds the units that were handed over and have no outcome yet.
    units: Arc<Semaphore>,
    /// The tasks of the wake-up, once a context is open.
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl Shared {
    /// `url` is the URL without secrets.
    pub(crate) fn new(url: String, servers: Servers, options: PostgresOptions) -> Self {
        Self {
            url,
            connections: Arc::new(Connections::new(servers, &options)),
            counters: Counters::default(),
            wakeup: Arc::new(Wakeup::new(options.listen)),
            turns: Turns::default(),
            clock: options.clock,
            units: Arc::new(Semaphore::new(UNITS_WAITING_MAX as usize)),
            tasks: Mutex::default(),
        }
    }

    /// The time in microseconds to hand to a statement; none, unless a test sets a clock.
    pub(crate) fn now(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| clock.now().as_micros())
    }

    /// A failure of this database as an error of ours.
    pub(crate) fn error(&self, cause: impl Into<Arc<sqlx::Error>>) -> Error {
        store_error(&self.url, cause)
    }

    /// What tells the data of a context's schema, which exists, from that of another database.
    pub(crate) async fn identity(&self, schema: &str) -> Result<StoreId> {
        let read = AssertSqlSafe(in_schema(schema, IDENTITY));
        let read = sqlx::query(read).persistent(false);
        let row = self.connections.fetch_one(Purpose::Read, read).await;
        let id = row.and_then(|row| row.try_get(0)).map_err(|cause| self.error(cause))?;
        Ok(StoreId::new(id))
    }

    /// Waits until one more unit may be handed over.
    pub(crate) async fn unit_permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.units).acquire_owned().await.map_err(|_| closed())
    }

    /// Starts the wake-up between instances, unless it runs.
    pub(crate) async fn start_wakeup(&self) {
        let mut tasks = self.tasks.lock().await;
        if tasks.is_none() {
            *tasks = Some(self.wakeup.start(&self.connections).await);
        }
    }

    /// Waits for the units that were handed over, then closes the connections.
    pub(crate) async fn close(&self) {
        // All permits are back once every unit that was handed over has its outcome.
        let all = self.units.acquire_many(UNITS_WAITING_MAX).await;
        self.units.close();
        drop(all);
        let tasks = self.tasks.lock().await.take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
        self.connections.close().await;
    }
}
