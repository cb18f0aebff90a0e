//! Messages of other systems: legal ones are delivered and passed on, none is a dead letter.

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use mamey_core::message::{Envelope, FOREIGN_HEADER_VALUE_BYTES_MAX};
use mamey_core::transport::{RejectReason, Settlement, Transport};
use mamey_test_support::{rabbitmq, require};

use crate::world::{Foreign, PLACED, applied, context, header, next, subscribe_to_all};

/// The attributes of each event, beside the required ones.
const EVENTS: [&str; 8] = [
    r#""correlationid":"txn-abc-123","causationid":"evt-9","data":{}"#,
    r#""time":"2016-12-31t23:59:60.123456789012z","data":{}"#,
    r#""time":"noon","target":"https://billing","messageversion":"v2","data":{}"#,
    r#""X_Odd-name.of-more-than-20-letters":"v","subject":"s","dataschema":"urn:x","data":{}"#,
    r#""partitionkey":"LONG","tenant":"LONG","ext":"LONG","data":{}"#,
    r#""traceparent":"00-x","tracestate":"a=1","tags":["a"],"count":7,"data":{}"#,
    r#""datacontenttype":"Text/JSON; charset=utf-8","data":{}"#,
    r#""data":null"#,
];

fn structured(number: usize, attributes: &str) -> (BasicProperties, Vec<u8>) {
    let body = format!(
        r#"{{"specversion":"1.0","id":"A-{number}","source":"/shop","type":"{PLACED}",{attributes}}}"#
    );
    let media = "Application/CloudEvents+JSON; charset=UTF-8";
    (
        BasicProperties::default().with_content_type(media.into()),
        body.replace("LONG", &"k".repeat(5000)).into_bytes(),
    )
}

/// Binary mode with 40 extensions, one of them over the bounds, and a header that is no text.
fn binary() -> (BasicProperties, Vec<u8>) {
    let mut headers = FieldTable::default();
    let mut put = |name: &str, value: &str| {
        headers.insert(format!("cloudEvents:{name}").into(), AMQPValue::LongString(value.into()));
    };
    for (name, value) in [("specversion", "1.0"), ("id", "B-1"), ("source", "/shop")] {
        put(name, value);
    }
    put("type", PLACED);
    put("correlationid", "txn-abc-123");
    for number in 0..40 {
        put(&format!("ext_{number}"), "v");
    }
    put("large", &"v".repeat(FOREIGN_HEADER_VALUE_BYTES_MAX + 1));
    headers.insert("cloudEvents:flag".into(), AMQPValue::Void);
    (BasicProperties::default().with_headers(headers), Vec::new())
}

async fn publish(foreign: &Foreign, (properties, body): (BasicProperties, Vec<u8>)) {
    let key = "any.orders.order-placed.0";
    let options = BasicPublishOptions::default();
    let published =
        foreign.channel.basic_publish("mamey".into(), key.into(), options, &body, properties);
    published.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn what_other_systems_send_is_delivered_and_passed_on() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let mut payments = subscribe_to_all(&transport).await;
    let foreign = Foreign::connect(vhost.url()).await;
    for (number, attributes) in EVENTS.into_iter().enumerate() {
        publish(&foreign, structured(number, attributes)).await;
    }
    publish(&foreign, binary()).await;
    for media_type in ["application/json; charset=utf-8", ""] {
        let (_, body) = structured(9, r#""sender":"till","data":{}"#);
        let properties = BasicProperties::default().with_content_type(media_type.into());
        publish(&foreign, (properties, body)).await;
    }
    publish(&foreign, (BasicProperties::default(), structured(9, r#""data":1"#).1)).await;
    let mut received: Vec<Envelope> = Vec::new();
    for _event in 0..EVENTS.len() + 4 {
        let delivery = next(&mut payments).await;
        received.push(delivery.envelope().clone());
        delivery.settle(Settlement::Ack);
    }
    let dropped: Vec<u32> = received.iter().map(|it| it.metadata.headers.dropped()).collect();
    assert_eq!(dropped, [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    for event in &received[9..] {
        assert_eq!(event.metadata.id_as_sent().to_string(), "A-9");
        assert_eq!(&*event.metadata.sender, "/shop");
    }
    assert_eq!(received[0].metadata.correlation_id.to_string(), "txn-abc-123");
    assert_eq!(received[2].metadata.headers.get("foreigntime"), Some("noon"));
    for sent in &received {
        transport.publisher().publish(sent).await.unwrap();
        let delivery = next(&mut payments).await;
        assert_eq!(delivery.envelope(), sent);
        delivery.settle(Settlement::Ack);
    }
    let rejected = transport.rejected(&context("payments")).unwrap();
    assert_eq!(rejected.count().await.unwrap(), 0);
    // What is written again has the id and correlation that came.
    transport.publisher().publish(&received[0]).await.unwrap();
    let (reason, detail) = (RejectReason::Unstorable, "no more".to_owned());
    next(&mut payments).await.settle(Settlement::Reject { reason, detail });
    let dead = foreign.take("payments.dead").await;
    assert_eq!(header(&dead, "cloudEvents_id"), "A-0");
    assert_eq!(header(&dead, "cloudEvents_correlationid"), "txn-abc-123");
    assert_eq!(header(&dead, "cloudEvents_causationid"), "evt-9");
}

#[tokio::test]
async fn a_batch_becomes_a_dead_letter_that_says_what_to_send() {
    let vhost = require!(rabbitmq::vhost().await);
    let transport = applied(vhost.url()).await;
    let _payments = subscribe_to_all(&transport).await;
    let foreign = Foreign::connect(vhost.url()).await;
    let media = "application/cloudevents-batch+json";
    let properties = BasicProperties::default().with_content_type(media.into());
    publish(&foreign, (properties, b"[]".to_vec())).await;
    let dead = foreign.take("payments.dead").await;
    let reason = header(&dead, "x-mamey-reason");
    assert!(reason.contains("batch") && reason.contains("a message of its own"), "{reason}");
}
