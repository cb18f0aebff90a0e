//! Tells failures of the store apart, and waits between the tries while it is out of reach.

use std::time::Duration;

use mamey_core::{Backoff, Error, ErrorKind, Result, Retry};
use tokio_util::sync::CancellationToken;

use crate::stats::ConsumerStats;

/// The pauses while the store is out of reach.
const OUTAGE: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// After so many failures of an unknown kind a message is rejected. Their pauses last over a
/// minute together.
const UNKNOWN_FAILURES_MAX: u32 = 24;

/// Whether the store may be the one that failed. Such a failure says nothing about the message, so
/// it costs none of its retries.
pub(super) fn may_be_an_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::LeaseLost)
}

/// Whether the store will never take the commit that failed now and `earlier` times before: waiting
/// longer would hold up the lane forever.
pub(super) fn is_permanent(error: &Error, earlier: u32) -> bool {
    error.retry() == Retry::Never
        || error.kind() == ErrorKind::LimitExceeded
        || error.kind() == ErrorKind::Other && earlier >= UNKNOWN_FAILURES_MAX
}

/// Waits after failures of the store.
#[derive(Clone)]
pub(super) struct StoreOutage {
    stats: ConsumerStats,
    /// Ends the waiting; it does not end handlers.
    stop: CancellationToken,
}

impl StoreOutage {
    pub(super) const fn new(stats: ConsumerStats, stop: CancellationToken) -> Self {
        Self { stats, stop }
    }

    /// Waits after a failure that `earlier` ones came before.
    ///
    /// # Errors
    /// `Cancelled` when the consumer stops.
    pub(super) async fn wait(&self, error: &Error, earlier: u32) -> Result<()> {
        self.stats.0.store_failures.increment();
        let pause = OUTAGE.delay(earlier, fastrand::f64());
        tracing::warn!(%error, ?pause, "the store failed; its message waits in memory");
        tokio::select! {
            () = self.stop.cancelled() => Err(Error::cancelled("shutting down")),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}
