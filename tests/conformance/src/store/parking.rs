//! Parking and dead letters: lanes stay in order, and each message ends once.

use std::time::Duration;

use futures_util::future::join_all;
use mamey_core::message::{Envelope, MessageIdentity, Partition};
use mamey_core::store::{
    CommitOutcome, DeadLetter, DeadLetterReason, Expected, Origin, Outcome, ParkedMessage, Receipt,
    Store, UnitOfWork,
};

use super::fixture::{
    AT_ONCE, commit, failure, give_up, load_note, message, park, park_first, put_note, receiving,
};
use super::harness::StoreHarness;

fn everything() -> Vec<Partition> {
    Partition::all(4).unwrap()
}

fn number(envelope: &Envelope) -> u128 {
    envelope.metadata.id.as_uuid().as_u128()
}

/// The number of the message from `sales` with this identity.
fn number_of(identity: MessageIdentity) -> u128 {
    (1..100).find(|number| message(*number, None).metadata.identity() == identity).unwrap()
}

async fn due(store: &dyn Store) -> Vec<u128> {
    let parked = store.due_parked(&everything(), 100).await.unwrap();
    parked.iter().map(|parked| number_of(parked.identity)).collect()
}

async fn dead(store: &dyn Store) -> Vec<u128> {
    let letters = store.dead_letters(None, 100).await.unwrap();
    letters.iter().map(|letter| number_of(letter.identity)).collect()
}

async fn deliver(store: &dyn Store, envelope: &Envelope, outcome: Outcome) {
    commit(store, receiving(envelope, Origin::Delivery, outcome)).await;
}

async fn retry(store: &dyn Store, envelope: &Envelope, outcome: Outcome) {
    commit(store, receiving(envelope, Origin::Parked, outcome)).await;
}

/// While a message of a lane is parked, the lane's others cannot take effect or be given up; they
/// park behind it and come out in order. Other lanes and messages without a key go on.
pub async fn a_parked_lane_holds_its_successors(harness: StoreHarness) {
    let store = harness.store().await;
    let lane: Vec<_> = (1..=3).map(|number| message(number, Some("k"))).collect();
    deliver(&*store, &lane[0], park(AT_ONCE, 1)).await;
    for outcome in [Outcome::Handled, give_up()] {
        let mut unit = receiving(&lane[1], Origin::Delivery, outcome);
        unit.writes = vec![put_note("early", Expected::Absent, "x")];
        let outcome = store.commit(unit).await.unwrap();
        assert_eq!(outcome, CommitOutcome::LaneParked);
        assert!(!store.was_received(lane[1].metadata.identity()).await.unwrap());
    }
    assert_eq!(load_note(&*store, "early").await, None);
    deliver(&*store, &lane[1], park(AT_ONCE, 0)).await;
    deliver(&*store, &lane[2], park(AT_ONCE, 0)).await;
    deliver(&*store, &message(4, Some("other")), Outcome::Handled).await;
    deliver(&*store, &message(5, None), Outcome::Handled).await;
    let mut foreign = message(6, Some("k"));
    foreign.metadata.sender = "till".into();
    deliver(&*store, &foreign, Outcome::Handled).await;
    assert_eq!(store.parked_count().await.unwrap(), 3);
    for envelope in &lane {
        assert_eq!(due(&*store).await, [number(envelope)]);
        retry(&*store, envelope, Outcome::Handled).await;
    }
    assert_eq!(store.parked_count().await.unwrap(), 0);
    deliver(&*store, &message(7, Some("k")), Outcome::Handled).await;
}

/// A message whose handler runs can be parked if its lane is free. Its effect then commits from there,
/// and its lane waits for it.
pub async fn a_message_that_runs_is_parked_first_of_its_lane_or_not_at_all(harness: StoreHarness) {
    let store = harness.store().await;
    let lane: Vec<_> = (1..=2).map(|number| message(number, Some("k"))).collect();
    let later = Duration::from_secs(30);
    deliver(&*store, &lane[0], park_first(later, 1)).await;
    for outcome in [park_first(later, 1), Outcome::Handled] {
        let early = receiving(&lane[1], Origin::Delivery, outcome);
        assert_eq!(store.commit(early).await.unwrap(), CommitOutcome::LaneParked);
        assert!(!store.was_received(lane[1].metadata.identity()).await.unwrap());
    }
    for outcome in [park_first(later, 1), Outcome::Handled] {
        let again = receiving(&lane[0], Origin::Delivery, outcome);
        assert_eq!(store.commit(again).await.unwrap(), CommitOutcome::Duplicate);
    }
    deliver(&*store, &lane[1], park(AT_ONCE, 0)).await;
    let mut foreign = message(3, Some("k"));
    foreign.metadata.sender = "till".into();
    for free in [&foreign, &message(4, None), &message(5, None)] {
        deliver(&*store, free, park_first(later, 1)).await;
    }
    assert!(due(&*store).await.is_empty(), "the lane waits for its first message");
    let mut effect = receiving(&lane[0], Origin::Parked, Outcome::Handled);
    effect.writes = vec![put_note("effect", Expected::Absent, "x")];
    commit(&*store, effect).await;
    assert!(load_note(&*store, "effect").await.is_some());
    assert_eq!(due(&*store).await, [2]);
    harness.clock.advance(later);
    let parked = store.due_parked(&everything(), 10).await.unwrap();
    let numbers: Vec<_> = parked.iter().map(|parked| number(&parked.envelope)).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    assert_eq!((parked[1].attempts, &parked[1].failure), (1, &failure()));
}

/// Heads and messages without a key come when due, the longest due first, of the asked partitions
/// only; a retry that fails keeps the message's place and the time it was parked first.
pub async fn retries_are_scheduled(harness: StoreHarness) {
    let store = harness.store().await;
    let start = harness.now();
    let seconds = Duration::from_secs;
    let at = |after| start.plus(seconds(after));
    let (first, second) = (message(1, Some("a")), message(2, Some("a")));
    let (lone, third) = (message(3, None), message(4, Some("b")));
    deliver(&*store, &first, park(seconds(30), 1)).await;
    deliver(&*store, &second, park(seconds(1), 0)).await;
    deliver(&*store, &lone, park(seconds(20), 1)).await;
    deliver(&*store, &third, park(seconds(10), 1)).await;
    assert_eq!(store.next_due_in(&everything()).await.unwrap(), Some(seconds(10)));
    assert_eq!(store.next_due_in(&[]).await.unwrap(), None);
    harness.clock.set(at(9));
    assert!(due(&*store).await.is_empty(), "a successor is not due before its head");
    assert_eq!(store.next_due_in(&everything()).await.unwrap(), Some(seconds(1)));
    harness.clock.set(at(30));
    assert_eq!(due(&*store).await, [4, 3, 1]);
    assert_eq!(store.next_due_in(&everything()).await.unwrap(), Some(Duration::ZERO));
    let limited = store.due_parked(&everything(), 2).await.unwrap();
    assert_eq!(limited.len(), 2);
    for partition in everything() {
        let found = store.due_parked(&[partition], 10).await.unwrap();
        let ours = |parked: &ParkedMessage| partition.contains(parked.envelope.metadata.slot());
        assert!(found.iter().all(ours));
    }
    retry(&*store, &first, park(seconds(30), 2)).await;
    harness.clock.set(at(59));
    assert_eq!(due(&*store).await, [4, 3]);
    harness.clock.set(at(60));
    let parked = store.due_parked(&everything(), 10).await.unwrap();
    let expected =
        ParkedMessage::new(first, failure()).with_attempts(2).with_since(start).with_due(at(60));
    assert_eq!(parked.last(), Some(&expected));
    let forever = park(Duration::MAX, 3);
    retry(&*store, &lone, forever).await;
    harness.clock.advance(seconds(1 << 40));
    assert_eq!(due(&*store).await, [4, 1], "a delay beyond all times is clamped");
}

/// A parked message is taken out once, whatever becomes of it, and nothing of the late unit is kept.
pub async fn parked_messages_are_taken_once(harness: StoreHarness) {
    let store = harness.store().await;
    let envelope = message(1, Some("k"));
    deliver(&*store, &envelope, park(AT_ONCE, 1)).await;
    let again = receiving(&envelope, Origin::Delivery, park(AT_ONCE, 1));
    assert_eq!(store.commit(again).await.unwrap(), CommitOutcome::Duplicate);
    let take = |copy: u32| {
        let mut unit = receiving(&envelope, Origin::Parked, Outcome::Handled);
        unit.writes = vec![put_note(&copy.to_string(), Expected::Absent, "effect")];
        store.commit(unit)
    };
    let outcomes = join_all((0..4).map(take)).await;
    let duplicates =
        outcomes.iter().filter(|outcome| matches!(outcome, Ok(CommitOutcome::Duplicate)));
    assert_eq!(duplicates.count(), 3);
    let all = mamey_core::criteria::Filter::TRUE;
    assert_eq!(store.count(&super::fixture::NOTES, &all).await.unwrap(), 1);
    for outcome in [Outcome::Handled, park(AT_ONCE, 2), give_up()] {
        let late = receiving(&envelope, Origin::Parked, outcome);
        assert_eq!(store.commit(late).await.unwrap(), CommitOutcome::Duplicate);
    }
    assert_eq!(store.parked_count().await.unwrap(), 0);
    assert_eq!(store.dead_letter_count().await.unwrap(), 0);
    assert!(store.was_received(envelope.metadata.identity()).await.unwrap());
}

/// Dead letters keep everything about their end and are listed in its order, page by page.
pub async fn dead_letters_are_listed_in_order(harness: StoreHarness) {
    let store = harness.store().await;
    let start = harness.now();
    let parked = message(9, Some("a"));
    deliver(&*store, &parked, park(AT_ONCE, 1)).await;
    deliver(&*store, &message(5, None), give_up()).await;
    harness.clock.advance(Duration::from_secs(5));
    retry(&*store, &parked, give_up()).await;
    deliver(&*store, &message(2, None), give_up()).await;
    assert_eq!(dead(&*store).await, [5, 9, 2]);
    let letter = store.dead_letter(parked.metadata.identity()).await.unwrap();
    let expected = DeadLetter::new(parked.clone(), DeadLetterReason::Exhausted, failure())
        .with_attempts(3)
        .with_first_failed(start)
        .with_last_failed(harness.now());
    assert_eq!(letter, Some(expected));
    let first = store.dead_letters(None, 1).await.unwrap();
    let last = first[0].identity;
    let rest = store.dead_letters(Some(last), 10).await.unwrap();
    assert_eq!(rest.iter().map(|letter| number(&letter.envelope)).collect::<Vec<_>>(), [9, 2]);
    assert_eq!(store.parked_count().await.unwrap(), 0);
    let again = receiving(&parked, Origin::Delivery, Outcome::Handled);
    assert_eq!(store.commit(again).await.unwrap(), CommitOutcome::Duplicate);
    assert!(store.discard_dead_letter(last).await.unwrap());
    assert!(!store.discard_dead_letter(last).await.unwrap());
    assert_eq!(store.dead_letter(last).await.unwrap(), None);
    let anew = store.dead_letters(Some(last), 10).await.unwrap();
    assert_eq!(anew.len(), 2, "a cursor that is gone starts from the first");
    assert_eq!(store.dead_letter_count().await.unwrap(), 2);
}

/// Of two concurrent replays one succeeds, and the message goes before what its lane has parked in
/// the meantime, in the lane's own order.
pub async fn a_dead_letter_is_replayed_once_ahead_of_its_lane(harness: StoreHarness) {
    let store = harness.store().await;
    let lane: Vec<_> = (1..=3).map(|number| message(number, Some("k"))).collect();
    deliver(&*store, &lane[0], park(AT_ONCE, 1)).await;
    retry(&*store, &lane[0], give_up()).await;
    deliver(&*store, &lane[1], give_up()).await;
    deliver(&*store, &lane[2], park(AT_ONCE, 1)).await;
    harness.clock.advance(Duration::from_secs(5));
    let now = harness.now();
    let replay = |envelope: &Envelope| store.replay_dead_letter(envelope.metadata.identity());
    let race = join_all([replay(&lane[1]), replay(&lane[1])]).await;
    let won = race.into_iter().filter(|won| matches!(won, Ok(true)));
    assert_eq!(won.count(), 1);
    assert_eq!(due(&*store).await, [2]);
    assert!(replay(&lane[0]).await.unwrap());
    assert!(!store.discard_dead_letter(lane[0].metadata.identity()).await.unwrap());
    assert_eq!(store.dead_letter_count().await.unwrap(), 0);
    let parked = store.due_parked(&everything(), 10).await.unwrap();
    assert_eq!((parked[0].attempts, parked[0].due), (0, now));
    for envelope in &lane {
        assert_eq!(due(&*store).await, [number(envelope)]);
        retry(&*store, envelope, Outcome::Handled).await;
    }
    assert!(!replay(&lane[0]).await.unwrap());
}

/// A parked message that this build cannot read is returned as such, and can be made due later; the
/// others are read.
pub async fn an_unreadable_parked_message_costs_its_lane_alone(harness: StoreHarness) {
    let store = harness.store().await;
    for (number, key) in (1..).zip(["a", "damaged", "b"]) {
        deliver(&*store, &message(number, Some(key)), park(AT_ONCE, 2)).await;
    }
    deliver(&*store, &message(4, Some("damaged")), park(AT_ONCE, 0)).await;
    let set = r#"metadata = '{"target":{"planet":"moon"}}', failure = 'moon'"#;
    if !harness.damage("parked", set, "lane").await {
        return;
    }
    let parked = store.due_parked(&everything(), 10).await.unwrap();
    let (unreadable, readable): (Vec<_>, Vec<_>) =
        parked.into_iter().partition(|parked| parked.unreadable.is_some());
    assert_eq!(readable.iter().map(|it| number(&it.envelope)).collect::<Vec<_>>(), [1, 3]);
    let [found] = &*unreadable else { panic!("{unreadable:?}") };
    assert_eq!((number_of(found.identity), found.attempts), (2, 2));
    assert_eq!(found.envelope.payload, message(2, None).payload);
    assert_eq!(found.failure.message, "moon");
    let later = Duration::from_secs(60);
    let (identity, envelope) = (found.identity, found.envelope.clone());
    let again = Receipt::of(identity, envelope, Origin::Parked, park(later, found.attempts));
    commit(&*store, UnitOfWork::default().with_receipt(again)).await;
    assert_eq!(due(&*store).await, [1, 3], "its lane waits");
    harness.clock.advance(later);
    assert_eq!(due(&*store).await, [1, 3, 2]);
    deliver(&*store, &message(5, Some("damaged")), park(AT_ONCE, 0)).await;
    assert_eq!(due(&*store).await, [1, 3, 2], "its lane is still parked");
}

/// A dead letter that this build cannot read is listed with what is known of it, and can be replayed
/// and discarded.
pub async fn an_unreadable_dead_letter_is_listed(harness: StoreHarness) {
    let store = harness.store().await;
    for (number, key) in (1..).zip(["a", "damaged", "b", "damaged"]) {
        deliver(&*store, &message(number, Some(key)), give_up()).await;
    }
    let set = r#"metadata = '{"target":{"planet":"moon"}}', reason = 'moonstruck', failure = '?'"#;
    if !harness.damage("dead_letters", set, "lane").await {
        return;
    }
    assert_eq!(dead(&*store).await, [1, 2, 3, 4]);
    let id = message(2, None).metadata.identity();
    let letter = store.dead_letter(id).await.unwrap().unwrap();
    assert_eq!(letter.identity, id);
    assert_eq!(letter.envelope.payload, message(2, None).payload);
    assert_eq!((letter.reason, letter.attempts), (DeadLetterReason::Unknown, 3));
    assert!(letter.failure.message.contains("`moonstruck`"), "{:?}", letter.failure);
    assert!(letter.unreadable.is_some_and(|why| why.contains("metadata")));
    assert!(store.replay_dead_letter(id).await.unwrap());
    assert_eq!(due(&*store).await, [2]);
    assert!(store.discard_dead_letter(message(4, None).metadata.identity()).await.unwrap());
    assert_eq!(dead(&*store).await, [1, 3]);
}
