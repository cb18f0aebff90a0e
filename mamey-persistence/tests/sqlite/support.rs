//! A file in a temporary folder, and the units that the tests write into it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Collection, Value, ValueType};
use mamey_core::id::MessageId;
use mamey_core::message::{ContextName, Envelope, Metadata};
use mamey_core::store::{
    Change, CommitOutcome, Database, Expected, LOAD_BYTES_MAX, Schema, Store, UnitOfWork, Write,
};
use mamey_core::{Error, ErrorKind};
use mamey_persistence::{SqliteDatabase, SqliteOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) static NOTES: Collection = Collection::new("notes", ValueType::Text);

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) async fn open(&self) -> SqliteDatabase {
        self.try_open(SqliteOptions::default()).await.unwrap()
    }

    pub(crate) async fn try_open(&self, options: SqliteOptions) -> Result<SqliteDatabase, Error> {
        open(&self.path("store.db"), options).await
    }

    /// Runs SQL on the file as another program would.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A connection to the file as another program has it.
    pub(crate) async fn connect(&self) -> SqliteConnection {
        raw(&self.path("store.db")).await
    }
}

pub(crate) async fn open(path: &Path, options: SqliteOptions) -> Result<SqliteDatabase, Error> {
    SqliteDatabase::open(path.to_str().unwrap(), options).await
}

async fn raw(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.unwrap()
}

pub(crate) async fn notes(database: &SqliteDatabase) -> Arc<dyn Store> {
    collection(database, &NOTES).await.unwrap()
}

pub(crate) async fn collection(
    database: &SqliteDatabase,
    collection: &'static Collection,
) -> Result<Arc<dyn Store>, Error> {
    let schema = Schema::new(ContextName::new("orders").unwrap(), vec![collection]);
    Database::open(database, &schema).await
}

pub(crate) fn add(id: &str, body: &str) -> UnitOfWork {
    put(&NOTES, id, Expected::Absent, body, Vec::new())
}

pub(crate) fn put(
    collection: &'static Collection,
    id: &str,
    expected: Expected,
    body: &str,
    index: Vec<Value>,
) -> UnitOfWork {
    let data = Bytes::from(body.to_owned());
    let write =
        Write::new(collection, Value::Text(id.to_owned()), expected, Change::Put { data, index });
    UnitOfWork::default().with_writes(vec![write])
}

pub(crate) fn message(number: u128) -> Envelope {
    let id = MessageId::from_uuid(Uuid::from_u128(number));
    let metadata = Metadata::new(id, "sales.order-placed", "sales")
        .with_time(Timestamp::from_micros(7))
        .with_key(Some("k".into()));
    let payload = Bytes::from_static(b"{}");
    Envelope::new(metadata, payload)
}

pub(crate) async fn commit(store: &dyn Store, unit: UnitOfWork) {
    let outcome = store.commit(unit).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
}

pub(crate) async fn body(store: &dyn Store, id: &str) -> Option<String> {
    let ids = [Value::Text(id.to_owned())];
    let document = store.load(&NOTES, &ids, LOAD_BYTES_MAX).await.unwrap().pop().unwrap()?;
    Some(String::from_utf8(document.data.to_vec()).unwrap())
}

pub(crate) fn assert_misconfigured<T>(result: Result<T, Error>, naming: &[&str]) {
    let Err(error) = result else {
        panic!("this must be refused, naming {naming:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    for name in naming {
        assert!(error.to_string().contains(name), "`{error}` names `{name}`");
    }
}
