//! Tells failures of the store from faults of a message, and waits while the store fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mamey_core::{Backoff, Error, ErrorKind, LogThrottle, Result, Retry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stats::ConsumerStats;

/// The pauses while the store fails.
const OUTAGE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// How often a handler that the store failed, though it responds, runs again before its message is
/// parked: a short failure, such as a lock that is held, costs no parking.
const RUNS_BEFORE_PARKING: u32 = 3;

/// The pauses of a message that is parked because the store failed its handler.
const PARKED_FOR: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Whether the store may be the one that failed. Such a failure says nothing about the message, so
/// it costs none of its retries.
pub(super) fn may_be_an_outage(error: &Error) -> bool {
    is_of_store(error) || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::LeaseLost)
}

/// Whether the store has failed in a way that passes or that a person fixes: a missing table, a
/// right that was revoked, an I/O error. Which failures these are no list can say, so all are that
/// the store does not know to be final for this work.
pub(super) fn is_of_store(error: &Error) -> bool {
    error.is_of_store() && error.retry() == Retry::Later
}

/// Whether it is proven that the store can never record this message: its own content is what the
/// store refuses. Any other failure is an outage, however long it lasts.
pub(super) fn is_fault_of_message(error: &Error) -> bool {
    error.retry() == Retry::Never
        && matches!(error.kind(), ErrorKind::Invalid | ErrorKind::LimitExceeded)
}

/// How long a message is parked because the store failed its handler, when it was parked for so long
/// before: pauses grow with the outage, and no attempt is counted.
pub(super) fn parked_for(age: Duration, random: f64) -> Duration {
    let (least, most) = PARKED_FOR;
    Backoff::new((age / 2).clamp(least, most), most).delay(0, random)
}

/// Waits after failures of the store.
#[derive(Clone)]
pub(super) struct StoreOutage {
    stats: ConsumerStats,
    /// Ends the waiting; it does not end handlers.
    stop: CancellationToken,
    throttle: Arc<Mutex<LogThrottle>>,
}

impl StoreOutage {
    pub(super) fn new(stats: ConsumerStats, stop: CancellationToken) -> Self {
        Self { stats, stop, throttle: Arc::default() }
    }

    /// Whether a handler that the store failed `earlier` times before is to be parked now.
    pub(super) const fn is_to_be_parked(earlier: u32) -> bool {
        earlier >= RUNS_BEFORE_PARKING
    }

    /// Waits after a failure that `earlier` ones came before.
    ///
    /// # Errors
    /// `Cancelled` when the consumer stops.
    pub(super) async fn wait(&self, error: &Error, earlier: u32) -> Result<()> {
        let pause = OUTAGE.delay(earlier, fastrand::f64());
        self.report(error, pause);
        tokio::select! {
            () = self.stop.cancelled() => Err(Error::cancelled("shutting down")),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Counts a failure and logs it, unless another one was logged a moment ago.
    pub(super) fn report(&self, error: &Error, pause: Duration) {
        self.stats.0.store_failures.increment();
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suppressed) = throttle.admit(Instant::now().into_std()) {
            tracing::warn!(%error, ?pause, suppressed, "the store failed; its messages wait");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_store_refuses_for_its_content_is_the_messages_fault() {
        let kinds = [ErrorKind::Other, ErrorKind::Unavailable, ErrorKind::TimedOut];
        for kind in kinds.into_iter().chain([ErrorKind::Misconfigured, ErrorKind::LimitExceeded]) {
            let error = Error::new(kind, "on purpose").with_retry(Retry::Later);
            assert!(!is_fault_of_message(&error), "{kind}");
            assert!(!is_of_store(&error) && is_of_store(&error.of_store()), "{kind}");
        }
        for error in [Error::invalid("NUL"), Error::limit_exceeded("too large")] {
            let error = error.with_retry(Retry::Never).of_store();
            assert!(is_fault_of_message(&error) && !is_of_store(&error), "{error}");
        }
        assert!(!is_fault_of_message(&Error::misconfigured("another store")));
    }

    #[test]
    fn pauses_grow_with_the_outage() {
        let after = |seconds| parked_for(Duration::from_secs(seconds), 0.0);
        let (least, most) = PARKED_FOR;
        assert_eq!([after(0), after(20), after(9999)], [least, Duration::from_secs(10), most]);
        assert!(parked_for(Duration::ZERO, 1.0) > Duration::ZERO);
    }
}
