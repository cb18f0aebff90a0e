//! What is sent: encodings, sizes, and what cannot be read or kept.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use mamey_core::transport::{RejectReason, Routed, Settlement, Transport};
use mamey_core::{Error, ErrorKind, Retry};
use mamey_messaging::{RabbitEncoding, RabbitOptions, RabbitTransport, connect};
use mamey_test_support::{rabbitmq, require};

use crate::world::{
    Foreign, applied, context, event, header, next, persist, subscribe_to_all, targeted,
};

const EIGHT_MB: usize = 8 * 1024 * 1024;

#[tokio::test]
async fn eight_megabytes_arrive_and_more_than_the_limit_is_refused() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&transport).await;
    let mut sent = event("order-1", vec![7; EIGHT_MB]);
    sent.metadata.content_type = "application/octet-stream".into();
    assert_eq!(transport.publisher().publish(&sent).await.unwrap(), Routed::Delivered);
    let delivery = next(&mut payments).await;
    assert!(delivery.envelope() == &sent);
    delivery.settle(Settlement::Ack);
    sent.payload = Bytes::from(vec![7; transport.capabilities().message_bytes_max + 1]);
    let error = transport.publisher().publish(&sent).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
}

#[tokio::test]
async fn what_cannot_be_read_becomes_a_dead_letter_with_its_bytes() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&transport).await;
    let foreign = Foreign::connect(vhost.url()).await;
    let (body, options) = (b"\xff no event \x00", BasicPublishOptions::default());
    let properties = BasicProperties::default().with_message_id("A-1".into());
    let key = "any.orders.order-placed.0";
    let published =
        foreign.channel.basic_publish("mamey".into(), key.into(), options, body, properties);
    published.await.unwrap().await.unwrap();
    let dead = foreign.take("payments.dead").await;
    assert_eq!(dead.data, body);
    assert_eq!(dead.properties.message_id().as_ref().map(|id| id.as_str()), Some("A-1"));
    assert!(header(&dead, "x-mamey-reason").contains("not a plain message"));
    assert_eq!(header(&dead, "x-mamey-queue"), "payments.1.0");
    assert_eq!(header(&dead, "x-mamey-routing-key"), key);
    // The queue still delivers.
    let sent = event("order-1", "{}");
    transport.publisher().publish(&sent).await.unwrap();
    let delivery = next(&mut payments).await;
    assert_eq!(delivery.envelope(), &sent);
    delivery.settle(Settlement::Ack);
    transport.close().await;
    assert_eq!(foreign.waiting("payments.1.0").await, 0, "it was acknowledged");
}

#[tokio::test]
async fn a_rejected_message_becomes_a_dead_letter_with_its_reason() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&transport).await;
    let sent = event("order-1", r#"{"a":1}"#);
    transport.publisher().publish(&sent).await.unwrap();
    let rejected = transport.rejected(&context("payments")).unwrap();
    assert_eq!(rejected.count().await.unwrap(), 0);
    let detail = "the store cannot keep it".to_owned();
    let reason = RejectReason::Unstorable;
    next(&mut payments).await.settle(Settlement::Reject { reason, detail: detail.clone() });
    let waiting = async || match rejected.count().await? {
        0 => Err(Error::not_found("no dead letter yet")),
        waiting => Ok(waiting),
    };
    assert_eq!(persist(waiting).await, 1);
    let foreign = Foreign::connect(vhost.url()).await;
    let dead = foreign.take("payments.dead").await;
    assert_eq!((&dead.data[..], header(&dead, "x-mamey-reason")), (&sent.payload[..], detail));
    assert_eq!(header(&dead, "x-mamey-reason-code"), "unstorable");
    assert_eq!(header(&dead, "cloudEvents_id"), sent.metadata.id.to_string());
    transport.close().await;
    assert_eq!(foreign.waiting("payments.1.0").await, 0, "it was acknowledged");
}

#[tokio::test]
async fn every_encoding_reaches_every_reader() {
    let vhost = require!(rabbitmq::vhost().await);
    let reader = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&reader).await;
    for encoding in
        [RabbitEncoding::CloudEventsBinary, RabbitEncoding::CloudEventsJson, RabbitEncoding::Plain]
    {
        let options = RabbitOptions::default().with_encoding(encoding);
        let writer = RabbitTransport::connect(vhost.url(), options).await.unwrap();
        let sent = event("order-1", r#"{"a":1}"#);
        writer.publisher().publish(&sent).await.unwrap();
        let delivery = next(&mut payments).await;
        assert_eq!(delivery.envelope(), &sent, "{encoding:?}");
        delivery.settle(Settlement::Ack);
    }
}

/// Returns and confirms of many messages overlap; each publish gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unroutable_messages_fail_alone_among_many() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let publish = |number: usize| {
        let (publisher, mut envelope) = (transport.publisher(), targeted("order-1"));
        if number.is_multiple_of(3) {
            envelope.metadata.name = "orders.unheard-of".into();
        }
        async move { (number, envelope.metadata.id, publisher.publish(&envelope).await) }
    };
    let mut confirmed = BTreeSet::new();
    for (number, id, routed) in join_all((0..600).map(publish)).await {
        match (number % 3, routed) {
            (0, Err(error)) => assert_eq!(error.kind(), ErrorKind::Unroutable, "{error:?}"),
            (1 | 2, Ok(Routed::Delivered)) => assert!(confirmed.insert(id)),
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    let mut payments = subscribe_to_all(&transport).await;
    while !confirmed.is_empty() {
        let delivery = next(&mut payments).await;
        assert!(confirmed.remove(&delivery.envelope().metadata.id));
        delivery.settle(Settlement::Ack);
    }
}

#[tokio::test]
async fn a_broker_that_refuses_is_distinguished_from_one_that_is_unreachable() {
    let vhost = require!(rabbitmq::vhost().await);
    let wrong = |from: &str, to: &str| vhost.url().replace(from, to);
    let refused = async |url: String| -> Error { connect(&url).await.err().unwrap() };
    let password = vhost.url().split(['@', ':']).nth(2).unwrap().to_owned();
    let error = refused(wrong(&password, "s3cret-guess")).await;
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("password"), "{error}");
    assert!(!format!("{error:?}").contains("s3cret-guess"), "{error:?}");
    let error = refused(wrong(vhost.name(), "no-such-vhost")).await;
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    let error = refused("amqp://127.0.0.1:1".to_owned()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    // The second of two is tried when the first does not answer.
    assert!(connect(&format!("amqp://127.0.0.1:1,{}", vhost.url())).await.is_ok());
}
