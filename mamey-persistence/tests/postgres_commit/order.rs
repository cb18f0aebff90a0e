//! Units wait for other transactions, so that the order by key and by lane holds between instances.

use std::sync::Arc;

use mamey_core::Error;
use mamey_core::clock::Timestamp;
use mamey_core::store::{CommitOutcome, Failure, Outcome, Store, UnitOfWork};
use mamey_persistence::enlist;
use mamey_test_support::{Session, postgres, require};
use tokio::task::JoinHandle;

use super::support::{connect, handles, message, open, soon};

fn sends(numbers: impl IntoIterator<Item = u128>) -> UnitOfWork {
    let outbox = numbers.into_iter().map(|number| message(number, Some("key"))).collect();
    UnitOfWork::default().with_outbox(outbox)
}

fn parks(number: u128) -> UnitOfWork {
    let mut unit = handles(UnitOfWork::default(), &message(number, Some("key")));
    let failure = Failure::from(&Error::rejected("shop.closed", "the shop is closed"));
    if let Some(receipt) = &mut unit.receipt {
        let due = Timestamp::from_micros(1);
        receipt.outcome = Outcome::Park { due, attempts: 1, failure };
    }
    unit
}

/// An open transaction that a unit has joined.
async fn held(url: &str, store: &dyn Store, unit: UnitOfWork) -> Session {
    let mut own = Session::of(url).await;
    own.run("BEGIN").await;
    let enlisted = soon(enlist(store, &mut own, unit)).await.unwrap();
    assert!(matches!(enlisted.outcome(), CommitOutcome::Committed(_)));
    own
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

/// The successor's unit is a lone unit or a batch, by how many messages it sends.
#[tokio::test]
async fn handling_a_message_waits_for_the_unit_that_parks_its_lane() {
    for sent in [1, 2] {
        let test = require!(postgres::database().await);
        let store = open(&connect(test.url()).await, "shop").await;
        let mut watch = Session::of(test.url()).await;
        let mut own = held(test.url(), &*store, parks(1)).await;
        let successor = message(2, Some("key"));
        let later = committing(&store, handles(sends(3..3 + sent), &successor));
        watch.until_waiting(1).await;
        own.run("COMMIT").await;
        assert_eq!(soon(later).await.unwrap(), CommitOutcome::LaneParked);
        assert_eq!(watch.one::<i64>("SELECT count(*) FROM shop._outbox").await, 0);
    }
}
