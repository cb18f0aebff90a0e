//! Who gets a message, and what its publisher learns when nobody does.

use mamey_core::ErrorKind;
use mamey_core::message::Target;
use mamey_core::store::StoreId;
use mamey_core::transport::{Owner, Routed, Topology};

use super::fixture::{
    Begun, CANCELLED, PLACED, TAKE, apply, beside, context, event, message, new_id, publish_and,
    subscribe, take,
};
use super::harness::TransportHarness;

/// Each subscribing context gets each event once.
pub async fn every_subscribing_context_gets_each_event(harness: TransportHarness) {
    let transport = &*harness.transport;
    for name in ["payments", "kitchen"] {
        apply(transport, name, &[PLACED], 1).await;
    }
    apply(transport, "audit", &[TAKE], 1).await;
    let mut payments = subscribe(transport, "payments", 10).await;
    let mut kitchen = subscribe(transport, "kitchen", 10).await;
    for _ in 0..10 {
        let sent = event(Some("order-1"));
        let both = async { (take(&mut payments).await, take(&mut kitchen).await) };
        let (one, other) = publish_and(transport, &sent, both).await;
        assert_eq!((&one, &other), (&sent, &sent));
    }
}

/// Of several messages each context gets those whose names it handles, and no others.
pub async fn each_context_gets_the_messages_it_handles(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    apply(transport, "kitchen", &[CANCELLED], 1).await;
    apply(transport, "audit", &[PLACED, CANCELLED], 1).await;
    let mut payments = subscribe(transport, "payments", 10).await;
    let mut kitchen = subscribe(transport, "kitchen", 10).await;
    let mut audit = subscribe(transport, "audit", 10).await;
    for _ in 0..5 {
        for (name, other) in [(PLACED, &mut payments), (CANCELLED, &mut kitchen)] {
            let sent = message(name, Target::Any, Some("order-1"));
            let both = async { (take(other).await, take(&mut audit).await) };
            let got = publish_and(transport, &sent, both).await;
            assert_eq!(got, (sent.clone(), sent));
        }
    }
}

/// A targeted message reaches its target and no other context that handles the name.
pub async fn a_target_is_reached_alone(harness: TransportHarness) {
    let transport = &*harness.transport;
    for name in ["payments", "kitchen"] {
        apply(transport, name, &[TAKE, PLACED], 1).await;
    }
    let mut payments = subscribe(transport, "payments", 10).await;
    let mut kitchen = subscribe(transport, "kitchen", 10).await;
    let targeted = message(TAKE, Target::Service(context("payments")), Some("order-1"));
    let got = publish_and(transport, &targeted, take(&mut payments)).await;
    assert_eq!(got, targeted);
    let sent = event(Some("order-1"));
    let both = async { (take(&mut payments).await, take(&mut kitchen).await) };
    let (one, other) = publish_and(transport, &sent, both).await;
    assert_eq!((one, other), (sent.clone(), sent));
}

/// A target that does not exist, or does not handle the message, is an error that names both.
pub async fn a_target_without_a_route_is_refused(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "kitchen", &[PLACED], 1).await;
    for target in ["payments", "kitchen"] {
        let sent = message(TAKE, Target::Service(context(target)), None);
        let error = transport.publisher().publish(&sent).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unroutable, "{error:?}");
        let text = error.to_string();
        let start = format!("`{TAKE}` for context `{target}` has no route");
        assert!(text.starts_with(&start), "{text}");
    }
}

/// An event that nobody subscribes to counts as done.
pub async fn an_event_without_subscribers_is_done(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "kitchen", &[TAKE], 1).await;
    let routed = transport.publisher().publish(&event(None)).await.unwrap();
    assert_eq!(routed, Routed::NoSubscriber);
}

/// An event that must route is refused when nobody subscribes to it.
pub async fn a_message_that_must_route_is_refused_without_subscribers(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "kitchen", &[TAKE], 1).await;
    let mut sent = event(None);
    sent.metadata.must_route = true;
    let error = transport.publisher().publish(&sent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unroutable, "{error:?}");
    assert!(error.to_string().contains(PLACED), "{error}");
    apply(transport, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    publish_and(transport, &sent, take(&mut payments)).await;
}

/// Applying a topology again changes nothing, and keeps what waits.
pub async fn topologies_can_be_applied_again(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let sent = event(Some("order-1"));
    let mut begun = [Begun::new(transport, &sent)];
    beside(&mut begun, apply(transport, "payments", &[PLACED], 1)).await;
    let mut payments = subscribe(transport, "payments", 1).await;
    assert_eq!(beside(&mut begun, take(&mut payments)).await, sent);
    let [begun] = begun;
    assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
}

/// Two databases, one context name: the first one has the context, under whichever location, and the
/// other is refused with both named. A topology without an owner is not compared.
pub async fn a_context_of_another_store_is_refused(harness: TransportHarness) {
    let transport = &*harness.transport;
    let (first, second) = (StoreId::new(new_id().as_uuid()), StoreId::new(new_id().as_uuid()));
    let owned = |id, store: &str, handles| {
        let owner = Owner::new(id, store).with_durable(true);
        Topology::new(context("payments"), 1).with_handles(vec![handles]).with_owner(owner)
    };
    transport.apply(&owned(first, "db://one", PLACED)).await.unwrap();
    let error = transport.apply(&owned(second, "db://two", TAKE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    let text = error.to_string();
    for words in ["payments", "db://one", "db://two", &first.to_string(), &second.to_string()] {
        assert!(text.contains(words), "`{words}` is not in {text}");
    }
    // What only the other one handles was not bound.
    let unbound = message(TAKE, Target::Any, Some("order-1"));
    let routed = transport.publisher().publish(&unbound).await.unwrap();
    assert_eq!(routed, Routed::NoSubscriber);
    transport.apply(&owned(first, "db://renamed", PLACED)).await.unwrap();
    apply(transport, "payments", &[PLACED], 1).await;
    transport.apply(&owned(second, "db://two", PLACED)).await.unwrap_err();
    let mut payments = subscribe(transport, "payments", 1).await;
    let sent = event(Some("order-1"));
    assert_eq!(publish_and(transport, &sent, take(&mut payments)).await, sent);
}
