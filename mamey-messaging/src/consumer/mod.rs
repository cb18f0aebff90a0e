//! Receives a context's messages and sees each through: handled, parked, or set aside.

mod driver;
mod intake;
mod lanes;
mod next_step;
mod options;
mod retries;
mod worker;

use std::fmt;
use std::sync::Arc;

use mamey_core::Result;
use mamey_core::clock::Clock;
use mamey_core::inbound::Inbound;
use mamey_core::store::Store;
use mamey_core::transport::Transport;
use tokio_util::sync::CancellationToken;

use crate::stats::ConsumerStats;
use driver::Driver;

pub use options::ConsumerOptions;

/// The consumer of one bounded context.
///
/// Of each lane one message is handled at a time, in order; different lanes run side by side. A
/// delivery is acknowledged only after the commit of its effect. A message whose handler fails is
/// run again at once, then parked in the context's store together with its lane's successors and
/// retried from there, and at last kept there as a dead letter: no other lane waits for it.
pub struct Consumer {
    inbound: Arc<dyn Inbound>,
    store: Arc<dyn Store>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    options: ConsumerOptions,
    stats: ConsumerStats,
}

impl Consumer {
    /// A consumer that hands what `transport` brings for the context to `inbound`.
    ///
    /// The context's topology must be applied to the transport, with the same number of partitions.
    #[must_use]
    pub fn new(
        inbound: Arc<dyn Inbound>,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        options: ConsumerOptions,
    ) -> Self {
        Self { inbound, store, transport, clock, options, stats: ConsumerStats::default() }
    }

    /// The counts of this consumer, to be kept and asked while it runs.
    #[must_use]
    pub fn stats(&self) -> ConsumerStats {
        self.stats.clone()
    }

    /// Consumes until `shutdown` is cancelled: then takes nothing more, awaits the handlers that
    /// run for at most [`ConsumerOptions::drain_max`], gives everything else back to the
    /// transport, gives its leases back and returns.
    ///
    /// # Errors
    /// `Misconfigured` for options that cannot work; `TimedOut` when handlers had to be cut off at
    /// the end, which loses nothing. Failures of the store or the transport are
    /// retried, logged and counted, and end nothing.
    ///
    /// # Cancellation
    /// Dropping the future stops at once: what was not acknowledged is delivered again, and the
    /// inbox absorbs what was committed.
    pub async fn run(self, shutdown: CancellationToken) -> Result<()> {
        self.options.check()?;
        Driver::new(self, shutdown.clone()).run(shutdown).await
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("context", self.inbound.context())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
