//! Units that are ready together share a transaction, and a lone unit does not wait for others.

use futures_util::future::join_all;
use mamey_core::store::{CommitOutcome, Expected};

use crate::support::{Folder, NOTES, add, body, commit, notes, put};

#[tokio::test]
async fn units_that_are_ready_together_share_a_transaction() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    let before = database.stats();
    let units = (0..64).map(|number| store.commit(add(&number.to_string(), "1")));
    for outcome in join_all(units).await {
        assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))));
    }
    let after = database.stats();
    assert_eq!(after.units - before.units, 64);
    let transactions = after.transactions - before.transactions;
    assert!(transactions <= 8, "{transactions} transactions for 64 units");
}

#[tokio::test]
async fn lone_units_have_a_transaction_each() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    let before = database.stats();
    for number in 0..5 {
        commit(&*store, add(&number.to_string(), "1")).await;
    }
    assert_eq!(database.stats().transactions - before.transactions, 5);
}

/// Units that are refused for every reason, between units that commit, in every order: a refused unit
/// does not affect its neighbours.
#[tokio::test]
async fn refused_units_do_not_touch_their_neighbours() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    commit(&*store, add("taken", "1")).await;
    let kinds = 3_usize;
    for pattern in 0..kinds.pow(4) {
        let kind = |at: usize| pattern / kinds.pow(u32::try_from(at).unwrap()) % kinds;
        let unit = |at: usize| {
            let name = format!("{pattern}-{at}");
            let mut unit = add(&name, "1");
            match kind(at) {
                0 => {}
                1 => unit.writes.extend(add("taken", "2").writes),
                _ => {
                    let stale = put(&NOTES, "taken", Expected::Version(9), "2", Vec::new());
                    unit.writes.extend(stale.writes);
                }
            }
            unit
        };
        let outcomes = join_all((0..4).map(|at| store.commit(unit(at)))).await;
        for (at, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome.is_ok(), kind(at) == 0, "{pattern}-{at}");
            let stored = body(&*store, &format!("{pattern}-{at}")).await;
            assert_eq!(stored.is_some(), kind(at) == 0, "{pattern}-{at}");
        }
    }
    assert_eq!(body(&*store, "taken").await.as_deref(), Some("1"));
}
