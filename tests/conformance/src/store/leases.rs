//! Leases: fair shares, takeover after expiry, epochs.

use std::time::Duration;

use mamey_core::ErrorKind;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRole, Store};
use uuid::Uuid;

use super::fixture::{assert_kind, request};
use super::harness::StoreHarness;

async fn hold(store: &dyn Store, holder: u128) -> Holdings {
    store.hold_leases(request(holder, 8)).await.unwrap()
}

fn numbers(holdings: &Holdings) -> Vec<u16> {
    let numbers = holdings.leases.iter().map(|lease| lease.partition.number());
    numbers.collect()
}

/// One instance holds all; when a second asks, the first has a surplus, which the second takes once
/// it is released. Each role and each context shares out its own partitions.
pub async fn partitions_are_shared_fairly(harness: StoreHarness) {
    let store = harness.store().await;
    let alone = hold(&*store, 1).await;
    assert_eq!((alone.leases.len(), alone.surplus), (8, 0));
    assert!(alone.leases.iter().all(|lease| lease.epoch == 1));
    assert_eq!(hold(&*store, 1).await, alone, "a renewal changes nothing");
    let newcomer = hold(&*store, 2).await;
    assert_eq!((newcomer.leases.len(), newcomer.surplus), (0, 0));
    let first = hold(&*store, 1).await;
    assert_eq!((first.leases.len(), first.surplus), (8, 4));
    store.release_leases(&first.leases[4..]).await.unwrap();
    let newcomer = hold(&*store, 2).await;
    assert_eq!(numbers(&newcomer), numbers(&first)[4..]);
    assert!(newcomer.leases.iter().all(|lease| lease.epoch == 2));
    let first = hold(&*store, 1).await;
    assert_eq!((first.leases.len(), first.surplus), (4, 0));
    store.release_leases(&alone.leases).await.unwrap();
    assert_eq!(hold(&*store, 2).await, newcomer, "an old epoch releases nothing");
    let another = InstanceId::new(Uuid::from_u128(1));
    let of_another = newcomer
        .leases
        .iter()
        .map(|lease| Lease::new(lease.role, lease.partition, lease.epoch, another));
    store.release_leases(&of_another.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(hold(&*store, 2).await, newcomer, "another holder releases nothing");
    let consuming = request(3, 5).with_role(LeaseRole::Consumer);
    assert_eq!(store.hold_leases(consuming).await.unwrap().leases.len(), 5);
    let other = harness.context("payments").await;
    assert_eq!(hold(&*other, 9).await.leases.len(), 8);
}

/// An instance that does not renew its leases loses them when they expire, and its epoch with them;
/// when it asks again, it finds the new holder.
pub async fn expired_leases_are_taken_over_under_a_new_epoch(harness: StoreHarness) {
    let store = harness.store().await;
    let old = hold(&*store, 1).await;
    harness.clock.advance(Duration::from_secs(9));
    assert!(hold(&*store, 2).await.leases.is_empty(), "not expired yet");
    harness.clock.advance(Duration::from_secs(2));
    let new = hold(&*store, 2).await;
    assert_eq!(new.leases.len(), 8);
    let raised =
        |(old, new): (&Lease, &Lease)| old.partition == new.partition && new.epoch == old.epoch + 1;
    assert!(old.leases.iter().zip(&new.leases).all(raised));
    let late = hold(&*store, 1).await;
    assert_eq!((late.leases.len(), late.surplus), (0, 0));
    harness.clock.advance(Duration::from_secs(60));
    let kept = hold(&*store, 2).await;
    assert_eq!(kept.leases, new.leases, "nobody else asked, so the epoch stays");
}

/// A clock that jumps may move leases early or late, but never leaves two holders of one epoch, and
/// no epoch is used twice.
pub async fn a_jumping_clock_leaves_one_holder(harness: StoreHarness) {
    let store = harness.store().await;
    let first = hold(&*store, 1).await;
    harness.clock.set(harness.now().minus(Duration::from_hours(3)));
    assert!(hold(&*store, 2).await.leases.is_empty(), "the leases seem to last longer, and hold");
    let kept = hold(&*store, 1).await;
    assert_eq!(kept.leases, first.leases);
    harness.clock.advance(Duration::from_hours(6));
    let (one, two) = (hold(&*store, 2).await, hold(&*store, 1).await);
    assert_eq!(one.leases.len(), 8, "all had expired");
    assert!(two.leases.is_empty(), "the late owner has none of them");
    assert!(one.leases.iter().all(|lease| lease.epoch == 2));
}

/// All instances that are alive use one number of partitions. When they are gone, another number may
/// be used, and no epoch is used twice.
pub async fn another_number_of_partitions_is_refused(harness: StoreHarness) {
    let store = harness.store().await;
    let old = hold(&*store, 1).await;
    let error = store.hold_leases(request(2, 4)).await.unwrap_err();
    assert_kind(&error, ErrorKind::Misconfigured, "8");
    assert_kind(&error, ErrorKind::Misconfigured, "4 partitions");
    assert_eq!(hold(&*store, 1).await, old, "the refused instance does not count");
    harness.clock.advance(Duration::from_secs(11));
    let new = store.hold_leases(request(2, 4)).await.unwrap();
    assert_eq!(new.leases.len(), 4);
    assert!(new.leases.iter().all(|lease| lease.partition.of() == 4 && lease.epoch == 2));
    let error = store.hold_leases(request(1, 8)).await.unwrap_err();
    assert_kind(&error, ErrorKind::Misconfigured, "partitions");
}

/// Retiring frees everything at once, for one role only.
pub async fn retired_instances_leave_at_once(harness: StoreHarness) {
    let store = harness.store().await;
    let holder = InstanceId::new(Uuid::from_u128(1));
    let consuming = request(1, 8).with_role(LeaseRole::Consumer);
    hold(&*store, 1).await;
    hold(&*store, 2).await;
    let consumer = store.hold_leases(consuming).await.unwrap();
    store.retire(LeaseRole::Relay, holder).await.unwrap();
    let rest = hold(&*store, 2).await;
    assert_eq!((rest.leases.len(), rest.surplus), (8, 0));
    assert_eq!(store.hold_leases(consuming).await.unwrap(), consumer);
}
