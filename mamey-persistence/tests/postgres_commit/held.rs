//! Units that need what another transaction holds: each waits alone, for a while, and nobody waits with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mamey_core::criteria::Value;
use mamey_core::store::{
    CommitOutcome, Expected, FINGERPRINT_BYTES, Fingerprint, Guard, InstanceId, LeaseRequest,
    LeaseRole, Origin, OutboxRead, Receipt, SavedReply, Store, UnitOfWork,
};
use mamey_core::{Error, ErrorKind, Retry};
use mamey_test_support::{Session, postgres, require};
use uuid::Uuid;

use super::support::{
    NOTES, Plug, commit, connect, handles, held, message, note, open, parks, person, soon, writes,
};

/// A URL with limits of its own.
fn limited(test: &postgres::Database, limits: &str) -> String {
    format!("{}?{limits}", test.url())
}

fn assert_held(error: &Error) {
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Later), "{error:?}");
}

/// Adds notes with these ids.
async fn add_notes(store: &dyn Store, ids: impl Iterator<Item = i64>) {
    commit(store, writes(ids.map(|id| note(id, Expected::Absent)))).await;
}

/// Of units that share a call, only those that need a held row wait for it.
#[tokio::test]
async fn a_held_row_fails_no_neighbour_of_its_call() {
    const UNITS: i64 = 28;
    let test = require!(postgres::database().await);
    let database = connect(&limited(&test, "lock_timeout_ms=2000")).await;
    let store = open(&database, "shop").await;
    add_notes(&*store, 1..=UNITS).await;
    Plug::prepare(&*store).await;
    let mut outsider = Session::of(test.url()).await;
    outsider.run("BEGIN; SELECT 1 FROM shop.notes WHERE id IN (3, 17) FOR UPDATE").await;
    let plug = Plug::set(test.url(), "shop", &store).await;
    let began = Instant::now();
    let commits = (1..=UNITS).map(async |id| {
        let outcome = store.commit(writes([note(id, Expected::Version(1))])).await;
        (id, outcome, began.elapsed())
    });
    let (outcomes, ()) = soon(async { tokio::join!(join_all(commits), plug.pull()) }).await;
    let (held, others): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|(id, ..)| [3, 17].contains(id));
    let first_held = held.iter().map(|(.., at)| *at).min().unwrap();
    for (id, outcome, at) in others {
        assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{id}: {outcome:?}");
        assert!(at < first_held, "unit {id} waited as long as those that need a held row");
    }
    for (_, outcome, _) in held {
        assert_held(&outcome.unwrap_err());
    }
    assert_eq!(database.stats().waited, 2);
    outsider.run("ROLLBACK").await;
    for id in [3, 17] {
        commit(&*store, writes([note(id, Expected::Version(1))])).await;
    }
}

/// Many more rows are held than there are connections, and whoever needs one comes again and again: the
/// others commit as fast as without them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_rows_are_held_the_others_commit_at_full_speed() {
    const HELD: i64 = 60;
    let test = require!(postgres::database().await);
    let store = open(&connect(&limited(&test, "lock_timeout_ms=1000")).await, "shop").await;
    add_notes(&*store, 1..=HELD).await;
    let alone = waves(&store, 1000).await;
    let mut outsider = Session::of(test.url()).await;
    outsider.run(&format!("BEGIN; SELECT 1 FROM shop.notes WHERE id <= {HELD} FOR UPDATE")).await;
    let conflicts = Arc::new(AtomicU64::new(0));
    let released = Arc::new(AtomicBool::new(false));
    let held: Vec<_> = (1..=HELD)
        .map(|id| {
            let (store, conflicts) = (Arc::clone(&store), Arc::clone(&conflicts));
            let released = Arc::clone(&released);
            tokio::spawn(async move {
                while let Err(error) = store.commit(writes([note(id, Expected::Version(1))])).await
                {
                    assert_held(&error);
                    conflicts.fetch_add(1, Ordering::Relaxed);
                }
                assert!(released.load(Ordering::Acquire), "unit {id} took a held row");
            })
        })
        .collect();
    Session::of(test.url()).await.until_waiting(1).await;
    let beside = waves(&store, 10_000).await;
    // What they cost once is to be found out that they wait.
    assert!(beside < 3 * alone + Duration::from_secs(5), "{beside:?}, and {alone:?} without them");
    let seen = async || conflicts.load(Ordering::Relaxed) >= HELD.unsigned_abs();
    mamey_test_support::until("each was refused", super::support::PATIENCE, seen).await;
    released.store(true, Ordering::Release);
    outsider.run("ROLLBACK").await;
    for unit in soon(join_all(held)).await {
        unit.unwrap();
    }
}

/// How long some waves of units take that need nothing which is held.
async fn waves(store: &Arc<dyn Store>, first: i64) -> Duration {
    let began = Instant::now();
    for wave in 0..40 {
        let ids = (first + 100 * wave..).take(50);
        let units = ids.map(|id| commit(&**store, writes([note(id, Expected::Absent)])));
        soon(join_all(units)).await;
    }
    began.elapsed()
}

/// Units behind one that waits have their turn in time, not each after the one before has waited.
#[tokio::test]
async fn units_behind_one_that_waits_do_not_each_wait_as_long() {
    const UNITS: usize = 12;
    let test = require!(postgres::database().await);
    let store = open(&connect(&limited(&test, "lock_timeout_ms=2000")).await, "shop").await;
    add_notes(&*store, 1..=1).await;
    let mut outsider = Session::of(test.url()).await;
    outsider.run("BEGIN; SELECT 1 FROM shop.notes FOR UPDATE").await;
    let began = Instant::now();
    let units = (0..UNITS).map(|_| store.commit(writes([note(1, Expected::Version(1))])));
    for outcome in soon(join_all(units)).await {
        assert_held(&outcome.unwrap_err());
    }
    assert!(began.elapsed() < Duration::from_secs(2 * UNITS as u64 / 2), "{:?}", began.elapsed());
}

fn replies(key: &str) -> UnitOfWork {
    let fingerprint = Fingerprint::from_bytes(&[1; FINGERPRINT_BYTES]).unwrap();
    let reply = SavedReply::new("shop.count", key.to_owned(), fingerprint, "1".into());
    UnitOfWork::default().with_reply(reply)
}

fn guards(id: i64) -> UnitOfWork {
    let mut unit = writes([note(100, Expected::Absent)]);
    unit.guards.push(Guard::new(&NOTES, Value::Int(id), 1));
    unit
}

fn sends(number: u128, key: &str) -> UnitOfWork {
    UnitOfWork::default().with_outbox(vec![message(number, Some(key))])
}

/// It was parked, and is handled.
fn takes_from_parking(number: u128, lane: &str) -> UnitOfWork {
    let (envelope, outcome) = (message(number, Some(lane)), mamey_core::store::Outcome::Handled);
    UnitOfWork::default().with_receipt(Receipt::new(envelope, Origin::Parked, outcome))
}

/// Whatever it is that another transaction holds.
#[tokio::test]
async fn whatever_is_held_one_unit_waits_and_is_refused_for_now() {
    let test = require!(postgres::database().await);
    let store = open(&connect(&limited(&test, "lock_timeout_ms=300")).await, "shop").await;
    add_notes(&*store, 1..=2).await;
    commit(&*store, parks(50, "parked")).await;
    let held_by_sql = [
        (
            "SELECT 1 FROM shop.notes WHERE id = 1 FOR UPDATE",
            writes([note(1, Expected::Version(1))]),
        ),
        ("UPDATE shop.notes SET data = data WHERE id = 2", guards(2)),
        ("SELECT 1 FROM shop._parked FOR UPDATE", takes_from_parking(50, "parked")),
    ];
    for (sql, unit) in held_by_sql {
        let mut outsider = Session::of(test.url()).await;
        outsider.run(&format!("BEGIN; {sql}")).await;
        is_refused_for_now(&*store, outsider, sql, || copy(&unit)).await;
    }
    let handled = |number, lane| handles(UnitOfWork::default(), &message(number, Some(lane)));
    let held_by_unit: [(&str, UnitOfWork, UnitOfWork); 7] = [
        ("an id", writes([note(20, Expected::Absent)]), writes([note(20, Expected::Absent)])),
        (
            "a unique value",
            writes([person(1, Expected::Absent, Some(7))]),
            writes([person(2, Expected::Absent, Some(7))]),
        ),
        ("a message", handled(60, "one"), handled(60, "one")),
        ("a lane", handled(61, "two"), handled(62, "two")),
        ("a lane that is parked", parks(63, "three"), handled(64, "three")),
        ("a key", sends(65, "four"), sends(66, "four")),
        ("an idempotency key", replies("five"), replies("five")),
    ];
    for (what, theirs, ours) in held_by_unit {
        let outsider = held(test.url(), &*store, theirs).await;
        is_refused_for_now(&*store, outsider, what, || copy(&ours)).await;
    }
}

/// Lone and with another one, which commits. Once the outsider has ended, it commits too.
async fn is_refused_for_now(
    store: &dyn Store,
    mut outsider: Session,
    what: &str,
    unit: impl Fn() -> UnitOfWork,
) {
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    for _ in 0..2 {
        let id = i64::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap();
        let beside = commit(store, writes([note(id, Expected::Absent)]));
        let (refused, ()) = soon(async { tokio::join!(store.commit(unit()), beside) }).await;
        match refused {
            Err(error) => assert_held(&error),
            Ok(outcome) => panic!("{what} is held, and the unit is {outcome:?}"),
        }
    }
    outsider.run("ROLLBACK").await;
    let outcome = soon(store.commit(unit())).await;
    assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{what}: {outcome:?}");
}

fn copy(unit: &UnitOfWork) -> UnitOfWork {
    UnitOfWork::default()
        .with_writes(unit.writes.clone())
        .with_guards(unit.guards.clone())
        .with_outbox(unit.outbox.clone())
        .with_receipt(unit.receipt.clone())
        .with_reply(unit.reply.clone())
}

/// A unit that the server ends after the statement's time is refused alone.
#[tokio::test]
async fn a_unit_that_takes_too_long_fails_no_neighbour_of_its_call() {
    let test = require!(postgres::database().await);
    let store = open(&connect(&limited(&test, "statement_timeout_ms=4000")).await, "shop").await;
    add_notes(&*store, 1..=9).await;
    Plug::prepare(&*store).await;
    let mut outsider = Session::of(test.url()).await;
    let slow = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE UPDATE ON shop.notes FOR EACH ROW
        WHEN (NEW.id = 4) EXECUTE FUNCTION public.slow()";
    outsider.run(slow).await;
    let plug = Plug::set(test.url(), "shop", &store).await;
    let commits = (1..=9).map(|id| store.commit(writes([note(id, Expected::Version(1))])));
    let (outcomes, ()) = soon(async { tokio::join!(join_all(commits), plug.pull()) }).await;
    for (id, outcome) in (1..).zip(outcomes) {
        match id {
            4 => assert_held(&outcome.unwrap_err()),
            _ => assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{id}: {outcome:?}"),
        }
    }
}

/// Records that another transaction holds stay, and keep neither the others from being deleted nor the
/// leases from being renewed.
#[tokio::test]
async fn a_held_record_stays_and_the_others_are_deleted() {
    let test = require!(postgres::database().await);
    let store = open(&connect(test.url()).await, "shop").await;
    let sent = (1..=6).map(|number| message(number, None)).collect();
    commit(&*store, UnitOfWork::default().with_outbox(sent)).await;
    let holder = InstanceId::new(Uuid::from_u128(1));
    let request = LeaseRequest::new(LeaseRole::Relay, holder, 1, Duration::from_secs(60));
    let leases = store.hold_leases(request).await.unwrap().leases;
    let records = store.read_outbox(OutboxRead::new(&leases, 10)).await.unwrap().records;
    let published: Vec<_> = records.iter().map(|record| (leases[0], record.id())).collect();
    let mut outsider = Session::of(test.url()).await;
    let rows = format!("sequence IN ({}, {})", records[0].sequence, records[3].sequence);
    outsider.run(&format!("BEGIN; SELECT 1 FROM shop._outbox WHERE {rows} FOR UPDATE")).await;
    let began = Instant::now();
    for expected in [4, 0] {
        let renewing = store.hold_leases(request);
        let (deletion, renewed) = tokio::join!(store.delete_published(&published), renewing);
        let deletion = deletion.unwrap();
        assert_eq!(deletion.deleted, expected);
        assert_eq!(deletion.held, [records[0].id(), records[3].id()]);
        assert_eq!(renewed.unwrap().leases, leases);
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    outsider.run("ROLLBACK").await;
    let deletion = store.delete_published(&published).await.unwrap();
    assert_eq!((deletion.deleted, deletion.held.len()), (2, 0));
    assert_eq!(store.outbox_depth().await.unwrap().published, 6);
}
