//! Keys that wait because their next message could not be published.

use std::collections::HashMap;

use mamey_core::message::{Key, Partition};
use mamey_core::store::{Lease, OutboxRecord};
use tokio::time::Instant;

use super::lane::LaneId;

/// Lanes that wait, each with the one record that failed. Its successors stay in the outbox.
#[derive(Debug, Default)]
pub(super) struct Blocked(HashMap<LaneId, Failed>);

/// A record that could not be published.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) lease: Lease,
    pub(super) record: OutboxRecord,
    /// Its successors come after this sequence.
    pub(super) cut_after: u64,
    pub(super) failures: u32,
    pub(super) due: Instant,
}

impl Blocked {
    pub(super) fn insert(&mut self, lane: LaneId, failed: Failed) {
        self.0.insert(lane, failed);
    }

    pub(super) fn contains(&self, lane: &LaneId) -> bool {
        self.0.contains_key(lane)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that a read from `after` on leaves out. It is read from there when their pause is
    /// over.
    pub(super) fn skip(&mut self, after: u64) -> Vec<Key> {
        for failed in self.0.values_mut() {
            failed.cut_after = failed.cut_after.min(after);
        }
        self.0.keys().filter_map(LaneId::key).cloned().collect()
    }

    /// The records without a key, which no skipped key covers.
    pub(super) fn keyless(&self) -> impl Iterator<Item = u64> {
        let keyless = self.0.iter().filter(|(lane, _)| lane.key().is_none());
        keyless.map(|(_, failed)| failed.record.sequence)
    }

    /// Takes out the records whose pause is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(LaneId, Failed)> {
        self.0.extract_if(|_, failed| failed.due <= now).collect()
    }

    /// When the next pause is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|failed| failed.due).min()
    }

    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.0.retain(|_, failed| failed.lease.partition != partition);
    }
}
