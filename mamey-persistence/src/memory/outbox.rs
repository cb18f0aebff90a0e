//! Keeps committed messages until the relay has published them.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{
    Deletion, Lease, OutboxDepth, OutboxPage, OutboxRead, OutboxStore, RecordId,
};

use super::store::MemoryStore;

#[async_trait]
impl OutboxStore for MemoryStore {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage> {
        Ok(self.state()?.outbox.read(read))
    }

    async fn delete_published(&self, published: &[(Lease, RecordId)]) -> Result<Deletion> {
        let mut state = self.state()?;
        let state = &mut *state;
        Ok(Deletion::of(state.outbox.delete_published(published, &state.leases)))
    }

    /// Commits are visible in the order of their sequences.
    async fn outbox_complete_to(&self, read_to: u64) -> Result<u64> {
        Ok(read_to)
    }

    async fn outbox_changed(&self) {
        self.outbox_changed.notified().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        Ok(self.state()?.outbox.depth())
    }
}
