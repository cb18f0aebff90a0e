//! What a relay holds in memory of an outbox: a bounded window, one message a key on its way.
//!
//! Plain data without tasks or time of its own, so that its laws can be tested by a model.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use mamey_core::message::Key;
use mamey_core::store::{Lease, OutboxRecord, Partition};
use tokio::time::Instant;

use super::blocked::Blocked;
use super::position::Position;

/// How many records of one key are held: one hot key must not fill the window.
const HELD_PER_KEY_MAX: usize = 64;

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
    /// Deleted since the read that is under way began: it may still return them.
    deleted_while_reading: HashSet<u64>,
    reading: bool,
    blocked: Blocked,
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
    pub(super) limit: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absorbed {
    /// Records that were held, blocked or deleted already.
    pub(super) repeated: usize,
    /// There may be more to read at once.
    pub(super) more: bool,
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
            deleted_while_reading: HashSet::new(),
            reading: false,
            blocked: Blocked::default(),
            position: Position::default(),
            ticks: 0,
        }
    }

    /// How many records are in memory or about to be deleted.
    pub(super) fn held(&self) -> usize {
        self.waiting + self.in_flight + self.published.len() + self.deleting.len()
    }

    /// Whether nothing is on its way and nothing waits to be deleted.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight == 0 && self.published.is_empty() && self.deleting.is_empty()
    }

    /// Whether so many keys are blocked that no others are begun.
    pub(super) fn is_full_of_blocked(&self) -> bool {
        self.blocked.len() >= self.limits.blocked_max
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
        let mut dropped = 0;
        self.lanes.retain(|_, lane| {
            if lane.partition == partition {
                dropped += lane.waiting.len();
                lane.waiting.clear();
                lane.cut_after = None;
            }
            lane.in_flight.is_some() || !lane.waiting.is_empty()
        });
        self.waiting -= dropped;
        self.blocked.forget_partition(partition);
    }

    /// A partition was gained: its records may lie anywhere.
    pub(super) fn gained_partition(&mut self) {
        self.position.again_after(0);
    }

    /// Has everything read once more, for commits that became visible late.
    pub(super) fn sweep(&mut self) {
        self.position.sweep();
        let lanes = &self.lanes;
        self.blocked.forget_idle(|lane| lanes.contains_key(lane));
    }

    /// Has messages that failed tried again, when their time has come.
    pub(super) fn unblock_due(&mut self, now: Instant) {
        if let Some(first) = self.blocked.unblock_due(now) {
            self.position.again_from(first);
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
    /// one: reading again what is held already should stay the smaller part.
    pub(super) fn plan_read(&mut self) -> Option<ReadPlan> {
        if self.reading || !self.has_room() {
            return None;
        }
        self.reading = true;
        let cut = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.cut_after.is_some());
        let cut = cut.filter_map(|(id, _)| id.key());
        Some(ReadPlan {
            after: self.position.begin(),
            skip: self.blocked.keys().chain(cut).cloned().collect(),
            // What is held may be returned again, and must not crowd out what is new.
            limit: self.limits.held_max + self.blocked.alone(),
        })
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
            let Some(in_flight) = lane.in_flight else {
                continue;
            };
            if lane.begun + 1 < self.ticks && !lane.waiting.is_empty() {
                self.waiting -= lane.waiting.len();
                lane.waiting.clear();
                lane.cut_after = Some(in_flight);
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
        self.deleted_while_reading.clear();
    }

    /// Takes in what was read. `lease_of` is the lease under which a record may be published now.
    pub(super) fn absorb(
        &mut self,
        plan: &ReadPlan,
        records: Vec<OutboxRecord>,
        lease_of: impl Fn(&OutboxRecord) -> Option<Lease>,
    ) -> Absorbed {
        let more = records.len() >= plan.limit;
        if let Some(last) = records.last() {
            self.position.read_to(last.sequence, more);
        }
        let full = self.is_full_of_blocked();
        let (mut repeated, mut no_room) = (0, false);
        for record in records {
            let lane = LaneId::of(&record);
            if self.is_known(&lane, record.sequence) {
                repeated += 1;
                continue;
            }
            // Without a lease the partition was lost while reading; whoever gains it reads anew.
            let Some(lease) = lease_of(&record) else {
                continue;
            };
            no_room |= self.held() >= self.limits.held_max;
            let may_begin = self.lanes.contains_key(&lane) || self.blocked.is_retrying(&lane);
            if no_room || (full && !may_begin) {
                self.position.again_from(record.sequence);
                continue;
            }
            self.hold(lane, lease, record);
        }
        self.end_read();
        Absorbed {
            repeated,
            more: more || no_room,
        }
    }

    fn is_known(&self, lane: &LaneId, sequence: u64) -> bool {
        let held = self.lanes.get(lane).is_some_and(|lane| {
            lane.in_flight == Some(sequence)
                || lane.waiting.contains_key(&sequence)
                || lane.cut_after.is_some_and(|cut| sequence > cut)
        });
        held || self.blocked.contains(lane)
            || self.published.contains_key(&sequence)
            || self.deleting.contains_key(&sequence)
            || self.deleted_while_reading.contains(&sequence)
    }

    fn hold(&mut self, id: LaneId, lease: Lease, record: OutboxRecord) {
        let lane = self.lanes.entry(id.clone()).or_insert_with(|| Lane {
            partition: lease.partition,
            waiting: BTreeMap::new(),
            in_flight: None,
            begun: 0,
            cut_after: None,
        });
        let last = lane.waiting.keys().next_back().copied().or(lane.in_flight);
        if lane.waiting.len() >= HELD_PER_KEY_MAX {
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
            return Some(Start {
                lane: id,
                lease,
                record,
            });
        }
        None
    }

    /// A message was confirmed and routed: its key goes on, and its record can be deleted.
    pub(super) fn published(&mut self, id: LaneId, lease: Lease, sequence: u64) {
        self.blocked.clear(&id);
        self.published.insert(sequence, lease);
        self.in_flight -= 1;
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.in_flight = None;
        if !lane.waiting.is_empty() {
            self.ready.push_back(id);
        } else if let Some(lane) = self.lanes.remove(&id)
            && let Some(cut) = lane.cut_after
        {
            self.position.again_after(cut);
        }
    }

    /// How often the message that is on its way has failed before.
    pub(super) fn failures(&self, lane: &LaneId) -> u32 {
        self.blocked.failures(lane)
    }

    /// A message could not be published: its key waits until `due`. Its successors are dropped from
    /// memory and read again then. `still_held` unless its partition was lost meanwhile.
    pub(super) fn failed(&mut self, id: LaneId, sequence: u64, due: Instant, still_held: bool) {
        self.in_flight -= 1;
        let Some(lane) = self.lanes.remove(&id) else {
            return;
        };
        self.waiting -= lane.waiting.len();
        if still_held {
            self.blocked.block(id, lane.partition, sequence, due);
        }
    }

    /// Records to delete, unless some are being deleted already.
    pub(super) fn plan_confirm(&mut self, max: usize) -> Option<Vec<(Lease, u64)>> {
        if !self.deleting.is_empty() || self.published.is_empty() {
            return None;
        }
        while self.deleting.len() < max
            && let Some((sequence, lease)) = self.published.pop_first()
        {
            self.deleting.insert(sequence, lease);
        }
        let records = self.deleting.iter();
        Some(
            records
                .map(|(sequence, lease)| (*lease, *sequence))
                .collect(),
        )
    }

    /// The records are deleted, or stay because their lease has moved.
    pub(super) fn confirmed(&mut self) {
        let deleted = std::mem::take(&mut self.deleting);
        if self.reading {
            self.deleted_while_reading.extend(deleted.into_keys());
        }
    }

    /// The records could not be deleted: try again later.
    pub(super) fn confirm_failed(&mut self) {
        self.published.append(&mut self.deleting);
    }
}
