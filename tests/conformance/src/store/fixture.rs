//! What the cases share: collections, units of work and messages.

use std::time::Duration;

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Collection, Index, Value, ValueType};
use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Headers, Metadata};
use mamey_core::store::{
    Change, CommitOutcome, DeadLetterReason, Document, Expected, Failure, InstanceId,
    LOAD_BYTES_MAX, Lease, LeaseRequest, LeaseRole, Origin, Outcome, Receipt, Store, UnitOfWork,
    Write,
};
use mamey_core::{Error, ErrorKind};
use uuid::Uuid;

const fn index(field: &'static str, value: ValueType, unique: bool) -> Index {
    Index::new(field, value).with_unique(unique)
}

/// The delay of what is due as soon as it is parked.
pub(super) const AT_ONCE: Duration = Duration::ZERO;

/// One index of each type, and a unique one.
pub(super) static ITEMS: Collection = Collection::new("items", ValueType::Uuid).with_indexes(&[
    index("email", ValueType::Text, true),
    index("flag", ValueType::Bool, false),
    index("count", ValueType::Int, false),
    index("ratio", ValueType::Float, false),
    index("label", ValueType::Text, false),
    index("owner", ValueType::Uuid, false),
    index("at", ValueType::Time, false),
]);

/// No index, and text for an id.
pub(super) static NOTES: Collection = Collection::new("notes", ValueType::Text);

/// Declared nowhere.
pub(super) static STRANGERS: Collection = Collection::new("strangers", ValueType::Int);

pub(super) fn uuid(number: u128) -> Value {
    Value::Uuid(Uuid::from_u128(number))
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Values of an item that has an email address and nothing else.
pub(super) fn with_email(email: &str) -> Vec<Value> {
    let mut values = nothing();
    values[0] = text(email);
    values
}

pub(super) fn nothing() -> Vec<Value> {
    vec![Value::Null; ITEMS.indexes.len()]
}

pub(super) fn put_item(id: u128, expected: Expected, index: Vec<Value>) -> Write {
    let data = Bytes::from(format!("{{\"id\":{id}}}"));
    Write::new(&ITEMS, uuid(id), expected, Change::Put { data, index })
}

pub(super) fn put_note(id: &str, expected: Expected, body: &str) -> Write {
    let (data, index) = (Bytes::from(format!("{body:?}")), Vec::new());
    Write::new(&NOTES, text(id), expected, Change::Put { data, index })
}

pub(super) fn remove(mut write: Write) -> Write {
    write.change = Change::Remove;
    write
}

pub(super) fn writes(writes: impl IntoIterator<Item = Write>) -> UnitOfWork {
    UnitOfWork::default().with_writes(writes.into_iter().collect())
}

pub(super) fn sending(outbox: impl IntoIterator<Item = Envelope>) -> UnitOfWork {
    UnitOfWork::default().with_outbox(outbox.into_iter().collect())
}

pub(super) fn receiving(envelope: &Envelope, origin: Origin, outcome: Outcome) -> UnitOfWork {
    UnitOfWork::default().with_receipt(Receipt::new(envelope.clone(), origin, outcome))
}

pub(super) fn park(delay: Duration, attempts: u32) -> Outcome {
    Outcome::Park { delay, attempts, failure: failure() }
}

pub(super) fn park_first(delay: Duration, attempts: u32) -> Outcome {
    Outcome::ParkFirst { delay, attempts, failure: failure() }
}

pub(super) fn give_up() -> Outcome {
    Outcome::DeadLetter { reason: DeadLetterReason::Exhausted, attempts: 3, failure: failure() }
}

pub(super) fn failure() -> Failure {
    Failure::from(&Error::rejected("orders.empty", "an order needs a line"))
}

/// Message `number` from the context `sales`.
pub(super) fn message(number: u128, key: Option<&str>) -> Envelope {
    let id = MessageId::from_uuid(Uuid::from_u128(number));
    let mut headers = Headers::default();
    headers.insert("region", "eu").unwrap();
    let metadata = Metadata::new(id, "sales.order-placed", "sales")
        .with_version(2)
        .with_time(Timestamp::from_micros(i64::try_from(number).unwrap()))
        .with_key(key.map(Into::into))
        .with_headers(headers);
    let payload = Bytes::from(format!("{{\"number\":{number}}}"));
    Envelope::new(metadata, payload)
}

pub(super) fn request(holder: u128, partitions: u16) -> LeaseRequest {
    LeaseRequest::new(
        LeaseRole::Relay,
        InstanceId::new(Uuid::from_u128(holder)),
        partitions,
        Duration::from_secs(10),
    )
}

/// Leases on everything.
pub(super) async fn all_leases(store: &dyn Store) -> Vec<Lease> {
    store.hold_leases(request(1, 4)).await.unwrap().leases
}

pub(super) async fn commit(store: &dyn Store, unit: UnitOfWork) {
    let outcome = store.commit(unit).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
}

pub(super) async fn fail(store: &dyn Store, unit: UnitOfWork) -> Error {
    store.commit(unit).await.unwrap_err()
}

pub(super) async fn load_item(store: &dyn Store, id: u128) -> Option<Document> {
    store.load(&ITEMS, &[uuid(id)], LOAD_BYTES_MAX).await.unwrap().pop().unwrap()
}

pub(super) async fn load_note(store: &dyn Store, id: &str) -> Option<Document> {
    store.load(&NOTES, &[text(id)], LOAD_BYTES_MAX).await.unwrap().pop().unwrap()
}

pub(super) fn assert_kind(error: &Error, kind: ErrorKind, naming: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(naming), "{error} names {naming}");
}

/// Numbers that look random and are the same in each run.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    /// A number below `end`, by an xorshift.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
