//! The lanes of the window: which records are in memory, and which of them is published next.

use std::collections::{BTreeMap, HashMap, VecDeque};

use mamey_core::message::{Key, Partition};
use mamey_core::store::{Lease, OutboxRecord, RecordId};

use super::blocked::Failed;
use super::lane::{Lane, LaneId, bytes};

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
    /// How many lanes try a record again that has failed before.
    retrying: usize,
    /// How often the record has failed with which a lane goes on once it is read again.
    failed_before: HashMap<LaneId, (Partition, u32)>,
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

    pub(super) const fn retrying(&self) -> usize {
        self.retrying
    }

    /// Whether a record of the partition is in flight.
    pub(super) fn has_in_flight(&self, partition: Partition) -> bool {
        self.lanes.values().any(|lane| lane.partition == partition && lane.in_flight.is_some())
    }

    /// How often the record in flight has failed before.
    pub(super) fn failures(&self, id: &LaneId) -> u32 {
        self.lanes.get(id).map_or(0, |lane| lane.failures)
    }

    /// Whether the record comes after the point where its lane was cut.
    pub(super) fn is_cut_off(&self, id: &LaneId, sequence: u64) -> bool {
        let cut_after = self.lanes.get(id).and_then(|lane| lane.cut_after);
        cut_after.is_some_and(|cut| sequence > cut)
    }

    /// The keys that a read from `after` on leaves out, because their lanes are cut.
    pub(super) fn skip(&mut self, after: u64) -> Vec<Key> {
        let mut skip = Vec::new();
        for (id, lane) in &mut self.lanes {
            if let (Some(key), Some(cut)) = (id.key(), &mut lane.cut_after) {
                // What this read leaves out is read when the lane has drained.
                *cut = after.min(*cut);
                skip.push(key.clone());
            }
        }
        skip
    }

    /// All records that wait or are in flight.
    pub(super) fn records(&self) -> impl Iterator<Item = RecordId> {
        self.lanes.values().flat_map(Lane::records)
    }

    /// Adds a record that was read; a lane that holds `lane_max` waiting records is cut instead.
    pub(super) fn hold(&mut self, id: LaneId, lease: Lease, record: OutboxRecord, lane_max: usize) {
        let failures = self.failed_before.remove(&id).map_or(0, |(_, failures)| failures);
        let lane = self.lanes.entry(id.clone()).or_insert_with(|| {
            self.retrying += usize::from(failures > 0);
            Lane { failures, ..Lane::new(lease.partition) }
        });
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

    /// Tries a record again that failed before. Without it, its lane goes on when it is read.
    pub(super) fn retry(&mut self, id: LaneId, failed: Failed) {
        let Some(record) = failed.record else {
            self.failed_before.insert(id, (failed.lease.partition, failed.failures));
            return;
        };
        self.bytes += bytes(&record);
        let lane = Lane {
            waiting: BTreeMap::from([(record.sequence, (failed.lease, record))]),
            failures: failed.failures,
            cut_after: Some(failed.cut_after),
            ..Lane::new(failed.lease.partition)
        };
        self.waiting += 1;
        self.retrying += 1;
        self.ready.push_back(id.clone());
        self.lanes.insert(id, lane);
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

    /// The record in flight is confirmed. If its lane has drained and was cut, returns the lane and
    /// where to read on.
    pub(super) fn confirmed(&mut self, id: LaneId) -> Option<(LaneId, u64)> {
        self.in_flight -= 1;
        let lane = self.lanes.get_mut(&id)?;
        lane.in_flight = None;
        self.bytes -= std::mem::take(&mut lane.in_flight_bytes);
        self.retrying -= usize::from(std::mem::take(&mut lane.failures) > 0);
        if !lane.waiting.is_empty() {
            self.ready.push_back(id);
            return None;
        }
        let cut = self.lanes.remove(&id)?.cut_after?;
        Some((id, cut))
    }

    /// The record in flight has failed. Drops its lane from memory and returns it.
    pub(super) fn failed(&mut self, id: &LaneId) -> Option<Lane> {
        self.in_flight -= 1;
        let lane = self.lanes.remove(id)?;
        self.waiting -= lane.waiting.len();
        self.bytes -= lane.in_flight_bytes + lane.waiting_bytes();
        self.retrying -= usize::from(lane.failures > 0);
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
        for (_, lane) in self.lanes.extract_if(|_, lane| lane.is_idle()) {
            self.retrying -= usize::from(lane.failures > 0);
        }
        self.failed_before.retain(|_, (of, _)| !drops(*of));
    }

    /// Forgets the failures of records that did not come back.
    pub(super) fn sweep(&mut self) {
        self.failed_before.clear();
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
