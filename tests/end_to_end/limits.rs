//! Limits that are reached: the number of parked messages, and the time of a shutdown.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mamey::inbound::{Inbound, Incoming};
use mamey::message::{ContextName, Envelope};
use mamey::messaging::{Consumer, ConsumerOptions, MemoryTransport};
use mamey::persistence::MemoryDatabase;
use mamey::store::{CommitOutcome, Database, Outcome, Receipt, Schema, Store, UnitOfWork};
use mamey::transport::{Topology, Transport};
use mamey::{Backoff, Error, ErrorKind, Result, RetryPolicy, Service, Settings};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::{Script, receiver, sender};
use crate::faults::{Connection, Faults};
use crate::world::{PATIENCE, World, foreign_metadata, until};

const PARKED_MAX: u64 = 5;
const NAME: &str = "elsewhere.happened";

/// Fails on every message until it is fixed, and counts the runs of each.
struct Broken {
    context: ContextName,
    store: Arc<dyn Store>,
    fixed: AtomicBool,
    runs: Mutex<BTreeMap<String, u32>>,
}

#[async_trait]
impl Inbound for Broken {
    fn context(&self) -> &ContextName {
        &self.context
    }

    fn handles(&self) -> Vec<&'static str> {
        vec![NAME]
    }

    fn retry_policy(&self, _: &str) -> RetryPolicy {
        let pause = Duration::from_millis(10);
        let backoff = Backoff::new(pause, pause).with_jitter(0.0);
        RetryPolicy::new(0, u32::MAX, backoff)
    }

    async fn handle(&self, incoming: Incoming<'_>) -> Result<CommitOutcome> {
        let envelope = incoming.envelope.clone();
        let key = envelope.metadata.key.clone().unwrap();
        *self.runs.lock().unwrap().entry(key.to_string()).or_default() += 1;
        if !self.fixed.load(Ordering::SeqCst) {
            return Err(Error::other("not fixed yet"));
        }
        let locked = incoming.custody.lock().await;
        let receipt = Some(Receipt::new(envelope, locked.origin(), Outcome::Handled));
        self.store.commit(UnitOfWork::default().with_receipt(receipt)).await
    }
}

impl Broken {
    fn runs_of(&self, key: u64) -> u32 {
        self.runs.lock().unwrap().get(&key.to_string()).copied().unwrap_or_default()
    }
}

/// One partition and one message at a time, so that the limit is reached exactly.
fn one_at_a_time() -> ConsumerOptions {
    ConsumerOptions::default()
        .with_partitions(1)
        .with_prefetch(1)
        .with_lanes_max(1)
        .with_parked_messages_max(PARKED_MAX)
        .with_poll(Duration::from_millis(10))
}

async fn apply(transport: &MemoryTransport, context: &ContextName) {
    let (context, handles) = (context.clone(), vec![NAME]);
    let topology = Topology::new(context, 1).with_handles(handles);
    transport.apply(&topology).await.unwrap();
}

/// Completes when the message is handled or parked.
async fn publish(transport: &MemoryTransport, key: u64) {
    let mut metadata = foreign_metadata(&key.to_string());
    metadata.name = NAME.into();
    metadata.key = Some(key.to_string().into());
    let envelope = Envelope::new(metadata, "{}".into());
    transport.publisher().publish(&envelope).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_parked_messages_hold_up_new_ones_until_there_are_fewer() {
    let (context, faults) = (ContextName::new("strained").unwrap(), Faults::default());
    let (transport, database) = (MemoryTransport::new(), Arc::new(MemoryDatabase::new()));
    let connection = Connection { database, faults: faults.clone() };
    let schema = Schema::new(context.clone(), Vec::new());
    let store = connection.open(&schema).await.unwrap();
    apply(&transport, &context).await;
    let (fixed, runs) = (AtomicBool::new(false), Mutex::default());
    let inbound = Arc::new(Broken { context, store: Arc::clone(&store), fixed, runs });
    let carrier = Arc::new(transport.clone());
    let consumer = Consumer::new(inbound.clone(), Arc::clone(&store), carrier, one_at_a_time());
    let stop = CancellationToken::new();
    let running = tokio::spawn(consumer.run(stop.clone()));

    for key in 0..PARKED_MAX {
        publish(&transport, key).await;
    }
    let counted_full = || faults.parked_counts().iter().filter(|it| **it >= PARKED_MAX).count();
    // The consumer has used the first count before it asks for the second.
    until("the consumer knows", async || counted_full() >= 2).await;
    let (transport_of_new, new) = (transport.clone(), PARKED_MAX);
    let published = tokio::spawn(async move { publish(&transport_of_new, new).await });
    let before = inbound.runs_of(0);
    until("parked messages are still retried", async || inbound.runs_of(0) > before + 5).await;
    assert_eq!(inbound.runs_of(new), 0, "no new message is taken");
    assert_eq!(store.parked_count().await.unwrap(), PARKED_MAX);
    assert!(!published.is_finished());

    inbound.fixed.store(true, Ordering::SeqCst);
    timeout(PATIENCE, published).await.expect("new messages are taken again").unwrap();
    assert_eq!(inbound.runs_of(new), 1);
    until("parking empties", async || store.parked_count().await.unwrap() == 0).await;
    assert_eq!(store.received_count().await.unwrap(), PARKED_MAX + 1);
    assert_eq!(store.dead_letter_count().await.unwrap(), 0);
    stop.cancel();
    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}

const DRAIN: Duration = Duration::from_millis(300);
const STREAMS: usize = 10;
const NUMBERS: i64 = 10;

fn on_file(folder: &TempDir, script: &Script) -> Service {
    let settings = Settings::default().with_poll(Duration::from_millis(50)).with_drain(DRAIN);
    let file = folder.path().join("drained.db");
    Service::new(settings)
        .store_url(format!("sqlite:{}", file.display()))
        .host(sender())
        .host(receiver(script).timeout(PATIENCE))
}

async fn world_on(folder: TempDir, script: Script) -> World {
    let service = on_file(&folder, &script).start().await.unwrap();
    World { service, script, folder }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_takes_too_long_is_cut_off_and_loses_nothing() {
    let world = world_on(tempfile::tempdir().unwrap(), Script::default()).await;
    world.script.hold();
    for stream in 0..STREAMS {
        for number in 0..NUMBERS / 2 {
            world.emit(&format!("s{stream}"), number).await;
        }
    }
    let World { service, script, folder } = world;
    until("handlers run", async || script.held() == STREAMS).await;
    let begun = Instant::now();
    let error = timeout(PATIENCE, service.shutdown()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("MAMEY_DRAIN_MS"), "{error}");
    assert!(begun.elapsed() < DRAIN * 10, "{:?}", begun.elapsed());
    assert_eq!(script.held(), 0, "the handlers are cut off");
    drop(service);

    script.let_go();
    let world = world_on(folder, script).await;
    for stream in 0..STREAMS {
        for number in NUMBERS / 2..NUMBERS {
            world.emit(&format!("s{stream}"), number).await;
        }
    }
    world.idle().await;
    for stream in 0..STREAMS {
        let received = world.received(&format!("s{stream}")).await;
        assert_eq!(received, (0..NUMBERS).collect::<Vec<i64>>(), "stream {stream}");
    }
    let totals = world.service.totals().await.unwrap();
    let all = STREAMS as u64 * NUMBERS as u64;
    assert_eq!((totals.published, totals.dead_letters), (all, 0), "{totals:?}");
}
