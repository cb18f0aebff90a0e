//! Handlers that panic, hang, block or are gone: the message stays, and everything else goes on.

use std::time::Duration;

use mamey::ErrorKind;
use mamey::message::Envelope;
use mamey::store::DeadLetterReason;

use crate::domain::Fault;
use crate::rows;
use crate::words::{assert_holds, assert_says};
use crate::world::World;

rows! {
    a_handler_that_panics_leaves_a_dead_letter_that_names_it
    a_handler_that_hangs_is_timed_out_and_says_what_to_raise
    a_handler_that_blocks_its_thread_holds_up_no_other_key
    messages_of_one_key_from_outside_run_one_at_a_time
    a_message_is_acknowledged_only_after_its_commit
    a_handler_that_is_cut_off_by_a_shutdown_runs_again_after_the_next_start
    a_drain_ends_early_when_the_work_is_done
    a_dead_letter_is_heard_once_its_handler_is_fixed
    a_parked_message_waits_for_a_build_that_reads_it
    a_parked_message_outlives_its_handler
}

async fn a_handler_that_panics_leaves_a_dead_letter_that_names_it(world: &mut World) {
    world.script.fault(1, Fault::Panic);
    world.say("bad", 1).await;
    world.say("bad", 2).await;
    world.say("other", 3).await;
    let letter = world.one_dead_letter().await;
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Exhausted, 4));
    let words = ["`speaker.said`", "`listener`", "panicked", "the script says panic"];
    assert_holds(&letter.failure.message, &words);
    assert_eq!(world.heard("bad").await, [2], "the lane goes on, and nothing of 1 is kept");
    assert_eq!(world.heard("other").await, [3]);
}

async fn a_handler_that_hangs_is_timed_out_and_says_what_to_raise(world: &mut World) {
    world.script.fault(1, Fault::Hang);
    world.say("bad", 1).await;
    world.say("bad", 2).await;
    let letter = world.one_dead_letter().await;
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Exhausted, 4));
    assert_eq!(letter.failure.kind, "timed-out");
    let words = ["`speaker.said`", "within 300ms", "raise `.timeout("];
    assert_holds(&letter.failure.message, &words);
    assert_eq!(world.heard("bad").await, [2]);
}

async fn a_handler_that_blocks_its_thread_holds_up_no_other_key(world: &mut World) {
    world.script.fault(1, Fault::Block);
    world.say("bad", 1).await;
    until_blocked(world);
    for number in 10..30 {
        world.say("good", number).await;
    }
    world.until_heard("good", &(10..30).collect::<Vec<i64>>()).await;
    assert!(world.heard("bad").await.is_empty(), "it blocks still");
    world.script.release();
    world.until_heard("bad", &[1]).await;
    world.idle().await;
    assert_eq!(world.script.entered(), 1, "it was not run a second time");
    assert!(world.dead_letters().await.is_empty());
}

/// A foreign publisher does not wait for one message before it sends the next.
async fn messages_of_one_key_from_outside_run_one_at_a_time(world: &mut World) {
    world.script.fault(1, Fault::Block);
    let one = tokio::spawn(from_outside(world, 1, "elsewhere"));
    until_blocked(world);
    let two = tokio::spawn(from_outside(world, 2, "elsewhere"));
    from_outside(world, 3, "another key").await;
    assert_eq!(world.heard("elsewhere").await, [3], "2 waits for 1, and 3 for nobody");
    assert!(!two.is_finished());
    world.script.release();
    one.await.unwrap();
    two.await.unwrap();
    assert_eq!(world.heard("elsewhere").await, [3, 1, 2]);
}

async fn a_message_is_acknowledged_only_after_its_commit(world: &mut World) {
    world.script.fault(1, Fault::Block);
    let one = tokio::spawn(from_outside(world, 1, "elsewhere"));
    until_blocked(world);
    from_outside(world, 2, "another key").await;
    assert!(!one.is_finished(), "the handler runs still");
    world.script.release();
    one.await.unwrap();
    // In the store when the publish is confirmed, and not a moment later.
    assert_eq!(world.heard("elsewhere").await.len(), 2);
}

/// Completes when the listener has acknowledged the message.
fn from_outside(world: &World, number: i64, key: &str) -> impl Future<Output = ()> + use<> {
    let mut metadata = world.foreign(&number.to_string());
    metadata.key = Some(key.into());
    let payload = format!(r#"{{"topic":"elsewhere","number":{number},"text":""}}"#).into();
    let publisher = world.service.publisher();
    async move {
        let envelope = Envelope::new(metadata, payload);
        publisher.publish(&envelope).await.unwrap();
    }
}

/// Waits without a timer: the blocked thread may be the one that would have moved the timers on,
/// until the next message wakes another.
fn until_blocked(world: &World) {
    let begin = std::time::Instant::now();
    while world.script.entered() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(60), "the handler never ran");
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn a_handler_that_is_cut_off_by_a_shutdown_runs_again_after_the_next_start(
    world: &mut World,
) {
    // A time to drain that is shorter than the time of the handler.
    world.service.shutdown().await.unwrap();
    let usual = std::mem::replace(&mut world.settings.drain, Duration::from_millis(50));
    world.start_again().await;
    world.script.fault(1, Fault::Hang);
    world.say("bad", 1).await;
    world.say("bad", 2).await;
    world.until("the handler hangs", async || world.script.entered() > 0).await;
    // Whether a part had to be cut off from outside depends on its pauses.
    if let Err(error) = world.service.shutdown().await {
        let words = ["MAMEY_DRAIN_MS", "done again after the next start"];
        assert_says(&error, ErrorKind::TimedOut, &words);
    }
    world.settings.drain = usual;
    world.script.clear();
    world.start_again().await;
    world.until_heard("bad", &[1, 2]).await;
    world.idle().await;
    assert_eq!(world.heard("bad").await, [1, 2]);
}

async fn a_drain_ends_early_when_the_work_is_done(world: &mut World) {
    world.script.fault(1, Fault::Block);
    world.say("bad", 1).await;
    until_blocked(world);
    let service = world.service.clone();
    let ending = tokio::spawn(async move { service.shutdown().await });
    let closing = async || {
        let refused = world.try_say("bad", 2, "").await;
        refused.is_err_and(|error| error.kind() == ErrorKind::Cancelled)
    };
    world.until("callers are turned away", closing).await;
    world.script.release();
    ending.await.unwrap().unwrap();
    world.start_again().await;
    assert_eq!(world.heard("bad").await, [1], "what ran has finished");
}

async fn a_dead_letter_is_heard_once_its_handler_is_fixed(world: &mut World) {
    world.script.fault(1, Fault::Panic);
    world.say("bad", 1).await;
    let id = world.one_dead_letter().await.identity;
    world.script.clear();
    assert!(world.store("listener").replay_dead_letter(id).await.unwrap());
    world.until_heard("bad", &[1]).await;
    world.idle().await;
    assert!(world.dead_letters().await.is_empty());
}

async fn a_parked_message_waits_for_a_build_that_reads_it(world: &mut World) {
    world.service.shutdown().await.unwrap();
    world.start_again_patient().await;
    world.script.fault(1, Fault::Unread);
    world.say("bad", 1).await;
    world.say("bad", 2).await;
    // Far more attempts than the listener's own policy has.
    let often = async || world.script.entered() > 6;
    world.until("the build that cannot read it has tried often", often).await;
    assert!(world.dead_letters().await.is_empty());
    world.service.shutdown().await.unwrap();
    world.script.fault(1, Fault::Hang);
    let entered = world.script.entered();
    world.start_again().await;
    // This run fails, and the handler has retries left.
    let failing = async || world.script.entered() > entered;
    world.until("the handler has begun", failing).await;
    world.script.clear();
    world.until_heard("bad", &[1, 2]).await;
    world.idle().await;
    assert!(world.dead_letters().await.is_empty());
}

async fn a_parked_message_outlives_its_handler(world: &mut World) {
    world.script.fault(1, Fault::Hang);
    world.say("bad", 1).await;
    world.say("bad", 2).await;
    let parked = async || world.store("listener").parked_count().await.unwrap() == 2;
    world.until("the message and its successor are parked", parked).await;
    world.service.shutdown().await.unwrap();
    world.start_again_deaf().await;
    let there = async || !world.dead_letters().await.is_empty();
    world.until("the parked message is a dead letter", there).await;
    let letter = world.dead_letters().await.remove(0);
    assert_eq!(letter.reason, DeadLetterReason::Unreadable);
    assert_holds(&letter.failure.message, &["`speaker.said`", "`listener`", ".on("]);
    world.idle().await;
    world.service.shutdown().await.unwrap();

    world.script.clear();
    world.start_again().await;
    for letter in world.dead_letters().await {
        let id = letter.identity;
        assert!(world.store("listener").replay_dead_letter(id).await.unwrap());
    }
    let lost_nothing = async || {
        let mut heard = world.heard("bad").await;
        heard.sort_unstable();
        heard == [1, 2]
    };
    world.until("both are heard", lost_nothing).await;
    world.idle().await;
}
