//! A running service for one row, and the checks that end every row.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mamey::message::{Envelope, Metadata};
use mamey::messaging::MemoryTransport;
use mamey::persistence::MemoryDatabase;
use mamey::store::{Database, DeadLetter, Schema, Store};
use mamey::transport::Routed;
use mamey::{BoundedContext, MessageId, Result, RunningService, Service, Settings};
use tempfile::TempDir;

use crate::domain::{Heard, Say, Script, deaf_listener, listener, quick_retries, speaker};
use crate::panics;

/// The longest that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which store a row runs on.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Memory,
    Sqlite,
}

/// What outlives a service.
enum Kept {
    Memory(MemoryDatabase),
    Sqlite(TempDir),
}

pub struct World {
    pub service: RunningService,
    pub script: Script,
    pub transport: MemoryTransport,
    pub settings: Settings,
    kept: Kept,
    good_messages: i64,
}

/// Runs one row: nothing may panic, nothing may be thrown away, and the service goes on.
pub async fn row(on: On, test: impl AsyncFnOnce(&mut World)) {
    panics::watch();
    let mut world = World::start(on).await;
    let tried = tokio::time::timeout(PATIENCE, test(&mut world)).await;
    assert!(tried.is_ok(), "the row does not come to its end");
    world.still_works().await;
    world.service.shutdown().await.unwrap();
    panics::assert_none();
}

impl World {
    async fn start(on: On) -> Self {
        let kept = match on {
            On::Memory => Kept::Memory(MemoryDatabase::new()),
            On::Sqlite => Kept::Sqlite(tempfile::tempdir().unwrap()),
        };
        let settings = Settings::default()
            .with_poll(Duration::from_millis(50))
            .with_lease(Duration::from_secs(3));
        let (script, transport) = (Script::default(), MemoryTransport::new());
        let context = listener(&script);
        let service = begin(&kept, &settings, &transport, context).await;
        Self { service, script, transport, settings, kept, good_messages: 0 }
    }

    /// Starts again on what the last service left, which must have ended.
    pub async fn start_again(&mut self) {
        self.begin_again(listener(&self.script)).await;
    }

    /// As [`World::start_again`], with a listener that has lost its handler.
    pub async fn start_again_deaf(&mut self) {
        self.begin_again(deaf_listener()).await;
    }

    /// As [`World::start_again`], with a listener that retries as long as any row needs.
    pub async fn start_again_patient(&mut self) {
        self.begin_again(listener(&self.script).retry(quick_retries().with_delayed(10_000))).await;
    }

    async fn begin_again(&mut self, context: BoundedContext) {
        self.transport = MemoryTransport::new();
        self.service = begin(&self.kept, &self.settings, &self.transport, context).await;
    }

    pub async fn say(&self, topic: &str, number: i64) {
        self.try_say(topic, number, "").await.unwrap();
    }

    pub async fn try_say(&self, topic: &str, number: i64, text: &str) -> Result<()> {
        let (topic, text) = (topic.to_owned(), text.to_owned());
        let say = Say { topic, number, text };
        self.service.send(say).await
    }

    pub async fn heard(&self, topic: &str) -> Vec<i64> {
        self.service.query(Heard(topic.to_owned())).await.unwrap()
    }

    pub async fn until_heard(&self, topic: &str, numbers: &[i64]) {
        let wait = async || self.heard(topic).await == numbers;
        self.until("the messages are heard", wait).await;
    }

    pub async fn until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        mamey_test_support::until(what, PATIENCE, holds).await;
    }

    pub async fn idle(&self) {
        let idle = self.service.wait_until_idle();
        let waited = tokio::time::timeout(PATIENCE, idle).await;
        waited.expect("the service comes to rest").unwrap();
    }

    pub fn store(&self, context: &str) -> Arc<dyn Store> {
        self.service.store(context).unwrap()
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        let store = self.store("listener");
        store.dead_letters(None, 10).await.unwrap()
    }

    /// Waits until the listener has one dead letter and nothing is on its way.
    pub async fn one_dead_letter(&self) -> DeadLetter {
        let there = async || !self.dead_letters().await.is_empty();
        self.until("there is a dead letter", there).await;
        self.idle().await;
        let mut letters = self.dead_letters().await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        letters.remove(0)
    }

    /// A message about the topic `elsewhere` as a foreign system would send it.
    pub fn foreign(&self, id: &str) -> Metadata {
        let id = MessageId::from_foreign("elsewhere", id);
        Metadata::new(id, "speaker.said", "elsewhere")
            .with_version(3)
            .with_key(Some("elsewhere".into()))
    }

    /// Brings a message to the transport as a foreign publisher would.
    pub async fn deliver(&self, metadata: Metadata, payload: Vec<u8>) -> Result<Routed> {
        let payload = payload.into();
        let envelope = Envelope::new(metadata, payload);
        self.service.publisher().publish(&envelope).await
    }

    /// A good message gets through on a topic that nothing has touched.
    pub async fn still_works(&mut self) {
        self.good_messages += 1;
        self.script.clear();
        let topic = format!("good {}", self.good_messages);
        self.say(&topic, 1_000_000).await;
        self.until_heard(&topic, &[1_000_000]).await;
        let rejected = self.service.rejected("listener").unwrap().list(None, 10).await.unwrap();
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    /// The database file, for a program beside this one.
    pub fn folder(&self) -> Option<PathBuf> {
        match &self.kept {
            Kept::Memory(_) => None,
            Kept::Sqlite(folder) => Some(folder.path().to_owned()),
        }
    }
}

impl Drop for World {
    /// A runtime waits for its threads, so a failed row must not leave one blocked.
    fn drop(&mut self) {
        self.script.release();
    }
}

async fn begin(
    kept: &Kept,
    settings: &Settings,
    transport: &MemoryTransport,
    listener: BoundedContext,
) -> RunningService {
    let service = Service::new(settings.clone()).transport(transport.clone());
    let service = match kept {
        Kept::Memory(database) => service.store(NeverClosed(database.clone())),
        Kept::Sqlite(folder) => {
            // The name that the quickstart gives its file, so that it can be the second process.
            let file = folder.path().join("quickstart.db");
            service.store_url(format!("sqlite:{}", file.display()))
        }
    };
    let service = service.host(speaker()).host(listener);
    service.start().await.unwrap()
}

/// A database in memory that outlives its service as a file does.
struct NeverClosed(MemoryDatabase);

impl Database for NeverClosed {
    fn open<'s, 'a, 'f>(
        &'s self,
        schema: &'a Schema,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn Store>>> + Send + 'f>>
    where
        's: 'f,
        'a: 'f,
        Self: 'f,
    {
        self.0.open(schema)
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn close<'s, 'f>(&'s self) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(std::future::ready(()))
    }
}

/// Runs each row on each embedded store.
#[macro_export]
macro_rules! rows {
    ($($name:ident)*) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                $crate::world::row($crate::world::On::Memory, super::$name).await;
            }
        )*}
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                $crate::world::row($crate::world::On::Sqlite, super::$name).await;
            }
        )*}
    };
}
