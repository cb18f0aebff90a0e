//! Shares partitions among the instances that open this database.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRequest, LeaseRole, LeaseStore};

use super::store::MemoryStore;

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings> {
        let now = self.shared.clock.now();
        self.state()?.leases.hold(&request, now)
    }

    async fn release_leases(&self, leases: &[Lease]) -> Result<()> {
        self.state()?.leases.release(leases);
        Ok(())
    }

    async fn retire(&self, role: LeaseRole, holder: InstanceId) -> Result<()> {
        self.state()?.leases.retire(role, holder);
        Ok(())
    }
}
