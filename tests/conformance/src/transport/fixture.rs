//! What the cases share: topologies, messages, publishes that have begun, and subscribers.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::Context;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{MaybeDone, maybe_done};
use mamey_core::Result;
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::id::{IdSource, MessageId, UuidV7Source};
use mamey_core::message::{
    ContextName, Envelope, Headers, Key, Metadata, Partition, Target, TraceContext,
};
use mamey_core::transport::{
    Delivery, Routed, Settlement, Subscriber, Subscription, Topology, Transport,
};

/// The event that the cases publish.
pub(super) const PLACED: &str = "orders.order-placed";

/// Another event that they publish.
pub(super) const CANCELLED: &str = "orders.order-cancelled";

/// A message that only `payments` handles.
pub(super) const TAKE: &str = "payments.take";

static IDS: LazyLock<UuidV7Source> = LazyLock::new(UuidV7Source::default);

pub(super) fn new_id() -> MessageId {
    IDS.message_id()
}

pub(super) fn context(name: &str) -> ContextName {
    ContextName::new(name).unwrap()
}

/// Applies a context with `partitions` that handles these messages.
pub(super) async fn apply(
    transport: &dyn Transport,
    name: &str,
    handles: &[&'static str],
    partitions: u16,
) {
    let topology = Topology::new(context(name), partitions)
        .with_handles(handles.to_vec())
        .with_publishes(vec![PLACED, CANCELLED]);
    transport.apply(&topology).await.unwrap();
}

pub(super) async fn subscribe(
    transport: &dyn Transport,
    name: &str,
    prefetch: u16,
) -> Box<dyn Subscriber> {
    subscribe_to(transport, name, Partition::new(0, 1).unwrap(), prefetch).await
}

pub(super) async fn subscribe_to(
    transport: &dyn Transport,
    name: &str,
    partition: Partition,
    prefetch: u16,
) -> Box<dyn Subscriber> {
    let subscription = Subscription::new(context(name), partition, prefetch);
    transport.subscribe(&subscription).await.unwrap()
}

pub(super) async fn next(subscriber: &mut Box<dyn Subscriber>) -> Delivery {
    let next = subscriber.next().await.unwrap();
    next.expect("the subscription is open")
}

/// Receives and acknowledges the next message.
pub(super) async fn take(subscriber: &mut Box<dyn Subscriber>) -> Envelope {
    let delivery = next(subscriber).await;
    let envelope = delivery.envelope().clone();
    delivery.settle(Settlement::Ack);
    envelope
}

/// An event for any subscriber.
pub(super) fn event(key: Option<&str>) -> Envelope {
    message(PLACED, Target::Any, key)
}

/// A message with every part of its metadata filled.
pub(super) fn message(name: &'static str, target: Target, key: Option<&str>) -> Envelope {
    let mut headers = Headers::default();
    headers.insert("region", "eu").unwrap();
    let metadata = Metadata::new(IDS.message_id(), name, "orders")
        .with_version(3)
        .with_target(target)
        .with_correlation_id(IDS.message_id())
        .with_causation_id(IDS.message_id())
        .with_time(SystemClock.now())
        .with_key(key.map(Key::from))
        .with_tenant(Arc::from("acme"))
        .with_trace(TraceContext::root(&*IDS))
        .with_headers(headers);
    let payload = Bytes::from_static(br#"{"order":1}"#);
    Envelope::new(metadata, payload)
}

type Publishing = Pin<Box<dyn Future<Output = Result<Routed>> + Send>>;

/// A publish that has begun and goes on whenever it is polled.
pub(super) struct Begun(Pin<Box<MaybeDone<Publishing>>>);

impl Begun {
    pub(super) fn new(transport: &dyn Transport, envelope: &Envelope) -> Self {
        let (publisher, envelope) = (transport.publisher(), envelope.clone());
        let publish: Publishing =
            Box::pin(async move { Arc::clone(&publisher).publish(&envelope).await });
        let mut begun = Self(Box::pin(maybe_done(publish)));
        begun.is_done();
        begun
    }

    /// Lets it go on, and says whether it has been confirmed or has failed.
    pub(super) fn is_done(&mut self) -> bool {
        self.0.as_mut().now_or_never().is_some()
    }

    pub(super) async fn outcome(mut self) -> Result<Routed> {
        self.0.as_mut().await;
        self.0.as_mut().take_output().unwrap()
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        // Whether it is ready shows when its outcome is asked for.
        let _ = self.0.as_mut().poll(cx);
    }
}

/// Does `work` while the publishes go on.
pub(super) async fn beside<T>(begun: &mut [Begun], work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        begun.iter_mut().for_each(|begun| begun.poll(cx));
        work.as_mut().poll(cx)
    })
    .await
}

/// Publishes, and does `work`, which settles the message.
pub(super) async fn publish_and<T>(
    transport: &dyn Transport,
    envelope: &Envelope,
    work: impl Future<Output = T>,
) -> T {
    let mut begun = [Begun::new(transport, envelope)];
    let output = beside(&mut begun, work).await;
    let [begun] = begun;
    assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    output
}
