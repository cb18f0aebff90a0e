//! A server that restarts, crashes, stops responding or runs out of disk; each test has its own.

use std::time::{Duration, Instant};

use mamey_core::ErrorKind;
use mamey_test_support::{OwnPostgres, Plan, Session, require, until};
use tokio::time::sleep;

use super::support::{PATIENCE, connect, open, with};
use super::workload::Workload;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_unit_is_lost_or_doubled_by_a_server_that_restarts_and_crashes_under_load() {
    let mut server = require!(OwnPostgres::start().await);
    let database = connect(&server.url()).await.unwrap();
    let store = open(&database, "bank").await;
    let load = Workload::new(1500, 60);
    let faults = async {
        sleep(Duration::from_millis(200)).await;
        server.restart().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        server.crash().await.unwrap();
    };
    tokio::join!(load.run(&store, 8), faults);
    load.assert_failures(&[ErrorKind::Unavailable], "127.0.0.1");
    load.assert_applied_once(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_responding_times_out_and_is_used_again() {
    let server = require!(OwnPostgres::start().await);
    let limits = "statement_timeout_ms=1000&connect_timeout_ms=2000&acquire_timeout_ms=2000";
    let database = connect(&with(&server.url(), limits)).await.unwrap();
    let store = open(&database, "bank").await;
    let load = Workload::new(1500, 60);
    let silence = async {
        sleep(Duration::from_millis(300)).await;
        server.pause();
        let began = Instant::now();
        let error = store.ping().await.unwrap_err();
        // The connection's or the statement's limit, and 5 s for the answer.
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        // Longer than anybody waits for an answer.
        sleep(Duration::from_secs(8)).await;
        server.resume();
    };
    tokio::join!(load.run(&store, 8), silence);
    load.assert_failures(&[ErrorKind::Unavailable, ErrorKind::TimedOut], "127.0.0.1");
    load.assert_applied_once(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_units_and_loses_none() {
    let server = require!(Plan::default().small_disk(24).start().await);
    let database = connect(&server.url()).await.unwrap();
    let store = open(&database, "bank").await;
    let mut admin = Session::of(&server.url()).await;
    fill(&mut admin).await;
    let load = Workload::new(1500, 20);
    let relief = async {
        until("the disk runs full", PATIENCE, async || load.failure_count() >= 20).await;
        admin.run("DROP TABLE ballast").await;
    };
    tokio::join!(load.run(&store, 8), relief);
    load.assert_failures(&[ErrorKind::Unavailable], "its disk is full");
    load.assert_applied_once(&*store).await;
}

async fn fill(admin: &mut Session) {
    admin.run("CREATE TABLE ballast (weight text)").await;
    let weigh = "INSERT INTO ballast SELECT repeat('x', 1000) FROM generate_series(1, 60)";
    let full = loop {
        if let Err(error) = sqlx::raw_sql(weigh).execute(&mut **admin).await {
            break error;
        }
    };
    assert_eq!(full.as_database_error().unwrap().code().unwrap(), "53100", "{full}");
}
