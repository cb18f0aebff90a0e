//! Keeps records whose publish failed until their next try.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{FailedRecord, Lease, StalledPage, StalledRead, StalledStore};

use super::store::MemoryStore;

#[async_trait]
impl StalledStore for MemoryStore {
    async fn record_failures(&self, failed: &[(Lease, FailedRecord)]) -> Result<u64> {
        let now = self.shared.clock.now();
        let mut state = self.state()?;
        let state = &mut *state;
        Ok(state.outbox.record_failures(failed, &state.leases, now))
    }

    async fn due_stalled(&self, read: StalledRead<'_>) -> Result<StalledPage> {
        let now = self.shared.clock.now();
        Ok(self.state()?.outbox.stalls().due(read, now))
    }
}
