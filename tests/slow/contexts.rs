//! In one process a context's handlers do not end; the other contexts receive at full speed.

use crate::domain::{Before, Gate};
use crate::world::{World, names, until};

/// More lanes than are handled at a time.
const MANY: usize = 300;
const EACH: i64 = 2;
const OF_ONE: i64 = 100;

async fn a_slow_context_does_not_set_the_pace(store: &str) {
    let gate = Gate::closed(|_| Before::Wait);
    let world = World::with_two(store, &gate).await;
    let one = names(1);
    world.sell(&one, OF_ONE).await;
    world.until_fast_has(&one, OF_ONE).await;
    assert_eq!(gate.runs(&one[0]), [1], "the first of the key still runs, and no other");

    world.sell(&names(MANY), EACH).await;
    world.until_fast_has(&names(MANY)[1..], EACH).await;
    world.until_published().await;
    let slow = world.service.store("slow").unwrap();
    let sold = OF_ONE as u64 + MANY as u64 * EACH as u64;
    assert_eq!(slow.parked_count().await.unwrap(), sold, "all that left the outbox is durable");

    gate.open();
    world.until_slow_has(&one, OF_ONE + EACH).await;
    world.until_slow_has(&names(MANY)[1..], EACH).await;
    assert_eq!(gate.runs(&one[0]), [1; (OF_ONE + EACH) as usize], "no run was wasted");
    until("the parking empties", async || slow.parked_count().await.unwrap() == 0).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_context_does_not_set_the_pace_on_memory() {
    a_slow_context_does_not_set_the_pace("memory:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_context_does_not_set_the_pace_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    a_slow_context_does_not_set_the_pace(&store).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_context_does_not_set_the_pace_on_postgres() {
    let database = mamey_test_support::require!(mamey_test_support::postgres::database().await);
    a_slow_context_does_not_set_the_pace(database.url()).await;
}
