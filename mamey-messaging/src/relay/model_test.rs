//! Test: proves the window's laws against a model of an outbox.
//!
//! In the model commits become visible late, publishes fail, deletions overlap with reads, partitions
//! are lost and gained, the outbox goes back in time, and some records cannot be read until the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Key, Metadata, Partition};
use mamey_core::store::{
    Deletion, InstanceId, Lease, LeaseRole, OutboxPage, OutboxPlace, OutboxRecord, RecordId,
    UnreadableRecord,
};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::Instant;

use super::lanes::Start;
use super::reads::ReadPlan;
use super::window::{Limits, Window};

const PARTITIONS: u16 = 2;
const RECORD_BYTES_MAX: usize = 12;

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
        fails: bool,
    },
    BeginDeletion,
    EndDeletion {
        /// Every such record is held by another transaction.
        held: Option<u8>,
        fails: bool,
    },
    Unblock,
    Sweep,
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
        6 => (index(), prop::bool::weighted(0.3))
            .prop_map(|(which, fails)| Step::EndPublish { which, fails }),
        3 => Just(Step::BeginDeletion),
        3 => (prop::bool::weighted(0.2), prop::option::weighted(0.3, 1..4_u8))
            .prop_map(|(fails, held)| Step::EndDeletion { fails, held }),
        2 => Just(Step::Unblock),
        1 => Just(Step::Sweep),
        1 => Just(Step::Tick),
        1 => (0..PARTITIONS).prop_map(Step::Lose),
        1 => (0..PARTITIONS).prop_map(Step::Gain),
        1 => Just(Step::Save),
        1 => Just(Step::Restore),
    ]
}

/// An outbox, a relay's window on it, and what came out.
struct Model {
    window: Window,
    now: Instant,
    sequence: u64,
    visible: BTreeMap<u64, OutboxRecord>,
    late: BTreeMap<u64, OutboxRecord>,
    unreadable: HashSet<RecordId>,
    leased: HashMap<u16, Lease>,
    epoch: u64,
    read: Option<(ReadPlan, OutboxPage)>,
    deleting: Option<Vec<(Lease, RecordId)>>,
    in_flight: Vec<Start>,
    /// The epoch under which each was published, since the last restore.
    published: HashMap<RecordId, u64>,
    /// All that were published.
    ever_published: HashSet<RecordId>,
    saved: (u64, BTreeMap<u64, OutboxRecord>),
    /// How often the outbox was restored.
    restores: u64,
    timeline: u64,
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
            sequence: 0,
            visible: BTreeMap::new(),
            late: BTreeMap::new(),
            unreadable: HashSet::new(),
            leased: HashMap::new(),
            epoch: 0,
            read: None,
            deleting: None,
            in_flight: Vec::new(),
            published: HashMap::new(),
            ever_published: HashSet::new(),
            saved: (0, BTreeMap::new()),
            restores: 0,
            timeline: 0,
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
            Step::EndPublish { which, fails } => self.end_publish(|len| which.index(len), fails),
            Step::BeginDeletion => self.begin_deletion(),
            Step::EndDeletion { fails, held } => self.end_deletion(fails, held),
            Step::Unblock => self.unblock(),
            Step::Sweep => self.sweep(),
            Step::Tick => self.window.tick(),
            Step::Lose(number) => self.lose(number),
            Step::Gain(number) => self.gain(number),
            Step::Save => self.saved = (self.sequence, self.visible.clone()),
            Step::Restore => self.restore(),
        }
        // Records that are tried again come on top.
        let held_max = self.limits.held_max + self.limits.blocked_max;
        assert!(self.window.held() <= held_max, "too much is held");
        let bytes_max = self.limits.bytes_max + RECORD_BYTES_MAX;
        assert!(self.window.held_bytes() <= bytes_max, "too many bytes are held");
        assert!(self.in_flight.len() <= self.limits.in_flight_max);
    }

    fn commit(&mut self, key: Option<u8>, late: bool, unreadable: bool) {
        self.sequence += 1;
        let record = record(self.sequence, self.restores, key);
        if unreadable {
            self.unreadable.insert(record.id());
        }
        // Commits of one key are visible in order: a later one waits for an earlier.
        let key = &record.envelope.metadata.key;
        let behind_late =
            self.late.values().any(|it| key.is_some() && it.envelope.metadata.key == *key);
        let place = if late || behind_late { &mut self.late } else { &mut self.visible };
        place.insert(self.sequence, record);
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
        self.visible.insert(first, record);
    }

    fn begin_read(&mut self) {
        if self.read.is_some() || self.leased.is_empty() {
            return;
        }
        let Some(plan) = self.window.plan_read() else {
            return;
        };
        let wanted = |record: &&OutboxRecord| {
            let metadata = &record.envelope.metadata;
            let skipped = metadata.key.as_ref().is_some_and(|key| plan.skip.contains(key));
            let held = plan.held.contains(&record.id());
            !skipped && !held && self.leased.contains_key(&partition(record).number())
        };
        let behind = self.visible.range(plan.after + 1..).map(|(_, record)| record);
        let place = OutboxPlace::new(self.timeline, self.sequence);
        let mut page = OutboxPage::default().with_place(place);
        let mut bytes = 0;
        for (place, record) in behind.filter(wanted).enumerate() {
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
        self.read = Some((plan, page));
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
        self.window.absorb(&plan, page, lease_of);
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
            let again = self.ever_published.contains(&id);
            assert!(again || last.is_none_or(|last| last <= sequence), "{sequence} after {last:?}");
            let earlier = self.visible.range(..sequence).find(|(_, record)| {
                let same = record.envelope.metadata.key.as_ref() == Some(key);
                same && !self.ever_published.contains(&record.id())
            });
            assert!(earlier.is_none(), "{sequence} overtook {earlier:?}");
            self.last_of_key.insert(key.clone(), last.unwrap_or_default().max(sequence));
        }
        self.in_flight.push(start);
    }

    fn end_publish(&mut self, which: impl Fn(usize) -> usize, fails: bool) {
        if self.in_flight.is_empty() {
            return;
        }
        let start = self.in_flight.remove(which(self.in_flight.len()));
        let (id, lease) = (start.record.id(), start.lease);
        if fails {
            let due = self.now + Duration::from_secs(1);
            let held = self.leased.get(&lease.partition.number()).copied();
            self.window.failed(start, due, held);
        } else {
            self.published.insert(id, lease.epoch);
            self.ever_published.insert(id);
            self.window.confirmed(start.lane, lease, id);
        }
    }

    fn begin_deletion(&mut self) {
        if let Some(records) =
            self.window.plan_deletion(3, |it| self.leased.get(&it.number()).copied())
        {
            assert!(self.deleting.is_none(), "two deletions at a time");
            self.deleting = Some(records);
        }
    }

    fn end_deletion(&mut self, fails: bool, held: Option<u8>) {
        let Some(records) = self.deleting.take() else {
            return;
        };
        if fails {
            return self.window.deletion_failed();
        }
        let mut deletion = Deletion::default();
        for (lease, id) in records {
            assert!(self.ever_published.contains(&id), "deleted before it was published");
            let leased = self.leased.get(&lease.partition.number()) == Some(&lease);
            let same = self.visible.get(&id.sequence).is_some_and(|record| record.id() == id);
            if !leased || !same {
                continue;
            }
            if held.is_some_and(|every| id.sequence % u64::from(every) == 0) {
                deletion.held.push(id);
            } else {
                self.visible.remove(&id.sequence);
                deletion.deleted += 1;
            }
        }
        self.window.deleted(&deletion);
    }

    fn unblock(&mut self) {
        self.now += Duration::from_secs(2);
        self.window.unblock_due(self.now);
    }

    /// The store knows of the late commits; sometimes it cannot be asked.
    fn sweep(&mut self) {
        let mark = self.window.mark();
        let before_late = self.late.keys().next().map_or(u64::MAX, |first| first - 1);
        let complete_to = mark.read_to.min(before_late);
        self.sweeps += 1;
        self.window.sweep(mark, (!self.sweeps.is_multiple_of(5)).then_some(complete_to));
    }

    fn restore(&mut self) {
        let (sequence, visible) = self.saved.clone();
        if sequence == self.sequence {
            return;
        }
        self.restores += 1;
        self.sequence = sequence;
        self.visible = visible;
        self.late.clear();
        self.published.clear();
        self.last_of_key.clear();
        self.is_unaware = true;
        // Every third shows by its sequences alone, if the relay can read before they are drawn again.
        self.end_read(true);
        self.begin_read();
        let shows = self.read.is_some() && self.restores.is_multiple_of(3);
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
            self.visible.append(&mut self.late);
            if round % 100 == 0 {
                self.sweep();
            }
            self.unblock();
            self.end_read(false);
            self.begin_read();
            self.end_read(false);
            self.start();
            self.end_publish(|_| 0, false);
            self.begin_deletion();
            self.end_deletion(false, None);
            // What a restore took away unnoticed may still go out.
            if self.visible.is_empty() && self.window.is_drained() && self.window.held() == 0 {
                break;
            }
        }
        assert!(self.visible.is_empty(), "left behind: {:?}", self.visible.keys());
        assert_eq!(self.window.held(), 0);
        if self.restores == 0 {
            let published: HashSet<_> = self.published.keys().map(|it| it.sequence).collect();
            assert_eq!(published, (1..=self.sequence).collect());
        }
    }
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
    for record in model.visible.values_mut() {
        record.envelope.payload = bytes::Bytes::from_static(&PAYLOAD);
    }
    let mut held_max = 0;
    let mut rounds = 0..2000;
    while !model.visible.is_empty() && rounds.next().is_some() {
        model.begin_read();
        model.end_read(false);
        for _ in 0..3 {
            model.start();
        }
        held_max = held_max.max(model.window.held_bytes());
        // Each third publish fails, and is tried again.
        model.end_publish(|_| 0, model.published.len() % 3 == 2 && rounds.start % 2 == 0);
        model.unblock();
        model.begin_deletion();
        model.end_deletion(false, None);
    }
    model.finish();
    assert!(held_max > bytes_max / 2 && held_max <= bytes_max, "{held_max} bytes were held");
}
