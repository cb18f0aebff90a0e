//! Test: proves the window's laws against a model of an outbox.
//!
//! In the model commits become visible late, publishes fail, records are stalled and given up, deletions
//! overlap with reads, partitions are lost and gained, the outbox goes back in time, and some records
//! cannot be read until the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Key, Metadata, Partition};
use mamey_core::store::{
    Becomes, FailedRecord, Failure, InstanceId, Lease, LeaseRole, OutboxPage, OutboxPlace,
    OutboxRecord, RecordId, Stalled, StalledPage, UndeliveredReason, UnreadableRecord,
};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::Instant;

use super::lanes::Start;
use super::reads::ReadPlan;
use super::stalls::StalledPlan;
use super::tried::Next;
use super::window::{Limits, Window};

const PARTITIONS: u16 = 2;
const RECORD_BYTES_MAX: usize = 12;

/// At how many rows a read of certain keys looks.
const SCAN_MAX: usize = 4;

const PAUSE: Duration = Duration::from_secs(1);

/// How a publish ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Confirmed,
    Waits,
    Stalls,
    GivenUp,
}

#[derive(Clone, Debug)]
enum Step {
    /// Commits a message; it becomes visible now, or some steps later.
    Commit {
        key: Option<u8>,
        late: bool,
        unreadable: bool,
    },
    /// One late commit becomes visible.
    Show(Index),
    BeginRead,
    EndRead {
        fails: bool,
    },
    Start,
    EndPublish {
        which: Index,
        end: End,
    },
    BeginRecording,
    EndRecording {
        fails: bool,
    },
    BeginStalled,
    EndStalled {
        fails: bool,
    },
    BeginDeletion,
    EndDeletion {
        fails: bool,
    },
    Unblock,
    Sweep,
    Follow,
    Tick,
    Lose(u16),
    Gain(u16),
    /// Copies the outbox, to be restored later.
    Save,
    /// Puts the last copy in place of the outbox: the sequences since then are drawn again.
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        6 => (prop::option::weighted(0.9, 0..5_u8), prop::bool::weighted(0.2), prop::bool::weighted(0.03))
            .prop_map(|(key, late, unreadable)| Step::Commit { key, late, unreadable }),
        2 => index().prop_map(Step::Show),
        4 => Just(Step::BeginRead),
        4 => prop::bool::weighted(0.1).prop_map(|fails| Step::EndRead { fails }),
        6 => Just(Step::Start),
        6 => (index(), end()).prop_map(|(which, end)| Step::EndPublish { which, end }),
        3 => Just(Step::BeginRecording),
        3 => prop::bool::weighted(0.2).prop_map(|fails| Step::EndRecording { fails }),
        2 => Just(Step::BeginStalled),
        2 => prop::bool::weighted(0.1).prop_map(|fails| Step::EndStalled { fails }),
        3 => Just(Step::BeginDeletion),
        3 => prop::bool::weighted(0.2).prop_map(|fails| Step::EndDeletion { fails }),
        2 => Just(Step::Unblock),
        1 => Just(Step::Sweep),
        2 => Just(Step::Follow),
        1 => Just(Step::Tick),
        1 => (0..PARTITIONS).prop_map(Step::Lose),
        1 => (0..PARTITIONS).prop_map(Step::Gain),
        1 => Just(Step::Save),
        1 => Just(Step::Restore),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        6 => Just(End::Confirmed),
        2 => Just(End::Waits),
        2 => Just(End::Stalls),
        1 => Just(End::GivenUp),
    ]
}

/// What a store keeps of an outbox.
#[derive(Clone, Default)]
struct Stored {
    sequence: u64,
    visible: BTreeMap<u64, OutboxRecord>,
    stalled: BTreeMap<u64, OutboxRecord>,
    given_up: HashSet<RecordId>,
}

impl Stored {
    /// Takes out a record, wherever it is.
    fn take(&mut self, id: RecordId) -> Option<OutboxRecord> {
        let same = |record: Option<&OutboxRecord>| record.is_some_and(|record| record.id() == id);
        if same(self.visible.get(&id.sequence)) {
            return self.visible.remove(&id.sequence);
        }
        same(self.stalled.get(&id.sequence)).then(|| self.stalled.remove(&id.sequence))?
    }

    /// Whether a record waits behind a stalled one.
    fn is_held_up(&self, record: &OutboxRecord) -> bool {
        let key = &record.envelope.metadata.key;
        let mut before = self.stalled.range(..record.sequence);
        key.is_some() && before.any(|(_, stalled)| stalled.envelope.metadata.key == *key)
    }
}

/// An outbox, a relay's window on it, and what came out.
struct Model {
    window: Window,
    now: Instant,
    stored: Stored,
    late: BTreeMap<u64, OutboxRecord>,
    unreadable: HashSet<RecordId>,
    leased: HashMap<u16, Lease>,
    epoch: u64,
    read: Option<(ReadPlan, OutboxPage)>,
    read_stalled: Option<(StalledPlan, StalledPage)>,
    deleting: Option<Vec<(Lease, RecordId)>>,
    recording: Option<Vec<(Lease, FailedRecord)>>,
    in_flight: Vec<Start>,
    /// The epoch under which each was published, since the last restore.
    published: HashMap<RecordId, u64>,
    /// All that were published.
    ever_published: HashSet<RecordId>,
    /// All that were given up, also those that a restore brought back: their keys had gone on.
    ever_given_up: HashSet<RecordId>,
    saved: Stored,
    /// How often the outbox was restored.
    restores: u64,
    timeline: u64,
    /// The last sequence that the relay has seen drawn, since the last restore.
    seen_drawn: u64,
    sweeps: u64,
    /// Restored, and not read since: what is published may not be there any more.
    is_unaware: bool,
    last_of_key: HashMap<Key, u64>,
    limits: Limits,
}

impl Model {
    fn new(limits: Limits) -> Self {
        let mut model = Self {
            window: Window::new(limits),
            now: Instant::now(),
            stored: Stored::default(),
            late: BTreeMap::new(),
            unreadable: HashSet::new(),
            leased: HashMap::new(),
            epoch: 0,
            read: None,
            read_stalled: None,
            deleting: None,
            recording: None,
            in_flight: Vec::new(),
            published: HashMap::new(),
            ever_published: HashSet::new(),
            ever_given_up: HashSet::new(),
            saved: Stored::default(),
            restores: 0,
            timeline: 0,
            seen_drawn: 0,
            sweeps: 0,
            is_unaware: false,
            last_of_key: HashMap::new(),
            limits,
        };
        (0..PARTITIONS).for_each(|number| model.gain(number));
        model
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Commit { key, late, unreadable } => self.commit(key, late, unreadable),
            Step::Show(index) => self.show(index),
            Step::BeginRead => self.begin_read(),
            Step::EndRead { fails } => self.end_read(fails),
            Step::Start => self.start(),
            Step::EndPublish { which, end } => self.end_publish(|len| which.index(len), end),
            Step::BeginRecording => self.begin_recording(),
            Step::EndRecording { fails } => self.end_recording(fails),
            Step::BeginStalled => self.begin_stalled(),
            Step::EndStalled { fails } => self.end_stalled(fails),
            Step::BeginDeletion => self.begin_deletion(),
            Step::EndDeletion { fails } => self.end_deletion(fails),
            Step::Unblock => self.unblock(),
            Step::Sweep => self.sweep(),
            Step::Follow => self.follow(),
            Step::Tick => self.window.tick(),
            Step::Lose(number) => self.lose(number),
            Step::Gain(number) => self.gain(number),
            Step::Save => self.saved = self.stored.clone(),
            Step::Restore => self.restore(),
        }
        // Records that are tried again come on top.
        let stalled_max = self.limits.in_flight_max / 8 + 1;
        let held_max = self.limits.held_max + self.limits.blocked_max + stalled_max;
        assert!(self.window.held() <= held_max, "too much is held");
        let bytes_max = self.limits.bytes_max + RECORD_BYTES_MAX;
        assert!(self.window.held_bytes() <= bytes_max, "too many bytes are held");
        assert!(self.in_flight.len() <= self.limits.in_flight_max);
    }

    fn commit(&mut self, key: Option<u8>, late: bool, unreadable: bool) {
        self.stored.sequence += 1;
        let sequence = self.stored.sequence;
        let record = record(sequence, self.restores, key);
        if unreadable {
            self.unreadable.insert(record.id());
        }
        // Commits of one key are visible in order: a later one waits for an earlier.
        let key = &record.envelope.metadata.key;
        let behind_late =
            self.late.values().any(|it| key.is_some() && it.envelope.metadata.key == *key);
        let is_late = late || behind_late;
        let place = if is_late { &mut self.late } else { &mut self.stored.visible };
        place.insert(sequence, record);
    }

    fn show(&mut self, index: Index) {
        if self.late.is_empty() {
            return;
        }
        let picked = *self.late.keys().nth(index.index(self.late.len())).unwrap();
        let key = self.late[&picked].envelope.metadata.key.clone();
        let same_key = |it: &&u64| key.is_some() && self.late[it].envelope.metadata.key == key;
        let first = self.late.keys().find(same_key).copied().unwrap_or(picked);
        let record = self.late.remove(&first).unwrap();
        self.stored.visible.insert(first, record);
    }

    fn begin_read(&mut self) {
        if self.read.is_some() || self.leased.is_empty() {
            return;
        }
        let Some(plan) = self.window.plan_read(true) else {
            return;
        };
        let wanted = |record: &&OutboxRecord| {
            let key = record.envelope.metadata.key.as_ref();
            let asked = match &plan.only {
                Some(only) => key.is_some_and(|key| only.contains(key)),
                None => {
                    let skipped = key.is_some_and(|key| plan.skip.contains(key));
                    !skipped && !self.stored.is_held_up(record)
                }
            };
            let held = plan.held.contains(&record.id());
            asked && !held && self.leased.contains_key(&partition(record).number())
        };
        let behind = self.stored.visible.range(plan.after + 1..).map(|(_, record)| record);
        let scan_end = behind.clone().nth(SCAN_MAX - 1).map(|record| record.sequence);
        let scan_end = scan_end.filter(|_| plan.only.is_some());
        let looked_at = behind.filter(|it| scan_end.is_none_or(|end| it.sequence <= end));
        let place = OutboxPlace::new(self.timeline, self.stored.sequence);
        let mut page = OutboxPage::default().with_place(place);
        let mut bytes = 0;
        for (place, record) in looked_at.filter(wanted).enumerate() {
            bytes += record.envelope.payload.len();
            page.more = place >= plan.limit || (bytes > plan.bytes_max && place > 0);
            if page.more {
                break;
            }
            if self.unreadable.contains(&record.id()) {
                page.unreadable.push(unreadable(record));
            } else {
                page.records.push(record.clone());
            }
        }
        self.read = Some((plan, page.with_scan_end(scan_end)));
    }

    fn end_read(&mut self, fails: bool) {
        let Some((plan, page)) = self.read.take() else {
            return;
        };
        if fails {
            return self.window.read_failed(&plan);
        }
        let leased = &self.leased;
        let lease_of =
            |slot| leased.get(&Partition::of_slot(slot, PARTITIONS).ok()?.number()).copied();
        self.is_unaware &= page.place.timeline != self.timeline;
        self.seen_drawn = self.seen_drawn.max(page.place.drawn);
        self.window.absorb(&plan, page, lease_of, |row| stalls(row.id));
    }

    fn begin_recording(&mut self) {
        if let Some(failed) =
            self.window.plan_recording(3, |it| self.leased.get(&it.number()).copied())
        {
            assert!(self.recording.is_none(), "two recordings at a time");
            self.recording = Some(failed);
        }
    }

    fn end_recording(&mut self, fails: bool) {
        let Some(failed) = self.recording.take() else {
            return;
        };
        if fails {
            return self.window.recording_failed();
        }
        let mut count = 0;
        for (lease, failed) in failed {
            let held = self.leased.get(&lease.partition.number()) == Some(&lease);
            let Some(record) = held.then(|| self.stored.take(failed.id)).flatten() else {
                continue;
            };
            count += 1;
            match failed.becomes {
                Becomes::Stalled { .. } => {
                    self.check_no_earlier(&record);
                    self.stored.stalled.insert(record.sequence, record);
                }
                Becomes::Undelivered { .. } => {
                    self.stored.given_up.insert(failed.id);
                    self.ever_given_up.insert(failed.id);
                }
            }
        }
        self.window.recorded(count, self.now);
    }

    /// Of a key with a stalled record, no earlier one may wait that was not published.
    fn check_no_earlier(&self, record: &OutboxRecord) {
        let key = &record.envelope.metadata.key;
        let earlier = self.stored.visible.range(..record.sequence).find(|(_, earlier)| {
            let same = key.is_some() && earlier.envelope.metadata.key == *key;
            same && !self.has_ended(earlier.id())
        });
        assert!(self.is_unaware || earlier.is_none(), "{record:?} is stalled before {earlier:?}");
    }

    fn begin_stalled(&mut self) {
        if self.read_stalled.is_some() {
            return;
        }
        let leases: Vec<_> = self.leased.values().copied().collect();
        let Some(plan) = self.window.plan_stalled(&leases) else {
            return;
        };
        let wanted = |record: &&OutboxRecord| {
            let leased = self.leased.contains_key(&partition(record).number());
            leased && !plan.held.contains(&record.id())
        };
        let mut page = StalledPage::default();
        let mut bytes = 0;
        for (place, record) in self.stored.stalled.values().filter(wanted).enumerate() {
            bytes += record.envelope.payload.len();
            if place >= plan.limit || (bytes > plan.bytes_max && place > 0) {
                page.next_in = Some(Duration::ZERO);
                break;
            }
            match self.unreadable.contains(&record.id()) {
                true => page.unreadable.push(Stalled::new(unreadable(record), 1, PAUSE)),
                false => page.records.push(Stalled::new(record.clone(), 1, PAUSE)),
            }
        }
        self.read_stalled = Some((plan, page));
    }

    fn end_stalled(&mut self, fails: bool) {
        let Some((plan, page)) = self.read_stalled.take() else {
            return;
        };
        if fails {
            return self.window.stalled_failed(self.now);
        }
        let leased = &self.leased;
        let lease_of =
            |slot| leased.get(&Partition::of_slot(slot, PARTITIONS).ok()?.number()).copied();
        self.window.absorb_stalled(&plan, page, self.now, lease_of, |row| stalls(row.record.id));
    }

    fn start(&mut self) {
        let Some(start) = self.window.start() else {
            return;
        };
        let (id, sequence, epoch) = (start.record.id(), start.record.sequence, start.lease.epoch);
        let held = self.leased.get(&start.lease.partition.number());
        assert_eq!(held, Some(&start.lease), "published without the lease");
        assert_ne!(self.published.get(&id), Some(&epoch), "published twice");
        assert!(self.in_flight.iter().all(|it| it.record.id() != id));
        if let Some(key) = start.lane.key() {
            let same = |it: &Start| it.lane.key() == Some(key);
            assert!(!self.in_flight.iter().any(same), "two of a key are in flight");
        }
        if let Some(key) = start.lane.key()
            && !self.is_unaware
        {
            // A record published again after its lease moved may come late: it is a duplicate.
            let last = self.last_of_key.get(key).copied();
            // So may one that was given up, when a restore brings it back: its key had gone on.
            let again = self.has_ended(id);
            assert!(again || last.is_none_or(|last| last <= sequence), "{sequence} after {last:?}");
            let earlier = self.stored.visible.range(..sequence);
            let earlier =
                earlier.chain(self.stored.stalled.range(..sequence)).find(|(_, record)| {
                    let same = record.envelope.metadata.key.as_ref() == Some(key);
                    same && !self.has_ended(record.id())
                });
            assert!(earlier.is_none(), "{sequence} overtook {earlier:?}");
            assert!(!self.stored.given_up.contains(&id), "{sequence} was given up");
            self.last_of_key.insert(key.clone(), last.unwrap_or_default().max(sequence));
        }
        self.in_flight.push(start);
    }

    fn end_publish(&mut self, which: impl Fn(usize) -> usize, end: End) {
        if self.in_flight.is_empty() {
            return;
        }
        let start = self.in_flight.remove(which(self.in_flight.len()));
        let (id, lease) = (start.record.id(), start.lease);
        let tried = self.window.tried(&start.lane).again(self.now);
        let next = match end {
            End::Confirmed => {
                self.published.insert(id, lease.epoch);
                self.ever_published.insert(id);
                return self.window.confirmed(start.lane, lease, id);
            }
            End::Waits if !tried.stalled => Next::Wait(self.now + PAUSE),
            End::Waits | End::Stalls => Next::Record(stalls(id)),
            End::GivenUp => Next::Record(gives_up(id)),
        };
        let held = self.leased.get(&lease.partition.number()).copied();
        self.window.failed(start, tried, next, held);
    }

    fn begin_deletion(&mut self) {
        if let Some(records) =
            self.window.plan_deletion(3, |it| self.leased.get(&it.number()).copied())
        {
            assert!(self.deleting.is_none(), "two deletions at a time");
            self.deleting = Some(records);
        }
    }

    fn end_deletion(&mut self, fails: bool) {
        let Some(records) = self.deleting.take() else {
            return;
        };
        if fails {
            return self.window.deletion_failed();
        }
        let mut count = 0;
        for (lease, id) in records {
            assert!(self.ever_published.contains(&id), "deleted before it was published");
            let held = self.leased.get(&lease.partition.number()) == Some(&lease);
            count += u64::from(held && self.stored.take(id).is_some());
        }
        self.window.deleted(count);
    }

    fn unblock(&mut self) {
        self.now += Duration::from_secs(2);
        self.window.wake(self.now);
    }

    /// The store knows of the late commits; sometimes it cannot be asked.
    fn complete_to(&mut self) -> Option<u64> {
        let before_late = self.late.keys().next().map_or(u64::MAX, |first| first - 1);
        let complete_to = self.window.mark().read_to.min(before_late);
        self.sweeps += 1;
        (!self.sweeps.is_multiple_of(5)).then_some(complete_to)
    }

    fn sweep(&mut self) {
        let complete_to = self.complete_to();
        self.window.sweep(self.window.mark(), complete_to);
    }

    fn follow(&mut self) {
        let complete_to = self.complete_to();
        self.window.follow(self.window.mark(), complete_to);
    }

    fn restore(&mut self) {
        let saved = self.saved.clone();
        if saved.sequence == self.stored.sequence {
            return;
        }
        self.restores += 1;
        self.stored = saved;
        self.late.clear();
        self.published.clear();
        self.last_of_key.clear();
        self.is_unaware = true;
        // What is under way ends with its connection.
        self.end_recording(true);
        self.end_stalled(true);
        // Every third shows by its sequences alone, if the relay has seen later ones and can read before
        // they are drawn again. A stall that was lost without any sequence shows by the timeline alone.
        self.end_read(true);
        self.begin_read();
        let seen = std::mem::take(&mut self.seen_drawn) > self.stored.sequence;
        let shows = seen && self.read.is_some() && self.restores.is_multiple_of(3);
        self.timeline += u64::from(!shows);
        if let Some((_, page)) = &mut self.read {
            page.place.timeline = self.timeline;
        }
        self.end_read(false);
    }

    fn lose(&mut self, number: u16) {
        if let Some(lease) = self.leased.remove(&number) {
            self.window.drop_partition(lease.partition);
        }
    }

    fn gain(&mut self, number: u16) {
        if self.leased.contains_key(&number) {
            return;
        }
        self.epoch += 1;
        let partition = Partition::new(number, PARTITIONS).unwrap();
        let holder = InstanceId::new(MessageId::from_foreign("instances", "1").as_uuid());
        let lease = Lease::new(LeaseRole::Relay, partition, self.epoch, holder);
        self.leased.insert(number, lease);
        self.window.gained_partition(lease.partition);
    }

    /// With everything working again, the outbox empties and the window with it.
    fn finish(mut self) {
        (0..PARTITIONS).for_each(|number| self.gain(number));
        self.unreadable.clear();
        for round in 0..10_000 {
            self.stored.visible.append(&mut self.late);
            if round % 100 == 0 {
                self.sweep();
            }
            self.unblock();
            self.end_read(false);
            self.begin_read();
            self.end_read(false);
            self.end_recording(false);
            self.begin_recording();
            self.end_recording(false);
            self.end_stalled(false);
            self.begin_stalled();
            self.end_stalled(false);
            self.start();
            self.end_publish(|_| 0, End::Confirmed);
            self.begin_deletion();
            self.end_deletion(false);
            // What a restore took away unnoticed may still go out.
            if self.is_empty() && self.window.is_drained() && self.window.held() == 0 {
                break;
            }
        }
        assert!(self.is_empty(), "left behind: {:?}", self.stored.visible.keys());
        assert_eq!(self.window.held(), 0);
        if self.restores == 0 {
            let published = self.published.keys().chain(&self.stored.given_up);
            let published: HashSet<_> = published.map(|it| it.sequence).collect();
            assert_eq!(published, (1..=self.stored.sequence).collect());
        }
    }

    /// Whether a record was published or given up.
    fn has_ended(&self, id: RecordId) -> bool {
        self.ever_published.contains(&id) || self.ever_given_up.contains(&id)
    }

    fn is_empty(&self) -> bool {
        self.stored.visible.is_empty() && self.stored.stalled.is_empty()
    }
}

fn stalls(id: RecordId) -> FailedRecord {
    let failure = Failure::new("unroutable".to_owned(), "no route".to_owned());
    FailedRecord::new(id, failure, Becomes::Stalled { delay: PAUSE })
}

fn gives_up(id: RecordId) -> FailedRecord {
    let reason = UndeliveredReason::Unroutable;
    FailedRecord::new(id, stalls(id).failure, Becomes::Undelivered { reason })
}

fn partition(record: &OutboxRecord) -> Partition {
    Partition::of_slot(record.envelope.metadata.slot(), PARTITIONS).unwrap()
}

fn record(sequence: u64, restores: u64, key: Option<u8>) -> OutboxRecord {
    let id = MessageId::from_foreign(&restores.to_string(), &sequence.to_string());
    let metadata = Metadata::new(id, "orders.order-placed", "orders").with_key(key.map(Key::new));
    let payload = vec![0; usize::try_from(sequence * 7).unwrap() % (RECORD_BYTES_MAX + 1)];
    OutboxRecord::new(sequence, Envelope::new(metadata, payload.into()))
}

fn unreadable(record: &OutboxRecord) -> UnreadableRecord {
    let metadata = &record.envelope.metadata;
    UnreadableRecord::new(record.id(), metadata.slot(), metadata.key.clone(), String::new())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_key_goes_out_in_order_and_nothing_is_lost_or_doubled(
        steps in prop::collection::vec(step(), 0..400),
        in_flight_max in 1..6_usize, held_max in 2..24_usize, blocked_max in 1..6_usize,
        bytes_max in 1..80_usize,
    ) {
        let mut model = Model::new(Limits { in_flight_max, held_max, bytes_max, blocked_max });
        for step in steps {
            model.step(&step);
        }
        model.finish();
    }
}

#[test]
fn long_messages_stay_near_the_limit_and_all_go_out() {
    static PAYLOAD: [u8; 12 << 20] = [0; 12 << 20];
    let bytes_max = 64 << 20;
    let limits = Limits { in_flight_max: 256, held_max: 1024, bytes_max, blocked_max: 1024 };
    let mut model = Model::new(limits);
    for number in 0..120 {
        model.commit(Some(number), false, false);
    }
    for record in model.stored.visible.values_mut() {
        record.envelope.payload = bytes::Bytes::from_static(&PAYLOAD);
    }
    let mut held_max = 0;
    let mut rounds = 0..2000;
    while !model.is_empty() && rounds.next().is_some() {
        model.begin_read();
        model.end_read(false);
        for _ in 0..3 {
            model.start();
        }
        held_max = held_max.max(model.window.held_bytes());
        // Each third publish fails, and is tried again.
        let fails = model.published.len() % 3 == 2 && rounds.start % 2 == 0;
        model.end_publish(|_| 0, if fails { End::Waits } else { End::Confirmed });
        model.unblock();
        model.begin_deletion();
        model.end_deletion(false);
    }
    model.finish();
    assert!(held_max > bytes_max / 2 && held_max <= bytes_max, "{held_max} bytes were held");
}
