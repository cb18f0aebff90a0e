//! Keeps messages that were given up before they were published, in the order in which they were.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{RecordId, UndeliveredMessage, UndeliveredStore, check_undelivered_page};

use super::store::MemoryStore;

#[async_trait]
impl UndeliveredStore for MemoryStore {
    async fn undelivered(
        &self,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<UndeliveredMessage>> {
        check_undelivered_page(limit as usize)?;
        Ok(self.state()?.outbox.stalls().undelivered(after, limit))
    }

    async fn replay_undelivered(&self, ids: &[RecordId]) -> Result<u64> {
        check_undelivered_page(ids.len())?;
        let mut state = self.state()?;
        let replayed = state.outbox.replay(ids);
        if replayed > 0 {
            state.listeners.notify();
        }
        Ok(replayed)
    }

    async fn discard_undelivered(&self, ids: &[RecordId]) -> Result<u64> {
        check_undelivered_page(ids.len())?;
        Ok(self.state()?.outbox.discard(ids))
    }

    async fn undelivered_count(&self) -> Result<u64> {
        Ok(self.state()?.outbox.stalls().undelivered_count())
    }
}
