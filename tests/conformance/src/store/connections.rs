//! Durable and shared stores: what another connection finds, and what two do to each other.

use futures_util::future::join_all;
use mamey_core::ErrorKind;
use mamey_core::store::{CommitOutcome, Expected, Origin, OutboxRead, Outcome};

use super::fixture::{
    all_leases, assert_kind, commit, load_note, message, park, put_note, receiving, request, writes,
};
use super::harness::StoreHarness;

/// Documents, messages to send, marks of messages received, parked messages and leases are there
/// after the database was closed and opened anew.
pub async fn what_was_committed_survives_closing(harness: StoreHarness) {
    let store = harness.store().await;
    let (handled, parked) = (message(1, None), message(2, Some("k")));
    let mut unit = receiving(&handled, Origin::Delivery, Outcome::Handled);
    unit.writes = vec![put_note("a", Expected::Absent, "kept")];
    unit.outbox = vec![message(3, None)];
    commit(&*store, unit).await;
    let unit = receiving(&parked, Origin::Delivery, park(harness.now(), 1));
    commit(&*store, unit).await;
    let leases = all_leases(&*store).await;
    let before = load_note(&*store, "a").await;
    assert!(before.is_some());
    drop(store);
    harness.close().await;
    let store = harness.store_over_another_connection().await;
    assert_eq!(load_note(&*store, "a").await, before);
    assert!(store.was_received(handled.metadata.id).await.unwrap());
    assert_eq!(store.parked_count().await.unwrap(), 1);
    assert_eq!(all_leases(&*store).await, leases, "the same holder renews what it had");
    let records = store.read_outbox(OutboxRead::new(&leases, 10)).await.unwrap();
    let sent: Vec<_> = records.into_iter().map(|record| record.envelope).collect();
    assert_eq!(sent, [message(3, None)]);
}

/// Two instances on one context see each other's commits; of two that write one version one is
/// refused, a message takes effect in one of them, and a partition has one holder.
pub async fn two_connections_share_one_context(harness: StoreHarness) {
    let (one, two) = (harness.store().await, harness.store_over_another_connection().await);
    commit(&*one, writes([put_note("a", Expected::Absent, "one")])).await;
    assert_eq!(load_note(&*two, "a").await.unwrap().version, 1);
    commit(&*two, writes([put_note("a", Expected::Version(1), "two")])).await;
    let stale = one.commit(writes([put_note("a", Expected::Version(1), "late")])).await;
    assert_kind(&stale.unwrap_err(), ErrorKind::Conflict, "notes/a");
    let handled = message(1, Some("k"));
    let handle = |store| {
        let unit = receiving(&handled, Origin::Delivery, Outcome::Handled);
        async move { mamey_core::store::CommitStore::commit(store, unit).await.unwrap() }
    };
    let outcomes = join_all([&*one, &*two].map(handle)).await;
    let duplicates = outcomes.iter().filter(|it| matches!(it, CommitOutcome::Duplicate));
    assert_eq!(duplicates.count(), 1, "{outcomes:?}");
    assert_eq!(all_leases(&*one).await.len(), 4);
    assert!(two.hold_leases(request(2, 4)).await.unwrap().leases.is_empty());
}
