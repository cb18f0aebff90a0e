//! The relay on a PostgreSQL that goes back in time, or shows a commit late: nothing is lost, and the
//! order of a key holds.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mamey::message::{ContextName, Envelope, Metadata};
use mamey::messaging::{Relay, RelayOptions};
use mamey::persistence::{PostgresDatabase, PostgresOptions, enlist};
use mamey::store::{CommitOutcome, Database, Schema, Store, UnitOfWork};
use mamey::transport::{Publisher, Routed};
use mamey::{MessageId, Result};
use mamey_test_support::{Session, postgres, require, until};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

/// A broker that confirms only while it is open, and remembers what it got, in that order.
struct Broker {
    got: Mutex<Vec<MessageId>>,
    open: watch::Sender<bool>,
}

#[async_trait]
impl Publisher for Broker {
    async fn publish(&self, envelope: &Envelope) -> Result<Routed> {
        self.got.lock().unwrap().push(envelope.metadata.id);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        Ok(Routed::Delivered)
    }
}

impl Broker {
    fn new(open: bool) -> Arc<Self> {
        Arc::new(Self { got: Mutex::default(), open: watch::Sender::new(open) })
    }

    fn got(&self) -> Vec<MessageId> {
        self.got.lock().unwrap().clone()
    }

    async fn until_it_got(&self, ids: &[MessageId]) {
        let all = async || {
            let got: HashSet<_> = self.got().into_iter().collect();
            ids.iter().all(|id| got.contains(id))
        };
        until("the broker got them", PATIENCE, all).await;
    }
}

struct World {
    store: Arc<dyn Store>,
    broker: Arc<Broker>,
    stop: CancellationToken,
    relay: JoinHandle<Result<()>>,
}

impl World {
    async fn new(url: &str, broker: Arc<Broker>, sweep: Duration) -> Self {
        let database = PostgresDatabase::connect(url, PostgresOptions::default()).await.unwrap();
        let schema = Schema::new(ContextName::new("shop").unwrap(), Vec::new());
        let store = database.open(&schema).await.unwrap();
        let options = RelayOptions::default().with_sweep(sweep);
        let relay = Relay::new(Arc::clone(&store), broker.clone(), options);
        let stop = CancellationToken::new();
        let relay = tokio::spawn(relay.run(stop.clone()));
        Self { store, broker, stop, relay }
    }

    async fn commit(&self, envelopes: Vec<Envelope>) {
        let unit = UnitOfWork::default().with_outbox(envelopes);
        let outcome = self.store.commit(unit).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    }

    async fn until_empty(&self) {
        let empty = async || self.store.outbox_depth().await.unwrap().records == 0;
        until("the outbox is empty", PATIENCE, empty).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.relay.await.unwrap().unwrap();
    }
}

/// Messages of a kind; every third has the hot key, one has none.
fn messages(kind: &str, count: usize) -> Vec<Envelope> {
    let message = |number: usize| {
        let key = match number % 3 {
            0 => Some("hot".into()),
            1 => Some(format!("{kind} {number}").as_str().into()),
            _ => None,
        };
        let id = MessageId::from_foreign(kind, &number.to_string());
        let metadata = Metadata::new(id, "shop.sold", "shop").with_key(key);
        Envelope::new(metadata, bytes::Bytes::from_static(b"{}"))
    };
    (0..count).map(message).collect()
}

fn ids(envelopes: &[Envelope]) -> Vec<MessageId> {
    envelopes.iter().map(|envelope| envelope.metadata.id).collect()
}

fn hot(envelopes: &[Envelope]) -> Vec<MessageId> {
    let hot = envelopes
        .iter()
        .filter(|it| it.metadata.key.as_ref().is_some_and(|it| it.as_str() == "hot"));
    hot.map(|envelope| envelope.metadata.id).collect()
}

/// What is published while the broker holds back its confirms is lost by a restore, and other messages
/// get their sequences. The late confirms delete none of these: all that the database holds goes out,
/// long before a sweep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restored_database_holds_goes_out() {
    let database = require!(postgres::database().await);
    let world = World::new(database.url(), Broker::new(false), Duration::from_hours(1)).await;
    let (kept, lost, later) = (messages("kept", 50), messages("lost", 60), messages("later", 60));
    world.commit(kept.clone()).await;
    let mut admin = Session::of(database.url()).await;
    admin.run("CREATE TABLE saved AS SELECT * FROM shop._outbox").await;
    world.commit(lost.clone()).await;
    // Of the hot key only the first is in flight; all others are.
    let (hot_first, all) = (hot(&kept)[0], ids(&[kept.clone(), lost.clone()].concat()));
    let hot_others = [hot(&kept), hot(&lost)].concat();
    let in_flight = |id: &MessageId| *id == hot_first || !hot_others.contains(id);
    let sent: Vec<_> = all.into_iter().filter(in_flight).collect();
    world.broker.until_it_got(&sent).await;
    admin
        .run(
            "BEGIN; LOCK TABLE shop._outbox; DELETE FROM shop._outbox;
             INSERT INTO shop._outbox OVERRIDING SYSTEM VALUE SELECT * FROM saved;
             SELECT setval(pg_get_serial_sequence('shop._outbox', 'sequence'), 50); COMMIT",
        )
        .await;
    for message in &later {
        world.commit(vec![message.clone()]).await;
    }
    let drawn_again = "SELECT count(*) FROM shop._outbox WHERE sequence BETWEEN 51 AND 110";
    assert_eq!(admin.one::<i64>(drawn_again).await, 60);
    world.broker.open.send_replace(true);
    let expected = [kept, later].concat();
    world.broker.until_it_got(&ids(&expected)).await;
    world.until_empty().await;
    let mut got = world.broker.got();
    let lost_hot: HashSet<_> = hot(&lost).into_iter().collect();
    assert!(got.iter().all(|id| !lost_hot.contains(id)), "what waited in memory is dropped");
    let of_key = hot(&expected);
    let mut seen = HashSet::new();
    got.retain(|id| of_key.contains(id) && seen.insert(*id));
    assert_eq!(got, of_key, "the key's order");
    world.end().await;
}

/// A transaction draws a sequence and stays open for many sweeps. When it has committed, a later
/// message of its key comes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_shows_late_keeps_its_place() {
    const SWEEP: Duration = Duration::from_millis(200);
    let database = require!(postgres::database().await);
    let world = World::new(database.url(), Broker::new(true), SWEEP).await;
    let all = messages("sold", 10);
    let of_key = hot(&all);
    let (of_key_all, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|it| of_key.contains(&it.metadata.id));
    let mut own = Session::of(database.url()).await;
    own.run("BEGIN").await;
    let unit = UnitOfWork::default().with_outbox(vec![of_key_all[0].clone()]);
    let enlisted = enlist(&*world.store, &mut own, unit).await.unwrap();
    assert!(matches!(enlisted.outcome(), CommitOutcome::Committed(_)));
    for other in &others {
        world.commit(vec![other.clone()]).await;
        world.broker.until_it_got(&ids(std::slice::from_ref(other))).await;
        tokio::time::sleep(SWEEP).await;
    }
    own.run("COMMIT").await;
    for later in &of_key_all[1..] {
        world.commit(vec![later.clone()]).await;
    }
    world.broker.until_it_got(&of_key).await;
    let got: Vec<_> = world.broker.got().into_iter().filter(|id| of_key.contains(id)).collect();
    assert_eq!(got, of_key);
    world.until_empty().await;
    world.end().await;
}
