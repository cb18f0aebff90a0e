//! What a relay holds in memory of an outbox: a bounded window, one message a key on its way.
//!
//! Plain data without tasks or time of its own, so that its laws can be tested by a model.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use mamey_core::message::{Key, Partition};
use mamey_core::store::{Lease, OutboxRecord};
use tokio::time::Instant;

use super::blocked::{Blocked, Failed};
use super::position::Position;

/// Which part of the window one key may fill: a hot key must not keep out the others.
const WINDOWS_PER_KEY: usize = 4;

/// What is published one message at a time: a key, or a record without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LaneId {
    Key(Key),
    Alone(u64),
}

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
    lanes: HashMap<LaneId, Lane>,
    /// Lanes whose next message may be published, each once.
    ready: VecDeque<LaneId>,
    waiting: usize,
    in_flight: usize,
    /// Confirmed by the transport, to be deleted.
    published: BTreeMap<u64, Lease>,
    /// Being deleted.
    deleting: BTreeMap<u64, Lease>,
    /// Gained since the read that is under way began: what it returns of them may have a gap, and
    /// is read again.
    gained_while_reading: HashSet<Partition>,
    /// Came to where they were cut since then: likewise.
    drained_while_reading: HashSet<LaneId>,
    reading: bool,
    blocked: Blocked,
    /// Lanes whose wait is over and whose message is being tried again.
    retrying: usize,
    position: Position,
    /// Counts ticks, to tell which messages take long.
    ticks: u64,
}

#[derive(Debug)]
struct Lane {
    partition: Partition,
    waiting: BTreeMap<u64, (Lease, OutboxRecord)>,
    in_flight: Option<u64>,
    /// The tick at which that began.
    begun: u64,
    /// How often the first message has failed.
    failures: u32,
    /// More records of this key follow after this one, but are not held.
    cut_after: Option<u64>,
}

/// A message to publish.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) lane: LaneId,
    pub(super) lease: Lease,
    pub(super) record: OutboxRecord,
}

/// What to ask the store for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadPlan {
    pub(super) after: u64,
    pub(super) skip: Vec<Key>,
    pub(super) held: Vec<u64>,
    pub(super) limit: usize,
}

impl LaneId {
    fn of(record: &OutboxRecord) -> Self {
        match &record.envelope.metadata.key {
            Some(key) => Self::Key(key.clone()),
            None => Self::Alone(record.sequence),
        }
    }

    pub(super) const fn key(&self) -> Option<&Key> {
        match self {
            Self::Key(key) => Some(key),
            Self::Alone(_) => None,
        }
    }
}

impl Lane {
    /// Where to read on when what waits is dropped from memory. Usually behind the message on its
    /// way; an earlier one may wait when its partition went away and came back.
    fn cut(&self) -> Option<u64> {
        let first = *self.waiting.keys().next()?;
        Some(first.saturating_sub(1))
    }
}

impl Window {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: 0,
            in_flight: 0,
            published: BTreeMap::new(),
            deleting: BTreeMap::new(),
            gained_while_reading: HashSet::new(),
            drained_while_reading: HashSet::new(),
            reading: false,
            blocked: Blocked::default(),
            retrying: 0,
            position: Position::default(),
            ticks: 0,
        }
    }

    /// How many records are in memory or about to be deleted, beside those that are blocked.
    pub(super) fn held(&self) -> usize {
        self.waiting + self.in_flight + self.published.len() + self.deleting.len()
    }

    /// How many records wait to be deleted.
    pub(super) fn to_confirm(&self) -> usize {
        self.published.len()
    }

    /// Whether nothing is on its way and nothing waits to be deleted.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight == 0 && self.published.is_empty() && self.deleting.is_empty()
    }

    /// Whether so many keys are blocked that nothing more is read.
    pub(super) fn is_full_of_blocked(&self) -> bool {
        self.blocked.len() + self.retrying >= self.limits.blocked_max
    }

    /// Whether work of a partition is not finished.
    pub(super) fn is_busy(&self, partition: Partition) -> bool {
        let in_flight = |lane: &Lane| lane.partition == partition && lane.in_flight.is_some();
        self.lanes.values().any(in_flight)
            || self
                .published
                .values()
                .chain(self.deleting.values())
                .any(|lease| lease.partition == partition)
    }

    /// Begins nothing more of a partition: it was lost, or is about to be given back.
    pub(super) fn drop_partition(&mut self, partition: Partition) {
        let of_partition = |lane: &Lane| lane.partition == partition;
        for lane in self.lanes.values_mut().filter(|lane| of_partition(lane)) {
            self.waiting -= lane.waiting.len();
            lane.waiting.clear();
            lane.cut_after = None;
        }
        let idle = |lane: &Lane| lane.in_flight.is_none() && lane.waiting.is_empty();
        for (_, lane) in self.lanes.extract_if(|_, lane| idle(lane)) {
            self.retrying -= usize::from(lane.failures > 0);
        }
        self.blocked.drop_partition(partition);
    }

    /// A partition was gained: its records may lie anywhere.
    pub(super) fn gained_partition(&mut self, partition: Partition) {
        self.position.again_after(0);
        if self.reading {
            self.gained_while_reading.insert(partition);
        }
    }

    /// Has everything read once more, for commits that became visible late.
    pub(super) fn sweep(&mut self) {
        self.position.sweep();
    }

    /// Has messages that failed tried again, when their time has come.
    pub(super) fn unblock_due(&mut self, now: Instant) {
        for (id, failed) in self.blocked.take_due(now) {
            let sequence = failed.record.sequence;
            let lane = Lane {
                partition: failed.lease.partition,
                waiting: BTreeMap::from([(sequence, (failed.lease, failed.record))]),
                in_flight: None,
                begun: 0,
                failures: failed.failures,
                cut_after: Some(failed.cut_after),
            };
            self.waiting += 1;
            self.retrying += 1;
            self.ready.push_back(id.clone());
            self.lanes.insert(id, lane);
        }
    }

    /// When the next failed message is to be tried again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.blocked.next_due()
    }

    /// Whether records that were passed over are to be read now.
    pub(super) const fn is_behind(&self) -> bool {
        self.position.is_behind()
    }

    /// What to read next. `None` while a read is under way, or when there is too little room for
    /// one that is worth its trip.
    pub(super) fn plan_read(&mut self) -> Option<ReadPlan> {
        if self.reading || self.is_full_of_blocked() || !self.has_room() {
            return None;
        }
        self.reading = true;
        let after = self.position.begin();
        let mut skip = self.blocked.skip(after);
        for (id, lane) in &mut self.lanes {
            if let (Some(key), Some(cut)) = (id.key(), &mut lane.cut_after) {
                // What this read passes over is read again when the key's turn comes.
                *cut = after.min(*cut);
                skip.push(key.clone());
            }
        }
        let limit = self.limits.held_max.saturating_sub(self.held());
        Some(ReadPlan { after, skip, held: self.sequences(), limit })
    }

    /// All records that are in memory or about to be deleted, but for those of keys to skip.
    fn sequences(&self) -> Vec<u64> {
        let lanes = self.lanes.values();
        let in_lanes = lanes.flat_map(|lane| lane.in_flight.iter().chain(lane.waiting.keys()));
        let done = self.published.keys().chain(self.deleting.keys());
        in_lanes.chain(done).copied().chain(self.blocked.alone()).collect()
    }

    fn has_room(&self) -> bool {
        let room = self.limits.held_max.saturating_sub(self.held());
        let idle = self.waiting + self.in_flight == 0;
        room > 0 && (idle || room * 2 >= self.limits.held_max)
    }

    /// Makes room by dropping what waits behind messages that take longer than a tick: keys that
    /// are slow must not keep others from being read.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        if self.has_room() {
            return;
        }
        for lane in self.lanes.values_mut() {
            let takes_long = lane.in_flight.is_some() && lane.begun + 1 < self.ticks;
            if takes_long && let Some(cut) = lane.cut() {
                self.waiting -= lane.waiting.len();
                lane.waiting.clear();
                lane.cut_after = Some(cut);
            }
        }
    }

    /// A read failed: its records are still to be read.
    pub(super) fn read_failed(&mut self, plan: &ReadPlan) {
        self.end_read();
        self.position.again_after(plan.after);
    }

    fn end_read(&mut self) {
        self.reading = false;
        self.gained_while_reading.clear();
        self.drained_while_reading.clear();
    }

    /// Takes in what was read, and says whether there may be more to read at once. `lease_of` is
    /// the lease under which a record may be published now.
    pub(super) fn absorb(
        &mut self,
        plan: &ReadPlan,
        records: Vec<OutboxRecord>,
        lease_of: impl Fn(&OutboxRecord) -> Option<Lease>,
    ) -> bool {
        let more = records.len() >= plan.limit;
        if let Some(last) = records.last() {
            self.position.read_to(last.sequence, more);
        }
        let mut no_room = false;
        for record in records {
            let lane = LaneId::of(&record);
            // These are read on purpose when their turn comes.
            if self.is_cut_off(&lane, record.sequence) || self.blocked.contains(&lane) {
                continue;
            }
            // A partition that was lost or gained while reading is read anew by whoever has it.
            let gained = |lease: &Lease| self.gained_while_reading.contains(&lease.partition);
            let Some(lease) = lease_of(&record).filter(|lease| !gained(lease)) else {
                continue;
            };
            no_room |= self.held() >= self.limits.held_max || self.is_full_of_blocked();
            if no_room {
                self.position.again_from(record.sequence);
                continue;
            }
            self.hold(lane, lease, record);
        }
        self.end_read();
        more || no_room
    }

    fn is_cut_off(&self, lane: &LaneId, sequence: u64) -> bool {
        let cut_after = self.lanes.get(lane).and_then(|lane| lane.cut_after);
        cut_after.is_some_and(|cut| sequence > cut) || self.drained_while_reading.contains(lane)
    }

    fn hold(&mut self, id: LaneId, lease: Lease, record: OutboxRecord) {
        let lane = self.lanes.entry(id.clone()).or_insert_with(|| Lane {
            partition: lease.partition,
            waiting: BTreeMap::new(),
            in_flight: None,
            begun: 0,
            failures: 0,
            cut_after: None,
        });
        let last = lane.waiting.keys().next_back().copied().or(lane.in_flight);
        let is_last = last.is_none_or(|last| record.sequence > last);
        let is_full = lane.waiting.len() >= self.limits.held_max.div_ceil(WINDOWS_PER_KEY);
        if is_full && is_last {
            lane.cut_after = last;
            return;
        }
        if lane.waiting.is_empty() && lane.in_flight.is_none() {
            self.ready.push_back(id);
        }
        lane.waiting.insert(record.sequence, (lease, record));
        self.waiting += 1;
    }

    /// The next message to publish, within the limit of what is on its way.
    pub(super) fn start(&mut self) -> Option<Start> {
        while self.in_flight < self.limits.in_flight_max {
            let id = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&id) else {
                continue;
            };
            // A lane whose partition was dropped and gained again may stand in the queue twice.
            if lane.in_flight.is_some() {
                continue;
            }
            let Some((sequence, (lease, record))) = lane.waiting.pop_first() else {
                continue;
            };
            lane.in_flight = Some(sequence);
            lane.begun = self.ticks;
            self.waiting -= 1;
            self.in_flight += 1;
            return Some(Start { lane: id, lease, record });
        }
        None
    }

    /// A message was confirmed and routed: its key goes on, and its record can be deleted.
    pub(super) fn published(&mut self, id: LaneId, lease: Lease, sequence: u64) {
        self.published.insert(sequence, lease);
        self.in_flight -= 1;
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.in_flight = None;
        self.retrying -= usize::from(std::mem::take(&mut lane.failures) > 0);
        if !lane.waiting.is_empty() {
            self.ready.push_back(id);
        } else if let Some(lane) = self.lanes.remove(&id)
            && let Some(cut) = lane.cut_after
        {
            self.position.again_after(cut);
            if self.reading {
                self.drained_while_reading.insert(id);
            }
        }
    }

    /// How often the message that is on its way has failed before.
    pub(super) fn failures(&self, lane: &LaneId) -> u32 {
        self.lanes.get(lane).map_or(0, |lane| lane.failures)
    }

    /// A message could not be published: its key waits until `due`, and its successors are dropped
    /// from memory. `lease` is the one its partition is held under now, if it is.
    pub(super) fn failed(&mut self, start: Start, due: Instant, lease: Option<Lease>) {
        self.in_flight -= 1;
        let Some(lane) = self.lanes.remove(&start.lane) else {
            return;
        };
        self.waiting -= lane.waiting.len();
        self.retrying -= usize::from(lane.failures > 0);
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

    /// Records to delete, unless some are being deleted already. A partition that came back to us
    /// is deleted from under its new lease: confirmed is confirmed.
    pub(super) fn plan_confirm(
        &mut self,
        max: usize,
        current: impl Fn(Partition) -> Option<Lease>,
    ) -> Option<Vec<(Lease, u64)>> {
        if !self.deleting.is_empty() || self.published.is_empty() {
            return None;
        }
        while self.deleting.len() < max
            && let Some((sequence, lease)) = self.published.pop_first()
        {
            let lease = current(lease.partition).unwrap_or(lease);
            self.deleting.insert(sequence, lease);
        }
        let records = self.deleting.iter();
        Some(records.map(|(sequence, lease)| (*lease, *sequence)).collect())
    }

    /// `count` of the records are deleted; the others stay, because their lease has moved. They may
    /// have come back to us, and were passed over while they were being deleted: read again.
    pub(super) fn confirmed(&mut self, count: u64) {
        let deleted = std::mem::take(&mut self.deleting);
        if count < deleted.len() as u64 {
            self.position.again_after(0);
        }
    }

    /// The records could not be deleted: try again later.
    pub(super) fn confirm_failed(&mut self) {
        self.published.append(&mut self.deleting);
    }
}
