//! Publishes what a store has committed: to the contexts of this process, and through the database to
//! those that other builds or other processes serve.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use mamey_core::message::{ContextName, Envelope, Metadata};
use mamey_core::store::{Store, Subscriber};
use mamey_core::transport::{Publisher, Routed};
use mamey_core::{ErrorKind, Result};

use super::broker::Broker;
use super::publisher::MemoryPublisher;

/// Who subscribes to a message, by the message's name.
type Subscribers = HashMap<String, Vec<Subscriber>>;

/// A publisher that knows which contexts of its store's database handle which messages.
///
/// What this process does not bring to one of them is parked for it in the database: a context that a
/// newer build has added, or a message that only another build of a context handles. There the instance
/// that handles it finds it, in the order of its lane.
pub(super) struct StorePublisher {
    broker: Arc<Broker>,
    here: MemoryPublisher,
    store: Arc<dyn Store>,
    known: Mutex<Arc<Subscribers>>,
}

impl StorePublisher {
    pub(super) fn new(broker: &Arc<Broker>, store: &Arc<dyn Store>) -> Self {
        Self {
            broker: Arc::clone(broker),
            here: MemoryPublisher::new(Arc::clone(broker)),
            store: Arc::clone(store),
            known: Mutex::default(),
        }
    }

    /// The contexts that a message is for and that nothing in this process brings it to.
    fn elsewhere(&self, metadata: &Metadata) -> Vec<ContextName> {
        let known = Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(subscribers) = known.get(&*metadata.name) else { return Vec::new() };
        let broker = self.broker.lock();
        let is_elsewhere = |subscriber: &&Subscriber| {
            let Subscriber { context, subscription, .. } = subscriber;
            metadata.target.includes(context)
                && match broker.takes(context, &metadata.name) {
                    Some(takes) => !takes && subscription.is_wanted(),
                    None => subscription.is_remembered(),
                }
        };
        subscribers.iter().filter(is_elsewhere).map(|it| it.context.clone()).collect()
    }
}

#[async_trait]
impl Publisher for StorePublisher {
    async fn publish(&self, envelope: &Envelope) -> Result<Routed> {
        let elsewhere = self.elsewhere(&envelope.metadata);
        for context in &elsewhere {
            self.store.park_for(context, envelope).await?;
        }
        let routed = self.here.publish(envelope).await;
        if elsewhere.is_empty() {
            return routed;
        }
        match routed {
            Err(error) if error.kind() != ErrorKind::Unroutable => Err(error),
            _ => Ok(Routed::Delivered),
        }
    }

    async fn learn_routes(&self) -> Result<()> {
        let mut known = Subscribers::new();
        for subscriber in self.store.subscribers().await? {
            known.entry(subscriber.subscription.name.clone()).or_default().push(subscriber);
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }
}
