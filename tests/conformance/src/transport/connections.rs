//! Durable and remote transports: what another connection finds, and what one brings to another.

use futures_util::future::join;
use mamey_core::transport::Routed;

use super::fixture::{PLACED, apply, event, subscribe, take};
use super::harness::TransportHarness;

/// What was confirmed is delivered although the connection that sent it was closed before anyone
/// subscribed.
pub async fn what_was_confirmed_survives_closing(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], 1).await;
    let sent = event(Some("order-1"));
    assert_eq!(transport.publisher().publish(&sent).await.unwrap(), Routed::Delivered);
    transport.close().await;
    let another = harness.another_connection().await;
    apply(&*another, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(&*another, "payments", 1).await;
    assert_eq!(take(&mut payments).await, sent);
}

/// What one connection publishes another receives.
pub async fn messages_reach_another_connection(harness: TransportHarness) {
    let (here, there) = (&*harness.transport, harness.another_connection().await);
    apply(&*there, "payments", &[PLACED], 1).await;
    let mut payments = subscribe(&*there, "payments", 1).await;
    let sent = event(Some("order-1"));
    let publisher = here.publisher();
    let (routed, got) = join(publisher.publish(&sent), take(&mut payments)).await;
    assert_eq!((routed.unwrap(), got), (Routed::Delivered, sent));
}
