//! Test: proves that what intakes take keeps to its bytes.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::id::{MessageId, new_uuid};
use mamey_core::message::{ContextName, Envelope, Metadata, Partition};
use mamey_core::transport::{Settlement, Topology, Transport};
use tokio::time::timeout;

use super::intake::Taken;
use super::intakes::Intakes;
use crate::MemoryTransport;
use crate::stats::ConsumerStats;

const PARTITIONS: u16 = 2;

/// Publishes messages of these lengths to `shop`, each without a key.
fn publish(transport: &MemoryTransport, lengths: &[usize]) {
    for bytes in lengths {
        let metadata = Metadata::new(MessageId::from_uuid(new_uuid()), "tests.sent", "tests");
        let envelope = Envelope::new(metadata, vec![b'x'; *bytes].into());
        let publisher = transport.publisher();
        // Confirmed once it is settled.
        tokio::spawn(async move { publisher.publish(&envelope).await });
    }
}

/// Takes until nothing more comes. The clock stands still, so it ends once all tasks wait.
async fn take_all(intakes: &mut Intakes) -> Vec<Taken> {
    let mut taken = Vec::new();
    while let Ok(Some(one)) = timeout(Duration::from_secs(1), intakes.next()).await {
        taken.push(one);
    }
    taken
}

fn bytes(taken: &[Taken]) -> usize {
    taken.iter().map(|one| one.delivery.envelope().payload.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_and_not_settled_keeps_to_its_bytes() {
    let transport = MemoryTransport::default();
    let context = ContextName::new("shop").unwrap();
    let topology = Topology::new(context.clone(), PARTITIONS).with_handles(vec!["tests.sent"]);
    transport.apply(&topology).await.unwrap();
    let mut intakes =
        Intakes::new(context, Arc::new(transport.clone()), (64, 3000), ConsumerStats::default());
    for partition in Partition::all(PARTITIONS).unwrap() {
        intakes.start(partition, Duration::ZERO);
    }
    publish(&transport, &[1000; 20]);
    let mut settled = 0;
    while settled < 20 {
        let taken = take_all(&mut intakes).await;
        assert_eq!(bytes(&taken), if settled < 18 { 3000 } else { 2000 });
        settled += taken.len();
        taken.into_iter().for_each(|one| one.delivery.settle(Settlement::Ack));
    }
    publish(&transport, &[10_000, 10_000]);
    for _ in 0..2 {
        let taken = take_all(&mut intakes).await;
        assert_eq!(bytes(&taken), 10_000, "one alone may be larger");
    }
}
