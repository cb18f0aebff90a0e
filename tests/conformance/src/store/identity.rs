//! Identity is sender and id: who else uses an id does not matter, wherever a message is known by it.

use futures_util::future::join_all;
use mamey_core::criteria::Filter;
use mamey_core::id::MessageId;
use mamey_core::message::attribute::FOREIGN_ID;
use mamey_core::message::{Envelope, Key, MessageIdentity, Partition};
use mamey_core::store::{CommitOutcome, Expected, Origin, Outcome, Store};
use uuid::Uuid;

use super::fixture::{AT_ONCE, NOTES, commit, give_up, message, park, put_note, receiving};
use super::harness::StoreHarness;

/// Ids with a time of now, of long ago and of far ahead, and ids without a time.
const IDS: [&str; 7] = [
    "0199a5d0-0c00-7abc-8abc-00000000000a",
    "00000000-0000-7000-8000-00000000000a",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "4ae71336-e44b-49bf-b9d2-752e234818a5",
    "c232ab00-9414-11ec-b3c8-9f6bdeced846",
    "00000000-0000-0000-0000-00000000000a",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];

const SENDERS: [&str; 5] = ["sales", "Sales", "https://sales", "https://sales/", "till"];

fn sent(sender: &str, id: &str, key: Option<&str>) -> Envelope {
    let mut envelope = message(1, key);
    envelope.metadata.id = MessageId::from_uuid(id.parse::<Uuid>().unwrap());
    envelope.metadata.sender = sender.into();
    envelope
}

/// A message of each sender with this id, and one whose sender wrote the id in another way.
fn namesakes(id: &str, key: Option<&str>) -> Vec<Envelope> {
    let mut all: Vec<_> = SENDERS.iter().map(|sender| sent(sender, id, key)).collect();
    let mut spelled = sent("till", id, key);
    let spelling = format!("{{{}}}", id.to_uppercase());
    spelled.metadata.headers.insert(FOREIGN_ID, spelling).unwrap();
    // Of one sender: one of the two must not wait for the other.
    spelled.metadata.key = key.map(|key| Key::from(format!("{key}-spelled")));
    all.push(spelled);
    all
}

fn identity(envelope: &Envelope) -> MessageIdentity {
    envelope.metadata.identity()
}

fn identities(envelopes: &[Envelope]) -> Vec<MessageIdentity> {
    let mut all: Vec<_> = envelopes.iter().map(identity).collect();
    all.sort();
    all
}

async fn outcome(store: &dyn Store, envelope: &Envelope, note: &str) -> bool {
    let mut unit = receiving(envelope, Origin::Delivery, Outcome::Handled);
    unit.writes = vec![put_note(note, Expected::Absent, "effect")];
    match store.commit(unit).await.unwrap() {
        CommitOutcome::Committed(_) => true,
        CommitOutcome::Duplicate => false,
        CommitOutcome::LaneParked => panic!("no lane is parked"),
    }
}

/// Messages of many senders with one id each take effect, once: one by one and all at once.
pub async fn one_id_of_many_senders_takes_effect_for_each(harness: StoreHarness) {
    let store = harness.store().await;
    for (at, id) in IDS.into_iter().enumerate() {
        let envelopes = namesakes(id, None);
        if at % 2 == 0 {
            for (number, envelope) in envelopes.iter().enumerate() {
                assert!(!store.was_received(identity(envelope)).await.unwrap(), "{id} {number}");
                assert!(outcome(&*store, envelope, &format!("{id} {number}")).await);
            }
        } else {
            let copies = (0..envelopes.len() * 3).map(async |copy| {
                outcome(&*store, &envelopes[copy / 3], &format!("{id} {copy}")).await
            });
            let effects = join_all(copies).await;
            for (number, copies) in effects.chunks(3).enumerate() {
                assert_eq!(copies.iter().filter(|it| **it).count(), 1, "{id} {number}");
            }
        }
        for envelope in &envelopes {
            assert!(store.was_received(identity(envelope)).await.unwrap(), "{id}");
            assert!(!outcome(&*store, envelope, "again").await, "{id}");
        }
    }
    let all = (IDS.len() * (SENDERS.len() + 1)) as u64;
    assert_eq!(store.count(&NOTES, &Filter::TRUE).await.unwrap(), all);
    assert_eq!(store.received_count().await.unwrap(), all);
}

/// Messages of many senders with one id are parked and given up side by side, and each is retried,
/// listed, replayed and discarded alone.
pub async fn one_id_of_many_senders_waits_side_by_side(harness: StoreHarness) {
    let store = harness.store().await;
    for (id, key) in IDS.into_iter().zip([Some("k"), None].into_iter().cycle()) {
        let mut envelopes = namesakes(id, key);
        for envelope in &envelopes {
            commit(&*store, receiving(envelope, Origin::Delivery, park(AT_ONCE, 1))).await;
        }
        assert_eq!(parked(&*store).await, identities(&envelopes), "{id}");
        let handled = envelopes.remove(0);
        take(&*store, &handled, Outcome::Handled).await;
        assert_eq!(parked(&*store).await, identities(&envelopes), "{id}");
        for envelope in &envelopes {
            take(&*store, envelope, give_up()).await;
        }
        assert_eq!(dead(&*store).await, envelopes.iter().map(identity).collect::<Vec<_>>());
        let replayed = envelopes.remove(1);
        let letter = store.dead_letter(identity(&replayed)).await.unwrap().unwrap();
        assert_eq!(letter.envelope, replayed, "{id}");
        assert!(store.replay_dead_letter(identity(&replayed)).await.unwrap());
        assert_eq!(parked(&*store).await, [identity(&replayed)], "{id}");
        for envelope in &envelopes {
            assert!(store.discard_dead_letter(identity(envelope)).await.unwrap(), "{id}");
        }
        assert_eq!(parked(&*store).await, [identity(&replayed)], "{id}");
        take(&*store, &replayed, Outcome::Handled).await;
        assert!(dead(&*store).await.is_empty(), "{id}");
    }
}

/// Takes a message out of parking, which succeeds once.
async fn take(store: &dyn Store, envelope: &Envelope, outcome: Outcome) {
    commit(store, receiving(envelope, Origin::Parked, outcome.clone())).await;
    let again = store.commit(receiving(envelope, Origin::Parked, outcome)).await.unwrap();
    assert_eq!(again, CommitOutcome::Duplicate);
    let anew = receiving(envelope, Origin::Delivery, Outcome::Handled);
    assert_eq!(store.commit(anew).await.unwrap(), CommitOutcome::Duplicate);
}

async fn parked(store: &dyn Store) -> Vec<MessageIdentity> {
    let due = store.due_parked(&Partition::all(4).unwrap(), 100).await.unwrap();
    assert_eq!(store.parked_count().await.unwrap(), due.len() as u64);
    let mut due: Vec<_> = due.into_iter().map(|message| message.identity).collect();
    due.sort();
    due
}

/// The dead letters in their order, read one by one.
async fn dead(store: &dyn Store) -> Vec<MessageIdentity> {
    let mut found: Vec<MessageIdentity> = Vec::new();
    while let Some(letter) = store.dead_letters(found.last().copied(), 1).await.unwrap().pop() {
        assert_eq!(letter.identity, identity(&letter.envelope));
        found.push(letter.identity);
    }
    found
}

/// All opens of a context have the identity of its database. That a database of its own has another
/// one, the tests of each store show.
pub async fn a_context_has_the_identity_of_its_database(harness: StoreHarness) {
    let (one, again) = (harness.store().await, harness.store().await);
    assert_eq!(one.identity(), again.identity());
    assert!(!one.identity().as_uuid().is_nil());
}
