//! What was answered is still there after the process has ended, in whatever way.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use mamey_core::store::{
    Database, DeadLetterReason, FINGERPRINT_BYTES, Failure, Fingerprint, InstanceId, KnownReply,
    LeaseRequest, LeaseRole, Origin, OutboxRead, Outcome, Receipt, SavedReply, Store, UnitOfWork,
};
use mamey_core::{Error, ErrorKind};
use mamey_persistence::SqliteOptions;
use uuid::Uuid;

use crate::support::{Folder, add, body, commit, message, notes, open};

fn request() -> LeaseRequest {
    LeaseRequest::new(
        LeaseRole::Relay,
        InstanceId::new(Uuid::from_u128(1)),
        2,
        Duration::from_secs(3600),
    )
}

fn receiving(number: u128, outcome: Outcome) -> UnitOfWork {
    UnitOfWork::default().with_receipt(Receipt::new(message(number), Origin::Delivery, outcome))
}

fn known_reply() -> KnownReply {
    let fingerprint = Fingerprint::from_bytes(&[7; FINGERPRINT_BYTES]).unwrap();
    KnownReply::new(fingerprint, Bytes::from_static(b"7"))
}

/// Writes something of every kind.
async fn fill(store: &dyn Store) {
    let failure = Failure::from(&Error::unavailable("no"));
    let mut handled = receiving(1, Outcome::Handled);
    handled.writes = add("a", "\"one\"").writes;
    handled.outbox = vec![message(10), message(11)];
    let KnownReply { fingerprint, body, .. } = known_reply();
    handled.reply = Some(SavedReply::new("orders.place", "k".to_owned(), fingerprint, body));
    commit(store, handled).await;
    let (reason, attempts) = (DeadLetterReason::Refused, 1);
    let dead = Outcome::DeadLetter { reason, attempts, failure: failure.clone() };
    commit(store, receiving(2, dead)).await;
    let parked = Outcome::Park { delay: Duration::from_secs(5), attempts, failure };
    commit(store, receiving(3, parked)).await;
    store.hold_leases(request()).await.unwrap();
}

async fn assert_filled(store: &dyn Store) {
    assert_eq!(body(store, "a").await.as_deref(), Some("\"one\""));
    for number in 1..=3 {
        assert!(store.was_received(message(number).metadata.identity()).await.unwrap());
    }
    let reply = store.saved_reply("orders.place", "k").await.unwrap();
    assert_eq!(reply, Some(known_reply()));
    assert_eq!(store.parked_count().await.unwrap(), 1);
    assert_eq!(store.dead_letter_count().await.unwrap(), 1);
    let leases = store.hold_leases(request()).await.unwrap().leases;
    // The new process has freed the leases and taken them again, so the epoch has advanced.
    assert!(leases.len() == 2 && leases.iter().all(|lease| lease.epoch == 2));
    let read = OutboxRead::new(&leases, 10);
    let records = store.read_outbox(read).await.unwrap().records;
    let sent: Vec<_> = records.into_iter().map(|record| record.envelope).collect();
    assert_eq!(sent, [message(10), message(11)]);
}

#[tokio::test]
async fn everything_is_there_after_a_close() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    fill(&*store).await;
    database.close().await;
    let error = store.commit(add("b", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!folder.path("store.db-wal").exists(), "the log is merged into the file");
    let again = folder.open().await;
    assert_filled(&*notes(&again).await).await;
}

#[tokio::test]
async fn everything_is_there_without_a_close() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    fill(&*store).await;
    drop((store, database));
    let again = folder.open().await;
    assert_filled(&*notes(&again).await).await;
}

#[tokio::test]
async fn a_new_process_takes_over_at_once() {
    let folder = Folder::new();
    let database = folder.open().await;
    fill(&*notes(&database).await).await;
    drop(database);
    let again = folder.open().await;
    let newcomer = request().with_holder(InstanceId::new(Uuid::from_u128(2)));
    let holdings = notes(&again).await.hold_leases(newcomer).await.unwrap();
    assert_eq!((holdings.leases.len(), holdings.surplus), (2, 0));
}

/// The files right after the answer are what a power failure would leave.
#[tokio::test]
async fn everything_is_in_the_files_once_it_is_answered() {
    let folder = Folder::new();
    let database = folder.open().await;
    fill(&*notes(&database).await).await;
    for suffix in ["", "-wal"] {
        let from = folder.path(&format!("store.db{suffix}"));
        std::fs::copy(from, folder.path(&format!("copy.db{suffix}"))).unwrap();
    }
    let path = folder.path("copy.db");
    let copy = open(&path, SqliteOptions::default()).await.unwrap();
    assert_filled(&*notes(&copy).await).await;
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_still_runs() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    for number in 0..20 {
        let unit = add(&number.to_string(), "1");
        assert!(store.commit(unit).now_or_never().is_none());
    }
    database.close().await;
    let again = folder.open().await;
    let store = notes(&again).await;
    for number in 0..20 {
        assert!(body(&*store, &number.to_string()).await.is_some(), "{number}");
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_commit_and_loses_nothing() {
    let folder = Folder::new();
    let options = SqliteOptions::default().with_file_bytes_max(512 * 1024);
    let database = folder.try_open(options).await.unwrap();
    let store = notes(&database).await;
    let large = format!("{:?}", "x".repeat(100 * 1024));
    let mut stored = 0;
    let error = loop {
        match store.commit(add(&stored.to_string(), &large)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10, "the limit must hold");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("store.db"), "{error}");
    assert!(stored > 1);
    commit(&*store, add("small", "1")).await;
    database.close().await;
    let again = folder.open().await;
    let store = notes(&again).await;
    for number in 0..stored {
        let kept = body(&*store, &number.to_string()).await;
        assert_eq!(kept.as_ref(), Some(&large), "{number}");
    }
    assert_eq!(body(&*store, &stored.to_string()).await, None);
    commit(&*store, add(&stored.to_string(), &large)).await;
}
