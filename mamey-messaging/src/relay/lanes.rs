//! The lanes of the window: which records are in memory, and which of them is published next.

use std::collections::{BTreeMap, HashMap, VecDeque};

use mamey_core::message::{Key, Partition};
use mamey_core::store::{Lease, OutboxRecord, RecordId};

use super::lane::{Lane, LaneId, bytes};
use super::tried::Tried;

/// The records in memory, by lane. Of each lane one record at most is in flight.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<LaneId, Lane>,
    /// Lanes whose next record may be published.
    ready: VecDeque<LaneId>,
    waiting: usize,
    in_flight: usize,
    /// How many bytes the records have that wait or are in flight.
    bytes: usize,
    /// How many lanes try a record again that has failed before and is not stalled.
    retrying: usize,
    /// How many lanes try a stalled record again.
    stalled: usize,
}

/// What follows from a confirm for its lane.
#[derive(Debug)]
pub(super) struct Confirmed {
    /// The record was stalled: the others of its key wait in the store until it is deleted.
    pub(super) was_stalled: bool,
    /// The lane has drained and was cut: where to read on.
    pub(super) cut: Option<u64>,
}

/// A record to publish.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) lane: LaneId,
    pub(super) lease: Lease,
    pub(super) record: OutboxRecord,
    /// How often the outbox had gone back in time when it was read.
    pub(super) history: u64,
}

impl Lanes {
    /// How many records wait or are in flight.
    pub(super) const fn held(&self) -> usize {
        self.waiting + self.in_flight
    }

    /// How many bytes the records have that wait or are in flight.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many lanes try a record again that has failed before and is not stalled.
    pub(super) const fn retrying(&self) -> usize {
        self.retrying
    }

    /// How many lanes try a stalled record again.
    pub(super) const fn stalled(&self) -> usize {
        self.stalled
    }

    /// The stalled records in memory: only the first of a lane can be one.
    pub(super) fn stalled_records(&self) -> impl Iterator<Item = RecordId> {
        let stalled = self.lanes.values().filter(|lane| lane.tried.stalled);
        stalled.filter_map(|lane| lane.records().next())
    }

    pub(super) fn contains(&self, id: &LaneId) -> bool {
        self.lanes.contains_key(id)
    }

    /// Whether a record of the partition is in flight.
    pub(super) fn has_in_flight(&self, partition: Partition) -> bool {
        self.lanes.values().any(|lane| lane.partition == partition && lane.in_flight.is_some())
    }

    /// What was tried of the record in flight before.
    pub(super) fn tried(&self, id: &LaneId) -> Tried {
        self.lanes.get(id).map_or(Tried::NEVER, |lane| lane.tried)
    }

    /// Whether the record comes after the point where its lane was cut.
    pub(super) fn is_cut_off(&self, id: &LaneId, sequence: u64) -> bool {
        let cut_after = self.lanes.get(id).and_then(|lane| lane.cut_after);
        cut_after.is_some_and(|cut| sequence > cut)
    }

    /// The keys that reads leave out, because their lanes are cut.
    pub(super) fn cut_keys(&self) -> impl Iterator<Item = &Key> {
        let cut = self.lanes.iter().filter(|(_, lane)| lane.cut_after.is_some());
        cut.filter_map(|(id, _)| id.key())
    }

    /// All records that wait or are in flight.
    pub(super) fn records(&self) -> impl Iterator<Item = RecordId> {
        self.lanes.values().flat_map(Lane::records)
    }

    /// Adds a record that was read; a lane that holds `lane_max` waiting records is cut instead.
    pub(super) fn hold(&mut self, id: LaneId, lease: Lease, record: OutboxRecord, lane_max: usize) {
        let new = || Lane::new(lease.partition);
        let lane = self.lanes.entry(id.clone()).or_insert_with(new);
        // An earlier record was published before, and comes up again: it need not go first.
        if lane.tried.failures > 0 && lane.cut_after.is_some_and(|cut| record.sequence < cut) {
            return;
        }
        let last = lane.last();
        let is_last = last.is_none_or(|last| record.sequence > last);
        if is_last && lane.waiting.len() >= lane_max {
            lane.cut_after = last;
            return;
        }
        if lane.is_idle() {
            self.ready.push_back(id);
        }
        let added = bytes(&record);
        let replaced = lane.waiting.insert(record.sequence, (lease, record));
        self.waiting += usize::from(replaced.is_none());
        self.bytes += added;
        self.bytes -= replaced.map_or(0, |(_, record)| bytes(&record));
    }

    /// Ends a lane at what is in memory of it: the rest is read when that is published.
    pub(super) fn cut(&mut self, id: &LaneId) {
        if let Some(lane) = self.lanes.get_mut(id)
            && lane.cut_after.is_none()
        {
            lane.cut_after = lane.last();
        }
    }

    /// Tries a record again that failed before. Its successors are not in memory.
    pub(super) fn retry(&mut self, id: LaneId, lease: Lease, record: OutboxRecord, tried: Tried) {
        self.bytes += bytes(&record);
        let cut_after = id.key().map(|_| record.sequence);
        let lane = Lane {
            waiting: BTreeMap::from([(record.sequence, (lease, record))]),
            tried,
            cut_after,
            ..Lane::new(lease.partition)
        };
        self.waiting += 1;
        self.count_tried(tried, true);
        self.ready.push_back(id.clone());
        self.lanes.insert(id, lane);
    }

    /// Counts a lane whose first record was tried before, or counts it no more.
    fn count_tried(&mut self, tried: Tried, begins: bool) {
        let count = match (tried.stalled, tried.failures) {
            (true, _) => &mut self.stalled,
            (false, 0) => return,
            (false, _) => &mut self.retrying,
        };
        *count = if begins { *count + 1 } else { *count - 1 };
    }

    /// The next record to publish.
    pub(super) fn start(&mut self, in_flight_max: usize, tick: u64, history: u64) -> Option<Start> {
        while self.in_flight < in_flight_max {
            let id = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&id) else {
                continue;
            };
            // A lane whose partition was dropped and gained again may be queued twice.
            if lane.in_flight.is_some() {
                continue;
            }
            let Some((_, (lease, record))) = lane.waiting.pop_first() else {
                continue;
            };
            lane.in_flight = Some(record.id());
            lane.in_flight_bytes = bytes(&record);
            lane.begun = tick;
            self.waiting -= 1;
            self.in_flight += 1;
            return Some(Start { lane: id, lease, record, history });
        }
        None
    }

    /// The record in flight is confirmed: its lane goes on, or has drained.
    pub(super) fn confirmed(&mut self, id: &LaneId) -> Confirmed {
        self.in_flight -= 1;
        let Some(lane) = self.lanes.get_mut(id) else {
            return Confirmed { was_stalled: false, cut: None };
        };
        lane.in_flight = None;
        self.bytes -= std::mem::take(&mut lane.in_flight_bytes);
        let tried = std::mem::replace(&mut lane.tried, Tried::NEVER);
        let cut = lane.cut_after.filter(|_| lane.waiting.is_empty());
        match lane.waiting.is_empty() {
            true => drop(self.lanes.remove(id)),
            false => self.ready.push_back(id.clone()),
        }
        self.count_tried(tried, false);
        Confirmed { was_stalled: tried.stalled, cut }
    }

    /// The record in flight has failed. Drops its lane from memory and returns it.
    pub(super) fn failed(&mut self, id: &LaneId) -> Option<Lane> {
        self.in_flight -= 1;
        let lane = self.lanes.remove(id)?;
        self.waiting -= lane.waiting.len();
        self.bytes -= lane.in_flight_bytes + lane.waiting_bytes();
        self.count_tried(lane.tried, false);
        Some(lane)
    }

    /// Drops the waiting records of a partition.
    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.drop_waiting(|of| of == partition);
    }

    /// Drops all waiting records.
    pub(super) fn drop_all(&mut self) {
        self.drop_waiting(|_| true);
    }

    fn drop_waiting(&mut self, drops: impl Fn(Partition) -> bool) {
        for lane in self.lanes.values_mut().filter(|lane| drops(lane.partition)) {
            self.waiting -= lane.waiting.len();
            self.bytes -= lane.waiting_bytes();
            lane.waiting.clear();
            lane.cut_after = None;
        }
        let idle: Vec<_> = self.lanes.extract_if(|_, lane| lane.is_idle()).collect();
        idle.iter().for_each(|(_, lane)| self.count_tried(lane.tried, false));
    }

    /// Drops the records that wait behind a publish of an earlier tick than the last one.
    pub(super) fn cut_slow(&mut self, tick: u64) {
        for lane in self.lanes.values_mut() {
            let is_slow = lane.in_flight.is_some() && lane.begun + 1 < tick;
            if is_slow && let Some(cut) = lane.cut() {
                self.waiting -= lane.waiting.len();
                self.bytes -= lane.waiting_bytes();
                lane.waiting.clear();
                lane.cut_after = Some(cut);
            }
        }
    }
}
