//! Units wait for other transactions, so that the order by key and by lane holds between instances.

use std::sync::Arc;

use mamey_core::store::{CommitOutcome, Store, UnitOfWork};
use mamey_test_support::{Session, postgres, require};
use tokio::task::JoinHandle;

use super::support::{connect, handles, held, message, open, parks, soon};

fn sends(numbers: impl IntoIterator<Item = u128>) -> UnitOfWork {
    let outbox = numbers.into_iter().map(|number| message(number, Some("key"))).collect();
    UnitOfWork::default().with_outbox(outbox)
}

fn committing(store: &Arc<dyn Store>, unit: UnitOfWork) -> JoinHandle<CommitOutcome> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.commit(unit).await.unwrap() })
}

/// One message is sent by the function for a lone unit, two by the function for a batch.
#[tokio::test]
async fn a_message_of_a_key_waits_for_the_one_sent_before() {
    for count in [1, 2] {
        let test = require!(postgres::database().await);
        let store = open(&connect(test.url()).await, "shop").await;
        let mut watch = Session::of(test.url()).await;
        let mut own = held(test.url(), &*store, sends(1..=count)).await;
        let later = committing(&store, sends(count + 1..=2 * count));
        watch.until_waiting(1).await;
        own.run("COMMIT").await;
        assert!(matches!(soon(later).await.unwrap(), CommitOutcome::Committed(_)));
        let sent = "SELECT convert_from(payload, 'UTF8') FROM shop._outbox ORDER BY sequence";
        let expected = (1..=2 * count).map(|number| format!("{{\"number\":{number}}}"));
        assert_eq!(watch.all::<String>(sent).await, expected.collect::<Vec<_>>());
    }
}

/// Whoever wrote to the outbox and is under way may still add below what others show; who only reads,
/// or writes elsewhere, may not.
#[tokio::test]
async fn the_outbox_is_complete_below_an_open_transaction_only() {
    let test = require!(postgres::database().await);
    let store = open(&connect(test.url()).await, "shop").await;
    let mut elsewhere = Session::of(test.url()).await;
    elsewhere.run("CREATE TABLE own (n int); BEGIN; INSERT INTO own VALUES (1)").await;
    elsewhere.run("SELECT count(*) FROM shop._outbox").await;
    commits(&store, 1).await;
    let first = last(test.url()).await;
    assert_eq!(store.outbox_complete_to(first).await.unwrap(), first);
    let mut own = held(test.url(), &*store, sends([2])).await;
    let unit = UnitOfWork::default().with_outbox(vec![message(3, Some("another"))]);
    assert!(matches!(store.commit(unit).await.unwrap(), CommitOutcome::Committed(_)));
    let later = last(test.url()).await;
    for _ in 0..3 {
        assert_eq!(store.outbox_complete_to(later).await.unwrap(), first);
    }
    own.run("COMMIT").await;
    assert_eq!(store.outbox_complete_to(later).await.unwrap(), later);
    elsewhere.run("COMMIT").await;
}

async fn commits(store: &Arc<dyn Store>, number: u128) {
    let outcome = store.commit(sends([number])).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)));
}

/// The last sequence that is visible.
async fn last(url: &str) -> u64 {
    let sql = "SELECT max(sequence) FROM shop._outbox";
    Session::of(url).await.one::<i64>(sql).await.unsigned_abs()
}

/// The successor's unit is a lone unit or a batch, by how many messages it sends. What it sees after it has
/// waited does not depend on the database's defaults.
#[tokio::test]
async fn handling_a_message_waits_for_the_unit_that_parks_its_lane() {
    for (sent, level, pooled) in [
        (1, "read committed", false),
        (2, "read committed", false),
        (1, "repeatable read", false),
        (2, "repeatable read", false),
        (1, "serializable", true),
        (2, "serializable", true),
    ] {
        let test = require!(postgres::database().await);
        let name = test.name();
        let alter =
            format!("ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{level}'");
        Session::of(test.url()).await.run(&alter).await;
        let url = match pooled {
            true => require!(test.pgbouncer_url()) + "?pgbouncer=true",
            false => test.url().to_owned(),
        };
        let store = open(&connect(&url).await, "shop").await;
        let mut watch = Session::of(test.url()).await;
        let mut own = held(test.url(), &*store, parks(1, "key")).await;
        let successor = message(2, Some("key"));
        let later = committing(&store, handles(sends(3..3 + sent), &successor));
        watch.until_waiting(1).await;
        own.run("COMMIT").await;
        assert_eq!(soon(later).await.unwrap(), CommitOutcome::LaneParked);
        assert_eq!(watch.one::<i64>("SELECT count(*) FROM shop._outbox").await, 0);
    }
}
