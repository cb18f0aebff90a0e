//! Another number of partitions: who missed the change, what arrives late, and what is deleted.

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use mamey_core::ErrorKind;
use mamey_core::message::Partition;
use mamey_core::transport::{Routed, Settlement, Transport, Waiting};
use mamey_test_support::{rabbitmq, require};

use crate::world::{Foreign, connect, context, event, next, persist, subscribe, topology};

const MESSAGES: u32 = 64;

async fn waiting(foreign: &Foreign, partitions: u16) -> u32 {
    let mut all = 0;
    for number in 0..partitions {
        all += foreign.waiting(&format!("payments.{partitions}.{number}")).await;
    }
    all
}

/// Publishes straight into a queue, as what the broker had under way when the queue was unbound.
async fn publish_late(channel: &Channel, queue: &str) {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let publish = channel.basic_publish("".into(), queue.into(), options, b"{}", properties);
    publish.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn an_instance_that_missed_the_change_leads_nothing_back() {
    let vhost = require!(rabbitmq::vhost().await);
    let (one, other) = (connect(vhost.url()).await, connect(vhost.url()).await);
    one.apply(&topology(4)).await.unwrap();
    other.apply(&topology(8).with_former(Some(4))).await.unwrap();
    // As after a reconnect.
    let error = one.apply(&topology(4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("ours is 4, the broker's is 8"), "{error}");
    let (publisher, foreign) = (one.publisher(), Foreign::connect(vhost.url()).await);
    for number in 0..MESSAGES {
        let sent = event(&format!("order-{number}"), "{}");
        assert_eq!(publisher.publish(&sent).await.unwrap(), Routed::Delivered);
    }
    let all = persist(async || match waiting(&foreign, 8).await {
        MESSAGES => Ok(MESSAGES),
        count => Err(mamey_core::Error::other(format!("{count} wait"))),
    });
    assert_eq!(all.await, MESSAGES);
    assert_eq!(waiting(&foreign, 4).await, 0);
    // Back again, and only from where it is.
    let error = one.apply(&topology(2).with_former(Some(4))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    one.apply(&topology(4).with_former(Some(8))).await.unwrap();
    assert_eq!(publisher.publish(&event("order-1", "{}")).await.unwrap(), Routed::Delivered);
    let waiting =
        async |partitions| one.waiting(&context("payments"), partitions).await.unwrap().messages;
    assert_eq!((waiting(8).await, waiting(4).await), (u64::from(MESSAGES), 1));
}

#[tokio::test]
async fn what_waits_in_former_queues_is_counted_with_and_without_consumers() {
    let vhost = require!(rabbitmq::vhost().await);
    let (transport, payments) = (connect(vhost.url()).await, context("payments"));
    transport.apply(&topology(2)).await.unwrap();
    transport.apply(&topology(4).with_former(Some(2))).await.unwrap();
    assert_eq!(transport.waiting(&payments, 2).await.unwrap(), Waiting::default());
    let foreign = Foreign::connect(vhost.url()).await;
    foreign.channel.confirm_select(Default::default()).await.unwrap();
    for queue in ["payments.2.0", "payments.2.1", "payments.2.1"] {
        publish_late(&foreign.channel, queue).await;
    }
    let all = persist(async || match transport.waiting(&payments, 2).await? {
        all if all.messages == 3 => Ok(all),
        all => Err(mamey_core::Error::other(format!("{all:?}"))),
    });
    assert_eq!(all.await, Waiting::new(3, 0));
    // What a subscriber has is its own until it is settled or given back.
    let sent = event("order-1", "{}");
    transport.apply(&topology(2).with_former(Some(4))).await.unwrap();
    assert_eq!(transport.publisher().publish(&sent).await.unwrap(), Routed::Delivered);
    let partition = Partition::of_slot(sent.metadata.slot(), 2).unwrap();
    let mut subscriber = subscribe(&transport, partition, 10).await.unwrap();
    let delivery = next(&mut subscriber).await;
    assert_eq!(delivery.envelope(), &sent);
    let left = persist(async || match transport.waiting(&payments, 2).await? {
        left if left.messages < 3 => Ok(left),
        left => Err(mamey_core::Error::other(format!("{left:?}"))),
    });
    // Those that are no messages were rejected from this partition.
    assert_eq!(left.await.attended, 1, "it may have messages");
    delivery.settle(Settlement::Ack);
}

#[tokio::test]
async fn former_queues_are_deleted_when_they_are_forgotten() {
    let vhost = require!(rabbitmq::vhost().await);
    let (transport, payments) = (connect(vhost.url()).await, context("payments"));
    transport.apply(&topology(2)).await.unwrap();
    transport.apply(&topology(4).with_former(Some(2))).await.unwrap();
    transport.apply(&topology(4)).await.unwrap();
    transport.forget_partitions(&payments, 2).await.unwrap();
    for number in 0..2 {
        let foreign = Foreign::connect(vhost.url()).await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = format!("payments.2.{number}");
        let found = foreign.channel.queue_declare(queue.into(), options, FieldTable::default());
        assert!(found.await.is_err());
    }
    // Forgetting what is gone changes nothing.
    transport.forget_partitions(&payments, 2).await.unwrap();
    let sent = event("order-1", "{}");
    assert_eq!(transport.publisher().publish(&sent).await.unwrap(), Routed::Delivered);
}

#[tokio::test]
async fn a_look_changes_no_order() {
    let vhost = require!(rabbitmq::vhost().await);
    let (transport, payments) = (connect(vhost.url()).await, context("payments"));
    transport.apply(&topology(1)).await.unwrap();
    let sent: Vec<_> = (0..5).map(|number| event("order-1", format!("{number}"))).collect();
    for message in &sent {
        assert_eq!(transport.publisher().publish(message).await.unwrap(), Routed::Delivered);
    }
    let partition = Partition::new(0, 1).unwrap();
    // They were delivered and given back, as when all consumers stop.
    let mut leaving = subscribe(&transport, partition, 10).await.unwrap();
    for _ in &sent {
        drop(next(&mut leaving).await);
    }
    drop(leaving);
    let given_back = persist(async || match transport.waiting(&payments, 1).await? {
        all if all == Waiting::new(5, 0) => Ok(()),
        all => Err(mamey_core::Error::other(format!("{all:?}"))),
    });
    given_back.await;
    for _ in 0..3 {
        assert_eq!(transport.waiting(&payments, 1).await.unwrap(), Waiting::new(5, 0));
    }
    let mut subscriber = subscribe(&transport, partition, 10).await.unwrap();
    for message in &sent {
        let delivery = next(&mut subscriber).await;
        assert_eq!(delivery.envelope(), message);
        delivery.settle(Settlement::Ack);
    }
}
