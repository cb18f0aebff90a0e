//! Everything that one context stores.

pub(crate) mod documents;
mod inbox;
mod leases;
mod outbox;
mod parking;

use std::collections::HashMap;
use std::sync::Arc;

use mamey_core::{Error, Result};
use tokio::sync::Notify;

use self::documents::Documents;
use self::inbox::Inbox;
use self::leases::Leases;
use self::outbox::Outbox;
use self::parking::Parking;
use crate::common::declared::Declared;
use crate::common::wakeup::Listeners;

/// Everything that one context stores.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) documents: HashMap<&'static str, Documents>,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    pub(crate) parking: Parking,
    pub(crate) leases: Leases,
    pub(crate) commits: u64,
    pub(crate) listeners: Listeners,
}

impl State {
    /// Adds an open of the context with the collections that it declares.
    ///
    /// # Errors
    /// `Misconfigured` for a collection that is open with other indexes.
    pub(crate) fn admit(&mut self, declared: &Declared, listener: &Arc<Notify>) -> Result<()> {
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
