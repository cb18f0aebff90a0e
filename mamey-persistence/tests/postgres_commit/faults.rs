//! Units whose call meets a lost connection or another transaction.

use std::sync::Arc;

use futures_util::future::join_all;
use mamey_core::ErrorKind;
use mamey_core::store::{
    CommitOutcome, Expected, FINGERPRINT_BYTES, Fingerprint, SavedReply, UnitOfWork,
};
use mamey_test_support::{Direction, FaultProxy, Mode, Session, postgres, require};

use super::support::{Plug, commit, connect, handles, message, note, note_of, open, soon, writes};

/// More than a new connection sends or receives until its first answers, and less than the calls that
/// these tests cut.
const CUT_BYTES: u64 = 6000;

const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";

fn replying(mut unit: UnitOfWork, key: &str) -> UnitOfWork {
    let fingerprint = Fingerprint::from_bytes(&[1; FINGERPRINT_BYTES]).unwrap();
    unit.reply = Some(SavedReply::new("shop.count", key.to_owned(), fingerprint, "1".into()));
    unit
}

#[tokio::test]
async fn a_call_that_is_cut_on_its_way_keeps_nothing_and_may_come_again() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let store = open(&connect(&proxy.url_for(test.url()).unwrap()).await, "shop").await;
    let incoming = message(1, Some("key"));
    let large = || {
        let text = format!("\"{}\"", "x".repeat(200_000));
        handles(writes([note_of(1, Expected::Absent, text)]), &incoming)
    };
    let to_server = Direction::ToServer;
    for bytes in [1, CUT_BYTES, 150_000] {
        proxy.set(Mode::CutAfter { direction: to_server, bytes }).await.unwrap();
        let error = soon(store.commit(large())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{bytes}: {error:?}");
    }
    proxy.set(Mode::Forward).await.unwrap();
    commit(&*store, large()).await;
    let again = soon(store.commit(large())).await.unwrap();
    assert_eq!(again, CommitOutcome::Duplicate);
}

/// The answer to a batch is cut after the server has committed. Each unit is looked up alone: those
/// with a mark took effect; of the others it is unknown.
#[tokio::test]
async fn an_answer_that_is_cut_is_found_by_the_marks_of_its_units() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let database = connect(&proxy.url_for(test.url()).unwrap()).await;
    let store = open(&database, "shop").await;
    Plug::prepare(&*store).await;
    let plug = Plug::set(test.url(), "shop", &store).await;
    let received = message(1, Some("key"));
    let mut units = vec![
        handles(writes([note(1, Expected::Absent)]), &received),
        replying(writes([note(2, Expected::Absent)]), "once"),
        writes([note(3, Expected::Absent)]),
    ];
    // Refused many times over, so that the answer is long.
    units.extend(
        (0..50).map(|unit| {
            writes((0..10).map(|at| note(1000 + 10 * unit + at, Expected::Version(9))))
        }),
    );
    let before = database.stats();
    let commits = join_all(units.into_iter().map(|unit| store.commit(unit)));
    // The plugs' own answers are short.
    let mode = Mode::CutAfter { direction: Direction::ToClient, bytes: CUT_BYTES };
    proxy.set(mode).await.unwrap();
    let (outcomes, ()) = soon(async { tokio::join!(commits, plug.pull()) }).await;
    assert_eq!(database.stats().calls - before.calls, 1);
    let duplicate = |at: usize| matches!(outcomes[at], Ok(CommitOutcome::Duplicate));
    assert!(duplicate(0) && duplicate(1), "{:?}", &outcomes[..2]);
    for unknown in &outcomes[2..] {
        assert_eq!(unknown.as_ref().unwrap_err().kind(), ErrorKind::Unavailable, "{unknown:?}");
    }
    let mut outsider = Session::of(test.url()).await;
    assert_eq!(outsider.one::<i64>("SELECT count(*) FROM shop.notes WHERE id < 900").await, 3);
    proxy.set(Mode::Forward).await.unwrap();
    let again = handles(writes([note(4, Expected::Absent)]), &received);
    assert_eq!(soon(store.commit(again)).await.unwrap(), CommitOutcome::Duplicate);
    assert_eq!(outsider.one::<i64>("SELECT count(*) FROM shop.notes WHERE id < 900").await, 3);
}

/// A unit that waits alone meets an outsider who waits for it. The server looks for a deadlock once, so
/// long after the unit began to wait: when the outsider is not in its way by then, it is tried again.
#[tokio::test]
async fn a_unit_that_the_server_ends_in_a_deadlock_goes_again() {
    let test = require!(postgres::database().await);
    let (mut outsider, mut watch) = (Session::of(test.url()).await, Session::of(test.url()).await);
    let name = test.name();
    outsider.run(&format!("ALTER DATABASE \"{name}\" SET deadlock_timeout = '200ms'")).await;
    let store = open(&connect(test.url()).await, "shop").await;
    commit(&*store, writes((1..=2).map(|id| note(id, Expected::Absent)))).await;
    // So that the server ends the other one.
    outsider.run("SET deadlock_timeout = '50s'").await;
    let (mut version, mut deadlocks) = (0, 0);
    while deadlocks == 0 {
        version += 1;
        outsider.run("BEGIN; SELECT 1 FROM shop.notes WHERE id = 2 FOR UPDATE").await;
        let unit = writes((1..=2).map(|id| note(id, Expected::Version(version))));
        let committing = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { commit(&*store, unit).await })
        };
        watch.until_waiting(1).await;
        outsider.run("SELECT 1 FROM shop.notes WHERE id = 1 FOR UPDATE; ROLLBACK").await;
        soon(committing).await.unwrap();
        watch.run("SELECT pg_stat_clear_snapshot()").await;
        deadlocks = watch.one::<i64>(DEADLOCKS).await;
    }
    let versions = "SELECT count(*) FROM shop.notes WHERE version = 1 + ";
    assert_eq!(watch.one::<i64>(&format!("{versions}{version}")).await, 2);
}

/// In the isolation that the database has by default, the unit could not be serialized.
#[tokio::test]
async fn a_commit_is_read_committed_whatever_the_default() {
    let test = require!(postgres::database().await);
    let mut outsider = Session::of(test.url()).await;
    let name = test.name();
    let strict = "SET default_transaction_isolation = 'repeatable read'";
    outsider.run(&format!("ALTER DATABASE \"{name}\" {strict}")).await;
    let database = connect(test.url()).await;
    let store = open(&database, "shop").await;
    commit(&*store, writes([note(1, Expected::Absent)])).await;
    outsider.run("BEGIN; UPDATE shop.notes SET data = '1' WHERE id = 1").await;
    let committing =
        tokio::spawn(async move { commit(&*store, writes([note(1, Expected::Version(1))])).await });
    Session::of(test.url()).await.until_waiting(1).await;
    outsider.run("COMMIT").await;
    soon(committing).await.unwrap();
}

#[tokio::test]
async fn an_id_that_another_adds_at_the_same_moment_is_taken() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await;
    let store = open(&database, "shop").await;
    let mut outsider = Session::of(test.url()).await;
    outsider
        .run("BEGIN; INSERT INTO shop.notes (id, version, layout, data) VALUES (1, 1, 0, '1')")
        .await;
    let unit = writes([note(1, Expected::Absent), note(2, Expected::Absent)]);
    let committing = tokio::spawn(async move { soon(store.commit(unit)).await });
    Session::of(test.url()).await.until_waiting(1).await;
    outsider.run("COMMIT").await;
    let taken = soon(committing).await.unwrap().unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken:?}");
    assert_eq!(outsider.one::<i64>("SELECT count(*) FROM shop.notes").await, 1);
}
