//! Drives a relay: turns what the window plans into calls, and tells the window how they ended.

use std::fmt;
use std::sync::Arc;

use mamey_core::message::Partition;
use mamey_core::store::{
    Becomes, FailedRecord, Lease, OutboxPage, Stalled, StalledPage, Store, UnreadableRecord,
};
use mamey_core::transport::Publisher;
use mamey_core::{Error, LogThrottle, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::given_up::GivenUpLog;
use super::lanes::Start;
use super::options::RelayOptions;
use super::publishing::{Published, Publishing};
use super::reads::ReadPlan;
use super::stalls::StalledPlan;
use super::store_calls::{Done, StoreCalls};
use super::tried::{Next, Others, Policy, Tried};
use super::window::{Limits, Window};
use crate::leases::{Assignment, Held, LeaseKeeper};
use crate::stats::RelayStats;

/// How many records are deleted in one call.
const DELETED_PER_CALL_MAX: usize = 1024;

/// How many failures are recorded in one call.
const RECORDED_PER_CALL_MAX: usize = 1024;

pub(super) struct Driver {
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    options: RelayOptions,
    window: Window,
    assignment: Assignment,
    calls: StoreCalls,
    publishing: Publishing,
    policy: Policy,
    stats: RelayStats,
    /// When a message was confirmed last.
    confirmed: Option<Instant>,
    /// There may be records to read.
    dirty: bool,
    next_poll: Instant,
    next_sweep: Instant,
    throttle: LogThrottle,
    given_up: GivenUpLog,
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
            publishing: Publishing::new(stats.clone()),
            policy: Policy { backoff: options.backoff, unroutable_for: options.unroutable_for },
            stats,
            confirmed: None,
            given_up: GivenUpLog::default(),
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
        self.begin_recording();
        if !held.borrow().is_valid() {
            return;
        }
        self.begin_reads();
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
        self.publishing.begin(publisher, start);
    }

    fn begin_reads(&mut self) {
        let leases = self.assignment.all_active();
        if leases.is_empty() || !self.calls.may_read() {
            return;
        }
        if let Some(plan) = self.window.plan_stalled(&leases) {
            self.calls.read_stalled(plan);
        }
        if let Some(plan) = self.window.plan_read(self.dirty) {
            self.dirty &= plan.only.is_some();
            self.calls.read(leases, plan);
        }
        if self.window.is_spread() && self.calls.may_follow() {
            self.calls.ask_complete(self.window.mark(), false);
        }
    }

    /// One call at a time: what fails meanwhile is recorded by the next.
    fn begin_recording(&mut self) {
        if !self.calls.may_record() {
            return;
        }
        let current = |partition| self.assignment.active(partition);
        if let Some(failed) = self.window.plan_recording(RECORDED_PER_CALL_MAX, current) {
            self.calls.record(failed);
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
        }
        for lease in &changes.gained {
            self.window.gained_partition(lease.partition);
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
                self.confirmed = Some(Instant::now());
                self.publishing.count_confirmed(&start.record, routed);
                self.window.confirmed(start.lane, start.lease, start.record.id());
            }
            Err(error) => self.end_failed(start, &error),
        }
    }

    fn end_failed(&mut self, start: Start, error: &Error) {
        let now = Instant::now();
        let tried = self.window.tried(&start.lane).again(now);
        let others = Others { confirmed: self.confirmed, are_crowded: self.window.is_crowded() };
        let next =
            self.policy.next(start.record.id(), tried, error, others, (now, fastrand::f64()));
        let mut is_given_up = false;
        if let Next::Record(failed) = &next
            && let Becomes::Undelivered { reason } = failed.becomes
        {
            is_given_up = true;
            let metadata = &start.record.envelope.metadata;
            self.given_up.report(self.options.context.as_ref(), Some(metadata), failed, reason);
        }
        self.publishing.report_failure(&start.record, error, is_given_up);
        let lease = self.assignment.active(start.lease.partition);
        self.window.failed(start, tried, next, lease);
    }

    fn end_call(&mut self, done: Done) {
        match done {
            Done::Read(plan, Ok(page)) => self.absorb(&plan, page),
            Done::Read(plan, Err(error)) => {
                self.window.read_failed(&plan);
                self.calls.read_failed(&error);
                self.dirty = true;
            }
            Done::Stalled(plan, Ok(page)) => self.absorb_stalled(&plan, page),
            Done::Stalled(_, Err(error)) => {
                self.window.stalled_failed(Instant::now());
                self.calls.read_failed(&error);
            }
            Done::Deleted(Ok(count)) => {
                self.window.deleted(count);
                self.calls.deleted(count);
            }
            Done::Deleted(Err(error)) => {
                self.window.deletion_failed();
                self.calls.deletion_failed(&error);
                self.dirty = true;
            }
            Done::Recorded(Ok(count)) => self.end_recording(count),
            Done::Recorded(Err(error)) => {
                self.window.recording_failed();
                self.calls.recording_failed(&error);
            }
            Done::Complete(mark, true, answer) => {
                let complete_to = self.calls.complete(answer);
                self.window.sweep(mark, complete_to);
            }
            Done::Complete(mark, false, answer) => {
                let complete_to = self.calls.complete(answer);
                self.dirty |= self.window.follow(mark, complete_to);
            }
        }
    }

    fn end_recording(&mut self, count: u64) {
        let recorded = self.window.recorded(count, Instant::now());
        let given_up =
            |failed: &&FailedRecord| matches!(failed.becomes, Becomes::Undelivered { .. });
        self.stats.0.given_up.add(recorded.iter().filter(given_up).count() as u64);
    }

    fn absorb(&mut self, plan: &ReadPlan, page: OutboxPage) {
        self.calls.report_unreadable(&page.unreadable);
        let (policy, now) = (self.policy, Instant::now());
        let unreadable = |row: &UnreadableRecord| {
            let tried = Tried::NEVER.again(now);
            policy.unreadable(row.id, tried, &row.why, (now, fastrand::f64()))
        };
        let lease_of = lease_of(&self.assignment, self.options.partitions);
        self.dirty |= self.window.absorb(plan, page, lease_of, unreadable);
        if self.window.is_full_of_blocked()
            && let Some(suppressed) = self.throttle.admit(Instant::now().into_std())
        {
            let max = self.options.blocked_keys_max;
            tracing::error!(
                suppressed,
                "{max} keys wait for messages that cannot be published, and nothing else can; nothing \
                 more is read until some are"
            );
        }
    }

    fn absorb_stalled(&mut self, plan: &StalledPlan, page: StalledPage) {
        self.calls.report_unreadable(page.unreadable.iter().map(|stalled| &stalled.record));
        let (policy, now) = (self.policy, Instant::now());
        let unreadable = |stalled: &Stalled<UnreadableRecord>| {
            let (row, attempts) = (&stalled.record, stalled.attempts);
            let tried = Tried::stalled(attempts, stalled.waited, now).again(now);
            policy.unreadable(row.id, tried, &row.why, (now, fastrand::f64()))
        };
        for stalled in &page.unreadable {
            let failed = unreadable(stalled);
            if let Becomes::Undelivered { reason } = failed.becomes {
                self.given_up.report(self.options.context.as_ref(), None, &failed, reason);
            }
        }
        let lease_of = lease_of(&self.assignment, self.options.partitions);
        self.window.absorb_stalled(plan, page, now, lease_of, unreadable);
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self) -> Instant {
        let next = self.next_poll.min(self.next_sweep);
        self.calls.pauses().chain(self.window.next_due()).fold(next, Instant::min)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        self.window.wake(now);
        if now >= self.next_poll {
            self.next_poll = now + self.options.poll;
            self.dirty = true;
            self.window.tick();
        }
        if now >= self.next_sweep {
            // While such a call is under way, the sweep waits for the next poll.
            let asks = self.calls.ask_complete(self.window.mark(), true);
            self.next_sweep = now + if asks { self.options.sweep } else { self.options.poll };
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

/// The lease under which a record of a slot may be published now.
fn lease_of(assignment: &Assignment, partitions: u16) -> impl Fn(u16) -> Option<Lease> {
    move |slot| assignment.active(Partition::of_slot(slot, partitions).ok()?)
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("options", &self.options)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
