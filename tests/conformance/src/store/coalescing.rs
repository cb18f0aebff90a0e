//! Units that commit together against the same units one by one.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use mamey_core::id::MessageId;
use mamey_core::store::{CommitOutcome, Expected, Origin, OutboxRead, Outcome, Store, UnitOfWork};

use super::fixture::{
    Numbers, all_leases, load_item, load_note, message, nothing, put_item, put_note, receiving,
    remove, writes,
};
use super::harness::StoreHarness;

const ROUNDS: u64 = 12;
const UNITS: u128 = 48;
const DOCUMENTS: u128 = 6;
const INCOMING: u128 = 8;

/// Whatever a store makes of random units that are ready together, it must be what it makes of the
/// committed ones alone, one after the other in some order: same documents, same messages, same
/// receipts, and nothing of those that were refused.
///
/// An item is only ever written at a version it then leaves, so that order is easy to find: commit
/// what can be committed, until all are.
pub async fn units_together_equal_units_one_by_one(harness: StoreHarness) {
    let mut refused = 0;
    for round in 1..=ROUNDS {
        let together = harness.context(&format!("together-{round}")).await;
        let alone = harness.context(&format!("alone-{round}")).await;
        for store in [&together, &alone] {
            let items = (0..DOCUMENTS).map(|id| put_item(id, Expected::Absent, nothing()));
            store.commit(writes(items)).await.unwrap();
        }
        let outcomes =
            join_all((0..UNITS).map(|number| together.commit(unit(round, number)))).await;
        let committed: Vec<u128> = (0..UNITS)
            .zip(outcomes)
            .filter(|(_, outcome)| matches!(outcome, Ok(CommitOutcome::Committed(_))))
            .map(|(number, _)| number)
            .collect();
        refused += UNITS - committed.len() as u128;
        commit_in_some_order(&*alone, round, committed).await;
        assert_same(&*together, &*alone).await;
    }
    assert!(refused > 0 && refused < UNITS * u128::from(ROUNDS), "{refused} were refused");
}

/// Unit `number` of a round: it moves one to three items on from a version that may have passed,
/// notes that it did, sends a message, and at times handles one that others handle too.
fn unit(round: u64, number: u128) -> UnitOfWork {
    let seed = round * 1000 + u64::try_from(number).unwrap();
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut unit = match numbers.below(3) {
        0 => {
            let incoming = message(1_000 + u128::from(numbers.below(INCOMING as u64)), None);
            receiving(&incoming, Origin::Delivery, Outcome::Handled)
        }
        _ => UnitOfWork::default(),
    };
    unit.writes.push(put_note(&number.to_string(), Expected::Absent, "done"));
    let mut touched = BTreeSet::new();
    for _ in 0..=numbers.below(2) {
        let id = u128::from(numbers.below(DOCUMENTS as u64));
        if touched.insert(id) {
            let write = put_item(id, Expected::Version(1 + numbers.below(3)), nothing());
            unit.writes.push(if numbers.below(12) == 0 { remove(write) } else { write });
        }
    }
    unit.outbox.push(message(number, Some("key")));
    unit
}

async fn commit_in_some_order(store: &dyn Store, round: u64, mut left: Vec<u128>) {
    while !left.is_empty() {
        let before = left.len();
        let mut later = Vec::new();
        for number in left {
            let outcome = store.commit(unit(round, number)).await;
            if !matches!(outcome, Ok(CommitOutcome::Committed(_))) {
                later.push(number);
            }
        }
        assert!(later.len() < before, "no order allows units {later:?} of round {round}");
        left = later;
    }
}

async fn assert_same(together: &dyn Store, alone: &dyn Store) {
    for id in 0..DOCUMENTS {
        assert_eq!(load_item(together, id).await, load_item(alone, id).await);
    }
    for number in 0..UNITS {
        let note = number.to_string();
        assert_eq!(load_note(together, &note).await, load_note(alone, &note).await);
    }
    for number in 1_000..1_000 + INCOMING {
        let id = message(number, None).metadata.identity();
        let received = together.was_received(id).await.unwrap();
        assert_eq!(received, alone.was_received(id).await.unwrap());
    }
    assert_eq!(sent(together).await, sent(alone).await);
}

async fn sent(store: &dyn Store) -> BTreeSet<MessageId> {
    let leases = all_leases(store).await;
    let read = OutboxRead::new(&leases, 1000);
    let records = store.read_outbox(read).await.unwrap().records;
    records.into_iter().map(|record| record.envelope.metadata.id).collect()
}
