//! One context's share of the database: what every port of the store works with.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::clock::Clock;
use mamey_core::message::ContextName;
use mamey_core::store::Store;
use tokio::sync::Notify;

use super::state::State;
use crate::common::declared::{DOCUMENT_BYTES_MAX, Declared};
use crate::common::errors::closed;
use crate::common::lock::lock;

/// One context's share of the database, as one open of it sees it.
pub(super) struct MemoryStore {
    pub(super) shared: Arc<Shared>,
    pub(super) declared: Declared,
    pub(super) state: Arc<Mutex<State>>,
    pub(super) outbox_changed: Arc<Notify>,
}

/// The database, which all contexts on it share.
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    closed: AtomicBool,
    contexts: Mutex<HashMap<ContextName, Arc<Mutex<State>>>>,
}

#[async_trait]
impl Store for MemoryStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::new("memory", DOCUMENT_BYTES_MAX)
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

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, closed: AtomicBool::new(false), contexts: Mutex::default() }
    }

    /// The state of a context, which all opens of it share.
    pub(super) fn state(&self, context: &ContextName) -> Result<Arc<Mutex<State>>> {
        self.check_open()?;
        Ok(Arc::clone(lock(&self.contexts).entry(context.clone()).or_default()))
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        Ok(())
    }
}
