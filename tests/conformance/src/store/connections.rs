//! Durable and shared stores: what another connection finds, and what two do to each other.

use futures_util::future::join;
use mamey_core::ErrorKind;
use mamey_core::store::{CommitOutcome, Expected, Lease, Origin, OutboxRead, Outcome};

use super::fixture::{
    AT_ONCE, all_leases, assert_kind, commit, load_note, message, park, put_note, receiving,
    request, writes,
};
use super::harness::StoreHarness;

/// Documents, messages to send, marks of received messages and parked messages are there after the
/// database was closed and opened again, with the identity that it had, and no epoch of a lease goes
/// back.
pub async fn what_was_committed_survives_closing(harness: StoreHarness) {
    let store = harness.store().await;
    let (handled, parked) = (message(1, None), message(2, Some("k")));
    let mut unit = receiving(&handled, Origin::Delivery, Outcome::Handled);
    unit.writes = vec![put_note("a", Expected::Absent, "kept")];
    unit.outbox = vec![message(3, None)];
    commit(&*store, unit).await;
    let unit = receiving(&parked, Origin::Delivery, park(AT_ONCE, 1));
    commit(&*store, unit).await;
    let (before, identity) = (all_leases(&*store).await, store.identity());
    let note = load_note(&*store, "a").await;
    assert!(note.is_some());
    drop(store);
    harness.close().await;
    let store = harness.store_over_another_connection().await;
    assert_eq!(store.identity(), identity);
    assert_eq!(load_note(&*store, "a").await, note);
    assert!(store.was_received(handled.metadata.identity()).await.unwrap());
    assert_eq!(store.parked_count().await.unwrap(), 1);
    let leases = all_leases(&*store).await;
    let no_epoch_goes_back = |(old, new): (&Lease, &Lease)| new.epoch >= old.epoch;
    assert!(before.iter().zip(&leases).all(no_epoch_goes_back), "{before:?}, then {leases:?}");
    let records = store.read_outbox(OutboxRead::new(&leases, 10)).await.unwrap().records;
    let sent: Vec<_> = records.into_iter().map(|record| record.envelope).collect();
    assert_eq!(sent, [message(3, None)]);
}

/// Two instances on one context see each other's commits. Of two that write one version one is
/// refused, a message takes effect in one of them, and a partition has one holder.
pub async fn two_connections_share_one_context(harness: StoreHarness) {
    let (one, two) = (harness.store().await, harness.store_over_another_connection().await);
    assert_eq!(one.identity(), two.identity());
    commit(&*one, writes([put_note("a", Expected::Absent, "one")])).await;
    assert_eq!(load_note(&*two, "a").await.unwrap().version, 1);
    commit(&*two, writes([put_note("a", Expected::Version(1), "two")])).await;
    let stale = one.commit(writes([put_note("a", Expected::Version(1), "late")])).await;
    assert_kind(&stale.unwrap_err(), ErrorKind::Conflict, "notes/a");
    let handled = message(1, Some("k"));
    let unit = || receiving(&handled, Origin::Delivery, Outcome::Handled);
    let (first, second) = join(one.commit(unit()), two.commit(unit())).await;
    let outcomes = [first.unwrap(), second.unwrap()];
    let duplicates = outcomes.iter().filter(|it| matches!(it, CommitOutcome::Duplicate));
    assert_eq!(duplicates.count(), 1, "{outcomes:?}");
    assert_eq!(all_leases(&*one).await.len(), 4);
    assert!(two.hold_leases(request(2, 4)).await.unwrap().leases.is_empty());
}
