//! Indexes that are added, removed and added again on a collection with documents.

use mamey_core::ErrorKind;
use mamey_core::criteria::{Collection, Comparison, Filter, Find, Index, Value, ValueType};
use mamey_core::store::{Database, Expected, Store};

use crate::support::{Folder, NOTES, add, assert_misconfigured, collection, commit, notes, put};

const fn index(field: &'static str, value: ValueType, unique: bool) -> Index {
    Index::new(field, value).with_unique(unique)
}

const fn indexed(indexes: &'static [Index]) -> Collection {
    Collection::new("notes", ValueType::Text).with_indexes(indexes)
}

static BY_TOTAL: Collection = indexed(&[index("total", ValueType::Int, false)]);
static BY_EMAIL: Collection = indexed(&[index("email", ValueType::Text, true)]);
static BY_TOTAL_TEXT: Collection = indexed(&[index("total", ValueType::Text, false)]);
static BY_ALL: Collection = indexed(&[
    index("flag", ValueType::Bool, false),
    index("ratio", ValueType::Float, false),
    index("owner", ValueType::Uuid, false),
    index("at", ValueType::Time, false),
]);

async fn find(
    store: &dyn Store,
    collection: &'static Collection,
    field: &'static str,
    value: Value,
) -> Vec<String> {
    let filter = Filter::Compare { field, comparison: Comparison::Equal, value };
    let find = Find::new(collection, filter, 10_000);
    let found = store.find(&find).await.unwrap().documents;
    found.into_iter().map(|document| document.id.to_string()).collect()
}

#[tokio::test]
async fn a_new_index_finds_existing_documents() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    // More than one step of the backfill, and more than one trip of a script.
    for number in 0..1200 {
        let body = format!("{{\"total\":{}}}", number % 300);
        commit(&*store, add(&format!("{number:04}"), &body)).await;
    }
    commit(&*store, add("none", "{}")).await;
    commit(&*store, add("null", "{\"total\":null}")).await;
    database.close().await;

    let database = folder.open().await;
    let store = collection(&database, &BY_TOTAL).await.unwrap();
    let found = find(&*store, &BY_TOTAL, "total", Value::Int(7)).await;
    assert_eq!(found, ["0007", "0307", "0607", "0907"]);
    let found = find(&*store, &BY_TOTAL, "total", Value::Null).await;
    assert_eq!(found, ["none", "null"]);
}

#[tokio::test]
async fn every_type_is_read_from_its_json_form() {
    let folder = Folder::new();
    let database = folder.open().await;
    let document = r#"{"flag":true,"ratio":2,"at":"2026-09-21T14:13:20.123456Z",
        "owner":"00000000-0000-0000-0000-000000000007"}"#;
    commit(&*notes(&database).await, add("a", document)).await;
    let store = collection(&database, &BY_ALL).await.unwrap();
    let time = mamey_core::clock::Timestamp::from_micros(1_790_000_000_123_456);
    let values = [
        ("flag", Value::Bool(true)),
        ("ratio", Value::Float(2.0)),
        ("owner", Value::Uuid(uuid::Uuid::from_u128(7))),
        ("at", Value::Time(time)),
    ];
    for (field, value) in values {
        assert_eq!(find(&*store, &BY_ALL, field, value).await, ["a"], "{field}");
    }
}

#[tokio::test]
async fn documents_that_do_not_fit_are_named_and_nothing_changes() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    commit(&*store, add("fine", "{\"total\":1,\"email\":\"a@x\"}")).await;
    commit(&*store, add("odd", "{\"total\":\"many\",\"email\":\"a@x\"}")).await;
    let unfit = collection(&database, &BY_TOTAL).await;
    assert_misconfigured(unfit, &["notes/odd", "total", "int"]);
    let clashing = collection(&database, &BY_EMAIL).await;
    assert_misconfigured(clashing, &["email", "unique"]);
    commit(&*notes(&database).await, add("later", "{}")).await;
    let unit = put(&NOTES, "odd", Expected::Version(1), "{\"total\":2}", Vec::new());
    commit(&*store, unit).await;
    let fixed = collection(&database, &BY_TOTAL).await.unwrap();
    assert_eq!(find(&*fixed, &BY_TOTAL, "total", Value::Int(2)).await, ["odd"]);
    let other_type = collection(&database, &BY_TOTAL_TEXT).await;
    assert_misconfigured(other_type, &["total", "int"]);
}

#[tokio::test]
async fn an_index_that_is_declared_again_is_filled_again() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = collection(&database, &BY_EMAIL).await.unwrap();
    let email = |email: &str| (format!("{{\"email\":\"{email}\"}}"), Value::Text(email.to_owned()));
    let (body, value) = email("a@x");
    commit(&*store, put(&BY_EMAIL, "1", Expected::Absent, &body, vec![value.clone()])).await;
    let taken = put(&BY_EMAIL, "2", Expected::Absent, &body, vec![value.clone()]);
    assert_eq!(store.commit(taken).await.unwrap_err().kind(), ErrorKind::AlreadyExists);

    let without = notes(&database).await;
    let (moved, new) = email("b@x");
    commit(&*without, put(&NOTES, "1", Expected::Version(1), &moved, Vec::new())).await;
    commit(&*without, add("2", &body)).await;

    let again = collection(&database, &BY_EMAIL).await.unwrap();
    assert_eq!(find(&*again, &BY_EMAIL, "email", value).await, ["2"]);
    assert_eq!(find(&*again, &BY_EMAIL, "email", new).await, ["1"]);
    let taken = put(&BY_EMAIL, "3", Expected::Absent, &moved, vec![email("b@x").1]);
    assert_eq!(again.commit(taken).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    database.close().await;
}
