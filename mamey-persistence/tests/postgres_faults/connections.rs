//! Connections that break, or that there are too few of, under load.

use std::time::{Duration, Instant};

use mamey_core::ErrorKind;
use mamey_core::store::{CommitOutcome, Expected, UnitOfWork};
use mamey_test_support::{Direction, FaultProxy, Mode, postgres, require};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use super::support::{PATIENCE, connect, handles, message, open, put, with};
use super::workload::Workload;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_before_within_or_after_a_commit_each_unit_takes_effect_once() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let database = connect(&proxy.url_for(test.url()).unwrap()).await.unwrap();
    let store = open(&database, "bank").await;
    let load = Workload::new(600, 40);
    let cuts = async {
        // Before a statement, in the middle of one, and with its answer on the way.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_a_deadlock_ended_runs_again() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let store = open(&database, "bank").await;
    for account in [1, 2] {
        let unit = handles(&message(account), account, 1, Expected::Absent);
        assert!(matches!(store.commit(unit).await.unwrap(), CommitOutcome::Committed(_)));
    }
    let mut outside = PgConnection::connect(test.url()).await.unwrap();
    let run = |sql: &'static str| sqlx::raw_sql(sql);
    // The other side finds the deadlock, and is the one to be ended.
    run("BEGIN; SET LOCAL deadlock_timeout = '1min'").execute(&mut outside).await.unwrap();
    let lock = "SELECT 1 FROM bank.accounts WHERE id = 2 FOR UPDATE";
    run(lock).execute(&mut outside).await.unwrap();
    let mut both = UnitOfWork::default();
    for account in [1, 2] {
        both.write(put(account, Expected::Version(1), r#"{"balance":2}"#.to_owned())).unwrap();
    }
    let committing = tokio::spawn(async move { store.commit(both).await });
    until_blocked(test.url()).await;
    let crosswise = "SELECT 1 FROM bank.accounts WHERE id = 1 FOR UPDATE; COMMIT";
    run(crosswise).execute(&mut outside).await.unwrap();
    let outcome = committing.await.unwrap().unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)));
    let deadlocks = "SELECT count(*) FROM bank.accounts WHERE version = 2";
    let written: i64 = sqlx::query_scalar(deadlocks).fetch_one(&mut outside).await.unwrap();
    assert_eq!(written, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_finds_no_free_connection_says_which_limit_to_raise() {
    let test = require!(postgres::database().await);
    let few = with(test.url(), "connections_max=1&acquire_timeout_ms=200");
    let database = connect(&few).await.unwrap();
    let store = open(&database, "bank").await;
    let mut outside = PgConnection::connect(test.url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE bank.accounts IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut outside).await.unwrap();
    let held = {
        let store = store.clone();
        let unit = handles(&message(1), 1, 1, Expected::Absent);
        tokio::spawn(async move { store.commit(unit).await })
    };
    until_blocked(test.url()).await;
    let began = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("`connections_max`"), "{error}");
    sqlx::raw_sql("ROLLBACK").execute(&mut outside).await.unwrap();
    assert!(matches!(held.await.unwrap().unwrap(), CommitOutcome::Committed(_)));
    store.ping().await.unwrap();
}

/// Waits until a session of the database waits for a lock.
async fn until_blocked(url: &str) {
    let mut admin = PgConnection::connect(url).await.unwrap();
    let began = Instant::now();
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        if waiting > 0 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "nobody waits for a lock");
        sleep(Duration::from_millis(10)).await;
    }
}
