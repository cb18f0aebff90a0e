//! Keeps parked messages in the order of their lanes, and dead letters in the order of their end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Lane, Partition};
use mamey_core::store::{
    DeadLetter, DeadLetterReason, DeadLetterStore, Failure, ParkedMessage, ParkingStore,
};

use super::MemoryStore;

/// A message's place in its lane; it keeps it from parking to dead letter and back.
type Position = u64;

#[derive(Default)]
pub(super) struct Parking {
    parked: BTreeMap<Position, ParkedMessage>,
    positions: HashMap<MessageId, Position>,
    lanes: HashMap<Lane, BTreeSet<Position>>,
    last_position: Position,
    dead: BTreeMap<u64, (Position, DeadLetter)>,
    dead_by_id: HashMap<MessageId, u64>,
    given_up: u64,
}

#[async_trait]
impl ParkingStore for MemoryStore {
    async fn due_parked(
        &self,
        partitions: &[Partition],
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<ParkedMessage>> {
        let state = self.state()?;
        let mut due: Vec<_> =
            state.parking.heads(partitions).filter(|parked| parked.due <= now).collect();
        due.sort_by_key(|parked| parked.due);
        Ok(due.into_iter().take(limit as usize).cloned().collect())
    }

    async fn next_due(&self, partitions: &[Partition]) -> Result<Option<Timestamp>> {
        let state = self.state()?;
        let heads = state.parking.heads(partitions);
        Ok(heads.map(|parked| parked.due).min())
    }

    async fn parked_count(&self) -> Result<u64> {
        Ok(self.state()?.parking.parked.len() as u64)
    }
}

#[async_trait]
impl DeadLetterStore for MemoryStore {
    async fn dead_letters(&self, after: Option<MessageId>, limit: u32) -> Result<Vec<DeadLetter>> {
        Ok(self.state()?.parking.dead_letters(after, limit))
    }

    async fn dead_letter(&self, id: MessageId) -> Result<Option<DeadLetter>> {
        let state = self.state()?;
        let parking = &state.parking;
        let letter = parking.dead_by_id.get(&id).and_then(|at| parking.dead.get(at));
        Ok(letter.map(|(_, letter)| letter.clone()))
    }

    async fn replay_dead_letter(&self, id: MessageId) -> Result<bool> {
        let now = self.shared.clock.now();
        Ok(self.state()?.parking.replay(id, now))
    }

    async fn discard_dead_letter(&self, id: MessageId) -> Result<bool> {
        Ok(self.state()?.parking.take_dead(id).is_some())
    }

    async fn dead_letter_count(&self) -> Result<u64> {
        Ok(self.state()?.parking.dead.len() as u64)
    }
}

impl Parking {
    pub(super) fn holds(&self, id: MessageId) -> bool {
        self.positions.contains_key(&id)
    }

    pub(super) fn is_dead(&self, id: MessageId) -> bool {
        self.dead_by_id.contains_key(&id)
    }

    pub(super) fn blocks(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Parks a message at the end of its lane, or sets its next try when it is parked already.
    pub(super) fn park(
        &mut self,
        envelope: Envelope,
        due: Timestamp,
        attempts: u32,
        failure: Failure,
        now: Timestamp,
    ) {
        let position = self.positions.get(&envelope.metadata.id);
        if let Some(parked) = position.and_then(|position| self.parked.get_mut(position)) {
            (parked.due, parked.attempts, parked.failure) = (due, attempts, failure);
            return;
        }
        let parked = ParkedMessage { envelope, attempts, since: now, due, failure };
        let position = self.next_position();
        self.insert(position, parked);
    }

    pub(super) fn give_up(
        &mut self,
        envelope: Envelope,
        reason: DeadLetterReason,
        attempts: u32,
        failure: Failure,
        now: Timestamp,
    ) {
        let (position, first_failed, envelope) = match self.take(envelope.metadata.id) {
            Some((position, parked)) => (position, parked.since, parked.envelope),
            None => (self.next_position(), now, envelope),
        };
        let letter =
            DeadLetter { envelope, reason, attempts, first_failed, last_failed: now, failure };
        self.given_up += 1;
        self.dead_by_id.insert(letter.envelope.metadata.id, self.given_up);
        self.dead.insert(self.given_up, (position, letter));
    }

    pub(super) fn remove(&mut self, id: MessageId) {
        self.take(id);
    }

    /// Heads of lanes, and messages without one.
    fn heads<'a>(&'a self, partitions: &'a [Partition]) -> impl Iterator<Item = &'a ParkedMessage> {
        let is_head = |position: &Position, lane: Option<Lane>| {
            let head = lane.and_then(|lane| self.lanes.get(&lane)?.first());
            head.is_none_or(|head| head == position)
        };
        self.parked
            .iter()
            .filter(move |(position, parked)| {
                let slot = parked.envelope.metadata.slot();
                let ours = partitions.iter().any(|partition| partition.contains(slot));
                ours && is_head(position, parked.envelope.lane())
            })
            .map(|(_, parked)| parked)
    }

    fn dead_letters(&self, after: Option<MessageId>, limit: u32) -> Vec<DeadLetter> {
        let after = after.and_then(|id| self.dead_by_id.get(&id).copied());
        let from = after.unwrap_or_default() + 1;
        let letters = self.dead.range(from..).take(limit as usize);
        letters.map(|(_, (_, letter))| letter.clone()).collect()
    }

    fn replay(&mut self, id: MessageId, now: Timestamp) -> bool {
        let Some((position, letter)) = self.take_dead(id) else {
            return false;
        };
        let parked = ParkedMessage {
            envelope: letter.envelope,
            attempts: 0,
            since: letter.first_failed,
            due: now,
            failure: letter.failure,
        };
        self.insert(position, parked);
        true
    }

    fn take_dead(&mut self, id: MessageId) -> Option<(Position, DeadLetter)> {
        let at = self.dead_by_id.remove(&id)?;
        self.dead.remove(&at)
    }

    fn insert(&mut self, position: Position, parked: ParkedMessage) {
        if let Some(lane) = parked.envelope.lane() {
            self.lanes.entry(lane).or_default().insert(position);
        }
        self.positions.insert(parked.envelope.metadata.id, position);
        self.parked.insert(position, parked);
    }

    fn take(&mut self, id: MessageId) -> Option<(Position, ParkedMessage)> {
        let position = self.positions.remove(&id)?;
        let parked = self.parked.remove(&position)?;
        if let Some(lane) = parked.envelope.lane()
            && let Some(waiting) = self.lanes.get_mut(&lane)
        {
            waiting.remove(&position);
            if waiting.is_empty() {
                self.lanes.remove(&lane);
            }
        }
        Some((position, parked))
    }

    fn next_position(&mut self) -> Position {
        self.last_position += 1;
        self.last_position
    }
}
