//! Keeps committed messages until the relay confirms them.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::Envelope;
use mamey_core::store::{Lease, OutboxDepth, OutboxRead, OutboxRecord, OutboxStore};

use super::MemoryStore;
use super::lease::Leases;

#[derive(Default)]
pub(super) struct Outbox {
    records: BTreeMap<u64, Envelope>,
    sequence: u64,
    confirmed: u64,
}

#[async_trait]
impl OutboxStore for MemoryStore {
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<Vec<OutboxRecord>> {
        Ok(self.state()?.outbox.read(read))
    }

    async fn delete_published(&self, confirmed: &[(Lease, u64)]) -> Result<u64> {
        let mut state = self.state()?;
        let state = &mut *state;
        Ok(state.outbox.confirm(confirmed, &state.leases))
    }

    async fn outbox_changed(&self) {
        self.outbox_changed.notified().await;
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth> {
        Ok(self.state()?.outbox.depth())
    }
}

impl Outbox {
    pub(super) fn push(&mut self, envelope: Envelope) {
        self.sequence += 1;
        self.records.insert(self.sequence, envelope);
    }

    fn read(&self, read: OutboxRead<'_>) -> Vec<OutboxRecord> {
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
            .map(|(sequence, envelope)| OutboxRecord {
                sequence: *sequence,
                envelope: envelope.clone(),
            })
            .collect()
    }

    fn confirm(&mut self, confirmed: &[(Lease, u64)], leases: &Leases) -> u64 {
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

    fn depth(&self) -> OutboxDepth {
        let oldest = self.records.values().next();
        OutboxDepth {
            records: self.records.len() as u64,
            oldest: oldest.map(|envelope| envelope.metadata.time),
            published: self.confirmed,
        }
    }
}
