//! Receives one partition queue.

mod acks;
mod settle;
mod task;

use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::transport::{Delivery, Subscriber};
use tokio_util::sync::DropGuard;

use settle::{Next, Shared};

pub(super) use task::Source;

/// One partition of one context's messages.
pub(super) struct RabbitSubscriber {
    shared: Arc<Shared>,
    /// Dropped with the subscriber, it ends the task.
    _stop: DropGuard,
}

impl RabbitSubscriber {
    /// Subscribes, and begins to receive in a task of its own.
    ///
    /// # Errors
    /// `Unavailable`, and as declaring the context.
    pub(super) async fn start(source: Source) -> Result<Self> {
        let consuming = source.consume().await?;
        let shared = Arc::new(Shared::default());
        let stop = source.broker.closed.child_token();
        let tracker = source.broker.tasks.clone();
        tracker.spawn(source.run(Arc::clone(&shared), consuming, stop.clone()));
        Ok(Self { shared, _stop: stop.drop_guard() })
    }
}

#[async_trait]
impl Subscriber for RabbitSubscriber {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        loop {
            match self.shared.next() {
                Next::Message(delivery) => return Ok(Some(*delivery)),
                Next::Ended(how) => return how.map(|()| None),
                Next::NothingYet => {
                    let _wanting = self.shared.want();
                    self.shared.arrived.notified().await;
                }
            }
        }
    }
}
