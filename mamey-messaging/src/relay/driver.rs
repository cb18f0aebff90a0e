//! Drives a relay: turns what the window plans into calls, and their outcomes into its changes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use mamey_core::message::Partition;
use mamey_core::store::{OutboxRead, OutboxRecord, Store};
use mamey_core::transport::{Publisher, Routed};
use mamey_core::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::options::RelayOptions;
use super::window::{LaneId, Limits, ReadPlan, Start, Window};
use crate::guard::guarded;
use crate::leases::{Assignment, Held, Leasing};
use crate::quiet::Quiet;
use crate::stats::RelayStats;

/// How many records are deleted in one call.
const CONFIRMED_PER_CALL_MAX: usize = 1024;

/// The pause between two deletions of confirmed records, which then take more at once. Nobody waits
/// for them.
const CONFIRM_PAUSE: Duration = Duration::from_millis(10);

/// How many confirmed records do not wait for that pause.
const CONFIRMED_AT_ONCE: usize = 128;

/// The pause after a call to the store that failed.
const STORE_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Driver {
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    options: RelayOptions,
    stats: RelayStats,
    window: Window,
    assignment: Assignment,
    /// Calls of the store, beside this task.
    calls: JoinSet<Done>,
    /// Messages on their way, within this task: a task for each would cost more than most take.
    publishing: FuturesUnordered<BoxFuture<'static, Published>>,
    /// There may be records to read.
    dirty: bool,
    read_not_before: Instant,
    confirm_not_before: Instant,
    confirm_pause_ends: Instant,
    next_poll: Instant,
    next_sweep: Instant,
    quiet_publish: Quiet,
    quiet_store: Quiet,
    quiet_full: Quiet,
}

/// What became of a message.
type Published = (Start, Result<Routed>);

/// The outcome of a call of the store.
enum Done {
    Read(ReadPlan, Result<Vec<OutboxRecord>>),
    Confirmed(Result<u64>),
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("options", &self.options)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

impl Driver {
    pub(super) fn new(
        store: Arc<dyn Store>,
        publisher: Arc<dyn Publisher>,
        options: RelayOptions,
        stats: RelayStats,
    ) -> Self {
        let now = Instant::now();
        let window = Window::new(Limits {
            in_flight_max: options.in_flight_max,
            held_max: options.held_records_max,
            blocked_max: options.blocked_keys_max,
        });
        Self {
            store,
            publisher,
            window,
            assignment: Assignment::default(),
            calls: JoinSet::new(),
            publishing: FuturesUnordered::new(),
            dirty: true,
            read_not_before: now,
            confirm_not_before: now,
            confirm_pause_ends: now,
            next_poll: now + options.poll_interval,
            next_sweep: now + options.sweep_interval,
            quiet_publish: Quiet::default(),
            quiet_store: Quiet::default(),
            quiet_full: Quiet::default(),
            options,
            stats,
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        self.options.check()?;
        let leasing = Leasing::start(Arc::clone(&self.store), self.options.lease_request());
        let mut held = leasing.held();
        let hints = Arc::clone(&self.store);
        while !shutdown.is_cancelled() {
            self.begin_calls(&held);
            for lease in self.assignment.take_drained(|it| self.window.is_busy(it)) {
                leasing.release(lease);
            }
            let wake_at = self.wake_at();
            tokio::select! {
                () = shutdown.cancelled() => {}
                Ok(()) = held.changed() => self.take_over(&mut held),
                Some(done) = self.calls.join_next() => self.settle(done),
                Some(published) = self.publishing.next() => self.settle_published(published),
                () = hints.outbox_changed() => self.dirty = true,
                () = sleep_until(wake_at) => self.wake(),
            }
        }
        let drained = self.drain().await;
        leasing.retire().await;
        drained
    }

    /// Begins all calls that may begin now.
    fn begin_calls(&mut self, held: &watch::Receiver<Held>) {
        self.begin_confirm();
        if !held.borrow().is_valid() {
            return;
        }
        self.begin_read();
        // Checked before each: beginning many takes time, and a lease may end meanwhile.
        while held.borrow().is_valid() {
            let Some(start) = self.window.start() else {
                break;
            };
            self.begin_publish(start);
        }
    }

    fn begin_publish(&mut self, start: Start) {
        mamey_core::failpoint!("after-commit-before-publish");
        let publisher = Arc::clone(&self.publisher);
        let publisher = mamey_core::inject_fault!(
            "delete-before-confirm",
            mamey_core::failpoint::deleting_first(
                &self.store,
                publisher,
                (start.lease, start.record.sequence)
            ),
            publisher
        );
        self.publishing.push(Box::pin(async move {
            let published = guarded(publisher.publish(&start.record.envelope)).await;
            (start, published)
        }));
    }

    fn begin_read(&mut self) {
        if !self.dirty && !self.window.is_behind() {
            return;
        }
        let leases = self.assignment.all_active();
        if leases.is_empty() || Instant::now() < self.read_not_before {
            return;
        }
        let Some(plan) = self.window.plan_read() else {
            return;
        };
        self.dirty = false;
        let store = Arc::clone(&self.store);
        self.calls.spawn(async move {
            let read = OutboxRead {
                leases: &leases,
                after: plan.after,
                skip: &plan.skip,
                held: &plan.held,
                limit: u32::try_from(plan.limit).unwrap_or(u32::MAX),
            };
            let records = guarded(store.read_outbox(read)).await;
            Done::Read(plan, records)
        });
    }

    /// One call at a time: what is confirmed meanwhile goes together with the next.
    fn begin_confirm(&mut self) {
        let now = Instant::now();
        let few = self.window.to_confirm() < CONFIRMED_AT_ONCE;
        if now < self.confirm_not_before || (few && now < self.confirm_pause_ends) {
            return;
        }
        let current = |partition| self.assignment.active(partition);
        let planned = self.window.plan_confirm(CONFIRMED_PER_CALL_MAX, current);
        let Some(records) = planned else {
            return;
        };
        let store = Arc::clone(&self.store);
        self.calls
            .spawn(async move { Done::Confirmed(guarded(store.delete_published(&records)).await) });
    }

    fn take_over(&mut self, held: &mut watch::Receiver<Held>) {
        let held = held.borrow_and_update().clone();
        let changes = self.assignment.update(&held.leases, held.surplus);
        for lease in changes.lost.iter().chain(&changes.draining) {
            self.window.drop_partition(lease.partition);
        }
        for lease in &changes.gained {
            self.window.gained_partition(lease.partition);
        }
        if changes != Default::default() {
            tracing::debug!(?changes, "the relay's partitions changed");
        }
    }

    /// With all others that have come by now: what follows is planned for all at once.
    fn settle_published(&mut self, first: Published) {
        let mut next = Some(first);
        while let Some(published) = next {
            self.settle_one_published(published);
            next = self.publishing.next().now_or_never().flatten();
        }
    }

    fn settle_one_published(&mut self, (start, published): Published) {
        match published {
            Ok(routed) => {
                mamey_core::failpoint!("after-publish-before-delete");
                self.count_published(&start.record, routed);
                let sequence = start.record.sequence;
                self.window.published(start.lane, start.lease, sequence);
            }
            Err(error) => {
                self.report_failed_publish(&start.record, &error);
                let due = self.due_after_failure(&start.lane, &error);
                let lease = self.assignment.active(start.lease.partition);
                self.window.failed(start, due, lease);
            }
        }
    }

    fn settle(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Read(plan, Ok(records))) => self.absorb(&plan, records),
            Ok(Done::Read(plan, Err(error))) => {
                self.window.read_failed(&plan);
                self.read_not_before = self.after_store_failure(&error);
            }
            Ok(Done::Confirmed(Ok(count))) => {
                self.stats.0.confirmed.add(count);
                self.window.confirmed(count);
                self.confirm_pause_ends = Instant::now() + CONFIRM_PAUSE;
            }
            Ok(Done::Confirmed(Err(error))) => {
                self.window.confirm_failed();
                self.confirm_not_before = self.after_store_failure(&error);
            }
            // Panics are caught in the calls and nothing aborts them, so there is none of these.
            Err(cause) => tracing::error!(%cause, "a call of the relay ended without an outcome"),
        }
    }

    fn absorb(&mut self, plan: &ReadPlan, records: Vec<OutboxRecord>) {
        let (assignment, partitions) = (&self.assignment, self.options.partitions);
        let lease_of = |record: &OutboxRecord| {
            let slot = record.envelope.metadata.slot();
            assignment.active(Partition::of_slot(slot, partitions).ok()?)
        };
        self.dirty |= self.window.absorb(plan, records, lease_of);
        if self.window.is_full_of_blocked()
            && let Some(held_back) = self.quiet_full.report()
        {
            let max = self.options.blocked_keys_max;
            tracing::error!(
                held_back,
                "{max} keys wait for messages that cannot be published, so no other keys are \
                 begun; mend their routes, or raise `blocked_keys_max`"
            );
        }
    }

    fn count_published(&self, record: &OutboxRecord, routed: Routed) {
        let counters = &self.stats.0;
        match routed {
            Routed::Delivered => counters.published.increment(),
            Routed::NoSubscriber => {
                counters.no_subscriber.increment();
                let metadata = &record.envelope.metadata;
                tracing::debug!(message = %metadata.name, id = %metadata.id, "no subscriber");
            }
        }
    }

    fn report_failed_publish(&mut self, record: &OutboxRecord, error: &Error) {
        let counters = &self.stats.0;
        counters.failed.increment();
        if error.kind() == ErrorKind::Unroutable {
            counters.unroutable.increment();
        }
        if let Some(held_back) = self.quiet_publish.report() {
            let metadata = &record.envelope.metadata;
            tracing::error!(
                message = %metadata.name, id = %metadata.id, %error, held_back,
                "a message could not be published; it stays in the outbox and is tried again"
            );
        }
    }

    fn due_after_failure(&self, lane: &LaneId, error: &Error) -> Instant {
        let backoff = &self.options.backoff;
        let earlier = match error.retry() {
            // Only a person can mend it: no use in trying often.
            mamey_core::Retry::Never => u32::MAX,
            _ => self.window.failures(lane),
        };
        Instant::now() + backoff.delay(earlier, fastrand::f64())
    }

    fn after_store_failure(&mut self, error: &Error) -> Instant {
        self.stats.0.store_failures.increment();
        self.dirty = true;
        if let Some(held_back) = self.quiet_store.report() {
            tracing::error!(%error, held_back, "the relay's store failed; it is tried again");
        }
        Instant::now() + STORE_PAUSE
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let pauses = [self.read_not_before, self.confirm_not_before, self.confirm_pause_ends];
        let pauses = pauses.into_iter().filter(|pause| *pause > now);
        let next = self.next_poll.min(self.next_sweep);
        pauses.chain(self.window.next_due()).fold(next, Instant::min)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        self.window.unblock_due(now);
        if now >= self.next_poll {
            self.next_poll = now + self.options.poll_interval;
            self.dirty = true;
            self.window.tick();
        }
        if now >= self.next_sweep {
            self.next_sweep = now + self.options.sweep_interval;
            self.window.sweep();
        }
    }

    /// Awaits what is on its way and deletes what was confirmed, within the time for it.
    async fn drain(&mut self) -> Result<()> {
        let end = Instant::now() + self.options.drain_max;
        loop {
            self.begin_confirm();
            if self.window.is_settled() {
                return Ok(());
            }
            let wake_at = self.wake_at().min(end);
            tokio::select! {
                Some(done) = self.calls.join_next() => self.settle(done),
                Some(published) = self.publishing.next() => self.settle_published(published),
                () = sleep_until(wake_at) => self.wake(),
            }
            if Instant::now() >= end {
                break;
            }
        }
        self.publishing.clear();
        self.calls.shutdown().await;
        tracing::warn!("shut down before all messages on their way were confirmed");
        Err(Error::timed_out("messages on their way were not confirmed before the shutdown"))
    }
}
