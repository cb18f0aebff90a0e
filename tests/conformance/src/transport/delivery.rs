//! What arrives, in which order, and what settling does.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use mamey_core::Retry;
use mamey_core::message::{CloudEventsJson, Codec, WireMessage};
use mamey_core::transport::{RejectReason, Routed, Settlement};

use super::fixture::{Begun, PLACED, apply, beside, event, next, publish_and, subscribe, take};
use super::harness::TransportHarness;

/// Metadata and payload arrive as they were sent, empty, large and binary ones too.
pub async fn messages_arrive_unchanged(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let every_byte: Bytes = (0..=u8::MAX).collect();
    let large = Bytes::from(vec![b'x'; 1024 * 1024]);
    let payloads = [Bytes::new(), Bytes::from_static(b"1"), every_byte, large];
    for payload in payloads {
        let mut sent = event(Some("order-1"));
        sent.payload = payload;
        // Most of these are no JSON, so they travel under a media type that says so.
        sent.metadata.content_type = "application/octet-stream".into();
        let got = publish_and(transport, &sent, take(&mut payments)).await;
        assert_eq!(got.metadata, sent.metadata);
        assert!(got.payload == sent.payload, "{} bytes differ", sent.payload.len());
    }
}

/// A message that came from another system is passed on with all that it came with: ids that are no
/// UUIDs, a key that is too long, odd extensions, and what could not be read.
pub async fn a_message_of_another_system_is_passed_on_unchanged(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let long = "k".repeat(5000);
    let event = format!(
        r#"{{"specversion":"1.0","id":"A/1 é","source":"/shop","type":"{PLACED}",
        "correlationid":"txn-abc-123","causationid":"{long}","partitionkey":"{long}",
        "tenant":"{long}","time":"noon","target":"https://billing","messageversion":"v2",
        "X_Odd-name.of-more-than-20-letters":"v","subject":"s","traceparent":"00-x","data":null}}"#
    );
    let came = CloudEventsJson::default().decode(&WireMessage::new(event.into())).unwrap();
    let got = publish_and(transport, &came, take(&mut payments)).await;
    assert_eq!(got, came);
    assert_eq!(got.metadata.id_as_sent().to_string(), "A/1 é");
    assert_eq!(got.metadata.correlation_id.to_string(), "txn-abc-123");
    let headers = &got.metadata.headers;
    assert_eq!((headers.get("foreigntime"), headers.get("subject")), (Some("noon"), Some("s")));
}

/// Messages of one key arrive in the order in which they were confirmed, many keys at a time.
pub async fn order_holds_within_a_key(harness: TransportHarness) {
    let transport = &*harness.transport;
    const KEYS: usize = 8;
    const EACH: usize = 25;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 4).await;
    let publish_key = |key: usize| async move {
        let mut sent = Vec::new();
        for _ in 0..EACH {
            let envelope = event(Some(&format!("order-{key}")));
            let publisher = transport.publisher();
            assert_eq!(publisher.publish(&envelope).await.unwrap(), Routed::Delivered);
            sent.push(envelope.metadata.id);
        }
        sent
    };
    let receive = async {
        let mut got = Vec::new();
        while got.len() < KEYS * EACH {
            got.push(take(&mut payments).await.metadata);
        }
        got
    };
    let published = join_all((0..KEYS).map(publish_key));
    let (published, got) = futures_util::future::join(published, receive).await;
    for (key, sent) in published.into_iter().enumerate() {
        let key = format!("order-{key}");
        let of_key = got.iter().filter(|it| it.key.as_ref().is_some_and(|it| it.as_str() == key));
        assert_eq!(of_key.map(|metadata| metadata.id).collect::<Vec<_>>(), sent);
    }
}

/// A transport that keeps nothing confirms only what every subscriber has settled; any other
/// confirms what it has stored.
pub async fn a_message_is_confirmed_when_it_is_safe(harness: TransportHarness) {
    let transport = &*harness.transport;
    for name in ["payments", "kitchen"] {
        apply(transport, name, &[PLACED], 1).await;
    }
    let mut payments = subscribe(transport, "payments", 1).await;
    let mut kitchen = subscribe(transport, "kitchen", 1).await;
    let mut begun = [Begun::new(transport, &event(None))];
    let one = beside(&mut begun, next(&mut payments)).await;
    let other = beside(&mut begun, next(&mut kitchen)).await;
    let durable = transport.capabilities().durable;
    assert!(durable || !begun[0].is_done(), "confirmed before anyone settled it");
    one.settle(Settlement::Ack);
    assert!(durable || !begun[0].is_done(), "confirmed before all have settled it");
    other.settle(Settlement::Ack);
    let [begun] = begun;
    assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
}

/// A returned message is delivered again before its key's next, and marked as redelivered.
pub async fn a_returned_message_is_redelivered_in_its_place(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let (first, second) = (event(Some("order-1")), event(Some("order-1")));
    let mut begun = vec![Begun::new(transport, &first)];
    let delivery = beside(&mut begun, next(&mut payments)).await;
    assert!(!delivery.is_redelivered());
    begun.push(Begun::new(transport, &second));
    delivery.settle(Settlement::Return);
    let again = beside(&mut begun, next(&mut payments)).await;
    assert_eq!(again.envelope(), &first);
    assert!(again.is_redelivered());
    again.settle(Settlement::Ack);
    assert_eq!(beside(&mut begun, take(&mut payments)).await, second);
    for begun in begun {
        assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    }
}

/// A delivery that is dropped unsettled, as by a panic, is delivered again.
pub async fn a_dropped_delivery_is_redelivered(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let sent = event(None);
    let drop_and_take = async {
        drop(next(&mut payments).await);
        take(&mut payments).await
    };
    assert_eq!(publish_and(transport, &sent, drop_and_take).await, sent);
}

/// A rejected message is set aside by a transport that stores it, and the next one is delivered. One
/// that stores nothing does not confirm it.
pub async fn a_rejected_message_is_not_redelivered(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let mut begun = [Begun::new(transport, &event(Some("order-1")))];
    let delivery = beside(&mut begun, next(&mut payments)).await;
    let (reason, detail) = (RejectReason::Unstorable, "the store cannot keep it".to_owned());
    delivery.settle(Settlement::Reject { reason, detail });
    let [begun] = begun;
    match begun.outcome().await {
        Ok(routed) => {
            assert_eq!(routed, Routed::Delivered);
            assert!(transport.capabilities().durable, "it was confirmed and is stored nowhere");
        }
        Err(error) => assert_eq!(error.retry(), Retry::Later, "{error}"),
    }
    let sent = event(Some("order-1"));
    assert_eq!(publish_and(transport, &sent, take(&mut payments)).await, sent);
}

/// With room for one unsettled message, a key's second comes when its first is settled.
pub async fn a_second_message_of_a_key_waits_for_the_first(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let (first, second) = (event(Some("order-1")), event(Some("order-1")));
    let mut begun = vec![Begun::new(transport, &first)];
    let delivery = beside(&mut begun, next(&mut payments)).await;
    begun.push(Begun::new(transport, &second));
    let durable = transport.capabilities().durable;
    for _ in 0..10 {
        assert!(payments.next().now_or_never().is_none(), "the second came beside the first");
        assert!(!begun[1].is_done() || durable, "the second was settled");
    }
    delivery.settle(Settlement::Ack);
    assert_eq!(beside(&mut begun, take(&mut payments)).await, second);
    for begun in begun {
        assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    }
}
