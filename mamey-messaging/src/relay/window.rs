//! What a relay holds in memory of an outbox: a bounded window with one record of a key in flight.
//!
//! Plain data without tasks or a clock, so that a model can test its laws.

use mamey_core::message::Partition;
use mamey_core::store::{Lease, OutboxRecord};
use tokio::time::Instant;

use super::blocked::{Blocked, Failed};
use super::confirmations::Confirmations;
use super::lane::LaneId;
use super::lanes::{Lanes, Start};
use super::reads::{ReadPlan, Reads};

/// One key may fill this fraction of the window: a hot key must not keep out the others.
const WINDOWS_PER_KEY: usize = 4;

/// How much a window may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) in_flight_max: usize,
    pub(super) held_max: usize,
    pub(super) blocked_max: usize,
}

#[derive(Debug)]
pub(super) struct Window {
    limits: Limits,
    lanes: Lanes,
    blocked: Blocked,
    confirmations: Confirmations,
    reads: Reads,
    /// Counts ticks, to tell which publishes are slow.
    ticks: u64,
}

impl Window {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: Lanes::default(),
            blocked: Blocked::default(),
            confirmations: Confirmations::default(),
            reads: Reads::default(),
            ticks: 0,
        }
    }

    /// How many records are in memory or about to be deleted, without those that are blocked.
    pub(super) fn held(&self) -> usize {
        self.lanes.held() + self.confirmations.len()
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
        self.blocked.len() + self.lanes.retrying() >= self.limits.blocked_max
    }

    /// Whether records of a partition are in flight or wait to be deleted.
    pub(super) fn is_busy(&self, partition: Partition) -> bool {
        self.lanes.has_in_flight(partition) || self.confirmations.has(partition)
    }

    /// Starts nothing more of a partition: it was lost, or is about to be released.
    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.lanes.drop_partition(partition);
        self.blocked.drop_partition(partition);
    }

    /// A partition was gained: its records may be anywhere in the outbox.
    pub(super) fn gained_partition(&mut self, partition: Partition) {
        self.reads.gained(partition);
    }

    /// Has everything read once more, for commits that became visible late.
    pub(super) fn sweep(&mut self) {
        self.reads.sweep();
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
        let limit = self.limits.held_max.saturating_sub(self.held());
        Some(ReadPlan { after, skip, held: self.sequences(), limit })
    }

    /// All records that are in memory or about to be deleted, without those of skipped keys.
    fn sequences(&self) -> Vec<u64> {
        let held = self.lanes.sequences().chain(self.confirmations.sequences());
        held.chain(self.blocked.keyless()).collect()
    }

    fn has_room(&self) -> bool {
        let room = self.limits.held_max.saturating_sub(self.held());
        let idle = self.lanes.held() == 0;
        room > 0 && (idle || room * 2 >= self.limits.held_max)
    }

    /// A read failed: its records are still to be read.
    pub(super) fn read_failed(&mut self, plan: &ReadPlan) {
        self.reads.failed(plan);
    }

    /// Takes in what was read, and returns whether there may be more to read at once. `lease_of` is
    /// the lease under which a record may be published now.
    pub(super) fn absorb(
        &mut self,
        plan: &ReadPlan,
        records: Vec<OutboxRecord>,
        lease_of: impl Fn(&OutboxRecord) -> Option<Lease>,
    ) -> bool {
        let more = records.len() >= plan.limit;
        if let Some(last) = records.last() {
            self.reads.read_to(last.sequence, more);
        }
        let lane_max = self.limits.held_max.div_ceil(WINDOWS_PER_KEY);
        let mut no_room = false;
        for record in records {
            let lane = LaneId::of(&record);
            if self.is_read_later(&lane, record.sequence) {
                continue;
            }
            // A partition that was lost or gained meanwhile is read again by its holder.
            let gained = |lease: &Lease| self.reads.was_gained_meanwhile(lease.partition);
            let Some(lease) = lease_of(&record).filter(|lease| !gained(lease)) else {
                continue;
            };
            no_room |= self.held() >= self.limits.held_max || self.is_full_of_blocked();
            if no_room {
                self.reads.again_from(record.sequence);
                continue;
            }
            self.lanes.hold(lane, lease, record, lane_max);
        }
        self.reads.end();
        more || no_room
    }

    /// Whether the record is read again when its lane has drained or its pause is over.
    fn is_read_later(&self, lane: &LaneId, sequence: u64) -> bool {
        self.lanes.is_cut_off(lane, sequence)
            || self.reads.was_drained_meanwhile(lane)
            || self.blocked.contains(lane)
    }

    /// The next record to publish, if one more may be in flight.
    pub(super) fn start(&mut self) -> Option<Start> {
        self.lanes.start(self.limits.in_flight_max, self.ticks)
    }

    /// The transport confirmed a record: its key goes on, and the record can be deleted.
    pub(super) fn confirmed(&mut self, id: LaneId, lease: Lease, sequence: u64) {
        self.confirmations.add(sequence, lease);
        if let Some((id, cut)) = self.lanes.confirmed(id) {
            self.reads.drained(id, cut);
        }
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
        // Without a lease the record is read and published by whoever gains the partition.
        let Some(lease) = lease else {
            return;
        };
        let sequence = start.record.sequence;
        let failed = Failed {
            lease,
            cut_after: lane.cut().map_or(sequence, |cut| cut.min(sequence)),
            record: start.record,
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
    ) -> Option<Vec<(Lease, u64)>> {
        self.confirmations.plan_deletion(max, current)
    }

    /// `count` of the records are deleted. The others stay, because their lease has moved. Their
    /// partition may have come back since, and reads left them out meanwhile: read again.
    pub(super) fn deleted(&mut self, count: u64) {
        if !self.confirmations.deleted(count) {
            self.reads.again();
        }
    }

    /// The records could not be deleted: they wait for the next deletion.
    pub(super) fn deletion_failed(&mut self) {
        self.confirmations.deletion_failed();
    }
}
