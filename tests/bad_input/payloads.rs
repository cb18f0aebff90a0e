//! Messages that arrive and cannot be read: each is kept as a dead letter, byte for byte.

use mamey::message::{Metadata, Target};
use mamey::store::DeadLetterReason;
use mamey::transport::{Routed, Topology, Transport};

use crate::rows;
use crate::words::assert_holds;
use crate::world::World;

rows! {
    an_unknown_name_for_anybody_is_no_failure
    an_unknown_name_for_a_context_is_refused_by_name
    a_name_that_nobody_handles_is_kept_when_it_is_delivered
    a_newer_version_is_kept_and_says_to_deploy_consumers_first
    an_older_version_that_nothing_upcasts_is_kept_and_says_how_to_upcast_it
    a_truncated_body_is_kept
    an_empty_body_is_kept
    an_event_without_its_data_is_kept_and_says_what_to_send
    a_body_that_is_no_json_is_kept
    a_body_of_another_shape_names_the_missing_field
    a_body_with_a_wrong_type_is_kept
    a_body_with_the_same_field_twice_is_kept
    a_body_of_a_hundred_thousand_brackets_is_kept
    a_body_that_is_not_utf8_is_kept
    a_body_of_another_media_type_is_kept
    nul_in_text_is_text_like_any_other
    a_key_from_outside_with_separators_and_nul_is_a_lane_like_any_other
    a_key_of_ten_kilobytes_from_outside_is_refused_by_size
}

fn good(number: i64) -> Vec<u8> {
    format!(r#"{{"topic":"elsewhere","number":{number},"text":""}}"#).into_bytes()
}

/// Delivers a message that nobody can read, followed by a good one of the same key.
async fn kept(world: &World, metadata: Metadata, payload: Vec<u8>, words: &[&str]) {
    let delivered = world.deliver(metadata.clone(), payload.clone()).await;
    assert_eq!(delivered.unwrap(), Routed::Delivered);
    let letter = world.one_dead_letter().await;
    assert_eq!(letter.envelope.payload, payload, "the bytes are intact");
    assert_eq!(letter.envelope.metadata, metadata);
    assert_eq!(letter.attempts, 3, "it waited for a build that can, as long as the policy says");
    assert_eq!(letter.reason, DeadLetterReason::Unreadable);
    assert_eq!(letter.failure.kind, "unreadable");
    assert_holds(&letter.failure.message, words);
    let next = world.deliver(world.foreign("next"), good(7)).await;
    assert_eq!(next.unwrap(), Routed::Delivered);
    assert_eq!(world.heard("elsewhere").await, [7], "its lane goes on");
}

async fn unreadable(world: &World, payload: Vec<u8>, words: &[&str]) {
    let says = ["`speaker.said`", "version 3", "`listener`"];
    kept(world, world.foreign("bad"), payload, &[&says, words].concat()).await;
}

async fn an_unknown_name_for_anybody_is_no_failure(world: &mut World) {
    let mut metadata = world.foreign("1");
    metadata.name = "elsewhere.unheard-of".into();
    let routed = world.deliver(metadata, good(1)).await;
    assert_eq!(routed.unwrap(), Routed::NoSubscriber);
}

async fn an_unknown_name_for_a_context_is_refused_by_name(world: &mut World) {
    let mut metadata = world.foreign("1");
    metadata.name = "elsewhere.unheard-of".into();
    metadata.target = Target::Service("listener".to_owned().try_into().unwrap());
    let error = world.deliver(metadata, good(1)).await.unwrap_err();
    let words = ["`elsewhere.unheard-of`", "`listener`", "register a handler"];
    crate::words::assert_says(&error, mamey::ErrorKind::Unroutable, &words);
}

async fn a_name_that_nobody_handles_is_kept_when_it_is_delivered(world: &mut World) {
    // What a queue that is older than the code would still bring.
    let topology =
        Topology::new("listener".to_owned().try_into().unwrap(), world.settings.partitions)
            .with_handles(vec!["speaker.said", "speaker.letter"])
            .with_publishes(vec!["speaker.said"]);
    world.transport.apply(&topology).await.unwrap();
    let mut metadata = world.foreign("bad");
    metadata.name = "speaker.letter".into();
    let words = ["`speaker.letter`", "`listener`", ".on("];
    kept(world, metadata, good(1), &words).await;
}

async fn a_newer_version_is_kept_and_says_to_deploy_consumers_first(world: &mut World) {
    let mut metadata = world.foreign("bad");
    metadata.version = 4;
    let words = ["version 4 of `speaker.said`", "deploy the consumers"];
    kept(world, metadata, good(1), &words).await;
}

async fn an_older_version_that_nothing_upcasts_is_kept_and_says_how_to_upcast_it(
    world: &mut World,
) {
    let mut metadata = world.foreign("bad");
    metadata.version = 1;
    let words = ["version 1 of `speaker.said`", "declare `from = "];
    kept(world, metadata, good(1), &words).await;
}

async fn a_truncated_body_is_kept(world: &mut World) {
    let mut payload = good(1);
    payload.truncate(20);
    unreadable(world, payload, &["EOF"]).await;
}

async fn an_empty_body_is_kept(world: &mut World) {
    unreadable(world, Vec::new(), &["EOF"]).await;
}

async fn an_event_without_its_data_is_kept_and_says_what_to_send(world: &mut World) {
    unreadable(world, b"null".to_vec(), &["without data", "send the fields as `data`"]).await;
}

async fn a_body_that_is_no_json_is_kept(world: &mut World) {
    unreadable(world, b"<said>hello</said>".to_vec(), &["line 1 column 1"]).await;
}

async fn a_body_of_another_shape_names_the_missing_field(world: &mut World) {
    let payload = br#"{"topic":"elsewhere","text":""}"#.to_vec();
    unreadable(world, payload, &["missing field `number`"]).await;
}

async fn a_body_with_a_wrong_type_is_kept(world: &mut World) {
    let payload = br#"{"topic":"elsewhere","number":"one","text":""}"#.to_vec();
    unreadable(world, payload, &["invalid type", "\"one\""]).await;
}

async fn a_body_with_the_same_field_twice_is_kept(world: &mut World) {
    let payload = br#"{"topic":"elsewhere","number":1,"number":2,"text":""}"#.to_vec();
    unreadable(world, payload, &["duplicate field `number`"]).await;
}

async fn a_body_of_a_hundred_thousand_brackets_is_kept(world: &mut World) {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let payload = format!(r#"{{"topic":"elsewhere","number":1,"text":{open}{close}}}"#);
    unreadable(world, payload.into_bytes(), &["invalid type"]).await;
}

async fn a_body_that_is_not_utf8_is_kept(world: &mut World) {
    let mut payload = br#"{"topic":"elsewhere","number":1,"text":""#.to_vec();
    payload.extend([0xff, 0xfe, b'"', b'}']);
    unreadable(world, payload, &["invalid unicode"]).await;
}

async fn a_body_of_another_media_type_is_kept(world: &mut World) {
    let mut metadata = world.foreign("bad");
    metadata.content_type = "application/xml".into();
    let words = ["`application/xml`", "only `application/json` is read"];
    kept(world, metadata, good(1), &words).await;
}

async fn nul_in_text_is_text_like_any_other(world: &mut World) {
    let payload = br#"{"topic":"a\u0000b","number":5,"text":"\u0000"}"#.to_vec();
    world.deliver(world.foreign("1"), payload).await.unwrap();
    assert_eq!(world.heard("a\0b").await, [5]);
    assert!(world.heard("a").await.is_empty());
}

async fn a_key_from_outside_with_separators_and_nul_is_a_lane_like_any_other(world: &mut World) {
    for (at, key) in ["", "\0", "a\u{1f}b", "a/b", "%_'\"\\"].iter().enumerate() {
        let mut metadata = world.foreign(&format!("bad {at}"));
        metadata.key = Some((*key).into());
        // Parked and retried, so that the lane is written to the store and read back.
        let number = i64::try_from(at).unwrap();
        world.script.fault(number, crate::domain::Fault::Fail);
        world.deliver(metadata, good(number)).await.unwrap();
    }
    world.script.clear();
    let all_heard = async || {
        // Those whose retries were over before the script was cleared.
        for letter in world.dead_letters().await {
            let id = letter.identity;
            world.store("listener").replay_dead_letter(id).await.unwrap();
        }
        let mut heard = world.heard("elsewhere").await;
        heard.sort_unstable();
        heard == [0, 1, 2, 3, 4]
    };
    world.until("each lane is heard", all_heard).await;
}

async fn a_key_of_ten_kilobytes_from_outside_is_refused_by_size(world: &mut World) {
    let mut metadata = world.foreign("1");
    metadata.key = Some("k".repeat(10_000).into());
    let error = world.deliver(metadata, good(1)).await.unwrap_err();
    let words = ["`speaker.said`", "key", "10000 bytes", "255", "shorter key"];
    crate::words::assert_says(&error, mamey::ErrorKind::LimitExceeded, &words);
}
