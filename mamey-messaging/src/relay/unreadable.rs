//! Records of the outbox that this build cannot read: their keys wait behind them.

use std::collections::HashMap;

use mamey_core::message::{Key, Partition};
use mamey_core::store::{RecordId, UnreadableRecord};

use super::lane::LaneId;

/// Lanes that wait, each with the place of its first record that cannot be read.
///
/// They are forgotten with each sweep, which finds those that are still there: a row may be
/// published by another build, mended, or deleted.
#[derive(Debug, Default)]
pub(super) struct Unreadable(HashMap<LaneId, (Partition, RecordId)>);

impl Unreadable {
    pub(super) fn insert(&mut self, lane: LaneId, partition: Partition, row: RecordId) {
        self.0.entry(lane).or_insert((partition, row));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a record waits behind one of its lane that cannot be read.
    pub(super) fn is_before(&self, lane: &LaneId, sequence: u64) -> bool {
        self.0.get(lane).is_some_and(|(_, row)| row.sequence < sequence)
    }

    /// The keys that reads leave out.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.0.keys().filter_map(LaneId::key).cloned()
    }

    /// The records without a key, which no skipped key covers.
    pub(super) fn keyless(&self) -> impl Iterator<Item = RecordId> {
        let keyless = self.0.iter().filter(|(lane, _)| lane.key().is_none());
        keyless.map(|(_, (_, row))| *row)
    }

    pub(super) fn forget(&mut self, lane: &LaneId) {
        self.0.remove(lane);
    }

    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.0.retain(|_, (of, _)| *of != partition);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl LaneId {
    /// The lane of a record that cannot be read.
    pub(super) fn of_unreadable(row: &UnreadableRecord) -> Self {
        row.key.clone().map_or(Self::Keyless(row.id), Self::Key)
    }
}
