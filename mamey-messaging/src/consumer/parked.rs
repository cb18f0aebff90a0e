//! Processes one parked message: counts the processes that it has ended, or runs its handler.

use std::pin::pin;
use std::time::Duration;

use mamey_core::store::ParkedMessage;

use super::gate::GATE;
use super::outcome::ConsumeOutcome;
use super::record::Current;
use super::worker::Worker;
use crate::guard::guarded;

/// How long a handler may keep all others from beginning. One that runs for longer goes on beside them;
/// if the process ends then, that counts as before.
const ALONE_MAX: Duration = Duration::from_secs(10);

impl Worker {
    /// Processes a message that was parked. Its attempt has begun, unless it is to run alone or nothing
    /// is to run.
    pub(super) async fn retry(&self, parked: &ParkedMessage) -> ConsumeOutcome {
        mamey_core::failpoint!("during-replay");
        let outcome = self.caught(self.process(parked)).await;
        self.count(&outcome);
        outcome
    }

    async fn process(&self, parked: &ParkedMessage) -> ConsumeOutcome {
        let (current, attempts) = Current::parked(parked);
        if let Some(recorded) = self.count_abort(current, attempts, parked.abandoned).await {
            return recorded;
        }
        self.stats.0.retried.increment();
        match current.is_to_run_alone() {
            true => self.run_alone(current, attempts, parked).await,
            false => self.run(current, attempts).await,
        }
    }

    /// Records that a process has ended while the handler ran, if one has, and gives the message up at
    /// the last time. `None` if its handler is to run.
    async fn count_abort(
        &self,
        current: Current<'_>,
        attempts: u32,
        abandoned: bool,
    ) -> Option<ConsumeOutcome> {
        if !abandoned && current.aborts == 0 {
            return None;
        }
        self.stats.0.aborted.add(u64::from(abandoned));
        let attempts = attempts.saturating_add(u32::from(abandoned));
        let aborts = current.aborts.saturating_add(u32::from(abandoned));
        let current = Current { aborts, ..current };
        match self.policy(current).delay_after_abort(aborts, fastrand::f64()) {
            None => Some(self.recorder.give_up_aborted(current, attempts).await),
            Some(pause) if abandoned => {
                Some(self.recorder.park_aborted(current, attempts, pause).await)
            }
            Some(_) => None,
        }
    }

    /// Runs the handler while no other begins, so that the end of the process is its doing.
    async fn run_alone(
        &self,
        current: Current<'_>,
        attempts: u32,
        parked: &ParkedMessage,
    ) -> ConsumeOutcome {
        let closed = GATE.close().await;
        // Not before: others may have ended the process while it waited.
        let begun = guarded(self.store.begin_parked(self.holder, &[parked.identity])).await;
        if !begun.is_ok_and(|begun| begun.contains(&parked.identity)) {
            return ConsumeOutcome::Returned;
        }
        let mut run = pin!(self.run(current, attempts));
        if let Ok(outcome) = tokio::time::timeout(ALONE_MAX, run.as_mut()).await {
            return outcome;
        }
        drop(closed);
        run.await
    }
}
