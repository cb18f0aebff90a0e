//! Receives a context's messages and processes each: handled, parked, or kept as a dead letter.

mod busy;
mod driver;
mod due;
mod gate;
mod intake;
mod intakes;
mod lanes;
mod next_step;
mod options;
mod outcome;
mod parked;
mod parked_lanes;
mod parking_limit;
mod parts;
mod record;
mod retries;
mod room;
mod store_outage;
mod suspect_lanes;
mod tasks;
mod worker;

#[cfg(test)]
mod intakes_test;
#[cfg(test)]
mod lanes_test;

use std::fmt;
use std::sync::Arc;

use mamey_core::Result;
use mamey_core::inbound::Inbound;
use mamey_core::store::Store;
use mamey_core::transport::Transport;
use tokio_util::sync::CancellationToken;

use crate::stats::ConsumerStats;
use driver::Driver;
use parts::Parts;

pub use options::ConsumerOptions;

/// The consumer of one bounded context.
///
/// Of each lane one message is handled at a time, in order; different lanes run in parallel. A
/// delivery is acknowledged only after the commit of its effect. A message whose handler fails is
/// run again at once, then parked in the context's store together with its lane's successors and
/// retried from there, and finally kept there as a dead letter. No other lane waits for it.
///
/// Of a message that may have been in hand when an instance ended, each attempt is recorded before it
/// begins, so that one whose handler ends the process ends few of them: see
/// [`RetryPolicy`](mamey_core::RetryPolicy).
///
/// A [`Service`](https://docs.rs/mamey/latest/mamey/struct.Service.html) runs one for each context
/// it hosts. To run one by itself:
///
/// ```
/// use std::sync::Arc;
///
/// use mamey::inbound::Inbound;
/// use mamey::messaging::{Consumer, ConsumerOptions, MemoryTransport};
/// use mamey::store::Store;
/// use tokio_util::sync::CancellationToken;
///
/// async fn consume(
///     inbound: Arc<dyn Inbound>,
///     store: Arc<dyn Store>,
///     transport: MemoryTransport,
///     shutdown: CancellationToken,
/// ) -> mamey::Result<()> {
///     let options = ConsumerOptions::default().with_lanes_max(128);
///     let consumer = Consumer::new(inbound, store, Arc::new(transport), options);
///     let stats = consumer.stats();
///     consumer.run(shutdown).await?;
///     println!("{} messages were handled", stats.snapshot().handled);
///     Ok(())
/// }
/// ```
pub struct Consumer(Parts);

impl Consumer {
    /// A consumer that hands the messages that `transport` delivers for the context to `inbound`.
    ///
    /// The context's topology must be applied to the transport, with the same number of partitions.
    #[must_use]
    pub fn new(
        inbound: Arc<dyn Inbound>,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        options: ConsumerOptions,
    ) -> Self {
        let stats = ConsumerStats::default();
        Self(Parts { inbound, store, transport, options, stats })
    }

    /// The counts of this consumer, to keep and read while it runs.
    #[must_use]
    pub fn stats(&self) -> ConsumerStats {
        self.0.stats.clone()
    }

    /// Consumes until `shutdown` is cancelled. Then it takes nothing more, awaits the handlers that
    /// run for at most [`ConsumerOptions::drain`], returns everything else to the transport,
    /// releases its leases and returns.
    ///
    /// # Errors
    /// `Misconfigured` for options that cannot work; `TimedOut` if handlers had to be cut off at
    /// the end, which loses nothing. Failures of the store or the transport are retried, logged and
    /// counted, and do not end the consumer.
    ///
    /// # Cancellation
    /// Dropping the future stops at once: what was not acknowledged is delivered again, and the
    /// inbox absorbs what was committed.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        self.0.options.check()?;
        Driver::new(self.0, shutdown.clone()).run(shutdown).await
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("context", self.0.inbound.context())
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
