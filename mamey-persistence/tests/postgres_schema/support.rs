//! A database of the test's own, a session beside the store, and what the tests write.

use std::sync::Arc;

use bytes::Bytes;
use mamey_core::clock::{Clock, ManualClock, Timestamp};
use mamey_core::criteria::{Collection, Value};
use mamey_core::message::ContextName;
use mamey_core::store::{Change, Database, Expected, Schema, Store, UnitOfWork, Write};
use mamey_core::{Error, Result};
use mamey_persistence::{PostgresDatabase, PostgresOptions};
use mamey_test_support::Session;
use sqlx::{Decode, Postgres, Type};

pub(crate) const CONTEXT: &str = "pg-shop";

pub(crate) fn schema_of(collections: &[&'static Collection]) -> Schema {
    let context = ContextName::new(CONTEXT).unwrap();
    Schema::new(context, collections.to_vec())
}

pub(crate) async fn connect(url: &str) -> PostgresDatabase {
    try_connect(url).await.unwrap()
}

pub(crate) async fn try_connect(url: &str) -> Result<PostgresDatabase> {
    PostgresDatabase::connect(url, PostgresOptions::default()).await
}

pub(crate) async fn connect_at(url: &str, clock: &Arc<ManualClock>) -> PostgresDatabase {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
    let options = PostgresOptions::default().with_clock(clock);
    PostgresDatabase::connect(url, options).await.unwrap()
}

pub(crate) async fn open(
    database: &PostgresDatabase,
    collections: &[&'static Collection],
) -> Result<Arc<dyn Store>, Error> {
    database.open(&schema_of(collections)).await
}

pub(crate) fn unit(write: Write) -> UnitOfWork {
    UnitOfWork::default().with_writes(vec![write])
}

pub(crate) fn put(
    collection: &'static Collection,
    id: i64,
    expected: Expected,
    data: String,
    index: Vec<Value>,
) -> Write {
    let change = Change::Put { data: Bytes::from(data), index };
    Write::new(collection, Value::Int(id), expected, change)
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A session for SQL in which `mamey.` stands for the context's schema.
pub(crate) struct Admin(Session);

impl Admin {
    pub(crate) async fn of(url: &str) -> Self {
        Self(Session::of(url).await)
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        self.0.run(&in_schema(sql)).await;
    }

    /// The first column of all rows.
    pub(crate) async fn all<T>(&mut self, sql: &str) -> Vec<T>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        self.0.all(&in_schema(sql)).await
    }

    pub(crate) async fn one<T>(&mut self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        self.0.one(&in_schema(sql)).await
    }
}

fn in_schema(sql: &str) -> String {
    sql.replace("mamey.", &format!("\"{CONTEXT}\"."))
}
