//! An instance is notified at once of the messages that another has committed, and looks for all when
//! it may have missed some.

use std::time::{Duration, Instant};

use mamey_core::store::Store;
use mamey_test_support::{Direction, FaultProxy, Mode, Session, postgres, require};
use tokio::time::timeout;

use super::support::{PATIENCE, connect, open, sends, with};

/// Long enough for a notification to arrive on a busy machine.
const QUIET: Duration = Duration::from_secs(1);

/// Within this time other instances are notified of a commit.
const NOTIFIED_WITHIN: Duration = Duration::from_millis(200);

/// Waits until no further hint comes.
async fn quiet(store: &dyn Store) {
    let quiet = async { while timeout(QUIET, store.outbox_changed()).await.is_ok() {} };
    timeout(PATIENCE, quiet).await.unwrap();
}

/// How long after a commit in one store another is notified of it.
async fn notified_after(here: &dyn Store, there: &dyn Store) -> Duration {
    here.commit(sends(1)).await.unwrap();
    let committed = Instant::now();
    timeout(PATIENCE, there.outbox_changed()).await.unwrap();
    committed.elapsed()
}

#[tokio::test]
async fn a_commit_notifies_other_instances_and_its_own_context_only() {
    let test = require!(postgres::database().await);
    let (one, two) = (connect(test.url()).await.unwrap(), connect(test.url()).await.unwrap());
    let (here, there) = (open(&one, "bank").await, open(&two, "bank").await);
    let other = open(&two, "tills").await;
    quiet(&*there).await;
    quiet(&*other).await;
    let mut delays = Vec::new();
    for _ in 0..11 {
        delays.push(notified_after(&*here, &*there).await);
    }
    delays.sort();
    // A busy machine may delay some of them, not half of them.
    assert!(delays[5] < NOTIFIED_WITHIN, "{delays:?}");
    assert!(timeout(QUIET, other.outbox_changed()).await.is_err(), "it is another context");
}

#[tokio::test]
async fn an_instance_ignores_its_own_notifications() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let store = open(&database, "bank").await;
    quiet(&*store).await;
    store.commit(sends(1)).await.unwrap();
    timeout(PATIENCE, store.outbox_changed()).await.unwrap();
    assert!(timeout(QUIET, store.outbox_changed()).await.is_err());
}

#[tokio::test]
async fn a_burst_of_commits_takes_few_notifications() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let store = open(&database, "bank").await;
    let mut outside = sqlx::postgres::PgListener::connect(test.url()).await.unwrap();
    outside.listen("mamey_outbox").await.unwrap();
    let began = Instant::now();
    for _ in 0..200 {
        store.commit(sends(1)).await.unwrap();
    }
    let took = began.elapsed();
    let mut notifications = 0;
    while let Ok(sent) = timeout(QUIET, outside.recv()).await {
        assert_eq!(sent.unwrap().payload(), "bank");
        notifications += 1;
    }
    // One for each pause of 20 ms, one at each end, and one to spare.
    assert!(
        notifications >= 1 && notifications <= 3 + took.as_millis() / 20,
        "{notifications} in {took:?}"
    );
}

#[tokio::test]
async fn a_listener_that_lost_its_connection_wakes_all_and_listens_again() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let (one, two) = (
        connect(test.url()).await.unwrap(),
        connect(&proxy.url_for(test.url()).unwrap()).await.unwrap(),
    );
    let (here, there) = (open(&one, "bank").await, open(&two, "bank").await);
    let direction = Direction::ToClient;
    for fault in [Mode::Reset, Mode::CutAfter { direction, bytes: 1 }] {
        quiet(&*there).await;
        proxy.set(fault).await.unwrap();
        // While the listener is cut off, so that it misses the notification.
        here.commit(sends(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Mode::Forward).await.unwrap();
        timeout(PATIENCE, there.outbox_changed()).await.unwrap();
        quiet(&*there).await;
        notified_after(&*here, &*there).await;
    }
}

#[tokio::test]
async fn without_listening_no_connection_is_held_for_it() {
    let test = require!(postgres::database().await);
    let database = connect(&with(test.url(), "listen=false")).await.unwrap();
    let store = open(&database, "bank").await;
    store.commit(sends(1)).await.unwrap();
    timeout(PATIENCE, store.outbox_changed()).await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name = 'mamey'";
    assert_eq!(Session::of(test.url()).await.one::<i64>(sessions).await, 1);
}
