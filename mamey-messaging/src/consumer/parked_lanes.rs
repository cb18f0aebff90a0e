//! Remembers which lanes are parked, so that their next messages are parked without a handler call.

use std::collections::HashSet;

use mamey_core::message::Lane;

use super::outcome::ConsumeOutcome;

/// How many parked lanes are remembered. Forgetting one costs one wasted run.
const PARKED_LANES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct ParkedLanes(HashSet<Lane>);

impl ParkedLanes {
    /// Remembers the lane of a delivery that was parked.
    pub(super) fn delivered(&mut self, lane: Option<Lane>, outcome: &ConsumeOutcome) {
        if let Some(lane) = lane.filter(|_| outcome.parks() && self.0.len() < PARKED_LANES_MAX) {
            self.0.insert(lane);
        }
    }

    /// Forgets the lane of a message that left parking: it was perhaps the last one.
    pub(super) fn retried(&mut self, lane: Option<&Lane>, outcome: &ConsumeOutcome) {
        if let Some(lane) = lane.filter(|_| outcome.leaves_parking()) {
            self.0.remove(lane);
        }
    }

    pub(super) fn contains(&self, lane: &Lane) -> bool {
        self.0.contains(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::message::Key;

    #[test]
    fn a_lane_is_known_as_parked_until_one_of_its_messages_left() {
        let lane = Lane::new("orders", &Key::from("order-1"));
        let mut lanes = ParkedLanes::default();
        lanes.delivered(Some(lane.clone()), &ConsumeOutcome::Handled);
        assert!(!lanes.contains(&lane));
        lanes.delivered(Some(lane.clone()), &ConsumeOutcome::ParkedBehind);
        assert!(lanes.contains(&lane));
        lanes.retried(Some(&lane), &ConsumeOutcome::Handled);
        assert!(!lanes.contains(&lane));
    }
}
