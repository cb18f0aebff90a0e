//! Lanes whose first record leaves the outbox: the store is to record that it is stalled or given up.

use std::collections::{BTreeMap, HashMap, HashSet};

use mamey_core::message::{Key, Partition};
use mamey_core::store::{FailedRecord, Lease, RecordId};

use super::lane::LaneId;

/// Failures that wait to be recorded, and their lanes behind them. One call at a time.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    lanes: HashMap<LaneId, Leaves>,
    /// The lanes that the call is about, with the leases it names.
    under_way: Vec<(LaneId, Lease)>,
    /// The lanes whose record left while a read was under way, which may have seen it before.
    left_meanwhile: HashSet<LaneId>,
}

#[derive(Debug)]
struct Leaves {
    lease: Lease,
    failed: FailedRecord,
    /// It is stalled already.
    stalled: bool,
}

/// What follows from a call.
#[derive(Debug)]
pub(super) struct Recorded {
    /// How many failures it was about.
    pub(super) asked: u64,
    /// Those whose partition was not lost meanwhile.
    pub(super) left: Vec<Left>,
}

/// A failure that was recorded.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) lane: LaneId,
    pub(super) partition: Partition,
    pub(super) failed: FailedRecord,
}

impl Leaving {
    pub(super) fn add(&mut self, lane: LaneId, lease: Lease, failed: FailedRecord, stalled: bool) {
        self.lanes.insert(lane, Leaves { lease, failed, stalled });
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether reads that are under way leave out this lane.
    pub(super) fn contains(&self, lane: &LaneId) -> bool {
        self.lanes.contains_key(lane) || self.left_meanwhile.contains(lane)
    }

    /// The keys that reads leave out.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.lanes.keys().filter_map(LaneId::key)
    }

    /// The records without a key, which no skipped key covers.
    pub(super) fn keyless(&self) -> impl Iterator<Item = RecordId> {
        let keyless = self.lanes.iter().filter(|(lane, _)| lane.key().is_none());
        keyless.map(|(_, leaves)| leaves.failed.id)
    }

    /// The records that were stalled before.
    pub(super) fn stalled(&self) -> impl Iterator<Item = RecordId> {
        self.lanes.values().filter(|leaves| leaves.stalled).map(|leaves| leaves.failed.id)
    }

    /// Up to `max` failures to record, each under the lease that `current` returns for its partition, in
    /// the order of their records. `None` if there are none, or while others are being recorded.
    pub(super) fn plan(
        &mut self,
        max: usize,
        current: impl Fn(Partition) -> Option<Lease>,
    ) -> Option<Vec<(Lease, FailedRecord)>> {
        if !self.under_way.is_empty() {
            return None;
        }
        let mut planned = BTreeMap::new();
        for (lane, leaves) in &self.lanes {
            // The lease may be about to be released; it is the next holder's turn then.
            if let Some(lease) = current(leaves.lease.partition) {
                planned.insert(leaves.failed.id, (lane, lease, &leaves.failed));
            }
        }
        let planned: Vec<_> = planned.into_values().take(max).collect();
        self.under_way = planned.iter().map(|(lane, lease, _)| ((*lane).clone(), *lease)).collect();
        let records = planned.into_iter().map(|(_, lease, failed)| (lease, failed.clone()));
        Some(records.collect()).filter(|records: &Vec<_>| !records.is_empty())
    }

    /// Ends the call: all that it was about have left, unless their partition was lost meanwhile.
    /// `reads` is whether a read is under way.
    pub(super) fn recorded(&mut self, reads: bool) -> Recorded {
        let under_way = std::mem::take(&mut self.under_way);
        let asked = under_way.len() as u64;
        let mut left = Vec::with_capacity(under_way.len());
        for (lane, lease) in under_way {
            // It may have failed once more, after its partition was lost and gained.
            let same = |leaves: &Leaves| leaves.lease == lease;
            if !self.lanes.get(&lane).is_some_and(same) {
                continue;
            }
            if let Some(Leaves { failed, .. }) = self.lanes.remove(&lane) {
                if reads {
                    self.left_meanwhile.insert(lane.clone());
                }
                left.push(Left { lane, partition: lease.partition, failed });
            }
        }
        Recorded { asked, left }
    }

    /// Ends a call that failed: its failures wait for the next one.
    pub(super) fn recording_failed(&mut self) {
        self.under_way.clear();
    }

    /// No read is under way any more.
    pub(super) fn end_read(&mut self) {
        self.left_meanwhile.clear();
    }

    /// Drops all but those that the call is about: it may still have its effect.
    pub(super) fn drop_waiting(&mut self) {
        let under_way = &self.under_way;
        self.lanes.retain(|lane, _| under_way.iter().any(|(of, _)| of == lane));
    }

    pub(super) fn drop_partition(&mut self, partition: Partition) {
        self.lanes.retain(|_, leaves| leaves.lease.partition != partition);
    }
}
