//! Publishes to the contexts of this process, and waits until each has settled the message.

use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::Envelope;
use mamey_core::transport::{Publisher, Routed};

use super::broker::Broker;
use super::error::closed;
use super::wire;

pub(super) struct MemoryPublisher {
    broker: Arc<Broker>,
}

impl MemoryPublisher {
    pub(super) const fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    async fn deliver(&self, envelope: &Envelope, suspect: bool) -> Result<Routed> {
        wire::check(envelope)?;
        let routes = self.broker.lock().routes(&envelope.metadata)?;
        let Some(routes) = routes else {
            return Ok(Routed::NoSubscriber);
        };
        // Places are taken in the order of the contexts' names, so two publishers cannot each hold
        // what the other waits for.
        let mut places = Vec::with_capacity(routes.len());
        for route in routes {
            let place = route.places.acquire_owned().await.map_err(|_| closed())?;
            places.push((route.address, place));
        }
        let settled = self.broker.lock().enqueue(envelope, suspect, places)?;
        let mut outcome = Ok(Routed::Delivered);
        for when_settled in settled {
            // All are awaited, also after a rejection: a second publish would not find an earlier
            // one under way.
            if let Err(rejected) = when_settled.await.map_err(|_| closed())? {
                outcome = Err(rejected);
            }
        }
        outcome
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn publish(&self, envelope: &Envelope) -> Result<Routed> {
        self.deliver(envelope, false).await
    }

    async fn publish_suspect(&self, envelope: &Envelope) -> Result<Routed> {
        self.deliver(envelope, true).await
    }
}
