//! An instance hears at once of the messages that another has committed, and sweeps when it may
//! have missed some.

use std::time::{Duration, Instant};

use mamey_core::store::Store;
use mamey_test_support::{Direction, FaultProxy, Mode, Session, postgres, require};
use tokio::time::timeout;

use super::support::{PATIENCE, connect, open, sends, with};

/// Long enough for news that is on its way, on a busy machine.
const QUIET: Duration = Duration::from_secs(1);

/// Within this a commit is heard of abroad.
const HEARD_WITHIN: Duration = Duration::from_millis(200);

/// Waits until no hint comes any more.
async fn hush(store: &dyn Store) {
    let hush = async { while timeout(QUIET, store.outbox_changed()).await.is_ok() {} };
    timeout(PATIENCE, hush).await.unwrap();
}

/// How long after a commit in one store another hears of it.
async fn heard_after(here: &dyn Store, there: &dyn Store) -> Duration {
    here.commit(sends(1)).await.unwrap();
    let committed = Instant::now();
    timeout(PATIENCE, there.outbox_changed()).await.unwrap();
    committed.elapsed()
}

#[tokio::test]
async fn a_commit_is_heard_of_in_another_instance_and_by_its_own_context_only() {
    let test = require!(postgres::database().await);
    let (one, two) = (connect(test.url()).await.unwrap(), connect(test.url()).await.unwrap());
    let (here, there) = (open(&one, "bank").await, open(&two, "bank").await);
    let other = open(&two, "tills").await;
    hush(&*there).await;
    hush(&*other).await;
    let mut heard = Vec::new();
    for _ in 0..11 {
        heard.push(heard_after(&*here, &*there).await);
    }
    heard.sort();
    // A machine that others load may hold one of them up, not half of them.
    assert!(heard[5] < HEARD_WITHIN, "{heard:?}");
    assert!(timeout(QUIET, other.outbox_changed()).await.is_err(), "it is not its context");
}

#[tokio::test]
async fn what_an_instance_tells_it_does_not_hear_itself() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let store = open(&database, "bank").await;
    hush(&*store).await;
    store.commit(sends(1)).await.unwrap();
    timeout(PATIENCE, store.outbox_changed()).await.unwrap();
    assert!(timeout(QUIET, store.outbox_changed()).await.is_err());
}

#[tokio::test]
async fn a_burst_of_commits_is_told_in_few_notifications() {
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
    let mut told = 0;
    while let Ok(news) = timeout(QUIET, outside.recv()).await {
        assert_eq!(news.unwrap().payload(), "bank");
        told += 1;
    }
    // One for each pause of 20 ms, and those at both ends.
    assert!(told >= 1 && told <= 3 + took.as_millis() / 20, "{told} in {took:?}");
}

#[tokio::test]
async fn a_listener_that_lost_its_connection_sweeps_and_hears_again() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let (one, two) = (
        connect(test.url()).await.unwrap(),
        connect(&proxy.url_for(test.url()).unwrap()).await.unwrap(),
    );
    let (here, there) = (open(&one, "bank").await, open(&two, "bank").await);
    let direction = Direction::ToClient;
    for fault in [Mode::Reset, Mode::CutAfter { direction, bytes: 1 }] {
        hush(&*there).await;
        proxy.set(fault).await.unwrap();
        // While it is cut off, and so unheard.
        here.commit(sends(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Mode::Forward).await.unwrap();
        timeout(PATIENCE, there.outbox_changed()).await.unwrap();
        hush(&*there).await;
        heard_after(&*here, &*there).await;
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
