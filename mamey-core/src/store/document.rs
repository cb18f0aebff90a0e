//! The port to documents: optimistic reads that hold nothing.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;
use crate::criteria::{Filter, Value};
use crate::domain::Collection;

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id.
    pub id: Value,
    /// Its version, counted from 1 and raised by one with each put.
    pub version: u64,
    /// The aggregate as JSON.
    pub data: Bytes,
}

/// One key of an order; see [`Find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// An indexed field or [`ID_FIELD`](crate::criteria::ID_FIELD).
    pub field: &'static str,
    /// Largest first and null last, instead of smallest first and null first.
    pub descending: bool,
}

/// Which documents to find.
#[derive(Clone, Debug)]
pub struct Find {
    /// Where.
    pub collection: &'static Collection,
    /// Which.
    pub filter: Filter,
    /// In which order; the id is always the last key.
    pub order: Vec<SortKey>,
    /// How many at most.
    pub limit: u32,
}

/// Reads documents. Sees what is committed and nothing else; holds no lock or connection between
/// calls.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// The documents with these ids, in the order of the ids, `None` for those that are absent.
    ///
    /// # Errors
    /// `Misconfigured` when the collection was not declared to the context.
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
