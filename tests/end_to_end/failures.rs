//! What happens to messages whose handlers fail, reject, panic or hang.

use mamey::store::{DeadLetter, DeadLetterReason};

use crate::domain::Fault;
use crate::on_each_store;
use crate::world::World;

on_each_store! {
    a_passing_failure_is_retried_until_it_has_passed
    a_lasting_failure_ends_as_a_dead_letter
    a_rejection_is_never_retried
    a_panic_is_a_failure_like_any_other
    a_handler_that_hangs_is_timed_out_and_has_not_succeeded
    a_handler_that_says_cancelled_has_failed_and_holds_up_no_other_key
    a_dead_letter_is_replayed_once
    an_old_version_is_upcast_on_replay_too
    a_discarded_dead_letter_is_gone
    a_payload_that_cannot_be_read_is_a_dead_letter_at_the_policys_end
}

const ENOUGH: u32 = 1000;

async fn dead_letters(world: &World) -> Vec<DeadLetter> {
    world.store("receiver").dead_letters(None, 10).await.unwrap()
}

async fn one_dead_letter(world: &World) -> DeadLetter {
    world.until("a dead letter", async || !dead_letters(world).await.is_empty()).await;
    world.idle().await;
    dead_letters(world).await.remove(0)
}

async fn a_passing_failure_is_retried_until_it_has_passed(world: World) {
    world.script.fault(1, Fault::Fail, 4);
    world.emit("a", 1).await;
    world.idle().await;
    assert_eq!(world.received("a").await, [1]);
}

async fn a_lasting_failure_ends_as_a_dead_letter(world: World) {
    world.script.fault(1, Fault::Fail, ENOUGH);
    world.emit("a", 1).await;
    let letter = one_dead_letter(&world).await;
    assert_eq!(letter.reason, DeadLetterReason::Exhausted);
    assert_eq!(letter.attempts, 5, "two immediate runs, three delayed");
    assert_eq!(letter.failure.kind, "other");
    assert!(letter.failure.message.contains("the script says fail"), "{letter:?}");
    assert!(letter.first_failed <= letter.last_failed);
    assert!(world.received("a").await.is_empty());
}

async fn a_rejection_is_never_retried(world: World) {
    world.script.fault(1, Fault::Refuse, ENOUGH);
    world.emit("a", 1).await;
    world.emit("a", 2).await;
    let letter = one_dead_letter(&world).await;
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Refused, 1));
    assert_eq!(letter.failure.code.as_deref(), Some("receiver.refused"));
    assert_eq!(world.received("a").await, [2], "the lane continues after a dead letter");
}

async fn a_panic_is_a_failure_like_any_other(world: World) {
    world.script.fault(1, Fault::Panic, 2);
    world.emit("a", 1).await;
    world.idle().await;
    assert_eq!(world.received("a").await, [1]);
}

async fn a_handler_that_hangs_is_timed_out_and_has_not_succeeded(world: World) {
    world.script.fault(1, Fault::Hang, ENOUGH);
    world.emit("a", 1).await;
    let letter = one_dead_letter(&world).await;
    assert_eq!(letter.failure.kind, "timed-out");
    assert!(world.received("a").await.is_empty());
}

async fn a_handler_that_says_cancelled_has_failed_and_holds_up_no_other_key(world: World) {
    world.script.fault(1, Fault::Cancel, ENOUGH);
    world.emit("a", 1).await;
    world.emit("a", 2).await;
    for number in 10..30 {
        world.emit("b", number).await;
    }
    let letter = one_dead_letter(&world).await;
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Exhausted, 5));
    assert_eq!(letter.failure.kind, "cancelled");
    assert_eq!(world.received("a").await, [2], "its lane goes on");
    assert_eq!(world.received("b").await, (10..30).collect::<Vec<i64>>());
    let totals = world.service.totals().await.unwrap();
    assert_eq!(totals.duplicates_absorbed, 0, "nothing was returned and delivered again");
}

async fn a_dead_letter_is_replayed_once(world: World) {
    world.script.fault(1, Fault::Refuse, 1);
    world.emit("a", 1).await;
    let id = one_dead_letter(&world).await.identity;
    let store = world.store("receiver");
    let (one, two) = tokio::join!(store.replay_dead_letter(id), store.replay_dead_letter(id));
    assert!(one.unwrap() ^ two.unwrap(), "two racing replays happen once");
    world.until("the replay", async || world.received("a").await == [1]).await;
    world.idle().await;
    assert_eq!(world.received("a").await, [1]);
    assert!(dead_letters(&world).await.is_empty());
}

async fn an_old_version_is_upcast_on_replay_too(world: World) {
    world.script.fault(-1, Fault::Refuse, 1);
    let mut metadata = world.foreign("old");
    metadata.version = 1;
    world.deliver(metadata, r#"{"stream":"a"}"#).await;
    let letter = one_dead_letter(&world).await;
    assert_eq!(letter.envelope.metadata.version, 1, "it is kept as it was received");
    let id = letter.identity;
    assert!(world.store("receiver").replay_dead_letter(id).await.unwrap());
    world.until("the replay", async || world.received("a").await == [-1]).await;
}

async fn a_discarded_dead_letter_is_gone(world: World) {
    world.script.fault(1, Fault::Refuse, ENOUGH);
    world.emit("a", 1).await;
    let id = one_dead_letter(&world).await.identity;
    assert!(world.store("receiver").discard_dead_letter(id).await.unwrap());
    assert!(!world.store("receiver").replay_dead_letter(id).await.unwrap());
    assert!(dead_letters(&world).await.is_empty());
}

async fn a_payload_that_cannot_be_read_is_a_dead_letter_at_the_policys_end(world: World) {
    for (id, version, payload) in [
        ("newer", 3, r#"{"stream":"a","number":1}"#),
        ("wrong-type", 2, r#"{"stream":"a","number":"one"}"#),
        ("truncated", 2, r#"{"stream":"#),
    ] {
        let mut metadata = world.foreign(id);
        metadata.version = version;
        world.deliver(metadata, payload).await;
    }
    world.until("three dead letters", async || dead_letters(&world).await.len() == 3).await;
    for letter in dead_letters(&world).await {
        assert_eq!(letter.reason, DeadLetterReason::Unreadable, "{letter:?}");
        assert_eq!(letter.attempts, 4, "one run as it arrived, and three from parking");
        assert!(letter.failure.message.contains("sender.emitted"), "{letter:?}");
    }
    assert!(world.received("a").await.is_empty());
}
