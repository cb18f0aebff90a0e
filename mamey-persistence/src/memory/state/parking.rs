//! Parked messages in the order of their lanes, and dead letters in the order of their arrival.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mamey_core::clock::Timestamp;
use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Lane, Partition};
use mamey_core::store::{DeadLetter, DeadLetterReason, Failure, ParkedMessage};

/// A message's place in its lane; it keeps it from parking to dead letter and back.
type Position = u64;

/// The parking and the dead letters of one context.
#[derive(Default)]
pub(crate) struct Parking {
    parked: BTreeMap<Position, ParkedMessage>,
    positions: HashMap<MessageId, Position>,
    lanes: HashMap<Lane, BTreeSet<Position>>,
    last_position: Position,
    dead: BTreeMap<u64, (Position, DeadLetter)>,
    dead_by_id: HashMap<MessageId, u64>,
    given_up: u64,
}

impl Parking {
    pub(crate) fn parked_count(&self) -> u64 {
        self.parked.len() as u64
    }

    pub(crate) fn dead_letter_count(&self) -> u64 {
        self.dead.len() as u64
    }

    pub(crate) fn dead_letter(&self, id: MessageId) -> Option<&DeadLetter> {
        let given_up = self.dead_by_id.get(&id)?;
        self.dead.get(given_up).map(|(_, letter)| letter)
    }

    pub(crate) fn discard(&mut self, id: MessageId) -> bool {
        self.take_dead(id).is_some()
    }

    pub(crate) fn holds(&self, id: MessageId) -> bool {
        self.positions.contains_key(&id)
    }

    pub(crate) fn is_dead(&self, id: MessageId) -> bool {
        self.dead_by_id.contains_key(&id)
    }

    /// Whether a lane has parked messages, so that its next ones must wait.
    pub(crate) fn blocks(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Parks a message at the end of its lane, or sets its next try when it is parked already.
    pub(crate) fn park(
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
        let parked = ParkedMessage::new(envelope, failure)
            .with_attempts(attempts)
            .with_since(now)
            .with_due(due);
        let position = self.next_position();
        self.insert(position, parked);
    }

    pub(crate) fn give_up(
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
        let letter = DeadLetter::new(envelope, reason, failure)
            .with_attempts(attempts)
            .with_first_failed(first_failed)
            .with_last_failed(now);
        self.given_up += 1;
        self.dead_by_id.insert(letter.envelope.metadata.id, self.given_up);
        self.dead.insert(self.given_up, (position, letter));
    }

    pub(crate) fn remove(&mut self, id: MessageId) {
        self.take(id);
    }

    /// The heads of lanes, and the messages without a lane.
    pub(crate) fn heads<'a>(
        &'a self,
        partitions: &'a [Partition],
    ) -> impl Iterator<Item = &'a ParkedMessage> {
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

    pub(crate) fn dead_letters(&self, after: Option<MessageId>, limit: u32) -> Vec<DeadLetter> {
        let after = after.and_then(|id| self.dead_by_id.get(&id).copied());
        let from = after.unwrap_or_default() + 1;
        let letters = self.dead.range(from..).take(limit as usize);
        letters.map(|(_, (_, letter))| letter.clone()).collect()
    }

    pub(crate) fn replay(&mut self, id: MessageId, now: Timestamp) -> bool {
        let Some((position, letter)) = self.take_dead(id) else {
            return false;
        };
        let parked = ParkedMessage::new(letter.envelope, letter.failure)
            .with_attempts(0)
            .with_since(letter.first_failed)
            .with_due(now);
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
