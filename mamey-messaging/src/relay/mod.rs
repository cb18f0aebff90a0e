//! Moves committed outbox records to a transport, in order by key and each until it is confirmed.

mod blocked;
mod catch_up;
mod confirmations;
mod driver;
mod failures;
mod given_up;
mod lane;
mod lanes;
mod leaving;
mod options;
mod position;
mod publishing;
mod reads;
mod rows;
mod stalls;
mod store_calls;
mod tried;
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
/// Of each key at most one message is unconfirmed at a time; the keys are pipelined. A record is
/// deleted from the outbox only after the transport has confirmed it, so a crash in between
/// publishes it again and the receiver's inbox absorbs it.
///
/// A message that cannot be published holds up its own key only, and is tried again with growing
/// pauses. While others go out, it is [stalled](mamey_core::store::StalledStore): it waits in the store, so
/// that any number of keys can wait. What can never be published is given up at once, what has no route
/// after [`RelayOptions::unroutable_for`]: it becomes an
/// [undelivered message](mamey_core::store::UndeliveredStore), and its key goes on without it. All else is
/// tried for as long as it takes.
///
/// A [`Service`](https://docs.rs/mamey/latest/mamey/struct.Service.html) runs one for each context
/// it hosts. To run one by itself:
///
/// ```
/// use std::sync::Arc;
///
/// use mamey::messaging::{MemoryTransport, Relay, RelayOptions};
/// use mamey::store::Store;
/// use mamey::transport::Transport;
/// use tokio_util::sync::CancellationToken;
///
/// async fn relay(store: Arc<dyn Store>, shutdown: CancellationToken) -> mamey::Result<()> {
///     let transport = MemoryTransport::new();
///     let relay = Relay::new(store, transport.publisher(), RelayOptions::default());
///     let stats = relay.stats();
///     relay.run(shutdown).await?;
///     println!("{} messages were published", stats.snapshot().published);
///     Ok(())
/// }
/// ```
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

    /// The counts of this relay, to keep and read while it runs.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.stats.clone()
    }

    /// Relays until `shutdown` is cancelled. Then it begins nothing new, awaits what is in flight
    /// for at most [`RelayOptions::drain`], deletes what was confirmed, releases its leases and
    /// returns.
    ///
    /// # Errors
    /// `Misconfigured` for options that cannot work; `TimedOut` if a message in flight was not
    /// confirmed in time at the end, which loses nothing. Failures of the store or the transport
    /// are retried, logged and counted, and do not end the relay.
    ///
    /// # Cancellation
    /// Dropping the future stops at once. What was in flight may be published again by the next
    /// holder, when the leases have expired.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        self.driver.run(shutdown).await
    }
}
