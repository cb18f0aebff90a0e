//! What all contexts in one database share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mamey_core::Result;
use mamey_core::clock::Clock;
use mamey_core::id::new_uuid;
use mamey_core::message::ContextName;
use mamey_core::store::StoreId;

use super::state::State;
use crate::common::errors::closed;
use crate::common::lock::lock;

/// One database.
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) identity: StoreId,
    closed: AtomicBool,
    contexts: Mutex<HashMap<ContextName, Arc<Mutex<State>>>>,
}

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let identity = StoreId::new(new_uuid());
        Self { clock, identity, closed: AtomicBool::new(false), contexts: Mutex::default() }
    }

    /// The state of a context, which all opens of it share.
    pub(super) fn state(&self, context: &ContextName) -> Result<Arc<Mutex<State>>> {
        self.check_open()?;
        Ok(Arc::clone(lock(&self.contexts).entry(context.clone()).or_default()))
    }

    /// The states of all contexts.
    pub(super) fn states(&self) -> Result<Vec<(ContextName, Arc<Mutex<State>>)>> {
        self.check_open()?;
        let contexts = lock(&self.contexts);
        Ok(contexts.iter().map(|(name, state)| (name.clone(), Arc::clone(state))).collect())
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        Ok(())
    }
}
