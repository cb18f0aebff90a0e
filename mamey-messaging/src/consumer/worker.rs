//! Sees one message through: runs its handler and records what became of it.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use mamey_core::clock::Clock;
use mamey_core::inbound::{Inbound, Incoming};
use mamey_core::message::Envelope;
use mamey_core::store::{
    CommitOutcome, DeadLetterReason, Failure, Origin, Outcome, ParkedMessage, Receipt, Store,
    UnitOfWork,
};
use mamey_core::transport::{Delivery, Settlement};
use mamey_core::{Backoff, Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::next_step::{Verdict, is_permanent, may_be_an_outage, verdict};
use crate::guard::guarded;
use crate::stats::ConsumerStats;

/// The pauses while the store is out of reach.
const OUTAGE: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::from_secs(5), jitter: 0.5 };

/// How often an unknown failure of the store is met before the message is rejected: over a minute.
const UNKNOWN_FAILURES_MAX: u32 = 24;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its effect is committed.
    Handled,
    /// It had its effect, or was kept, before.
    Duplicate,
    /// It is parked, to be tried again after this time.
    Parked(Duration),
    /// It is parked behind an earlier message of its lane.
    ParkedBehind,
    /// It is kept as a dead letter.
    DeadLettered,
    /// The store will never take it.
    Rejected(String),
    /// Nothing became of it: it stays where it was.
    Released,
}

pub(super) struct Worker {
    inbound: Arc<dyn Inbound>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    stats: ConsumerStats,
    handles: HashSet<&'static str>,
    /// Ends waiting, not handlers.
    stop: CancellationToken,
}

/// The message that is being seen through.
#[derive(Clone, Copy)]
struct Case<'a> {
    envelope: &'a Envelope,
    origin: Origin,
}

/// What is known of a delivery before its handler runs.
#[derive(Clone, Copy)]
struct Past {
    redelivered: bool,
    near_its_limit: bool,
    lane_is_parked: bool,
}

impl Worker {
    pub(super) fn new(
        inbound: Arc<dyn Inbound>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        stats: ConsumerStats,
        stop: CancellationToken,
    ) -> Self {
        Self {
            handles: inbound.handles().into_iter().collect(),
            inbound,
            store,
            clock,
            stats,
            stop,
        }
    }

    /// Sees a delivery through and settles it, except for one that is released: it comes back,
    /// so that the caller can release its lane with it.
    ///
    /// `lane_is_parked` spares the handler a run whose commit would be refused.
    pub(super) async fn deliver(
        &self,
        delivery: Delivery,
        lane_is_parked: bool,
    ) -> (Fate, Option<Delivery>) {
        let delivery = mamey_core::inject_fault!(
            "ack-before-commit",
            mamey_core::failpoint::acknowledged(delivery),
            delivery
        );
        let case = Case { envelope: delivery.envelope(), origin: Origin::Delivery };
        let past = Past {
            redelivered: delivery.is_redelivered(),
            near_its_limit: delivery.is_near_its_limit(),
            lane_is_parked,
        };
        let fate = self.caught(self.receive(case, past)).await;
        self.count(&fate);
        mamey_core::failpoint!("after-commit-before-ack");
        match &fate {
            Fate::Released => return (fate, Some(delivery)),
            Fate::Rejected(reason) => {
                let reason = reason.clone();
                delivery.settle(Settlement::Reject { reason });
            }
            // Only after the commit: a crash before redelivers, and the inbox absorbs it.
            _ => delivery.settle(Settlement::Ack),
        }
        (fate, None)
    }

    /// Sees a message through that was parked.
    pub(super) async fn retry(&self, parked: &ParkedMessage) -> Fate {
        self.stats.0.retried.increment();
        mamey_core::failpoint!("during-replay");
        let case = Case { envelope: &parked.envelope, origin: Origin::Parked };
        let fate = self.caught(self.run(case, parked.attempts)).await;
        self.count(&fate);
        fate
    }

    async fn caught(&self, work: impl Future<Output = Fate>) -> Fate {
        let caught = AssertUnwindSafe(work).catch_unwind().await;
        caught.unwrap_or_else(|_| {
            tracing::error!("a backend panicked while a message was handled; it stays undone");
            Fate::Released
        })
    }

    async fn receive(&self, case: Case<'_>, past: Past) -> Fate {
        if past.redelivered {
            match self.was_received(case.envelope).await {
                Some(true) => return Fate::Duplicate,
                Some(false) => {}
                None => return Fate::Released,
            }
        }
        if past.lane_is_parked {
            return self.park_behind(case).await;
        }
        if past.near_its_limit {
            return self.park_unhandled(case).await;
        }
        self.run(case, 0).await
    }

    /// Keeps a message that was delivered again and again without an outcome, before the transport
    /// gives it up.
    async fn park_unhandled(&self, case: Case<'_>) -> Fate {
        let name = case.envelope.metadata.name.as_ref();
        let policy = self.inbound.retry_policy(name);
        let attempts = policy.immediate.saturating_add(1);
        let delay = policy.delay_after(attempts, fastrand::f64());
        let delay = delay.unwrap_or_else(|| Backoff::DEFAULT.delay(0, fastrand::f64()));
        let error = Error::other(
            "the transport has delivered the message again and again and had no answer: its \
             handler may end the process",
        );
        self.park(case, &error, attempts, delay).await
    }

    /// `None` when told to stop before the store answered.
    async fn was_received(&self, envelope: &Envelope) -> Option<bool> {
        for failures in 0.. {
            match guarded(self.store.was_received(envelope.metadata.id)).await {
                Ok(received) => return Some(received),
                Err(error) => self.outlast(&error, failures).await.ok()?,
            }
        }
        None
    }

    /// Runs the handler until there is something to record, or the commit has recorded it.
    async fn run(&self, case: Case<'_>, earlier_attempts: u32) -> Fate {
        let (mut attempt, mut outages) = (earlier_attempts.saturating_add(1), 0);
        loop {
            let incoming = Incoming { envelope: case.envelope, origin: case.origin, attempt };
            let error = match self.inbound.handle(incoming).await {
                Ok(CommitOutcome::Committed(_)) => return Fate::Handled,
                Ok(CommitOutcome::Duplicate) => return Fate::Duplicate,
                Ok(CommitOutcome::LaneParked) => return self.park_behind(case).await,
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Conflict {
                self.stats.0.conflicts.increment();
            }
            match self.met_outage(&error, &mut outages).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(_) => return Fate::Released,
            }
            match self.verdict(case, &error, attempt) {
                Verdict::RunAgain => self.stats.0.run_again.increment(),
                Verdict::Park(delay) => return self.park(case, &error, attempt, delay).await,
                Verdict::DeadLetter(reason) => {
                    return self.set_aside(case, &error, attempt, reason).await;
                }
                Verdict::Release => return Fate::Released,
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// Whether an outage of the store is to blame: then it was waited out for a while. An error
    /// when told to stop.
    async fn met_outage(&self, error: &Error, outages: &mut u32) -> Result<bool> {
        if !may_be_an_outage(error) {
            return Ok(false);
        }
        if guarded(self.store.ping()).await.is_ok() {
            // An outage that was met before may have ended between the failure and this answer.
            return Ok(std::mem::take(outages) > 0);
        }
        self.outlast(error, *outages).await?;
        *outages = outages.saturating_add(1);
        Ok(true)
    }

    fn verdict(&self, case: Case<'_>, error: &Error, attempts: u32) -> Verdict {
        let name = case.envelope.metadata.name.as_ref();
        let policy = self.inbound.retry_policy(name);
        let has_handler = self.handles.contains(name);
        verdict(error, attempts, policy, has_handler, fastrand::f64())
    }

    async fn park(&self, case: Case<'_>, error: &Error, attempts: u32, delay: Duration) -> Fate {
        let metadata = &case.envelope.metadata;
        tracing::warn!(
            message = %metadata.name, id = %metadata.id, attempts, %error, ?delay,
            "a handler failed; its message is parked"
        );
        mamey_core::failpoint!("while-parking");
        let outcome = Outcome::Park {
            due: self.clock.now().plus(delay),
            attempts,
            failure: Failure::from(error),
        };
        self.record(case, outcome, Fate::Parked(delay)).await
    }

    async fn park_behind(&self, case: Case<'_>) -> Fate {
        if case.origin == Origin::Parked {
            // Parking has its order already: it stays where it is.
            return Fate::Released;
        }
        self.record(case, self.behind(), Fate::ParkedBehind).await
    }

    fn behind(&self) -> Outcome {
        Outcome::Park { due: self.clock.now(), attempts: 0, failure: Failure::waiting() }
    }

    async fn set_aside(
        &self,
        case: Case<'_>,
        error: &Error,
        attempts: u32,
        reason: DeadLetterReason,
    ) -> Fate {
        let metadata = &case.envelope.metadata;
        tracing::error!(
            message = %metadata.name, id = %metadata.id, attempts, %error, reason = reason.as_str(),
            "a message becomes a dead letter"
        );
        let outcome = Outcome::DeadLetter { reason, attempts, failure: Failure::from(error) };
        self.record(case, outcome, Fate::DeadLettered).await
    }

    /// Commits what becomes of a message, for as long as the store may still take it.
    async fn record(&self, case: Case<'_>, outcome: Outcome, fate: Fate) -> Fate {
        let (mut outcome, mut fate) = (outcome, fate);
        let mut failures = 0;
        loop {
            let error = match self.commit(case, &outcome).await {
                Ok(CommitOutcome::Committed(_)) => return fate,
                Ok(CommitOutcome::Duplicate) => return Fate::Duplicate,
                // Parking is never refused so: this was a dead letter, and waits its turn now.
                Ok(CommitOutcome::LaneParked) if fate == Fate::ParkedBehind => {
                    return Fate::Released;
                }
                Ok(CommitOutcome::LaneParked) => {
                    (outcome, fate) = (self.behind(), Fate::ParkedBehind);
                    continue;
                }
                Err(error) => error,
            };
            let unknown = error.kind() == ErrorKind::Other && failures >= UNKNOWN_FAILURES_MAX;
            if is_permanent(&error) || unknown {
                return Fate::Rejected(error.to_string());
            }
            if self.outlast(&error, failures).await.is_err() {
                return Fate::Released;
            }
            failures = failures.saturating_add(1);
        }
    }

    async fn commit(&self, case: Case<'_>, outcome: &Outcome) -> Result<CommitOutcome> {
        let receipt = Receipt {
            envelope: case.envelope.clone(),
            origin: case.origin,
            outcome: outcome.clone(),
        };
        let unit = UnitOfWork { receipt: Some(receipt), ..UnitOfWork::default() };
        guarded(self.store.commit(unit)).await
    }

    /// Pauses after a failure of the store. An error when told to stop.
    async fn outlast(&self, error: &Error, earlier: u32) -> Result<()> {
        self.stats.0.store_failures.increment();
        let pause = OUTAGE.delay(earlier, fastrand::f64());
        tracing::warn!(%error, ?pause, "the store failed; its message waits in memory");
        tokio::select! {
            () = self.stop.cancelled() => Err(Error::cancelled("shutting down")),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn count(&self, fate: &Fate) {
        let counters = &self.stats.0;
        match fate {
            Fate::Handled => counters.handled.increment(),
            Fate::Duplicate => counters.duplicates_absorbed.increment(),
            Fate::Parked(_) => counters.parked.increment(),
            Fate::ParkedBehind => counters.parked_behind.increment(),
            Fate::DeadLettered => counters.dead_lettered.increment(),
            Fate::Rejected(_) => counters.rejected.increment(),
            Fate::Released => counters.released.increment(),
        }
    }
}
