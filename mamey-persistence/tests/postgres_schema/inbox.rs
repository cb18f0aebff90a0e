//! The days of the inbox: created ahead, dropped when old, and without a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mamey_core::clock::{Clock, ManualClock};
use mamey_core::id::{IdSource, MessageId, UuidV7Source};
use mamey_core::message::{Envelope, Metadata};
use mamey_core::store::{
    CommitOutcome, DeadLetterReason, Failure, Origin, Outcome, Receipt, Store, UnitOfWork,
};
use mamey_core::{Error, ErrorKind};
use mamey_test_support::{postgres, require};
use uuid::Uuid;

use super::support::{Admin, at, connect_at, open};

const DAY: Duration = Duration::from_hours(24);

/// 2026-09-21, 14:13:20.
const START: i64 = 1_790_000_000_000_000;

const DAYS: &str = "SELECT name FROM mamey._inbox_days()";

fn metadata(id: MessageId) -> Metadata {
    Metadata::new(id, "sales.order-placed", "sales")
}

fn received(id: MessageId, outcome: Outcome) -> UnitOfWork {
    let envelope = Envelope::new(metadata(id), Bytes::from_static(b"{}"));
    let receipt = Receipt::new(envelope, Origin::Delivery, outcome);
    UnitOfWork::default().with_receipt(receipt)
}

async fn takes_effect(store: &dyn Store, id: MessageId) -> bool {
    match store.commit(received(id, Outcome::Handled)).await.unwrap() {
        CommitOutcome::Committed(_) => true,
        CommitOutcome::Duplicate => false,
        CommitOutcome::LaneParked => panic!("no lane is parked"),
    }
}

fn dead() -> Outcome {
    let failure = Failure::from(&Error::new(ErrorKind::Other, "broken"));
    Outcome::DeadLetter { reason: DeadLetterReason::Exhausted, attempts: 3, failure }
}

fn at_start() -> (Arc<ManualClock>, UuidV7Source) {
    let clock = Arc::new(ManualClock::at(at(START)));
    (clock.clone(), UuidV7Source::new(clock))
}

#[tokio::test]
async fn days_are_made_ahead_and_dropped_when_they_are_past_the_window() {
    let test = require!(postgres::database().await);
    let (clock, ids) = at_start();
    let store = open(&connect_at(test.url(), &clock).await, &[]).await.unwrap();
    let mut admin = Admin::of(test.url()).await;
    let days: Vec<String> = admin.all(DAYS).await;
    assert_eq!(days.first().map(String::as_str), Some("_inbox_20260920"));
    assert_eq!(days.last().map(String::as_str), Some("_inbox_20260924"));
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(ids.message_id());
        assert!(takes_effect(&*store, sent[sent.len() - 1]).await);
        store.expire_inbox(3 * DAY).await.unwrap();
        let days: i64 = admin.one("SELECT count(*) FROM mamey._inbox_days()").await;
        assert!((5..=9).contains(&days), "{days} days");
        clock.advance(DAY);
    }
    assert_eq!(admin.one::<i64>("SELECT count(*) FROM mamey._inbox_default").await, 0);
    // Of ten days the last three are fully within the window, and one more partly.
    let known = [false, false, false, false, false, false, true, true, true, true];
    for (id, known) in sent.iter().zip(known) {
        assert_eq!(store.was_received(metadata(*id).identity()).await.unwrap(), known, "{id}");
    }
    assert_eq!(store.received_count().await.unwrap(), 4);
}

#[tokio::test]
async fn ids_without_a_day_are_remembered_as_long_as_others() {
    let test = require!(postgres::database().await);
    let (clock, ids) = at_start();
    let store = open(&connect_at(test.url(), &clock).await, &[]).await.unwrap();
    let foreign: Vec<_> = [1, u128::MAX, 0x4000_0000_0000_4000_8000_0000_0000_0000]
        .map(|bits| MessageId::from_uuid(Uuid::from_u128(bits)))
        .into();
    let long_ago = ids.message_id();
    clock.advance(30 * DAY);
    let ahead = ids.message_id();
    clock.set(at(START).plus(20 * DAY));
    store.expire_inbox(3 * DAY).await.unwrap();
    for id in foreign.iter().chain([&long_ago, &ahead]) {
        assert!(takes_effect(&*store, *id).await, "{id}");
        assert!(!takes_effect(&*store, *id).await, "{id}");
    }
    clock.advance(2 * DAY);
    assert_eq!(store.expire_inbox(3 * DAY).await.unwrap(), 0);
    for id in foreign.iter().chain([&long_ago, &ahead]) {
        assert!(!takes_effect(&*store, *id).await, "{id}");
    }
    clock.advance(2 * DAY);
    assert_eq!(store.expire_inbox(3 * DAY).await.unwrap(), 5);
    assert!(takes_effect(&*store, long_ago).await, "it is past the window in every way");
}

#[tokio::test]
async fn a_day_that_still_receives_stays_and_what_waits_is_kept() {
    let test = require!(postgres::database().await);
    let (clock, ids) = at_start();
    let store = open(&connect_at(test.url(), &clock).await, &[]).await.unwrap();
    let (early, late, letter) = (ids.message_id(), ids.message_id(), ids.message_id());
    assert!(takes_effect(&*store, early).await);
    let outcome = store.commit(received(letter, dead())).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    clock.advance(4 * DAY);
    assert!(takes_effect(&*store, late).await);
    assert_eq!(store.expire_inbox(3 * DAY).await.unwrap(), 0);
    assert!(!takes_effect(&*store, late).await, "it came late and is within the window");
    clock.advance(4 * DAY);
    assert_eq!(store.expire_inbox(3 * DAY).await.unwrap(), 2);
    assert!(!store.was_received(metadata(early).identity()).await.unwrap());
    assert!(store.was_received(metadata(letter).identity()).await.unwrap());
    assert!(!takes_effect(&*store, letter).await, "it waits among the dead letters");
    assert!(store.discard_dead_letter(metadata(letter).identity()).await.unwrap());
    assert_eq!(store.expire_inbox(3 * DAY).await.unwrap(), 1);
}

#[tokio::test]
async fn a_day_whose_ids_came_before_its_table_stays_in_the_default_table() {
    let test = require!(postgres::database().await);
    let (clock, ids) = at_start();
    let store = open(&connect_at(test.url(), &clock).await, &[]).await.unwrap();
    // No retention job ran for ten days.
    clock.advance(10 * DAY);
    let id = ids.message_id();
    assert!(takes_effect(&*store, id).await);
    store.expire_inbox(3 * DAY).await.unwrap();
    assert!(!takes_effect(&*store, id).await);
    let mut admin = Admin::of(test.url()).await;
    let days: Vec<String> = admin.all(DAYS).await;
    let today = "_inbox_20261001".to_owned();
    assert!(!days.contains(&today) && days.contains(&"_inbox_20261002".to_owned()), "{days:?}");
    clock.advance(4 * DAY);
    assert_eq!(store.expire_inbox(3 * DAY).await.unwrap(), 1);
}

/// While a long transaction keeps a day from being dropped, writers wait for one try, not for it.
#[tokio::test]
async fn a_day_in_use_is_dropped_later_and_blocks_no_writer() {
    let test = require!(postgres::database().await);
    let (clock, ids) = at_start();
    let store = open(&connect_at(test.url(), &clock).await, &[]).await.unwrap();
    let old = ids.message_id();
    assert!(takes_effect(&*store, old).await);
    clock.advance(10 * DAY);
    let mut reader = Admin::of(test.url()).await;
    reader.run("BEGIN; SELECT count(*) FROM mamey._inbox").await;
    let expiring = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.expire_inbox(3 * DAY).await.unwrap() }
    });
    let mut slowest = Duration::ZERO;
    while !expiring.is_finished() {
        let begun = std::time::Instant::now();
        assert!(takes_effect(&*store, ids.message_id()).await);
        slowest = slowest.max(begun.elapsed());
    }
    assert_eq!(expiring.await.unwrap(), 0);
    assert!(slowest < Duration::from_secs(2), "a unit waited {slowest:?}");
    assert!(store.was_received(metadata(old).identity()).await.unwrap());
    reader.run("COMMIT").await;
    assert_eq!(store.expire_inbox(3 * DAY).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_retention_jobs_run_for_many_days_and_nothing_takes_effect_twice() {
    let test = require!(postgres::database().await);
    let (clock, _) = at_start();
    let one = open(&connect_at(test.url(), &clock).await, &[]).await.unwrap();
    let two = open(&connect_at(test.url(), &clock).await, &[]).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|at| {
            let store = Arc::clone(if at % 2 == 0 { &one } else { &two });
            tokio::spawn(write(store, Arc::clone(&clock), Arc::clone(&done)))
        })
        .collect();
    let mut forgotten = 0;
    for _ in 0..60 {
        clock.advance(DAY / 4);
        let (here, there) = tokio::join!(one.expire_inbox(2 * DAY), two.expire_inbox(2 * DAY));
        forgotten += here.unwrap() + there.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done.store(true, Ordering::SeqCst);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    assert!(written > 400, "only {written} messages");
    assert_eq!(forgotten + one.received_count().await.unwrap(), written);
    assert!(forgotten > written / 2, "{forgotten} of {written} were forgotten");
}

/// Delivers each message again at once and again after others, and counts the messages.
async fn write(store: Arc<dyn Store>, clock: Arc<ManualClock>, done: Arc<AtomicBool>) -> u64 {
    let ids = UuidV7Source::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let mut written = 0;
    let mut recent = std::collections::VecDeque::new();
    while !done.load(Ordering::SeqCst) {
        let id = ids.message_id();
        let sent = clock.now();
        assert!(takes_effect(&*store, id).await, "{id}");
        assert!(!takes_effect(&*store, id).await, "{id} took effect twice at once");
        written += 1;
        recent.push_back((id, sent));
        if let Some((id, sent)) = recent.front().copied().filter(|_| recent.len() > 20) {
            recent.pop_front();
            // Whatever is within the window by at least a day must be known.
            if sent > clock.now().minus(DAY) {
                let again = takes_effect(&*store, id).await;
                assert!(!again || sent <= clock.now().minus(DAY), "{id} took effect twice");
                written += u64::from(again);
            }
        }
    }
    written
}
