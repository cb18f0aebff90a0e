//! Connections that break, or are too few, under load.

use std::time::{Duration, Instant};

use mamey_core::ErrorKind;
use mamey_core::criteria::Value;
use mamey_core::store::LOAD_BYTES_MAX;
use mamey_test_support::{Direction, FaultProxy, Mode, Session, postgres, require};
use tokio::time::sleep;

use super::support::{ACCOUNTS, connect, open, with};
use super::workload::Workload;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_before_within_or_after_a_commit_each_unit_takes_effect_once() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let database = connect(&proxy.url_for(test.url()).unwrap()).await.unwrap();
    let store = open(&database, "bank").await;
    let load = Workload::new(600, 40);
    let cuts = async {
        // Before a statement, in the middle of one, and while its answer is sent.
        for direction in [Direction::ToServer, Direction::ToClient] {
            for bytes in [0, 1, 60, 300, 1500, 9000] {
                proxy.set(Mode::CutAfter { direction, bytes }).await.unwrap();
                sleep(Duration::from_millis(60)).await;
                proxy.set(Mode::Forward).await.unwrap();
                sleep(Duration::from_millis(60)).await;
            }
        }
        proxy.set(Mode::Reset).await.unwrap();
        proxy.set(Mode::Refuse).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        proxy.set(Mode::Forward).await.unwrap();
    };
    tokio::join!(load.run(&store, 8), cuts);
    load.assert_failures(&[ErrorKind::Unavailable], "out of reach");
    load.assert_applied_once(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_that_cannot_be_serialized_run_again() {
    let test = require!(postgres::database().await);
    let isolated = with(test.url(), "options=-c%20default_transaction_isolation%3Dserializable");
    let database = connect(&isolated).await.unwrap();
    let store = open(&database, "bank").await;
    let load = Workload::new(200, 3);
    load.run(&store, 8).await;
    load.assert_applied_once(&*store).await;
}

/// Reads that another transaction holds up take no more than their share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_finds_no_free_connection_says_which_limit_to_raise() {
    let test = require!(postgres::database().await);
    let few = with(
        test.url(),
        "connections_max=2&acquire_timeout_ms=200&lock_timeout_ms=25000&listen=false",
    );
    let database = connect(&few).await.unwrap();
    let store = open(&database, "bank").await;
    let mut outside = Session::of(test.url()).await;
    outside.run("BEGIN; LOCK TABLE bank.accounts IN ACCESS EXCLUSIVE MODE").await;
    let read = || {
        let store = store.clone();
        tokio::spawn(async move { store.load(&ACCOUNTS, &[Value::Int(1)], LOAD_BYTES_MAX).await })
    };
    let held_up = [read(), read()];
    // What a session sees of the others stays the same while it is in a transaction.
    Session::of(test.url()).await.until_waiting(2).await;
    let began = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("`connections_max`"), "{error}");
    outside.run("ROLLBACK").await;
    for read in held_up {
        assert_eq!(read.await.unwrap().unwrap(), [None]);
    }
    store.ping().await.unwrap();
}
