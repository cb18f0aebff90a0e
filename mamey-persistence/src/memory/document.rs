//! Reads documents; filters are evaluated one document at a time.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::criteria::{Collection, Filter, Find, Value};
use mamey_core::store::{Document, DocumentStore, Found};

use super::store::MemoryStore;
use crate::common::loaded::within;

#[async_trait]
impl DocumentStore for MemoryStore {
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
        bytes_max: usize,
    ) -> Result<Vec<Option<Document>>> {
        self.declared.check(collection)?;
        let state = self.state()?;
        let documents = state.documents.get(collection.name);
        let load = |id| documents.and_then(|documents| documents.document(id));
        within(collection, ids.iter().map(load).collect(), bytes_max)
    }

    async fn find(&self, find: &Find) -> Result<Found> {
        self.declared.check_find(find)?;
        let state = self.state()?;
        let documents = state.documents.get(find.collection.name);
        documents.map_or_else(|| Ok(Found::default()), |documents| documents.find(find))
    }

    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64> {
        self.declared.check_filter(collection, filter)?;
        let state = self.state()?;
        let documents = state.documents.get(collection.name);
        Ok(documents.map_or(0, |documents| documents.matching(filter).count() as u64))
    }
}
