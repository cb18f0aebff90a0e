//! One context's share of the database, which answers the ports.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::store::{Store, StoreId};
use tokio::sync::Notify;

use super::shared::Shared;
use super::state::State;
use crate::common::declared::{DOCUMENT_BYTES_MAX, Declared};
use crate::common::lock::lock;

/// One context's share of the database, as one open of it sees it.
pub(super) struct MemoryStore {
    pub(super) shared: Arc<Shared>,
    pub(super) declared: Declared,
    pub(super) state: Arc<Mutex<State>>,
    pub(super) outbox_changed: Arc<Notify>,
    /// Its indexes are kept while it lives.
    pub(super) _alive: Arc<()>,
}

#[async_trait]
impl Store for MemoryStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::new("memory", DOCUMENT_BYTES_MAX)
    }

    fn identity(&self) -> StoreId {
        self.shared.identity
    }

    async fn ping(&self) -> Result<()> {
        self.shared.check_open()
    }
}

impl MemoryStore {
    /// The context's state. It is never held across an await, so no call waits for the caller of
    /// another.
    pub(super) fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.shared.check_open()?;
        Ok(lock(&self.state))
    }
}
