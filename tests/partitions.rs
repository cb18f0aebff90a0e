//! The number of partitions changes while messages wait and instances run: nothing is lost or done
//! twice, and the order of each key holds.

#![cfg(all(feature = "rabbitmq", feature = "postgres", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::large_futures, reason = "a test runs once")]

use std::sync::Arc;
use std::time::Duration;

use mamey::store::{Partitioning, Phase};
use mamey::{
    Aggregate, Backoff, BoundedContext, Command, Context, Event, MessageHandler, Query,
    ReadContext, Result, RetryPolicy, RunningService, Service, Settings,
};
use mamey_test_support::{postgres, rabbitmq, require};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(90);
const KEYS: u32 = 40;

/// Enough for a backlog in every queue, less than what one instance may hold in memory.
const ROUND: u32 = 5;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "shop.sold", key = item)]
struct Sold {
    item: String,
    number: u32,
}

#[derive(Clone, Command, Serialize)]
struct Sell {
    item: String,
    first: u32,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "stock")]
struct Stock {
    #[aggregate(id)]
    item: String,
    sold: Vec<u32>,
}

#[derive(Query)]
#[query(reply = Vec<u32>)]
struct ShowSold(String);

async fn sell(command: Sell, cx: &Context) -> Result<()> {
    for number in command.first..command.first + ROUND {
        cx.publish(&Sold { item: command.item.clone(), number })?;
    }
    Ok(())
}

async fn show(query: ShowSold, cx: &ReadContext) -> Result<Vec<u32>> {
    let stock = cx.repository::<Stock>().get(&query.0).await?;
    Ok(stock.map(|stock| stock.sold.clone()).unwrap_or_default())
}

/// Notes what was sold, unless the warehouse is closed.
#[derive(Clone)]
struct Warehouse(Arc<watch::Sender<bool>>);

impl MessageHandler<Sold> for Warehouse {
    async fn handle(&self, event: Sold, cx: &Context) -> Result<()> {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.map_err(mamey::Error::other)?;
        let stocks = cx.repository::<Stock>();
        if let Some(mut stock) = stocks.get(&event.item).await? {
            stock.sold.push(event.number);
            return stocks.save(&stock);
        }
        stocks.add(&Stock { item: event.item, sold: vec![event.number] })
    }
}

/// A place where instances share their store, or follow one another on it.
struct World {
    store: String,
    transport: String,
    warehouse: Warehouse,
    sold: u32,
}

impl World {
    fn new(store: String, transport: &str) -> Self {
        let warehouse = Warehouse(Arc::new(watch::Sender::new(true)));
        Self { store, transport: transport.to_owned(), warehouse, sold: 0 }
    }

    async fn start(&self, partitions: u16) -> RunningService {
        let settings = Settings::default()
            .with_store_url(&self.store)
            .with_transport_url(&self.transport)
            .with_partitions(partitions)
            .with_lease(Duration::from_secs(3))
            .with_poll(Duration::from_millis(50))
            .with_drain(Duration::from_secs(5));
        let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        let shop = BoundedContext::new("shop").command(sell).publishes::<Sold>();
        let stock = BoundedContext::new("stock")
            .aggregate::<Stock>()
            .on(self.warehouse.clone())
            .query(show)
            .timeout(Duration::from_secs(600))
            .conflict_retries(100)
            .retry(RetryPolicy::new(0, 100_000, backoff));
        Service::new(settings).host(shop).host(stock).start().await.unwrap()
    }

    /// Sells some of each item.
    async fn sell(&mut self, service: &RunningService) {
        for key in 0..KEYS {
            let command = Sell { item: format!("item {key}"), first: self.sold };
            // With a key, so that a busy server may be asked again.
            let key = format!("{key} {}", self.sold);
            let is_sold =
                async || match service.send(command.clone()).idempotency_key(key.as_str()).await {
                    Ok(()) => true,
                    Err(error) => {
                        assert_eq!(error.kind(), mamey::ErrorKind::Unavailable, "{error:?}");
                        false
                    }
                };
            until("it is sold", is_sold).await;
        }
        self.sold += ROUND;
    }

    /// Waits until all is noted, each once and in order.
    async fn complete(&self, service: &RunningService) {
        let expected: Vec<u32> = (0..self.sold).collect();
        for key in 0..KEYS {
            let sold = async || service.query(ShowSold(format!("item {key}"))).await.unwrap();
            let all = async || sold().await.len() >= expected.len();
            until(&format!("item {key} is complete"), all).await;
            assert_eq!(sold().await, expected, "item {key}");
        }
        let totals = service.totals().await.unwrap();
        assert_eq!(totals.dead_letters, 0);
    }
}

async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    mamey_test_support::until(what, PATIENCE, holds).await;
}

/// Waits until a number is in force in both contexts.
async fn in_force(service: &RunningService, partitions: u16) {
    for context in ["shop", "stock"] {
        let store = service.store(context).unwrap();
        let is_in_force = async || {
            let (now, _) = store.partitioning(1).await.unwrap();
            now.partitions == partitions && matches!(now.phase, Phase::Stable { .. })
        };
        until(&format!("{partitions} partitions are in force in {context}"), is_in_force).await;
    }
}

/// Two instances of one setting, two of another beside them, and then the new ones alone; and back.
async fn changes_side_by_side(mut world: World) {
    let (one, two) = (world.start(8).await, world.start(8).await);
    world.sell(&one).await;
    world.complete(&two).await;
    // The warehouse closes, so messages wait.
    world.warehouse.0.send_replace(false);
    world.sell(&one).await;
    let (three, four) = (world.start(16).await, world.start(16).await);
    world.sell(&three).await;
    for service in [&one, &three] {
        let (now, _) = service.store("stock").unwrap().partitioning(1).await.unwrap();
        let eight = Partitioning::new(8, Phase::Stable { former: None });
        assert_eq!(now, eight, "the others are set to 8");
    }
    // Handlers that wait for the warehouse may be cut off, which loses nothing.
    let ending = async { (one.shutdown().await, two.shutdown().await) };
    let opening = async { world.warehouse.0.send_replace(true) };
    let _ended = tokio::join!(ending, opening);
    world.sell(&four).await;
    in_force(&four, 16).await;
    world.sell(&three).await;
    world.complete(&four).await;

    // And back, under load.
    let five = world.start(8).await;
    world.sell(&five).await;
    three.shutdown().await.unwrap();
    four.shutdown().await.unwrap();
    for _ in 0..5 {
        world.sell(&five).await;
    }
    in_force(&five, 8).await;
    world.sell(&five).await;
    world.complete(&five).await;
    five.wait_until_idle().await.unwrap();
    five.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_changes_side_by_side_over_rabbitmq() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    changes_side_by_side(World::new(database.url().to_owned(), vhost.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_changes_side_by_side_within_processes() {
    let database = require!(postgres::database().await);
    changes_side_by_side(World::new(database.url().to_owned(), "memory:")).await;
}

/// One instance after the other, each with another number, while messages wait.
async fn changes_in_turn(transport: &str) {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    let mut world = World::new(store, transport);
    for partitions in [8, 16, 8, 3, 64] {
        let service = world.start(partitions).await;
        world.sell(&service).await;
        in_force(&service, partitions).await;
        world.sell(&service).await;
        service.shutdown().await.unwrap();
    }
    let service = world.start(8).await;
    world.complete(&service).await;
    service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_changes_in_turn_over_rabbitmq() {
    let vhost = require!(rabbitmq::vhost().await);
    changes_in_turn(vhost.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_changes_in_turn_within_a_process() {
    changes_in_turn("memory:").await;
}
