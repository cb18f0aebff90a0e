//! A broker whose exchanges and queues others have made.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use mamey_core::message::ContextName;
use mamey_core::transport::{RejectReason, Routed, Settlement, Transport};
use mamey_core::{Error, ErrorKind};
use mamey_messaging::{RabbitOptions, RabbitPredefined, RabbitTransport};
use mamey_test_support::{rabbitmq, require};

use crate::world::{
    Foreign, PLACED, event, header, next, persist, subscribe_to_all, targeted, topology,
};

async fn make(channel: &Channel, kind: ExchangeKind, key: &str, arguments: FieldTable) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default;
    channel.exchange_declare("shop".into(), kind, options, none()).await.unwrap();
    for queue in ["shop.payments", "shop.failed"] {
        let options = QueueDeclareOptions::durable();
        channel.queue_declare(queue.into(), options, none()).await.unwrap();
    }
    let options = QueueBindOptions::default();
    let bound =
        channel.queue_bind("shop.payments".into(), "shop".into(), key.into(), options, arguments);
    bound.await.unwrap();
}

async fn connect(url: &str, routing_key: &str) -> RabbitTransport {
    let predefined = RabbitPredefined::new("shop", routing_key);
    let predefined = predefined.context("payments", ["shop.payments"], "shop.failed").unwrap();
    let options = RabbitOptions::default().with_predefined(predefined.ordered());
    RabbitTransport::connect(url, options).await.unwrap()
}

#[tokio::test]
async fn exchanges_of_every_type_are_used_as_they_are() {
    for (kind, binding, template) in [
        (ExchangeKind::Direct, PLACED, "{name}"),
        (ExchangeKind::Topic, "orders.#", "{name}.{slot}"),
        (ExchangeKind::Fanout, "", ""),
        (ExchangeKind::Headers, "", "{name}"),
    ] {
        let vhost = require!(rabbitmq::vhost().await);
        let foreign = Foreign::connect(vhost.url()).await;
        let mut arguments = FieldTable::default();
        if kind == ExchangeKind::Headers {
            arguments.insert("cloudEvents_type".into(), AMQPValue::LongString(PLACED.into()));
        }
        make(&foreign.channel, kind.clone(), binding, arguments).await;
        let transport = connect(vhost.url(), template).await;
        assert!(transport.capabilities().ordered);
        transport.apply(&topology(1)).await.unwrap();
        let mut payments = subscribe_to_all(&transport).await;
        for sent in [event("order-1", "{}"), targeted("order-1")] {
            let routed = transport.publisher().publish(&sent).await.unwrap();
            assert_eq!(routed, Routed::Delivered, "{kind:?}");
            let delivery = next(&mut payments).await;
            assert_eq!(delivery.envelope(), &sent, "{kind:?}");
            delivery.settle(Settlement::Ack);
        }
        if kind != ExchangeKind::Fanout {
            let mut unheard = targeted("order-1");
            unheard.metadata.name = "stock.unheard-of".into();
            let error = transport.publisher().publish(&unheard).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unroutable, "{kind:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_and_nothing_is_declared() {
    let vhost = require!(rabbitmq::vhost().await);
    let foreign = Foreign::connect(vhost.url()).await;
    let transport = connect(vhost.url(), "").await;
    let plan = transport.plan(&topology(1)).unwrap().to_string();
    assert_eq!(plan, "find exchange shop\nfind queue shop.payments\nfind queue shop.failed\n");
    let error = transport.apply(&topology(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("exchange shop is not on the broker"), "{error}");
    make(&foreign.channel, ExchangeKind::Fanout, "", FieldTable::default()).await;
    transport.apply(&topology(1)).await.unwrap();
    let error = transport.apply(&topology(8)).await.unwrap_err();
    assert!(error.to_string().contains("8 partitions and 1 queues"), "{error}");
}

#[tokio::test]
async fn rejected_messages_go_to_the_queue_that_was_named() {
    let vhost = require!(rabbitmq::vhost().await);
    let foreign = Foreign::connect(vhost.url()).await;
    make(&foreign.channel, ExchangeKind::Fanout, "", FieldTable::default()).await;
    let transport = connect(vhost.url(), "").await;
    transport.apply(&topology(1)).await.unwrap();
    let mut payments = subscribe_to_all(&transport).await;
    transport.publisher().publish(&event("order-1", "{}")).await.unwrap();
    let (reason, detail) = (RejectReason::Unstorable, "too odd".to_owned());
    next(&mut payments).await.settle(Settlement::Reject { reason, detail });
    let rejected = transport.rejected(&ContextName::new("payments").unwrap()).unwrap();
    let one = persist(async || match rejected.list(None, 10).await?.pop() {
        Some(one) => Ok(one),
        None => Err(Error::not_found("not rejected yet")),
    });
    let one = one.await;
    assert_eq!((one.place.as_str(), one.detail.as_str()), ("shop.payments", "too odd"));
    assert_eq!(rejected.replay(&[one.id]).await.unwrap(), 1);
    let (reason, detail) = (RejectReason::Unstorable, "too odd".to_owned());
    next(&mut payments).await.settle(Settlement::Reject { reason, detail });
    let dead = foreign.take("shop.failed").await;
    assert_eq!(header(&dead, "x-mamey-reason"), "too odd");
}
