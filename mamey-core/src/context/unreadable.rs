//! Who is told of documents that a handler meets and this build cannot read.

use crate::criteria::UnreadableDocument;

/// Is told of documents that this build cannot read, so that somebody can log and count them.
pub trait UnreadableReport: Send + Sync {
    /// A read met this document. The same one may be met again and again.
    fn met(&self, document: &UnreadableDocument);
}

/// Nobody is told.
pub(super) struct Unreported;

impl UnreadableReport for Unreported {
    fn met(&self, _: &UnreadableDocument) {}
}
