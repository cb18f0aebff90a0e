//! Two instances that share partitions: some move in order, and some because one instance dies.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all, select_all};
use mamey_core::message::Partition;
use mamey_core::transport::{Delivery, Routed, Settlement, Subscriber, Transport};

use super::fixture::{PLACED, apply, event, subscribe_to};
use super::harness::TransportHarness;
use super::tally::Tally;
use crate::report::report;

const PARTITIONS: u16 = 4;
const KEYS: usize = 12;
const EACH: usize = 40;
const PREFETCH: u16 = 8;

/// While partitions move between two instances, are given back, and one instance is killed again and
/// again, nothing is lost, and the first time that each message is acknowledged is in its key's
/// order. What was acknowledged may be redelivered; a suite cannot forbid it, so it is counted.
pub async fn order_holds_while_partitions_move(harness: TransportHarness) {
    let transport = &*harness.transport;
    apply(transport, "payments", &[PLACED], PARTITIONS).await;
    let published = join_all((0..KEYS).map(|key| publish_all(transport, key)));
    let (_, (tally, moves)) = join(published, handle_all(transport)).await;
    let capabilities = transport.capabilities();
    let line = format!("{}, {moves} moves of a partition", tally.describe(KEYS * EACH));
    report(capabilities.name, &format!("order_holds_while_partitions_move: {line}"));
    assert_eq!(tally.distinct(), KEYS * EACH, "lost: {line}");
    assert_eq!(tally.out_of_order(), 0, "{line}");
    let most = moves * u64::from(PREFETCH);
    assert!(tally.duplicates() <= most, "more duplicates than moves may cause: {line}");
}

/// As a relay does: the next message of a key when the one before is confirmed.
async fn publish_all(transport: &dyn Transport, key: usize) {
    for nth in 0..EACH {
        let mut envelope = event(Some(&format!("order-{key}")));
        envelope.payload = Bytes::from(nth.to_string());
        let routed = transport.publisher().publish(&envelope).await.unwrap();
        assert_eq!(routed, Routed::Delivered);
    }
}

/// A partition in the hands of the instance that leases it.
struct Leased {
    partition: Partition,
    subscriber: Box<dyn Subscriber>,
    unsettled: Vec<Delivery>,
}

impl Leased {
    async fn take(transport: &dyn Transport, partition: Partition) -> Self {
        let subscriber = subscribe_to(transport, "payments", partition, PREFETCH).await;
        Self { partition, subscriber, unsettled: Vec::new() }
    }

    /// Handles what it has, in order.
    fn settle(&mut self, tally: &mut Tally) {
        for delivery in self.unsettled.drain(..) {
            let envelope = delivery.envelope();
            let nth = std::str::from_utf8(&envelope.payload).unwrap().parse().unwrap();
            let key = envelope.metadata.key.as_ref().map_or("", |key| key.as_str()).to_owned();
            delivery.settle(Settlement::Ack);
            tally.handled(&key, nth);
        }
    }

    /// Ends the subscription first, so that what it leaves goes back in its order.
    async fn leave(self, transport: &dyn Transport) -> Self {
        drop(self.subscriber);
        drop(self.unsettled);
        Self::take(transport, self.partition).await
    }
}

/// Handles until every message was, with a fault or a move every few deliveries.
async fn handle_all(transport: &dyn Transport) -> (Tally, u64) {
    let (mut tally, mut moves, mut number) = (Tally::default(), 0, 0_u64);
    let mut leased = HashMap::new();
    for partition in Partition::all(PARTITIONS).unwrap() {
        leased.insert(partition, Leased::take(transport, partition).await);
    }
    while tally.distinct() < KEYS * EACH {
        let Some((partition, delivery)) = next_of_any(&mut leased).await else {
            leased.values_mut().for_each(|leased| leased.settle(&mut tally));
            continue;
        };
        number += 1;
        tally.delivered(delivery.is_redelivered());
        let mut held = leased.remove(&partition).unwrap();
        held.unsettled.push(delivery);
        let moving = match number % 23 {
            // Another instance gets the partition when this one has finished its work.
            5 => {
                held.settle(&mut tally);
                true
            }
            // A message is given back, or its handler panics, or the instance dies.
            11 | 17 => true,
            // It goes on handling while more arrive.
            0..=4 => false,
            _ => {
                held.settle(&mut tally);
                false
            }
        };
        moves += u64::from(moving);
        let held = if moving { held.leave(transport).await } else { held };
        leased.insert(partition, held);
    }
    (tally, moves)
}

/// The next delivery; `None` when none is ready while some wait to be handled.
async fn next_of_any(leased: &mut HashMap<Partition, Leased>) -> Option<(Partition, Delivery)> {
    let waiting = leased.values().any(|leased| !leased.unsettled.is_empty());
    let mut nexts = select_all(leased.values_mut().map(|leased| {
        let partition = leased.partition;
        async move { (partition, leased.subscriber.next().await) }.boxed()
    }));
    let next = poll_fn(|cx| match nexts.poll_unpin(cx) {
        Poll::Pending if waiting => Poll::Ready(None),
        poll => poll.map(Some),
    });
    let ((partition, delivery), ..) = next.await?;
    Some((partition, delivery.unwrap().expect("the subscription is open")))
}
