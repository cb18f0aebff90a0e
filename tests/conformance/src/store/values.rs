//! What was written comes back byte for byte: documents, payloads and replies.

use bytes::Bytes;
use mamey_core::Error;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Filter, Find, Value};
use mamey_core::message::{Envelope, Headers, Key, Partition};
use mamey_core::store::{
    Change, DeadLetter, DeadLetterReason, Document, Expected, FINGERPRINT_BYTES, Failure,
    Fingerprint, LOAD_BYTES_MAX, Origin, OutboxRead, Outcome, SavedReply, Store, UnitOfWork, Write,
};

use super::fixture::{
    AT_ONCE, NOTES, all_leases, commit, load_note, message, put_note, receiving, sending, text,
    writes,
};
use super::harness::StoreHarness;
use super::written::{TEXTS, documents, payloads};

/// Documents come back as they were written, whether they are loaded alone or together, found, or
/// written again.
pub async fn documents_come_back_as_written(harness: StoreHarness) {
    let store = harness.store().await;
    let limit = store.capabilities().document_bytes_max;
    let fits = |(_, data): &(String, Bytes)| data.len() <= limit;
    let documents: Vec<_> = documents().into_iter().filter(fits).collect();
    for (name, data) in &documents {
        commit(&*store, writes([note(name, Expected::Absent, data)])).await;
        let stored = load_note(&*store, name).await.unwrap();
        assert_same(name, &stored.data, data);
    }
    // In one unit, each with the data of the next.
    let (names, mut data): (Vec<_>, Vec<_>) = documents.into_iter().unzip();
    data.rotate_left(1);
    let written: Vec<_> = names.into_iter().zip(data).collect();
    let small = written.iter().filter(|(_, data)| data.len() < 1 << 20);
    let again = small.map(|(name, data)| note(name, Expected::Version(1), data));
    commit(&*store, writes(again)).await;
    for (name, data) in written.iter().filter(|(_, data)| data.len() >= 1 << 20) {
        commit(&*store, writes([note(name, Expected::Version(1), data)])).await;
    }
    let store = harness.store().await;
    let ids: Vec<_> = written.iter().map(|(name, _)| text(name)).collect();
    let loaded = store.load(&NOTES, &ids, LOAD_BYTES_MAX).await.unwrap();
    let loaded: Vec<_> = loaded.into_iter().flatten().collect();
    assert_eq!(loaded.len(), written.len());
    let find = Find::new(&NOTES, Filter::TRUE, 1000);
    for document in loaded.iter().chain(&store.find(&find).await.unwrap().documents) {
        assert_written(document, &written);
    }
}

fn note(name: &str, expected: Expected, data: &Bytes) -> Write {
    let mut write = put_note(name, expected, "");
    write.change = Change::Put { data: data.clone(), index: Vec::new() };
    write
}

fn assert_written(document: &Document, written: &[(String, Bytes)]) {
    let Value::Text(id) = &document.id else { panic!("{:?} is no text", document.id) };
    let (name, data) = written.iter().find(|(name, _)| name == id).unwrap();
    assert_same(name, &document.data, data);
}

/// Large data is not printed whole.
fn assert_same(name: &str, stored: &[u8], written: &[u8]) {
    if stored != written {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(200).collect();
        let (stored, written): (String, String) = (shown(stored), shown(written));
        panic!("{name}: {written} came back as {stored}");
    }
}

/// A message is the same in the outbox, parked, as a dead letter and parked again.
pub async fn messages_come_back_as_written(harness: StoreHarness) {
    let store = harness.store().await;
    let leases = all_leases(&*store).await;
    let mut last = 0;
    for (number, (name, payload)) in (0..).zip(payloads()) {
        let envelope = hard_message(number, payload);
        commit(&*store, sending([envelope.clone()])).await;
        let read = OutboxRead::new(&leases, 10).with_after(last);
        let record = store.read_outbox(read).await.unwrap().records.pop().unwrap();
        assert_envelope(&name, &record.envelope, &envelope);
        last = record.sequence;
        check_waiting(&*store, &name, &envelope).await;
    }
}

/// Parks a message, gives it up and replays it.
async fn check_waiting(store: &dyn Store, name: &str, envelope: &Envelope) {
    let failure = hard_failure(envelope);
    let park = || Outcome::Park { delay: AT_ONCE, attempts: 1, failure: failure.clone() };
    commit(store, receiving(envelope, Origin::Delivery, park())).await;
    assert_parked(store, name, envelope).await;
    let reason = DeadLetterReason::Exhausted;
    let give_up = Outcome::DeadLetter { reason, attempts: 3, failure: failure.clone() };
    commit(store, receiving(envelope, Origin::Parked, give_up)).await;
    let letter = store.dead_letter(envelope.metadata.identity()).await.unwrap().unwrap();
    assert_envelope(name, &letter.envelope, envelope);
    let expected = DeadLetter::new(envelope.clone(), reason, failure.clone());
    assert_eq!(letter.failure, expected.failure, "{name}");
    assert!(store.replay_dead_letter(envelope.metadata.identity()).await.unwrap());
    assert_parked(store, name, envelope).await;
    commit(store, receiving(envelope, Origin::Parked, Outcome::Handled)).await;
}

async fn assert_parked(store: &dyn Store, name: &str, envelope: &Envelope) {
    let parked = store.due_parked(&Partition::all(4).unwrap(), 10).await.unwrap();
    let [parked] = parked.as_slice() else { panic!("{name}: {} are due", parked.len()) };
    assert_envelope(name, &parked.envelope, envelope);
    assert_eq!(parked.failure, hard_failure(envelope), "{name}");
}

fn assert_envelope(name: &str, stored: &Envelope, written: &Envelope) {
    assert_eq!(stored.metadata, written.metadata, "{name}");
    assert_same(name, &stored.payload, &written.payload);
}

/// A message whose metadata holds one of the hard texts wherever it may.
fn hard_message(number: usize, payload: Bytes) -> Envelope {
    let hard = TEXTS[number % TEXTS.len()];
    let mut headers = Headers::default();
    headers.insert("note", hard).unwrap();
    let mut envelope = message(1000 + number as u128, None);
    envelope.metadata.sender = format!("shop{hard}").into();
    envelope.metadata.key = (!number.is_multiple_of(3)).then(|| Key::from(format!("k{hard}")));
    envelope.metadata.tenant = Some(hard.into());
    envelope.metadata.content_type = format!("text/{hard}").into();
    envelope.metadata.headers = headers;
    envelope.metadata.time =
        [i64::MIN, -1, 1_790_000_000_123_456, i64::MAX].map(Timestamp::from_micros)[number % 4];
    envelope.payload = payload;
    envelope
}

fn hard_failure(envelope: &Envelope) -> Failure {
    let hard = envelope.metadata.headers.get("note").unwrap();
    Failure::from(&Error::rejected("orders.empty", format!("an order needs {hard}")))
}

/// A remembered reply comes back as it was given, under a key of any text.
pub async fn replies_come_back_as_written(harness: StoreHarness) {
    let store = harness.store().await;
    for (number, (name, body)) in payloads().into_iter().enumerate() {
        let key = format!("{}{number}", TEXTS[number % TEXTS.len()]);
        let print = Fingerprint::from_bytes(&[b'\\'; FINGERPRINT_BYTES]).unwrap();
        let reply = SavedReply::new("orders.place", key.clone(), print, body.clone());
        commit(&*store, UnitOfWork::default().with_reply(reply)).await;
        let saved = store.saved_reply("orders.place", &key).await.unwrap().unwrap();
        assert_eq!(saved.fingerprint, print, "{name}");
        assert_same(&name, &saved.body, &body);
    }
}
