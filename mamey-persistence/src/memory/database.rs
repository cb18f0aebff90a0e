//! A database in memory, and the contexts that are opened in it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::clock::Clock;
use mamey_core::connection::ConnectionUrl;
use mamey_core::store::{Database, Schema, Store};
use mamey_core::{Error, Result};
use tokio::sync::Notify;

use super::options::MemoryOptions;
use super::shared::Shared;
use super::store::MemoryStore;
use crate::common::declared::Declared;
use crate::common::lock::lock;

/// A database in the memory of this process.
///
/// Clones share the data, and so do several opens of one context: that is how tests run several
/// instances. The data ends with the process.
///
/// ```
/// use mamey::message::ContextName;
/// use mamey::persistence::MemoryDatabase;
/// use mamey::store::{Database, Schema};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mamey::Result<()> {
/// let database = MemoryDatabase::new();
/// let orders = Schema::new(ContextName::new("orders")?, Vec::new());
/// let store = database.open(&orders).await?;
/// assert_eq!(store.outbox_depth().await?.records, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryDatabase {
    shared: Arc<Shared>,
}

/// Checks that a URL is the one of this store.
pub(crate) fn check(url: &str) -> Result<()> {
    if url == "memory:" {
        return Ok(());
    }
    Err(Error::misconfigured("the store in memory has no name and no options: write `memory:`"))
}

/// A new, empty database.
pub(crate) async fn connect(
    url: ConnectionUrl,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Database>> {
    check(url.as_str())?;
    let options = MemoryOptions::default().with_clock(clock);
    Ok(Arc::new(MemoryDatabase::with_options(options)))
}

impl MemoryDatabase {
    /// An empty database with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(MemoryOptions::default())
    }

    /// An empty database.
    #[must_use]
    pub fn with_options(options: MemoryOptions) -> Self {
        Self { shared: Arc::new(Shared::new(options.clock)) }
    }
}

impl Default for MemoryDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryDatabase")
    }
}

#[async_trait]
impl Database for MemoryDatabase {
    async fn open(&self, schema: &Schema) -> Result<Arc<dyn Store>> {
        let shared = Arc::clone(&self.shared);
        let declared = Declared::new(schema)?;
        let state = shared.state(&schema.context)?;
        let outbox_changed = Arc::new(Notify::new());
        let alive = Arc::new(());
        lock(&state).admit(&declared, &alive, &outbox_changed)?;
        Ok(Arc::new(MemoryStore { shared, declared, state, outbox_changed, _alive: alive }))
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }

    async fn close(&self) {
        self.shared.close();
    }
}
