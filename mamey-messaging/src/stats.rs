//! Counts what relays and consumers do, cheaply enough to be always on: all counters live here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a relay has done since it was made. Clones count the same.
///
/// ```
/// use mamey::messaging::RelayStats;
///
/// fn print(stats: &RelayStats) {
///     let now = stats.snapshot();
///     println!("{} published, {} failed", now.published, now.failed);
/// }
/// # print(&RelayStats::default());
/// ```
#[derive(Clone, Debug, Default)]
pub struct RelayStats(pub(crate) Arc<RelayCounters>);

/// The counts of a relay at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelaySnapshot {
    /// Messages that the transport confirmed, whether they had a subscriber or not.
    pub published: u64,
    /// Those of the published that were for any subscriber and had none.
    pub no_subscriber: u64,
    /// Publishes that failed; each is tried again or given up.
    pub failed: u64,
    /// Those of the failed that had no route.
    pub unroutable: u64,
    /// Records of published messages that were deleted from the outbox.
    pub deleted: u64,
    /// Calls to the store that failed; each is tried again.
    pub store_failures: u64,
    /// Rows of the outbox that this build cannot read, each counted once: they wait for a build that
    /// can, and their keys behind them.
    pub unreadable: u64,
    /// Messages that were given up before they were published.
    pub given_up: u64,
}

#[derive(Debug, Default)]
pub(crate) struct RelayCounters {
    pub(crate) published: Counter,
    pub(crate) no_subscriber: Counter,
    pub(crate) failed: Counter,
    pub(crate) unroutable: Counter,
    pub(crate) deleted: Counter,
    pub(crate) store_failures: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) given_up: Counter,
}

impl RelayStats {
    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> RelaySnapshot {
        let counters = &self.0;
        RelaySnapshot {
            published: counters.published.get(),
            no_subscriber: counters.no_subscriber.get(),
            failed: counters.failed.get(),
            unroutable: counters.unroutable.get(),
            deleted: counters.deleted.get(),
            store_failures: counters.store_failures.get(),
            unreadable: counters.unreadable.get(),
            given_up: counters.given_up.get(),
        }
    }
}

/// What a consumer has done since it was made. Clones count the same.
///
/// ```
/// use mamey::messaging::ConsumerStats;
///
/// fn print(stats: &ConsumerStats) {
///     let now = stats.snapshot();
///     println!("{} handled, {} parked", now.handled, now.parked);
/// }
/// # print(&ConsumerStats::default());
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConsumerStats(pub(crate) Arc<ConsumerCounters>);

/// The counts of a consumer at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerSnapshot {
    /// Messages whose effect was committed.
    pub handled: u64,
    /// Messages that were already handled or parked: acknowledged without effect.
    pub duplicates_absorbed: u64,
    /// Messages that were parked after a failure, counted with each failure.
    pub parked: u64,
    /// Messages that were parked because an earlier one of their lane was.
    pub parked_behind: u64,
    /// Handler calls for messages that were parked.
    pub retried: u64,
    /// Handler calls at once after a failure.
    pub run_again: u64,
    /// Messages that became dead letters in the store.
    pub dead_lettered: u64,
    /// Handler calls that ended in a version conflict.
    pub conflicts: u64,
    /// Messages that were rejected to the transport because the store could not keep them.
    pub rejected: u64,
    /// Messages that were returned to the transport to be delivered again, or left in parking.
    pub returned: u64,
    /// Headers and attributes of messages from outside that were dropped when the message was read:
    /// see [`Headers::dropped`](mamey_core::message::Headers::dropped).
    pub headers_dropped: u64,
    /// Subscriptions that failed; each is tried again.
    pub subscription_failures: u64,
    /// Calls to the store that failed; each is tried again.
    pub store_failures: u64,
    /// Parked messages that this build cannot read, each counted once: they wait for a build that
    /// can, and their lanes behind them.
    pub unreadable: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ConsumerCounters {
    pub(crate) handled: Counter,
    pub(crate) duplicates_absorbed: Counter,
    pub(crate) parked: Counter,
    pub(crate) parked_behind: Counter,
    pub(crate) retried: Counter,
    pub(crate) run_again: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) rejected: Counter,
    pub(crate) returned: Counter,
    pub(crate) headers_dropped: Counter,
    pub(crate) subscription_failures: Counter,
    pub(crate) store_failures: Counter,
    pub(crate) unreadable: Counter,
}

impl ConsumerStats {
    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> ConsumerSnapshot {
        let counters = &self.0;
        ConsumerSnapshot {
            handled: counters.handled.get(),
            duplicates_absorbed: counters.duplicates_absorbed.get(),
            parked: counters.parked.get(),
            parked_behind: counters.parked_behind.get(),
            retried: counters.retried.get(),
            run_again: counters.run_again.get(),
            dead_lettered: counters.dead_lettered.get(),
            conflicts: counters.conflicts.get(),
            rejected: counters.rejected.get(),
            returned: counters.returned.get(),
            headers_dropped: counters.headers_dropped.get(),
            subscription_failures: counters.subscription_failures.get(),
            store_failures: counters.store_failures.get(),
            unreadable: counters.unreadable.get(),
        }
    }
}
