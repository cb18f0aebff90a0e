//! A running service for one test, on one store.

use std::sync::Arc;
use std::time::Duration;

use mamey::message::{Envelope, Metadata};
use mamey::store::Store;
use mamey::{MessageId, RunningService, Service, Settings};
use tempfile::TempDir;

use crate::domain::{Emit, Received, Script, receiver, sender};

/// The longest that a step of these tests may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Which store a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Memory,
    Sqlite,
}

pub struct World {
    pub service: RunningService,
    pub script: Script,
    pub folder: TempDir,
}

impl World {
    pub async fn start(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Script::default();
        let service =
            service(on, &folder).host(sender()).host(receiver(&script)).start().await.unwrap();
        Self { service, script, folder }
    }

    /// Shuts the service down and starts it again on the same folder.
    pub async fn restart(self) -> Self {
        self.service.shutdown().await.unwrap();
        let service = service(On::Sqlite, &self.folder)
            .host(sender())
            .host(receiver(&self.script))
            .start()
            .await
            .unwrap();
        Self { service, ..self }
    }

    pub async fn emit(&self, stream: &str, number: i64) {
        let command = Emit { stream: stream.to_owned(), number };
        self.service.send(command).await.unwrap();
    }

    pub async fn received(&self, stream: &str) -> Vec<i64> {
        self.service.query(Received(stream.to_owned())).await.unwrap()
    }

    /// Waits until no message is in flight or parked.
    pub async fn idle(&self) {
        let idle = self.service.wait_until_idle();
        tokio::time::timeout(PATIENCE, idle).await.expect("the service is idle in time").unwrap();
    }

    pub async fn until(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        until(what, holds).await;
    }

    pub fn store(&self, context: &str) -> Arc<dyn Store> {
        self.service.store(context).unwrap()
    }

    /// An event of the stream `a`, as another system would send it.
    pub fn foreign(&self, id: &str) -> Metadata {
        foreign_metadata(id)
    }

    /// Publishes a message on the transport, as another system would.
    pub async fn deliver(&self, metadata: Metadata, payload: &str) {
        let envelope = Envelope::new(metadata, payload.to_owned().into());
        self.service.publisher().publish(&envelope).await.unwrap();
    }
}

/// An event of the stream `a`, as another system would send it.
pub fn foreign_metadata(id: &str) -> Metadata {
    let id = MessageId::from_foreign("elsewhere", id);
    let (version, key) = (2, Some("a".into()));
    Metadata::new(id, "sender.emitted", "elsewhere").with_version(version).with_key(key)
}

pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    mamey_test_support::until(what, PATIENCE, holds).await;
}

fn service(on: On, folder: &TempDir) -> Service {
    let settings = Settings::default().with_poll(Duration::from_millis(50));
    let service = Service::new(settings).transport_url("memory:");
    match on {
        On::Memory => service.store_url("memory:"),
        On::Sqlite => {
            let path = folder.path().join("world.db");
            service.store_url(format!("sqlite:{}", path.display()))
        }
    }
}

/// Runs each test on each embedded store.
#[macro_export]
macro_rules! on_each_store {
    ($($name:ident)*) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::world::World::start($crate::world::On::Memory).await).await;
            }
        )*}
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::world::World::start($crate::world::On::Sqlite).await).await;
            }
        )*}
    };
}
