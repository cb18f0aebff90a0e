//! Records whose publish failed, and those that were given up, in the order in which they were.

use std::collections::{BTreeMap, HashMap, HashSet};

use mamey_core::clock::Timestamp;
use mamey_core::message::{Envelope, Key};
use mamey_core::store::{
    Becomes, FailedRecord, Lease, OutboxRecord, RecordId, Stalled, StalledPage, StalledRead,
    UNDELIVERED_PAGE_BYTES_MAX, UndeliveredMessage, UndeliveredReason,
};

use super::leases::Leases;
use super::outbox::Outbox;

/// The stalled records and the undelivered messages of one context.
#[derive(Default)]
pub(crate) struct Stalls {
    stalled: BTreeMap<u64, Stall>,
    /// The first stalled record of each key.
    keys: HashMap<Key, u64>,
    undelivered: BTreeMap<u64, UndeliveredMessage>,
    places: HashMap<RecordId, u64>,
    given_up: u64,
}

/// A record that waits for its next try.
pub(crate) struct Stall {
    envelope: Envelope,
    due: Timestamp,
    first_failed: Timestamp,
    attempts: u32,
}

impl Stalls {
    pub(super) fn count(&self) -> u64 {
        self.stalled.len() as u64
    }

    pub(super) fn first(&self) -> Option<(u64, &Envelope)> {
        let (sequence, stall) = self.stalled.first_key_value()?;
        Some((*sequence, &stall.envelope))
    }

    /// Whether a record of this key and place waits behind a stalled one.
    pub(super) fn are_before(&self, key: &Key, sequence: u64) -> bool {
        self.keys.get(key).is_some_and(|stalled| *stalled < sequence)
    }

    /// Takes out a record, if it is this one and the lease covers it and is current.
    pub(super) fn take(&mut self, lease: &Lease, id: RecordId, leases: &Leases) -> Option<Stall> {
        let metadata = &self.stalled.get(&id.sequence)?.envelope.metadata;
        let covered = metadata.id == id.message && lease.partition.contains(metadata.slot());
        if !covered || !leases.is_current(lease) {
            return None;
        }
        let stall = self.stalled.remove(&id.sequence)?;
        if let Some(key) = &stall.envelope.metadata.key {
            self.keys.remove(key);
        }
        Some(stall)
    }

    fn stall(&mut self, sequence: u64, stall: Stall) {
        if let Some(key) = &stall.envelope.metadata.key {
            self.keys.insert(key.clone(), sequence);
        }
        self.stalled.insert(sequence, stall);
    }

    fn give_up(&mut self, message: UndeliveredMessage) {
        self.given_up += 1;
        self.places.insert(message.id, self.given_up);
        self.undelivered.insert(self.given_up, message);
    }

    pub(crate) fn due(&self, read: StalledRead<'_>, now: Timestamp) -> StalledPage {
        let held: HashSet<_> = read.held.iter().map(|id| id.sequence).collect();
        let wanted = |(sequence, stall): &(&u64, &Stall)| {
            let slot = stall.envelope.metadata.slot();
            let leased = read.leases.iter().any(|lease| lease.partition.contains(slot));
            leased && !held.contains(*sequence)
        };
        let mut waiting: Vec<_> = self.stalled.iter().filter(wanted).collect();
        waiting.sort_by_key(|(sequence, stall)| (stall.due, **sequence));
        let (mut page, mut bytes) = (StalledPage::default(), 0);
        for (sequence, stall) in waiting {
            bytes += stall.envelope.payload.len();
            let full = bytes > read.bytes_max && !page.records.is_empty();
            if stall.due > now || full || page.records.len() >= read.limit as usize {
                page.next_in = Some(stall.due.duration_since(now));
                break;
            }
            let record = OutboxRecord::new(*sequence, stall.envelope.clone());
            let waited = now.duration_since(stall.first_failed);
            page.records.push(Stalled::new(record, stall.attempts, waited));
        }
        page
    }

    pub(crate) fn undelivered(
        &self,
        after: Option<RecordId>,
        limit: u32,
    ) -> Vec<UndeliveredMessage> {
        let after = after.and_then(|id| self.places.get(&id));
        let from = after.map_or(0, |place| place + 1);
        let (mut page, mut bytes) = (Vec::new(), 0);
        for (_, message) in self.undelivered.range(from..).take(limit as usize) {
            bytes += message.envelope.payload.len();
            if bytes > UNDELIVERED_PAGE_BYTES_MAX && !page.is_empty() {
                break;
            }
            page.push(message.clone());
        }
        page
    }

    pub(crate) fn undelivered_count(&self) -> u64 {
        self.undelivered.len() as u64
    }

    /// Takes out undelivered messages, in the order in which they were sent.
    fn take_undelivered(&mut self, ids: &[RecordId]) -> Vec<Envelope> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let places: Vec<_> = ids.iter().filter_map(|id| self.places.remove(id)).collect();
        let taken = places.iter().filter_map(|place| self.undelivered.remove(place));
        taken.map(|message| message.envelope).collect()
    }
}

impl Outbox {
    /// Records failures to publish under leases that are still current, and says how many.
    pub(crate) fn record_failures(
        &mut self,
        failed: &[(Lease, FailedRecord)],
        leases: &Leases,
        now: Timestamp,
    ) -> u64 {
        let recorded = failed.iter().filter(|(lease, failed)| {
            let (id, attempts) = (failed.id, failed.attempts);
            let stall = match self.take(lease, id, leases) {
                Some(envelope) => Some(Stall { envelope, due: now, first_failed: now, attempts }),
                None => self.stalls.take(lease, id, leases),
            };
            let Some(stall) = stall else { return false };
            match failed.becomes {
                Becomes::Stalled { delay } => {
                    let due = now.plus(delay);
                    self.stalls.stall(id.sequence, Stall { due, attempts, ..stall });
                }
                Becomes::Undelivered { reason } => {
                    self.stalls.give_up(undelivered(failed, stall, reason, now));
                }
            }
            true
        });
        recorded.count() as u64
    }

    pub(crate) const fn stalls(&self) -> &Stalls {
        &self.stalls
    }

    /// Sends undelivered messages once more, and says how many these were.
    pub(crate) fn replay(&mut self, ids: &[RecordId]) -> u64 {
        let taken = self.stalls.take_undelivered(ids);
        let replayed = taken.len() as u64;
        taken.into_iter().for_each(|envelope| self.push(envelope));
        replayed
    }

    /// Deletes undelivered messages, and says how many these were.
    pub(crate) fn discard(&mut self, ids: &[RecordId]) -> u64 {
        self.stalls.take_undelivered(ids).len() as u64
    }
}

fn undelivered(
    failed: &FailedRecord,
    stall: Stall,
    reason: UndeliveredReason,
    now: Timestamp,
) -> UndeliveredMessage {
    UndeliveredMessage::new(failed.id, stall.envelope, reason, failed.failure.clone())
        .with_attempts(failed.attempts)
        .with_first_failed(stall.first_failed)
        .with_last_failed(now)
}
