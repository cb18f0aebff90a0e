//! The relay with many keys whose next message has no route: all others go out as fast as without them.
#![cfg(all(feature = "postgres", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mamey::message::{ContextName, Envelope, Key, Metadata};
use mamey::messaging::{Relay, RelayOptions, RelayStats};
use mamey::persistence::{PostgresDatabase, PostgresOptions, SqliteDatabase, SqliteOptions};
use mamey::store::{Database, Schema, Store};
use mamey::transport::{Publisher, Routed};
use mamey::{Error, MessageId, Result};
use mamey_test_support::{postgres, require, until};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(300);

/// How many keys have no route: many more than a relay keeps in memory.
const BLOCKED_KEYS: usize = 10_000;

/// How many messages each of them has.
const MESSAGES_PER_BLOCKED_KEY: usize = 10;

/// How many messages have a route, over a thousand keys.
const HEALTHY: usize = 100_000;
const HEALTHY_KEYS: usize = 1000;

/// A run with blocked keys may take so many times as long as one without. A relay that looks at blocked
/// messages again and again takes a hundred times as long, or never ends.
const TIMES_AS_LONG: f64 = 2.0;

/// What of a message's metadata differs from one to the next.
const ID: &str = "01234567-89ab-7def-8123-456789abcdef";
const KEY: &str = "the key";

/// A broker without a queue for some messages, until it is opened for all.
#[derive(Default)]
struct Broker {
    is_open: AtomicBool,
    routed: AtomicU64,
}

#[async_trait]
impl Publisher for Broker {
    async fn publish(&self, envelope: &Envelope) -> Result<Routed> {
        let key = envelope.metadata.key.as_ref().unwrap();
        if key.as_str().starts_with("blocked") && !self.is_open.load(Ordering::Relaxed) {
            return Err(Error::unroutable("no queue takes it"));
        }
        self.routed.fetch_add(1, Ordering::Relaxed);
        Ok(Routed::Delivered)
    }
}

/// Rows of an outbox, as columns.
struct Rows {
    ids: Vec<Uuid>,
    slots: Vec<i64>,
    keys: Vec<String>,
    /// The metadata of each but for its id and its key.
    metadata: String,
}

impl Rows {
    /// Messages that take turns over some keys.
    fn new(kind: &str, count: usize, keys: usize) -> Self {
        let sample = MessageId::from_uuid(ID.parse().unwrap());
        let metadata = Metadata::new(sample, "shop.sold", "shop").with_key(Some(KEY.into()));
        let keys = (0..count).map(|number| format!("{kind} {}", number % keys));
        let keys: Vec<_> = keys.collect();
        Self {
            ids: (0..count).map(|_| Uuid::now_v7()).collect(),
            slots: keys.iter().map(|key| i64::from(Key::from(&**key).slot())).collect(),
            keys,
            metadata: serde_json::to_string(&metadata).unwrap(),
        }
    }

    fn blocked() -> Self {
        Self::new("blocked", BLOCKED_KEYS * MESSAGES_PER_BLOCKED_KEY, BLOCKED_KEYS)
    }

    fn healthy() -> Self {
        Self::new("healthy", HEALTHY, HEALTHY_KEYS)
    }
}

/// A store, and a session of the test's own to fill its outbox with.
struct World<S> {
    store: Arc<dyn Store>,
    session: S,
}

/// A relay that runs.
struct Running {
    stats: RelayStats,
    broker: Arc<Broker>,
    stop: CancellationToken,
    relay: tokio::task::JoinHandle<Result<()>>,
}

impl<S> World<S> {
    fn run(&self) -> Running {
        let broker = Arc::new(Broker::default());
        let options = RelayOptions::default().with_poll(Duration::from_millis(100));
        let relay = Relay::new(Arc::clone(&self.store), broker.clone(), options);
        let (stats, stop) = (relay.stats(), CancellationToken::new());
        let relay = tokio::spawn(relay.run(stop.clone()));
        Running { stats, broker, stop, relay }
    }

    async fn stalled(&self) -> u64 {
        self.store.outbox_depth().await.unwrap().stalled
    }
}

impl Running {
    /// How long it takes until so many messages have gone out.
    async fn time_to(&self, what: &str, routed: usize) -> Duration {
        let started = Instant::now();
        let all = async || self.broker.routed.load(Ordering::Relaxed) >= routed as u64;
        until(what, PATIENCE, all).await;
        started.elapsed()
    }

    async fn end(self) {
        self.stop.cancel();
        self.relay.await.unwrap().unwrap();
    }
}

/// The healthy go out beside ten thousand blocked keys, and before they are known to be blocked; the
/// blocked go out when they have a route, each key in order, and nothing waits any more.
async fn the_healthy_go_out_as_without_the_blocked<S>(
    mut new: impl AsyncFnMut() -> World<S>,
    mut plant: impl AsyncFnMut(&mut S, Rows),
) {
    let mut world = new().await;
    plant(&mut world.session, Rows::healthy()).await;
    let running = world.run();
    let alone = running.time_to("all go out", HEALTHY).await;
    running.end().await;

    let mut world = new().await;
    plant(&mut world.session, Rows::blocked()).await;
    plant(&mut world.session, Rows::healthy()).await;
    let running = world.run();
    let behind = running.time_to("the healthy go out behind the blocked", HEALTHY).await;
    until("the blocked are stalled", PATIENCE, async || {
        world.stalled().await == BLOCKED_KEYS as u64
    })
    .await;
    plant(&mut world.session, Rows::healthy()).await;
    let beside = running.time_to("the healthy go out beside the stalled", 2 * HEALTHY).await;
    let stats = running.stats.snapshot();
    println!("alone {alone:?}, behind {behind:?}, beside {beside:?}: {stats:?}");
    assert!(behind < alone.mul_f64(TIMES_AS_LONG), "{behind:?} behind them, {alone:?} alone");
    assert!(beside < alone.mul_f64(TIMES_AS_LONG), "{beside:?} beside them, {alone:?} alone");

    running.broker.is_open.store(true, Ordering::Relaxed);
    let all = 2 * HEALTHY + BLOCKED_KEYS * MESSAGES_PER_BLOCKED_KEY;
    let freed = running.time_to("the blocked go out in the end", all).await;
    println!("the blocked went out within {freed:?}");
    until("all are deleted", PATIENCE, async || {
        world.store.outbox_depth().await.unwrap().records == 0
    })
    .await;
    running.end().await;
}

fn schema() -> Schema {
    Schema::new(ContextName::new("shop").unwrap(), Vec::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_healthy_go_out_as_without_the_blocked() {
    const PLANT: &str = "\
        INSERT INTO shop._outbox (id, slot, key, sent_at, metadata, payload)
        SELECT id, slot, key, 0, replace(replace($4, $5, id::text), $6, key), '{}'
        FROM unnest($1::uuid[], $2::bigint[], $3::text[]) WITH ORDINALITY
            AS rows (id, slot, key, place)
        ORDER BY place";
    let databases = [require!(postgres::database().await), require!(postgres::database().await)];
    let mut databases = databases.iter();
    let new = async || {
        let url = databases.next().unwrap().url();
        let database = PostgresDatabase::connect(url, PostgresOptions::default()).await.unwrap();
        let store = database.open(&schema()).await.unwrap();
        World { store, session: PgConnection::connect(url).await.unwrap() }
    };
    let plant = async |session: &mut PgConnection, rows: Rows| {
        let plant = sqlx::query(PLANT).bind(rows.ids).bind(rows.slots).bind(rows.keys);
        let plant = plant.bind(rows.metadata).bind(ID).bind(KEY);
        plant.execute(session).await.unwrap();
    };
    the_healthy_go_out_as_without_the_blocked(new, plant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_the_healthy_go_out_as_without_the_blocked() {
    const PLANT: &str = "\
        INSERT INTO mamey_outbox (context, id, slot, key, sent_at, metadata, payload)
        SELECT 'shop', unhex(replace(value ->> 0, '-', '')), value ->> 1, value ->> 2, 0,
            replace(replace(?2, ?3, value ->> 0), ?4, value ->> 2), x'7b7d'
        FROM json_each(?1)";
    let folder = tempfile::tempdir().unwrap();
    let mut files = 0..;
    let new = async || {
        let path = folder.path().join(format!("{}.db", files.next().unwrap()));
        let database = SqliteDatabase::open(path.to_str().unwrap(), SqliteOptions::default());
        let store = database.await.unwrap().open(&schema()).await.unwrap();
        let session = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        World { store, session }
    };
    let plant = async |session: &mut SqliteConnection, rows: Rows| {
        let each = rows.ids.iter().zip(&rows.slots).zip(&rows.keys);
        let each: Vec<_> = each.map(|((id, slot), key)| (id.to_string(), slot, key)).collect();
        let plant = sqlx::query(PLANT).bind(serde_json::to_string(&each).unwrap());
        let plant = plant.bind(rows.metadata).bind(ID).bind(KEY);
        plant.execute(session).await.unwrap();
    };
    the_healthy_go_out_as_without_the_blocked(new, plant).await;
}
