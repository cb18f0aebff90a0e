//! What all handler calls of one bounded context share.

use std::fmt;
use std::sync::Arc;

use super::unreadable::{UnreadableReport, Unreported};
use crate::clock::Clock;
use crate::id::IdSource;
use crate::message::{Catalog, ContextName};
use crate::store::Store;
use crate::transport::Requester;

/// What all handler calls of one bounded context share.
#[non_exhaustive]
pub struct Scope {
    /// The context's name, the sender of its messages.
    pub name: ContextName,
    /// Its share of the database.
    pub store: Arc<dyn Store>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// What it may publish.
    pub catalog: Catalog,
    /// Asks other contexts.
    pub requester: Arc<dyn Requester>,
    /// Is told of documents that cannot be read; nobody unless set.
    pub unreadable: Arc<dyn UnreadableReport>,
}

impl Scope {
    /// What all handler calls of the context `name` share.
    #[must_use]
    pub fn new(
        name: ContextName,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        catalog: Catalog,
        requester: Arc<dyn Requester>,
    ) -> Self {
        Self { name, store, clock, ids, catalog, requester, unreadable: Arc::new(Unreported) }
    }

    /// Who is told of documents that cannot be read.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Arc<dyn UnreadableReport>) -> Self {
        self.unreadable = unreadable;
        self
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("name", &self.name).finish_non_exhaustive()
    }
}
