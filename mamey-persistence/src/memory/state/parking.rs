//! Parked messages in the order of their lanes, and dead letters in the order of their arrival.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mamey_core::clock::Timestamp;
use mamey_core::message::{Envelope, Lane, MessageIdentity, Partition};
use mamey_core::store::{DeadLetter, DeadLetterReason, Failure, ParkedMessage};

/// A message's place in its lane; it keeps it from parking to dead letter and back.
type Position = u64;

/// The parking and the dead letters of one context.
#[derive(Default)]
pub(crate) struct Parking {
    parked: BTreeMap<Position, ParkedMessage>,
    positions: HashMap<MessageIdentity, Position>,
    lanes: HashMap<Lane, BTreeSet<Position>>,
    last_position: Position,
    dead: BTreeMap<u64, (Position, DeadLetter)>,
    dead_by_identity: HashMap<MessageIdentity, u64>,
    given_up: u64,
}

impl Parking {
    pub(crate) fn parked_count(&self) -> u64 {
        self.parked.len() as u64
    }

    pub(crate) fn dead_letter_count(&self) -> u64 {
        self.dead.len() as u64
    }

    pub(crate) fn dead_letter(&self, message: MessageIdentity) -> Option<&DeadLetter> {
        let given_up = self.dead_by_identity.get(&message)?;
        self.dead.get(given_up).map(|(_, letter)| letter)
    }

    pub(crate) fn discard(&mut self, message: MessageIdentity) -> bool {
        self.take_dead(message).is_some()
    }

    pub(crate) fn holds(&self, message: MessageIdentity) -> bool {
        self.positions.contains_key(&message)
    }

    pub(crate) fn is_dead(&self, message: MessageIdentity) -> bool {
        self.dead_by_identity.contains_key(&message)
    }

    /// Whether a lane has parked messages, so that its next ones must wait.
    pub(crate) fn blocks(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Parks a message at the end of its lane, or sets its next try when it is parked already.
    pub(crate) fn park(
        &mut self,
        message: MessageIdentity,
        envelope: Envelope,
        due: Timestamp,
        attempts: u32,
        failure: Failure,
        now: Timestamp,
    ) {
        let position = self.positions.get(&message);
        if let Some(parked) = position.and_then(|position| self.parked.get_mut(position)) {
            (parked.due, parked.attempts, parked.failure) = (due, attempts, failure);
            return;
        }
        let parked = ParkedMessage::of(message, envelope, failure)
            .with_attempts(attempts)
            .with_since(now)
            .with_due(due);
        let position = self.next_position();
        self.insert(position, parked);
    }

    pub(crate) fn give_up(
        &mut self,
        message: MessageIdentity,
        envelope: Envelope,
        reason: DeadLetterReason,
        attempts: u32,
        failure: Failure,
        now: Timestamp,
    ) {
        let (position, first_failed, envelope) = match self.take(message) {
            Some((position, parked)) => (position, parked.since, parked.envelope),
            None => (self.next_position(), now, envelope),
        };
        let letter = DeadLetter::of(message, envelope, reason, failure)
            .with_attempts(attempts)
            .with_first_failed(first_failed)
            .with_last_failed(now);
        self.given_up += 1;
        self.dead_by_identity.insert(message, self.given_up);
        self.dead.insert(self.given_up, (position, letter));
    }

    pub(crate) fn remove(&mut self, message: MessageIdentity) {
        self.take(message);
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

    pub(crate) fn dead_letters(
        &self,
        after: Option<MessageIdentity>,
        limit: u32,
    ) -> Vec<DeadLetter> {
        let after = after.and_then(|message| self.dead_by_identity.get(&message).copied());
        let from = after.unwrap_or_default() + 1;
        let letters = self.dead.range(from..).take(limit as usize);
        letters.map(|(_, (_, letter))| letter.clone()).collect()
    }

    pub(crate) fn replay(&mut self, message: MessageIdentity, now: Timestamp) -> bool {
        let Some((position, letter)) = self.take_dead(message) else {
            return false;
        };
        let parked = ParkedMessage::of(message, letter.envelope, letter.failure)
            .with_attempts(0)
            .with_since(letter.first_failed)
            .with_due(now);
        self.insert(position, parked);
        true
    }

    fn take_dead(&mut self, message: MessageIdentity) -> Option<(Position, DeadLetter)> {
        let at = self.dead_by_identity.remove(&message)?;
        self.dead.remove(&at)
    }

    fn insert(&mut self, position: Position, parked: ParkedMessage) {
        if let Some(lane) = parked.envelope.lane() {
            self.lanes.entry(lane).or_default().insert(position);
        }
        self.positions.insert(parked.identity, position);
        self.parked.insert(position, parked);
    }

    fn take(&mut self, message: MessageIdentity) -> Option<(Position, ParkedMessage)> {
        let position = self.positions.remove(&message)?;
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
