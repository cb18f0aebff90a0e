//! What the tests share: messages, topologies, subscribers, and a client that is not ours.

use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::message::{ContextName, Envelope, Metadata, Partition, Target};
use mamey_core::transport::{Delivery, Subscriber, Subscription, Topology, Transport};
use mamey_core::{Error, Result};
use mamey_messaging::{RabbitOptions, RabbitTransport};
use tokio::time::{Instant, sleep, timeout};

pub(crate) const PLACED: &str = "orders.order-placed";

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn context(name: &str) -> ContextName {
    ContextName::new(name).unwrap()
}

pub(crate) fn topology(partitions: u16) -> Topology {
    Topology::new(context("payments"), partitions).with_handles(vec![PLACED])
}

/// A transport with the default options.
pub(crate) async fn connect(url: &str) -> RabbitTransport {
    RabbitTransport::connect(url, RabbitOptions::default()).await.unwrap()
}

/// A transport to which `payments` was applied, with one partition.
pub(crate) async fn applied(url: &str) -> RabbitTransport {
    let transport = connect(url).await;
    transport.apply(&topology(1)).await.unwrap();
    transport
}

pub(crate) fn event(key: &str, payload: impl Into<Bytes>) -> Envelope {
    let id = UuidV7Source::default().message_id();
    let mut metadata = Metadata::new(id, PLACED, "orders");
    metadata.key = Some(key.into());
    Envelope::new(metadata, payload.into())
}

/// An event for `payments` alone, which must be routed.
pub(crate) fn targeted(key: &str) -> Envelope {
    let mut envelope = event(key, "{}");
    envelope.metadata.target = Target::Service(context("payments"));
    envelope
}

pub(crate) async fn subscribe(
    transport: &dyn Transport,
    partition: Partition,
    prefetch: u16,
) -> Result<Box<dyn Subscriber>> {
    let subscription = Subscription::new(context("payments"), partition, prefetch);
    transport.subscribe(&subscription).await
}

pub(crate) async fn subscribe_to_all(transport: &dyn Transport) -> Box<dyn Subscriber> {
    subscribe(transport, Partition::new(0, 1).unwrap(), 10).await.unwrap()
}

pub(crate) async fn next(subscriber: &mut Box<dyn Subscriber>) -> Delivery {
    let next = timeout(SOON, subscriber.next()).await.expect("nothing arrives");
    next.unwrap().expect("the subscription is open")
}

/// Tries again until it works, as a relay and an intake do.
pub(crate) async fn persist<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < end, "it never works: {error:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The error of a subscription that ends.
pub(crate) async fn ends(subscriber: &mut Box<dyn Subscriber>) -> Error {
    let next = timeout(SOON, subscriber.next()).await.expect("the subscription does not end");
    next.expect_err("the subscription does not end")
}

/// A channel of a client that is not ours.
pub(crate) struct Foreign {
    _connection: Connection,
    pub(crate) channel: Channel,
}

impl Foreign {
    pub(crate) async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { _connection: connection, channel }
    }

    /// Waits for a message in a queue and takes it away.
    pub(crate) async fn take(&self, queue: &str) -> lapin::message::Delivery {
        let end = Instant::now() + SOON;
        loop {
            let options = BasicGetOptions { no_ack: true };
            if let Some(got) = self.channel.basic_get(queue.into(), options).await.unwrap() {
                return got.delivery;
            }
            assert!(Instant::now() < end, "nothing arrives in `{queue}`");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many messages wait in a queue, which exists.
    pub(crate) async fn waiting(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        queue.unwrap().message_count()
    }
}

/// A header's text.
pub(crate) fn header(message: &lapin::message::Delivery, name: &str) -> String {
    let headers = message.properties.headers().as_ref().unwrap();
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("`{name}` is {other:?}"),
    }
}
