//! The number of partitions that instances agree on, and which instances there are.

use std::time::Duration;

use mamey_core::store::{LeaseRole, Member, Partitioning, Phase, Store};

use super::fixture::request;
use super::harness::StoreHarness;

const AN_HOUR: Duration = Duration::from_hours(1);

fn stable(partitions: u16, former: Option<u16>) -> Partitioning {
    Partitioning::new(partitions, Phase::Stable { former })
}

async fn change(store: &dyn Store, from: Partitioning, to: Partitioning) -> bool {
    store.change_partitioning(from, to).await.unwrap()
}

/// The first call decides for all; each step of a change is made once, from where it begins.
pub async fn a_number_of_partitions_changes_step_by_step(harness: StoreHarness) {
    let (store, beside) = (harness.store().await, harness.store().await);
    let other = harness.context("payments").await;
    assert_eq!(store.partitioning(8).await.unwrap(), (stable(8, None), Duration::ZERO));
    harness.clock.advance(AN_HOUR);
    assert_eq!(beside.partitioning(16).await.unwrap(), (stable(8, None), AN_HOUR));
    assert_eq!(other.partitioning(4).await.unwrap().0, stable(4, None));
    let draining = Partitioning::new(8, Phase::Draining { to: 16 });
    let settling = Partitioning::new(16, Phase::Settling { from: 8 });
    assert!(!change(&*store, draining, settling).await, "it has not begun");
    assert!(!change(&*store, stable(8, Some(4)), draining).await, "it was never 4");
    let steps = [stable(8, None), draining, settling, stable(16, Some(8)), stable(16, None)];
    for step in steps.windows(2) {
        assert!(change(&*store, step[0], step[1]).await);
        assert!(!change(&*beside, step[0], step[1]).await, "it was made");
        assert_eq!(beside.partitioning(8).await.unwrap(), (step[1], Duration::ZERO));
    }
    assert_eq!(other.partitioning(8).await.unwrap().0, stable(4, None), "another context");
}

/// Whoever relays or consumes is a member, with what it is set to, until it retires or is silent.
pub async fn members_are_those_that_work(harness: StoreHarness) {
    let store = harness.store().await;
    assert_eq!(store.members().await.unwrap(), []);
    let (one, two) = (request(1, 8).with_wanted(16), request(2, 8));
    store.hold_leases(one).await.unwrap();
    store.hold_leases(two.with_role(LeaseRole::Consumer)).await.unwrap();
    store.hold_leases(request(3, 1).with_role(LeaseRole::Topology)).await.unwrap();
    let mut members = store.members().await.unwrap();
    members.sort_by_key(|member| member.holder.as_uuid());
    let both = [Member::new(one.holder, 8, 16), Member::new(two.holder, 8, 8)];
    assert_eq!(members, both, "changing the topology is no work");
    store.hold_leases(two.with_role(LeaseRole::Consumer).with_wanted(4)).await.unwrap();
    store.retire(LeaseRole::Relay, one.holder).await.unwrap();
    assert_eq!(store.members().await.unwrap(), [Member::new(two.holder, 8, 4)]);
    harness.clock.advance(Duration::from_secs(11));
    assert_eq!(store.members().await.unwrap(), []);
}
