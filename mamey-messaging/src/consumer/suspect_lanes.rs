//! Remembers of which lanes a suspect was parked: an instance handles one message of a lane at a time, so
//! the lane has no other.

use std::collections::HashSet;

use mamey_core::message::Lane;

use super::outcome::ConsumeOutcome;

/// How many lanes are remembered. Of others, more messages than the one are parked as suspects.
const SUSPECT_LANES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct SuspectLanes(HashSet<Lane>);

impl SuspectLanes {
    /// Remembers the lane of a suspect that was parked. One that was handled before is no suspect.
    pub(super) fn delivered(&mut self, lane: Option<&Lane>, outcome: &ConsumeOutcome) {
        let parked = *outcome == ConsumeOutcome::ParkedSuspect;
        if let Some(lane) = lane.filter(|_| parked && self.0.len() < SUSPECT_LANES_MAX) {
            self.0.insert(lane.clone());
        }
    }

    /// Whether a message of this lane may be a suspect. One without a lane always may.
    pub(super) fn may_have_more(&self, lane: Option<&Lane>) -> bool {
        lane.is_none_or(|lane| !self.0.contains(lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::message::Key;

    #[test]
    fn a_lane_has_one_suspect() {
        let lane = Lane::new("orders", &Key::from("order-1"));
        let mut lanes = SuspectLanes::default();
        for outcome in [ConsumeOutcome::Duplicate, ConsumeOutcome::ParkedSuspect] {
            assert!(lanes.may_have_more(Some(&lane)));
            lanes.delivered(Some(&lane), &outcome);
            lanes.delivered(None, &outcome);
        }
        assert!(!lanes.may_have_more(Some(&lane)) && lanes.may_have_more(None));
        assert!(lanes.may_have_more(Some(&Lane::new("orders", &Key::from("order-2")))));
    }
}
