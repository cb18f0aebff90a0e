//! The store in memory: the reference for what every store does, and the one for tests.

mod commit;
mod document;
mod inbox;
mod lease;
mod outbox;
mod parking;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::message::ContextName;
use mamey_core::store::{Database, Schema, Store};
use mamey_core::{Error, Result};
use tokio::sync::Notify;

use self::document::Documents;
use self::inbox::Inbox;
use self::lease::Leases;
use self::outbox::Outbox;
use self::parking::Parking;
use crate::common::declared::{DOCUMENT_BYTES_MAX, Declared};
use crate::common::errors::closed;
use crate::common::lock::lock;
use crate::common::wakeup::Listeners;

/// A database in the memory of this process.
///
/// Clones share the data, and so do several opens of one context: that is how tests run several
/// instances. Everything ends with the process.
#[derive(Clone)]
pub struct MemoryDatabase {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    closed: AtomicBool,
    contexts: Mutex<HashMap<ContextName, Arc<Mutex<State>>>>,
}

/// One context's share, as one open of it sees it.
struct MemoryStore {
    shared: Arc<Shared>,
    declared: Declared,
    state: Arc<Mutex<State>>,
    outbox_changed: Arc<Notify>,
}

/// Everything that one context stores.
#[derive(Default)]
struct State {
    documents: HashMap<&'static str, Documents>,
    outbox: Outbox,
    inbox: Inbox,
    parking: Parking,
    leases: Leases,
    commits: u64,
    listeners: Listeners,
}

impl MemoryDatabase {
    /// An empty database whose leases and receipts are stamped by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                closed: AtomicBool::new(false),
                contexts: Mutex::default(),
            }),
        }
    }
}

impl Default for MemoryDatabase {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
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
        self.shared.check_open()?;
        let declared = Declared::new(schema)?;
        let state = {
            let mut contexts = lock(&self.shared.contexts);
            Arc::clone(contexts.entry(schema.context.clone()).or_default())
        };
        let outbox_changed = Arc::new(Notify::new());
        lock(&state).admit(&declared, &outbox_changed)?;
        Ok(Arc::new(MemoryStore {
            shared: Arc::clone(&self.shared),
            declared,
            state,
            outbox_changed,
        }))
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities {
            name: "memory",
            durable: false,
            shared: false,
            document_bytes_max: DOCUMENT_BYTES_MAX,
        }
    }

    async fn ping(&self) -> Result<()> {
        self.shared.check_open()
    }
}

impl Shared {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        Ok(())
    }
}

impl MemoryStore {
    /// The context's state. Never held across an await, so that no call waits for another's caller.
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.shared.check_open()?;
        Ok(lock(&self.state))
    }
}

impl State {
    fn admit(&mut self, declared: &Declared, listener: &Arc<Notify>) -> Result<()> {
        for (name, collection) in &declared.collections {
            let documents =
                self.documents.entry(name).or_insert_with(|| Documents::new(collection));
            if documents.collection != *collection {
                return Err(Error::misconfigured(format!(
                    "collection `{name}` is open with other indexes: the memory store cannot \
                     change them, start with a new one"
                )));
            }
        }
        self.listeners.add(listener);
        Ok(())
    }
}
