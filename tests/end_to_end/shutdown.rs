//! Draining, and restarts on what was left.

use mamey::ErrorKind;

use crate::domain::{Emit, Fault};
use crate::world::{On, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing_and_repeats_nothing() {
    let mut world = World::start(On::Sqlite).await;
    for round in 0..4 {
        for number in 0..25 {
            world.emit("a", round * 25 + number).await;
        }
        // The shutdown happens while events are in flight.
        world = world.restart().await;
    }
    world.idle().await;
    assert_eq!(world.received("a").await, (0..100).collect::<Vec<i64>>());
    assert_eq!(world.service.totals().await.unwrap().published, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_messages_and_dead_letters_survive_a_restart() {
    let world = World::start(On::Sqlite).await;
    world.script.fault(1, Fault::Refuse, 1);
    world.emit("a", 1).await;
    world.idle().await;
    let world = world.restart().await;
    let letters = world.store("receiver").dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let id = letters[0].identity;
    assert!(world.store("receiver").replay_dead_letter(id).await.unwrap());
    world.until("the replay", async || world.received("a").await == [1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_shutdown_callers_get_an_error() {
    let world = World::start(On::Memory).await;
    world.service.shutdown().await.unwrap();
    let error = world.service.send(Emit { stream: "a".into(), number: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
