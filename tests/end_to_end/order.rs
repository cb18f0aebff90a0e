//! Order by key, under concurrency and under failures of other keys.

use crate::domain::Fault;
use crate::on_each_store;
use crate::world::World;

on_each_store! {
    messages_of_one_key_are_handled_in_commit_order
    a_failing_message_parks_its_own_key_only
    successors_of_a_parked_message_wait_for_it
}

const STREAMS: i64 = 20;
const NUMBERS: i64 = 30;

async fn messages_of_one_key_are_handled_in_commit_order(world: World) {
    let streams = (0..STREAMS).map(|stream| {
        let world = &world;
        async move {
            for number in 0..NUMBERS {
                world.emit(&format!("s{stream}"), number).await;
            }
        }
    });
    futures_util::future::join_all(streams).await;
    world.idle().await;
    for stream in 0..STREAMS {
        let received = world.received(&format!("s{stream}")).await;
        assert_eq!(received, (0..NUMBERS).collect::<Vec<i64>>(), "stream {stream}");
    }
}

async fn a_failing_message_parks_its_own_key_only(world: World) {
    // Fewer failures than the policy allows: the message is parked, then handled.
    world.script.fault(100, Fault::Fail, 3);
    world.emit("bad", 100).await;
    for number in 0..10 {
        world.emit("good", number).await;
    }
    world.until("the other key continues", async || world.received("good").await.len() == 10).await;
    world.idle().await;
    assert_eq!(world.received("bad").await, [100]);
    assert_eq!(world.service.totals().await.unwrap().dead_letters, 0);
}

async fn successors_of_a_parked_message_wait_for_it(world: World) {
    world.script.fault(0, Fault::Fail, 4);
    for number in 0..15 {
        world.emit("a", number).await;
    }
    world.idle().await;
    assert_eq!(world.received("a").await, (0..15).collect::<Vec<i64>>());
}
