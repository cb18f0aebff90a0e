//! Indexes are added and removed while earlier and later builds write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mamey_core::ErrorKind;
use mamey_core::clock::Timestamp;
use mamey_core::criteria::{Collection, Comparison, Filter, Index, Value, ValueType};
use mamey_core::store::{Change, Expected, LOAD_BYTES_MAX, Store, UnitOfWork, Write};
use mamey_test_support::{postgres, require};
use uuid::Uuid;

use super::support::{Admin, connect, open, put, unit};

const fn index(field: &'static str, value: ValueType, unique: bool) -> Index {
    Index::new(field, value).with_unique(unique)
}

const fn orders(indexes: &'static [Index]) -> Collection {
    Collection::new("orders", ValueType::Int).with_indexes(indexes)
}

static PLAIN: Collection = orders(&[]);
static LABELLED: Collection = orders(&[index("label", ValueType::Text, false)]);
static NUMBERED: Collection =
    orders(&[index("label", ValueType::Text, false), index("number", ValueType::Int, true)]);
static EVERYTHING: Collection = orders(&[
    index("truth", ValueType::Bool, false),
    index("count", ValueType::Int, false),
    index("ratio", ValueType::Float, false),
    index("label", ValueType::Text, false),
    index("owner", ValueType::Uuid, false),
    index("at", ValueType::Time, false),
]);

const LABELS: u64 = 7;

/// Fields on which PostgreSQL's operators of JSON fail, or which only look like those.
const HARD_TO_READ: &str = r#""nul":"\u0000\u0000 \\u0000 \\\u0000 \u0001","halves":"\ud800 \uDBFF\ud83d\ude00\udc00",
    "\u0000":1,"huge":1e999,"escapes":"\\\\ud800 \" \\""#;

fn text(text: String) -> Value {
    Value::Text(text)
}

fn equals(field: &'static str, value: Value) -> Filter {
    Filter::Compare { field, comparison: Comparison::Equal, value }
}

/// Document `id` as a build with this declaration writes it.
fn document(of: &'static Collection, id: i64, expected: Expected, label: u64) -> Write {
    let data = format!(r#"{{"label":"label-{label}","number":{id}}}"#);
    let value = |index: &Index| match index.field {
        "label" => text(format!("label-{label}")),
        _ => Value::Int(id),
    };
    put(of, id, expected, data, of.indexes.iter().map(value).collect())
}

/// Adds documents and changes them, until it is stopped.
async fn write(
    store: Arc<dyn Store>,
    of: &'static Collection,
    first: i64,
    done: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) {
    let mut id = first;
    while !done.load(Ordering::SeqCst) {
        let label = id.unsigned_abs() % LABELS;
        store.commit(unit(document(of, id, Expected::Absent, label))).await.unwrap();
        // Changes the label of a document that the backfill visits.
        let old = id % 2000;
        let found =
            store.load(of, &[Value::Int(old)], LOAD_BYTES_MAX).await.unwrap().pop().unwrap();
        if let Some(found) = found {
            let expected = Expected::Version(found.version);
            let change = document(of, old, expected, (label + found.version) % LABELS);
            match store.commit(unit(change)).await {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
            }
        }
        written.fetch_add(1, Ordering::SeqCst);
        id += 1;
    }
}

async fn fill(store: &dyn Store, of: &'static Collection, documents: i64) {
    for first in (0..documents).step_by(500) {
        let writes = (first..documents.min(first + 500))
            .map(|id| document(of, id, Expected::Absent, id.unsigned_abs() % LABELS));
        let unit = UnitOfWork::default().with_writes(writes.collect());
        store.commit(unit).await.unwrap();
    }
}

/// Asserts that the index finds what a scan of all documents finds.
async fn assert_index_is_true(store: &dyn Store, of: &'static Collection, admin: &mut Admin) {
    let mut all = 0;
    for label in 0..LABELS {
        let indexed =
            store.count(of, &equals("label", text(format!("label-{label}")))).await.unwrap();
        let scan =
            format!("SELECT count(*) FROM mamey.orders WHERE data->>'label' = 'label-{label}'");
        let scanned: i64 = admin.one(&scan).await;
        assert_eq!(indexed, scanned.unsigned_abs(), "label-{label}");
        all += indexed;
    }
    let documents: i64 = admin.one("SELECT count(*) FROM mamey.orders").await;
    assert_eq!(all, documents.unsigned_abs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_and_later_builds_write_while_an_index_is_added() {
    let test = require!(postgres::database().await);
    let (old, new) = (connect(test.url()).await, connect(test.url()).await);
    let before = open(&old, &[&PLAIN]).await.unwrap();
    fill(&*before, &PLAIN, 6000).await;
    let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let start = |store: &Arc<dyn Store>, of, first| {
        tokio::spawn(write(Arc::clone(store), of, first, Arc::clone(&done), Arc::clone(&written)))
    };
    let mut writers = vec![start(&before, &PLAIN, 100_000), start(&before, &PLAIN, 200_000)];
    while written.load(Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = written.load(Ordering::SeqCst);
    let after = open(&new, &[&LABELLED]).await.unwrap();
    let during = written.load(Ordering::SeqCst) - begun;
    let mut admin = Admin::of(test.url()).await;
    // The earlier build is started again beside the later one, and reverts nothing.
    let again = open(&connect(test.url()).await, &[&PLAIN]).await.unwrap();
    writers.push(start(&after, &LABELLED, 300_000));
    writers.push(start(&again, &PLAIN, 400_000));
    let then = written.load(Ordering::SeqCst);
    while written.load(Ordering::SeqCst) < then + 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    done.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(during > 0, "nobody wrote while the index was added");
    assert_index_is_true(&*after, &LABELLED, &mut admin).await;
    let valid: Vec<bool> = admin
        .all("SELECT indisvalid FROM pg_index WHERE indrelid = 'mamey.orders'::regclass")
        .await;
    assert_eq!(valid, [true, true]);
}

#[tokio::test]
async fn the_unique_field_of_a_later_build_refuses_an_earlier_one_by_name() {
    let test = require!(postgres::database().await);
    let before = open(&connect(test.url()).await, &[&LABELLED]).await.unwrap();
    fill(&*before, &LABELLED, 10).await;
    let after = open(&connect(test.url()).await, &[&NUMBERED]).await.unwrap();
    let twice = |of: &'static Collection, values| {
        unit(put(of, 99, Expected::Absent, r#"{"label":"a","number":7}"#.to_owned(), values))
    };
    let refusals = [
        before.commit(twice(&LABELLED, vec![text("a".to_owned())])).await.unwrap_err(),
        after
            .commit(twice(&NUMBERED, vec![text("a".to_owned()), Value::Int(7)]))
            .await
            .unwrap_err(),
    ];
    for error in refusals {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
        assert!(error.to_string().contains("`number`"), "{error}");
    }
}

#[tokio::test]
async fn duplicate_values_cannot_become_unique_and_leave_nothing_behind() {
    let test = require!(postgres::database().await);
    let before = open(&connect(test.url()).await, &[&LABELLED]).await.unwrap();
    for id in [1, 2] {
        let data = r#"{"label":"a","number":7}"#.to_owned();
        let write = put(&LABELLED, id, Expected::Absent, data, vec![text("a".to_owned())]);
        before.commit(unit(write)).await.unwrap();
    }
    let later = connect(test.url()).await;
    for _ in 0..2 {
        let error = open(&later, &[&NUMBERED]).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
        assert!(error.to_string().contains("`number` of `orders`"), "{error}");
    }
    let mut admin = Admin::of(test.url()).await;
    let indexes: i64 =
        admin.one("SELECT count(*) FROM pg_index WHERE indrelid = 'mamey.orders'::regclass").await;
    assert_eq!(indexes, 2);
    let write = document(&LABELLED, 7, Expected::Absent, 1);
    before.commit(unit(write)).await.unwrap();
    admin.run("UPDATE mamey.orders SET data = '{\"label\":\"a\",\"number\":8}' WHERE id = 2").await;
    admin.run("UPDATE mamey.orders SET data = '{\"label\":\"a\",\"number\":9}' WHERE id = 7").await;
    // Only a person changes documents like this; the column is filled again.
    admin.run("UPDATE mamey._indexes SET state = 'stale' WHERE field = 'number'").await;
    open(&later, &[&NUMBERED]).await.unwrap();
}

#[tokio::test]
async fn every_type_is_read_from_documents_as_its_own_build_writes_it() {
    let test = require!(postgres::database().await);
    let before = open(&connect(test.url()).await, &[&PLAIN]).await.unwrap();
    let owner = Uuid::from_u128(0x1234);
    let time = Timestamp::from_micros(1_790_000_000_123_456);
    let year_zero = Timestamp::parse_rfc3339("0000-02-29T00:00:00.000001Z").unwrap();
    let year_9999 = Timestamp::parse_rfc3339("9999-12-31T23:59:59.999999Z").unwrap();
    let rows = [
        (1, Value::Bool(true), "true".to_owned(), "truth"),
        (2, Value::Int(i64::MIN), i64::MIN.to_string(), "count"),
        (3, Value::Int(i64::MAX), i64::MAX.to_string(), "count"),
        (4, Value::Float(0.0), "-0.0".to_owned(), "ratio"),
        (5, Value::Float(5e-324), "5e-324".to_owned(), "ratio"),
        (6, Value::Float(f64::MAX), format!("{:e}", f64::MAX), "ratio"),
        (7, text("ä\u{1}\"".to_owned()), r#""ä\u0001\"""#.to_owned(), "label"),
        (8, Value::Uuid(owner), format!("\"{owner}\""), "owner"),
        (9, Value::Time(time), format!("\"{time}\""), "at"),
        (10, Value::Time(time), r#""2026-09-21T16:13:20.1234569+02:00""#.to_owned(), "at"),
        (11, text("\0".to_owned()), r#""\u0000""#.to_owned(), "label"),
        (
            12,
            text("a\0\u{1}\\u0000😀".to_owned()),
            r#""a\u0000\u0001\\u0000\ud83d\uDE00""#.into(),
            "label",
        ),
        (13, Value::Float(0.0), "1e-400".to_owned(), "ratio"),
        (14, Value::Time(Timestamp::from_micros(i64::MIN)), format!("\"{}us\"", i64::MIN), "at"),
        (15, Value::Time(Timestamp::from_micros(i64::MAX)), format!("\"{}us\"", i64::MAX), "at"),
        (16, Value::Time(year_zero), format!("\"{year_zero}\""), "at"),
        (17, Value::Time(year_9999), format!("\"{year_9999}\""), "at"),
    ];
    // What other fields hold is no obstacle.
    let data = |json: &str, field: &str| format!("{{{HARD_TO_READ},\"{field}\":{json}}}");
    for (id, _, json, field) in &rows {
        let write = put(&PLAIN, *id, Expected::Absent, data(json, field), Vec::new());
        before.commit(unit(write)).await.unwrap();
    }
    let after = open(&connect(test.url()).await, &[&EVERYTHING]).await.unwrap();
    // By the backfill first, then by the trigger.
    for version in 1..=2 {
        for (id, value, json, field) in &rows {
            let found = after.count(&EVERYTHING, &equals(field, value.clone())).await.unwrap();
            let same = rows.iter().filter(|row| row.1 == *value && row.3 == *field).count() as u64;
            assert_eq!(found, same, "{field} {json} at version {version}");
            let expected = Expected::Version(version);
            let write = put(&PLAIN, *id, expected, data(json, field), Vec::new());
            before.commit(unit(write)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_field_that_is_written_as_another_type_is_refused_with_its_document() {
    let test = require!(postgres::database().await);
    let before = open(&connect(test.url()).await, &[&PLAIN]).await.unwrap();
    let write = put(&PLAIN, 5, Expected::Absent, r#"{"label":7}"#.to_owned(), Vec::new());
    before.commit(unit(write)).await.unwrap();
    let error = open(&connect(test.url()).await, &[&LABELLED]).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("orders/5"), "{error}");
}

#[tokio::test]
async fn a_removed_index_keeps_its_column_for_earlier_builds_and_comes_back_complete() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await;
    let labelled = open(&database, &[&LABELLED]).await.unwrap();
    fill(&*labelled, &LABELLED, 50).await;
    let plain = open(&database, &[&PLAIN]).await.unwrap();
    let mut admin = Admin::of(test.url()).await;
    let count = "SELECT count(*) FROM pg_index WHERE indrelid = 'mamey.orders'::regclass";
    assert_eq!(admin.one::<i64>(count).await, 1);
    for id in 50..80 {
        plain.commit(unit(document(&PLAIN, id, Expected::Absent, 3))).await.unwrap();
    }
    assert_index_is_true(&*labelled, &LABELLED, &mut admin).await;
    // After a week the column is no longer filled.
    admin.run("UPDATE mamey._indexes SET retired_at = now() - interval '8 days'").await;
    let plain = open(&database, &[&PLAIN]).await.unwrap();
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'mamey.orders'::regclass";
    assert_eq!(admin.one::<i64>(triggers).await, 0);
    let change = |id| document(&PLAIN, id, Expected::Version(1), 5);
    for id in 0..20 {
        plain.commit(unit(change(id))).await.unwrap();
    }
    let back = open(&database, &[&LABELLED]).await.unwrap();
    assert_index_is_true(&*back, &LABELLED, &mut admin).await;
    assert_eq!(admin.one::<i64>(count).await, 2);
    let mut write = change(30);
    write.change = Change::Remove;
    plain.commit(unit(write)).await.unwrap();
    assert_index_is_true(&*back, &LABELLED, &mut admin).await;
}

#[tokio::test]
async fn an_index_whose_build_was_interrupted_is_built_again() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await;
    let store = open(&database, &[&LABELLED]).await.unwrap();
    fill(&*store, &LABELLED, 50).await;
    let mut admin = Admin::of(test.url()).await;
    admin
        .run(
            "UPDATE mamey._indexes SET state = 'building';
             UPDATE pg_index SET indisvalid = false
             WHERE indrelid = 'mamey.orders'::regclass AND NOT indisprimary",
        )
        .await;
    open(&database, &[&LABELLED]).await.unwrap();
    let valid: Vec<bool> = admin
        .all("SELECT indisvalid FROM pg_index WHERE indrelid = 'mamey.orders'::regclass")
        .await;
    assert_eq!(valid, [true, true]);
    assert_eq!(admin.one::<String>("SELECT state FROM mamey._indexes").await, "ready");
}
