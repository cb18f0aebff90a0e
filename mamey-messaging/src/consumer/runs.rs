//! The deliveries that are being processed, and for how long.
//!
//! Plain data without tasks, so that its laws can be tested by themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::{Lane, Partition};
use tokio::time::Instant;

use super::hand_over::HandOver;
use super::in_hand::InHand;
use super::lanes::LaneId;

/// The pause before a message is parked again while its handler runs, after the store has failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Names a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RunNumber(u64);

/// How a delivery is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its handler runs.
    Handle,
    /// It is parked without a handler call.
    Park,
}

#[derive(Default)]
pub(super) struct Runs {
    running: HashMap<RunNumber, Run>,
    last: u64,
}

/// A delivery that is being processed.
pub(super) struct Run {
    pub(super) id: LaneId,
    pub(super) partition: Partition,
    pub(super) intake: u64,
    pub(super) step: Step,
    pub(super) in_hand: Arc<InHand>,
    begun: Instant,
    hold: Hold,
}

/// Whether a run holds up others: its transport, and its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It does, and is not parked before then.
    Until(Instant),
    /// It is being parked.
    Parking,
    /// It does until it ends.
    UntilItsEnd,
    /// It is parked.
    No,
}

impl Run {
    pub(super) fn new(
        (id, step): (LaneId, Step),
        (partition, intake): (Partition, u64),
        in_hand: Arc<InHand>,
        now: Instant,
    ) -> Self {
        Self { id, partition, intake, step, in_hand, begun: now, hold: Hold::Until(now) }
    }

    pub(super) const fn lane(&self) -> Option<&Lane> {
        self.id.lane()
    }

    /// Whether it was parked while its handler ran.
    pub(super) fn is_parked(&self) -> bool {
        self.hold == Hold::No
    }

    fn is_slow(&self, now: Instant, slow_after: Duration) -> bool {
        let may_be_parked = matches!(self.hold, Hold::Until(then) if then <= now);
        self.step == Step::Handle && may_be_parked && self.begun + slow_after <= now
    }
}

impl Runs {
    pub(super) fn begin(&mut self, run: Run) -> RunNumber {
        self.last += 1;
        let number = RunNumber(self.last);
        self.running.insert(number, run);
        number
    }

    pub(super) fn end(&mut self, number: RunNumber) -> Option<Run> {
        self.running.remove(&number)
    }

    pub(super) fn get(&self, number: RunNumber) -> Option<&Run> {
        self.running.get(&number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Those whose transport waits for them, by partition.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = Partition> {
        self.running.values().filter(|run| !run.is_parked()).map(|run| run.partition)
    }

    /// The handlers of these partitions that have run for so long, to be parked from now on.
    pub(super) fn take_slow(
        &mut self,
        now: Instant,
        slow_after: Duration,
        of: impl Fn(Partition) -> bool,
    ) -> Vec<(RunNumber, Arc<InHand>)> {
        let mut slow = Vec::new();
        for (number, run) in &mut self.running {
            if run.is_slow(now, slow_after) && of(run.partition) {
                run.hold = Hold::Parking;
                slow.push((*number, Arc::clone(&run.in_hand)));
            }
        }
        slow
    }

    /// A message was to be parked while its handler runs.
    pub(super) fn handed_over(&mut self, number: RunNumber, outcome: HandOver, now: Instant) {
        if let Some(run) = self.running.get_mut(&number) {
            run.hold = match outcome {
                HandOver::Parked => Hold::No,
                HandOver::LaneParked => Hold::UntilItsEnd,
                HandOver::Ending | HandOver::Failed => Hold::Until(now + FAILURE_PAUSE),
            };
        }
    }
}
