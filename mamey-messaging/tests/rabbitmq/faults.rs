//! Connections that are cut, reset and silent, under load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mamey_conformance::report;
use mamey_core::ErrorKind;
use mamey_core::message::Partition;
use mamey_core::transport::{Settlement, Transport};
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{Direction, FaultProxy, Mode, rabbitmq, require};
use tokio::time::{Instant, sleep};

use crate::world::{
    SOON, applied, ends, event, next, persist, subscribe, subscribe_to_all, targeted, topology,
};

const KEYS: usize = 16;
const PARTITIONS: u16 = 4;
const PREFETCH: u16 = 16;
const CUTS: u64 = 200;

/// After how many bytes a connection is cut, at most: some are cut during the handshake, others in
/// the middle of a message or of its confirm.
const CUT_BYTES_MAX: u64 = 12_000;

/// What was handled of one key: each number, in the order of its first delivery.
#[derive(Default)]
struct OfKey {
    seen: BTreeSet<u64>,
    order: Vec<u64>,
}

#[derive(Default)]
struct Handled {
    by_key: Mutex<BTreeMap<String, OfKey>>,
    duplicates: AtomicU64,
}

impl Handled {
    fn add(&self, key: &str, number: u64) {
        let mut by_key = self.by_key.lock().unwrap();
        let OfKey { seen, order } = by_key.entry(key.to_owned()).or_default();
        if seen.insert(number) {
            order.push(number);
        } else {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self) -> usize {
        self.by_key.lock().unwrap().values().map(|it| it.order.len()).sum()
    }
}

/// Publishes as a relay does: the next message of a key once the one before is confirmed. Returns
/// how many were confirmed.
async fn publish_key(transport: &RabbitTransport, key: usize, stop: &AtomicBool) -> u64 {
    let publisher = transport.publisher();
    let key_text = format!("order-{key}");
    let mut confirmed = 0;
    while !stop.load(Ordering::Acquire) {
        // Both ways of publishing are cut.
        let mut envelope = match key % 2 {
            0 => targeted(&key_text),
            _ => event(&key_text, "{}"),
        };
        envelope.payload = confirmed.to_string().into();
        persist(async || publisher.publish(&envelope).await).await;
        confirmed += 1;
    }
    confirmed
}

/// As an intake does: subscribes again whenever the subscription ends.
async fn handle(transport: &RabbitTransport, partition: Partition, handled: &Handled) {
    loop {
        let mut subscriber =
            persist(async || subscribe(transport, partition, PREFETCH).await).await;
        while let Ok(Some(delivery)) = subscriber.next().await {
            let envelope = delivery.envelope();
            let number = std::str::from_utf8(&envelope.payload).unwrap().parse().unwrap();
            handled.add(envelope.metadata.key.as_ref().unwrap().as_str(), number);
            delivery.settle(Settlement::Ack);
        }
    }
}

async fn cut_again_and_again(proxy: &FaultProxy) {
    for _ in 0..CUTS {
        let direction = match fastrand::bool() {
            true => Direction::ToServer,
            false => Direction::ToClient,
        };
        let bytes = fastrand::u64(1..CUT_BYTES_MAX);
        proxy.set(Mode::CutAfter { direction, bytes }).await.unwrap();
        sleep(Duration::from_millis(fastrand::u64(5..60))).await;
        proxy.set(Mode::Forward).await.unwrap();
        sleep(Duration::from_millis(fastrand::u64(5..100))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_random_bytes_lose_nothing_and_keep_order() {
    let vhost = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let options = RabbitOptions::default().with_publish_timeout(Duration::from_secs(5));
    let url = proxy.url_for(vhost.url()).unwrap();
    let transport = RabbitTransport::connect(&url, options).await.unwrap();
    transport.apply(&topology(PARTITIONS)).await.unwrap();
    let (stop, handled) = (AtomicBool::new(false), Handled::default());

    let partitions = Partition::all(PARTITIONS).unwrap();
    let handling = join_all(partitions.into_iter().map(|it| handle(&transport, it, &handled)));
    let publishing = join_all((0..KEYS).map(|key| publish_key(&transport, key, &stop)));
    let cutting = async {
        cut_again_and_again(&proxy).await;
        stop.store(true, Ordering::Release);
    };
    let publishing_and_waiting = async {
        let (confirmed, ()) = tokio::join!(publishing, cutting);
        let published: u64 = confirmed.iter().sum();
        let end = Instant::now() + SOON;
        while (handled.count() as u64) < published && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
        published
    };
    let published = tokio::select! {
        published = publishing_and_waiting => published,
        _ = handling => unreachable!("they never end"),
    };
    let duplicates = handled.duplicates.load(Ordering::Relaxed);
    let count = handled.count();
    report(
        "rabbitmq",
        &format!(
            "{CUTS} cuts: {published} published and confirmed, {count} handled, {} lost, \
         {duplicates} duplicates",
            published.saturating_sub(count as u64)
        ),
    );
    assert_eq!(count as u64, published);
    for (key, OfKey { order, .. }) in handled.by_key.lock().unwrap().iter() {
        assert!(order.is_sorted(), "{key} is out of order: {order:?}");
    }
    // Each cut may repeat what was unsettled and what was unconfirmed.
    let most = CUTS * (u64::from(PARTITIONS) * u64::from(PREFETCH) + KEYS as u64);
    assert!(duplicates <= most, "{duplicates} duplicates");
    assert!(published > CUTS, "there was no load: {published}");
}

#[tokio::test]
async fn a_silent_connection_is_noticed_and_replaced() {
    let vhost = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let options = RabbitOptions::default()
        .with_heartbeat(Duration::from_secs(1))
        .with_publish_timeout(Duration::from_millis(300))
        .with_connect_timeout(Duration::from_secs(1));
    let url = proxy.url_for(vhost.url()).unwrap();
    let transport = RabbitTransport::connect(&url, options).await.unwrap();
    transport.apply(&topology(1)).await.unwrap();
    let mut payments = subscribe_to_all(&transport).await;
    let before = event("order-1", "{}");
    transport.publisher().publish(&before).await.unwrap();
    next(&mut payments).await.settle(Settlement::Ack);

    proxy.set(Mode::Silent).await.unwrap();
    let sent = event("order-1", "{}");
    let error = transport.publisher().publish(&sent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(ends(&mut payments).await.kind(), ErrorKind::Unavailable);

    // The silent connections stay silent: new ones are needed.
    proxy.set(Mode::Reset).await.unwrap();
    proxy.set(Mode::Forward).await.unwrap();
    let mut payments =
        persist(async || subscribe(&transport, Partition::new(0, 1).unwrap(), 10).await).await;
    persist(async || transport.publisher().publish(&sent).await).await;
    // A message from before the silence may be delivered again: its acknowledgement may be lost.
    let mut delivery = next(&mut payments).await;
    if delivery.envelope() == &before {
        delivery.settle(Settlement::Ack);
        delivery = next(&mut payments).await;
    }
    assert_eq!(delivery.envelope(), &sent);
    delivery.settle(Settlement::Ack);
}

#[tokio::test]
async fn an_unreachable_broker_fails_calls_and_serves_them_once_it_is_reachable() {
    let vhost = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(vhost.url()).await.unwrap();
    let transport = applied(&proxy.url_for(vhost.url()).unwrap()).await;
    proxy.set(Mode::Refuse).await.unwrap();
    proxy.set(Mode::Reset).await.unwrap();
    proxy.set(Mode::Refuse).await.unwrap();
    for envelope in [event("order-1", "{}"), targeted("order-1")] {
        let error = transport.publisher().publish(&envelope).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    assert!(transport.ping().await.is_err());
    proxy.set(Mode::Forward).await.unwrap();
    persist(async || transport.ping().await).await;
    persist(async || transport.publisher().publish(&targeted("order-1")).await).await;
}
