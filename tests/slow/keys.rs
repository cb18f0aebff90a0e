//! One slow key fills what may be in memory of its partition; the other keys go on nevertheless.

use mamey_test_support::{rabbitmq, require};

use crate::domain::Gate;
use crate::world::{SLOW, World, names, slow_waits, until};

/// More than the prefetch, several times.
const FLOOD: i64 = 500;
const OTHERS: usize = 20;
const EACH: i64 = 3;

/// The slow key comes first and its handlers do not end, until all others are done.
async fn others_go_on(store: &str, transport: &str) {
    let gate = Gate::closed(slow_waits);
    let world = World::with_one(store, transport, &gate).await;
    world.sell(&[SLOW.to_owned()], FLOOD).await;
    world.until_published().await;
    world.sell(&names(OTHERS), EACH).await;
    world.until_slow_has(&names(OTHERS), EACH).await;
    assert_eq!(gate.runs(SLOW), [1], "the first of the slow key still runs, and no other");

    gate.open();
    world.until_slow_has(&[SLOW.to_owned()], FLOOD).await;
    assert_eq!(gate.runs(SLOW), [1; FLOOD as usize], "no run was wasted");
    world.end().await;
}

/// A process that ends while a slow handler runs loses nothing of what was parked for it.
async fn a_slow_key_outlives_the_process(store: &str, transport: &str) {
    let gate = Gate::closed(slow_waits);
    let world = World::with_one(store, transport, &gate).await;
    world.sell(&[SLOW.to_owned()], FLOOD / 5).await;
    world.sell(&names(OTHERS), EACH).await;
    world.until_slow_has(&names(OTHERS), EACH).await;
    let ledger = world.service.store("slow").unwrap();
    until("all is parked", async || ledger.parked_count().await.unwrap() == FLOOD as u64 / 5).await;
    // As a crash would: the handler is dropped where it is.
    drop((ledger, world));

    gate.open();
    let world = World::with_one(store, transport, &gate).await;
    world.until_slow_has(&[SLOW.to_owned()], FLOOD / 5).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_over_rabbitmq_and_sqlite() {
    let (vhost, folder) = (require!(rabbitmq::vhost().await), tempfile::tempdir().unwrap());
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    others_go_on(&store, vhost.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_over_rabbitmq_and_memory() {
    let vhost = require!(rabbitmq::vhost().await);
    others_go_on("memory:", vhost.url()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_over_rabbitmq_and_postgres() {
    let vhost = require!(rabbitmq::vhost().await);
    let database = require!(mamey_test_support::postgres::database().await);
    others_go_on(database.url(), vhost.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_key_outlives_the_process_over_rabbitmq() {
    let (vhost, folder) = (require!(rabbitmq::vhost().await), tempfile::tempdir().unwrap());
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    a_slow_key_outlives_the_process(&store, vhost.url()).await;
}
