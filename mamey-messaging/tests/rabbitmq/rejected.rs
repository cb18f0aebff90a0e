//! What lies among the dead letters on a broker: listed as it came, and replayed as it was published.

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, message::Delivery};
use mamey_core::transport::{
    RejectReason, RejectedMessage, RejectedMessages, Settlement, Transport,
};
use mamey_core::{Error, ErrorKind};
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{rabbitmq, require};
use tokio::time::timeout;

use crate::world::{
    Foreign, SOON, applied, context, event, next, persist, subscribe_to_all, topology,
};

const KEY: &str = "any.orders.order-placed.7";

/// What a receiver with this limit refuses.
const LIMIT: usize = 1024;

async fn with_limit(url: &str, bytes: usize) -> RabbitTransport {
    let options = RabbitOptions::default().with_message_bytes_max(bytes);
    let transport = RabbitTransport::connect(url, options).await.unwrap();
    transport.apply(&topology(1)).await.unwrap();
    transport
}

async fn publish(foreign: &Foreign, properties: BasicProperties, body: &[u8]) {
    let options = BasicPublishOptions::default();
    let channel = &foreign.channel;
    let published = channel.basic_publish("mamey".into(), KEY.into(), options, body, properties);
    published.await.unwrap().await.unwrap();
}

async fn listed(rejected: &dyn RejectedMessages, count: usize) -> Vec<RejectedMessage> {
    persist(async || {
        let listed = rejected.list(None, 100).await?;
        if listed.len() == count { Ok(listed) } else { Err(Error::not_found("not all yet")) }
    })
    .await
}

async fn get(foreign: &Foreign, queue: &str) -> Option<Delivery> {
    let got = foreign.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
    got.await.unwrap().map(|got| got.delivery)
}

#[tokio::test]
async fn each_reason_has_its_code_and_is_counted_by_it() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = with_limit(vhost.url(), LIMIT).await;
    let mut payments = subscribe_to_all(&transport).await;
    let foreign = Foreign::connect(vhost.url()).await;
    let media = |media: &str| BasicProperties::default().with_content_type(media.into());
    publish(&foreign, media("text/plain"), b"\xff\x00 no event").await;
    publish(&foreign, media("application/cloudevents-batch+json"), b"[]").await;
    publish(&foreign, media("application/cloudevents+json"), &vec![b' '; LIMIT + 1]).await;
    let sent = event("order-1", "{}");
    transport.publisher().publish(&sent).await.unwrap();
    let (reason, detail) = (RejectReason::Unstorable, "the store cannot keep it".to_owned());
    next(&mut payments).await.settle(Settlement::Reject { reason, detail });
    let rejected = transport.rejected(&context("payments")).unwrap();
    let mut listed = listed(&*rejected, 4).await;
    listed.sort_by_key(|message| (message.reason, message.payload.clone()));
    let reasons: Vec<&str> = listed.iter().map(|message| message.reason.as_str()).collect();
    assert_eq!(reasons, ["undecodable", "unsupported", "over-limit", "unstorable"]);
    assert_eq!(&listed[0].payload[..], b"\xff\x00 no event");
    assert!(listed.iter().all(|message| message.place == "payments.1.0"), "{listed:?}");
    assert!(listed.iter().all(|message| !message.detail.is_empty()), "{listed:?}");
    let came = ("content-type".to_owned(), "text/plain".to_owned());
    assert!(listed[0].headers.contains(&came), "{:?}", listed[0].headers);
    let totals = rejected.totals();
    let counted = [totals.undecodable, totals.unsupported, totals.over_limit, totals.unstorable];
    assert_eq!((counted, totals.all()), ([1; 4], 4));
}

/// Nothing of what we noted stays on a replayed message, and nothing of its own is lost.
#[tokio::test]
async fn a_replay_is_the_message_as_it_was_published() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let payments = subscribe_to_all(&transport).await;
    let foreign = Foreign::connect(vhost.url()).await;
    let mut headers = FieldTable::default();
    headers.insert("region".into(), AMQPValue::LongString("eu".into()));
    headers.insert("x-own".into(), AMQPValue::LongLongInt(7));
    let properties = BasicProperties::default()
        .with_message_id("A-1".into())
        .with_content_type("text/odd".into())
        .with_headers(headers);
    publish(&foreign, properties.clone(), b"no event").await;
    let rejected = transport.rejected(&context("payments")).unwrap();
    let one = listed(&*rejected, 1).await.remove(0);
    for header in [("region", "eu"), ("x-own", "7"), ("message-id", "A-1"), ("routing-key", KEY)] {
        let header = (header.0.to_owned(), header.1.to_owned());
        assert!(one.headers.contains(&header), "{header:?} in {:?}", one.headers);
    }
    drop(payments);
    transport.close().await;
    let operator = applied(vhost.url()).await;
    let rejected = operator.rejected(&context("payments")).unwrap();
    assert_eq!(rejected.replay(&[one.id]).await.unwrap(), 1);
    // A queue with a single active consumer lets nobody get one message.
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = foreign.channel.basic_consume("payments.1.0".into(), "".into(), options, none);
    let replayed = timeout(SOON, consumer.await.unwrap().next()).await.unwrap().unwrap().unwrap();
    assert_eq!(replayed.data, b"no event");
    let mut headers = replayed.properties.headers().clone().unwrap_or_default().inner().clone();
    headers.retain(|name, _| !["x-mamey-exchange", "x-mamey-routing-key"].contains(&name.as_str()));
    assert_eq!(headers, *properties.headers().clone().unwrap().inner());
    assert_eq!(replayed.properties.message_id(), properties.message_id());
    assert_eq!(replayed.properties.content_type(), properties.content_type());
    assert_eq!(replayed.properties.delivery_mode(), &Some(2), "it survives a restart");
}

/// A receiver with a higher limit is the fix.
#[tokio::test]
async fn what_a_fixed_build_can_read_is_replayed_to_it() {
    let vhost = require!(rabbitmq::vhost().await);
    let small = with_limit(vhost.url(), LIMIT).await;
    let subscriber = subscribe_to_all(&small).await;
    let large = applied(vhost.url()).await;
    let sent = event("order-1", vec![b' '; LIMIT * 2]);
    large.publisher().publish(&sent).await.unwrap();
    let rejected = small.rejected(&context("payments")).unwrap();
    let one = listed(&*rejected, 1).await.remove(0);
    assert_eq!((one.reason, &one.payload), (RejectReason::OverLimit, &sent.payload));
    // Replayed to the old build it is rejected again, and listed once.
    assert_eq!(rejected.replay(&[one.id]).await.unwrap(), 1);
    let again = persist(async || match rejected.totals().over_limit {
        2 => Ok(listed(&*rejected, 1).await.remove(0)),
        _ => Err(Error::not_found("it was not delivered yet")),
    })
    .await;
    assert!(again.id != one.id && again.headers == one.headers, "{again:?}");
    drop(subscriber);
    small.close().await;
    let mut payments = subscribe_to_all(&large).await;
    let rejected = large.rejected(&context("payments")).unwrap();
    assert_eq!(rejected.replay(&[again.id]).await.unwrap(), 1);
    let delivery = next(&mut payments).await;
    assert_eq!(delivery.envelope(), &sent);
    delivery.settle(Settlement::Ack);
    assert_eq!(rejected.count().await.unwrap(), 0);
}

/// What was not confirmed stays a dead letter.
#[tokio::test]
async fn a_replay_that_finds_no_queue_loses_nothing() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&transport).await;
    transport.publisher().publish(&event("order-1", "{}")).await.unwrap();
    let (reason, detail) = (RejectReason::Unstorable, "too odd".to_owned());
    next(&mut payments).await.settle(Settlement::Reject { reason, detail });
    let rejected = transport.rejected(&context("payments")).unwrap();
    let one = listed(&*rejected, 1).await.remove(0);
    drop(payments);
    let foreign = Foreign::connect(vhost.url()).await;
    let deleted =
        foreign.channel.queue_delete("payments.1.0".into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let error = rejected.replay(&[one.id]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("payments.1.0"), "{error}");
    assert_eq!(listed(&*rejected, 1).await[0].id, one.id);
    // The context is declared again with its next use.
    assert_eq!(rejected.replay(&[one.id]).await.unwrap(), 1);
    assert_eq!(next(&mut subscribe_to_all(&transport).await).await.envelope().payload, one.payload);
}

/// A process that ends between the confirm and the settling leaves both: the second replay is the
/// same message again, which an inbox absorbs.
#[tokio::test]
async fn a_replay_that_was_cut_off_is_repeated_under_the_same_message_id() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&transport).await;
    let sent = event("order-1", "{}");
    transport.publisher().publish(&sent).await.unwrap();
    let (reason, detail) = (RejectReason::Unstorable, "too odd".to_owned());
    next(&mut payments).await.settle(Settlement::Reject { reason, detail });
    let rejected = transport.rejected(&context("payments")).unwrap();
    let one = listed(&*rejected, 1).await.remove(0);
    let foreign = Foreign::connect(vhost.url()).await;
    let copy = get(&foreign, "payments.dead").await.unwrap();
    let options = BasicPublishOptions::default();
    for _ in 0..2 {
        let (queue, properties) = ("payments.dead".into(), copy.properties.clone());
        let published =
            foreign.channel.basic_publish("".into(), queue, options, &copy.data, properties);
        published.await.unwrap().await.unwrap();
    }
    let copies = listed(&*rejected, 2).await;
    assert!(copies.iter().all(|copy| copy == &one), "{copies:?}");
    for left in [1, 0] {
        assert_eq!(rejected.replay(&[one.id]).await.unwrap(), 1);
        let delivery = next(&mut payments).await;
        assert_eq!(delivery.envelope(), &sent);
        delivery.settle(Settlement::Ack);
        listed(&*rejected, left).await;
    }
}

/// Somebody else's message among the dead letters is listed, and stays until it is discarded.
#[tokio::test]
async fn what_nobody_of_ours_put_there_is_listed_as_unknown() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let foreign = Foreign::connect(vhost.url()).await;
    let options = BasicPublishOptions::default();
    let (queue, none) = ("payments.dead".into(), BasicProperties::default());
    let published = foreign.channel.basic_publish("".into(), queue, options, b"hello", none);
    published.await.unwrap().await.unwrap();
    let rejected = transport.rejected(&context("payments")).unwrap();
    let one = listed(&*rejected, 1).await.remove(0);
    assert_eq!((one.reason, &one.payload[..]), (RejectReason::Unknown, &b"hello"[..]));
    assert_eq!(listed(&*rejected, 1).await[0], one, "its id is derived, and stays the same");
    assert_eq!(rejected.discard(&[one.id]).await.unwrap(), 1);
    assert_eq!(rejected.count().await.unwrap(), 0);
    let other = transport.rejected(&context("kitchen")).unwrap();
    assert_eq!(other.count().await.unwrap_err().kind(), ErrorKind::Misconfigured, "not applied");
}
