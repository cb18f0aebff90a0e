//! What a relay holds in memory of an outbox: a bounded window with one record of a key in flight.
//!
//! Plain data without tasks or a clock, so that a model can test its laws.

use std::collections::BTreeSet;

use mamey_core::message::{Key, Partition};
use mamey_core::store::{FailedRecord, Lease, OutboxPage, RecordId, UnreadableRecord};

use super::blocked::Blocked;
use super::catch_up::CatchUp;
use super::confirmations::Confirmations;
use super::lane::LaneId;
use super::lanes::{Lanes, Start};
use super::leaving::Leaving;
use super::reads::{ReadPlan, Reads};
use super::rows::{Row, in_order};
use super::stalls::Stalls;

/// One key may fill this fraction of the window: a hot key must not keep out the others.
const WINDOWS_PER_KEY: usize = 4;

/// Records that failed are many when they fill this fraction of the bytes: then they leave memory early.
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
    pub(super) limits: Limits,
    pub(super) lanes: Lanes,
    pub(super) blocked: Blocked,
    pub(super) leaving: Leaving,
    pub(super) confirmations: Confirmations,
    pub(super) catch_up: CatchUp,
    pub(super) stalls: Stalls,
    pub(super) reads: Reads,
    /// Whether the last read was one of certain keys: they take turns with the others.
    read_only_last: bool,
    /// Counts ticks, to tell which publishes are slow.
    ticks: u64,
    /// How often the outbox went back in time.
    pub(super) history: u64,
    /// What was in flight or confirmed when it did. Others may have the sequences of these.
    outlived: BTreeSet<RecordId>,
}

impl Window {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: Lanes::default(),
            blocked: Blocked::default(),
            leaving: Leaving::default(),
            confirmations: Confirmations::default(),
            catch_up: CatchUp::default(),
            stalls: Stalls::default(),
            reads: Reads::default(),
            read_only_last: false,
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

    /// How many keys wait in memory for a record that has failed.
    fn blocked(&self) -> usize {
        self.blocked.len() + self.leaving.len() + self.lanes.retrying()
    }

    /// Whether so many keys are blocked that nothing more is read.
    pub(super) fn is_full_of_blocked(&self) -> bool {
        self.blocked() >= self.limits.blocked_max
    }

    /// Whether so many keys are blocked that they leave memory early.
    pub(super) fn is_crowded(&self) -> bool {
        self.blocked() * 2 >= self.limits.blocked_max
            || self.blocked.bytes() >= self.limits.bytes_max / WINDOWS_OF_BLOCKED_BYTES
    }

    /// Whether records of a partition are in flight or wait to be deleted.
    pub(super) fn is_busy(&self, partition: Partition) -> bool {
        self.lanes.has_in_flight(partition) || self.confirmations.has(partition)
    }

    /// Starts nothing more of a partition: it was lost, or is about to be released.
    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.lanes.drop_partition(partition);
        self.blocked.drop_partition(partition);
        self.leaving.drop_partition(partition);
        self.catch_up.drop_partition(partition);
    }

    /// A partition was gained: its records may be anywhere in the outbox, and some stalled.
    pub(super) fn gained_partition(&mut self, partition: Partition) {
        self.reads.gained(partition);
        self.stalls.ask();
    }

    /// Up to where the outbox was read, for the next question whether it is complete.
    pub(super) const fn mark(&self) -> Mark {
        Mark { read_to: self.reads.scanned(), history: self.history }
    }

    /// Whether it is time to ask up to where the outbox is complete.
    pub(super) const fn is_spread(&self) -> bool {
        self.reads.is_spread()
    }

    /// Has reads begin where the outbox is complete, as the store says after `mark`; returns whether
    /// there is something to read once more.
    pub(super) fn follow(&mut self, mark: Mark, complete_to: Option<u64>) -> bool {
        let complete_to = complete_to.filter(|_| mark.history == self.history);
        complete_to.is_some_and(|complete_to| self.reads.follow(complete_to))
    }

    /// Has everything read once more, in case something was missed. `complete_to` is up to where the
    /// store says that the outbox is complete, if it could be asked after `mark`.
    pub(super) fn sweep(&mut self, mark: Mark, complete_to: Option<u64>) {
        self.reads.sweep(complete_to.filter(|_| mark.history == self.history));
        self.stalls.ask();
    }

    /// Makes room by dropping what waits behind slow publishes: slow keys must not keep others from
    /// being read.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        if !self.has_room() {
            self.lanes.cut_slow(self.ticks);
        }
    }

    /// What to read next; `is_dirty` is whether there may be new records. `None` while a read is under
    /// way, or if there is too little room for a read to be worth its round trip.
    pub(super) fn plan_read(&mut self, is_dirty: bool) -> Option<ReadPlan> {
        if self.reads.is_under_way() || self.is_full_of_blocked() || !self.has_room() {
            return None;
        }
        let is_wanted = is_dirty || self.reads.is_behind();
        let is_only = self.catch_up.is_behind() && !(is_wanted && self.read_only_last);
        if !is_only && !is_wanted {
            return None;
        }
        self.read_only_last = is_only;
        let (after, skip, only) = match is_only {
            true => {
                self.reads.begin_only();
                let (after, only) = self.catch_up.begin_read();
                (after, Vec::new(), Some(only))
            }
            false => (self.reads.begin(), self.skipped(), None),
        };
        let limit = self.limits.held_max.saturating_sub(self.held());
        let bytes_max = self.limits.bytes_max.saturating_sub(self.held_bytes());
        Some(ReadPlan { after, skip, only, held: self.records(), limit, bytes_max })
    }

    /// The keys that reads leave out, because their lanes go on later.
    fn skipped(&self) -> Vec<Key> {
        let failed = self.blocked.keys().chain(self.leaving.keys());
        let later = self.confirmations.held_up_keys().chain(self.catch_up.keys());
        failed.chain(later).chain(self.lanes.cut_keys()).cloned().collect()
    }

    /// All records that are in memory or about to be deleted, without those of skipped keys.
    fn records(&self) -> Vec<RecordId> {
        let held = self.lanes.records().chain(self.confirmations.records());
        let held = held.chain(self.blocked.keyless()).chain(self.leaving.keyless());
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
        self.leaving.end_read();
    }

    /// Takes in what was read, and returns whether there may be more to read at once. `lease_of` is
    /// the lease under which a record of a slot may be published now; `unreadable` is what becomes of a
    /// record that cannot be read.
    pub(super) fn absorb(
        &mut self,
        plan: &ReadPlan,
        page: OutboxPage,
        lease_of: impl Fn(u16) -> Option<Lease>,
        unreadable: impl Fn(&UnreadableRecord) -> FailedRecord,
    ) -> bool {
        if self.reads.went_back(page.place) || self.shows_others(&page, &plan.held) {
            self.forget();
            return true;
        }
        let (more, last) = (page.more, page.last());
        if let Some(last) = last.filter(|_| plan.only.is_none()) {
            self.reads.read_to(last, more);
        }
        let left_from = self.take_in(plan, page, lease_of, unreadable);
        match (&plan.only, left_from) {
            (None, None) => {}
            (None, Some(sequence)) => self.reads.again_from(sequence),
            (Some(_), left_from) => {
                let whole = last.filter(|_| more);
                self.pass_read_to(left_from.map_or(whole, |sequence| Some(sequence - 1)));
            }
        }
        self.reads.end();
        self.leaving.end_read();
        plan.only.is_none() && (more || left_from.is_some())
    }

    /// Takes in the rows of a page; returns the first for which there was no room.
    fn take_in(
        &mut self,
        plan: &ReadPlan,
        page: OutboxPage,
        lease_of: impl Fn(u16) -> Option<Lease>,
        unreadable: impl Fn(&UnreadableRecord) -> FailedRecord,
    ) -> Option<u64> {
        let lane_max = self.limits.held_max.div_ceil(WINDOWS_PER_KEY);
        for row in in_order(page) {
            let (lane, id) = (row.lane(), row.id());
            if self.is_read_later(plan, &lane, id.sequence) {
                continue;
            }
            // A partition that was lost or gained meanwhile is read again by its holder.
            let gained = |lease: &Lease| self.reads.was_gained_meanwhile(lease.partition);
            let Some(lease) = lease_of(row.slot()).filter(|lease| !gained(lease)) else {
                continue;
            };
            if self.is_full() {
                return Some(id.sequence);
            }
            match row {
                Row::Record(record) => self.lanes.hold(lane, lease, record, lane_max),
                // What comes before it in its lane goes out first.
                Row::Unreadable(_) if self.lanes.contains(&lane) => self.lanes.cut(&lane),
                Row::Unreadable(row) => self.leave(lane, lease, unreadable(&row), false),
            }
        }
        None
    }

    /// The pass took in everything up to here, or to the end.
    fn pass_read_to(&mut self, position: Option<u64>) {
        if !self.catch_up.read_to(position, self.reads.floor()) {
            self.reads.again_from_floor();
        }
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
        self.leaving.drop_waiting();
        self.catch_up.clear();
        self.outlived = self.records().into_iter().collect();
        self.reads.restart();
        self.leaving.end_read();
        self.stalls.ask();
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
    /// before it is published or given up.
    fn is_read_later(&self, plan: &ReadPlan, lane: &LaneId, sequence: u64) -> bool {
        let elsewhere = match plan.only {
            Some(_) => !self.catch_up.takes(lane, sequence),
            None => self.catch_up.contains(lane),
        };
        elsewhere
            || self.lanes.is_cut_off(lane, sequence)
            || self.reads.was_drained_meanwhile(lane)
            || self.blocked.contains(lane)
            || self.leaving.contains(lane)
            || self.confirmations.holds_up(lane)
    }

    /// The next record to publish, if one more may be in flight.
    pub(super) fn start(&mut self) -> Option<Start> {
        self.lanes.start(self.limits.in_flight_max, self.ticks, self.history)
    }

    /// The transport confirmed a record: its key goes on, and the record can be deleted.
    pub(super) fn confirmed(&mut self, id: LaneId, lease: Lease, record: RecordId) {
        let confirmed = self.lanes.confirmed(&id);
        if confirmed.was_stalled {
            // The store has its key wait until it is deleted.
            return self.confirmations.add_stalled(id, record, lease);
        }
        self.confirmations.add(record, lease);
        if let Some(cut) = confirmed.cut {
            self.read_on(id, lease.partition, cut);
        }
    }

    /// Has the records of a lane read that come after `cut`.
    pub(super) fn read_on(&mut self, id: LaneId, partition: Partition, cut: u64) {
        match id.key().is_some() && cut < self.reads.floor() {
            true => self.catch_up.add(id, partition, cut),
            false => self.reads.drained(id, cut),
        }
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

    /// `count` of the records are deleted. The others stay, because their lease has moved. Their
    /// partition may have come back since, and reads left them out meanwhile: read again.
    pub(super) fn deleted(&mut self, count: u64) {
        let deleted = self.confirmations.deleted(count);
        for (lane, partition, record) in deleted.freed {
            self.read_on(lane, partition, record.sequence);
        }
        if !deleted.all {
            self.reads.again();
        }
    }

    /// The records could not be deleted: they wait for the next deletion.
    pub(super) fn deletion_failed(&mut self) {
        self.confirmations.deletion_failed();
    }
}
