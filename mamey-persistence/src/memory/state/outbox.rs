//! The committed messages that wait for the relay, in the order of their commits.

use std::collections::{BTreeMap, HashSet};

use mamey_core::message::{Envelope, Key};
use mamey_core::store::{
    Lease, OUTBOX_SCAN_MAX, OutboxDepth, OutboxPage, OutboxPlace, OutboxRead, OutboxRecord,
    RecordId,
};

use super::leases::Leases;
use super::stalls::Stalls;

/// The outbox of one context.
#[derive(Default)]
pub(crate) struct Outbox {
    records: BTreeMap<u64, Envelope>,
    pub(super) stalls: Stalls,
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
        let only: Option<HashSet<_>> = read.only.map(|only| only.iter().collect());
        let held: HashSet<_> = read.held.iter().collect();
        let is_asked = |sequence: u64, key: Option<&Key>| match (&only, key) {
            (Some(only), key) => key.is_some_and(|key| only.contains(key)),
            (None, Some(key)) => !skip.contains(key) && !self.stalls.are_before(key, sequence),
            (None, None) => true,
        };
        let is_wanted = |sequence: u64, envelope: &Envelope| {
            let slot = envelope.metadata.slot();
            let leased = read.leases.iter().any(|lease| lease.partition.contains(slot));
            let is_held = held.contains(&RecordId::new(sequence, envelope.metadata.id));
            leased && !is_held && is_asked(sequence, envelope.metadata.key.as_ref())
        };
        let mut page = OutboxPage::default().with_place(OutboxPlace::new(0, self.sequence));
        let (mut bytes, mut scanned) = (0, 0);
        for (sequence, envelope) in self.records.range(read.after.saturating_add(1)..) {
            page.more = only.is_some() && scanned >= OUTBOX_SCAN_MAX;
            if page.more {
                break;
            }
            scanned += 1;
            if !is_wanted(*sequence, envelope) {
                page.scanned_to = only.is_some().then_some(*sequence);
                continue;
            }
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

    /// Takes out a record, if it is this one and the lease covers it and is current.
    pub(super) fn take(
        &mut self,
        lease: &Lease,
        id: RecordId,
        leases: &Leases,
    ) -> Option<Envelope> {
        let covered = self.records.get(&id.sequence).is_some_and(|record| {
            record.metadata.id == id.message && lease.partition.contains(record.metadata.slot())
        });
        (covered && leases.is_current(lease)).then(|| self.records.remove(&id.sequence))?
    }

    /// Deletes what was published under a lease that is still current, and says how many records.
    pub(crate) fn delete_published(
        &mut self,
        published: &[(Lease, RecordId)],
        leases: &Leases,
    ) -> u64 {
        let deleted = published.iter().filter(|(lease, id)| {
            self.take(lease, *id, leases).is_some()
                || self.stalls.take(lease, *id, leases).is_some()
        });
        let deleted = deleted.count() as u64;
        self.published += deleted;
        deleted
    }

    pub(crate) fn depth(&self) -> OutboxDepth {
        let first = self.records.iter().next().map(|(sequence, record)| (*sequence, record));
        let first = first.into_iter().chain(self.stalls.first()).min_by_key(|(at, _)| *at);
        let stalled = self.stalls.count();
        OutboxDepth::new(
            self.records.len() as u64 + stalled,
            first.map(|(_, envelope)| envelope.metadata.time),
            self.published,
        )
        // No record in memory is of another build.
        .with_stalled(stalled, 0)
    }
}
