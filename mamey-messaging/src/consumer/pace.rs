//! Decides which messages are slow, so that they are parked to let others go on.
//!
//! On a transport that stores its messages, others are those of the same partition: a slow key fills
//! the prefetch, and nothing behind it is received. On one that stores nothing, each publisher waits
//! until every context has settled its message: a slow context would set the pace of all others.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mamey_core::message::{Lane, Partition};
use tokio::time::Instant;

use super::intake::Taken;
use super::lanes::Lanes;
use super::runs::Runs;
use super::slots::Slots;

/// A message that waits for its turn may wait so many times as long as a handler may run.
const WAITS_PER_RUN: u32 = 4;

/// How often it is looked at while a handler may run before it counts as slow.
const LOOKS_PER_RUN: u32 = 2;

#[derive(Debug)]
pub(super) struct Pace {
    slow_after: Duration,
    prefetch: usize,
    next_look: Instant,
    /// All messages are parked first, because they come faster than they are handled.
    through_parking: bool,
}

impl Pace {
    pub(super) const fn new(slow_after: Duration, prefetch: u16, now: Instant) -> Self {
        let prefetch = prefetch as usize;
        Self { slow_after, prefetch, next_look: now, through_parking: false }
    }

    /// When to look for what is slow.
    pub(super) const fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Whether to look now; if so, the next look is due later.
    pub(super) fn begin_look(&mut self, now: Instant) -> bool {
        let due = now >= self.next_look;
        if due {
            self.next_look = now + self.slow_after / LOOKS_PER_RUN;
        }
        due
    }

    /// Whether all messages are parked before they are handled.
    pub(super) const fn is_through_parking(&self) -> bool {
        self.through_parking
    }

    /// Sets whether all messages are parked before they are handled, and returns whether that is new.
    pub(super) const fn set_through_parking(&mut self, through_parking: bool) -> bool {
        let changed = self.through_parking != through_parking;
        self.through_parking = through_parking;
        changed
    }

    /// Whether messages wait so long for a handler's place that those who sent them must not wait.
    pub(super) fn is_outrun(&self, lanes: &Lanes<Taken>, now: Instant) -> bool {
        lanes.next().is_some_and(|next| self.waits_long(next, now))
    }

    fn waits_long(&self, taken: &Taken, now: Instant) -> bool {
        taken.at + self.slow_after * WAITS_PER_RUN <= now
    }

    /// The partitions that receive nothing more, although places of handlers are free: all that may
    /// be in memory is being processed, or waits behind what is.
    pub(super) fn stuck(
        &self,
        lanes: &Lanes<Taken>,
        runs: &Runs,
        slots: &Slots,
    ) -> HashSet<Partition> {
        if slots.free() == 0 {
            return HashSet::new();
        }
        let mut in_memory: HashMap<Partition, usize> = HashMap::new();
        runs.unsettled().for_each(|partition| *in_memory.entry(partition).or_default() += 1);
        let mut can_go_on = HashSet::new();
        for waiting in lanes.waiting() {
            let partition = waiting.first.partition;
            *in_memory.entry(partition).or_default() += waiting.count;
            if !waiting.busy {
                can_go_on.insert(partition);
            }
        }
        let full = in_memory.into_iter().filter(|(_, count)| *count >= self.prefetch);
        full.map(|(partition, _)| partition).filter(|it| !can_go_on.contains(it)).collect()
    }

    /// The lanes that fill stuck partitions: their messages wait for long.
    pub(super) fn crowding(
        &self,
        lanes: &Lanes<Taken>,
        stuck: &HashSet<Partition>,
        now: Instant,
    ) -> Vec<Lane> {
        lanes
            .waiting()
            .filter(|it| stuck.contains(&it.first.partition) && self.waits_long(it.first, now))
            .filter_map(|it| it.id.lane().cloned())
            .collect()
    }
}
