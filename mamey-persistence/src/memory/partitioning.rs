//! Remembers over how many partitions the work of a context is spread.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{Member, Partitioning, PartitioningStore, Phase};

use super::store::MemoryStore;

#[async_trait]
impl PartitioningStore for MemoryStore {
    async fn partitioning(&self, first: u16) -> Result<(Partitioning, Duration)> {
        let now = self.shared.clock.now();
        let mut state = self.state()?;
        let stable = Phase::Stable { former: None };
        let (partitioning, since) =
            *state.partitioning.get_or_insert((Partitioning::new(first, stable), now));
        Ok((partitioning, now.duration_since(since)))
    }

    async fn change_partitioning(&self, from: Partitioning, to: Partitioning) -> Result<bool> {
        let now = self.shared.clock.now();
        let mut state = self.state()?;
        let is_from = state.partitioning.is_some_and(|(partitioning, _)| partitioning == from);
        if is_from {
            state.partitioning = Some((to, now));
        }
        Ok(is_from)
    }

    async fn members(&self) -> Result<Vec<Member>> {
        let now = self.shared.clock.now();
        Ok(self.state()?.leases.members(now))
    }
}
