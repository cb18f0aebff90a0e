//! The committed messages that wait for the relay, in the order of their commits.

use std::collections::{BTreeMap, HashSet};

use mamey_core::message::Envelope;
use mamey_core::store::{
    Lease, OutboxDepth, OutboxPage, OutboxPlace, OutboxRead, OutboxRecord, RecordId,
};

use super::leases::Leases;

/// The outbox of one context.
#[derive(Default)]
pub(crate) struct Outbox {
    records: BTreeMap<u64, Envelope>,
    sequence: u64,
    published: u64,
}

impl Outbox {
    pub(crate) fn push(&mut self, envelope: Envelope) {
        self.sequence += 1;
        self.records.insert(self.sequence, envelope);
    }

    pub(crate) fn read(&self, read: OutboxRead<'_>) -> OutboxPage {
        let skip: HashSet<_> = read.skip.iter().collect();
        let held: HashSet<_> = read.held.iter().collect();
        let wanted = |sequence: &u64, envelope: &Envelope| {
            let slot = envelope.metadata.slot();
            let leased = read.leases.iter().any(|lease| lease.partition.contains(slot));
            let waits = envelope.metadata.key.as_ref().is_some_and(|key| skip.contains(key));
            leased && !waits && !held.contains(&RecordId::new(*sequence, envelope.metadata.id))
        };
        let wanted = self
            .records
            .range(read.after.saturating_add(1)..)
            .filter(|(sequence, envelope)| wanted(sequence, envelope));
        let mut page = OutboxPage::default().with_place(OutboxPlace::new(0, self.sequence));
        let mut bytes = 0;
        for (sequence, envelope) in wanted {
            bytes += envelope.payload.len();
            let full = bytes > read.bytes_max && !page.records.is_empty();
            page.more = full || page.records.len() >= read.limit as usize;
            if page.more {
                break;
            }
            page.records.push(OutboxRecord::new(*sequence, envelope.clone()));
        }
        page
    }

    /// Deletes what was published under a lease that is still current, and says how many records.
    pub(crate) fn delete_published(
        &mut self,
        published: &[(Lease, RecordId)],
        leases: &Leases,
    ) -> u64 {
        let before = self.records.len();
        for (lease, id) in published {
            let covered = self.records.get(&id.sequence).is_some_and(|record| {
                record.metadata.id == id.message && lease.partition.contains(record.metadata.slot())
            });
            if covered && leases.is_current(lease) {
                self.records.remove(&id.sequence);
            }
        }
        let deleted = (before - self.records.len()) as u64;
        self.published += deleted;
        deleted
    }

    pub(crate) fn depth(&self) -> OutboxDepth {
        let oldest = self.records.values().next();
        OutboxDepth::new(
            self.records.len() as u64,
            oldest.map(|envelope| envelope.metadata.time),
            self.published,
        )
    }
}
