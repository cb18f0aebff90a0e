//! Replies, idempotency keys, and the errors that callers see.

use mamey::{Command, ErrorKind};

use crate::domain::{Emissions, Emit, Increment};
use crate::on_each_store;
use crate::world::World;

on_each_store! {
    the_same_idempotency_key_returns_the_first_reply
    concurrent_calls_with_one_key_take_effect_once
    keys_of_different_commands_do_not_clash
    an_unknown_command_names_the_fix
}

fn emit(number: i64) -> Emit {
    Emit { stream: "a".into(), number }
}

async fn the_same_idempotency_key_returns_the_first_reply(world: World) {
    for _ in 0..3 {
        let reply =
            world.service.send(Increment { counter: "c".into() }).idempotency_key("k").await;
        assert_eq!(reply.unwrap(), 1);
    }
    let reply = world.service.send(Increment { counter: "c".into() }).idempotency_key("l").await;
    assert_eq!(reply.unwrap(), 2);
}

async fn concurrent_calls_with_one_key_take_effect_once(world: World) {
    let calls = (0..16).map(|_| {
        let request = world.service.send(emit(7)).idempotency_key("k");
        async { request.await.unwrap() }
    });
    assert_eq!(futures_util::future::join_all(calls).await, [7; 16]);
    world.idle().await;
    assert_eq!(world.service.query(Emissions("a".into())).await.unwrap(), [7]);
    assert_eq!(world.received("a").await, [7]);
}

async fn keys_of_different_commands_do_not_clash(world: World) {
    world.service.send(emit(7)).idempotency_key("k").await.unwrap();
    let reply = world.service.send(Increment { counter: "c".into() }).idempotency_key("k").await;
    assert_eq!(reply.unwrap(), 1);
}

#[derive(Clone, Command)]
struct Unheard;

async fn an_unknown_command_names_the_fix(world: World) {
    let error = world.service.send(Unheard).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains("unheard") && text.contains(".command("), "{text}");
}
