//! Two databases, one context name: the second service is refused, the first goes on.
#![cfg(all(feature = "postgres", feature = "sqlite", feature = "rabbitmq"))]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mamey::message::{ContextName, Envelope, Metadata};
use mamey::messaging::{MemoryTransport, RabbitOptions, RabbitTransport};
use mamey::persistence::MemoryDatabase;
use mamey::transport::{Routed, Transport};
use mamey::{
    BoundedContext, Context, ErrorKind, Event, MessageHandler, MessageId, Result, RunningService,
    Service, Settings,
};
use mamey_test_support::{postgres, rabbitmq, require, until};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "orders.placed")]
struct Placed {}

/// Counts what this service handled.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl MessageHandler<Placed> for Count {
    async fn handle(&self, _: Placed, _: &Context) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Count {
    fn context(&self) -> BoundedContext {
        BoundedContext::new("payments").on(self.clone())
    }

    async fn reaches(&self, count: u64) {
        let reached = async || self.0.load(Ordering::SeqCst) >= count;
        until("the messages are handled", PATIENCE, reached).await;
        assert_eq!(self.0.load(Ordering::SeqCst), count);
    }
}

async fn start(store: &str, broker: &str, count: &Count) -> Result<RunningService> {
    let settings = Settings::default().with_store_url(store).with_transport_url(broker);
    Service::new(settings.with_partitions(4)).host(count.context()).start().await
}

async fn publish(service: &RunningService, messages: u64) {
    for number in 0..messages {
        let id = MessageId::from_foreign("orders", &uuid::Uuid::now_v7().to_string());
        let mut metadata = Metadata::new(id, "orders.placed", "orders");
        metadata.key = Some(number.to_string().as_str().into());
        let envelope = Envelope::new(metadata, "{}".into());
        let routed = service.publisher().publish(&envelope).await.unwrap();
        assert_eq!(routed, Routed::Delivered);
    }
}

/// The start is refused, with the context and words of both databases.
fn assert_refused(started: Result<RunningService>, words: &[&str]) {
    let error = started.expect_err("it was not refused");
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    let text = error.to_string();
    for word in words.iter().chain(&["`payments`", "delete_queue payments.owner"]) {
        assert!(text.contains(word), "`{word}` is not in {text}");
    }
}

fn sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite:{}", folder.join(name).display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_on_another_postgres_is_refused() {
    let (ours, theirs) =
        (require!(postgres::database().await), require!(postgres::database().await));
    let vhost = require!(rabbitmq::vhost().await);
    let (first, second) = (Count::default(), Count::default());
    let running = start(ours.url(), vhost.url(), &first).await.unwrap();
    publish(&running, 10).await;
    let owner = running.store("payments").unwrap().identity().to_string();
    assert_refused(start(theirs.url(), vhost.url(), &second).await, &[&owner, theirs.name()]);
    publish(&running, 10).await;
    first.reaches(20).await;
    running.shutdown().await.unwrap();
    // What waits for the first is not taken by the second while the first is away.
    let error = start(theirs.url(), vhost.url(), &second).await.err();
    assert_eq!(error.unwrap().kind(), ErrorKind::Misconfigured);

    // Instances of one service, one of which knows the server under another name.
    let renamed = ours.url().replacen("127.0.0.1", "localhost", 1);
    assert_ne!(renamed, ours.url());
    let again = start(&renamed, vhost.url(), &first).await.unwrap();
    let beside = start(ours.url(), vhost.url(), &first).await.unwrap();
    publish(&again, 10).await;
    first.reaches(30).await;
    again.shutdown().await.unwrap();
    beside.shutdown().await.unwrap();
    second.reaches(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_moves_with_its_file_and_to_a_new_one_by_order() {
    let vhost = require!(rabbitmq::vhost().await);
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs, moved] =
        ["ours.db", "theirs.db", "moved.db"].map(|name| sqlite(folder.path(), name));
    let (first, second) = (Count::default(), Count::default());
    let running = start(&ours, vhost.url(), &first).await.unwrap();
    assert_refused(start(&theirs, vhost.url(), &second).await, &["ours.db", "theirs.db"]);
    assert_refused(start("memory:", vhost.url(), &second).await, &["ours.db", "memory:"]);
    running.shutdown().await.unwrap();

    // The same data in another place.
    std::fs::rename(folder.path().join("ours.db"), folder.path().join("moved.db")).unwrap();
    let running = start(&moved, vhost.url(), &first).await.unwrap();
    publish(&running, 5).await;
    first.reaches(5).await;
    running.shutdown().await.unwrap();

    // Another database takes over when it is said so, and then the first is refused.
    assert_refused(start(&theirs, vhost.url(), &second).await, &["theirs.db"]);
    let broker = RabbitTransport::connect(vhost.url(), RabbitOptions::default()).await.unwrap();
    broker.forget_owner(&ContextName::new("payments").unwrap()).await.unwrap();
    broker.close().await;
    let running = start(&theirs, vhost.url(), &second).await.unwrap();
    publish(&running, 5).await;
    second.reaches(5).await;
    assert_refused(start(&moved, vhost.url(), &first).await, &["moved.db", "theirs.db"]);
    running.shutdown().await.unwrap();
    first.reaches(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_do_not_share_a_context_in_one_process() {
    let transport = MemoryTransport::new();
    let (first, second) = (Count::default(), Count::default());
    let start = async |database: &MemoryDatabase, count: &Count| {
        let service = Service::in_memory().store(database.clone()).transport(transport.clone());
        service.host(count.context()).start().await
    };
    let ours = MemoryDatabase::new();
    let running = start(&ours, &first).await.unwrap();
    publish(&running, 5).await;
    // Another instance on the same data. A service that ends closes what it was given, so both stay.
    let beside = start(&ours, &first).await.unwrap();
    publish(&beside, 5).await;
    first.reaches(10).await;
    let other = Service::in_memory().transport(transport.clone()).host(second.context());
    let error = other.start().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(
        error.to_string().contains("context `payments` belongs to another database"),
        "{error}"
    );
    second.reaches(0).await;
}
