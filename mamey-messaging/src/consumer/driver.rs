//! Drives a consumer: leases, intakes, lanes and retries, and an orderly end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::clock::Clock;
use mamey_core::message::{ContextName, Lane, Partition};
use mamey_core::store::{ParkedMessage, Store};
use mamey_core::transport::{Delivery, Subscription, Transport};
use mamey_core::{Error, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Consumer;
use super::intake::{Arrival, Intake, Source};
use super::lanes::{LaneId, Lanes};
use super::options::ConsumerOptions;
use super::retries::Parking;
use super::worker::{Fate, Worker};
use crate::guard::guarded;
use crate::leases::{Assignment, Changes, Held, Leasing};
use crate::quiet::Quiet;
use crate::stats::ConsumerStats;

/// How many messages may be between the intakes and the lanes.
const ARRIVALS_MAX: usize = 64;

/// The pause before a partition is taken from again after one of its messages was released.
const RELEASE_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Driver {
    context: ContextName,
    store: Arc<dyn Store>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    worker: Arc<Worker>,
    options: ConsumerOptions,
    stats: ConsumerStats,
    /// What is published in this process reaches nobody else, while other processes share the store:
    /// then every partition is taken, and the leases share out the retries alone.
    takes_all: bool,
    assignment: Assignment,
    intakes: HashMap<Partition, Intake>,
    intake_number: u64,
    arrivals: mpsc::Sender<Arrival>,
    arrived: mpsc::Receiver<Arrival>,
    lanes: Lanes<Arrival>,
    parking: Parking,
    /// So many are parked that nothing is taken.
    parking_is_full: bool,
    next_count: Instant,
    tasks: JoinSet<Done>,
    /// How many messages of a partition are being seen through.
    busy: HashMap<Partition, usize>,
    quiet_look: Quiet,
}

/// The outcome of a task.
enum Done {
    Delivered(Box<Delivered>),
    Retried(Box<ParkedMessage>, Partition, Fate),
    Looked(Result<Look>),
}

/// What became of a delivery.
struct Delivered {
    id: LaneId,
    lane: Option<Lane>,
    intake: u64,
    partition: Partition,
    fate: Fate,
    released: Option<Delivery>,
}

/// What a look into parking found.
struct Look {
    due: Vec<ParkedMessage>,
    next_due_in: Option<Duration>,
    /// Counted once in a while, because counting costs.
    parked: Option<u64>,
}

impl Driver {
    pub(super) fn new(consumer: Consumer, stop: CancellationToken) -> Self {
        let (arrivals, arrived) = mpsc::channel(ARRIVALS_MAX);
        let (options, stats) = (consumer.options, consumer.stats);
        let context = consumer.inbound.context().clone();
        let (store, clock) = (consumer.store, consumer.clock);
        let stays_here = !consumer.transport.capabilities().remote;
        let worker = Worker::new(
            consumer.inbound,
            Arc::clone(&store),
            Arc::clone(&clock),
            stats.clone(),
            stop,
        );
        Self {
            context,
            takes_all: stays_here && store.capabilities().shared,
            store,
            transport: consumer.transport,
            clock,
            worker: Arc::new(worker),
            stats,
            assignment: Assignment::default(),
            intakes: HashMap::new(),
            intake_number: 0,
            arrivals,
            arrived,
            lanes: Lanes::new(options.lanes_max),
            parking: Parking::new(options.retries_max, options.poll_interval, Instant::now()),
            parking_is_full: false,
            next_count: Instant::now(),
            tasks: JoinSet::new(),
            busy: HashMap::new(),
            quiet_look: Quiet::default(),
            options,
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let leasing = Leasing::start(Arc::clone(&self.store), self.options.lease_request());
        let mut held = leasing.held();
        if self.takes_all {
            for partition in Partition::all(self.options.partitions)? {
                self.start_intake(partition, Duration::ZERO);
            }
        }
        while !shutdown.is_cancelled() {
            self.begin_work(&held);
            self.give_back_drained(&leasing);
            let wake_at = self.wake_at(&held);
            tokio::select! {
                () = shutdown.cancelled() => {}
                Ok(()) = held.changed() => self.take_over(&mut held),
                Some(arrival) = self.arrived.recv() => self.accept(arrival),
                Some(done) = self.tasks.join_next() => self.settle(done),
                () = sleep_until(wake_at) => {}
            }
        }
        let drained = self.drain().await;
        leasing.retire().await;
        drained
    }

    /// Begins what may begin now. Nothing begins under leases whose time is over.
    fn begin_work(&mut self, held: &watch::Receiver<Held>) {
        let valid = held.borrow().is_valid();
        let may_deliver = valid || self.takes_all;
        for (partition, intake) in &self.intakes {
            let takes = may_deliver && self.takes_from(*partition);
            intake.set_taking(takes && !self.parking_is_full);
        }
        if may_deliver {
            while let Some((id, arrival)) = self.lanes.start() {
                self.begin_delivery(id, arrival);
            }
        }
        let now = Instant::now();
        if valid && self.parking.look_at().is_some_and(|at| at <= now) {
            self.begin_look(now);
        }
    }

    fn takes_from(&self, partition: Partition) -> bool {
        self.takes_all || self.assignment.active(partition).is_some()
    }

    fn begin_delivery(&mut self, id: LaneId, arrival: Arrival) {
        let Arrival { intake, partition, delivery } = arrival;
        if !self.takes_all {
            *self.busy.entry(partition).or_default() += 1;
        }
        let lane = delivery.envelope().lane();
        let lane_is_parked = mamey_core::inject_fault!(
            "parked-key-unchecked",
            false,
            lane.as_ref().is_some_and(|lane| self.parking.is_parked(lane))
        );
        let worker = Arc::clone(&self.worker);
        self.tasks.spawn(async move {
            let (fate, released) = worker.deliver(delivery, lane_is_parked).await;
            Done::Delivered(Box::new(Delivered { id, lane, intake, partition, fate, released }))
        });
    }

    fn begin_look(&mut self, now: Instant) {
        let leases = self.assignment.all_active();
        if leases.is_empty() {
            return;
        }
        let partitions: Vec<_> = leases.into_iter().map(|lease| lease.partition).collect();
        let limit = u32::try_from(self.parking.begin_look(now)).unwrap_or(u32::MAX);
        let count = now >= self.next_count;
        if count {
            self.next_count = now + self.options.poll_interval;
        }
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        self.tasks.spawn(async move {
            let look = look(store.as_ref(), clock.as_ref(), &partitions, limit, count);
            Done::Looked(guarded(look).await)
        });
    }

    fn begin_retry(&mut self, message: ParkedMessage) {
        let slot = message.envelope.metadata.slot();
        let Ok(partition) = Partition::of_slot(slot, self.options.partitions) else {
            return;
        };
        *self.busy.entry(partition).or_default() += 1;
        let worker = Arc::clone(&self.worker);
        self.tasks.spawn(async move {
            let fate = worker.retry(&message).await;
            Done::Retried(Box::new(message), partition, fate)
        });
    }

    /// Takes in a message, unless its intake has ended: then the transport delivers it again.
    fn accept(&mut self, arrival: Arrival) {
        let intake = self.intakes.get(&arrival.partition);
        let current = intake.is_some_and(|intake| intake.number == arrival.intake);
        if current && self.takes_from(arrival.partition) {
            self.lanes.push(arrival.delivery.envelope().lane(), arrival);
        }
    }

    fn take_over(&mut self, held: &mut watch::Receiver<Held>) {
        let held = held.borrow_and_update().clone();
        let changes = self.assignment.update(&held.leases, held.surplus);
        if !self.takes_all {
            self.follow(&changes);
        }
        if changes != Default::default() {
            tracing::debug!(context = %self.context, ?changes, "the consumer's partitions changed");
        }
    }

    fn follow(&mut self, changes: &Changes) {
        for lease in &changes.lost {
            self.stop_intake(lease.partition);
        }
        for lease in &changes.draining {
            self.drop_waiting(lease.partition);
        }
        for lease in &changes.gained {
            self.start_intake(lease.partition, Duration::ZERO);
        }
    }

    fn start_intake(&mut self, partition: Partition, pause: Duration) {
        self.intake_number += 1;
        let source = Source {
            transport: Arc::clone(&self.transport),
            subscription: Subscription {
                context: self.context.clone(),
                partition,
                prefetch: self.options.prefetch,
            },
            arrivals: self.arrivals.clone(),
            stats: self.stats.clone(),
        };
        let intake = Intake::start(source, self.intake_number, pause);
        self.intakes.insert(partition, intake);
    }

    /// Ends the subscription first: what waits then goes back in its order, all at once.
    fn stop_intake(&mut self, partition: Partition) {
        self.intakes.remove(&partition);
        self.drop_waiting(partition);
    }

    fn drop_waiting(&mut self, partition: Partition) {
        let dropped = self.lanes.take_out(|arrival| arrival.partition == partition);
        self.stats.0.released.add(dropped.len() as u64);
    }

    fn give_back_drained(&mut self, leasing: &Leasing) {
        let busy = &self.busy;
        for lease in self.assignment.take_drained(|partition| busy.contains_key(&partition)) {
            if !self.takes_all {
                self.stop_intake(lease.partition);
            }
            leasing.release(lease);
        }
    }

    fn settle(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Delivered(delivered)) => self.settle_delivered(*delivered),
            Ok(Done::Retried(message, partition, fate)) => {
                self.unbusy(partition);
                let id = message.envelope.metadata.id;
                self.parking.finished(Instant::now(), id, &fate);
                if matches!(fate, Fate::Handled | Fate::Duplicate | Fate::DeadLettered)
                    && let Some(lane) = message.envelope.lane()
                {
                    self.parking.forget_lane(&lane);
                }
            }
            Ok(Done::Looked(Ok(look))) => self.settle_look(look),
            Ok(Done::Looked(Err(error))) => {
                self.parking.look_failed();
                self.stats.0.store_failures.increment();
                if let Some(held_back) = self.quiet_look.report() {
                    let context = &self.context;
                    tracing::error!(%context, %error, held_back, "parking could not be read");
                }
            }
            // Panics are caught in the tasks and nothing aborts them, so there is none of these.
            Err(cause) => {
                tracing::error!(%cause, "a task of the consumer ended without an outcome");
            }
        }
    }

    fn settle_delivered(&mut self, delivered: Delivered) {
        let Delivered { id, lane, intake, partition, fate, released } = delivered;
        if !self.takes_all {
            self.unbusy(partition);
        }
        self.parking.learn(Instant::now(), lane, &fate);
        let current = self.intakes.get(&partition).map(|intake| intake.number);
        if released.is_some() && current == Some(intake) {
            // Giving back one message while later ones of its lane wait here would change their
            // order: the whole partition goes back, and is taken from anew.
            self.stop_intake(partition);
            if self.takes_from(partition) {
                self.start_intake(partition, RELEASE_PAUSE);
            }
        }
        drop(released);
        self.lanes.finish(id);
    }

    fn settle_look(&mut self, look: Look) {
        if let Some(parked) = look.parked {
            self.set_full(parked);
        }
        let picked = self.parking.end_look(Instant::now(), look.due, look.next_due_in);
        for message in picked {
            self.begin_retry(message);
        }
    }

    fn set_full(&mut self, parked: u64) {
        let full = parked >= self.options.parked_messages_max;
        let before = std::mem::replace(&mut self.parking_is_full, full);
        let context = &self.context;
        match (before, full) {
            (false, true) => tracing::error!(
                %context, parked,
                "too many messages are parked (`parked_messages_max`): nothing is taken from the \
                 transport until there are fewer"
            ),
            (true, false) => {
                tracing::info!(%context, parked, "messages are taken from the transport again");
            }
            _ => {}
        }
    }

    fn unbusy(&mut self, partition: Partition) {
        if let Some(count) = self.busy.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&partition);
            }
        }
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self, held: &watch::Receiver<Held>) -> Instant {
        let (now, valid_until) = (Instant::now(), held.borrow().valid_until);
        let idle = now + self.options.poll_interval;
        if valid_until <= now || self.assignment.all_active().is_empty() {
            return idle;
        }
        let looks = self.parking.look_at().into_iter();
        looks.chain([valid_until]).fold(idle, Instant::min)
    }

    /// Gives back what waits and awaits what runs, within the time for it.
    async fn drain(&mut self) -> Result<()> {
        for intake in self.intakes.values() {
            intake.set_taking(false);
        }
        // Nothing is subscribed to anew from here on.
        self.assignment = Assignment::default();
        self.takes_all = false;
        let waiting = self.lanes.take_out(|_| true);
        self.stats.0.released.add(waiting.len() as u64);
        drop(waiting);
        let end = Instant::now() + self.options.drain_max;
        while let Ok(Some(done)) = tokio::time::timeout_at(end, self.tasks.join_next()).await {
            if let Ok(Done::Looked(_)) = done {
                continue;
            }
            self.settle(done);
        }
        let running = self.tasks.len();
        // Cut off in the middle, a handler has either committed or not; the inbox knows.
        self.tasks.shutdown().await;
        self.intakes.clear();
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

async fn look(
    store: &dyn Store,
    clock: &dyn Clock,
    partitions: &[Partition],
    limit: u32,
    count: bool,
) -> Result<Look> {
    let now = clock.now();
    let due = store.due_parked(partitions, now, limit).await?;
    let next_due = store.next_due(partitions).await?;
    let parked = match count {
        true => Some(store.parked_count().await?),
        false => None,
    };
    Ok(Look { due, next_due_in: next_due.map(|due| due.duration_since(now)), parked })
}
