//! Records that the transport has confirmed, until they are deleted from the outbox.

use std::collections::{BTreeMap, HashMap};

use mamey_core::message::{Key, Partition};
use mamey_core::store::{Lease, RecordId};

use super::lane::LaneId;

/// Confirmed records, each with the lease it was published under. One deletion at a time.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    confirmed: BTreeMap<RecordId, Lease>,
    deleting: BTreeMap<RecordId, Lease>,
    /// The lanes of those that were stalled: they go on when these are deleted, which frees their keys.
    /// They stay whatever happens meanwhile, so that no stalled record is taken for a new one.
    stalled: HashMap<LaneId, (Partition, RecordId)>,
}

/// What follows from a deletion.
#[derive(Debug)]
pub(super) struct Deleted {
    /// Whether all records were deleted that should have been. One whose lease has moved stays.
    pub(super) all: bool,
    /// The lanes that are free now, each with its record that was stalled.
    pub(super) freed: Vec<(LaneId, Partition, RecordId)>,
}

impl Confirmations {
    pub(super) fn add(&mut self, record: RecordId, lease: Lease) {
        self.confirmed.insert(record, lease);
    }

    /// A record that was stalled: its lane goes on when it is deleted.
    pub(super) fn add_stalled(&mut self, lane: LaneId, record: RecordId, lease: Lease) {
        self.add(record, lease);
        self.stalled.insert(lane, (lease.partition, record));
    }

    /// Whether a lane waits for the deletion of its record that was stalled.
    pub(super) fn holds_up(&self, lane: &LaneId) -> bool {
        self.stalled.contains_key(lane)
    }

    /// The keys of such lanes.
    pub(super) fn held_up_keys(&self) -> impl Iterator<Item = &Key> {
        self.stalled.keys().filter_map(LaneId::key)
    }

    /// How many lanes wait so.
    pub(super) fn held_up(&self) -> usize {
        self.stalled.len()
    }

    /// The records that were stalled.
    pub(super) fn stalled(&self) -> impl Iterator<Item = RecordId> {
        self.stalled.values().map(|(_, record)| *record)
    }

    /// How many records are confirmed and still in the outbox.
    pub(super) fn len(&self) -> usize {
        self.confirmed.len() + self.deleting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many records wait for the next deletion.
    pub(super) fn to_delete(&self) -> usize {
        self.confirmed.len()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = RecordId> {
        self.confirmed.keys().chain(self.deleting.keys()).copied()
    }

    pub(super) fn has(&self, partition: Partition) -> bool {
        let mut leases = self.confirmed.values().chain(self.deleting.values());
        leases.any(|lease| lease.partition == partition)
    }

    /// Up to `max` records to delete; `None` if there are none, or while others are being deleted.
    ///
    /// `current` is the lease under which a partition is held now: a record of a partition that was
    /// lost and gained again is deleted under the new lease, since it stays confirmed.
    pub(super) fn plan_deletion(
        &mut self,
        max: usize,
        current: impl Fn(Partition) -> Option<Lease>,
    ) -> Option<Vec<(Lease, RecordId)>> {
        if !self.deleting.is_empty() || self.confirmed.is_empty() {
            return None;
        }
        while self.deleting.len() < max
            && let Some((record, lease)) = self.confirmed.pop_first()
        {
            let lease = current(lease.partition).unwrap_or(lease);
            self.deleting.insert(record, lease);
        }
        let records = self.deleting.iter();
        Some(records.map(|(record, lease)| (*lease, *record)).collect())
    }

    /// Ends a deletion that deleted `count` records.
    pub(super) fn deleted(&mut self, count: u64) -> Deleted {
        let deleted = std::mem::take(&mut self.deleting);
        let freed = self.stalled.extract_if(|_, (_, record)| deleted.contains_key(record));
        let freed = freed.map(|(lane, (partition, record))| (lane, partition, record)).collect();
        Deleted { all: count >= deleted.len() as u64, freed }
    }

    /// Ends a deletion that failed: its records wait for the next one.
    pub(super) fn deletion_failed(&mut self) {
        self.confirmed.append(&mut self.deleting);
    }
}
