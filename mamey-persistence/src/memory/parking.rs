//! Keeps parked messages in the order of their lanes, and dead letters in the order of their arrival.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{MessageIdentity, Partition};
use mamey_core::store::{DeadLetter, DeadLetterStore, ParkedMessage, ParkingStore};

use super::store::MemoryStore;

#[async_trait]
impl ParkingStore for MemoryStore {
    async fn due_parked(&self, partitions: &[Partition], limit: u32) -> Result<Vec<ParkedMessage>> {
        let now = self.shared.clock.now();
        let state = self.state()?;
        let mut due: Vec<_> =
            state.parking.heads(partitions).filter(|parked| parked.due <= now).collect();
        due.sort_by_key(|parked| parked.due);
        Ok(due.into_iter().take(limit as usize).cloned().collect())
    }

    async fn next_due_in(&self, partitions: &[Partition]) -> Result<Option<Duration>> {
        let now = self.shared.clock.now();
        let state = self.state()?;
        let heads = state.parking.heads(partitions);
        Ok(heads.map(|parked| parked.due.duration_since(now)).min())
    }

    async fn parked_count(&self) -> Result<u64> {
        Ok(self.state()?.parking.parked_count())
    }
}

#[async_trait]
impl DeadLetterStore for MemoryStore {
    async fn dead_letters(
        &self,
        after: Option<MessageIdentity>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>> {
        Ok(self.state()?.parking.dead_letters(after, limit))
    }

    async fn dead_letter(&self, message: MessageIdentity) -> Result<Option<DeadLetter>> {
        Ok(self.state()?.parking.dead_letter(message).cloned())
    }

    async fn replay_dead_letter(&self, message: MessageIdentity) -> Result<bool> {
        let now = self.shared.clock.now();
        Ok(self.state()?.parking.replay(message, now))
    }

    async fn discard_dead_letter(&self, message: MessageIdentity) -> Result<bool> {
        Ok(self.state()?.parking.discard(message))
    }

    async fn dead_letter_count(&self) -> Result<u64> {
        Ok(self.state()?.parking.dead_letter_count())
    }
}
