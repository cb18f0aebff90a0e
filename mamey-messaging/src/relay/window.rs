//! What a relay holds in memory of an outbox: a bounded window with one record of a key in flight.
//!
//! Plain data without tasks or a clock, so that a model can test its laws.

use std::collections::BTreeSet;

use mamey_core::message::Partition;
use mamey_core::store::{Deletion, Lease, OutboxPage, OutboxRecord, RecordId, UnreadableRecord};
use tokio::time::Instant;

use super::blocked::{Blocked, Failed};
use super::confirmations::Confirmations;
use super::lane::{LaneId, bytes};
use super::lanes::{Lanes, Start};
use super::reads::{ReadPlan, Reads};
use super::unreadable::Unreadable;

/// One key may fill this fraction of the window: a hot key must not keep out the others.
const WINDOWS_PER_KEY: usize = 4;

/// Records that failed may fill this fraction of the bytes; longer ones are read again.
const WINDOWS_OF_BLOCKED_BYTES: usize = 4;

/// How much a window may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) in_flight_max: usize,
    pub(super) held_max: usize,
    pub(super) bytes_max: usize,
    pub(super) blocked_max: usize,
}

/// Up to where the outbox was read, before it goes back in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) read_to: u64,
    history: u64,
}

#[derive(Debug)]
pub(super) struct Window {
    limits: Limits,
    lanes: Lanes,
    blocked: Blocked,
    unreadable: Unreadable,
    confirmations: Confirmations,
    reads: Reads,
    /// Counts ticks, to tell which publishes are slow.
    ticks: u64,
    /// How often the outbox went back in time.
    history: u64,
    /// What was in flight or confirmed when it did. Others may have the sequences of these.
    outlived: BTreeSet<RecordId>,
}

impl Window {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: Lanes::default(),
            blocked: Blocked::default(),
            unreadable: Unreadable::default(),
            confirmations: Confirmations::default(),
            reads: Reads::default(),
            ticks: 0,
            history: 0,
            outlived: BTreeSet::new(),
        }
    }

    /// How many records are in memory or about to be deleted, without those that are blocked.
    pub(super) fn held(&self) -> usize {
        self.lanes.held() + self.confirmations.len()
    }

    /// How many bytes of payloads are in memory; one record may exceed the limit.
    pub(super) const fn held_bytes(&self) -> usize {
        self.lanes.bytes() + self.blocked.bytes()
    }

    /// How many records wait to be deleted.
    pub(super) fn to_delete(&self) -> usize {
        self.confirmations.to_delete()
    }

    /// Whether nothing is in flight and nothing waits to be deleted.
    pub(super) fn is_drained(&self) -> bool {
        self.lanes.in_flight() == 0 && self.confirmations.is_empty()
    }

    /// Whether so many keys are blocked that nothing more is read.
    pub(super) fn is_full_of_blocked(&self) -> bool {
        let waiting = self.blocked.len() + self.unreadable.len() + self.lanes.retrying();
        waiting >= self.limits.blocked_max
    }

    /// Whether records of a partition are in flight or wait to be deleted.
    pub(super) fn is_busy(&self, partition: Partition) -> bool {
        self.lanes.has_in_flight(partition) || self.confirmations.has(partition)
    }

    /// Starts nothing more of a partition: it was lost, or is about to be released.
    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.lanes.drop_partition(partition);
        self.blocked.drop_partition(partition);
        self.unreadable.drop_partition(partition);
    }

    /// A partition was gained: its records may be anywhere in the outbox.
    pub(super) fn gained_partition(&mut self, partition: Partition) {
        self.reads.gained(partition);
    }

    /// Up to where the outbox was read, for the next sweep.
    pub(super) const fn mark(&self) -> Mark {
        Mark { read_to: self.reads.scanned(), history: self.history }
    }

    /// Has everything read once more, for commits that became visible late. `complete_to` is up to
    /// where the store says that none will, if it could be asked after `mark`.
    pub(super) fn sweep(&mut self, mark: Mark, complete_to: Option<u64>) {
        self.reads.sweep(complete_to.filter(|_| mark.history == self.history));
        self.lanes.sweep();
        self.unreadable.clear();
    }

    /// Makes room by dropping what waits behind slow publishes: slow keys must not keep others from
    /// being read.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        if !self.has_room() {
            self.lanes.cut_slow(self.ticks);
        }
    }

    /// Moves failed records whose pause is over back to their lanes.
    pub(super) fn unblock_due(&mut self, now: Instant) {
        for (id, failed) in self.blocked.take_due(now) {
            if failed.record.is_none() {
                let before = failed.id.sequence.saturating_sub(1).min(failed.cut_after);
                self.read_on(id.clone(), before);
            }
            self.lanes.retry(id, failed);
        }
    }

    /// When the next failed record is to be tried again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.blocked.next_due()
    }

    /// Whether records that were left out are to be read now.
    pub(super) const fn is_behind(&self) -> bool {
        self.reads.is_behind()
    }

    /// What to read next. `None` while a read is under way, or if there is too little room for a
    /// read to be worth its round trip.
    pub(super) fn plan_read(&mut self) -> Option<ReadPlan> {
        if self.reads.is_under_way() || self.is_full_of_blocked() || !self.has_room() {
            return None;
        }
        let after = self.reads.begin();
        let mut skip = self.blocked.skip(after);
        skip.append(&mut self.lanes.skip(after));
        skip.extend(self.unreadable.keys());
        let limit = self.limits.held_max.saturating_sub(self.held());
        let bytes_max = self.limits.bytes_max.saturating_sub(self.held_bytes());
        Some(ReadPlan { after, skip, held: self.records(), limit, bytes_max })
    }

    /// All records that are in memory or about to be deleted, without those of skipped keys.
    fn records(&self) -> Vec<RecordId> {
        let held = self.lanes.records().chain(self.confirmations.records());
        let held = held.chain(self.blocked.keyless()).chain(self.unreadable.keyless());
        let mut held: Vec<_> = held.collect();
        held.sort_unstable();
        held
    }

    fn has_room(&self) -> bool {
        let room = self.limits.held_max.saturating_sub(self.held());
        let bytes = self.limits.bytes_max.saturating_sub(self.held_bytes());
        let half = room * 2 >= self.limits.held_max && bytes >= self.limits.bytes_max / 2;
        room > 0 && bytes > 0 && (self.lanes.held() == 0 || half)
    }

    /// A read failed: its records are still to be read.
    pub(super) fn read_failed(&mut self, plan: &ReadPlan) {
        self.reads.failed(plan);
    }

    /// Takes in what was read, and returns whether there may be more to read at once. `lease_of` is
    /// the lease under which a record of a slot may be published now.
    pub(super) fn absorb(
        &mut self,
        plan: &ReadPlan,
        page: OutboxPage,
        lease_of: impl Fn(u16) -> Option<Lease>,
    ) -> bool {
        if self.reads.went_back(page.place) || self.shows_others(&page, &plan.held) {
            self.forget();
            return true;
        }
        if let Some(last) = page.last() {
            self.reads.read_to(last, page.more);
        }
        let more = page.more;
        let lane_max = self.limits.held_max.div_ceil(WINDOWS_PER_KEY);
        let mut no_room = false;
        for row in in_order(page) {
            let (lane, id) = (row.lane(), row.id());
            let sequence = id.sequence;
            if self.is_read_later(&lane, sequence) {
                continue;
            }
            // A partition that was lost or gained meanwhile is read again by its holder.
            let gained = |lease: &Lease| self.reads.was_gained_meanwhile(lease.partition);
            let Some(lease) = lease_of(row.slot()).filter(|lease| !gained(lease)) else {
                continue;
            };
            no_room |= self.is_full();
            if no_room {
                self.reads.again_from(sequence);
                continue;
            }
            match row {
                Row::Record(record) => self.lanes.hold(lane, lease, record, lane_max),
                Row::Unreadable(_) => self.unreadable.insert(lane, lease.partition, id),
            }
        }
        self.reads.end();
        more || no_room
    }

    /// Whether a row has the sequence of a record that is held, and another message: sequences were
    /// drawn again. The read left out the records in `held`, which is sorted.
    fn shows_others(&self, page: &OutboxPage, held: &[RecordId]) -> bool {
        let records = page.records.iter().map(|record| record.sequence);
        let unreadable = page.unreadable.iter().map(|row| row.id.sequence);
        let replaces = |sequence: u64| {
            let at = held.partition_point(|held| held.sequence < sequence);
            let mut same = held.iter().skip(at).take_while(|held| held.sequence == sequence);
            same.any(|held| !self.outlived.contains(held))
        };
        !held.is_empty() && records.chain(unreadable).any(replaces)
    }

    /// Drops what was read and is not in flight: the database went back in time, so it may not be in
    /// the outbox any more, and others may be in its place. What is confirmed stays to be deleted, if
    /// it is still there.
    fn forget(&mut self) {
        self.history += 1;
        self.lanes.drop_all();
        self.blocked.clear();
        self.unreadable.clear();
        self.outlived = self.records().into_iter().collect();
        self.reads.restart();
        tracing::warn!(
            "the outbox has gone back in time, as after a restore or a failover; it is read anew"
        );
    }

    fn is_full(&self) -> bool {
        self.held() >= self.limits.held_max
            || self.held_bytes() >= self.limits.bytes_max
            || self.is_full_of_blocked()
    }

    /// Whether the record is read again when its lane has drained, its pause is over, or the record
    /// before it can be read.
    fn is_read_later(&self, lane: &LaneId, sequence: u64) -> bool {
        self.lanes.is_cut_off(lane, sequence)
            || self.reads.was_drained_meanwhile(lane)
            || self.blocked.contains(lane)
            || self.unreadable.is_before(lane, sequence)
    }

    /// The next record to publish, if one more may be in flight.
    pub(super) fn start(&mut self) -> Option<Start> {
        self.lanes.start(self.limits.in_flight_max, self.ticks, self.history)
    }

    /// The transport confirmed a record: its key goes on, and the record can be deleted.
    pub(super) fn confirmed(&mut self, id: LaneId, lease: Lease, record: RecordId) {
        self.confirmations.add(record, lease);
        if let Some((id, cut)) = self.lanes.confirmed(id) {
            self.read_on(id, cut);
        }
    }

    /// Has the records of a lane read that come after `cut`, one that cannot be read included.
    fn read_on(&mut self, id: LaneId, cut: u64) {
        self.unreadable.forget(&id);
        self.reads.drained(id, cut);
    }

    /// How often the record in flight has failed before.
    pub(super) fn failures(&self, lane: &LaneId) -> u32 {
        self.lanes.failures(lane)
    }

    /// A record could not be published: its key waits until `due`, and its successors are dropped
    /// from memory. `lease` is the one its partition is held under now, if it is held.
    pub(super) fn failed(&mut self, start: Start, due: Instant, lease: Option<Lease>) {
        let Some(lane) = self.lanes.failed(&start.lane) else {
            return;
        };
        // The record may not be in the outbox any more; if it is, it is read again.
        if start.history != self.history {
            return self.read_on(start.lane, 0);
        }
        // Without a lease the record is read and published by whoever gains the partition.
        let Some(lease) = lease else {
            return;
        };
        let id = start.record.id();
        let blocked_bytes = self.blocked.bytes() + bytes(&start.record);
        let kept = blocked_bytes <= self.limits.bytes_max / WINDOWS_OF_BLOCKED_BYTES;
        let failed = Failed {
            lease,
            id,
            cut_after: lane.cut().map_or(id.sequence, |cut| cut.min(id.sequence)),
            record: Some(start.record).filter(|_| kept),
            failures: lane.failures.saturating_add(1),
            due,
        };
        self.blocked.insert(start.lane, failed);
    }

    /// Up to `max` confirmed records to delete, each under the lease that `current` returns for its
    /// partition; `None` while others are being deleted.
    pub(super) fn plan_deletion(
        &mut self,
        max: usize,
        current: impl Fn(Partition) -> Option<Lease>,
    ) -> Option<Vec<(Lease, RecordId)>> {
        self.confirmations.plan_deletion(max, current)
    }

    /// Some of the records are deleted. Those that are held wait for the next deletion. The others stay,
    /// because their lease has moved. Their partition may have come back since, and reads left them out
    /// meanwhile: read again.
    pub(super) fn deleted(&mut self, deletion: &Deletion) {
        if !self.confirmations.deleted(deletion) {
            self.reads.again();
        }
    }

    /// The records could not be deleted: they wait for the next deletion.
    pub(super) fn deletion_failed(&mut self) {
        self.confirmations.deletion_failed();
    }
}

/// A row of a page, in its place.
#[expect(clippy::large_enum_variant, reason = "nearly all rows are records, and none is kept")]
enum Row {
    Record(OutboxRecord),
    Unreadable(UnreadableRecord),
}

impl Row {
    const fn id(&self) -> RecordId {
        match self {
            Self::Record(record) => record.id(),
            Self::Unreadable(row) => row.id,
        }
    }

    fn slot(&self) -> u16 {
        match self {
            Self::Record(record) => record.envelope.metadata.slot(),
            Self::Unreadable(row) => row.slot,
        }
    }

    fn lane(&self) -> LaneId {
        match self {
            Self::Record(record) => LaneId::of(record),
            Self::Unreadable(row) => LaneId::of_unreadable(row),
        }
    }
}

/// The rows of a page by their sequences: a lane ends at its first row that cannot be read.
fn in_order(page: OutboxPage) -> impl Iterator<Item = Row> {
    let mut unreadable = page.unreadable.into_iter().map(Row::Unreadable).peekable();
    let mut records = page.records.into_iter().map(Row::Record).peekable();
    std::iter::from_fn(move || match (records.peek(), unreadable.peek()) {
        (Some(record), Some(row)) if row.id() < record.id() => unreadable.next(),
        (Some(_), _) => records.next(),
        (None, _) => unreadable.next(),
    })
}
