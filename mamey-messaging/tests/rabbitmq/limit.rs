//! Messages that are delivered again and again, and those that the broker gave up.

use lapin::types::AMQPValue;
use mamey_core::transport::{RejectReason, Settlement, Transport};
use mamey_core::{Error, ErrorKind};
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{rabbitmq, require};

use crate::logs::Logs;
use crate::world::{
    Foreign, PLACED, connect, context, event, next, persist, subscribe_to_all, topology,
};

const LIMIT: u16 = 3;

/// At which deliveries a message is near its limit: from half of it, not the first two times.
const NEAR: [bool; 4] = [false, false, true, true];

async fn with_limit(url: &str) -> RabbitTransport {
    let options = RabbitOptions::default().with_delivery_limit(LIMIT);
    let transport = RabbitTransport::connect(url, options).await.unwrap();
    transport.apply(&topology(1)).await.unwrap();
    transport
}

#[tokio::test]
async fn a_message_near_the_limit_is_marked_and_one_that_the_broker_gave_up_is_reported() {
    let vhost = require!(rabbitmq::vhost().await);
    let logs = Logs::begin();
    let sent = event("order-1", r#"{"a":1}"#);
    let publisher = with_limit(vhost.url()).await;
    publisher.publisher().publish(&sent).await.unwrap();
    for near in NEAR {
        // Each time by an instance that ends without an answer.
        let transport = with_limit(vhost.url()).await;
        let delivery = next(&mut subscribe_to_all(&transport).await).await;
        assert_eq!((delivery.envelope(), delivery.is_near_its_limit()), (&sent, near));
        transport.close().await;
        delivery.settle(Settlement::Ack);
    }
    let rejected = publisher.rejected(&context("payments")).unwrap();
    let given_up = async || match rejected.count().await? {
        0 => Err(Error::not_found("no dead letter yet")),
        waiting => Ok(waiting),
    };
    assert_eq!(persist(given_up).await, 1);

    // A transport that starts now reports it at once; a running one looks every half minute.
    let transport = with_limit(vhost.url()).await;
    logs.until_contain("dead letters wait on the broker").await;
    // It is listed with what the broker says of it, and replayed as it was published.
    for _ in 0..2 {
        let one = rejected.list(None, 10).await.unwrap().remove(0);
        assert_eq!((one.reason, &one.payload), (RejectReason::DeliveryLimit, &sent.payload));
        assert_eq!(one.place, "payments.1.0");
        assert!(one.rejected_at.is_some() && one.detail.contains("delivery_limit"), "{one:?}");
        let key = ("routing-key".to_owned(), format!("any.{PLACED}.{}", sent.metadata.slot()));
        assert!(one.headers.contains(&key), "{:?}", one.headers);
    }
    let foreign = Foreign::connect(vhost.url()).await;
    let dead = foreign.take("payments.dead").await;
    assert_eq!(dead.data, sent.payload);
    let headers = dead.properties.headers().as_ref().unwrap();
    let reason = headers.inner().get("x-first-death-reason");
    assert_eq!(reason, Some(&AMQPValue::LongString("delivery_limit".into())));
    transport.close().await;
    publisher.close().await;
}

#[tokio::test]
async fn queues_with_another_limit_are_refused_by_name() {
    let vhost = require!(rabbitmq::vhost().await);
    with_limit(vhost.url()).await.close().await;
    let transport = connect(vhost.url()).await;
    let error = transport.apply(&topology(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    for word in ["payments.1.0", "x-delivery-limit", "100", &LIMIT.to_string()] {
        assert!(error.to_string().contains(word), "{error}");
    }
}
