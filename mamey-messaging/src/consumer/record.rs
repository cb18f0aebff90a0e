//! Records in the store that a message is parked, parked behind its lane, or a dead letter.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::Envelope;
use mamey_core::store::{
    CommitOutcome, DeadLetterReason, Failure, Origin, Outcome, ParkedMessage, Receipt, Store,
    UnitOfWork,
};
use mamey_core::transport::RejectReason;
use mamey_core::{Error, ErrorKind, Result};

use super::outcome::ConsumeOutcome;
use super::store_outage::{StoreOutage, is_fault_of_message, parked_for};
use crate::guard::guarded;

/// The message that is being processed.
#[derive(Clone, Copy)]
pub(super) struct Current<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) origin: Origin,
    /// For how long it was to be parked so far, by the store's clock.
    pub(super) parked_so_far: Duration,
    /// How many attempts of builds that could not read it came last.
    pub(super) unread: u32,
    /// How many times a process ended while its handler ran.
    pub(super) aborts: u32,
}

impl<'m> Current<'m> {
    pub(super) const fn delivered(envelope: &'m Envelope) -> Self {
        let (origin, parked_so_far) = (Origin::Delivery, Duration::ZERO);
        Self { envelope, origin, parked_so_far, unread: 0, aborts: 0 }
    }

    /// A parked message, and how many attempts its handler had.
    pub(super) fn parked(parked: &'m ParkedMessage) -> (Self, u32) {
        let (envelope, origin) = (&parked.envelope, Origin::Parked);
        let parked_so_far = parked.due.duration_since(parked.since);
        // What other builds could not read takes no attempt from a handler.
        let was_unread = parked.failure.kind == ErrorKind::Unreadable.as_str();
        let (unread, attempts) = match was_unread {
            true => (parked.attempts, 0),
            false => (0, parked.attempts),
        };
        let aborts = parked.aborts;
        (Self { envelope, origin, parked_so_far, unread, aborts }, attempts)
    }

    /// Whether a process has ended while its handler ran, so that no other is to run beside it.
    pub(super) const fn is_to_run_alone(&self) -> bool {
        self.aborts > 0
    }
}

/// Commits what becomes of messages whose handlers have committed nothing.
pub(super) struct Recorder {
    store: Arc<dyn Store>,
    outage: StoreOutage,
}

impl Recorder {
    pub(super) const fn new(store: Arc<dyn Store>, outage: StoreOutage) -> Self {
        Self { store, outage }
    }

    /// Parks a message whose handler failed.
    pub(super) async fn park(
        &self,
        current: Current<'_>,
        error: &Error,
        attempts: u32,
        delay: Duration,
    ) -> ConsumeOutcome {
        let metadata = &current.envelope.metadata;
        let what = match error.kind() {
            ErrorKind::Unreadable => "a message is parked until a build comes that can handle it",
            _ => "a handler failed; its message is parked",
        };
        tracing::warn!(
            message = %metadata.name, sender = %metadata.sender, id = %metadata.id, attempts, %error,
            ?delay, "{what}"
        );
        mamey_core::failpoint!("while-parking");
        let outcome = Outcome::Park { delay, attempts, failure: Failure::from(error) };
        self.record(current, outcome, ConsumeOutcome::Parked(delay)).await
    }

    /// Parks a message whose handler the store has failed: that counts as no attempt.
    pub(super) async fn park_for_store(
        &self,
        current: Current<'_>,
        error: &Error,
        attempts: u32,
    ) -> ConsumeOutcome {
        let delay = parked_for(current.parked_so_far, fastrand::f64());
        self.outage.report(error, delay);
        let outcome = Outcome::Park { delay, attempts, failure: Failure::from(error) };
        self.record(current, outcome, ConsumeOutcome::Parked(delay)).await
    }

    /// Parks a message that an instance may have been handling when it ended, due at once: from there
    /// each attempt is recorded before it begins.
    pub(super) async fn park_suspect(&self, current: Current<'_>) -> ConsumeOutcome {
        let (delay, failure) = (Duration::ZERO, Failure::suspect());
        let outcome = Outcome::Park { delay, attempts: 0, failure };
        self.record(current, outcome, ConsumeOutcome::ParkedSuspect).await
    }

    /// Parks a message once more, during whose attempt the process ended.
    pub(super) async fn park_aborted(
        &self,
        current: Current<'_>,
        attempts: u32,
        delay: Duration,
    ) -> ConsumeOutcome {
        let (metadata, aborts) = (&current.envelope.metadata, current.aborts);
        tracing::warn!(
            message = %metadata.name, sender = %metadata.sender, id = %metadata.id, aborts, ?delay,
            "a process ended while the message's handler ran; it will run again alone"
        );
        let outcome = Outcome::Park { delay, attempts, failure: Failure::aborted(aborts) };
        self.record(current, outcome, ConsumeOutcome::Parked(delay)).await
    }

    /// Keeps a message as a dead letter whose handler ends the process.
    pub(super) async fn give_up_aborted(
        &self,
        current: Current<'_>,
        attempts: u32,
    ) -> ConsumeOutcome {
        let failure = Failure::aborted(current.aborts);
        self.give_up(current, failure, attempts, DeadLetterReason::Aborted).await
    }

    /// Parks a message whose lane is parked.
    pub(super) async fn park_behind(&self, current: Current<'_>) -> ConsumeOutcome {
        if current.origin == Origin::Parked {
            // It is parked in its order already.
            return ConsumeOutcome::Returned;
        }
        self.record(current, behind(), ConsumeOutcome::ParkedBehind).await
    }

    /// Keeps a message as a dead letter.
    pub(super) async fn dead_letter(
        &self,
        current: Current<'_>,
        error: &Error,
        attempts: u32,
        reason: DeadLetterReason,
    ) -> ConsumeOutcome {
        self.give_up(current, Failure::from(error), attempts, reason).await
    }

    async fn give_up(
        &self,
        current: Current<'_>,
        failure: Failure,
        attempts: u32,
        reason: DeadLetterReason,
    ) -> ConsumeOutcome {
        let (metadata, error) = (&current.envelope.metadata, &failure.message);
        tracing::error!(
            message = %metadata.name, sender = %metadata.sender, id = %metadata.id, attempts, error,
            reason = reason.as_str(),
            "a message becomes a dead letter"
        );
        let outcome = Outcome::DeadLetter { reason, attempts, failure };
        self.record(current, outcome, ConsumeOutcome::DeadLettered).await
    }

    /// Commits an outcome, and tries again for as long as it is not proven that the store cannot
    /// take it.
    async fn record(
        &self,
        current: Current<'_>,
        mut outcome: Outcome,
        mut consumed: ConsumeOutcome,
    ) -> ConsumeOutcome {
        let mut failures = 0;
        loop {
            let error = match self.commit(current, &outcome).await {
                Ok(CommitOutcome::Committed(_)) => return consumed,
                Ok(CommitOutcome::Duplicate) => return ConsumeOutcome::Duplicate,
                Ok(CommitOutcome::LaneParked) if consumed == ConsumeOutcome::ParkedBehind => {
                    return ConsumeOutcome::Returned;
                }
                // The store never refuses to park for this reason: this was a dead letter, and it
                // waits for its turn now.
                Ok(CommitOutcome::LaneParked) => {
                    (outcome, consumed) = (behind(), ConsumeOutcome::ParkedBehind);
                    continue;
                }
                Err(error) => error,
            };
            if is_fault_of_message(&error) {
                return ConsumeOutcome::Rejected(RejectReason::Unstorable, error.to_string());
            }
            if self.outage.wait(&error, failures).await.is_err() {
                return ConsumeOutcome::Returned;
            }
            failures = failures.saturating_add(1);
        }
    }

    async fn commit(&self, current: Current<'_>, outcome: &Outcome) -> Result<CommitOutcome> {
        let receipt = Receipt::new(current.envelope.clone(), current.origin, outcome.clone())
            .with_aborts(current.aborts);
        let unit = UnitOfWork::default().with_receipt(receipt);
        guarded(self.store.commit(unit)).await
    }
}

/// Due at once: its lane decides when its turn comes.
fn behind() -> Outcome {
    Outcome::Park { delay: Duration::ZERO, attempts: 0, failure: Failure::waiting() }
}
