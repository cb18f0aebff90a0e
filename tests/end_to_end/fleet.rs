//! Several instances of one service, over one database and one transport.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mamey::capabilities::TransportCapabilities;
use mamey::clock::{Clock, SystemClock};
use mamey::message::ContextName;
use mamey::messaging::MemoryTransport;
use mamey::persistence::{MemoryDatabase, MemoryOptions, SqliteDatabase, SqliteOptions};
use mamey::store::{Database, LeaseRole};
use mamey::transport::{
    Publisher, RejectedMessages, Subscriber, Subscription, Topology, Transport,
};
use mamey::{BoundedContext, Result, RetryPolicy, RunningService, Service, Settings, Timestamp};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::domain::{Emit, Received, Script, receiver, sender};
use crate::faults::{Connection, Faults};
use crate::world::{On, PATIENCE, until};

/// How long a silent instance keeps its partitions, in the database's time.
pub const LEASE: Duration = Duration::from_secs(1);

pub struct Instance {
    pub service: RunningService,
    pub faults: Faults,
}

pub struct Fleet {
    pub instances: Vec<Instance>,
    pub script: Script,
    pub clock: Arc<StoppableClock>,
    pub retry: RetryPolicy,
    database: Arc<dyn Database>,
    transport: MemoryTransport,
    partitions: u16,
    _folder: TempDir,
}

impl Fleet {
    /// A fleet without instances. The database's clock stands still until it is started, so that
    /// no lease expires: partitions move only when they are released.
    pub async fn new(on: On, partitions: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(StoppableClock::default());
        let database: Arc<dyn Database> = match on {
            On::Memory => {
                let options = MemoryOptions::default().with_clock(clock.clone());
                Arc::new(MemoryDatabase::with_options(options))
            }
            On::Sqlite => {
                let path = folder.path().join("fleet.db").display().to_string();
                let options = SqliteOptions::default().with_clock(clock.clone());
                Arc::new(SqliteDatabase::open(&path, options).await.unwrap())
            }
        };
        Self {
            instances: Vec::new(),
            script: Script::default(),
            clock,
            retry: patient_retries(),
            database,
            transport: MemoryTransport::new(),
            partitions,
            _folder: folder,
        }
    }

    /// Starts one more instance.
    pub async fn join(&mut self) {
        let faults = Faults::default();
        let receiver = receiver(&self.script).timeout(PATIENCE).retry(self.retry);
        let service = self.host(faults.clone(), [sender(), receiver]).await;
        self.instances.push(Instance { service, faults });
    }

    /// Starts a service of other contexts over the same database and transport.
    pub async fn host(
        &self,
        faults: Faults,
        contexts: impl IntoIterator<Item = BoundedContext>,
    ) -> RunningService {
        let settings = Settings::default()
            .with_partitions(self.partitions)
            .with_lease(LEASE)
            .with_poll(Duration::from_millis(50));
        let database = Arc::clone(&self.database);
        let service = Service::new(settings)
            .store(Connection { database, faults })
            .transport(SharedTransport(self.transport.clone()));
        contexts.into_iter().fold(service, Service::host).start().await.unwrap()
    }

    /// Ends an instance without a shutdown, as a crash does.
    pub fn crash(&mut self, instance: usize) {
        drop(self.instances.remove(instance));
    }

    /// Shuts an instance down.
    pub async fn leave(&mut self, instance: usize) {
        self.instances.remove(instance).service.shutdown().await.unwrap();
    }

    /// Waits until each instance holds its share, and together they hold all partitions.
    pub async fn balanced(&self) {
        let all = usize::from(self.partitions);
        let fair = all.div_ceil(self.instances.len());
        let is_balanced = |context: &str, role| {
            let held = self.instances.iter().map(|it| it.faults.held(context, role));
            let held: Vec<usize> = held.collect();
            held.iter().sum::<usize>() == all && held.iter().all(|held| *held <= fair)
        };
        until("each instance holds its share", async || {
            ["sender", "receiver"].iter().all(|context| {
                is_balanced(context, LeaseRole::Relay) && is_balanced(context, LeaseRole::Consumer)
            })
        })
        .await;
    }

    /// Emits these numbers on each stream, in order, each through the next instance.
    pub async fn emit(&self, streams: usize, numbers: Range<i64>) {
        let emit_all = |stream: usize| {
            let (name, numbers) = (name(stream), numbers.clone());
            async move {
                for (turn, number) in numbers.enumerate() {
                    let instance = &self.instances[(turn + stream) % self.instances.len()];
                    let command = Emit { stream: name.clone(), number };
                    instance.service.send(command).await.unwrap();
                }
            }
        };
        futures_util::future::join_all((0..streams).map(emit_all)).await;
    }

    pub async fn received(&self, stream: usize) -> Vec<i64> {
        self.instances[0].service.query(Received(name(stream))).await.unwrap()
    }

    /// How many numbers have arrived over all streams.
    pub async fn arrived(&self, streams: usize) -> usize {
        let received = futures_util::future::join_all((0..streams).map(|it| self.received(it)));
        received.await.iter().map(Vec::len).sum()
    }

    /// Waits for the end, and checks that each number arrived once on each stream, in order.
    pub async fn check(&self, streams: usize, numbers: i64) {
        let expected = streams * usize::try_from(numbers).unwrap();
        until("all has arrived", async || self.arrived(streams).await >= expected).await;
        let service = &self.instances[0].service;
        tokio::time::timeout(PATIENCE, service.wait_until_idle()).await.unwrap().unwrap();
        for stream in 0..streams {
            let received = self.received(stream).await;
            assert_eq!(received, (0..numbers).collect::<Vec<i64>>(), "stream {stream}");
        }
        let totals = service.totals().await.unwrap();
        let expected = expected as u64;
        assert_eq!((totals.published, totals.handled), (expected, expected), "{totals:?}");
        assert_eq!(totals.dead_letters, 0, "{totals:?}");
    }
}

pub fn name(stream: usize) -> String {
    format!("s{stream}")
}

/// More retries than any of these tests needs.
pub fn patient_retries() -> RetryPolicy {
    let mut policy = RetryPolicy::default().with_immediate(1).with_delayed(10_000);
    policy.backoff.first = Duration::from_millis(5);
    policy.backoff.max = Duration::from_millis(50);
    policy
}

/// A clock that stands still until it is started, and never runs faster than the real one.
pub struct StoppableClock {
    begin: Timestamp,
    started: Mutex<Option<Instant>>,
}

impl StoppableClock {
    pub fn start(&self) {
        self.started.lock().unwrap().get_or_insert_with(Instant::now);
    }
}

impl Default for StoppableClock {
    fn default() -> Self {
        Self { begin: SystemClock.now(), started: Mutex::default() }
    }
}

impl Clock for StoppableClock {
    fn now(&self) -> Timestamp {
        let started = self.started.lock().unwrap();
        self.begin.plus(started.map(|it| it.elapsed()).unwrap_or_default())
    }
}

/// A transport that stays open when one of its services closes it.
struct SharedTransport(MemoryTransport);

#[async_trait]
impl Transport for SharedTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.0.capabilities()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn apply(&self, topology: &Topology) -> Result<()> {
        self.0.apply(topology).await
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.0.publisher()
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        self.0.subscribe(subscription).await
    }

    fn rejected(&self, context: &ContextName) -> Result<Arc<dyn RejectedMessages>> {
        self.0.rejected(context)
    }

    async fn ping(&self) -> Result<()> {
        self.0.ping().await
    }

    async fn close(&self) {}
}

/// Runs each test on each embedded store.
#[macro_export]
macro_rules! on_each_fleet {
    ($($name:ident)*) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::world::On::Memory).await;
            }
        )*}
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::world::On::Sqlite).await;
            }
        )*}
    };
}
