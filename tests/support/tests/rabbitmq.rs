//! RabbitMQ: virtual hosts come and go, hold quorum queues, and faults reach the client.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use mamey_test_support::{FaultProxy, Mode, rabbitmq, require};
use tokio::time::timeout;

const QUIET: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(10);

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.unwrap()
}

async fn confirming_channel(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

async fn declare(channel: &Channel, name: &str, kind: &'static str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name.into(), options, arguments).await.unwrap();
}

async fn publish(channel: &Channel, queue: &str, text: &str) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish("".into(), queue.into(), options, text.as_bytes(), properties)
        .await?
        .await
}

async fn get(channel: &Channel, queue: &str) -> Option<Vec<u8>> {
    let options = BasicGetOptions { no_ack: true };
    channel.basic_get(queue.into(), options).await.unwrap().map(|message| message.delivery.data)
}

#[tokio::test]
async fn a_virtual_host_is_there_until_its_guard_is_dropped() {
    let vhost = require!(rabbitmq::vhost().await);
    let name = vhost.name().to_owned();
    assert!(rabbitmq::vhosts().await.unwrap().contains(&name));

    // With a connection still open.
    let connection = connect(vhost.url()).await;
    declare(&confirming_channel(&connection).await, "orders", "classic").await;
    drop(vhost);
    assert!(!rabbitmq::vhosts().await.unwrap().contains(&name));
    let ended = async {
        while connection.status().connected() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, ended).await.unwrap();
}

#[tokio::test]
async fn a_quorum_queue_confirms_and_returns_what_it_was_given() {
    let vhost = require!(rabbitmq::vhost().await);
    let connection = connect(vhost.url()).await;
    let channel = confirming_channel(&connection).await;
    declare(&channel, "orders", "quorum").await;
    assert!(matches!(publish(&channel, "orders", "one").await.unwrap(), Confirmation::Ack(None)));
    assert_eq!(get(&channel, "orders").await, Some(b"one".to_vec()));

    let unroutable = publish(&channel, "nowhere", "two").await.unwrap();
    assert!(matches!(unroutable, Confirmation::Ack(Some(_))), "{unroutable:?}");
}

#[tokio::test]
async fn parallel_virtual_hosts_do_not_see_each_other() {
    let (one, other) = tokio::join!(rabbitmq::vhost(), rabbitmq::vhost());
    let (one, other) = (require!(one), require!(other));
    for vhost in [&one, &other] {
        let connection = connect(vhost.url()).await;
        let channel = confirming_channel(&connection).await;
        declare(&channel, "orders", "classic").await;
        assert_eq!(get(&channel, "orders").await, None);
        publish(&channel, "orders", vhost.name()).await.unwrap();
    }
    for vhost in [&one, &other] {
        let connection = connect(vhost.url()).await;
        let channel = confirming_channel(&connection).await;
        assert_eq!(get(&channel, "orders").await, Some(vhost.name().as_bytes().to_vec()));
        assert_eq!(get(&channel, "orders").await, None);
    }
}

#[tokio::test]
async fn a_confirm_waits_out_a_silence_and_a_reset_ends_the_connection() {
    let vhost = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let url = proxy.url_for(vhost.url()).unwrap();
    let connection = connect(&url).await;
    let channel = confirming_channel(&connection).await;
    declare(&channel, "orders", "classic").await;

    proxy.set(Mode::Silent).await.unwrap();
    let confirmed = publish(&channel, "orders", "one");
    tokio::pin!(confirmed);
    assert!(timeout(QUIET, &mut confirmed).await.is_err());
    proxy.set(Mode::Forward).await.unwrap();
    let confirmation = timeout(SOON, confirmed).await.unwrap().unwrap();
    assert!(matches!(confirmation, Confirmation::Ack(None)));

    proxy.set(Mode::Reset).await.unwrap();
    proxy.set(Mode::Forward).await.unwrap();
    assert!(timeout(SOON, publish(&channel, "orders", "two")).await.unwrap().is_err());
    let connection = connect(&url).await;
    let channel = confirming_channel(&connection).await;
    assert_eq!(get(&channel, "orders").await, Some(b"one".to_vec()));
}
