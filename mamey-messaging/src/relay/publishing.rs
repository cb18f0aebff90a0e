//! Publishes records within the relay's own task, counts them and reports failures.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use mamey_core::store::OutboxRecord;
use mamey_core::transport::{Publisher, Routed};
use mamey_core::{Error, ErrorKind, LogThrottle, Result};
use tokio::time::Instant;

use super::lanes::Start;
use crate::guard::guarded;
use crate::stats::RelayStats;

/// A record, and how its publish ended.
pub(super) type Published = (Start, Result<Routed>);

/// The publishes in flight. A task for each would cost more than most of them take.
pub(super) struct Publishing {
    in_flight: FuturesUnordered<BoxFuture<'static, Published>>,
    stats: RelayStats,
    throttle: LogThrottle,
}

impl Publishing {
    pub(super) fn new(stats: RelayStats) -> Self {
        Self { in_flight: FuturesUnordered::new(), stats, throttle: LogThrottle::default() }
    }

    pub(super) fn begin(&mut self, publisher: Arc<dyn Publisher>, start: Start) {
        self.in_flight.push(Box::pin(async move {
            let published = guarded(publisher.publish(&start.record.envelope)).await;
            (start, published)
        }));
    }

    /// The next publish that ends; `None` while none is in flight.
    pub(super) async fn next(&mut self) -> Option<Published> {
        self.in_flight.next().await
    }

    /// A publish that has ended already.
    pub(super) fn next_ended(&mut self) -> Option<Published> {
        self.in_flight.next().now_or_never().flatten()
    }

    /// Cuts off what is in flight.
    pub(super) fn clear(&mut self) {
        self.in_flight.clear();
    }

    pub(super) fn count_confirmed(&self, record: &OutboxRecord, routed: Routed) {
        let counters = &self.stats.0;
        counters.published.increment();
        if routed == Routed::NoSubscriber {
            counters.no_subscriber.increment();
            let metadata = &record.envelope.metadata;
            tracing::debug!(message = %metadata.name, id = %metadata.id, "no subscriber");
        }
    }

    /// Counts a failure, and reports it unless the message `is_given_up`, which is reported elsewhere.
    pub(super) fn report_failure(
        &mut self,
        record: &OutboxRecord,
        error: &Error,
        is_given_up: bool,
    ) {
        let counters = &self.stats.0;
        counters.failed.increment();
        if error.kind() == ErrorKind::Unroutable {
            counters.unroutable.increment();
        }
        if is_given_up {
            return;
        }
        if let Some(suppressed) = self.throttle.admit(Instant::now().into_std()) {
            let metadata = &record.envelope.metadata;
            tracing::error!(
                message = %metadata.name, id = %metadata.id, %error, suppressed,
                "a message could not be published; it waits in the outbox and is tried again"
            );
        }
    }
}
