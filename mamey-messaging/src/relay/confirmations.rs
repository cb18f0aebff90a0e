//! Records that the transport has confirmed, until they are deleted from the outbox.

use std::collections::BTreeMap;

use mamey_core::message::Partition;
use mamey_core::store::{Deletion, Lease, RecordId};

/// Confirmed records, each with the lease it was published under. One deletion at a time.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    confirmed: BTreeMap<RecordId, Lease>,
    /// Those that another transaction held when they were to be deleted. They come last, so that they
    /// keep no others from being deleted.
    held: BTreeMap<RecordId, Lease>,
    deleting: BTreeMap<RecordId, Lease>,
}

impl Confirmations {
    pub(super) fn add(&mut self, record: RecordId, lease: Lease) {
        self.confirmed.insert(record, lease);
    }

    /// How many records are confirmed and still in the outbox.
    pub(super) fn len(&self) -> usize {
        self.confirmed.len() + self.held.len() + self.deleting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many records wait for the next deletion, without those that are held.
    pub(super) fn to_delete(&self) -> usize {
        self.confirmed.len()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = RecordId> {
        self.all().map(|(record, _)| *record)
    }

    pub(super) fn has(&self, partition: Partition) -> bool {
        self.all().any(|(_, lease)| lease.partition == partition)
    }

    fn all(&self) -> impl Iterator<Item = (&RecordId, &Lease)> {
        self.confirmed.iter().chain(&self.held).chain(&self.deleting)
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
        if !self.deleting.is_empty() || self.is_empty() {
            return None;
        }
        while self.deleting.len() < max
            && let Some((record, lease)) =
                self.confirmed.pop_first().or_else(|| self.held.pop_first())
        {
            let lease = current(lease.partition).unwrap_or(lease);
            self.deleting.insert(record, lease);
        }
        let records = self.deleting.iter();
        Some(records.map(|(record, lease)| (*lease, *record)).collect())
    }

    /// Ends a deletion, and returns whether all its records are deleted or held. Those that are held
    /// wait for the next one. A record whose lease has moved stays in the outbox.
    pub(super) fn deleted(&mut self, deletion: &Deletion) -> bool {
        let mut asked = std::mem::take(&mut self.deleting);
        let all = deletion.deleted + deletion.held.len() as u64 >= asked.len() as u64;
        let held = deletion.held.iter().filter_map(|record| asked.remove_entry(record));
        self.held.extend(held);
        all
    }

    /// Ends a deletion that failed: its records wait for the next one.
    pub(super) fn deletion_failed(&mut self) {
        self.confirmed.append(&mut self.deleting);
    }
}
