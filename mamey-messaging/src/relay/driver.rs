//! Drives a relay: turns what the window plans into calls, and tells the window how they ended.

use std::fmt;
use std::sync::Arc;

use mamey_core::message::Partition;
use mamey_core::store::{OutboxPage, Store};
use mamey_core::transport::Publisher;
use mamey_core::{Error, LogThrottle, Result, Retry};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::lane::LaneId;
use super::lanes::Start;
use super::options::RelayOptions;
use super::publishing::{Published, Publishing};
use super::reads::ReadPlan;
use super::store_calls::{Done, StoreCalls};
use super::suspects::Suspects;
use super::window::{Limits, Window};
use crate::leases::{Assignment, Held, LeaseKeeper};
use crate::stats::RelayStats;

/// How many records are deleted in one call.
const DELETED_PER_CALL_MAX: usize = 1024;

pub(super) struct Driver {
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    options: RelayOptions,
    window: Window,
    assignment: Assignment,
    calls: StoreCalls,
    publishing: Publishing,
    suspects: Suspects,
    /// There may be records to read.
    dirty: bool,
    next_poll: Instant,
    next_sweep: Instant,
    throttle: LogThrottle,
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
            bytes_max: options.held_bytes_max,
            blocked_max: options.blocked_keys_max,
        });
        Self {
            calls: StoreCalls::new(Arc::clone(&store), stats.clone(), options.context.clone()),
            publishing: Publishing::new(stats),
            suspects: Suspects::new(options.held_records_max),
            store,
            publisher,
            window,
            assignment: Assignment::default(),
            dirty: true,
            next_poll: now + options.poll,
            next_sweep: now + options.sweep,
            throttle: LogThrottle::default(),
            options,
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        self.options.check()?;
        let keeper = LeaseKeeper::start(Arc::clone(&self.store), self.options.lease_request());
        let mut held = keeper.held();
        let hints = Arc::clone(&self.store);
        while !shutdown.is_cancelled() {
            self.begin_work(&held);
            for lease in self.assignment.take_drained(|it| self.window.is_busy(it)) {
                keeper.release(lease);
            }
            let wake_at = self.wake_at();
            tokio::select! {
                () = shutdown.cancelled() => {}
                Ok(()) = held.changed() => self.take_over(&mut held),
                Some(done) = self.calls.next() => self.end_call(done),
                Some(published) = self.publishing.next() => self.end_publishes(published),
                () = hints.outbox_changed() => self.dirty = true,
                () = sleep_until(wake_at) => self.wake(),
            }
        }
        let drained = self.drain().await;
        keeper.retire().await;
        drained
    }

    /// Begins everything that may begin now.
    fn begin_work(&mut self, held: &watch::Receiver<Held>) {
        self.begin_deletion();
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
                (start.lease, start.record.id())
            ),
            publisher
        );
        let suspect = self.suspects.contain(&start);
        self.publishing.begin(publisher, start, suspect);
    }

    fn begin_read(&mut self) {
        if !self.dirty && !self.window.is_behind() {
            return;
        }
        let leases = self.assignment.all_active();
        if leases.is_empty() || !self.calls.may_read() {
            return;
        }
        if let Some(plan) = self.window.plan_read() {
            self.dirty = false;
            self.calls.read(leases, plan);
        }
    }

    /// One deletion at a time: what is confirmed meanwhile is deleted by the next.
    fn begin_deletion(&mut self) {
        if !self.calls.may_delete(self.window.to_delete()) {
            return;
        }
        let current = |partition| self.assignment.active(partition);
        if let Some(records) = self.window.plan_deletion(DELETED_PER_CALL_MAX, current) {
            self.calls.delete(records);
        }
    }

    fn take_over(&mut self, held: &mut watch::Receiver<Held>) {
        let held = held.borrow_and_update().clone();
        let changes = self.assignment.update(&held.leases, held.surplus);
        for lease in changes.lost.iter().chain(&changes.draining) {
            self.window.drop_partition(lease.partition);
            self.suspects.lost(lease.partition);
        }
        for lease in &changes.gained {
            self.window.gained_partition(lease.partition);
            if held.abandoned.contains(&lease.partition) {
                self.suspects.took_over(lease.partition);
            }
        }
        if changes != Default::default() {
            tracing::debug!(?changes, "the relay's partitions changed");
        }
    }

    /// Takes all publishes that have ended by now, so that what follows is planned at once.
    fn end_publishes(&mut self, first: Published) {
        let mut next = Some(first);
        while let Some(published) = next {
            self.end_publish(published);
            next = self.publishing.next_ended();
        }
    }

    fn end_publish(&mut self, (start, published): Published) {
        match published {
            Ok(routed) => {
                mamey_core::failpoint!("after-publish-before-delete");
                self.publishing.count_confirmed(&start.record, routed);
                self.window.confirmed(start.lane, start.lease, start.record.id());
            }
            Err(error) => {
                self.publishing.report_failure(&start.record, &error);
                let due = self.due_after_failure(&start.lane, &error);
                let lease = self.assignment.active(start.lease.partition);
                self.window.failed(start, due, lease);
            }
        }
    }

    fn due_after_failure(&self, lane: &LaneId, error: &Error) -> Instant {
        let earlier = match error.retry() {
            // Only a person can fix it, so frequent retries are useless.
            Retry::Never => u32::MAX,
            _ => self.window.failures(lane),
        };
        Instant::now() + self.options.backoff.delay(earlier, fastrand::f64())
    }

    fn end_call(&mut self, done: Done) {
        match done {
            Done::Read(plan, Ok(page)) => self.absorb(&plan, page),
            Done::Read(plan, Err(error)) => {
                self.window.read_failed(&plan);
                self.calls.read_failed(&error);
                self.dirty = true;
            }
            Done::Deleted(Ok(count)) => {
                self.window.deleted(count);
                self.calls.deleted(count);
            }
            Done::Swept(mark, answer) => {
                let complete_to = self.calls.swept(answer);
                self.window.sweep(mark, complete_to);
            }
            Done::Deleted(Err(error)) => {
                self.window.deletion_failed();
                self.calls.deletion_failed(&error);
                self.dirty = true;
            }
        }
    }

    fn absorb(&mut self, plan: &ReadPlan, page: OutboxPage) {
        self.calls.report_unreadable(&page.unreadable);
        self.suspects.read(page.place, page.last());
        let (assignment, partitions) = (&self.assignment, self.options.partitions);
        let lease_of = |slot| assignment.active(Partition::of_slot(slot, partitions).ok()?);
        self.dirty |= self.window.absorb(plan, page, lease_of);
        if self.window.is_full_of_blocked()
            && let Some(suppressed) = self.throttle.admit(Instant::now().into_std())
        {
            let max = self.options.blocked_keys_max;
            tracing::error!(
                suppressed,
                "{max} keys wait for messages that cannot be published or read, so no other keys \
                 are read; fix their routes, or raise `blocked_keys_max`"
            );
        }
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self) -> Instant {
        let next = self.next_poll.min(self.next_sweep);
        self.calls.pauses().chain(self.window.next_due()).fold(next, Instant::min)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        self.window.unblock_due(now);
        if now >= self.next_poll {
            self.next_poll = now + self.options.poll;
            self.dirty = true;
            self.window.tick();
        }
        if now >= self.next_sweep {
            self.next_sweep = now + self.options.sweep;
            self.calls.sweep(self.window.mark());
        }
    }

    /// Awaits what is in flight and deletes what is confirmed, for at most the drain time.
    async fn drain(&mut self) -> Result<()> {
        let end = Instant::now() + self.options.drain;
        loop {
            self.begin_deletion();
            if self.window.is_drained() {
                return Ok(());
            }
            let wake_at = self.wake_at().min(end);
            tokio::select! {
                Some(done) = self.calls.next() => self.end_call(done),
                Some(published) = self.publishing.next() => self.end_publishes(published),
                () = sleep_until(wake_at) => self.wake(),
            }
            if Instant::now() >= end {
                break;
            }
        }
        self.publishing.clear();
        self.calls.shutdown().await;
        tracing::warn!("shut down before all messages in flight were confirmed");
        Err(Error::timed_out("messages in flight were not confirmed before the shutdown"))
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("options", &self.options)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
