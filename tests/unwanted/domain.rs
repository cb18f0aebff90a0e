//! A message that builds of a context handle, ignore or know nothing of.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::clock::ManualClock;
use mamey::message::{Envelope, Metadata};
use mamey::transport::{Publisher, Routed};
use mamey::{
    Backoff, BoundedContext, Context, Error, Event, MessageHandler, MessageId, Result, RetryPolicy,
    Settings, Timestamp,
};
use serde::{Deserialize, Serialize};

pub const CONTEXT: &str = "payments";
pub const PARTITIONS: u16 = 4;
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Soon due again, and never given up.
const RETRY: RetryPolicy = RetryPolicy::new(
    0,
    100_000,
    Backoff::new(Duration::from_millis(20), Duration::from_millis(200)),
);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.placed", key = order)]
pub struct Placed {
    pub order: u32,
}

/// Which orders the handler of a build has seen.
#[derive(Clone, Default)]
pub struct Handled {
    orders: Arc<Mutex<BTreeSet<u32>>>,
    fails: bool,
}

impl Handled {
    pub fn failing() -> Self {
        Self { fails: true, ..Self::default() }
    }

    pub fn orders(&self) -> BTreeSet<u32> {
        self.orders.lock().unwrap().clone()
    }

    pub fn context(&self) -> BoundedContext {
        payments().on(self.clone()).retry(RETRY)
    }
}

impl MessageHandler<Placed> for Handled {
    async fn handle(&self, event: Placed, _: &Context) -> Result<()> {
        if self.fails {
            return Err(Error::other("the till is closed"));
        }
        self.orders.lock().unwrap().insert(event.order);
        Ok(())
    }
}

pub fn payments() -> BoundedContext {
    BoundedContext::new(CONTEXT)
}

/// A clock for the store, which the test sets.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)))
}

pub fn settings(store: &str, transport: &str) -> Settings {
    Settings::default()
        .with_store_url(store)
        .with_transport_url(transport)
        .with_partitions(PARTITIONS)
        .with_poll(Duration::from_millis(100))
        .with_lease(Duration::from_secs(2))
}

pub async fn publish(publisher: &dyn Publisher, order: u32) -> Routed {
    let id = MessageId::from_foreign("orders", &order.to_string());
    let key = order.to_string();
    let metadata = Metadata::new(id, "orders.placed", "orders").with_key(Some(key.as_str().into()));
    let payload = serde_json::to_vec(&Placed { order }).unwrap();
    publisher.publish(&Envelope::new(metadata, payload.into())).await.unwrap()
}

pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    mamey_test_support::until(what, PATIENCE, holds).await;
}
