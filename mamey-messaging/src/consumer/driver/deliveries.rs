//! Drives deliveries: handled in their lanes, and parked where they would hold up others.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::{Lane, Partition};
use tokio::time::Instant;

use super::Driver;
use crate::consumer::hand_over::HandOver;
use crate::consumer::in_hand::InHand;
use crate::consumer::intake::Taken;
use crate::consumer::lanes::LaneId;
use crate::consumer::runs::{Run, RunNumber, Step};
use crate::consumer::tasks::Delivered;
use crate::consumer::worker::Known;

/// The pause before a partition is taken from again after one of its messages was returned.
const RETURN_PAUSE: Duration = Duration::from_millis(500);

/// How many messages, each of another lane, are parked unhandled at a time.
const PARKED_AT_A_TIME_MAX: usize = 64;

impl Driver {
    /// Whether deliveries wait or are processed.
    pub(super) fn has_deliveries(&self) -> bool {
        !self.runs.is_empty() || !self.lanes.is_empty()
    }

    /// Puts a message into its lane, unless its intake has ended: then the transport delivers it
    /// again.
    pub(super) fn accept(&mut self, taken: Taken) {
        let current = self.intakes.is_running(taken.partition, taken.intake);
        if current && self.takes_from(taken.partition) {
            let lane = taken.delivery.envelope().lane();
            let parks = lane.as_ref().is_some_and(|lane| self.parked_lanes.contains(lane));
            self.lanes.push(lane, taken, parks || self.pace.is_through_parking());
        }
    }

    /// Whether the next message of the lane is parked unhandled.
    fn parks(&self, id: &LaneId) -> bool {
        self.pace.is_through_parking()
            || id.lane().is_some_and(|lane| self.parked_lanes.contains(lane))
    }

    pub(super) fn sort_lanes(&mut self) {
        let (through_parking, parked) = (self.pace.is_through_parking(), &self.parked_lanes);
        self.lanes.sort(|id| through_parking || id.lane().is_some_and(|it| parked.contains(it)));
    }

    pub(super) fn begin_deliveries(&mut self, now: Instant) {
        while self.parking < PARKED_AT_A_TIME_MAX {
            let (room, parked) = (self.parking_limit.has_room_for_slow(), &self.parked_lanes);
            let may = |id: &LaneId| room || id.lane().is_some_and(|it| parked.has_failed(it));
            let Some((id, taken)) = self.lanes.start_parking(may) else {
                break;
            };
            self.parking += 1;
            self.begin_delivery((id, Step::Park), taken, now);
        }
        while self.slots.free() > 0 {
            let Some((id, taken)) = self.lanes.start() else {
                break;
            };
            self.slots.take();
            self.begin_delivery((id, Step::Handle), taken, now);
        }
    }

    fn begin_delivery(&mut self, (id, step): (LaneId, Step), taken: Taken, now: Instant) {
        let suspect = self.is_suspect(&taken, id.lane());
        let Taken { intake, partition, delivery, room, .. } = taken;
        if !self.takes_all {
            self.busy.begin(partition);
        }
        let known = Known {
            redelivered: delivery.is_redelivered(),
            near_its_limit: delivery.is_near_its_limit(),
            suspect,
            lane_is_parked: mamey_core::inject_fault!(
                "parked-key-unchecked",
                false,
                step == Step::Park || self.parks(&id)
            ),
        };
        let in_hand = Arc::new(InHand::new(delivery));
        let run = Run::new((id, step), (partition, intake), Arc::clone(&in_hand), now);
        let number = self.runs.begin(run);
        self.tasks.deliver(number, in_hand, known, room);
    }

    /// Whether an instance may have been handling the message when that ended.
    fn is_suspect(&self, taken: &Taken, lane: Option<&Lane>) -> bool {
        let returned = !self.takes_all && taken.delivery.is_redelivered();
        let in_hand =
            taken.delivery.is_suspect() || returned && self.abandoned.contains(&taken.partition);
        in_hand && self.suspect_lanes.may_have_more(lane)
    }

    pub(super) fn end_delivery(&mut self, delivered: Delivered) {
        let Delivered { run, outcome, returned } = delivered;
        let Some(run) = self.runs.end(run) else {
            return;
        };
        let now = Instant::now();
        if !self.takes_all {
            self.busy.end(run.partition);
        }
        match run.step {
            Step::Handle => self.slots.give_back(),
            Step::Park => self.parking = self.parking.saturating_sub(1),
        }
        if run.is_parked() {
            let identity = run.in_hand.envelope.metadata.identity();
            self.retries.finished(now, identity, &outcome, &mut self.slots);
            return self.parked_lanes.retried(run.lane(), &outcome);
        }
        self.retries.delivered(now, &outcome);
        self.parking_limit.delivered(&outcome);
        self.suspect_lanes.delivered(run.lane(), &outcome);
        self.parked_lanes.delivered(run.lane().cloned(), &outcome);
        if returned.is_some() && self.intakes.is_running(run.partition, run.intake) {
            // Returning one message while later ones of its lane wait here would change their
            // order: the whole partition is returned, and taken from again.
            self.stop_taking(run.partition);
            if self.takes_from(run.partition) {
                self.intakes.start(run.partition, RETURN_PAUSE);
            }
        }
        drop(returned);
        let parks = self.parks(&run.id);
        self.lanes.finish(run.id, parks);
    }

    /// Parks what is slow where it holds up others.
    pub(super) fn let_others_pass(&mut self, now: Instant) {
        if !self.parking_limit.has_room_for_slow() {
            self.go_through_parking(false);
        } else if self.publishers_wait {
            self.hand_over_slow(now, |_| true);
            if self.pace.is_outrun(&self.lanes, now) {
                self.go_through_parking(true);
            }
        } else {
            self.empty_stuck_partitions(now);
        }
    }

    fn empty_stuck_partitions(&mut self, now: Instant) {
        let stuck = self.pace.stuck(&self.lanes, &self.runs, &self.slots);
        self.hand_over_slow(now, |partition| stuck.contains(&partition));
        for lane in self.pace.crowding(&self.lanes, &stuck, now) {
            self.parked_lanes.slow(lane);
        }
    }

    fn hand_over_slow(&mut self, now: Instant, of: impl Fn(Partition) -> bool) {
        // If this process ends, its leases last as long.
        let by = (self.options.instance, self.options.lease);
        for (run, in_hand) in self.runs.take_slow(now, self.options.slow_after, of) {
            self.tasks.hand_over(run, in_hand, by);
        }
    }

    /// A message was to be parked while its handler runs. If it was, its lane goes on without it:
    /// what follows is parked behind it.
    pub(super) fn end_hand_over(&mut self, run: RunNumber, outcome: HandOver) {
        self.runs.handed_over(run, outcome, Instant::now());
        if outcome != HandOver::Parked {
            return;
        }
        self.stats.0.handed_over.increment();
        self.parking_limit.added();
        // Its handler may have ended already.
        let Some(run) = self.runs.get(run) else {
            return;
        };
        self.retries.runs_already(run.in_hand.envelope.metadata.identity());
        if let Some(lane) = run.lane() {
            self.parked_lanes.slow(lane.clone());
        }
        self.lanes.finish(run.id.clone(), true);
    }

    /// Has all messages parked before they are handled, or no longer.
    pub(super) fn go_through_parking(&mut self, through_parking: bool) {
        if self.pace.set_through_parking(through_parking) {
            self.sort_lanes();
            let context = &self.context;
            tracing::info!(
                %context, through_parking,
                "whether messages are parked first, because they come faster than they are handled"
            );
        }
    }
}
