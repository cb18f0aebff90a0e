//! A handler was removed: its messages are unbound, and those that wait are dropped.
#![cfg(all(feature = "sqlite", feature = "rabbitmq"))]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use mamey::message::{Envelope, Metadata};
use mamey::messaging;
use mamey::transport::{Publisher, Routed};
use mamey::{BoundedContext, Context, Event, MessageId, Result, Service, Settings};
use mamey_test_support::{rabbitmq, require, until};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.placed")]
struct Placed {}

async fn on_placed(_: Placed, _: &Context) -> Result<()> {
    Ok(())
}

async fn publish(publisher: &dyn Publisher, number: u32) -> Routed {
    let id = MessageId::from_foreign("orders", &number.to_string());
    let metadata = Metadata::new(id, "orders.placed", "orders");
    publisher.publish(&Envelope::new(metadata, "{}".into())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_context_forgets_is_unbound_and_dropped() {
    let vhost = require!(rabbitmq::vhost().await);
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    // An earlier build handled them, and is gone.
    let broker = messaging::connect(vhost.url()).await.unwrap();
    let earlier = BoundedContext::new("payments").on(on_placed).topology(4).unwrap();
    broker.apply(&earlier).await.unwrap();
    let publisher = broker.publisher();
    for number in 0..20 {
        assert_eq!(publish(&*publisher, number).await, Routed::Delivered);
    }
    let settings = Settings::default().with_store_url(&store).with_transport_url(vhost.url());
    let now = BoundedContext::new("payments").forgets("orders.placed");
    let service = Service::new(settings.with_partitions(4)).host(now).start().await.unwrap();
    assert_eq!(publish(&*publisher, 20).await, Routed::NoSubscriber);
    let store = service.store("payments").unwrap();
    let dropped = async || store.received_count().await.unwrap() == 20;
    until("what waited is dropped", PATIENCE, dropped).await;
    assert_eq!(store.parked_count().await.unwrap(), 0);
    assert_eq!(store.dead_letter_count().await.unwrap(), 0);
    service.shutdown().await.unwrap();
    broker.close().await;
}

#[test]
fn a_message_cannot_be_handled_and_forgotten() {
    let both = BoundedContext::new("payments").on(on_placed).forgets("orders.placed");
    let error = both.check().unwrap_err().to_string();
    assert!(error.contains("`orders.placed`") && error.contains(".forgets(…)"), "{error}");
}
