//! What becomes of records that could not be published: they wait in memory, or leave it for the store.

use mamey_core::message::Partition;
use mamey_core::store::{Becomes, FailedRecord, Lease, Stalled, StalledPage, UnreadableRecord};
use tokio::time::Instant;

use super::blocked::Failed;
use super::lane::LaneId;
use super::lanes::Start;
use super::stalls::{StalledPlan, Stalls};
use super::tried::{Next, Tried};
use super::window::Window;

impl Window {
    /// What was tried of the record in flight before.
    pub(super) fn tried(&self, lane: &LaneId) -> Tried {
        self.lanes.tried(lane)
    }

    /// A record could not be published: `next` becomes of it, `tried` times tried. Its key waits, and its
    /// successors are dropped from memory. `lease` is the one its partition is held under now, if it is
    /// held.
    pub(super) fn failed(&mut self, start: Start, tried: Tried, next: Next, lease: Option<Lease>) {
        let Some(lane) = self.lanes.failed(&start.lane) else {
            return;
        };
        let id = start.record.id();
        self.catch_up.remove(&start.lane);
        // The record may not be in the outbox any more, or be another instance's; if it is ours, it is
        // read again.
        if start.history != self.history || lease.is_some_and(|lease| lease != start.lease) {
            self.stalls.ask();
            return self.reads.drained(start.lane, 0);
        }
        // Without a lease the record is read and published by whoever gains the partition.
        let Some(lease) = lease else {
            return;
        };
        // One that was published before comes first: it came up again, to be deleted.
        if let Some(cut) = lane.cut().filter(|cut| *cut < id.sequence) {
            self.stalls.ask();
            return self.read_on(start.lane, lease.partition, cut);
        }
        match next {
            Next::Wait(due) => {
                let failed = Failed { lease, record: start.record, tried, due };
                self.blocked.insert(start.lane, failed);
            }
            Next::Record(failed) => self.leave(start.lane, lease, failed, tried.stalled),
        }
    }

    /// The store is to record a failure of a lane's first record.
    pub(super) fn leave(&mut self, id: LaneId, lease: Lease, failed: FailedRecord, stalled: bool) {
        self.catch_up.remove(&id);
        self.leaving.add(id, lease, failed, stalled);
    }

    /// Up to `max` failures to record; `None` while others are being recorded.
    pub(super) fn plan_recording(
        &mut self,
        max: usize,
        current: impl Fn(Partition) -> Option<Lease>,
    ) -> Option<Vec<(Lease, FailedRecord)>> {
        self.leaving.plan(max, current)
    }

    /// `count` of the failures are recorded, and their records have left the outbox or are due later. The
    /// others stay, because their lease has moved or because they are not there any more.
    pub(super) fn recorded(&mut self, count: u64, now: Instant) -> Vec<FailedRecord> {
        let recorded = self.leaving.recorded(self.reads.is_under_way());
        if count < recorded.asked {
            self.reads.again();
            self.stalls.ask();
        }
        let mut failed = Vec::with_capacity(recorded.left.len());
        for left in recorded.left {
            match left.failed.becomes {
                Becomes::Stalled { delay } => self.stalls.schedule(now, delay),
                Becomes::Undelivered { .. } => {
                    self.read_on(left.lane, left.partition, left.failed.id.sequence);
                }
            }
            failed.push(left.failed);
        }
        failed
    }

    /// The failures could not be recorded: they wait for the next call.
    pub(super) fn recording_failed(&mut self) {
        self.leaving.recording_failed();
    }

    /// Wakes what is due now.
    pub(super) fn wake(&mut self, now: Instant) {
        for (id, failed) in self.blocked.take_due(now) {
            self.lanes.retry(id, failed.lease, failed.record, failed.tried);
        }
        self.stalls.wake(now);
    }

    /// When the next record is due that has failed.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.blocked.next_due().into_iter().chain(self.stalls.next_due()).min()
    }

    /// Which stalled records to read next, under these leases. `None` while such a read is under way, if
    /// none is due, or if enough of them are tried already.
    pub(super) fn plan_stalled(&mut self, leases: &[Lease]) -> Option<StalledPlan> {
        let share = Stalls::share(self.limits.in_flight_max);
        let limit = share.saturating_sub(self.lanes.stalled());
        let bytes_max = self.limits.bytes_max.saturating_sub(self.held_bytes());
        let go_on = self.catch_up.len() + self.confirmations.held_up();
        let has_room = limit > 0 && bytes_max > 0 && go_on < self.limits.blocked_max;
        if !has_room || self.is_full_of_blocked() || leases.is_empty() || !self.stalls.begin() {
            return None;
        }
        let held = self.lanes.stalled_records().chain(self.leaving.stalled());
        let held = held.chain(self.confirmations.stalled()).collect();
        let (leases, history) = (leases.to_vec(), self.history);
        Some(StalledPlan { leases, held, limit, bytes_max, history })
    }

    /// Takes in stalled records that are due, to try them again. `lease_of` is the lease under which a
    /// record of a slot may be published now; `unreadable` is what becomes of one that cannot be read.
    pub(super) fn absorb_stalled(
        &mut self,
        plan: &StalledPlan,
        page: StalledPage,
        now: Instant,
        lease_of: impl Fn(u16) -> Option<Lease>,
        unreadable: impl Fn(&Stalled<UnreadableRecord>) -> FailedRecord,
    ) {
        if plan.history != self.history {
            return self.stalls.end(None, true, now);
        }
        // A partition that was gained meanwhile asks for its own.
        let lease_of = |slot| lease_of(slot).filter(|lease| plan.leases.contains(lease));
        let mut left_out = false;
        for stalled in page.records {
            let lane = LaneId::of(&stalled.record);
            let Some(lease) = lease_of(stalled.record.envelope.metadata.slot()) else {
                continue;
            };
            if self.is_at_work(&lane) || self.held_bytes() >= self.limits.bytes_max {
                left_out = true;
                continue;
            }
            let tried = Tried::stalled(stalled.attempts, stalled.waited, now);
            self.lanes.retry(lane, lease, stalled.record, tried);
        }
        for stalled in page.unreadable {
            let lane = LaneId::of_unreadable(&stalled.record);
            let Some(lease) = lease_of(stalled.record.slot) else {
                continue;
            };
            if self.is_at_work(&lane) {
                left_out = true;
                continue;
            }
            self.leave(lane, lease, unreadable(&stalled), true);
        }
        self.stalls.end(page.next_in, left_out, now);
    }

    /// Stalled records could not be read.
    pub(super) fn stalled_failed(&mut self, now: Instant) {
        self.stalls.end(None, true, now);
    }

    /// Whether something of a lane is in memory.
    fn is_at_work(&self, lane: &LaneId) -> bool {
        self.lanes.contains(lane)
            || self.blocked.contains(lane)
            || self.leaving.contains(lane)
            || self.confirmations.holds_up(lane)
            || self.catch_up.contains(lane)
    }
}
