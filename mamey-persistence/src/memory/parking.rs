//! Keeps parked messages in the order of their lanes, and dead letters in the order of their arrival.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{MessageIdentity, Partition};
use mamey_core::store::{
    DeadLetter, DeadLetterStore, InstanceId, LeaseRole, ParkedMessage, ParkingStore,
};

use super::store::MemoryStore;

#[async_trait]
impl ParkingStore for MemoryStore {
    async fn due_parked(&self, partitions: &[Partition], limit: u32) -> Result<Vec<ParkedMessage>> {
        let now = self.shared.clock.now();
        let state = self.state()?;
        let heads = state.parking.heads(partitions).filter(|parked| parked.message.due <= now);
        let (mut due, aborted): (Vec<_>, Vec<_>) =
            heads.partition(|parked| parked.message.aborts == 0);
        due.sort_by_key(|parked| parked.message.due);
        due.truncate(limit as usize);
        due.extend(aborted.into_iter().min_by_key(|it| (it.message.aborts, it.message.due)));
        let is_alive = |holder| state.leases.is_alive(LeaseRole::Consumer, holder, now);
        Ok(due.into_iter().map(|parked| parked.read(is_alive)).collect())
    }

    async fn begin_parked(
        &self,
        holder: InstanceId,
        messages: &[MessageIdentity],
    ) -> Result<Vec<MessageIdentity>> {
        let mut state = self.state()?;
        let begun = messages.iter().filter(|message| state.parking.begin(**message, holder));
        Ok(begun.copied().collect())
    }

    async fn next_due_in(&self, partitions: &[Partition]) -> Result<Option<Duration>> {
        let now = self.shared.clock.now();
        let state = self.state()?;
        let heads = state.parking.heads(partitions);
        Ok(heads.map(|parked| parked.message.due.duration_since(now)).min())
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
