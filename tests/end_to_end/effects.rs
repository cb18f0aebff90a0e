//! One commit, and effect once.

use mamey::ErrorKind;

use crate::domain::{Emissions, EmitAndFail, Increment, Poke};
use crate::on_each_store;
use crate::world::World;

on_each_store! {
    an_event_reaches_the_other_context
    a_failed_handler_leaves_no_state_and_sends_nothing
    a_message_delivered_many_times_takes_effect_once
    concurrent_changes_of_one_aggregate_all_happen
    a_targeted_message_reaches_its_target_only
    an_unroutable_message_stays_in_the_outbox
    an_old_version_is_upcast
    totals_count_each_message_once
}

async fn an_event_reaches_the_other_context(world: World) {
    world.emit("a", 1).await;
    world.emit("a", 2).await;
    world.idle().await;
    assert_eq!(world.received("a").await, [1, 2]);
}

async fn a_failed_handler_leaves_no_state_and_sends_nothing(world: World) {
    let error = world.service.send(EmitAndFail { stream: "a".into() }).await.unwrap_err();
    assert!(error.to_string().contains("changed its mind"), "{error}");
    world.idle().await;
    assert!(world.service.query(Emissions("a".into())).await.unwrap().is_empty());
    assert!(world.received("a").await.is_empty());
    assert_eq!(world.service.totals().await.unwrap().published, 0);
}

async fn a_message_delivered_many_times_takes_effect_once(world: World) {
    let metadata = world.foreign("1");
    let deliver = || world.deliver(metadata.clone(), r#"{"stream":"a","number":7}"#);
    tokio::join!(deliver(), deliver(), deliver());
    deliver().await;
    assert_eq!(world.received("a").await, [7]);
    assert_eq!(world.service.totals().await.unwrap().duplicates_absorbed, 3);
}

async fn concurrent_changes_of_one_aggregate_all_happen(world: World) {
    let increment = || {
        let request = world.service.send(Increment { counter: "c".into() });
        async { request.await.unwrap() }
    };
    let mut replies = futures_util::future::join_all((0..40).map(|_| increment())).await;
    replies.sort_unstable();
    assert_eq!(replies, (1..=40).collect::<Vec<i64>>());
    assert_eq!(world.service.query(Emissions("c".into())).await.unwrap().len(), 40);
}

async fn a_targeted_message_reaches_its_target_only(world: World) {
    world.service.send(Poke { target: "receiver".into() }).await.unwrap();
    world.idle().await;
    assert_eq!(world.received("sender").await, [1]);
}

async fn an_unroutable_message_stays_in_the_outbox(world: World) {
    world.service.send(Poke { target: "nobody".into() }).await.unwrap();
    world.emit("a", 1).await;
    world.until("the event arrives", async || world.received("a").await == [1]).await;
    let depth = || async { world.store("sender").outbox_depth().await.unwrap() };
    world.until("the event is confirmed", async || depth().await.published == 1).await;
    assert_eq!(depth().await.records, 1);
    let error = world.service.send(Poke { target: "No Body".into() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

async fn an_old_version_is_upcast(world: World) {
    let mut metadata = world.foreign("old");
    metadata.version = 1;
    world.deliver(metadata, r#"{"stream":"a"}"#).await;
    assert_eq!(world.received("a").await, [-1]);
}

async fn totals_count_each_message_once(world: World) {
    for number in 0..25 {
        world.emit("a", number).await;
    }
    world.idle().await;
    let totals = world.service.totals().await.unwrap();
    assert_eq!((totals.published, totals.handled, totals.dead_letters), (25, 25, 0));
}
