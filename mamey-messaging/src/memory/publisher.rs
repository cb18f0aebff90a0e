//! Publishes to the contexts of this process and waits until each has settled the message.

use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::message::{BODY_BYTES_MAX, Envelope};
use mamey_core::transport::{Publisher, Routed};
use mamey_core::{Error, Result, Retry};

use super::broker::{Shared, closed};

pub(super) struct MemoryPublisher {
    shared: Arc<Shared>,
}

impl MemoryPublisher {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn publish(&self, envelope: &Envelope) -> Result<Routed> {
        check_size(envelope)?;
        envelope.metadata.check()?;
        let routes = self.shared.lock().routes(&envelope.metadata)?;
        if routes.is_empty() {
            return Ok(Routed::NoSubscriber);
        }
        // Places are taken in the order of the contexts' names, so two publishers cannot each hold
        // what the other waits for.
        let mut places = Vec::with_capacity(routes.len());
        for route in routes {
            let place = route.places.acquire_owned().await.map_err(|_| closed())?;
            places.push((route.address, place));
        }
        let outcomes = self.shared.lock().enqueue(envelope, places)?;
        for outcome in outcomes {
            outcome.await.map_err(|_| closed())?;
        }
        Ok(Routed::Delivered)
    }
}

pub(super) fn check_size(envelope: &Envelope) -> Result<()> {
    let (name, bytes) = (&envelope.metadata.name, envelope.payload.len());
    if bytes <= BODY_BYTES_MAX {
        return Ok(());
    }
    let error = Error::limit_exceeded(format!(
        "`{name}` has {bytes} bytes, the limit is {BODY_BYTES_MAX}; send a reference to the data"
    ));
    Err(error.with_retry(Retry::Never))
}
