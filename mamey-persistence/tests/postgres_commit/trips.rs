//! How many round trips a unit of work takes, and which units share one.

use futures_util::future::join_all;
use mamey_core::criteria::Value;
use mamey_core::store::{CommitOutcome, Expected, Guard, LOAD_BYTES_MAX};
use mamey_test_support::{FaultProxy, Session, postgres, require};

use super::support::{
    NOTES, PEOPLE, Plug, commit, connect, handles, held, message, note, open, person, soon, writes,
};

#[tokio::test]
async fn a_load_is_one_trip_and_a_commit_of_everything_is_one() {
    let database = require!(postgres::database().await);
    let proxy = FaultProxy::start(database.url()).await.unwrap();
    let store = open(&connect(&proxy.url_for(database.url()).unwrap()).await, "shop").await;
    commit(&*store, writes([note(1, Expected::Absent), person(1, Expected::Absent, None)])).await;
    let everything = |version: u64| {
        let incoming = message(u128::from(version), Some("lane"));
        let write = person(1, Expected::Version(version), Some(7));
        let mut unit = handles(writes([write]), &incoming);
        unit.guards.push(Guard::new(&NOTES, Value::Int(1), 1));
        unit.enqueue(message(1000 + u128::from(version), Some("key"))).unwrap();
        unit
    };
    // The first of a kind prepares its statement.
    store.load(&PEOPLE, &[Value::Int(1)], LOAD_BYTES_MAX).await.unwrap();
    commit(&*store, everything(1)).await;
    let before = proxy.counts();
    let loaded = store.load(&PEOPLE, &[Value::Int(1)], LOAD_BYTES_MAX).await.unwrap();
    assert_eq!((proxy.counts() - before).round_trips, 1);
    assert_eq!(loaded[0].as_ref().unwrap().version, 2);
    let before = proxy.counts();
    commit(&*store, everything(2)).await;
    assert_eq!((proxy.counts() - before).round_trips, 1);
}

#[tokio::test]
async fn units_that_are_ready_together_share_a_call() {
    const UNITS: i64 = 40;
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await;
    let store = open(&database, "shop").await;
    Plug::prepare(&*store).await;
    let plug = Plug::set(test.url(), "shop", &store).await;
    let before = database.stats();
    let unit = |id| {
        let mut unit = writes([note(id, Expected::Absent)]);
        // All of one key: a batch keeps their order.
        unit.enqueue(message(u128::try_from(id).unwrap(), Some("key"))).unwrap();
        unit
    };
    let commits = join_all((1..=UNITS).map(|id| store.commit(unit(id))));
    let (outcomes, ()) = soon(async { tokio::join!(commits, plug.pull()) }).await;
    let mut tokens = Vec::new();
    for outcome in outcomes {
        let Ok(CommitOutcome::Committed(token)) = outcome else {
            panic!("{outcome:?}");
        };
        tokens.push(token);
    }
    tokens.dedup();
    let after = database.stats();
    assert_eq!(after.units - before.units, UNITS.unsigned_abs());
    assert_eq!((tokens.len(), after.calls - before.calls), (1, 1));
    let mut outsider = Session::of(test.url()).await;
    let in_order = "SELECT count(*) FROM (SELECT (metadata::jsonb->>'id') AS id, \
        lag(metadata::jsonb->>'id') OVER (ORDER BY sequence) AS before FROM shop._outbox) AS sent \
        WHERE before < id";
    assert_eq!(outsider.one::<i64>(in_order).await, UNITS - 1);
}

/// Advisory locks are distinct for each context, although a database has one space of numbers for them.
#[tokio::test]
async fn contexts_of_one_database_do_not_wait_for_each_other() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await;
    let (one, two) = (open(&database, "one").await, open(&database, "two").await);
    let incoming = message(1, Some("key"));
    let unit = || {
        let mut unit = handles(writes([note(1, Expected::Absent)]), &incoming);
        unit.enqueue(message(2, Some("key"))).unwrap();
        unit
    };
    // It holds the lane and the key until it ends.
    let mut own = held(test.url(), &*one, unit()).await;
    commit(&*two, unit()).await;
    own.run("COMMIT").await;
}
