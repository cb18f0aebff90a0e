//! Keys that wait in memory because their next message could not be published.

use std::collections::HashMap;

use mamey_core::message::{Key, Partition};
use mamey_core::store::{Lease, OutboxRecord, RecordId};
use tokio::time::Instant;

use super::lane::{LaneId, bytes};
use super::tried::Tried;

/// Lanes that wait, each with the one record that failed. Its successors stay in the outbox.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    lanes: HashMap<LaneId, Failed>,
    bytes: usize,
}

/// A record that could not be published.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) lease: Lease,
    pub(super) record: OutboxRecord,
    pub(super) tried: Tried,
    pub(super) due: Instant,
}

impl Blocked {
    pub(super) fn insert(&mut self, lane: LaneId, failed: Failed) {
        self.bytes += bytes(&failed.record);
        if let Some(replaced) = self.lanes.insert(lane, failed) {
            self.bytes -= bytes(&replaced.record);
        }
    }

    /// How many bytes the records have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, lane: &LaneId) -> bool {
        self.lanes.contains_key(lane)
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The keys that reads leave out.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.lanes.keys().filter_map(LaneId::key)
    }

    /// The records without a key, which no skipped key covers.
    pub(super) fn keyless(&self) -> impl Iterator<Item = RecordId> {
        let keyless = self.lanes.iter().filter(|(lane, _)| lane.key().is_none());
        keyless.map(|(_, failed)| failed.record.id())
    }

    /// Takes out the records whose pause is over.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(LaneId, Failed)> {
        let due: Vec<_> = self.lanes.extract_if(|_, failed| failed.due <= now).collect();
        self.bytes -= due.iter().map(|(_, failed)| bytes(&failed.record)).sum::<usize>();
        due
    }

    /// When the next pause is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lanes.values().map(|failed| failed.due).min()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn drop_partition(&mut self, partition: Partition) {
        let dropped = self.lanes.extract_if(|_, failed| failed.lease.partition == partition);
        self.bytes -= dropped.map(|(_, failed)| bytes(&failed.record)).sum::<usize>();
    }
}
