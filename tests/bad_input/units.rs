//! Handlers that do what they must not: nothing of it is kept, and the error names the fix.

use mamey::message::Headers;
use mamey::store::{DeadLetterReason, MESSAGES_PER_UNIT_MAX, WRITES_PER_UNIT_MAX};
use mamey::{Context, ErrorKind, Result, Retry};

use crate::domain::{Fault, Letter, Misdo, Note, Notes, Said, Stranger, Undeclared};
use crate::rows;
use crate::words::{assert_holds, assert_says};
use crate::world::World;

rows! {
    an_event_that_was_not_declared_is_not_published
    an_aggregate_that_was_not_declared_is_not_kept
    one_write_too_many_stops_the_whole_unit
    one_message_too_many_stops_the_whole_unit
    a_payload_over_the_limit_is_not_published
    a_key_of_ten_kilobytes_is_not_published
    a_document_over_the_limit_is_not_kept
    a_malformed_target_is_refused_before_it_is_sent
    a_malformed_header_is_refused_by_name
    a_reserved_header_is_refused_by_name
    a_header_that_is_too_long_is_refused_by_name
}

const TOO_LARGE: usize = 16 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub enum Misdeed {
    PublishUndeclared,
    KeepUndeclared,
    WriteTooMuch,
    SendTooMuch,
    PayloadTooLarge,
    KeyTooLong,
    DocumentTooLarge,
    MalformedTarget,
    MalformedHeader,
    ReservedHeader,
    LongHeader,
}

impl Misdeed {
    pub fn commit(self, cx: &Context) -> Result<()> {
        match self {
            Self::PublishUndeclared => cx.publish(&Undeclared { topic: "a".into() }),
            Self::KeepUndeclared => cx.repository::<Stranger>().add(&Stranger { id: "a".into() }),
            Self::WriteTooMuch => (0..=WRITES_PER_UNIT_MAX).try_for_each(|n| keep(cx, n, "")),
            Self::SendTooMuch => (0..=MESSAGES_PER_UNIT_MAX).try_for_each(|_| said(cx, "a", "")),
            Self::PayloadTooLarge => said(cx, "a", &"x".repeat(TOO_LARGE)),
            Self::KeyTooLong => said(cx, &"k".repeat(10_000), ""),
            Self::DocumentTooLarge => keep(cx, 1, &"x".repeat(TOO_LARGE)),
            Self::MalformedTarget => cx.send("No Body", &Letter {}),
            Self::MalformedHeader => with_header(cx, "X-Region", "eu"),
            Self::ReservedHeader => with_header(cx, "traceparent", "eu"),
            Self::LongHeader => with_header(cx, "region", &"x".repeat(5000)),
        }
    }
}

fn said(cx: &Context, topic: &str, text: &str) -> Result<()> {
    cx.publish(&Said { topic: topic.to_owned(), number: 0, text: text.to_owned() })
}

fn keep(cx: &Context, number: usize, body: &str) -> Result<()> {
    let (id, text, body) = (format!("note {number}"), String::new(), body.to_owned());
    cx.repository::<Note>().add(&Note { id, text, body })
}

fn with_header(cx: &Context, name: &str, value: &str) -> Result<()> {
    let mut headers = Headers::default();
    headers.insert(name, value)?;
    let event = Said { topic: "a".into(), number: 0, text: String::new() };
    cx.publish_with_headers(&event, headers)
}

/// The fault in a command is the caller's error; in a message's handler, a dead letter.
async fn refused(world: &World, misdeed: Misdeed, kind: ErrorKind, words: &[&str]) {
    let error = world.service.send(Misdo(misdeed)).await.unwrap_err();
    assert_says(&error, kind, words);
    assert_holds(&error.to_string(), &["`misdo`", "`speaker`"]);
    assert_eq!(error.retry(), Retry::Never, "the outcome would be the same");
    let notes = Notes { by_text: false, token: None };
    assert!(world.service.query(notes).await.unwrap().0.is_empty());

    world.script.fault(1, Fault::Misdo(misdeed));
    world.say("bad", 1).await;
    world.say("bad", 2).await;
    let letter = world.one_dead_letter().await;
    let given_up = match kind {
        // A build with the declaration handles it.
        ErrorKind::Misconfigured => (DeadLetterReason::Exhausted, 4),
        _ => (DeadLetterReason::Refused, 1),
    };
    assert_eq!((letter.reason, letter.attempts), given_up);
    assert_eq!(letter.failure.kind, kind.as_str());
    assert_holds(&letter.failure.message, &["`speaker.said`", "`listener`"]);
    assert_holds(&letter.failure.message, words);
    assert_eq!(world.heard("bad").await, [2], "nothing of it was kept");
    let totals = world.service.totals().await.unwrap();
    assert_eq!((totals.waiting, totals.published), (0, 2));
}

async fn an_event_that_was_not_declared_is_not_published(world: &mut World) {
    let words = ["`speaker.undeclared`", "add `.publishes::<"];
    let kind = ErrorKind::Misconfigured;
    refused(world, Misdeed::PublishUndeclared, kind, &words).await;
}

async fn an_aggregate_that_was_not_declared_is_not_kept(world: &mut World) {
    let words = ["`strangers`", "add `.aggregate::<"];
    let kind = ErrorKind::Misconfigured;
    refused(world, Misdeed::KeepUndeclared, kind, &words).await;
}

async fn one_write_too_many_stops_the_whole_unit(world: &mut World) {
    let words = ["1000 writes", "split the work"];
    let kind = ErrorKind::LimitExceeded;
    refused(world, Misdeed::WriteTooMuch, kind, &words).await;
}

async fn one_message_too_many_stops_the_whole_unit(world: &mut World) {
    let words = ["1000 messages", "split the work"];
    let kind = ErrorKind::LimitExceeded;
    refused(world, Misdeed::SendTooMuch, kind, &words).await;
}

async fn a_payload_over_the_limit_is_not_published(world: &mut World) {
    let words = ["`speaker.said`", "payload", "15728640", "send a reference to the data"];
    let kind = ErrorKind::LimitExceeded;
    refused(world, Misdeed::PayloadTooLarge, kind, &words).await;
}

async fn a_key_of_ten_kilobytes_is_not_published(world: &mut World) {
    let words = ["`speaker.said`", "the key of", "10000 bytes", "255", "shorter key"];
    let kind = ErrorKind::LimitExceeded;
    refused(world, Misdeed::KeyTooLong, kind, &words).await;
}

async fn a_document_over_the_limit_is_not_kept(world: &mut World) {
    let words = ["notes/note 1", "16777216", "split the aggregate"];
    let kind = ErrorKind::LimitExceeded;
    refused(world, Misdeed::DocumentTooLarge, kind, &words).await;
}

async fn a_malformed_target_is_refused_before_it_is_sent(world: &mut World) {
    let words = ["`No Body`", "lowercase letters, digits and dashes"];
    refused(world, Misdeed::MalformedTarget, ErrorKind::Invalid, &words).await;
}

async fn a_malformed_header_is_refused_by_name(world: &mut World) {
    let words = ["`X-Region`", "lowercase letters and digits"];
    refused(world, Misdeed::MalformedHeader, ErrorKind::Invalid, &words).await;
}

async fn a_reserved_header_is_refused_by_name(world: &mut World) {
    let words = ["`traceparent`", "reserved", "another name"];
    refused(world, Misdeed::ReservedHeader, ErrorKind::Invalid, &words).await;
}

async fn a_header_that_is_too_long_is_refused_by_name(world: &mut World) {
    let words = ["`region`", "5000 bytes", "put it into the payload"];
    let kind = ErrorKind::LimitExceeded;
    refused(world, Misdeed::LongHeader, kind, &words).await;
}
