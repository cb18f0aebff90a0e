//! Drives a consumer: leases, intakes, lanes and retries, and an orderly end.

mod deliveries;
mod parked;

use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::{ContextName, MessageIdentity, Partition};
use mamey_core::store::{Lease, Store};
use mamey_core::{Error, LogThrottle, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::busy::Busy;
use super::intake::Taken;
use super::intakes::Intakes;
use super::lanes::Lanes;
use super::options::ConsumerOptions;
use super::pace::Pace;
use super::parked_lanes::ParkedLanes;
use super::parking_limit::ParkingLimit;
use super::parts::Parts;
use super::retries::Retries;
use super::runs::Runs;
use super::slots::Slots;
use super::suspect_lanes::SuspectLanes;
use super::tasks::{Done, Tasks};
use super::worker::Worker;
use crate::leases::{Assignment, Changes, Held, LeaseKeeper};
use crate::reported::Reported;
use crate::stats::ConsumerStats;

pub(super) struct Driver {
    context: ContextName,
    store: Arc<dyn Store>,
    options: ConsumerOptions,
    stats: ConsumerStats,
    /// What is published in this process reaches no other process, while others share the store:
    /// then this instance takes every partition, and leases only divide the retries.
    takes_all: bool,
    /// The transport stores nothing, so publishers wait until their messages are settled.
    publishers_wait: bool,
    assignment: Assignment,
    /// The partitions that an instance has left without a release: what is delivered again there, it may
    /// have been handling when it ended.
    abandoned: Vec<Partition>,
    intakes: Intakes,
    lanes: Lanes<Taken>,
    runs: Runs,
    /// How many of the runs only park their messages.
    parking: usize,
    slots: Slots,
    pace: Pace,
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
        let (context, capabilities) = (inbound.context().clone(), transport.capabilities());
        let worker =
            Worker::new(inbound, options.instance, Arc::clone(&store), stats.clone(), stop);
        let now = Instant::now();
        Self {
            takes_all: !capabilities.remote && store.capabilities().shared,
            publishers_wait: !capabilities.durable,
            assignment: Assignment::default(),
            abandoned: Vec::new(),
            intakes: Intakes::new(
                context.clone(),
                transport,
                (options.prefetch, options.in_flight_bytes_max),
                stats.clone(),
            ),
            lanes: Lanes::default(),
            runs: Runs::default(),
            parking: 0,
            slots: Slots::new(options.lanes_max),
            pace: Pace::new(options.slow_after, options.prefetch, now),
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
        let (now, valid) = (Instant::now(), held.borrow().is_valid());
        let may_deliver = valid || self.takes_all;
        let takes = may_deliver && !self.parking_limit.is_full();
        self.intakes.set_taking(|partition| takes && self.takes_from(partition));
        if may_deliver {
            if self.has_deliveries() && self.pace.begin_look(now) {
                self.let_others_pass(now);
            }
            self.begin_deliveries(now);
        }
        if valid && self.retries.look_at(&self.slots).is_some_and(|at| at <= now) {
            self.begin_look(now);
        }
    }

    fn takes_from(&self, partition: Partition) -> bool {
        self.takes_all || self.assignment.active(partition).is_some()
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
        if !changes.lost.is_empty() && self.parked_lanes.forget_doubted() {
            self.sort_lanes();
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
            Done::HandedOver(run, outcome) => self.end_hand_over(run, outcome),
            Done::Retried(retried) => self.end_retry(&retried),
            Done::Looked(Ok(look)) => self.end_look(look),
            Done::Looked(Err(error)) => self.look_failed(&error),
        }
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self, held: &watch::Receiver<Held>) -> Instant {
        let (now, valid_until) = (Instant::now(), held.borrow().valid_until);
        let slow = self.has_deliveries().then(|| self.pace.next_look());
        let idle = slow.into_iter().fold(now + self.options.poll, Instant::min);
        if valid_until <= now || self.assignment.all_active().is_empty() {
            return idle;
        }
        let looks = self.retries.look_at(&self.slots).into_iter();
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
