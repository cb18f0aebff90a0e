//! What could not be read back is refused when it is written, and nothing of it is buffered.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mamey::persistence::{MemoryDatabase, SqliteDatabase, SqliteOptions};
use mamey::store::Database;
use mamey::testing::TestContext;
use mamey::{
    Aggregate, BoundedContext, Command, Context, Error, ErrorKind, Event, Result, Retry, Service,
};
use serde::{Deserialize, Serialize};

/// The deepest tree that can be read back, as a field of a document or a message.
const LEVELS_MAX: usize = 118;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Node {
    child: Option<Box<Node>>,
}

fn nested(levels: usize) -> Node {
    (1..levels).fold(Node::default(), |child, _| Node { child: Some(Box::new(child)) })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    root: Node,
    values: Vec<f64>,
}

#[derive(Debug, PartialEq, Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "probes")]
struct Probe {
    #[aggregate(id)]
    number: i64,
    #[aggregate(index)]
    level: Option<f64>,
    reading: Reading,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "lab.read", key = number)]
struct Read {
    number: i64,
    reading: Reading,
}

#[derive(Clone, Command, Serialize, Deserialize)]
#[command(name = "lab.measure", reply = f64)]
struct Measure {
    reading: Reading,
}

async fn measure(command: Measure, _: &Context) -> Result<f64> {
    Ok(command.reading.values.iter().sum())
}

fn lab() -> BoundedContext {
    BoundedContext::new("lab").aggregate::<Probe>().command(measure).publishes::<Read>()
}

fn reading(levels: usize, value: f64) -> Reading {
    Reading { root: nested(levels), values: vec![1.0, value] }
}

fn probe(reading: Reading) -> Probe {
    Probe { number: 1, level: None, reading }
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>, facts: &[&str]) {
    let error: Error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Invalid, Retry::Never), "{error}");
    for fact in facts {
        assert!(error.to_string().contains(fact), "{fact} is missing: {error}");
    }
}

const NOT_FINITE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

async fn a_document_is_refused(database: &dyn Database) {
    let cx = TestContext::new(lab(), database).await;
    let probes = cx.repository::<Probe>();
    let deep = ["probes/1", "nests 121 levels", "the limit is 120"];
    assert_refused(probes.add(&probe(reading(LEVELS_MAX + 1, 1.0))), &deep);
    for value in NOT_FINITE {
        let named = value.to_string();
        let facts = ["probes/1", "`reading.values[1]`", &named];
        assert_refused(probes.add(&probe(reading(1, value))), &facts);
        let indexed = Probe { level: Some(value), ..probe(reading(1, 1.0)) };
        assert_refused(probes.add(&indexed), &["level", &named]);
    }
    assert!(probes.get(&1).await.unwrap().is_none(), "a refused document is buffered");
    probes.add(&probe(reading(LEVELS_MAX, -0.0))).unwrap();
    cx.commit().await.unwrap();

    let cx = TestContext::new(lab(), database).await;
    let probes = cx.repository::<Probe>();
    let mut kept = probes.load(&1).await.unwrap();
    assert_eq!(kept.reading, reading(LEVELS_MAX, -0.0));
    kept.reading = reading(LEVELS_MAX + 1, 1.0);
    assert_refused(probes.save(&kept), &deep);
    kept.reading = reading(1, f64::NAN);
    assert_refused(probes.save(&kept), &["`reading.values[1]`", "NaN"]);
    assert_eq!(probes.load(&1).await.unwrap().reading, reading(LEVELS_MAX, -0.0));
    probes.remove(&kept).unwrap();
    cx.commit().await.unwrap();
}

async fn a_message_is_refused(database: &dyn Database) {
    let cx = TestContext::new(lab(), database).await;
    let deep = Read { number: 1, reading: reading(LEVELS_MAX + 1, 1.0) };
    assert_refused(cx.publish(&deep), &["lab.read", "nests 121 levels"]);
    for value in NOT_FINITE {
        let read = Read { number: 1, reading: reading(1, value) };
        assert_refused(cx.publish(&read), &["lab.read", "`reading.values[1]`", &value.to_string()]);
    }
    cx.publish(&Read { number: 1, reading: reading(LEVELS_MAX, 1.0) }).unwrap();
}

async fn on_every_store(test: impl AsyncFn(&dyn Database)) {
    test(&MemoryDatabase::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.db");
    let path = file.to_str().unwrap();
    test(&SqliteDatabase::open(path, SqliteOptions::default()).await.unwrap()).await;
}

#[tokio::test]
async fn documents() {
    on_every_store(a_document_is_refused).await;
}

#[tokio::test]
async fn messages() {
    on_every_store(a_message_is_refused).await;
}

#[tokio::test]
async fn a_reply_that_is_remembered() {
    let service = Service::in_memory().host(lab()).start().await.unwrap();
    let command = Measure { reading: reading(1, f64::INFINITY) };
    let reply = service.send(command.clone()).idempotency_key("k").await;
    assert_refused(reply, &["the reply cannot be remembered", "inf"]);
    assert_eq!(service.send(command).await.unwrap(), f64::INFINITY);
    service.shutdown().await.unwrap();
}
