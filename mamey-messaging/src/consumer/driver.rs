//! Drives a consumer: leases, intakes, lanes and retries, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::{ContextName, Lane, MessageIdentity, Partition};
use mamey_core::store::{Lease, ParkedMessage, Store};
use mamey_core::{Error, LogThrottle, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::busy::Busy;
use super::due::Due;
use super::intake::Taken;
use super::intakes::Intakes;
use super::lanes::{LaneId, Lanes};
use super::options::ConsumerOptions;
use super::parked_lanes::ParkedLanes;
use super::parking_limit::ParkingLimit;
use super::parts::Parts;
use super::retries::Retries;
use super::suspect_lanes::SuspectLanes;
use super::tasks::{Delivered, Done, Look, Retried, Tasks};
use super::worker::{Known, Worker};
use crate::leases::{Assignment, Changes, Held, LeaseKeeper};
use crate::reported::Reported;
use crate::stats::ConsumerStats;

/// The pause before a partition is taken from again after one of its messages was returned.
const RETURN_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Driver {
    context: ContextName,
    store: Arc<dyn Store>,
    options: ConsumerOptions,
    stats: ConsumerStats,
    /// What is published in this process reaches no other process, while others share the store:
    /// then this instance takes every partition, and leases only divide the retries.
    takes_all: bool,
    assignment: Assignment,
    /// The partitions that an instance has left without a release: what is delivered again there, it may
    /// have been handling when it ended.
    abandoned: Vec<Partition>,
    intakes: Intakes,
    lanes: Lanes<Taken>,
    tasks: Tasks,
    busy: Busy,
    retries: Retries,
    parked_lanes: ParkedLanes,
    suspect_lanes: SuspectLanes,
    parking_limit: ParkingLimit,
    throttle: LogThrottle,
    reported: Reported<MessageIdentity>,
}

impl Driver {
    pub(super) fn new(parts: Parts, stop: CancellationToken) -> Self {
        let Parts { inbound, store, transport, options, stats } = parts;
        let context = inbound.context().clone();
        let stays_here = !transport.capabilities().remote;
        let worker =
            Worker::new(inbound, options.instance, Arc::clone(&store), stats.clone(), stop);
        let now = Instant::now();
        Self {
            takes_all: stays_here && store.capabilities().shared,
            assignment: Assignment::default(),
            abandoned: Vec::new(),
            intakes: Intakes::new(
                context.clone(),
                transport,
                (options.prefetch, options.in_flight_bytes_max),
                stats.clone(),
            ),
            lanes: Lanes::new(options.lanes_max),
            tasks: Tasks::new(worker, Arc::clone(&store)),
            busy: Busy::default(),
            retries: Retries::new(options.retries_max, options.poll, now),
            parked_lanes: ParkedLanes::default(),
            suspect_lanes: SuspectLanes::default(),
            parking_limit: ParkingLimit::new(options.parked_messages_max, now),
            throttle: LogThrottle::default(),
            reported: Reported::default(),
            context,
            store,
            options,
            stats,
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let keeper = LeaseKeeper::start(Arc::clone(&self.store), self.options.lease_request());
        let mut held = keeper.held();
        if self.takes_all {
            for partition in Partition::all(self.options.partitions)? {
                self.intakes.start(partition, Duration::ZERO);
            }
        }
        while !shutdown.is_cancelled() {
            self.begin_work(&held);
            self.release_drained(&keeper);
            let wake_at = self.wake_at(&held);
            tokio::select! {
                () = shutdown.cancelled() => {}
                Ok(()) = held.changed() => self.take_over(&mut held),
                Some(taken) = self.intakes.next() => self.accept(taken),
                Some(done) = self.tasks.next() => self.end_task(done),
                () = sleep_until(wake_at) => {}
            }
        }
        let drained = self.drain().await;
        keeper.retire().await;
        drained
    }

    /// Begins what may begin now. Nothing begins under leases that have expired.
    fn begin_work(&mut self, held: &watch::Receiver<Held>) {
        let valid = held.borrow().is_valid();
        let may_deliver = valid || self.takes_all;
        let takes = may_deliver && !self.parking_limit.is_full();
        self.intakes.set_taking(|partition| takes && self.takes_from(partition));
        if may_deliver {
            while let Some((id, taken)) = self.lanes.start() {
                self.begin_delivery(id, taken);
            }
        }
        let now = Instant::now();
        if valid && self.retries.look_at().is_some_and(|at| at <= now) {
            self.begin_look(now);
        }
    }

    fn takes_from(&self, partition: Partition) -> bool {
        self.takes_all || self.assignment.active(partition).is_some()
    }

    fn begin_delivery(&mut self, id: LaneId, taken: Taken) {
        if !self.takes_all {
            self.busy.begin(taken.partition);
        }
        let lane = taken.delivery.envelope().lane();
        let lane_is_parked = mamey_core::inject_fault!(
            "parked-key-unchecked",
            false,
            lane.as_ref().is_some_and(|lane| self.parked_lanes.contains(lane))
        );
        let known = Known {
            redelivered: taken.delivery.is_redelivered(),
            near_its_limit: taken.delivery.is_near_its_limit(),
            suspect: self.is_suspect(&taken, lane.as_ref()),
            lane_is_parked,
        };
        self.tasks.deliver(id, lane, taken, known);
    }

    /// Whether an instance may have been handling the message when that ended.
    fn is_suspect(&self, taken: &Taken, lane: Option<&Lane>) -> bool {
        let returned = !self.takes_all && taken.delivery.is_redelivered();
        let in_hand =
            taken.delivery.is_suspect() || returned && self.abandoned.contains(&taken.partition);
        in_hand && self.suspect_lanes.may_have_more(lane)
    }

    fn begin_look(&mut self, now: Instant) {
        let leases = self.assignment.all_active();
        if leases.is_empty() {
            return;
        }
        let count = self.parking_limit.begin_count(now, self.options.poll);
        let partitions = leases.into_iter().map(|lease| lease.partition).collect();
        self.tasks.look(partitions, self.retries.begin_look(now), count);
    }

    fn begin_retry(&mut self, due: Due) {
        let slot = due.message.envelope.metadata.slot();
        let Ok(partition) = Partition::of_slot(slot, self.options.partitions) else {
            return;
        };
        self.busy.begin(partition);
        self.tasks.retry(due, partition);
    }

    /// Puts a message into its lane, unless its intake has ended: then the transport delivers it
    /// again.
    fn accept(&mut self, taken: Taken) {
        let current = self.intakes.is_running(taken.partition, taken.intake);
        if current && self.takes_from(taken.partition) {
            self.lanes.push(taken.delivery.envelope().lane(), taken);
        }
    }

    fn take_over(&mut self, held: &mut watch::Receiver<Held>) {
        let held = held.borrow_and_update().clone();
        let changes = self.assignment.update(&held.leases, held.surplus);
        let anew = |lease: &Lease| held.abandoned.contains(&lease.partition);
        if changes.gained.iter().any(anew) {
            self.suspect_lanes = SuspectLanes::default();
        }
        self.abandoned = held.abandoned;
        if !self.takes_all {
            self.follow(&changes);
        }
        if changes != Changes::default() {
            tracing::debug!(
                context = %self.context, ?changes, abandoned = ?self.abandoned,
                "the consumer's partitions changed"
            );
        }
    }

    fn follow(&mut self, changes: &Changes) {
        for lease in &changes.lost {
            self.stop_taking(lease.partition);
        }
        for lease in &changes.draining {
            self.drop_waiting(|taken| taken.partition == lease.partition);
        }
        for lease in &changes.gained {
            self.intakes.start(lease.partition, Duration::ZERO);
        }
    }

    /// Ends the subscription first: what waits is then returned in its order, all at once.
    fn stop_taking(&mut self, partition: Partition) {
        self.intakes.stop(partition);
        self.drop_waiting(|taken| taken.partition == partition);
    }

    /// Drops waiting messages, which returns them.
    fn drop_waiting(&mut self, unwanted: impl Fn(&Taken) -> bool) {
        let dropped = self.lanes.take_out(unwanted);
        self.stats.0.returned.add(dropped.len() as u64);
    }

    fn release_drained(&mut self, keeper: &LeaseKeeper) {
        let busy = &self.busy;
        for lease in self.assignment.take_drained(|partition| busy.contains(partition)) {
            if !self.takes_all {
                self.stop_taking(lease.partition);
            }
            keeper.release(lease);
        }
    }

    fn end_task(&mut self, done: Done) {
        match done {
            Done::Delivered(delivered) => self.end_delivery(*delivered),
            Done::Retried(retried) => self.end_retry(&retried),
            Done::Looked(Ok(look)) => self.end_look(look),
            Done::Looked(Err(error)) => self.look_failed(&error),
        }
    }

    fn end_delivery(&mut self, delivered: Delivered) {
        let Delivered { id, lane, intake, partition, outcome, returned } = delivered;
        if !self.takes_all {
            self.busy.end(partition);
        }
        self.retries.delivered(Instant::now(), &outcome);
        self.suspect_lanes.delivered(lane.as_ref(), &outcome);
        self.parked_lanes.delivered(lane, &outcome);
        if returned.is_some() && self.intakes.is_running(partition, intake) {
            // Returning one message while later ones of its lane wait here would change their
            // order: the whole partition is returned, and taken from again.
            self.stop_taking(partition);
            if self.takes_from(partition) {
                self.intakes.start(partition, RETURN_PAUSE);
            }
        }
        drop(returned);
        self.lanes.finish(id);
    }

    fn end_retry(&mut self, retried: &Retried) {
        let Retried { message, partition, outcome } = retried;
        self.busy.end(*partition);
        self.retries.finished(Instant::now(), message.identity, outcome);
        self.parked_lanes.retried(message.envelope.lane().as_ref(), outcome);
    }

    fn end_look(&mut self, look: Look) {
        if let Some(parked) = look.parked {
            self.parking_limit.counted(&self.context, parked);
        }
        look.unreadable.iter().for_each(|message| self.report_unreadable(message));
        for due in self.retries.end_look(Instant::now(), look.due, look.next_due_in) {
            self.begin_retry(due);
        }
    }

    fn report_unreadable(&mut self, message: &ParkedMessage) {
        let identity = message.identity;
        if self.reported.is_new(identity) {
            self.stats.0.unreadable.increment();
            let (context, why) = (&self.context, message.unreadable.as_deref());
            tracing::warn!(
                %context, %identity, why,
                "a parked message cannot be read; it and its lane wait for a build that can"
            );
        }
    }

    fn look_failed(&mut self, error: &Error) {
        self.retries.look_failed();
        self.stats.0.store_failures.increment();
        if let Some(suppressed) = self.throttle.admit(Instant::now().into_std()) {
            let context = &self.context;
            tracing::error!(%context, %error, suppressed, "parked messages could not be read");
        }
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self, held: &watch::Receiver<Held>) -> Instant {
        let (now, valid_until) = (Instant::now(), held.borrow().valid_until);
        let idle = now + self.options.poll;
        if valid_until <= now || self.assignment.all_active().is_empty() {
            return idle;
        }
        let looks = self.retries.look_at().into_iter();
        looks.chain([valid_until]).fold(idle, Instant::min)
    }

    /// Returns what waits, and awaits what runs for at most the drain time.
    async fn drain(&mut self) -> Result<()> {
        self.intakes.set_taking(|_| false);
        // No intake is started from here on.
        self.assignment = Assignment::default();
        self.takes_all = false;
        self.drop_waiting(|_| true);
        let end = Instant::now() + self.options.drain;
        while let Ok(Some(done)) = tokio::time::timeout_at(end, self.tasks.next()).await {
            if !matches!(done, Done::Looked(_)) {
                self.end_task(done);
            }
        }
        let running = self.tasks.len();
        // A handler that is cut off has either committed or not; the inbox absorbs the redelivery.
        self.tasks.shutdown().await;
        self.intakes.stop_all();
        if running == 0 {
            return Ok(());
        }
        let context = &self.context;
        tracing::warn!(
            %context, running,
            "shut down while handlers ran; their messages are delivered again"
        );
        Err(Error::timed_out(format!("{running} handlers were cut off by the shutdown")))
    }
}
