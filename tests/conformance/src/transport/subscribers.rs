//! Subscribers that come late, go, wait, and are bounded.

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use mamey_core::ErrorKind;
use mamey_core::message::Partition;
use mamey_core::transport::{Routed, Settlement, Subscription};

use super::fixture::{
    Begun, PLACED, apply, beside, context, event, next, publish_and, subscribe, subscribe_to, take,
};
use super::harness::TransportHarness;

/// What was published before anyone subscribed waits.
pub async fn a_late_subscriber_gets_what_waits(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let sent = event(Some("order-1"));
    let mut begun = [Begun::new(transport, &sent)];
    let mut payments = beside(&mut begun, subscribe(transport, "payments", 1)).await;
    assert_eq!(beside(&mut begun, take(&mut payments)).await, sent);
    let [begun] = begun;
    assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
}

/// What a subscriber leaves unsettled, its successor gets, in order.
pub async fn unsettled_deliveries_go_to_the_next_subscriber(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut leaving = subscribe(transport, "payments", 10).await;
    let (mut begun, mut sent, mut unsettled) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let envelope = event(Some("order-1"));
        begun.push(Begun::new(transport, &envelope));
        unsettled.push(beside(&mut begun, next(&mut leaving)).await);
        sent.push(envelope);
    }
    drop(leaving);
    // Returning late what its successor already has changes nothing.
    drop(unsettled);
    let mut payments = beside(&mut begun, subscribe(transport, "payments", 10)).await;
    for envelope in sent {
        let delivery = beside(&mut begun, next(&mut payments)).await;
        assert_eq!(delivery.envelope(), &envelope);
        assert!(delivery.is_redelivered());
        delivery.settle(Settlement::Ack);
    }
    for begun in begun {
        assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    }
}

/// Giving up waiting for a message loses none.
pub async fn a_cancelled_wait_loses_nothing(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    for _ in 0..20 {
        assert!(payments.next().now_or_never().is_none(), "nothing was published");
        let sent = event(Some("order-1"));
        let mut begun = [Begun::new(transport, &sent)];
        // It may arrive at once; then it is returned and redelivered.
        drop(payments.next().now_or_never());
        assert_eq!(beside(&mut begun, take(&mut payments)).await, sent);
        let [begun] = begun;
        assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    }
}

/// At the limit of unsettled deliveries the subscriber waits until one is settled.
pub async fn unsettled_deliveries_are_bounded_by_the_prefetch(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 2).await;
    let mut begun: Vec<_> = (0..3).map(|_| Begun::new(transport, &event(None))).collect();
    let one = beside(&mut begun, next(&mut payments)).await;
    let two = beside(&mut begun, next(&mut payments)).await;
    assert!(payments.next().now_or_never().is_none(), "past the prefetch");
    one.settle(Settlement::Ack);
    let three = beside(&mut begun, next(&mut payments)).await;
    two.settle(Settlement::Ack);
    three.settle(Settlement::Ack);
    for begun in begun {
        assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    }
}

/// Each partition brings the keys whose slots are its own, and all keys have one.
pub async fn partitions_split_the_keys(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 4).await;
    let mut subscribers = Vec::new();
    for partition in Partition::all(4).unwrap() {
        subscribers.push(subscribe_to(transport, "payments", partition, 4).await);
    }
    for number in 0..32 {
        let key = format!("order-{number}");
        let sent = event((number % 4 > 0).then_some(key.as_str()));
        let partition = Partition::of_slot(sent.metadata.slot(), 4).unwrap();
        let subscriber = &mut subscribers[usize::from(partition.number())];
        assert_eq!(publish_and(transport, &sent, take(subscriber)).await, sent);
    }
}

/// A context that was not applied has nothing to subscribe to.
pub async fn unknown_contexts_cannot_subscribe(harness: TransportHarness) {
    let transport = &*harness.transport;
    let subscription = Subscription::new(context("nobody"), Partition::new(0, 1).unwrap(), 1);
    let error = transport.subscribe(&subscription).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("nobody"), "{error}");
}

/// After closing, calls fail; those that wait end, however many close at once.
pub async fn a_closed_transport_fails_all_calls(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let waiting = async {
        let next = payments.next().await;
        assert!(!matches!(next, Ok(Some(_))), "nothing was published");
    };
    let close = async { join(transport.close(), transport.close()).await };
    join(waiting, close).await;
    assert!(transport.publisher().publish(&event(None)).await.is_err());
    assert!(transport.ping().await.is_err());
    let subscription = Subscription::new(context("payments"), Partition::new(0, 1).unwrap(), 1);
    assert!(transport.subscribe(&subscription).await.is_err());
}

/// A new subscription gets what was left, and nothing that was acknowledged before.
pub async fn a_closed_subscription_resumes_where_it_ended(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let sent: Vec<_> = (0..6).map(|number| event(Some(&format!("order-{number}")))).collect();
    let mut begun: Vec<_> = sent.iter().map(|sent| Begun::new(transport, sent)).collect();
    let mut got = Vec::new();
    for _ in 0..3 {
        let mut payments = beside(&mut begun, subscribe(transport, "payments", 2)).await;
        for _ in 0..2 {
            got.push(beside(&mut begun, take(&mut payments)).await.metadata.id);
        }
    }
    got.sort();
    let mut expected: Vec<_> = sent.iter().map(|sent| sent.metadata.id).collect();
    expected.sort();
    assert_eq!(got, expected);
    for begun in begun {
        assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    }
}

/// Subscribers of different partitions receive at the same time.
pub async fn many_subscribers_receive_at_once(harness: TransportHarness) {
    let transport = &*harness.transport;
    const EACH: usize = 20;
    apply(transport, "payments", &[PLACED], 8).await;
    let (mut taking, mut publishing) = (Vec::new(), Vec::new());
    for partition in Partition::all(8).unwrap() {
        let mut subscriber = subscribe_to(transport, "payments", partition, 4).await;
        let slot = |key: &String| event(Some(key)).metadata.slot();
        let keys = (0..).map(|number| format!("order-{number}"));
        let key = keys.clone().find(|key| partition.contains(slot(key))).unwrap();
        publishing.push(async move {
            for _ in 0..EACH {
                let sent = event(Some(&key));
                assert_eq!(transport.publisher().publish(&sent).await.unwrap(), Routed::Delivered);
            }
        });
        taking.push(async move {
            for _ in 0..EACH {
                assert!(partition.contains(take(&mut subscriber).await.metadata.slot()));
            }
        });
    }
    join(join_all(taking), join_all(publishing)).await;
}

/// A transport that closes leaves no publish without an answer.
pub async fn closing_ends_every_publish_that_has_begun(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut begun: Vec<_> = (0..50).map(|_| Begun::new(transport, &event(None))).collect();
    beside(&mut begun, transport.close()).await;
    for begun in begun {
        // Stored in time, or not: either is true. What counts is that it ends.
        if let Err(error) = begun.outcome().await {
            assert_ne!(error.kind(), ErrorKind::Unroutable, "{error:?}");
        }
    }
}
