//! Processes one message: runs its handler, and records what a failure leads to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use mamey_core::inbound::{Inbound, Incoming};
use mamey_core::message::Envelope;
use mamey_core::store::{CommitOutcome, InstanceId, Origin, Store};
use mamey_core::transport::{Delivery, RejectReason, Settlement};
use mamey_core::{Error, ErrorKind, Result, RetryPolicy};
use tokio_util::sync::CancellationToken;

use super::gate::GATE;
use super::next_step::{NextStep, next_step};
use super::outcome::ConsumeOutcome;
use super::record::{Current, Recorder};
use super::store_outage::{StoreOutage, is_of_store, may_be_an_outage};
use crate::guard::guarded;
use crate::stats::ConsumerStats;

/// How long a handler's `Cancelled` may precede the shutdown that caused it.
const STOP_GRACE: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    inbound: Arc<dyn Inbound>,
    pub(super) holder: InstanceId,
    pub(super) store: Arc<dyn Store>,
    pub(super) stats: ConsumerStats,
    pub(super) recorder: Recorder,
    outage: StoreOutage,
    stop: CancellationToken,
}

/// What is known of a delivery before its handler runs.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) redelivered: bool,
    pub(super) near_its_limit: bool,
    /// An instance may have been handling it when that ended.
    pub(super) suspect: bool,
    /// Saves a handler call whose commit would be refused.
    pub(super) lane_is_parked: bool,
}

/// What follows a failure that may be the store's.
enum AfterStoreFailure {
    /// It was the handler's own: it counts as an attempt.
    Count,
    /// The pause is over.
    RunAgain,
    /// The message waits in parking.
    Park,
}

impl Worker {
    pub(super) fn new(
        inbound: Arc<dyn Inbound>,
        holder: InstanceId,
        store: Arc<dyn Store>,
        stats: ConsumerStats,
        stop: CancellationToken,
    ) -> Self {
        let outage = StoreOutage::new(stats.clone(), stop.clone());
        Self {
            inbound,
            holder,
            recorder: Recorder::new(Arc::clone(&store), outage.clone()),
            store,
            stats,
            outage,
            stop,
        }
    }

    /// Processes a delivery and settles it. One that is to be returned is handed back instead, so
    /// that the caller can return its lane with it.
    pub(super) async fn deliver(
        &self,
        delivery: Delivery,
        known: Known,
    ) -> (ConsumeOutcome, Option<Delivery>) {
        let delivery = mamey_core::inject_fault!(
            "ack-before-commit",
            mamey_core::failpoint::acknowledged(delivery),
            delivery
        );
        let current = Current::delivered(delivery.envelope());
        let outcome = self.caught(self.receive(current, known)).await;
        self.count(&outcome);
        mamey_core::failpoint!("after-commit-before-ack");
        match &outcome {
            ConsumeOutcome::Returned => return (outcome, Some(delivery)),
            ConsumeOutcome::Rejected(reason, detail) => {
                let (reason, detail) = (*reason, detail.clone());
                delivery.settle(Settlement::Reject { reason, detail });
            }
            // Only after the commit: a crash before redelivers, and the inbox absorbs it.
            _ => delivery.settle(Settlement::Ack),
        }
        (outcome, None)
    }

    pub(super) async fn caught(
        &self,
        work: impl Future<Output = ConsumeOutcome>,
    ) -> ConsumeOutcome {
        let caught = AssertUnwindSafe(work).catch_unwind().await;
        caught.unwrap_or_else(|_| {
            tracing::error!("a backend panicked while a message was handled; it is returned");
            ConsumeOutcome::Returned
        })
    }

    async fn receive(&self, current: Current<'_>, known: Known) -> ConsumeOutcome {
        if known.redelivered {
            match self.was_received(current.envelope).await {
                Ok(true) => return ConsumeOutcome::Duplicate,
                Ok(false) => {}
                Err(_) => return ConsumeOutcome::Returned,
            }
        }
        if known.lane_is_parked {
            return self.recorder.park_behind(current).await;
        }
        // What this store would count ends with the process: the transport keeps the message.
        if known.near_its_limit && !self.store.capabilities().durable {
            let detail = "no delivery was settled, and the store keeps nothing beyond the process";
            return ConsumeOutcome::Rejected(RejectReason::DeliveryLimit, detail.to_owned());
        }
        if known.suspect || known.near_its_limit {
            return self.recorder.park_suspect(current).await;
        }
        self.run(current, 0).await
    }

    /// An error when told to stop before the store answered.
    async fn was_received(&self, envelope: &Envelope) -> Result<bool> {
        let message = envelope.metadata.identity();
        let mut failures: u32 = 0;
        loop {
            match guarded(self.store.was_received(message)).await {
                Ok(received) => return Ok(received),
                Err(error) => self.outage.wait(&error, failures).await?,
            }
            failures = failures.saturating_add(1);
        }
    }

    /// Runs the handler until it has committed, or a failure is recorded.
    pub(super) async fn run(&self, current: Current<'_>, earlier_attempts: u32) -> ConsumeOutcome {
        let (mut attempt, mut store_failures) = (earlier_attempts.saturating_add(1), 0);
        loop {
            let error = match self.attempt(current, attempt).await {
                Ok(CommitOutcome::Committed(_)) => return ConsumeOutcome::Handled,
                Ok(CommitOutcome::Duplicate) => return ConsumeOutcome::Duplicate,
                Ok(CommitOutcome::LaneParked) => return self.recorder.park_behind(current).await,
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Conflict {
                self.stats.0.conflicts.increment();
            }
            match self.after_store_failure(current, &error, &mut store_failures).await {
                Ok(AfterStoreFailure::RunAgain) => continue,
                Ok(AfterStoreFailure::Park) => {
                    let attempts = attempt.saturating_sub(1);
                    return self.recorder.park_for_store(current, &error, attempts).await;
                }
                Ok(AfterStoreFailure::Count) => {}
                Err(_) => return ConsumeOutcome::Returned,
            }
            let stopping = error.kind() == ErrorKind::Cancelled && self.is_stopping().await;
            let attempts = match error.kind() {
                ErrorKind::Unreadable => attempt.saturating_add(current.unread),
                _ => attempt,
            };
            match self.next_step(current, &error, attempts, stopping) {
                NextStep::RunAgain => self.stats.0.run_again.increment(),
                NextStep::Park(delay) => {
                    return self.recorder.park(current, &error, attempts, delay).await;
                }
                NextStep::DeadLetter(reason) => {
                    return self.recorder.dead_letter(current, &error, attempts, reason).await;
                }
                NextStep::Return => return ConsumeOutcome::Returned,
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// Runs the handler once. That of a parked message has entered, or runs alone.
    async fn attempt(&self, current: Current<'_>, attempt: u32) -> Result<CommitOutcome> {
        let _entered = match current.origin {
            Origin::Delivery => Some(GATE.enter().await),
            Origin::Parked => None,
        };
        self.inbound.handle(Incoming::new(current.envelope, current.origin, attempt)).await
    }

    /// Whether the handler failed because of the store, so that no attempt counts. An error when told
    /// to stop.
    async fn after_store_failure(
        &self,
        current: Current<'_>,
        error: &Error,
        failures: &mut u32,
    ) -> Result<AfterStoreFailure> {
        if !may_be_an_outage(error) {
            return Ok(AfterStoreFailure::Count);
        }
        let responds = guarded(self.store.ping()).await.is_ok();
        if responds && !is_of_store(error) {
            // The outage of an earlier run may have ended between this failure and the ping.
            return Ok(match std::mem::take(failures) {
                0 => AfterStoreFailure::Count,
                _ => AfterStoreFailure::RunAgain,
            });
        }
        // A store that responds may lack what this message needs and serve all others: they must
        // not wait for it.
        let is_parked = current.origin == Origin::Parked;
        if responds && (is_parked || StoreOutage::is_to_be_parked(*failures)) {
            return Ok(AfterStoreFailure::Park);
        }
        self.outage.wait(error, *failures).await?;
        *failures = failures.saturating_add(1);
        Ok(AfterStoreFailure::RunAgain)
    }

    /// Whether the consumer stops. A context that is shutting down refuses new calls a moment before.
    async fn is_stopping(&self) -> bool {
        tokio::time::timeout(STOP_GRACE, self.stop.cancelled()).await.is_ok()
    }

    fn next_step(
        &self,
        current: Current<'_>,
        error: &Error,
        attempts: u32,
        stopping: bool,
    ) -> NextStep {
        next_step(error, attempts, self.policy(current), stopping, fastrand::f64())
    }

    pub(super) fn policy(&self, current: Current<'_>) -> RetryPolicy {
        self.inbound.retry_policy(&current.envelope.metadata.name)
    }

    pub(super) fn count(&self, outcome: &ConsumeOutcome) {
        let counters = &self.stats.0;
        match outcome {
            ConsumeOutcome::Handled => counters.handled.increment(),
            ConsumeOutcome::Duplicate => counters.duplicates_absorbed.increment(),
            ConsumeOutcome::Parked(_) => counters.parked.increment(),
            ConsumeOutcome::ParkedSuspect => counters.suspects.increment(),
            ConsumeOutcome::ParkedBehind => counters.parked_behind.increment(),
            ConsumeOutcome::DeadLettered => counters.dead_lettered.increment(),
            ConsumeOutcome::Rejected(..) => counters.rejected.increment(),
            ConsumeOutcome::Returned => counters.returned.increment(),
        }
    }
}
