//! Reports documents that this build cannot read, each once, and counts them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mamey_core::LogThrottle;
use mamey_core::context::UnreadableReport;
use mamey_core::criteria::{UnreadableDocument, Value};
use mamey_core::message::ContextName;

/// How many documents are remembered and counted; further ones are logged now and then.
const REMEMBERED_MAX: usize = 4096;

/// The documents of one context that were met and could not be read.
pub(crate) struct UnreadableDocuments {
    context: ContextName,
    met: Mutex<Met>,
}

#[derive(Default)]
struct Met {
    /// Collection, id and version: a document that was written again is another one.
    documents: BTreeSet<(&'static str, Value, u64)>,
    throttle: LogThrottle,
}

impl UnreadableDocuments {
    pub(crate) fn new(context: ContextName) -> Self {
        Self { context, met: Mutex::default() }
    }

    /// How many there are, each counted once.
    pub(crate) fn count(&self) -> u64 {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).documents.len() as u64
    }

    /// Whether the document is to be logged.
    fn is_new(&self, document: &UnreadableDocument) -> bool {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let document = (document.collection, document.id.clone(), document.version);
        if met.documents.len() < REMEMBERED_MAX {
            return met.documents.insert(document);
        }
        !met.documents.contains(&document) && met.throttle.admit(Instant::now()).is_some()
    }
}

impl UnreadableReport for UnreadableDocuments {
    fn met(&self, document: &UnreadableDocument) {
        if self.is_new(document) {
            let UnreadableDocument { collection, id, version, why, .. } = document;
            tracing::warn!(
                context = %self.context, collection, %id, version, why,
                "a document cannot be read; it stays for a build that can"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_counted_once_for_each_version_up_to_a_limit() {
        let documents = UnreadableDocuments::new(ContextName::new("orders").unwrap());
        let document = |id, version| {
            UnreadableDocument::new("orders", Value::Int(id), version, "it is damaged".to_owned())
        };
        assert!(documents.is_new(&document(1, 1)));
        assert!(!documents.is_new(&document(1, 1)));
        assert!(documents.is_new(&document(1, 2)));
        assert_eq!(documents.count(), 2);
        for id in 0..10_000 {
            documents.met(&document(id, 1));
        }
        assert_eq!(documents.count(), REMEMBERED_MAX as u64);
    }
}
