//! Which records an instance may have had in flight when it ended: they are published as suspects.

use std::collections::{HashMap, HashSet};

use mamey_core::message::Partition;
use mamey_core::store::OutboxPlace;

use super::lane::LaneId;
use super::lanes::Start;

/// The partitions that instances have left without a release.
///
/// An instance has no more lanes in flight than its window holds, and of each the first record that was
/// not confirmed. Confirmed ones may still be in the outbox, so all records of a lane are suspects that
/// were there at the takeover; whoever receives them knows those that were handled.
#[derive(Debug)]
pub(super) struct Suspects {
    lanes_max: usize,
    left: HashMap<Partition, Left>,
}

#[derive(Debug, Default)]
struct Left {
    /// The last record that was in the outbox, once it was read.
    last: Option<u64>,
    /// The lanes of which one was published since.
    lanes: HashSet<LaneId>,
}

impl Suspects {
    pub(super) fn new(lanes_max: usize) -> Self {
        Self { lanes_max, left: HashMap::new() }
    }

    /// A partition was gained that an instance has left without a release.
    pub(super) fn took_over(&mut self, partition: Partition) {
        self.left.insert(partition, Left::default());
    }

    /// A partition was lost.
    pub(super) fn lost(&mut self, partition: Partition) {
        self.left.remove(&partition);
    }

    /// The outbox was read up to `last` while it stood at `place`, which a store may not know.
    pub(super) fn read(&mut self, place: OutboxPlace, last: Option<u64>) {
        let last = place.drawn.max(last.unwrap_or_default());
        for left in self.left.values_mut() {
            left.last.get_or_insert(last);
        }
    }

    /// Whether a record that is about to be published is a suspect.
    pub(super) fn contain(&mut self, start: &Start) -> bool {
        let partition = start.lease.partition;
        let Some(left) = self.left.get_mut(&partition) else {
            return false;
        };
        if left.last.is_some_and(|last| start.record.sequence > last) {
            return false;
        }
        if left.lanes.len() >= self.lanes_max && !left.lanes.contains(&start.lane) {
            self.left.remove(&partition);
            return false;
        }
        left.lanes.insert(start.lane.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mamey_core::id::MessageId;
    use mamey_core::message::{Envelope, Metadata};
    use mamey_core::store::{InstanceId, Lease, LeaseRole, OutboxRecord};

    fn partition(number: u16) -> Partition {
        Partition::new(number, 2).unwrap()
    }

    fn start(partition: Partition, sequence: u64, key: &str) -> Start {
        let id = MessageId::from_foreign("sales", &sequence.to_string());
        let metadata = Metadata::new(id, "sales.sold", "sales").with_key(Some(key.into()));
        let record = OutboxRecord::new(sequence, Envelope::new(metadata, Bytes::new()));
        let holder = InstanceId::new(id.as_uuid());
        let lease = Lease::new(LeaseRole::Relay, partition, 1, holder);
        Start { lane: LaneId::of(&record), lease, record, history: 0 }
    }

    #[test]
    fn records_are_suspects_that_were_there_at_the_takeover() {
        let (ours, other) = (partition(0), partition(1));
        let mut suspects = Suspects::new(10);
        assert!(!suspects.contain(&start(ours, 1, "a")), "nobody left it");
        suspects.took_over(ours);
        suspects.read(OutboxPlace::new(1, 5), Some(3));
        suspects.read(OutboxPlace::new(1, 9), Some(9));
        assert!(suspects.contain(&start(ours, 1, "a")));
        assert!(suspects.contain(&start(ours, 2, "a")), "the first may have been confirmed");
        assert!(suspects.contain(&start(ours, 5, "b")));
        assert!(!suspects.contain(&start(ours, 6, "c")), "sent after the takeover");
        assert!(!suspects.contain(&start(other, 3, "d")));
        suspects.lost(ours);
        assert!(!suspects.contain(&start(ours, 4, "e")));
    }

    #[test]
    fn there_are_no_more_suspects_than_a_window_holds() {
        let mut suspects = Suspects::new(2);
        suspects.took_over(partition(0));
        suspects.read(OutboxPlace::default(), Some(9));
        let keys = [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "a")];
        let found = keys.map(|(at, key)| suspects.contain(&start(partition(0), at, key)));
        assert_eq!(found, [true, true, true, false, false]);
    }
}
