//! Declaring: what exists already, what differs, and what was deleted.

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use mamey_core::ErrorKind;
use mamey_core::message::Partition;
use mamey_core::transport::{Routed, Settlement, Transport};
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{rabbitmq, require};

use crate::world::{
    Foreign, applied, connect, ends, event, next, persist, subscribe, subscribe_to_all, topology,
};

#[tokio::test]
async fn another_number_of_partitions_is_refused_by_name() {
    let vhost = require!(rabbitmq::vhost().await);
    let one = connect(vhost.url()).await;
    one.apply(&topology(4)).await.unwrap();
    let other = connect(vhost.url()).await;
    for partitions in [2, 8] {
        let error = other.apply(&topology(partitions)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
        let text = error.to_string();
        let ours = format!("ours is {partitions}, the broker's is 4");
        assert!(text.contains("number of partitions") && text.contains(&ours), "{text}");
        assert!(text.contains("`payments`"), "{text}");
    }
    other.apply(&topology(4)).await.unwrap();
    let wrong = subscribe(&one, Partition::new(0, 2).unwrap(), 1).await.err().unwrap();
    assert_eq!(wrong.kind(), ErrorKind::Misconfigured, "{wrong:?}");
}

#[tokio::test]
async fn what_differs_on_the_broker_is_named_with_both_values() {
    let vhost = require!(rabbitmq::vhost().await);
    let foreign = Foreign::connect(vhost.url()).await;
    let (options, none) = (QueueDeclareOptions::durable(), FieldTable::default());
    foreign.channel.queue_declare("payments.1.0".into(), options, none.clone()).await.unwrap();
    let transport = connect(vhost.url()).await;
    let error = transport.apply(&topology(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    for word in [
        "queue `payments.1.0`",
        "`x-dead-letter-exchange`",
        "'payments.dead', the broker's is none",
    ] {
        assert!(error.to_string().contains(word), "{error}");
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared =
        foreign.channel.exchange_declare("other".into(), ExchangeKind::Direct, options, none);
    declared.await.unwrap();
    let options = RabbitOptions::default().with_exchange("other");
    let transport = RabbitTransport::connect(vhost.url(), options).await.unwrap();
    let error = transport.apply(&topology(1)).await.unwrap_err();
    for word in ["exchange `other`", "`type`", "'topic'", "'direct'"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_deleted_queue_ends_its_subscription_and_is_declared_again() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&transport).await;
    let foreign = Foreign::connect(vhost.url()).await;
    let options = QueueDeleteOptions::default();
    foreign.channel.queue_delete("payments.1.0".into(), options).await.unwrap();
    let error = ends(&mut payments).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("`payments.1.0`"), "{error}");
    let mut payments = subscribe_to_all(&transport).await;
    let sent = event("order-1", "{}");
    assert_eq!(transport.publisher().publish(&sent).await.unwrap(), Routed::Delivered);
    let delivery = next(&mut payments).await;
    assert_eq!(delivery.envelope(), &sent);
    delivery.settle(Settlement::Ack);
}

#[tokio::test]
async fn a_deleted_exchange_fails_publishes_until_it_is_applied_again() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let foreign = Foreign::connect(vhost.url()).await;
    foreign.channel.exchange_delete("mamey".into(), Default::default()).await.unwrap();
    let sent = event("order-1", "{}");
    for _ in 0..3 {
        let error = transport.publisher().publish(&sent).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.to_string().contains("the exchange is gone"), "{error}");
    }
    transport.apply(&topology(1)).await.unwrap();
    let routed = persist(async || transport.publisher().publish(&sent).await).await;
    assert_eq!(routed, Routed::Delivered);
}
