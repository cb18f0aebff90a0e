//! Keys that wait because their next message could not be published.

use std::collections::HashMap;

use mamey_core::message::Key;
use mamey_core::store::Partition;
use tokio::time::Instant;

use super::window::LaneId;

/// Keys that wait, without their messages: those stay in the outbox and are read again.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    waiting: HashMap<LaneId, Waiting>,
    /// Keys whose wait is over and whose message is being tried again.
    retrying: HashMap<LaneId, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    partition: Partition,
    count: u32,
}

#[derive(Debug)]
struct Waiting {
    failures: Failures,
    /// The message to try again; its successors lie behind it.
    sequence: u64,
    due: Instant,
}

impl Blocked {
    /// How often the key's next message has failed so far.
    pub(super) fn failures(&self, lane: &LaneId) -> u32 {
        self.retrying.get(lane).map_or(0, |failures| failures.count)
    }

    pub(super) fn block(
        &mut self,
        lane: LaneId,
        partition: Partition,
        sequence: u64,
        due: Instant,
    ) {
        let count = self.failures(&lane).saturating_add(1);
        self.retrying.remove(&lane);
        let failures = Failures { partition, count };
        let waiting = Waiting {
            failures,
            sequence,
            due,
        };
        self.waiting.insert(lane, waiting);
    }

    pub(super) fn contains(&self, lane: &LaneId) -> bool {
        self.waiting.contains_key(lane)
    }

    pub(super) fn is_retrying(&self, lane: &LaneId) -> bool {
        self.retrying.contains_key(lane)
    }

    /// How many keys wait or are being tried again.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.retrying.len()
    }

    /// The keys that need not be read.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.waiting.keys().filter_map(LaneId::key)
    }

    /// How many messages without a key wait: they are read again and again, and passed over.
    pub(super) fn alone(&self) -> usize {
        self.waiting
            .keys()
            .filter(|lane| lane.key().is_none())
            .count()
    }

    /// Ends the waits that are over, and says where the first of their messages lies.
    pub(super) fn unblock_due(&mut self, now: Instant) -> Option<u64> {
        let mut first = None::<u64>;
        let due = |_: &LaneId, waiting: &mut Waiting| waiting.due <= now;
        for (lane, waiting) in self.waiting.extract_if(due) {
            first = Some(first.map_or(waiting.sequence, |first| first.min(waiting.sequence)));
            self.retrying.insert(lane, waiting.failures);
        }
        first
    }

    /// When the next wait is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    /// The key's message got through.
    pub(super) fn clear(&mut self, lane: &LaneId) {
        self.retrying.remove(lane);
    }

    pub(super) fn forget_partition(&mut self, partition: Partition) {
        self.waiting
            .retain(|_, it| it.failures.partition != partition);
        self.retrying.retain(|_, it| it.partition != partition);
    }

    /// Forgets keys whose message is gone, for instance because another instance published it.
    pub(super) fn forget_idle(&mut self, is_known: impl Fn(&LaneId) -> bool) {
        self.retrying.retain(|lane, _| is_known(lane));
    }
}
