//! Attempts at parked messages: recorded before they begin, and abandoned when their instance is gone.

use std::time::Duration;

use mamey_core::message::{Envelope, Partition};
use mamey_core::store::{
    CommitOutcome, DeadLetterReason, Failure, InstanceId, LeaseRequest, LeaseRole, Origin, Outcome,
    ParkedMessage, Receipt, Store, UnitOfWork,
};
use uuid::Uuid;

use super::fixture::{AT_ONCE, commit, failure, give_up, message, park, receiving, request};
use super::harness::StoreHarness;

fn consumer(holder: u128) -> LeaseRequest {
    request(holder, 4).with_role(LeaseRole::Consumer)
}

fn instance(holder: u128) -> InstanceId {
    InstanceId::new(Uuid::from_u128(holder))
}

/// Longer than a lease.
const GONE: Duration = Duration::from_secs(11);

async fn due(store: &dyn Store, limit: u32) -> Vec<ParkedMessage> {
    store.due_parked(&Partition::all(4).unwrap(), limit).await.unwrap()
}

/// The number, the aborts and whether it is abandoned, of each due message.
async fn states(store: &dyn Store) -> Vec<(u128, u32, bool)> {
    let state = |parked: ParkedMessage| {
        let number = parked.envelope.metadata.id.as_uuid().as_u128();
        (number, parked.aborts, parked.abandoned)
    };
    due(store, 100).await.into_iter().map(state).collect()
}

async fn deliver(store: &dyn Store, envelope: &Envelope, outcome: Outcome) {
    commit(store, receiving(envelope, Origin::Delivery, outcome)).await;
}

/// Parks a parked message once more, with so many aborts.
async fn park_again(store: &dyn Store, envelope: &Envelope, aborts: u32) {
    let outcome = Outcome::Park { delay: AT_ONCE, attempts: 2, failure: Failure::aborted(aborts) };
    let receipt = Receipt::new(envelope.clone(), Origin::Parked, outcome).with_aborts(aborts);
    commit(store, UnitOfWork::default().with_receipt(receipt)).await;
}

async fn begin(store: &dyn Store, holder: u128, envelopes: &[&Envelope]) -> Vec<u128> {
    let messages: Vec<_> = envelopes.iter().map(|it| it.metadata.identity()).collect();
    let begun = store.begin_parked(instance(holder), &messages).await.unwrap();
    assert!(begun.iter().all(|message| messages.contains(message)));
    let begun = envelopes.iter().filter(|it| begun.contains(&it.metadata.identity()));
    begun.map(|it| it.metadata.id.as_uuid().as_u128()).collect()
}

/// An attempt that began is abandoned once its instance is no longer counted as alive, and over when
/// the message is parked again or taken out. Only what is parked can begin.
pub async fn an_attempt_is_abandoned_when_its_instance_is_gone(harness: StoreHarness) {
    let store = harness.store().await;
    let (first, second, third) = (message(1, Some("a")), message(2, None), message(3, Some("b")));
    for envelope in [&first, &second] {
        deliver(&*store, envelope, park(AT_ONCE, 1)).await;
    }
    deliver(&*store, &third, Outcome::Handled).await;
    store.hold_leases(consumer(1)).await.unwrap();
    assert_eq!(begin(&*store, 1, &[&first, &second, &third]).await, [1, 2]);
    assert!(begin(&*store, 1, &[]).await.is_empty());
    assert_eq!(states(&*store).await, [(1, 0, false), (2, 0, false)], "its instance is alive");
    park_again(&*store, &second, 0).await;
    harness.clock.advance(GONE);
    assert_eq!(states(&*store).await, [(1, 0, true), (2, 0, false)]);
    store.hold_leases(consumer(2)).await.unwrap();
    assert_eq!(begin(&*store, 2, &[&first]).await, [1], "another may begin");
    assert_eq!(states(&*store).await, [(1, 0, false), (2, 0, false)]);
    let taken = receiving(&first, Origin::Parked, Outcome::Handled);
    assert!(matches!(store.commit(taken).await.unwrap(), CommitOutcome::Committed(_)));
    assert!(begin(&*store, 2, &[&first]).await.is_empty());
}

/// An instance that retires abandons nothing: it has ended as it should. In another role it leaves the
/// attempts alone.
pub async fn an_instance_that_retires_abandons_nothing(harness: StoreHarness) {
    let store = harness.store().await;
    let (first, second) = (message(1, None), message(2, None));
    for (holder, envelope) in [(1, &first), (2, &second)] {
        deliver(&*store, envelope, park(AT_ONCE, 1)).await;
        store.hold_leases(consumer(holder)).await.unwrap();
        begin(&*store, holder, &[envelope]).await;
    }
    store.retire(LeaseRole::Consumer, instance(1)).await.unwrap();
    store.retire(LeaseRole::Relay, instance(2)).await.unwrap();
    harness.clock.advance(GONE);
    assert_eq!(states(&*store).await, [(1, 0, false), (2, 0, true)]);
}

/// An abort that was counted for an instance is taken back when that one asks for leases again: it was
/// paused or cut off, and has not ended. Only the last one is known.
pub async fn an_abort_of_an_instance_that_is_alive_is_taken_back(harness: StoreHarness) {
    let store = harness.store().await;
    let envelope = message(1, Some("a"));
    deliver(&*store, &envelope, park(AT_ONCE, 1)).await;
    for (holder, aborts) in [(1, 1), (2, 2)] {
        store.hold_leases(consumer(holder)).await.unwrap();
        begin(&*store, holder, &[&envelope]).await;
        harness.clock.advance(GONE);
        park_again(&*store, &envelope, aborts).await;
        // The same commit again, as after an answer that was lost.
        park_again(&*store, &envelope, aborts).await;
        assert_eq!(states(&*store).await, [(1, aborts, false)]);
    }
    store.hold_leases(consumer(3)).await.unwrap();
    store.hold_leases(request(2, 4)).await.unwrap();
    assert_eq!(states(&*store).await, [(1, 2, false)], "another instance, another role");
    for _ in 0..2 {
        store.hold_leases(consumer(2)).await.unwrap();
        assert_eq!(states(&*store).await, [(1, 1, false)]);
    }
    store.hold_leases(consumer(1)).await.unwrap();
    assert_eq!(states(&*store).await, [(1, 1, false)]);
}

/// Messages without aborts come first. Of the others one is returned at a time, with the fewest, so
/// that none keeps the rest from their turn.
pub async fn messages_with_aborts_are_due_one_at_a_time(harness: StoreHarness) {
    let store = harness.store().await;
    let all: Vec<_> = (1..=5).map(|number| message(number, None)).collect();
    for envelope in &all {
        deliver(&*store, envelope, park(AT_ONCE, 1)).await;
        harness.clock.advance(Duration::from_secs(1));
    }
    for (envelope, aborts) in all.iter().zip([2, 1]) {
        park_again(&*store, envelope, aborts).await;
    }
    assert_eq!(states(&*store).await, [(3, 0, false), (4, 0, false), (5, 0, false), (2, 1, false)]);
    let limited = due(&*store, 2).await;
    assert_eq!(limited.iter().map(|it| it.aborts).collect::<Vec<_>>(), [0, 0, 1]);
    let found = limited.last().unwrap();
    assert_eq!((found.attempts, &found.failure), (2, &Failure::aborted(1)));
    commit(&*store, receiving(&all[1], Origin::Parked, Outcome::Handled)).await;
    assert_eq!(due(&*store, 0).await.iter().map(|it| it.aborts).collect::<Vec<_>>(), [2]);
    let none = store.due_parked(&[], 10).await.unwrap();
    assert!(none.is_empty(), "of the asked partitions only: {none:?}");
}

/// An abort is kept for a message that is delivered and parked, and a dead letter that is replayed
/// begins anew.
pub async fn a_replayed_message_has_no_aborts(harness: StoreHarness) {
    let store = harness.store().await;
    let envelope = message(1, Some("a"));
    let receipt = Receipt::new(envelope.clone(), Origin::Delivery, park(AT_ONCE, 0)).with_aborts(1);
    commit(&*store, UnitOfWork::default().with_receipt(receipt)).await;
    assert_eq!(states(&*store).await, [(1, 1, false)]);
    store.hold_leases(consumer(1)).await.unwrap();
    begin(&*store, 1, &[&envelope]).await;
    let (reason, attempts) = (DeadLetterReason::Aborted, 3);
    let given_up = Outcome::DeadLetter { reason, attempts, failure: Failure::aborted(3) };
    commit(&*store, receiving(&envelope, Origin::Parked, given_up)).await;
    let identity = envelope.metadata.identity();
    let letter = store.dead_letter(identity).await.unwrap().unwrap();
    assert_eq!((letter.reason, &letter.failure), (reason, &Failure::aborted(3)));
    assert!(letter.failure.message.contains("3 times"), "{:?}", letter.failure);
    assert!(store.replay_dead_letter(identity).await.unwrap());
    harness.clock.advance(GONE);
    assert_eq!(states(&*store).await, [(1, 0, false)]);
    deliver(&*store, &message(2, None), give_up()).await;
    assert_eq!(store.dead_letters(None, 10).await.unwrap()[0].failure, failure());
}

/// What an instance had begun, and the partitions that it held, are abandoned when the database is
/// opened again after it has ended without a word.
pub async fn an_instance_that_ended_has_abandoned_its_work(harness: StoreHarness) {
    let store = harness.store().await;
    let envelope = message(1, Some("a"));
    deliver(&*store, &envelope, park(AT_ONCE, 1)).await;
    let held = store.hold_leases(consumer(1)).await.unwrap();
    assert!(held.abandoned.is_empty());
    begin(&*store, 1, &[&envelope]).await;
    drop(store);
    harness.close().await;
    harness.clock.advance(GONE);
    let store = harness.store_over_another_connection().await;
    assert_eq!(states(&*store).await, [(1, 0, true)]);
    let held = store.hold_leases(consumer(2)).await.unwrap();
    assert_eq!(held.abandoned, Partition::all(4).unwrap());
}
