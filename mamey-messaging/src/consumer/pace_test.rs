//! Test: proves which messages count as slow, and which partitions as stuck.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::id::{MessageId, new_uuid};
use mamey_core::message::{Envelope, Key, Lane, Metadata, Partition};
use mamey_core::transport::{Delivery, Settle, Settlement};
use tokio::time::Instant;

use super::hand_over::HandOver;
use super::in_hand::InHand;
use super::intake::Taken;
use super::lanes::{LaneId, Lanes};
use super::pace::Pace;
use super::runs::{Run, RunNumber, Runs, Step};
use super::slots::Slots;

const SLOW_AFTER: Duration = Duration::from_millis(100);
const PREFETCH: u16 = 3;

struct NobodyWaits;

impl Settle for NobodyWaits {
    fn settle(self: Box<Self>, _: Settlement) {}
}

fn delivery() -> Delivery {
    let metadata = Metadata::new(MessageId::from_uuid(new_uuid()), "tests.sent", "tests");
    Delivery::new(Envelope::new(metadata, "{}".into()), false, Box::new(NobodyWaits))
}

fn partition(number: u16) -> Partition {
    Partition::new(number, 2).unwrap()
}

fn lane(key: &'static str) -> Lane {
    Lane::new("tests", &Key::from(key))
}

/// What a consumer has in memory.
struct Memory {
    start: Instant,
    lanes: Lanes<Taken>,
    runs: Runs,
    slots: Slots,
    pace: Pace,
}

impl Memory {
    fn new() -> Self {
        let start = Instant::now();
        let (runs, slots) = (Runs::default(), Slots::new(4));
        let pace = Pace::new(SLOW_AFTER, PREFETCH, start);
        Self { start, lanes: Lanes::default(), runs, slots, pace }
    }

    fn after(&self, runs: u32) -> Instant {
        self.start + SLOW_AFTER * runs
    }

    fn receive(&mut self, key: &'static str, partition: Partition) {
        let (intake, at, room) = (1, self.start, None);
        let taken = Taken { intake, partition, at, delivery: delivery(), room };
        self.lanes.push(Some(lane(key)), taken, false);
    }

    /// Begins to handle the next message.
    fn handle(&mut self) -> RunNumber {
        let (id, taken) = self.lanes.start().unwrap();
        self.slots.take();
        self.begin(id, Step::Handle, taken)
    }

    fn begin(&mut self, id: LaneId, step: Step, taken: Taken) -> RunNumber {
        let in_hand = Arc::new(InHand::new(taken.delivery));
        let of = (taken.partition, taken.intake);
        self.runs.begin(Run::new((id, step), of, in_hand, self.start))
    }

    fn stuck(&self) -> Vec<Partition> {
        let stuck = self.pace.stuck(&self.lanes, &self.runs, &self.slots);
        stuck.into_iter().collect()
    }

    fn slow(&mut self, now: Instant) -> Vec<RunNumber> {
        let slow = self.runs.take_slow(now, SLOW_AFTER, |_| true);
        slow.into_iter().map(|(number, _)| number).collect()
    }
}

#[test]
fn a_partition_is_stuck_when_all_that_may_be_in_memory_waits_behind_a_handler() {
    let mut memory = Memory::new();
    for _ in 0..PREFETCH - 1 {
        memory.receive("slow", partition(0));
    }
    let run = memory.handle();
    assert!(memory.stuck().is_empty(), "more may be received");
    memory.receive("other", partition(0));
    assert!(memory.stuck().is_empty(), "another lane can go on");
    let other = memory.handle();
    memory.receive("elsewhere", partition(1));
    assert_eq!(memory.stuck(), [partition(0)]);
    memory.runs.handed_over(run, HandOver::Parked, memory.start);
    assert!(memory.stuck().is_empty(), "the transport no longer counts what is parked");
    memory.runs.end(other).unwrap();
    memory.receive("slow", partition(0));
    memory.receive("slow", partition(0));
    assert_eq!(memory.stuck(), [partition(0)]);
    while memory.slots.take() {}
    assert!(memory.stuck().is_empty(), "what is received could not be handled anyway");
}

#[test]
fn a_lane_crowds_a_stuck_partition_when_its_messages_wait_for_long() {
    let mut memory = Memory::new();
    for _ in 0..PREFETCH {
        memory.receive("slow", partition(0));
    }
    memory.handle();
    memory.receive("elsewhere", partition(1));
    let stuck = memory.stuck().into_iter().collect();
    let crowding = |runs| memory.pace.crowding(&memory.lanes, &stuck, memory.after(runs));
    assert!(crowding(3).is_empty());
    assert_eq!(crowding(4), [lane("slow")]);
}

#[test]
fn a_context_is_outrun_when_a_message_waits_for_a_handler_for_long() {
    let mut memory = Memory::new();
    memory.receive("a", partition(0));
    assert!(!memory.pace.is_outrun(&memory.lanes, memory.after(3)));
    assert!(memory.pace.is_outrun(&memory.lanes, memory.after(4)));
    memory.receive("a", partition(0));
    memory.handle();
    assert!(!memory.pace.is_outrun(&memory.lanes, memory.after(4)), "it waits for its lane");
}

#[test]
fn a_handler_is_slow_after_its_time_and_is_parked_once() {
    let mut memory = Memory::new();
    memory.receive("slow", partition(0));
    let run = memory.handle();
    memory.receive("parked", partition(1));
    let (id, taken) = memory.lanes.start().unwrap();
    memory.begin(id, Step::Park, taken);
    assert!(memory.slow(memory.start).is_empty());
    let now = memory.after(1);
    assert!(memory.runs.take_slow(now, SLOW_AFTER, |it| it == partition(1)).is_empty());
    assert_eq!(memory.slow(now), [run], "what is parked without a handler is not slow");
    assert!(memory.slow(now).is_empty(), "it is being parked");
    memory.runs.handed_over(run, HandOver::Failed, now);
    assert!(memory.slow(now).is_empty(), "the store has just failed");
    assert_eq!(memory.slow(now + Duration::from_secs(1)), [run]);
    memory.runs.handed_over(run, HandOver::LaneParked, now);
    assert!(memory.slow(now + Duration::from_secs(60)).is_empty(), "its lane is parked already");
    assert!(!memory.runs.end(run).unwrap().is_parked());
}

#[test]
fn it_looks_twice_in_the_time_of_a_handler() {
    let mut memory = Memory::new();
    assert!(memory.pace.begin_look(memory.start) && !memory.pace.begin_look(memory.start));
    assert_eq!(memory.pace.next_look(), memory.start + SLOW_AFTER / 2);
    assert!(memory.pace.begin_look(memory.after(1)));
}
