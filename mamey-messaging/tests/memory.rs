//! What the in-process transport does beyond the suite: connecting, limits and dead letters.
#![expect(clippy::unwrap_used, reason = "a failure must end the test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use mamey_core::ErrorKind;
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::message::{BODY_BYTES_MAX, ContextName, Envelope, Metadata, Partition, Target};
use mamey_core::transport::{
    REJECTED_PAGE_MAX, REQUESTS_SERVED_MAX, RejectReason, Responder, Settlement, Subscriber,
    Subscription, Topology, Transport,
};
use mamey_messaging::{MemoryTransport, QUEUE_MESSAGES_MAX, REJECTED_MESSAGES_MAX, connect};

fn event() -> Envelope {
    let id = UuidV7Source::default().message_id();
    let metadata = Metadata::new(id, "orders.order-placed", "orders");
    let payload = Bytes::from_static(b"{}");
    Envelope::new(metadata, payload)
}

async fn hosting_payments(partitions: u16) -> MemoryTransport {
    let transport = MemoryTransport::new();
    transport.apply(&topology(partitions)).await.unwrap();
    transport
}

fn topology(partitions: u16) -> Topology {
    Topology::new(ContextName::new("payments").unwrap(), partitions)
        .with_handles(vec!["orders.order-placed"])
}

async fn subscribe(transport: &MemoryTransport, prefetch: u16) -> Box<dyn Subscriber> {
    let subscription = Subscription::new(
        ContextName::new("payments").unwrap(),
        Partition::new(0, 1).unwrap(),
        prefetch,
    );
    transport.subscribe(&subscription).await.unwrap()
}

#[tokio::test]
async fn urls_that_name_no_transport_say_what_does() {
    assert!(connect("memory:").await.is_ok());
    for url in ["kafka://broker", "memory:queue", "orders", ""] {
        let error = connect(url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{url}");
        assert!(error.to_string().contains("memory:"), "{error}");
    }
}

#[cfg(not(feature = "rabbitmq"))]
#[tokio::test]
async fn a_transport_that_is_not_in_this_build_is_refused() {
    let error = connect("amqp://app:s3cret@broker").await.err().unwrap();
    assert!(error.to_string().contains("turn on the feature `rabbitmq`"), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let transport = hosting_payments(4).await;
    let error = transport.apply(&topology(8)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(transport.apply(&topology(4)).await.is_ok());
}

#[tokio::test]
async fn rejected_messages_are_not_confirmed_and_show_with_their_reason_within_bounds() {
    let transport = hosting_payments(1).await;
    let mut payments = subscribe(&transport, 1).await;
    let receive = tokio::spawn(async move {
        for number in 0..=REJECTED_MESSAGES_MAX {
            let delivery = payments.next().await.unwrap().unwrap();
            let reason = format!("reason {number}");
            delivery
                .settle(Settlement::Reject { reason: RejectReason::Unstorable, detail: reason });
        }
    });
    let publisher = transport.publisher();
    let mut last = event();
    for _ in 0..=REJECTED_MESSAGES_MAX {
        last = event();
        let error = publisher.publish(&last).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "it stays in its outbox");
        assert!(error.to_string().contains("or discarded: reason "), "{error}");
    }
    receive.await.unwrap();
    let rejected = transport.rejected(&ContextName::new("payments").unwrap()).unwrap();
    let kept = rejected.list(None, REJECTED_PAGE_MAX).await.unwrap();
    assert_eq!((kept.len(), rejected.totals().all()), (REJECTED_MESSAGES_MAX, 1001));
    assert_eq!(kept[0].detail, "reason 1");
    let newest = kept.last().unwrap();
    assert_eq!((newest.context.as_str(), &newest.payload), ("payments", &last.payload));
    let held = transport.publisher().publish(&last).await.unwrap_err();
    assert!(held.to_string().contains("reason 1000"), "an operator has yet to decide: {held}");
}

/// One context takes it and another rejects it: it is confirmed once it was replayed and published
/// again.
#[tokio::test]
async fn a_message_that_one_context_rejects_is_confirmed_once_all_have_taken_it() {
    let transport = hosting_payments(1).await;
    let kitchen = ContextName::new("kitchen").unwrap();
    let topology = Topology::new(kitchen.clone(), 1).with_handles(vec!["orders.order-placed"]);
    transport.apply(&topology).await.unwrap();
    let mut payments = subscribe(&transport, 1).await;
    let subscription = Subscription::new(kitchen, Partition::new(0, 1).unwrap(), 1);
    let mut kitchen = transport.subscribe(&subscription).await.unwrap();
    let rejected = transport.rejected(&ContextName::new("payments").unwrap()).unwrap();
    let sent = event();
    for rejects in [true, false] {
        let (publisher, sent) = (transport.publisher(), sent.clone());
        let publishing = tokio::spawn(async move { publisher.publish(&sent).await });
        let one = payments.next().await.unwrap().unwrap();
        one.settle(match rejects {
            true => {
                let (reason, detail) = (RejectReason::Unstorable, "too odd".to_owned());
                Settlement::Reject { reason, detail }
            }
            false => Settlement::Ack,
        });
        let other = kitchen.next().await.unwrap().unwrap();
        assert!(!publishing.is_finished(), "the other context has not answered");
        other.settle(Settlement::Ack);
        assert_eq!(publishing.await.unwrap().is_err(), rejects);
        let listed = rejected.list(None, 10).await.unwrap();
        assert_eq!(listed.len(), usize::from(rejects));
        for message in listed {
            assert_eq!(rejected.replay(&[message.id]).await.unwrap(), 1);
            let replayed = payments.next().await.unwrap().unwrap();
            assert!(replayed.is_redelivered());
            replayed.settle(Settlement::Ack);
        }
    }
}

#[tokio::test]
async fn publishers_wait_when_a_queue_is_full() {
    let transport = hosting_payments(1).await;
    let publishing: Vec<_> = (0..=QUEUE_MESSAGES_MAX)
        .map(|_| {
            let publisher = transport.publisher();
            tokio::spawn(async move { publisher.publish(&event()).await })
        })
        .collect();
    let mut payments = subscribe(&transport, u16::MAX).await;
    let mut unsettled = Vec::new();
    for _ in 0..QUEUE_MESSAGES_MAX {
        unsettled.push(payments.next().await.unwrap().unwrap());
    }
    let next = tokio::time::timeout(Duration::from_millis(20), payments.next()).await;
    assert!(next.is_err(), "one more than the queue holds");
    for delivery in unsettled {
        delivery.settle(Settlement::Ack);
    }
    let last = payments.next().await.unwrap().unwrap();
    last.settle(Settlement::Ack);
    for published in publishing {
        published.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn closing_ends_publishes_that_wait() {
    let transport = hosting_payments(1).await;
    let publisher = transport.publisher();
    let publishing = tokio::spawn(async move { publisher.publish(&event()).await });
    let mut payments = subscribe(&transport, 1).await;
    let unsettled = payments.next().await.unwrap();
    transport.close().await;
    let error = publishing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(unsettled);
    assert!(payments.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_for_good() {
    let transport = Arc::new(hosting_payments(1).await);
    let mut large = event();
    large.payload = Bytes::from(vec![0; BODY_BYTES_MAX + 1]);
    let error = transport.publisher().publish(&large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(error.retry(), mamey_core::Retry::Never);
}

/// Answers once it is released.
struct Held(tokio::sync::watch::Receiver<bool>);

#[async_trait::async_trait]
impl Responder for Held {
    fn serves(&self) -> Vec<&'static str> {
        vec!["payments.take"]
    }

    async fn respond(&self, request: Envelope) -> Envelope {
        let mut released = self.0.clone();
        released.wait_for(|released| *released).await.unwrap();
        let id = UuidV7Source::default().message_id();
        let payments = ContextName::new("payments").unwrap();
        request.reply(&payments, id, request.metadata.time, Ok(Bytes::from_static(b"1")))
    }
}

#[tokio::test]
async fn more_requests_than_are_served_at_a_time_are_refused_at_once() {
    let transport = MemoryTransport::new();
    let payments = ContextName::new("payments").unwrap();
    let (released, held) = tokio::sync::watch::channel(false);
    let _serving = transport.serve(&payments, Arc::new(Held(held))).await.unwrap();
    let request = || {
        let mut request = event();
        request.metadata.target = Target::Service(payments.clone());
        let requester = transport.requester();
        async move { requester.request(&request, Duration::from_secs(20)).await }
    };
    let mut asked: Vec<_> = (0..REQUESTS_SERVED_MAX).map(|_| Box::pin(request())).collect();
    for asked in &mut asked {
        assert!(asked.now_or_never().is_none(), "its handler was released");
    }
    let error = request().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("serves 256 requests at a time"), "{error}");
    released.send_replace(true);
    for asked in asked {
        asked.await.unwrap();
    }
    request().await.unwrap();
}
