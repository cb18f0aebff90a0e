//! Receives one partition of one context's messages.

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::transport::{Delivery, Settle, Settlement, Subscriber, Subscription};
use tokio::sync::Notify;

use super::broker::Broker;
use super::queue::{Next, SubscriptionId};
use super::topology::Address;

pub(super) struct MemorySubscriber {
    broker: Arc<Broker>,
    address: Arc<Address>,
    id: SubscriptionId,
    prefetch: usize,
    changed: Arc<Notify>,
}

struct MemorySettle {
    broker: Arc<Broker>,
    address: Arc<Address>,
    id: SubscriptionId,
    sequence: u64,
}

impl MemorySubscriber {
    pub(super) fn open(broker: Arc<Broker>, subscription: &Subscription) -> Result<Self> {
        let address =
            Address { context: subscription.context.clone(), partition: subscription.partition };
        let (id, changed) = broker.lock().subscribe(&address)?;
        Ok(Self {
            broker,
            address: Arc::new(address),
            id,
            // A prefetch of 0 would never receive anything.
            prefetch: usize::from(subscription.prefetch.max(1)),
            changed,
        })
    }

    fn settle_of(&self, sequence: u64) -> Box<dyn Settle> {
        Box::new(MemorySettle {
            broker: Arc::clone(&self.broker),
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
            // Listens before it looks, so that a message that arrives in between wakes it.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let next = self.broker.lock().next(&self.address, self.id, self.prefetch);
            match next {
                None | Some(Next::Replaced) => return Ok(None),
                Some(Next::Message { sequence, envelope, redelivered, suspect }) => {
                    let settle = self.settle_of(sequence);
                    let delivery = Delivery::new(*envelope, redelivered, settle);
                    return Ok(Some(delivery.suspect(suspect)));
                }
                Some(Next::NothingYet) => changed.await,
            }
        }
    }
}

impl Drop for MemorySubscriber {
    fn drop(&mut self) {
        self.broker.lock().unsubscribe(&self.address, self.id);
    }
}

impl Settle for MemorySettle {
    fn settle(self: Box<Self>, settlement: Settlement) {
        let mut state = self.broker.lock();
        state.settle(&self.address, self.sequence, self.id, settlement);
    }
}
