//! Stalled records: they wait for their next try with their keys behind them, and nothing else does.

use std::time::Duration;

use mamey_core::Error;
use mamey_core::message::{Key, Partition};
use mamey_core::store::{
    Becomes, FailedRecord, Failure, InstanceId, Lease, LeaseRole, OutboxRecord, RecordId, Stalled,
    StalledRead, Store, UndeliveredReason,
};
use uuid::Uuid;

use super::fixture::{all_leases, commit, failure, message, request, sending};
use super::harness::StoreHarness;
use super::outbox::{lease_of, numbers, read};

const SECOND: Duration = Duration::from_secs(1);

/// This record, to be tried again after a pause.
pub(super) fn stall(id: RecordId, delay: Duration) -> FailedRecord {
    FailedRecord::new(id, failure(), Becomes::Stalled { delay })
}

/// This record, given up.
pub(super) fn give_up(id: RecordId) -> FailedRecord {
    let reason = UndeliveredReason::Unroutable;
    FailedRecord::new(id, failure(), Becomes::Undelivered { reason })
}

/// Records the failure of a record that was read.
pub(super) async fn record_failure(
    store: &dyn Store,
    leases: &[Lease],
    record: &OutboxRecord,
    failed: FailedRecord,
) {
    let failed = [(lease_of(leases, record), failed)];
    assert_eq!(store.record_failures(&failed).await.unwrap(), 1);
}

/// The records of an outbox.
pub(super) async fn records(store: &dyn Store, leases: &[Lease]) -> Vec<OutboxRecord> {
    store.read_outbox(read(leases)).await.unwrap().records
}

async fn due(store: &dyn Store, leases: &[Lease]) -> (Vec<u128>, Option<Duration>) {
    let page = store.due_stalled(StalledRead::new(leases, 100)).await.unwrap();
    let due: Vec<_> = page.records.into_iter().map(|stalled| stalled.record).collect();
    (numbers(&due), page.next_in)
}

/// A stalled record leaves the outbox, and what comes after it in its key is not read until it is
/// deleted; other keys and earlier records are. It still counts as waiting, and comes back when due.
pub async fn a_stalled_record_holds_its_key_alone(harness: StoreHarness) {
    let store = harness.store().await;
    let keys = [Some("a\0"), Some("b"), Some("a\0"), None, Some("a\0"), None];
    let sent = (1..).zip(keys).map(|(number, key)| message(number, key));
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let all = records(&*store, &leases).await;
    for (at, expected) in [(2, vec![1, 2, 4, 6]), (3, vec![1, 2, 6])] {
        record_failure(&*store, &leases, &all[at], stall(all[at].id(), 10 * SECOND)).await;
        assert_eq!(numbers(&records(&*store, &leases).await), expected);
    }
    let key = [Key::from("a\0")];
    let of_key = store.read_outbox(read(&leases).with_only(Some(&key))).await.unwrap();
    assert_eq!(numbers(&of_key.records), [1, 5], "a read of certain keys does not care");
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.records, depth.stalled, depth.unreadable, depth.published), (6, 2, 0, 0));
    assert_eq!(depth.oldest, Some(message(1, None).metadata.time));
    assert_eq!(due(&*store, &leases).await, (vec![], Some(10 * SECOND)));
    harness.clock.advance(10 * SECOND);
    assert_eq!(due(&*store, &leases).await, (vec![3, 4], None));
    let again = stall(all[2].id(), 30 * SECOND).with_attempts(2);
    record_failure(&*store, &leases, &all[2], again).await;
    assert_eq!(due(&*store, &leases).await, (vec![4], Some(30 * SECOND)));
    harness.clock.advance(40 * SECOND);
    let held = [all[3].id()];
    let page = store.due_stalled(StalledRead::new(&leases, 10).with_held(&held)).await.unwrap();
    assert_eq!(page.records, [Stalled::new(all[2].clone(), 2, 50 * SECOND)]);
    let published: Vec<_> =
        [0, 2, 3].map(|at: usize| (lease_of(&leases, &all[at]), all[at].id())).to_vec();
    assert_eq!(store.delete_published(&published).await.unwrap(), 3);
    assert_eq!(store.delete_published(&published).await.unwrap(), 0);
    assert_eq!(numbers(&records(&*store, &leases).await), [2, 5, 6]);
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.records, depth.stalled, depth.published), (3, 0, 3));
    let other = harness.context("payments").await;
    assert_eq!(other.outbox_depth().await.unwrap().records, 0);
}

/// What the first record of an outbox is, when only stalled ones wait, or when they wait before others.
async fn oldest_is(store: &dyn Store, number: u128) {
    let oldest = store.outbox_depth().await.unwrap().oldest;
    assert_eq!(oldest, Some(message(number, None).metadata.time));
}

/// Stalled records come the longest due first, of the asked partitions only, as many and as long as
/// asked for; what was left out by a limit is due now.
pub async fn stalled_records_are_due_in_order_and_within_limits(harness: StoreHarness) {
    let store = harness.store().await;
    let sent = (1..=8).map(|number| {
        let mut envelope = message(number, Some(&number.to_string()));
        envelope.payload = vec![b' '; 1000].into();
        envelope
    });
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let all = records(&*store, &leases).await;
    for (record, delay) in all.iter().zip([8, 3, 5, 1, 7, 2, 6, 4]) {
        record_failure(&*store, &leases, record, stall(record.id(), delay * SECOND)).await;
    }
    oldest_is(&*store, 1).await;
    commit(&*store, sending([message(9, None)])).await;
    oldest_is(&*store, 1).await;
    harness.clock.advance(6 * SECOND);
    assert_eq!(due(&*store, &leases).await, (vec![4, 6, 2, 8, 3, 7], Some(SECOND)));
    for (limit, bytes_max, expected) in [
        (2, usize::MAX, vec![4, 6]),
        (9, 2999, vec![4, 6]),
        (9, 3000, vec![4, 6, 2]),
        (9, 0, vec![4]),
    ] {
        let read = StalledRead::new(&leases, limit).with_bytes_max(bytes_max);
        let page = store.due_stalled(read).await.unwrap();
        let due: Vec<_> = page.records.into_iter().map(|stalled| stalled.record).collect();
        assert_eq!(numbers(&due), expected, "{limit} records, {bytes_max} bytes");
        assert_eq!(page.next_in, Some(Duration::ZERO));
    }
    let mut seen = 0;
    for lease in &leases {
        let (of_lease, _) = due(&*store, std::slice::from_ref(lease)).await;
        let ours = |number: &u128| lease.partition.contains(Key::new(number).slot());
        assert!(of_lease.iter().all(ours));
        seen += of_lease.len();
    }
    assert_eq!(seen, 6);
    assert_eq!(due(&*store, &[]).await, (vec![], None));
    let forever = stall(all[3].id(), Duration::MAX);
    record_failure(&*store, &leases, &all[3], forever).await;
    harness.clock.advance(SECOND * (1 << 30));
    assert!(!due(&*store, &leases).await.0.contains(&4), "a delay beyond all times is clamped");
}

/// Failures are recorded under the lease that the record was read with, and only of the record itself,
/// whether it is in the outbox or stalled, and whatever becomes of it.
pub async fn failures_are_recorded_under_the_lease_alone(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, sending((1..=20).map(|number| message(number, None)))).await;
    let old = all_leases(&*store).await;
    let all = records(&*store, &old).await;
    for record in &all[10..] {
        record_failure(&*store, &old, record, stall(record.id(), SECOND)).await;
    }
    store.release_leases(&old[..2]).await.unwrap();
    let new = store.hold_leases(request(2, 4)).await.unwrap().leases;
    let Lease { role, partition, epoch, .. } = new[0];
    let another = InstanceId::new(Uuid::from_u128(3));
    let mut forged = old[..2].to_vec();
    forged.extend([
        Lease::new(role, partition, 99, new[0].holder),
        Lease::new(role, partition, epoch, another),
        Lease::new(LeaseRole::Consumer, partition, epoch, new[0].holder),
        Lease::new(role, Partition::new(0, 1).unwrap(), epoch, new[0].holder),
        old[2],
    ]);
    let becomes = |id| [stall(id, Duration::MAX), give_up(id)];
    let covered = |lease: &Lease, record: &OutboxRecord| {
        let slot = record.envelope.metadata.slot();
        *lease == old[2] && lease.partition.contains(slot)
    };
    for lease in &forged {
        let uncovered = all.iter().filter(|record| !covered(lease, record));
        let failed = uncovered.flat_map(|record| becomes(record.id()));
        let failed: Vec<_> = failed.map(|failed| (*lease, failed)).collect();
        assert_eq!(store.record_failures(&failed).await.unwrap(), 0, "{lease:?}");
    }
    let current: Vec<_> = new.iter().chain(&old[2..]).copied().collect();
    let as_others = all.iter().zip(all.iter().skip(1)).flat_map(|(record, next)| {
        let id = RecordId::new(record.sequence, next.id().message);
        becomes(id).map(|failed| (lease_of(&current, record), failed))
    });
    let as_others: Vec<_> = as_others.collect();
    assert_eq!(store.record_failures(&as_others).await.unwrap(), 0, "of another message");
    assert_eq!(records(&*store, &current).await, all[..10]);
    harness.clock.advance(SECOND);
    assert_eq!(due(&*store, &current).await.0, (11..=20).collect::<Vec<_>>());
    assert_eq!(store.undelivered_count().await.unwrap(), 0);
    let stalled_at = |at: usize| stall(all[at].id(), SECOND);
    let all_at_once: Vec<_> =
        [stalled_at(0), give_up(all[1].id()), stalled_at(10), give_up(all[11].id())]
            .into_iter()
            .zip([0, 1, 10, 11])
            .map(|(failed, at)| (lease_of(&current, &all[at]), failed))
            .collect();
    assert_eq!(store.record_failures(&all_at_once).await.unwrap(), 4);
    assert_eq!(records(&*store, &current).await, all[2..10]);
    assert_eq!(store.undelivered_count().await.unwrap(), 2);
    assert_eq!(store.outbox_depth().await.unwrap().stalled, 10);
}

/// A stalled record that this build cannot read is returned as such, and can be stalled again or given
/// up; it is counted with what waits behind it.
pub async fn an_unreadable_stalled_record_costs_its_key_alone(harness: StoreHarness) {
    let store = harness.store().await;
    let keys = ["a", "damaged\0", "b", "damaged\0", "a"];
    let sent = (1..).zip(keys).map(|(number, key)| message(number, Some(key)));
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let all = records(&*store, &leases).await;
    let unreadable = Failure::from(&Error::unreadable("from the moon"));
    assert!(unreadable.is_unreadable() && !failure().is_unreadable());
    let delay = Duration::ZERO;
    let failed = FailedRecord::new(all[1].id(), unreadable, Becomes::Stalled { delay });
    record_failure(&*store, &leases, &all[0], stall(all[0].id(), delay)).await;
    record_failure(&*store, &leases, &all[1], failed.clone()).await;
    let depth = store.outbox_depth().await.unwrap();
    if !harness.damage("stalled", r#"metadata = '{"target":{"planet":"moon"}}'"#, "key").await {
        return;
    }
    assert_eq!((depth.records, depth.stalled, depth.unreadable), (5, 2, 2));
    let page = store.due_stalled(StalledRead::new(&leases, 10)).await.unwrap();
    assert_eq!(page.records, [Stalled::new(all[0].clone(), 1, Duration::ZERO)]);
    let [found] = &*page.unreadable else { panic!("{page:?}") };
    let key = Key::from("damaged\0");
    assert_eq!((found.record.id, found.record.key.as_ref()), (all[1].id(), Some(&key)));
    assert_eq!((found.record.slot, found.attempts), (key.slot(), 1));
    assert!(found.record.why.contains("metadata"), "{}", found.record.why);
    assert_eq!(numbers(&records(&*store, &leases).await), [3]);
    let again = failed.clone().with_attempts(2);
    record_failure(&*store, &leases, &all[1], again).await;
    let reason = UndeliveredReason::Unreadable;
    let becomes = Becomes::Undelivered { reason };
    let given_up = FailedRecord::new(failed.id, failed.failure, becomes);
    record_failure(&*store, &leases, &all[1], given_up).await;
    assert_eq!(numbers(&records(&*store, &leases).await), [3, 4]);
    assert_eq!(store.outbox_depth().await.unwrap().unreadable, 0);
}
