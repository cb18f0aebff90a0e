//! A context of accounts, and the units of work that these tests put through it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mamey_core::criteria::{Collection, Value, ValueType};
use mamey_core::id::{MessageId, new_uuid};
use mamey_core::message::{ContextName, Envelope, Key, Metadata};
use mamey_core::store::{
    Change, Database, Expected, Origin, Outcome, Receipt, Schema, Store, UnitOfWork, Write,
};
use mamey_persistence::{PostgresDatabase, PostgresOptions};

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) static ACCOUNTS: Collection = Collection::new("accounts", ValueType::Int);

pub(crate) async fn connect(url: &str) -> mamey_core::Result<PostgresDatabase> {
    PostgresDatabase::connect(url, PostgresOptions::default()).await
}

pub(crate) async fn open(database: &PostgresDatabase, context: &str) -> Arc<dyn Store> {
    let context = ContextName::new(context).unwrap();
    database.open(&Schema::new(context, vec![&ACCOUNTS])).await.unwrap()
}

/// With a parameter more.
pub(crate) fn with(url: &str, parameter: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

/// A message about an account.
pub(crate) fn message(account: i64) -> Envelope {
    let id = MessageId::from_uuid(new_uuid());
    let mut metadata = Metadata::new(id, "bank.money-moved", "bank");
    metadata.key = Some(Key::new(account));
    Envelope::new(metadata, Bytes::from_static(b"{}"))
}

/// A unit that sends one message.
pub(crate) fn sends(account: i64) -> UnitOfWork {
    let mut unit = UnitOfWork::default();
    unit.enqueue(message(account)).unwrap();
    unit
}

/// A unit that handles `received`: writes its account, which has `balance` by then, and sends one
/// message.
pub(crate) fn handles(
    received: &Envelope,
    account: i64,
    balance: u64,
    expected: Expected,
) -> UnitOfWork {
    let mut unit = sends(account);
    unit.receipt = Some(Receipt::new(received.clone(), Origin::Delivery, Outcome::Handled));
    unit.write(put(account, expected, format!(r#"{{"balance":{balance}}}"#))).unwrap();
    unit
}

pub(crate) fn put(account: i64, expected: Expected, data: String) -> Write {
    let change = Change::Put { data: Bytes::from(data), index: Vec::new() };
    Write::new(&ACCOUNTS, Value::Int(account), expected, change)
}
