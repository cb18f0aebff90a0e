//! Reads and deletes outbox records beside the relay's task, with pauses between the calls.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::{ContextName, Key};
use mamey_core::store::{
    FailedRecord, Lease, OutboxPage, OutboxRead, RecordId, StalledPage, StalledRead, Store,
    UnreadableRecord,
};
use mamey_core::{Error, LogThrottle, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::reads::ReadPlan;
use super::stalls::StalledPlan;
use super::window::Mark;
use crate::guard::guarded;
use crate::reported::Reported;
use crate::stats::RelayStats;

/// The pause after a deletion, so that the next one takes more records at once. Nobody waits for
/// them to be deleted.
const DELETION_PAUSE: Duration = Duration::from_millis(10);

/// This many confirmed records are deleted without that pause.
const DELETED_AT_ONCE: usize = 128;

/// The pause between two questions up to where the outbox is complete.
const FOLLOWING_PAUSE: Duration = Duration::from_millis(250);

/// The pause after a failed call.
const FAILURE_PAUSE: Duration = Duration::from_millis(200);

/// The calls that are under way.
pub(super) struct StoreCalls {
    store: Arc<dyn Store>,
    stats: RelayStats,
    context: Option<ContextName>,
    under_way: JoinSet<Done>,
    asks_complete: bool,
    read_not_before: Instant,
    delete_not_before: Instant,
    record_not_before: Instant,
    follow_not_before: Instant,
    deletion_pause_ends: Instant,
    throttle: LogThrottle,
    reported: Reported<RecordId>,
}

/// How a call ended.
pub(super) enum Done {
    Read(ReadPlan, Result<OutboxPage>),
    Stalled(StalledPlan, Result<StalledPage>),
    Deleted(Result<u64>),
    Recorded(Result<u64>),
    /// Up to where the outbox is complete, and whether it is to be swept.
    Complete(Mark, bool, Result<u64>),
}

impl StoreCalls {
    pub(super) fn new(
        store: Arc<dyn Store>,
        stats: RelayStats,
        context: Option<ContextName>,
    ) -> Self {
        let now = Instant::now();
        Self {
            store,
            stats,
            context,
            under_way: JoinSet::new(),
            asks_complete: false,
            read_not_before: now,
            delete_not_before: now,
            record_not_before: now,
            follow_not_before: now,
            deletion_pause_ends: now,
            throttle: LogThrottle::default(),
            reported: Reported::default(),
        }
    }

    pub(super) fn may_read(&self) -> bool {
        Instant::now() >= self.read_not_before
    }

    pub(super) fn read(&mut self, leases: Vec<Lease>, plan: ReadPlan) {
        let store = Arc::clone(&self.store);
        self.under_way.spawn(async move {
            let read = OutboxRead::new(&leases, u32::try_from(plan.limit).unwrap_or(u32::MAX))
                .with_after(plan.after)
                .with_skip(&plan.skip)
                .with_only(plan.only.as_deref())
                .with_held(&plan.held)
                .with_bytes_max(plan.bytes_max);
            let page = guarded(store.read_outbox(read)).await;
            Done::Read(plan, page)
        });
    }

    pub(super) fn read_stalled(&mut self, plan: StalledPlan) {
        let store = Arc::clone(&self.store);
        self.under_way.spawn(async move {
            let limit = u32::try_from(plan.limit).unwrap_or(u32::MAX);
            let read = StalledRead::new(&plan.leases, limit)
                .with_held(&plan.held)
                .with_bytes_max(plan.bytes_max);
            let page = guarded(store.due_stalled(read)).await;
            Done::Stalled(plan, page)
        });
    }

    pub(super) fn may_record(&self) -> bool {
        Instant::now() >= self.record_not_before
    }

    pub(super) fn record(&mut self, failed: Vec<(Lease, FailedRecord)>) {
        let store = Arc::clone(&self.store);
        self.under_way
            .spawn(async move { Done::Recorded(guarded(store.record_failures(&failed)).await) });
    }

    /// Whether to delete now, while `confirmed` records wait for it.
    pub(super) fn may_delete(&self, confirmed: usize) -> bool {
        let now = Instant::now();
        let pauses = confirmed < DELETED_AT_ONCE && now < self.deletion_pause_ends;
        now >= self.delete_not_before && !pauses
    }

    pub(super) fn delete(&mut self, records: Vec<(Lease, RecordId)>) {
        let store = Arc::clone(&self.store);
        self.under_way
            .spawn(async move { Done::Deleted(guarded(store.delete_published(&records)).await) });
    }

    /// Whether it may be asked now up to where the outbox is complete, to follow it.
    pub(super) fn may_follow(&self) -> bool {
        !self.asks_complete && Instant::now() >= self.follow_not_before
    }

    /// Asks up to where the outbox is complete, and returns whether it does: not while another such call
    /// is under way.
    pub(super) fn ask_complete(&mut self, mark: Mark, sweeps: bool) -> bool {
        if self.asks_complete {
            return false;
        }
        self.asks_complete = true;
        let store = Arc::clone(&self.store);
        self.under_way.spawn(async move {
            let answer = guarded(store.outbox_complete_to(mark.read_to)).await;
            Done::Complete(mark, sweeps, answer)
        });
        true
    }

    /// Ends such a call, and returns what it answered.
    pub(super) fn complete(&mut self, answer: Result<u64>) -> Option<u64> {
        self.asks_complete = false;
        self.follow_not_before = Instant::now() + FOLLOWING_PAUSE;
        answer.inspect_err(|error| self.report_failure(error)).ok()
    }

    /// The next call that ends; `None` while none is under way.
    pub(super) async fn next(&mut self) -> Option<Done> {
        loop {
            match self.under_way.join_next().await? {
                Ok(done) => return Some(done),
                // Panics are caught within the calls and nothing aborts them.
                Err(cause) => tracing::error!(%cause, "a call of the relay ended without a result"),
            }
        }
    }

    pub(super) fn read_failed(&mut self, error: &Error) {
        self.report_failure(error);
        self.read_not_before = Instant::now() + FAILURE_PAUSE;
    }

    pub(super) fn deleted(&mut self, count: u64) {
        self.stats.0.deleted.add(count);
        self.deletion_pause_ends = Instant::now() + DELETION_PAUSE;
    }

    pub(super) fn deletion_failed(&mut self, error: &Error) {
        self.report_failure(error);
        self.delete_not_before = Instant::now() + FAILURE_PAUSE;
    }

    pub(super) fn recording_failed(&mut self, error: &Error) {
        self.report_failure(error);
        self.record_not_before = Instant::now() + FAILURE_PAUSE;
    }

    /// The ends of the pauses that are not over yet.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Instant> {
        let now = Instant::now();
        let deletion = [self.delete_not_before, self.deletion_pause_ends];
        let others = [self.read_not_before, self.record_not_before, self.follow_not_before];
        let pauses = deletion.into_iter().chain(others);
        pauses.filter(move |end| *end > now)
    }

    /// Cuts off what is under way.
    pub(super) async fn shutdown(&mut self) {
        self.under_way.shutdown().await;
    }

    /// Reports and counts the rows that were not reported before: they are read again and again.
    pub(super) fn report_unreadable<'r>(
        &mut self,
        rows: impl IntoIterator<Item = &'r UnreadableRecord>,
    ) {
        for row in rows {
            if !self.reported.is_new(row.id) {
                continue;
            }
            self.stats.0.unreadable.increment();
            let UnreadableRecord { id, key, why, .. } = row;
            tracing::warn!(
                context = self.context.as_ref().map(ContextName::as_str),
                sequence = id.sequence,
                key = key.as_ref().map(Key::as_str),
                why,
                "a row of the outbox cannot be read; it and its key wait for a build that can"
            );
        }
    }

    fn report_failure(&mut self, error: &Error) {
        self.stats.0.store_failures.increment();
        if let Some(suppressed) = self.throttle.admit(Instant::now().into_std()) {
            tracing::error!(%error, suppressed, "the relay's store failed; it is tried again");
        }
    }
}
