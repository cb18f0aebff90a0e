//! Which part of the outbox is read next, and what happened while a read was under way.

use std::collections::HashSet;

use mamey_core::message::{Key, Partition};
use mamey_core::store::{OutboxPlace, RecordId};

use super::lane::LaneId;
use super::position::Position;

/// One read of the outbox at a time.
///
/// A read sees the outbox at one moment, so what it returns may have gaps for partitions that are
/// gained, and for lanes that drain, while it is under way. Both are read again.
#[derive(Debug, Default)]
pub(super) struct Reads {
    under_way: bool,
    position: Position,
    place: Option<OutboxPlace>,
    gained_meanwhile: HashSet<Partition>,
    drained_meanwhile: HashSet<LaneId>,
}

/// What to ask the store for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadPlan {
    pub(super) after: u64,
    pub(super) skip: Vec<Key>,
    /// Only these, far back in the outbox.
    pub(super) only: Option<Vec<Key>>,
    /// In the order of their sequences.
    pub(super) held: Vec<RecordId>,
    pub(super) limit: usize,
    pub(super) bytes_max: usize,
}

impl Reads {
    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Whether records below the floor are to be read again.
    pub(super) const fn is_behind(&self) -> bool {
        self.position.is_behind()
    }

    /// Begins a read and returns where.
    pub(super) fn begin(&mut self) -> u64 {
        self.under_way = true;
        self.position.begin()
    }

    /// Begins a read of certain keys.
    pub(super) const fn begin_only(&mut self) {
        self.under_way = true;
    }

    /// Whether the outbox that was read is an earlier one than before: another history of the
    /// database, or one whose last sequences are still to be drawn.
    pub(super) fn went_back(&mut self, place: OutboxPlace) -> bool {
        let before = self.place.replace(place).unwrap_or(place);
        place.timeline != before.timeline || place.drawn < before.drawn
    }

    /// Everything is to be read again, and nothing counts as read before.
    pub(super) fn restart(&mut self) {
        self.end();
        self.position = Position::default();
        self.again();
    }

    /// The read returned records up to `last`, with more behind it or not.
    pub(super) fn read_to(&mut self, last: u64, more: bool) {
        self.position.read_to(last, more);
    }

    pub(super) fn end(&mut self) {
        self.under_way = false;
        self.gained_meanwhile.clear();
        self.drained_meanwhile.clear();
    }

    /// Ends a read that failed: its records are still to be read.
    pub(super) fn failed(&mut self, plan: &ReadPlan) {
        self.end();
        if plan.only.is_none() {
            self.position.again_after(plan.after);
        }
    }

    /// A partition was gained: its records may be anywhere in the outbox.
    pub(super) fn gained(&mut self, partition: Partition) {
        self.position.again_after(0);
        if self.under_way {
            self.gained_meanwhile.insert(partition);
        }
    }

    /// A lane that was cut has drained, or dropped the record that failed: its records after `cut`
    /// are to be read now.
    pub(super) fn drained(&mut self, lane: LaneId, cut: u64) {
        self.position.again_after(cut);
        if self.under_way {
            self.drained_meanwhile.insert(lane);
        }
    }

    pub(super) fn was_gained_meanwhile(&self, partition: Partition) -> bool {
        self.gained_meanwhile.contains(&partition)
    }

    pub(super) fn was_drained_meanwhile(&self, lane: &LaneId) -> bool {
        self.drained_meanwhile.contains(lane)
    }

    /// The record is to be read again.
    pub(super) fn again_from(&mut self, sequence: u64) {
        self.position.again_from(sequence);
    }

    /// Everything is to be read again.
    pub(super) fn again(&mut self) {
        self.position.again_after(0);
    }

    /// A read is to look at what is above the floor.
    pub(super) fn again_from_floor(&mut self) {
        self.position.again_after(self.position.floor());
    }

    /// Everything up to here was read, and no commit adds to it.
    pub(super) const fn floor(&self) -> u64 {
        self.position.floor()
    }

    /// Whether reads begin far behind what was read.
    pub(super) const fn is_spread(&self) -> bool {
        self.position.is_spread()
    }

    /// Has reads begin at `complete_to` from now on; returns whether that is later than before.
    pub(super) fn follow(&mut self, complete_to: u64) -> bool {
        self.position.follow(complete_to)
    }

    /// Up to where the outbox was read.
    pub(super) const fn scanned(&self) -> u64 {
        self.position.scanned()
    }

    /// Has everything read once more, for commits that became visible late. From then on reads begin
    /// at `complete_to`, if it is known.
    pub(super) fn sweep(&mut self, complete_to: Option<u64>) {
        self.position.sweep(complete_to);
    }
}
