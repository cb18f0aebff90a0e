//! Documents that are loaded by many ids, read up to a number of bytes.

use std::collections::HashMap;

use mamey_core::Result;
use mamey_core::criteria::{Collection, Value};
use mamey_core::store::Document;

use crate::common::loaded::{too_large, within};

/// The documents of some ids.
pub(crate) struct Loaded {
    by_id: HashMap<Value, Document>,
    bytes: usize,
    bytes_max: usize,
}

impl Loaded {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { by_id: HashMap::new(), bytes: 0, bytes_max }
    }

    /// Whether this many bytes more are within the limit.
    pub(crate) fn admits(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_within()
    }

    pub(crate) fn is_within(&self) -> bool {
        self.bytes <= self.bytes_max
    }

    pub(crate) fn insert(&mut self, document: Document) {
        self.by_id.insert(document.id.clone(), document);
    }

    /// The documents in the order of the ids.
    ///
    /// # Errors
    /// `LimitExceeded` when they have more bytes than the limit.
    pub(crate) fn in_order_of(
        self,
        collection: &Collection,
        ids: &[Value],
    ) -> Result<Vec<Option<Document>>> {
        if !self.is_within() && ids.len() > 1 {
            return Err(too_large(collection, ids.len(), self.bytes_max));
        }
        let documents = ids.iter().map(|id| self.by_id.get(id).cloned()).collect();
        within(collection, documents, self.bytes_max)
    }
}
