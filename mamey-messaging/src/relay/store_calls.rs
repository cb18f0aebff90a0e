//! Reads and deletes outbox records beside the relay's task, with pauses between the calls.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::{ContextName, Key};
use mamey_core::store::{
    Deletion, Lease, OutboxPage, OutboxRead, RecordId, Store, UnreadableRecord,
};
use mamey_core::{Error, LogThrottle, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::reads::ReadPlan;
use super::window::Mark;
use crate::guard::guarded;
use crate::reported::Reported;
use crate::stats::RelayStats;

/// The pause after a deletion, so that the next one takes more records at once. Nobody waits for
/// them to be deleted.
const DELETION_PAUSE: Duration = Duration::from_millis(10);

/// This many confirmed records are deleted without that pause.
const DELETED_AT_ONCE: usize = 128;

/// The pause after a deletion that left out what another transaction holds.
const HELD_PAUSE: Duration = Duration::from_millis(200);

/// The pause after a failed call.
const FAILURE_PAUSE: Duration = Duration::from_millis(200);

/// The calls that are under way.
pub(super) struct StoreCalls {
    store: Arc<dyn Store>,
    stats: RelayStats,
    context: Option<ContextName>,
    under_way: JoinSet<Done>,
    sweeps: bool,
    read_not_before: Instant,
    delete_not_before: Instant,
    deletion_pause_ends: Instant,
    throttle: LogThrottle,
    reported: Reported<RecordId>,
}

/// How a call ended.
pub(super) enum Done {
    Read(ReadPlan, Result<OutboxPage>),
    Deleted(Result<Deletion>),
    Swept(Mark, Result<u64>),
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
            sweeps: false,
            read_not_before: now,
            delete_not_before: now,
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
                .with_held(&plan.held)
                .with_bytes_max(plan.bytes_max);
            let page = guarded(store.read_outbox(read)).await;
            Done::Read(plan, page)
        });
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

    /// Asks up to where the outbox is complete, one call at a time.
    pub(super) fn sweep(&mut self, mark: Mark) {
        if self.sweeps {
            return;
        }
        self.sweeps = true;
        let store = Arc::clone(&self.store);
        self.under_way.spawn(async move {
            Done::Swept(mark, guarded(store.outbox_complete_to(mark.read_to)).await)
        });
    }

    /// Ends such a call, and returns what it answered.
    pub(super) fn swept(&mut self, answer: Result<u64>) -> Option<u64> {
        self.sweeps = false;
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

    pub(super) fn deleted(&mut self, deletion: &Deletion) {
        let now = Instant::now();
        self.stats.0.deleted.add(deletion.deleted);
        self.deletion_pause_ends = now + DELETION_PAUSE;
        if !deletion.held.is_empty() {
            self.delete_not_before = now + HELD_PAUSE;
        }
    }

    pub(super) fn deletion_failed(&mut self, error: &Error) {
        self.report_failure(error);
        self.delete_not_before = Instant::now() + FAILURE_PAUSE;
    }

    /// The ends of the pauses that are not over yet.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Instant> {
        let now = Instant::now();
        let pauses = [self.read_not_before, self.delete_not_before, self.deletion_pause_ends];
        pauses.into_iter().filter(move |end| *end > now)
    }

    /// Cuts off what is under way.
    pub(super) async fn shutdown(&mut self) {
        self.under_way.shutdown().await;
    }

    /// Reports and counts the rows that were not reported before: they are read again and again.
    pub(super) fn report_unreadable(&mut self, rows: &[UnreadableRecord]) {
        let new: Vec<_> = rows.iter().filter(|row| self.reported.is_new(row.id)).collect();
        self.stats.0.unreadable.add(new.len() as u64);
        for row in new {
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
