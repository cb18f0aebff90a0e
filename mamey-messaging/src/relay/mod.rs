//! Moves committed outbox records to a transport, in order by key and each until it is confirmed.

mod blocked;
mod driver;
mod options;
mod position;
mod window;

#[cfg(test)]
mod model_test;

use std::sync::Arc;

use mamey_core::Result;
use mamey_core::store::Store;
use mamey_core::transport::Publisher;
use tokio_util::sync::CancellationToken;

use crate::stats::RelayStats;
use driver::Driver;

pub use options::RelayOptions;

/// The relay of one bounded context.
///
/// Of each key at most one message is unconfirmed at a time; the keys are pipelined. A record
/// leaves the outbox only after the transport has confirmed it, so a crash in between publishes it
/// again and the receiver's inbox absorbs it. A message that cannot be published holds up its own
/// key only, and is tried again with growing pauses for as long as it takes.
#[derive(Debug)]
pub struct Relay {
    driver: Driver,
    stats: RelayStats,
}

impl Relay {
    /// A relay from a context's store to a transport.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        publisher: Arc<dyn Publisher>,
        options: RelayOptions,
    ) -> Self {
        let stats = RelayStats::default();
        let driver = Driver::new(store, publisher, options, stats.clone());
        Self { driver, stats }
    }

    /// The counts of this relay, to be kept and asked while it runs.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.stats.clone()
    }

    /// Relays until `shutdown` is cancelled: then begins nothing new, awaits what is on its way
    /// for at most [`RelayOptions::drain_max`], confirms it, gives its leases back and returns.
    ///
    /// # Errors
    /// `Misconfigured` for options that cannot work; `TimedOut` when not all that was on its way
    /// was confirmed at the end, which loses nothing. Failures of the store or the transport are
    /// retried, logged and counted, and end nothing.
    ///
    /// # Cancellation
    /// Dropping the future stops at once. What was on its way may be published again by the next
    /// holder, when the leases have expired.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        self.driver.run(shutdown).await
    }
}
