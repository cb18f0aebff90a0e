//! Instances whose clocks are wrong: what lasts follows the database's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mamey::clock::{Clock, SystemClock};
use mamey::id::new_uuid;
use mamey::message::{Envelope, Message, Metadata};
use mamey::{
    Backoff, BoundedContext, Command, CommandHandler, Context, Error, Event, MessageHandler,
    MessageId, Result, RetryPolicy, RunningService, Service, Settings, Timestamp,
};
use mamey_test_support::{Session, postgres, require};
use serde::{Deserialize, Serialize};

use crate::world::until;

const AHEAD: Duration = Duration::from_hours(20 * 24);

const HOUR: Duration = Duration::from_hours(1);

struct DaysAhead;

impl Clock for DaysAhead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(AHEAD)
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "clocks.quick")]
struct Quick {}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "clocks.slow")]
struct Slow {}

#[derive(Clone, Command, Serialize, Deserialize)]
#[command(name = "clocks.count", reply = u32)]
struct Count {}

/// What the handlers of all instances share.
#[derive(Default)]
struct State {
    quick_runs: AtomicU32,
    slow_runs: AtomicU32,
    counts: AtomicU32,
    fails: AtomicBool,
}

#[derive(Clone, Default)]
struct Handlers(Arc<State>);

impl Handlers {
    fn run(&self, runs: &AtomicU32) -> Result<()> {
        runs.fetch_add(1, Ordering::SeqCst);
        match self.0.fails.load(Ordering::SeqCst) {
            true => Err(Error::timed_out("fails on purpose")),
            false => Ok(()),
        }
    }

    fn quick_runs(&self) -> u32 {
        self.0.quick_runs.load(Ordering::SeqCst)
    }

    async fn start(&self, url: &str, clock: impl Clock) -> RunningService {
        let policy = |pause| RetryPolicy::new(0, 20, Backoff::new(pause, pause));
        let context = BoundedContext::new("clocks")
            .command::<Count, _>(self.clone())
            .on_with::<Quick, _>(self.clone(), policy(Duration::from_millis(100)))
            .on_with::<Slow, _>(self.clone(), policy(HOUR));
        let settings = Settings::default().with_poll(Duration::from_millis(50));
        let service = Service::new(settings).store_url(url).transport_url("memory:");
        service.clock(Arc::new(clock)).host(context).start().await.unwrap()
    }
}

impl MessageHandler<Quick> for Handlers {
    async fn handle(&self, _: Quick, _: &Context) -> Result<()> {
        self.run(&self.0.quick_runs)
    }
}

impl MessageHandler<Slow> for Handlers {
    async fn handle(&self, _: Slow, _: &Context) -> Result<()> {
        self.run(&self.0.slow_runs)
    }
}

impl CommandHandler<Count> for Handlers {
    async fn handle(&self, _: Count, _: &Context) -> Result<u32> {
        Ok(self.0.counts.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

fn message<M: Message>() -> Envelope {
    let id = MessageId::from_uuid(new_uuid());
    let metadata = Metadata::new(id, M::NAME, "elsewhere").with_time(SystemClock.now());
    Envelope::new(metadata, "{}".into())
}

async fn deliver(service: &RunningService, message: &Envelope) {
    service.publisher().publish(message).await.unwrap();
}

async fn days(url: &str) -> i64 {
    let count = "SELECT count(*) FROM \"clocks\"._inbox_days()";
    Session::of(url).await.one(count).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_days_ahead_forgets_nothing() {
    let database = require!(postgres::database().await);
    let handlers = Handlers::default();
    let right = handlers.start(database.url(), SystemClock).await;
    let messages: Vec<_> = (0..5).map(|_| message::<Quick>()).collect();
    for message in &messages {
        deliver(&right, message).await;
    }
    until("all are handled", async || handlers.quick_runs() == 5).await;
    right.wait_until_idle().await.unwrap();
    assert_eq!(right.send(Count {}).idempotency_key("k").await.unwrap(), 1);
    let before = days(database.url()).await;

    let ahead = handlers.start(database.url(), DaysAhead).await;
    let (store, window) = (ahead.store("clocks").unwrap(), Settings::default().inbox_window);
    assert!(window < AHEAD);
    assert_eq!(store.expire_inbox(window).await.unwrap(), 0);
    assert_eq!(store.received_count().await.unwrap(), 5);
    assert_eq!(days(database.url()).await, before);
    for service in [&ahead, &right] {
        for message in &messages {
            deliver(service, message).await;
        }
        assert_eq!(service.send(Count {}).idempotency_key("k").await.unwrap(), 1);
        let absorbed = async || service.totals().await.unwrap().duplicates_absorbed == 5;
        until("all are duplicates", absorbed).await;
    }
    assert_eq!(ahead.totals().await.unwrap().handled, 5, "nothing twice");
    assert_eq!(handlers.0.counts.load(Ordering::SeqCst), 1);
    ahead.shutdown().await.unwrap();
    right.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_days_ahead_retries_nothing_early_and_parks_nothing_for_days() {
    let database = require!(postgres::database().await);
    let handlers = Handlers::default();
    handlers.0.fails.store(true, Ordering::SeqCst);
    let right = handlers.start(database.url(), SystemClock).await;
    deliver(&right, &message::<Slow>()).await;
    let parked = async |service: &RunningService| service.totals().await.unwrap().parked;
    until("it is parked", async || parked(&right).await == 1).await;
    right.shutdown().await.unwrap();

    let ahead = handlers.start(database.url(), DaysAhead).await;
    deliver(&ahead, &message::<Quick>()).await;
    // It has looked for what is due, again and again.
    until("the quick one is retried", async || handlers.quick_runs() >= 4).await;
    assert_eq!(handlers.0.slow_runs.load(Ordering::SeqCst), 1);
    ahead.shutdown().await.unwrap();

    handlers.0.fails.store(false, Ordering::SeqCst);
    let right = handlers.start(database.url(), SystemClock).await;
    let store = right.store("clocks").unwrap();
    let left = async || store.parked_count().await.unwrap();
    until("the quick one is handled", async || left().await == 1).await;
    let all = mamey::message::Partition::all(Settings::default().partitions).unwrap();
    let due_in = store.next_due_in(&all).await.unwrap().unwrap();
    assert!(due_in > HOUR / 4 && due_in <= HOUR, "{due_in:?}");
    assert_eq!(handlers.0.slow_runs.load(Ordering::SeqCst), 1);
    right.shutdown().await.unwrap();
}
