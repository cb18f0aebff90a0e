//! The errors of the store on PostgreSQL, and how it opens schemas.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use bytes::Bytes;
use mamey_core::ErrorKind;
use mamey_core::criteria::{Collection, Comparison, Filter, Index, Value, ValueType};
use mamey_core::message::ContextName;
use mamey_core::store::{
    Change, CommitOutcome, Database, Expected, Schema, Store, UnitOfWork, Write,
};
use mamey_persistence::{PostgresDatabase, PostgresOptions};
use mamey_test_support::{Session, postgres, require};

static PLAIN: Collection = Collection::new("orders", ValueType::Int);

static INDEXED: Collection =
    Collection::new("orders", ValueType::Int).with_indexes(&[Index::new("label", ValueType::Text)]);

async fn connect(url: &str) -> mamey_core::Result<PostgresDatabase> {
    PostgresDatabase::connect(url, PostgresOptions::default()).await
}

async fn open(
    database: &PostgresDatabase,
    collection: &'static Collection,
) -> mamey_core::Result<Arc<dyn Store>> {
    let context = ContextName::new("pg-shop").unwrap();
    database.open(&Schema::new(context, vec![collection])).await
}

fn put(id: i64, expected: Expected, data: &'static str) -> UnitOfWork {
    let change = Change::Put { data: Bytes::from_static(data.as_bytes()), index: Vec::new() };
    let mut unit = UnitOfWork::default();
    unit.write(Write::new(&PLAIN, Value::Int(id), expected, change)).unwrap();
    unit
}

#[tokio::test]
async fn a_wrong_password_and_an_absent_database_are_for_a_person_to_fix() {
    let database = require!(postgres::database().await);
    let (before, host) = database.url().rsplit_once('@').unwrap();
    let (user, _) = before.rsplit_once(':').unwrap();
    let wrong = connect(&format!("{user}:not-the-secret@{host}")).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Misconfigured, "{wrong:?}");
    assert!(!format!("{wrong:?}").contains("not-the-secret"), "{wrong:?}");
    let absent = connect(&format!("{}_absent", database.url())).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Misconfigured, "{absent:?}");
}

#[tokio::test]
async fn an_unknown_host_is_out_of_reach_and_no_secret_is_printed() {
    let url = "postgres://me:a-secret@no-such-host.invalid/shop";
    let error = connect(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!format!("{error:?}").contains("a-secret"), "{error:?}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

#[tokio::test]
async fn an_index_that_is_added_finds_earlier_documents() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let before = open(&database, &PLAIN).await.unwrap();
    for (id, data) in [(1, r#"{"label":"a"}"#), (2, r#"{"label":"b"}"#), (3, "{}")] {
        let outcome = before.commit(put(id, Expected::Absent, data)).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)));
    }
    let after = open(&database, &INDEXED).await.unwrap();
    for (value, count) in [(Value::Text("b".to_owned()), 1), (Value::Null, 1)] {
        let filter = Filter::Compare { field: "label", comparison: Comparison::Equal, value };
        assert_eq!(after.count(&INDEXED, &filter).await.unwrap(), count);
    }
}

#[tokio::test]
async fn instances_that_start_together_open_one_schema() {
    let test = require!(postgres::database().await);
    let databases = futures_util::future::join_all((0..4).map(|_| connect(test.url()))).await;
    let databases: Vec<_> = databases.into_iter().map(Result::unwrap).collect();
    let opened =
        futures_util::future::join_all(databases.iter().map(|it| open(it, &INDEXED))).await;
    for store in opened {
        store.unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_document_that_is_no_json_is_refused() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let store = open(&database, &PLAIN).await.unwrap();
    let unit = put(7, Expected::Absent, r#"{"label":"a"#);
    let error = store.commit(unit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

#[tokio::test]
async fn a_closed_store_says_so_and_lost_connections_are_replaced() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let store = open(&database, &PLAIN).await.unwrap();
    let end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
    Session::of(test.url()).await.run(end_all).await;
    let lost = store.ping().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unavailable, "{lost:?}");
    store.ping().await.unwrap();
    database.close().await;
    let closed = store.ping().await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Unavailable, "{closed:?}");
}
