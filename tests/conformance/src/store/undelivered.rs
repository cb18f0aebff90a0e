//! Undelivered messages: what was given up is kept, listed, and replayed or discarded once.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use mamey_core::ErrorKind;
use mamey_core::store::{
    Becomes, FailedRecord, OutboxRecord, RecordId, Store, UNDELIVERED_PAGE_BYTES_MAX,
    UNDELIVERED_PAGE_MAX, UndeliveredMessage, UndeliveredReason,
};

use super::fixture::{all_leases, assert_kind, commit, failure, message, sending};
use super::harness::StoreHarness;
use super::outbox::numbers;
use super::stalled::{give_up, record_failure, records, stall};

async fn listed(store: &dyn Store, after: Option<RecordId>, limit: u32) -> Vec<u128> {
    let messages = store.undelivered(after, limit).await.unwrap();
    messages.iter().map(|message| message.id.message.as_uuid().as_u128()).collect()
}

fn ids(records: &[OutboxRecord]) -> Vec<RecordId> {
    records.iter().map(OutboxRecord::id).collect()
}

/// Undelivered messages keep everything about their end and are listed in its order, page by page.
/// Their keys go on.
pub async fn undelivered_messages_are_listed_in_order(harness: StoreHarness) {
    let store = harness.store().await;
    let start = harness.now();
    let keys = [Some("a\0"), Some("a\0"), Some("b"), None];
    let sent = (1..).zip(keys).map(|(number, key)| message(number, key));
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let all = records(&*store, &leases).await;
    record_failure(&*store, &leases, &all[0], stall(all[0].id(), Duration::ZERO)).await;
    record_failure(&*store, &leases, &all[3], give_up(all[3].id())).await;
    harness.clock.advance(Duration::from_secs(5));
    record_failure(&*store, &leases, &all[0], give_up(all[0].id()).with_attempts(7)).await;
    let reason = UndeliveredReason::Refused;
    let refused = FailedRecord::new(all[2].id(), failure(), Becomes::Undelivered { reason });
    record_failure(&*store, &leases, &all[2], refused).await;
    assert_eq!(numbers(&records(&*store, &leases).await), [2], "its key goes on");
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.records, depth.stalled, depth.published), (1, 0, 0));
    assert_eq!(listed(&*store, None, 10).await, [4, 1, 3]);
    let message = store.undelivered(Some(all[3].id()), 1).await.unwrap().pop().unwrap();
    let expected = UndeliveredMessage::new(
        all[0].id(),
        all[0].envelope.clone(),
        UndeliveredReason::Unroutable,
        failure(),
    );
    let expected =
        expected.with_attempts(7).with_first_failed(start).with_last_failed(harness.now());
    assert_eq!(message, expected);
    let last = store.undelivered(Some(all[0].id()), 10).await.unwrap().pop().unwrap();
    assert_eq!((last.reason, last.first_failed), (reason, harness.now()));
    assert_eq!(store.undelivered_count().await.unwrap(), 3);
    let asked = [all[0].id(), RecordId::new(all[3].sequence, all[0].id().message), all[1].id()];
    assert_eq!(store.discard_undelivered(&asked).await.unwrap(), 1, "each only as itself");
    assert_eq!(store.discard_undelivered(&asked).await.unwrap(), 0);
    assert_eq!(listed(&*store, Some(all[0].id()), 10).await, [4, 3], "from the first");
    let other = harness.context("payments").await;
    assert_eq!(other.undelivered_count().await.unwrap(), 0);
    assert_eq!(other.discard_undelivered(&[all[3].id()]).await.unwrap(), 0);
    let too_many = UNDELIVERED_PAGE_MAX + 1;
    let ids = vec![all[0].id(); too_many as usize];
    for error in [
        store.undelivered(None, too_many).await.unwrap_err(),
        store.replay_undelivered(&ids).await.unwrap_err(),
        store.discard_undelivered(&ids).await.unwrap_err(),
    ] {
        assert_kind(&error, ErrorKind::Invalid, "1000");
    }
}

/// A replay sends messages again, as they were, at the end of the outbox and in their own order. Of
/// concurrent replays one takes effect.
pub async fn an_undelivered_message_is_replayed_once_behind_its_key(harness: StoreHarness) {
    let store = harness.store().await;
    let keys = [Some("k\0"), None, Some("k\0"), Some("k\0")];
    let sent = (1..).zip(keys).map(|(number, key)| message(number, key));
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let all = records(&*store, &leases).await;
    for at in [2, 0, 1] {
        record_failure(&*store, &leases, &all[at], give_up(all[at].id())).await;
    }
    while store.outbox_changed().now_or_never().is_some() {}
    let of_another = RecordId::new(all[1].sequence, all[0].id().message);
    let asked = [all[2].id(), all[0].id(), all[3].id(), of_another];
    let race = join_all([store.replay_undelivered(&asked), store.replay_undelivered(&asked)]).await;
    let replayed: Vec<_> = race.into_iter().map(Result::unwrap).collect();
    assert_eq!(replayed.iter().sum::<u64>(), 2, "{replayed:?}");
    assert!(store.outbox_changed().now_or_never().is_some(), "it is announced");
    commit(&*store, sending([message(5, Some("k\0"))])).await;
    let now = records(&*store, &leases).await;
    assert_eq!(numbers(&now), [4, 1, 3, 5]);
    assert_eq!(now[1].envelope, all[0].envelope);
    assert!(now[1].sequence > all[3].sequence);
    assert_eq!(listed(&*store, None, 10).await, [2]);
    assert_eq!(store.discard_undelivered(&ids(&all[..1])).await.unwrap(), 0);
    record_failure(&*store, &leases, &now[1], give_up(now[1].id())).await;
    assert_eq!(listed(&*store, Some(all[1].id()), 10).await, [1], "listed again");
    assert_eq!(store.replay_undelivered(&ids(&all)).await.unwrap(), 1, "by its new id alone");
    assert_eq!(numbers(&records(&*store, &leases).await), [4, 3, 5, 2]);
    assert_eq!(store.replay_undelivered(&[]).await.unwrap(), 0);
}

/// An undelivered message that this build cannot read is listed with what is known of it, and can be
/// replayed and discarded.
pub async fn an_unreadable_undelivered_message_is_listed(harness: StoreHarness) {
    let store = harness.store().await;
    let keys = ["a", "damaged", "damaged"];
    let sent = (1..).zip(keys).map(|(number, key)| message(number, Some(key)));
    commit(&*store, sending(sent)).await;
    let leases = all_leases(&*store).await;
    let all = records(&*store, &leases).await;
    for record in &all {
        record_failure(&*store, &leases, record, give_up(record.id())).await;
    }
    let set = r#"metadata = '{"target":{"planet":"moon"}}', reason = 'moonstruck', failure = '?'"#;
    if !harness.damage("undelivered", set, "key").await {
        return;
    }
    assert_eq!(listed(&*store, None, 10).await, [1, 2, 3]);
    let message = store.undelivered(Some(all[0].id()), 1).await.unwrap().pop().unwrap();
    assert_eq!(message.envelope.payload, all[1].envelope.payload);
    assert_eq!((message.reason, message.attempts), (UndeliveredReason::Unknown, 1));
    assert!(message.failure.message.contains("`moonstruck`"), "{:?}", message.failure);
    assert!(message.unreadable.is_some_and(|why| why.contains("metadata")));
    assert_eq!(store.replay_undelivered(&[all[1].id()]).await.unwrap(), 1);
    assert_eq!(store.discard_undelivered(&[all[2].id()]).await.unwrap(), 1);
    assert_eq!(listed(&*store, None, 10).await, [1]);
    assert_eq!(store.outbox_depth().await.unwrap().records, 1);
}

/// A page holds no more bytes than its limit, and at least one message.
pub async fn a_page_of_undelivered_messages_keeps_to_its_bytes(harness: StoreHarness) {
    const EACH: usize = 14 * 1024 * 1024;
    const FITTING: usize = UNDELIVERED_PAGE_BYTES_MAX / EACH;
    let store = harness.store().await;
    let payload = bytes::Bytes::from(vec![b' '; EACH]);
    for number in 1..=FITTING as u128 + 1 {
        let mut envelope = message(number, None);
        envelope.payload = payload.clone();
        commit(&*store, sending([envelope])).await;
    }
    let leases = all_leases(&*store).await;
    loop {
        // A read of the outbox keeps to as many bytes.
        let some = records(&*store, &leases).await;
        let Some(record) = some.first() else { break };
        record_failure(&*store, &leases, record, give_up(record.id())).await;
    }
    let mut after = None;
    for expected in [FITTING, 1, 0] {
        let page = store.undelivered(after, 100).await.unwrap();
        assert_eq!(page.len(), expected);
        after = page.last().map(|message| message.id).or(after);
    }
}
