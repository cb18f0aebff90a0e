//! Receives one partition of one context's messages.

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::transport::{Delivery, Settle, Settlement, Subscriber, Subscription};
use tokio::sync::Notify;

use super::broker::{Address, Shared};
use super::queue::{Next, SubscriptionId};

pub(super) struct MemorySubscriber {
    shared: Arc<Shared>,
    address: Arc<Address>,
    id: SubscriptionId,
    prefetch: usize,
    changed: Arc<Notify>,
}

struct MemorySettle {
    shared: Arc<Shared>,
    address: Arc<Address>,
    id: SubscriptionId,
    sequence: u64,
}

impl MemorySubscriber {
    pub(super) fn open(shared: Arc<Shared>, subscription: &Subscription) -> Result<Self> {
        let (id, changed) = shared.lock().subscribe(subscription)?;
        let address =
            Address { context: subscription.context.clone(), partition: subscription.partition };
        Ok(Self {
            shared,
            address: Arc::new(address),
            id,
            // A prefetch of 0 would never receive anything.
            prefetch: usize::from(subscription.prefetch.max(1)),
            changed,
        })
    }

    fn settle_of(&self, sequence: u64) -> Box<dyn Settle> {
        Box::new(MemorySettle {
            shared: Arc::clone(&self.shared),
            address: Arc::clone(&self.address),
            id: self.id,
            sequence,
        })
    }
}

#[async_trait]
impl Subscriber for MemorySubscriber {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        loop {
            // Listening begins before looking, so a message that comes in between wakes us.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let next = self.shared.lock().next(&self.address, self.id, self.prefetch);
            match next {
                None | Some(Next::Replaced) => return Ok(None),
                Some(Next::Message { sequence, envelope, redelivered }) => {
                    let settle = self.settle_of(sequence);
                    return Ok(Some(Delivery::new(*envelope, redelivered, settle)));
                }
                Some(Next::NothingYet) => changed.await,
            }
        }
    }
}

impl Drop for MemorySubscriber {
    fn drop(&mut self) {
        self.shared.lock().unsubscribe(&self.address, self.id);
    }
}

impl Settle for MemorySettle {
    fn settle(self: Box<Self>, settlement: Settlement) {
        let mut state = self.shared.lock();
        state.settle(&self.address, self.sequence, self.id, settlement);
    }
}
