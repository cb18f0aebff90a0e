//! Reads documents; filters are evaluated one document at a time.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::criteria::{Collection, Filter, Find, Value};
use mamey_core::store::{Document, DocumentStore};

use super::store::MemoryStore;

#[async_trait]
impl DocumentStore for MemoryStore {
    async fn load(
        &self,
        collection: &'static Collection,
        ids: &[Value],
    ) -> Result<Vec<Option<Document>>> {
        self.declared.check(collection)?;
        let state = self.state()?;
        let documents = state.documents.get(collection.name);
        let load = |id| documents.and_then(|documents| documents.document(id));
        Ok(ids.iter().map(load).collect())
    }

    async fn find(&self, find: &Find) -> Result<Vec<Document>> {
        self.declared.check_find(find)?;
        let state = self.state()?;
        let documents = state.documents.get(find.collection.name);
        Ok(documents.map_or_else(Vec::new, |documents| documents.find(find)))
    }

    async fn count(&self, collection: &'static Collection, filter: &Filter) -> Result<u64> {
        self.declared.check_filter(collection, filter)?;
        let state = self.state()?;
        let documents = state.documents.get(collection.name);
        Ok(documents.map_or(0, |documents| documents.matching(filter).count() as u64))
    }
}
