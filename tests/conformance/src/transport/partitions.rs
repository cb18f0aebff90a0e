//! Another number of partitions: what waits is not lost, and what comes goes to the new ones.

use mamey_core::message::{Envelope, Partition};
use mamey_core::transport::{Routed, Subscription, Topology, Transport, Waiting};
use mamey_core::{ErrorKind, Result};

use super::fixture::{Begun, PLACED, beside, context, event, subscribe_to, take};
use super::harness::TransportHarness;

const MESSAGES: usize = 20;
const FORMER: u16 = 2;
const NEW: u16 = 4;

fn topology(partitions: u16) -> Topology {
    Topology::new(context("payments"), partitions).with_handles(vec![PLACED])
}

fn events(from: usize) -> Vec<Envelope> {
    (from..from + MESSAGES).map(|number| event(Some(&format!("order-{number}")))).collect()
}

/// Receives these messages, each from the partition of its key.
async fn take_all(
    transport: &dyn Transport,
    begun: &mut [Begun],
    expected: &[&Envelope],
    partitions: u16,
) {
    for partition in Partition::all(partitions).unwrap() {
        let subscribing = subscribe_to(transport, "payments", partition, 4);
        let mut subscriber = beside(begun, subscribing).await;
        let here = |sent: &&&Envelope| partition.contains(sent.metadata.slot());
        let mut left: Vec<_> = expected.iter().filter(here).map(|sent| sent.metadata.id).collect();
        while !left.is_empty() {
            let taken = beside(begun, take(&mut subscriber)).await.metadata.id;
            let place = left.iter().position(|id| *id == taken);
            left.remove(place.expect("a message came twice, or to the wrong partition"));
        }
    }
}

async fn subscribe_to_former(transport: &dyn Transport) -> Result<()> {
    let partition = Partition::new(0, FORMER).unwrap();
    let subscription = Subscription::new(context("payments"), partition, 1);
    transport.subscribe(&subscription).await.map(drop)
}

/// Messages that wait when the number changes are received, each once; with a durable transport from
/// the partitions in which they waited, until nothing is left there.
pub async fn messages_survive_another_number_of_partitions(harness: TransportHarness) {
    let transport = &*harness.transport;
    let durable = transport.capabilities().durable;
    transport.apply(&topology(FORMER)).await.unwrap();
    let sent = events(0);
    let mut begun: Vec<_> = sent.iter().map(|sent| Begun::new(transport, sent)).collect();
    if durable {
        for begun in begun.drain(..) {
            assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
        }
    }
    let error = transport.apply(&topology(NEW)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    let changed = topology(NEW).with_former(Some(FORMER));
    for _ in 0..2 {
        beside(&mut begun, transport.apply(&changed)).await.unwrap();
    }
    let later = events(MESSAGES);
    begun.extend(later.iter().map(|sent| Begun::new(transport, sent)));
    let (mut waiting, moved): (Vec<_>, Vec<_>) = match durable {
        true => (sent.iter().collect(), Vec::new()),
        false => (Vec::new(), sent.iter().collect()),
    };
    let payments = context("payments");
    let expected = Waiting::new(waiting.len() as u64, 0);
    assert_eq!(transport.waiting(&payments, FORMER).await.unwrap(), expected);
    if durable {
        take_all(transport, &mut begun, &waiting, FORMER).await;
        while !transport.waiting(&payments, FORMER).await.unwrap().is_over() {}
        waiting.clear();
    } else {
        let error = subscribe_to_former(transport).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    }
    let rest: Vec<_> = moved.into_iter().chain(&later).collect();
    take_all(transport, &mut begun, &rest, NEW).await;
    for begun in begun {
        assert_eq!(begun.outcome().await.unwrap(), Routed::Delivered);
    }
    transport.apply(&topology(NEW)).await.unwrap();
    transport.forget_partitions(&payments, FORMER).await.unwrap();
    let error = transport.apply(&topology(FORMER)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "the change was made: {error:?}");
    assert!(subscribe_to_former(transport).await.is_err());
}
