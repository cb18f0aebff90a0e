//! A context of accounts, and the units of work that these tests put through it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mamey_core::criteria::ValueType;
use mamey_core::domain::Collection;
use mamey_core::id::{MessageId, new_uuid};
use mamey_core::message::{ContextName, Envelope, Key, Metadata};
use mamey_core::store::{Database, Schema, Store, UnitOfWork};
use mamey_persistence::{PostgresDatabase, PostgresOptions};

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) static ACCOUNTS: Collection =
    Collection { name: "accounts", id: ValueType::Int, indexes: &[] };

pub(crate) async fn connect(url: &str) -> mamey_core::Result<PostgresDatabase> {
    PostgresDatabase::connect(url, PostgresOptions::default()).await
}

pub(crate) async fn open(database: &PostgresDatabase, context: &str) -> Arc<dyn Store> {
    let context = ContextName::new(context).unwrap();
    database.open(&Schema { context, collections: vec![&ACCOUNTS] }).await.unwrap()
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
    Envelope { metadata, payload: Bytes::from_static(b"{}") }
}

/// A unit that sends one message.
pub(crate) fn sends(account: i64) -> UnitOfWork {
    let mut unit = UnitOfWork::default();
    unit.enqueue(message(account)).unwrap();
    unit
}
