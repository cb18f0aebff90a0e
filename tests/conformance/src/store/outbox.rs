//! The outbox: commit order, partitions, fenced deletion, announcements.

use std::collections::HashMap;

use futures_util::FutureExt;
use futures_util::future::join_all;
use mamey_core::message::{Envelope, Key, Partition};
use mamey_core::store::{
    InstanceId, Lease, LeaseRole, OUTBOX_SCAN_MAX, OutboxRead, OutboxRecord, RecordId, Store,
};
use uuid::Uuid;

use super::fixture::{all_leases, commit, message, request, sending};
use super::harness::StoreHarness;

pub(super) fn read(leases: &[Lease]) -> OutboxRead<'_> {
    OutboxRead::new(leases, 10_000)
}

pub(super) fn numbers(records: &[OutboxRecord]) -> Vec<u128> {
    let number = |record: &OutboxRecord| record.envelope.metadata.id.as_uuid().as_u128();
    records.iter().map(number).collect()
}

/// Records come back as they were sent, ascending, and per key in the order of their commits, also
/// when many writers commit at once.
pub async fn outbox_order_is_commit_order(harness: StoreHarness) {
    const WRITERS: u128 = 8;
    const COMMITS: u128 = 12;
    let store = harness.store().await;
    let envelope = |writer: u128, number: u128| -> Envelope {
        let key = format!("key-{writer}");
        message(writer * 1000 + number, Some(&key))
    };
    let write = |writer: u128| {
        let store = &store;
        async move {
            for number in 0..COMMITS {
                let pair = [envelope(writer, 2 * number), envelope(writer, 2 * number + 1)];
                commit(&**store, sending(pair)).await;
            }
        }
    };
    join_all((0..WRITERS).map(write)).await;
    let leases = all_leases(&*store).await;
    let records = store.read_outbox(read(&leases)).await.unwrap().records;
    assert_eq!(records.len() as u128, WRITERS * COMMITS * 2);
    assert!(records.is_sorted_by(|one, two| one.sequence < two.sequence));
    let mut next: HashMap<u128, u128> = HashMap::new();
    for record in &records {
        let number = record.envelope.metadata.id.as_uuid().as_u128();
        let (writer, number) = (number / 1000, number % 1000);
        assert_eq!(record.envelope, envelope(writer, number));
        let expected = next.entry(writer).or_default();
        assert_eq!(number, *expected, "writer {writer}");
        *expected += 1;
    }
}

/// A read sees the partitions of its leases only, after its cursor, without the keys to skip and
/// the records that are held, up to its limit.
pub async fn reads_keep_to_partitions_cursor_and_limit(harness: StoreHarness) {
    let store = harness.store().await;
    let sent = (1..=40).map(|number| {
        let key = format!("key-{}", number % 10);
        message(number, (number % 4 > 0).then_some(&*key))
    });
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let all = store.read_outbox(read(&leases)).await.unwrap().records;
    assert_eq!(numbers(&all), (1..=40).collect::<Vec<_>>());
    let mut seen = 0;
    for lease in &leases {
        let of_lease = store.read_outbox(read(std::slice::from_ref(lease))).await.unwrap().records;
        let ours =
            |record: &OutboxRecord| lease.partition.contains(record.envelope.metadata.slot());
        assert!(of_lease.iter().all(ours));
        seen += of_lease.len();
    }
    assert_eq!(seen, 40);
    assert!(store.read_outbox(read(&[])).await.unwrap().records.is_empty());
    let skip = [Key::from("key-1"), Key::from("key-\"2'")];
    let none = RecordId::new(all[39].sequence + 1, all[39].id().message);
    let held = [all[6].id(), all[11].id(), none];
    let rest =
        OutboxRead::new(&leases, 6).with_after(all[4].sequence).with_skip(&skip).with_held(&held);
    let rest = store.read_outbox(rest).await.unwrap().records;
    assert_eq!(numbers(&rest), [6, 8, 9, 10, 13, 14]);
    let other = harness.context("payments").await;
    let theirs = other.read_outbox(read(&leases)).await.unwrap().records;
    assert!(theirs.is_empty(), "another context's records are not ours");
}

/// Published records are deleted once, and the count of them grows with the deletion.
pub async fn published_records_are_deleted_and_counted(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, sending((1..=10).map(|number| message(number, None)))).await;
    let leases = all_leases(&*store).await;
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.records, depth.published), (10, 0));
    assert_eq!(depth.oldest, Some(message(1, None).metadata.time));
    let records = store.read_outbox(read(&leases)).await.unwrap().records;
    let confirmed = under(&leases, &records[..4]);
    assert_eq!(store.delete_published(&confirmed).await.unwrap(), 4);
    assert_eq!(store.delete_published(&confirmed).await.unwrap(), 0);
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.records, depth.published), (6, 4));
    assert_eq!(depth.oldest, Some(message(5, None).metadata.time));
    let rest = store.read_outbox(read(&leases)).await.unwrap().records;
    assert_eq!(numbers(&rest), [5, 6, 7, 8, 9, 10]);
    assert_eq!(store.delete_published(&under(&leases, &rest)).await.unwrap(), 6);
    commit(&*store, sending([message(11, None)])).await;
    let later = store.read_outbox(read(&leases)).await.unwrap().records;
    assert!(later[0].sequence > rest[5].sequence, "a sequence is never used twice");
}

/// Each record with the lease of its partition.
fn under(leases: &[Lease], records: &[OutboxRecord]) -> Vec<(Lease, RecordId)> {
    records.iter().map(|record| (lease_of(leases, record), record.id())).collect()
}

/// The lease of a record's partition.
pub(super) fn lease_of(leases: &[Lease], record: &OutboxRecord) -> Lease {
    let slot = record.envelope.metadata.slot();
    *leases.iter().find(|lease| lease.partition.contains(slot)).unwrap()
}

/// A record is left out, and deleted, only as itself: not by its sequence with another message.
pub async fn a_record_is_held_and_deleted_only_as_itself(harness: StoreHarness) {
    let store = harness.store().await;
    let sent = (1..=12).map(|number| message(number, (number % 2 > 0).then_some("key")));
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let records = store.read_outbox(read(&leases)).await.unwrap().records;
    let of_next = |(at, record): (usize, &OutboxRecord)| {
        RecordId::new(record.sequence, records[(at + 1) % records.len()].id().message)
    };
    let others: Vec<_> = records.iter().enumerate().map(of_next).collect();
    let seen = store.read_outbox(read(&leases).with_held(&others)).await.unwrap().records;
    assert_eq!(seen, records, "another message with the sequence is not held");
    let as_others = under(&leases, &records).into_iter().zip(&others);
    let as_others: Vec<_> = as_others.map(|((lease, _), other)| (lease, *other)).collect();
    assert_eq!(store.delete_published(&as_others).await.unwrap(), 0);
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.records, depth.published), (12, 0));
    let held: Vec<_> = records.iter().map(OutboxRecord::id).collect();
    let seen = store.read_outbox(read(&leases).with_held(&held)).await.unwrap();
    assert!(seen.records.is_empty());
    assert!(seen.place.drawn >= records[11].sequence);
    let mut mixed = as_others;
    mixed.extend(under(&leases, &records[..5]));
    assert_eq!(store.delete_published(&mixed).await.unwrap(), 5);
    let rest = store.read_outbox(read(&leases)).await.unwrap().records;
    assert_eq!(rest, records[5..]);
}

/// After a restore that lost the last records, other messages get their sequences. What was read
/// before neither hides nor deletes them, and a read shows that the outbox went back.
pub async fn sequences_that_come_again_name_other_records(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, sending((1..=6).map(|number| message(number, Some("key"))))).await;
    let leases = all_leases(&*store).await;
    let before = store.read_outbox(read(&leases)).await.unwrap();
    if !harness.restore_empty_outbox().await {
        return;
    }
    let empty = store.read_outbox(read(&leases)).await.unwrap();
    assert!(empty.records.is_empty() && empty.place.drawn < before.place.drawn);
    commit(&*store, sending((101..=106).map(|number| message(number, Some("key"))))).await;
    let held: Vec<_> = before.records.iter().map(OutboxRecord::id).collect();
    let after = store.read_outbox(read(&leases).with_held(&held)).await.unwrap();
    assert_eq!(numbers(&after.records), (101..=106).collect::<Vec<_>>());
    let sequences = |records: &[OutboxRecord]| -> Vec<_> {
        records.iter().map(|record| record.sequence).collect()
    };
    assert_eq!(sequences(&after.records), sequences(&before.records));
    assert_eq!(store.delete_published(&under(&leases, &before.records)).await.unwrap(), 0);
    assert_eq!(store.outbox_depth().await.unwrap().records, 6);
    assert_eq!(store.delete_published(&under(&leases, &after.records)).await.unwrap(), 6);
}

/// With nobody writing, the outbox is complete up to what was read, and never beyond.
pub async fn the_outbox_is_complete_up_to_what_was_read(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, sending((1..=3).map(|number| message(number, None)))).await;
    let leases = all_leases(&*store).await;
    for number in 4..=6 {
        let read_to = store.read_outbox(read(&leases)).await.unwrap().last().unwrap();
        assert_eq!(store.outbox_complete_to(read_to).await.unwrap(), read_to);
        commit(&*store, sending([message(number, None)])).await;
        assert!(store.outbox_complete_to(read_to).await.unwrap() <= read_to);
    }
}

/// A lease that moved to another epoch deletes nothing, while the current one of the same call does.
pub async fn stale_leases_delete_nothing(harness: StoreHarness) {
    let store = harness.store().await;
    commit(&*store, sending((1..=20).map(|number| message(number, None)))).await;
    let old = all_leases(&*store).await;
    let records = store.read_outbox(read(&old)).await.unwrap().records;
    store.release_leases(&old[..2]).await.unwrap();
    let new = store.hold_leases(request(2, 4)).await.unwrap().leases;
    assert_eq!(new.len(), 2);
    assert!(new.iter().all(|lease| lease.epoch == 2));
    let moved = |lease: &Lease| new.iter().any(|new| new.partition == lease.partition);
    let confirmed = under(&old, &records);
    let fenced = confirmed.iter().filter(|(lease, _)| moved(lease)).count() as u64;
    assert!(fenced > 0 && fenced < 20);
    assert_eq!(store.delete_published(&confirmed).await.unwrap(), 20 - fenced);
    let rest = store.read_outbox(read(&new)).await.unwrap().records;
    assert_eq!(rest.len() as u64, fenced);
    let Lease { role, partition, epoch, holder, .. } = new[0];
    let another = InstanceId::new(Uuid::from_u128(3));
    let forged = [
        Lease::new(role, partition, 99, holder),
        Lease::new(role, partition, epoch, another),
        Lease::new(LeaseRole::Consumer, partition, epoch, holder),
        Lease::new(role, Partition::new(0, 1).unwrap(), epoch, holder),
    ];
    for lease in forged {
        let confirmed: Vec<_> = rest.iter().map(|record| (lease, record.id())).collect();
        assert_eq!(store.delete_published(&confirmed).await.unwrap(), 0, "{lease:?}");
    }
    assert_eq!(store.delete_published(&under(&new, &rest)).await.unwrap(), fenced);
}

/// A commit with messages is announced to every open store of the context. The hint is kept until
/// somebody asks, also if somebody stopped waiting for it.
pub async fn commits_are_announced(harness: StoreHarness) {
    let (one, two) = (harness.store().await, harness.store().await);
    assert!(one.outbox_changed().now_or_never().is_none());
    commit(&*one, sending([message(1, None)])).await;
    let is_announced = |store: &dyn Store| store.outbox_changed().now_or_never().is_some();
    assert!(is_announced(&*one));
    assert!(is_announced(&*two));
    assert!(!is_announced(&*one));
}

/// A read fetches no more bytes than it is asked for, and at least one record.
pub async fn reads_keep_to_their_bytes(harness: StoreHarness) {
    let store = harness.store().await;
    let sent = (1..=9).map(|number| {
        let mut envelope = message(number, None);
        envelope.payload = vec![b' '; 1000].into();
        envelope
    });
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let mut after = 0;
    for (bytes_max, expected) in
        [(2500, vec![1, 2]), (2999, vec![3, 4]), (3000, vec![5, 6, 7]), (1, vec![8]), (0, vec![9])]
    {
        let page = store.read_outbox(read(&leases).with_after(after).with_bytes_max(bytes_max));
        let page = page.await.unwrap();
        assert_eq!(numbers(&page.records), expected, "{bytes_max} bytes");
        after = page.last().unwrap();
        assert_eq!(page.more, after < 9, "{bytes_max} bytes");
    }
    let all = store.read_outbox(OutboxRead::new(&leases, 9).with_bytes_max(8999)).await.unwrap();
    assert!(all.more && all.records.len() == 8);
    let all = store.read_outbox(OutboxRead::new(&leases, 10).with_bytes_max(9000)).await.unwrap();
    assert!(!all.more && all.records.len() == 9);
}

/// A read of certain keys finds their records alone, and looks at a bounded number of rows: it says up to
/// where, so that the next one goes on there.
pub async fn reads_of_certain_keys_are_bounded(harness: StoreHarness) {
    const MANY: u128 = OUTBOX_SCAN_MAX as u128 + 500;
    let store = harness.store().await;
    let key_of = |number: u128| match number {
        2 | 7 | 10_300 => Some("rare\0"),
        3 | 8 => Some("other"),
        _ => Some("usual"),
    };
    let sent: Vec<_> = (1..=MANY).map(|number| message(number, key_of(number))).collect();
    for sent in sent.chunks(1000) {
        commit(&*store, sending(sent.to_vec())).await;
    }
    let leases = all_leases(&*store).await;
    let first = store.read_outbox(OutboxRead::new(&leases, 1)).await.unwrap().records[0].sequence;
    let rare = [Key::from("rare\0")];
    let read_rare = read(&leases).with_only(Some(&rare));
    let page = store.read_outbox(read_rare).await.unwrap();
    assert_eq!(numbers(&page.records), [2, 7]);
    assert!(page.more);
    let looked_to = page.last().unwrap();
    assert_eq!(looked_to, first + u64::from(OUTBOX_SCAN_MAX) - 1);
    let rest = store.read_outbox(read_rare.with_after(looked_to)).await.unwrap();
    assert_eq!(numbers(&rest.records), [10_300]);
    assert!(!rest.more);
    let held = [page.records[0].id()];
    let both = [Key::from("other"), Key::from("rare\0")];
    let limited = OutboxRead::new(&leases, 2).with_only(Some(&both)).with_held(&held);
    let limited = store.read_outbox(limited).await.unwrap();
    assert_eq!(numbers(&limited.records), [3, 7]);
    assert!(limited.more && limited.last() == Some(first + 6));
    let theirs = read_rare.with_after(looked_to + 500);
    assert_eq!(store.read_outbox(theirs).await.unwrap().last(), None);
    let of_none = OutboxRead::new(&[], 10).with_only(Some(&rare));
    assert!(store.read_outbox(of_none).await.unwrap().records.is_empty());
}

/// A row that this build cannot read is named with its place and key; the others are read.
pub async fn an_unreadable_record_costs_itself_alone(harness: StoreHarness) {
    let store = harness.store().await;
    let keys = ["a", "damaged\0", "b", "damaged\0", "a"];
    let sent = (1..).zip(keys).map(|(number, key)| message(number, Some(key)));
    commit(&*store, sending(sent)).await;
    if !harness.damage("outbox", r#"metadata = '{"target":{"planet":"moon"}}'"#, "key").await {
        return;
    }
    let leases = all_leases(&*store).await;
    let page = store.read_outbox(read(&leases)).await.unwrap();
    assert_eq!(numbers(&page.records), [1, 3, 5]);
    assert!(!page.more);
    let places: Vec<_> = page.unreadable.iter().map(|row| row.id.sequence).collect();
    let first = page.records[0].sequence;
    assert_eq!(places, [first + 1, first + 3]);
    let key = Key::from("damaged\0");
    let ids: Vec<_> = page.unreadable.iter().map(|row| row.id.message).collect();
    assert_eq!(ids, [2, 4].map(|number| message(number, None).metadata.id));
    for row in &page.unreadable {
        assert_eq!((row.slot, row.key.as_ref()), (key.slot(), Some(&key)));
        assert!(row.why.contains("metadata"), "{}", row.why);
    }
    let skip = [key];
    let rest = store.read_outbox(read(&leases).with_skip(&skip)).await.unwrap();
    assert!(rest.unreadable.is_empty() && rest.records.len() == 3);
}
