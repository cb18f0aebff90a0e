//! What a context has rejected: it is listed with its bytes, and handed to that context again.

use bytes::Bytes;
use mamey_core::ErrorKind;
use mamey_core::message::Envelope;
use mamey_core::transport::{
    REJECTED_PAGE_MAX, RejectReason, RejectedMessage, RejectedMessages, Routed, Settlement,
    Subscriber, Transport,
};

use super::fixture::{
    Begun, PLACED, apply, beside, context, event, next, publish_and, subscribe, take,
};
use super::harness::TransportHarness;

/// How often the messages are listed. Brokers give up what they have delivered 20 or 100 times.
const LISTED: usize = 120;

const DETAIL: &str = "the store cannot keep it";

/// Has a context reject a message. A transport that stores nothing does not confirm it.
async fn reject(transport: &dyn Transport, by: &mut Box<dyn Subscriber>, message: &Envelope) {
    let mut begun = [Begun::new(transport, message)];
    let delivery = beside(&mut begun, next(by)).await;
    let (reason, detail) = (RejectReason::Unstorable, DETAIL.to_owned());
    delivery.settle(Settlement::Reject { reason, detail });
    let [begun] = begun;
    assert_eq!(begun.outcome().await.is_ok(), transport.capabilities().durable);
}

/// Waits until a context has so many rejected messages, and lists them.
async fn listed(rejected: &dyn RejectedMessages, count: usize) -> Vec<RejectedMessage> {
    loop {
        let listed = rejected.list(None, REJECTED_PAGE_MAX).await.unwrap();
        if listed.len() == count {
            return listed;
        }
        tokio::task::yield_now().await;
    }
}

fn payloads(listed: &[RejectedMessage]) -> Vec<Bytes> {
    listed.iter().map(|message| message.payload.clone()).collect()
}

/// A rejected message is listed with all that an operator needs, and counted by its reason.
pub async fn a_rejected_message_is_listed_with_its_bytes_and_its_reason(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    apply(transport, "kitchen", &[], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let rejected = transport.rejected(&context("payments")).unwrap();
    assert_eq!(rejected.list(None, 10).await.unwrap(), []);
    let mut sent = event(Some("order-1"));
    sent.payload = (0..=u8::MAX).collect();
    sent.metadata.content_type = "application/octet-stream".into();
    reject(transport, &mut payments, &sent).await;
    let [one]: [RejectedMessage; 1] = listed(&*rejected, 1).await.try_into().unwrap();
    assert_eq!((one.context.as_str(), &one.payload), ("payments", &sent.payload));
    assert_eq!((one.reason, one.detail.as_str()), (RejectReason::Unstorable, DETAIL));
    assert!(one.place.contains('0'), "{} names the partition", one.place);
    assert!(one.rejected_at.is_some());
    let id = sent.metadata.id.to_string();
    assert!(one.headers.iter().any(|(_, value)| *value == id), "{:?}", one.headers);
    assert_eq!(rejected.count().await.unwrap(), 1);
    let totals = rejected.totals();
    assert_eq!((totals.unstorable, totals.all()), (1, 1));
    let other = transport.rejected(&context("kitchen")).unwrap();
    assert_eq!((other.count().await.unwrap(), other.totals().all()), (0, 0));
}

/// A replay reaches the context that rejected the message, once, and no other.
pub async fn a_replayed_message_reaches_its_context_alone(harness: TransportHarness) {
    let transport = &*harness.transport;
    for name in ["payments", "kitchen"] {
        apply(transport, name, &[PLACED], 1).await;
    }
    let mut payments = subscribe(transport, "payments", 1).await;
    let mut kitchen = subscribe(transport, "kitchen", 1).await;
    let sent = event(Some("order-1"));
    let mut begun = [Begun::new(transport, &sent)];
    assert_eq!(beside(&mut begun, take(&mut kitchen)).await, sent);
    let delivery = beside(&mut begun, next(&mut payments)).await;
    let (reason, detail) = (RejectReason::Unstorable, DETAIL.to_owned());
    delivery.settle(Settlement::Reject { reason, detail });
    drop(begun);
    let rejected = transport.rejected(&context("payments")).unwrap();
    let id = listed(&*rejected, 1).await[0].id;
    assert_eq!(rejected.replay(&[id]).await.unwrap(), 1);
    assert_eq!(take(&mut payments).await, sent);
    assert_eq!(listed(&*rejected, 0).await, []);
    assert_eq!(rejected.replay(&[id]).await.unwrap(), 0, "it is replayed once");
    let mut last = event(Some("order-1"));
    last.payload = Bytes::from_static(b"the next for both");
    let mut begun = [Begun::new(transport, &last)];
    assert_eq!(beside(&mut begun, take(&mut kitchen)).await, last);
    assert_eq!(beside(&mut begun, take(&mut payments)).await, last);
}

/// A replayed message that is rejected again is listed again, under another id: no loop.
pub async fn a_replayed_message_that_is_rejected_again_is_listed_again(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let rejected = transport.rejected(&context("payments")).unwrap();
    let sent = event(Some("order-1"));
    reject(transport, &mut payments, &sent).await;
    let first = listed(&*rejected, 1).await.remove(0);
    for _ in 0..2 {
        let one = listed(&*rejected, 1).await.remove(0);
        assert_eq!(rejected.replay(&[one.id]).await.unwrap(), 1);
        let delivery = next(&mut payments).await;
        assert_eq!(delivery.envelope(), &sent);
        let (reason, detail) = (RejectReason::Unstorable, DETAIL.to_owned());
        delivery.settle(Settlement::Reject { reason, detail });
        let again = listed(&*rejected, 1).await.remove(0);
        assert_ne!(again.id, one.id);
        assert_eq!((again.payload, again.place), (first.payload.clone(), first.place.clone()));
        assert_eq!(again.headers, first.headers, "it is as it came at first");
    }
}

/// A discarded message is gone, and the others stay.
pub async fn a_discarded_message_is_gone(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let rejected = transport.rejected(&context("payments")).unwrap();
    let (one, two) = (event(Some("order-1")), event(Some("order-2")));
    reject(transport, &mut payments, &one).await;
    reject(transport, &mut payments, &two).await;
    let both = listed(&*rejected, 2).await;
    assert_eq!(rejected.discard(&[both[0].id, both[0].id]).await.unwrap(), 1);
    assert_eq!(listed(&*rejected, 1).await, both[1..]);
    assert_eq!(rejected.discard(&[both[0].id]).await.unwrap(), 0);
    if !transport.capabilities().durable {
        // Its record is still in the outbox, and leaves it now.
        let published = transport.publisher().publish(&one).await;
        assert_eq!(published.unwrap(), Routed::Delivered);
    }
    let sent = event(Some("order-1"));
    assert_eq!(publish_and(transport, &sent, take(&mut payments)).await, sent);
}

/// Pages follow one another in the order of rejection, and a loop may replay while it reads.
pub async fn rejected_messages_are_listed_in_pages(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let rejected = transport.rejected(&context("payments")).unwrap();
    let mut sent = Vec::new();
    for number in 0..5 {
        let mut message = event(Some("order-1"));
        message.payload = Bytes::from(format!("{number}"));
        reject(transport, &mut payments, &message).await;
        listed(&*rejected, number + 1).await;
        sent.push(message.payload);
    }
    let (mut after, mut read) = (None, Vec::new());
    loop {
        let page = rejected.list(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        read.extend(page);
    }
    assert_eq!(payloads(&read), sent);
    assert_eq!(rejected.discard(&[read[1].id]).await.unwrap(), 1);
    let gone = rejected.list(Some(read[1].id), 2).await.unwrap();
    assert_eq!(payloads(&gone), [sent[0].clone(), sent[2].clone()], "from the first one");
    assert_eq!(rejected.list(None, 0).await.unwrap(), []);
    let too_many = rejected.list(None, REJECTED_PAGE_MAX + 1).await.unwrap_err();
    assert_eq!(too_many.kind(), ErrorKind::Invalid);
    let many = vec![read[0].id; REJECTED_PAGE_MAX as usize + 1];
    assert_eq!(rejected.replay(&many).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(rejected.discard(&many).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(rejected.count().await.unwrap(), 4);
}

/// Looking takes nothing away and changes no order, however often.
pub async fn listing_often_loses_nothing(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    let rejected = transport.rejected(&context("payments")).unwrap();
    for number in 0..3 {
        reject(transport, &mut payments, &event(Some("order-1"))).await;
        listed(&*rejected, number + 1).await;
    }
    let first = listed(&*rejected, 3).await;
    for _ in 0..LISTED {
        assert_eq!(listed(&*rejected, 3).await, first);
    }
    let ids: Vec<_> = first.iter().map(|message| message.id).collect();
    assert_eq!(rejected.replay(&ids).await.unwrap(), 3);
    for message in &first {
        assert_eq!(take(&mut payments).await.payload, message.payload);
    }
    assert_eq!(rejected.count().await.unwrap(), 0);
}
