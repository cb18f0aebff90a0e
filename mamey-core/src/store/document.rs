//! The port to documents: optimistic reads that hold no lock and no connection.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
use crate::criteria::{Collection, Filter, Find, Value};

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

/// Reads documents. It sees only what is committed, and holds no lock or connection between calls.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// The documents with these ids, in the order of the ids, `None` for those that are absent.
    ///
    /// # Errors
    /// `Misconfigured` when the context did not declare the collection.
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
    ) -> Result<Vec<Option<Document>>>;

    /// The documents that match, in order.
    ///
    /// # Errors
    /// `Misconfigured` when the collection was not declared, `Invalid` for a field that is not
    /// indexed.
    async fn find(&self, find: &Find) -> Result<Vec<Document>>;

    /// How many documents match.
    ///
    /// # Errors
    /// As [`DocumentStore::find`].
    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64>;
}
