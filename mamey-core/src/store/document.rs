//! The port to documents: optimistic reads that hold no lock and no connection.

use async_trait::async_trait;
use bytes::Bytes;

use super::OpenTransaction;
use crate::Result;
use crate::criteria::{Collection, Cursor, Filter, Find, Value};

/// The most bytes of documents that one load of several ids returns: 64 MiB.
pub const LOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most ids that are loaded at once.
pub const LOAD_IDS_MAX: usize = 10_000;

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document {
    /// Its id.
    pub id: Value,
    /// Its version, counted from 1 and raised by one with each put.
    pub version: u64,
    /// The aggregate as JSON.
    pub data: Bytes,
}

impl Document {
    /// A document of these parts.
    #[must_use]
    pub const fn new(id: Value, version: u64, data: Bytes) -> Self {
        Self { id, version, data }
    }
}

/// What a find returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The documents, in the order asked for.
    pub documents: Vec<Document>,
    /// The cursor after the last of them if one of the limits ended the find, so that there is more.
    /// It holds what the index holds, because a document may be one that cannot be read.
    pub next: Option<Cursor>,
}

impl Found {
    /// These documents, and the cursor after them if there are more.
    #[must_use]
    pub const fn new(documents: Vec<Document>, next: Option<Cursor>) -> Self {
        Self { documents, next }
    }
}

/// Reads documents. It sees only what is committed, and holds no lock or connection between calls.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// The documents with these ids, in the order of the ids, `None` for those that are absent.
    ///
    /// No more than `bytes_max` bytes of documents are returned, and not many more are in memory at a
    /// time. One id alone is loaded however long its document is.
    ///
    /// # Errors
    /// `LimitExceeded` when the documents of several ids have more bytes, `Misconfigured` when the context
    /// did not declare the collection.
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        bytes_max: usize,
    ) -> Result<Vec<Option<Document>>>;

    /// The documents that match, in order, up to the find's limits. No more bytes than these and one
    /// document more are in memory at a time.
    ///
    /// # Errors
    /// `Misconfigured` when the collection was not declared, `Invalid` for a field that is not
    /// indexed.
    async fn find(&self, find: &Find) -> Result<Found>;

    /// How many documents match.
    ///
    /// # Errors
    /// As [`DocumentStore::find`].
    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64>;

    /// The same reads inside a transaction that a handler has opened, over its connection; `None`, unless
    /// this store has opened it.
    fn inside<'t>(
        &'t self,
        _transaction: &'t mut OpenTransaction,
    ) -> Option<Box<dyn DocumentStore + 't>> {
        None
    }
}
