//! A broker with us on one side and a client that is not ours on the other.

use std::time::Duration;

use bytes::Bytes;
use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use mamey::message::{ContextName, Envelope, Partition};
use mamey::messaging::{RabbitEncoding, RabbitOptions, RabbitTransport};
use mamey::transport::{Settlement, Subscriber, Subscription, Topology, Transport};
use mamey_test_support::rabbitmq::Vhost;
use tokio::time::{sleep, timeout};

/// The longest that a step of these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The queue of the context that reads.
const INPUT: &str = "payments.1.0";

/// The queue that sees what is written.
const SEEN: &str = "seen";

pub(crate) struct Wire {
    vhost: Vhost,
    _connection: Connection,
    channel: Channel,
    _transport: RabbitTransport,
    subscriber: Box<dyn Subscriber>,
}

impl Wire {
    pub(crate) async fn new(vhost: Vhost) -> Self {
        let transport = connect(&vhost, RabbitEncoding::default()).await;
        let payments = ContextName::new("payments").unwrap();
        let topology = Topology::new(payments.clone(), 1).with_handles(vec!["orders.order-placed"]);
        transport.apply(&topology).await.unwrap();
        let all = Subscription::new(payments, Partition::new(0, 1).unwrap(), 10);
        let subscriber = transport.subscribe(&all).await.unwrap();
        let options = ConnectionProperties::default();
        let connection = Connection::connect(vhost.url(), options).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let none = FieldTable::default;
        let declared = channel.queue_declare(SEEN.into(), QueueDeclareOptions::default(), none());
        declared.await.unwrap();
        let options = QueueBindOptions::default();
        let bound =
            channel.queue_bind(SEEN.into(), "mamey".into(), "#".into(), options, none()).await;
        bound.unwrap();
        Self { vhost, _connection: connection, channel, _transport: transport, subscriber }
    }

    /// What a client that is not ours gets of each envelope.
    pub(crate) async fn written(
        &self,
        encoding: RabbitEncoding,
        envelopes: impl IntoIterator<Item = &Envelope>,
    ) -> Vec<Delivery> {
        let transport = connect(&self.vhost, encoding).await;
        let mut written = Vec::new();
        for envelope in envelopes {
            transport.publisher().publish(envelope).await.unwrap();
            written.push(timeout(PATIENCE, self.seen()).await.expect("nothing arrives"));
        }
        written
    }

    async fn seen(&self) -> Delivery {
        loop {
            let options = BasicGetOptions { no_ack: true };
            if let Some(got) = self.channel.basic_get(SEEN.into(), options).await.unwrap() {
                return got.delivery;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// What we read of a message from a client that is not ours.
    pub(crate) async fn read(&mut self, properties: BasicProperties, body: Bytes) -> Envelope {
        let options = BasicPublishOptions::default();
        let published =
            self.channel.basic_publish("".into(), INPUT.into(), options, &body, properties);
        published.await.unwrap().await.unwrap();
        let next = timeout(PATIENCE, self.subscriber.next()).await.expect("it is a dead letter");
        let delivery = next.unwrap().expect("the subscription is open");
        let envelope = delivery.envelope().clone();
        delivery.settle(Settlement::Ack);
        envelope
    }
}

async fn connect(vhost: &Vhost, encoding: RabbitEncoding) -> RabbitTransport {
    let options = RabbitOptions::default().with_encoding(encoding);
    RabbitTransport::connect(vhost.url(), options).await.unwrap()
}
