//! Records that the transport has confirmed, until they are deleted from the outbox.

use std::collections::BTreeMap;

use mamey_core::message::Partition;
use mamey_core::store::{Lease, RecordId};

/// Confirmed records, each with the lease it was published under. One deletion at a time.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    confirmed: BTreeMap<RecordId, Lease>,
    deleting: BTreeMap<RecordId, Lease>,
}

impl Confirmations {
    pub(super) fn add(&mut self, record: RecordId, lease: Lease) {
        self.confirmed.insert(record, lease);
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

    /// Ends a deletion that deleted `count` records, and returns whether these were all. A record
    /// whose lease has moved stays in the outbox.
    pub(super) fn deleted(&mut self, count: u64) -> bool {
        let deleted = std::mem::take(&mut self.deleting);
        count >= deleted.len() as u64
    }

    /// Ends a deletion that failed: its records wait for the next one.
    pub(super) fn deletion_failed(&mut self) {
        self.confirmed.append(&mut self.deleting);
    }
}
