//! Remembers which lanes are parked, so that their next messages are parked without a handler call.
//!
//! Plain data without tasks. Being wrong costs no order: a message that is handled although its lane
//! is parked is refused by the store, and one that is parked although its lane is free is due at once.

use std::collections::HashMap;

use mamey_core::message::Lane;

use super::outcome::ConsumeOutcome;

/// How many parked lanes are remembered. Forgetting one costs one wasted run.
const PARKED_LANES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct ParkedLanes {
    lanes: HashMap<Lane, Why>,
    /// Lanes of which a message left parking, perhaps the last one, and how many looks for parked
    /// messages had begun by then.
    doubted: HashMap<Lane, u64>,
    looks: u64,
}

/// Why a lane is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// One of its messages failed.
    Failed,
    /// It is slow, and held up others.
    Slow,
}

impl ParkedLanes {
    pub(super) fn contains(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Whether the lane is parked because one of its messages failed.
    pub(super) fn has_failed(&self, lane: &Lane) -> bool {
        self.lanes.get(lane) == Some(&Why::Failed)
    }

    /// Parks a slow lane from its next message on.
    pub(super) fn slow(&mut self, lane: Lane) {
        self.remember(lane, Why::Slow);
    }

    /// A delivery was processed: if it was parked, its lane is.
    pub(super) fn delivered(&mut self, lane: Option<Lane>, outcome: &ConsumeOutcome) {
        if let Some(lane) = lane.filter(|_| outcome.parks()) {
            self.remember(lane, Why::Failed);
        }
    }

    fn remember(&mut self, lane: Lane, why: Why) {
        self.doubted.remove(&lane);
        if self.lanes.len() < PARKED_LANES_MAX || self.lanes.contains_key(&lane) {
            self.lanes.entry(lane).or_insert(why);
        }
    }

    /// A parked message was retried: if it left parking, the next look tells whether others of its
    /// lane are there.
    pub(super) fn retried(&mut self, lane: Option<&Lane>, outcome: &ConsumeOutcome) {
        if let Some(lane) = lane.filter(|lane| outcome.leaves_parking() && self.contains(lane)) {
            self.doubted.insert(lane.clone(), self.looks);
        }
    }

    pub(super) fn begin_look(&mut self) {
        self.looks += 1;
    }

    /// The look has found that these lanes are parked, and whether the first of each has failed.
    /// Returns whether others no longer count as parked.
    pub(super) fn end_look(&mut self, found: impl IntoIterator<Item = (Lane, bool)>) -> bool {
        for (lane, failed) in found {
            self.remember(lane, if failed { Why::Failed } else { Why::Slow });
        }
        // A message that left after the look had begun says nothing about what the look saw.
        let looks = self.looks;
        let gone = self.doubted.extract_if(|_, since| *since < looks);
        gone.filter_map(|(lane, _)| self.lanes.remove(&lane)).count() > 0
    }

    /// Partitions are retried by others from now on, so that no look of this instance tells.
    pub(super) fn forget_doubted(&mut self) -> bool {
        let gone = self.doubted.drain();
        gone.filter_map(|(lane, _)| self.lanes.remove(&lane)).count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::message::Key;

    fn lane(number: u8) -> Lane {
        Lane::new("orders", &Key::new(number))
    }

    #[test]
    fn a_lane_is_parked_until_a_look_finds_nothing_of_it_after_one_left() {
        let mut lanes = ParkedLanes::default();
        lanes.delivered(Some(lane(1)), &ConsumeOutcome::Handled);
        assert!(!lanes.contains(&lane(1)));
        lanes.delivered(Some(lane(1)), &ConsumeOutcome::ParkedBehind);
        lanes.begin_look();
        lanes.retried(Some(&lane(1)), &ConsumeOutcome::Handled);
        assert!(!lanes.end_look([]), "that look began before");
        assert!(lanes.contains(&lane(1)));
        lanes.begin_look();
        assert!(!lanes.end_look([(lane(1), false)]) && lanes.has_failed(&lane(1)), "one is left");
        lanes.retried(Some(&lane(1)), &ConsumeOutcome::Handled);
        lanes.begin_look();
        lanes.delivered(Some(lane(1)), &ConsumeOutcome::ParkedBehind);
        assert!(!lanes.end_look([]) && lanes.contains(&lane(1)), "parked during the look");
        lanes.retried(Some(&lane(1)), &ConsumeOutcome::Returned);
        lanes.begin_look();
        assert!(!lanes.end_look([]) && lanes.contains(&lane(1)), "it did not leave");
        lanes.retried(Some(&lane(1)), &ConsumeOutcome::DeadLettered);
        lanes.begin_look();
        assert!(lanes.end_look([]) && !lanes.contains(&lane(1)));
    }

    #[test]
    fn a_slow_lane_is_told_from_one_that_failed() {
        let mut lanes = ParkedLanes::default();
        lanes.slow(lane(1));
        lanes.delivered(Some(lane(2)), &ConsumeOutcome::ParkedBehind);
        assert!(lanes.contains(&lane(1)) && !lanes.has_failed(&lane(1)));
        assert!(lanes.has_failed(&lane(2)));
        lanes.delivered(Some(lane(1)), &ConsumeOutcome::ParkedBehind);
        assert!(!lanes.has_failed(&lane(1)), "it waits behind the slow one");
        lanes.end_look([(lane(3), false), (lane(4), true)]);
        assert!(
            lanes.contains(&lane(3)) && !lanes.has_failed(&lane(3)) && lanes.has_failed(&lane(4))
        );
        lanes.retried(Some(&lane(2)), &ConsumeOutcome::Handled);
        assert!(lanes.forget_doubted() && !lanes.contains(&lane(2)) && lanes.contains(&lane(1)));
    }
}
