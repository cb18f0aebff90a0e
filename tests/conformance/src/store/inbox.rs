//! The inbox and remembered replies: effect once.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use mamey_core::store::{
    CommitOutcome, Expected, FINGERPRINT_BYTES, Fingerprint, KnownReply, Origin, Outcome,
    SavedReply,
};

use super::fixture::{commit, give_up, load_note, message, park, put_note, receiving, writes};
use super::harness::StoreHarness;

fn committed(outcomes: &[mamey_core::Result<CommitOutcome>]) -> usize {
    let committed = |outcome: &&mamey_core::Result<CommitOutcome>| {
        matches!(outcome, Ok(CommitOutcome::Committed(_)))
    };
    let duplicate = |outcome: &mamey_core::Result<CommitOutcome>| {
        matches!(outcome, Ok(CommitOutcome::Duplicate))
    };
    let won = outcomes.iter().filter(committed).count();
    let lost = outcomes.iter().filter(|outcome| duplicate(outcome)).count();
    assert_eq!(won + lost, outcomes.len(), "{outcomes:?}");
    won
}

/// Of many deliveries of one message at once, one takes effect and the others are duplicates that
/// leave nothing; each context has an inbox of its own.
pub async fn a_message_takes_effect_once(harness: StoreHarness) {
    let store = harness.store().await;
    for number in 1..=5 {
        let envelope = message(number, Some("k"));
        let deliver = |copy: u32| {
            let mut unit = receiving(&envelope, Origin::Delivery, Outcome::Handled);
            let note = format!("{number}-{copy}");
            unit.writes = vec![put_note(&note, Expected::Absent, "effect")];
            store.commit(unit)
        };
        assert_eq!(committed(&join_all((0..6).map(deliver)).await), 1);
        assert!(store.was_received(envelope.metadata.identity()).await.unwrap());
    }
    let all = mamey_core::criteria::Filter::TRUE;
    let effects = store.count(&super::fixture::NOTES, &all).await.unwrap();
    assert_eq!(effects, 5);
    assert_eq!(store.received_count().await.unwrap(), 5);
    let other = harness.context("payments").await;
    assert!(!other.was_received(message(1, None).metadata.identity()).await.unwrap());
    let there = receiving(&message(1, Some("k")), Origin::Delivery, Outcome::Handled);
    commit(&*other, there).await;
}

fn fingerprint(byte: u8) -> Fingerprint {
    Fingerprint::from_bytes(&[byte; FINGERPRINT_BYTES]).unwrap()
}

/// Of many commands under one key at once, one takes effect, and its reply is remembered with its
/// fingerprint. Keys of different commands do not clash.
pub async fn an_idempotency_key_takes_effect_once(harness: StoreHarness) {
    let store = harness.store().await;
    let unit = |command, note: &str, fingerprint| {
        let (key, body) = ("key-1".to_owned(), Bytes::from(note.to_owned()));
        writes([put_note(note, Expected::Absent, "effect")]).with_reply(SavedReply::new(
            command,
            key,
            fingerprint,
            body,
        ))
    };
    let fingerprints = [0, 1, 0x7f, 0x80, b'\\', 0xff].map(fingerprint);
    let names: Vec<_> = (0..fingerprints.len()).map(|copy| format!("copy-{copy}")).collect();
    let commits = names.iter().zip(fingerprints);
    let commits =
        commits.map(|(name, fingerprint)| store.commit(unit("orders.place", name, fingerprint)));
    let outcomes = join_all(commits).await;
    assert_eq!(committed(&outcomes), 1);
    let won =
        outcomes.iter().position(|outcome| matches!(outcome, Ok(CommitOutcome::Committed(_))));
    let (won, fingerprint) = (&names[won.unwrap()], fingerprints[won.unwrap()]);
    let reply = store.saved_reply("orders.place", "key-1").await.unwrap();
    assert_eq!(reply, Some(KnownReply::new(fingerprint, won.clone().into())));
    for name in &names {
        let stored = load_note(&*store, name).await.is_some();
        assert_eq!(stored, name == won, "{name}");
    }
    for other in fingerprints {
        let cancelled = format!("cancelled {other:?}");
        let unit = unit("orders.cancel", &cancelled, other);
        let outcome = store.commit(unit).await.unwrap();
        let first = other == fingerprints[0];
        assert_eq!(matches!(outcome, CommitOutcome::Committed(_)), first, "{other:?}");
        let known = store.saved_reply("orders.cancel", "key-1").await.unwrap();
        assert_eq!(known.map(|known| known.fingerprint), Some(fingerprints[0]));
    }
    assert_eq!(store.saved_reply("orders.place", "key-2").await.unwrap(), None);
}

/// Marks and replies are forgotten by age, but never the mark of a message that still waits here.
pub async fn old_marks_are_forgotten(harness: StoreHarness) {
    let store = harness.store().await;
    let soon = Duration::from_secs(1);
    let (handled, parked, dead) = (message(1, None), message(2, Some("k")), message(3, None));
    let mut unit = receiving(&handled, Origin::Delivery, Outcome::Handled);
    let body = Bytes::from_static(b"1");
    unit.reply = Some(SavedReply::new("orders.place", "k".to_owned(), fingerprint(1), body));
    commit(&*store, unit).await;
    commit(&*store, receiving(&parked, Origin::Delivery, park(soon, 1))).await;
    commit(&*store, receiving(&dead, Origin::Delivery, give_up())).await;
    let window = Duration::from_secs(60);
    harness.clock.advance(window);
    assert_eq!(store.expire_inbox(window).await.unwrap(), 0, "not more than the window");
    harness.clock.advance(Duration::from_micros(1));
    let fresh = message(4, None);
    let unit = receiving(&fresh, Origin::Delivery, Outcome::Handled);
    commit(&*store, unit).await;
    assert_eq!(store.expire_inbox(window).await.unwrap(), 2);
    let known = async |envelope: &mamey_core::message::Envelope| {
        store.was_received(envelope.metadata.identity()).await.unwrap()
    };
    assert!(!known(&handled).await);
    assert!(known(&parked).await && known(&dead).await && known(&fresh).await);
    assert_eq!(store.saved_reply("orders.place", "k").await.unwrap(), None);
    assert_eq!(store.received_count().await.unwrap(), 3);
}
