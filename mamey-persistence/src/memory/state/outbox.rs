//! The committed messages that wait for the relay, in the order of their commits.

use std::collections::{BTreeMap, HashSet};

use mamey_core::message::Envelope;
use mamey_core::store::{Lease, OutboxDepth, OutboxRead, OutboxRecord};

use super::leases::Leases;

/// The outbox of one context.
#[derive(Default)]
pub(crate) struct Outbox {
    records: BTreeMap<u64, Envelope>,
    sequence: u64,
    confirmed: u64,
}

impl Outbox {
    pub(crate) fn push(&mut self, envelope: Envelope) {
        self.sequence += 1;
        self.records.insert(self.sequence, envelope);
    }

    pub(crate) fn read(&self, read: OutboxRead<'_>) -> Vec<OutboxRecord> {
        let skip: HashSet<_> = read.skip.iter().collect();
        let held: HashSet<_> = read.held.iter().collect();
        let wanted = |sequence: &u64, envelope: &Envelope| {
            let slot = envelope.metadata.slot();
            let leased = read.leases.iter().any(|lease| lease.partition.contains(slot));
            let waits = envelope.metadata.key.as_ref().is_some_and(|key| skip.contains(key));
            leased && !waits && !held.contains(sequence)
        };
        self.records
            .range(read.after.saturating_add(1)..)
            .filter(|(sequence, envelope)| wanted(sequence, envelope))
            .take(read.limit as usize)
            .map(|(sequence, envelope)| OutboxRecord::new(*sequence, envelope.clone()))
            .collect()
    }

    pub(crate) fn confirm(&mut self, confirmed: &[(Lease, u64)], leases: &Leases) -> u64 {
        let before = self.records.len();
        for (lease, sequence) in confirmed {
            let record = self.records.get(sequence);
            let covered =
                record.is_some_and(|record| lease.partition.contains(record.metadata.slot()));
            if covered && leases.is_current(lease) {
                self.records.remove(sequence);
            }
        }
        let deleted = (before - self.records.len()) as u64;
        self.confirmed += deleted;
        deleted
    }

    pub(crate) fn depth(&self) -> OutboxDepth {
        let oldest = self.records.values().next();
        OutboxDepth::new(
            self.records.len() as u64,
            oldest.map(|envelope| envelope.metadata.time),
            self.confirmed,
        )
    }
}
