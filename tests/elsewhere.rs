//! Builds and processes that share a database and no broker: what one of them sends reaches the contexts
//! and the handlers that only another one has.

#![cfg(all(feature = "postgres", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::large_futures, reason = "a test runs once")]

use std::time::Duration;

use mamey::{
    Aggregate, Backoff, BoundedContext, Command, Context, Event, Message, Query, ReadContext,
    Result, RetryPolicy, RunningService, Service, Settings,
};
use mamey_test_support::{postgres, require};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: u32 = 12;

/// Soon due again, and never given up.
const RETRY: RetryPolicy = RetryPolicy::new(
    0,
    100_000,
    Backoff::new(Duration::from_millis(20), Duration::from_millis(200)),
);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.charged", key = account)]
struct Charged {
    account: String,
    number: u32,
}

/// Only the newer build of the ledger handles it.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.refunded", key = account)]
struct Refunded {
    account: String,
    number: u32,
}

/// For the audit alone.
#[derive(Message, Serialize, Deserialize)]
#[message(name = "audit.inspect", key = account)]
struct Inspect {
    account: String,
    number: u32,
}

/// Sends a charge, a refund and an inspection about an account.
#[derive(Clone, Command)]
struct Sell {
    account: String,
    first: u32,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "books")]
struct Book {
    #[aggregate(id)]
    account: String,
    numbers: Vec<u32>,
}

#[derive(Query)]
#[query(reply = Vec<u32>)]
struct Show(String);

async fn sell(command: Sell, cx: &Context) -> Result<()> {
    let Sell { account, first } = command;
    cx.publish(&Charged { account: account.clone(), number: first })?;
    cx.publish(&Refunded { account: account.clone(), number: first + 1 })?;
    cx.send("audit", &Inspect { account, number: first + 2 })
}

async fn enter(cx: &Context, account: String, number: u32) -> Result<()> {
    let books = cx.repository::<Book>();
    if let Some(mut book) = books.get(&account).await? {
        book.numbers.push(number);
        return books.save(&book);
    }
    books.add(&Book { account, numbers: vec![number] })
}

async fn on_charged(event: Charged, cx: &Context) -> Result<()> {
    enter(cx, event.account, event.number).await
}

async fn on_refunded(event: Refunded, cx: &Context) -> Result<()> {
    enter(cx, event.account, event.number).await
}

async fn on_inspect(message: Inspect, cx: &Context) -> Result<()> {
    enter(cx, message.account, message.number).await
}

async fn show(query: Show, cx: &ReadContext) -> Result<Vec<u32>> {
    let book = cx.repository::<Book>().get(&query.0).await?;
    Ok(book.map(|book| book.numbers.clone()).unwrap_or_default())
}

fn till() -> BoundedContext {
    BoundedContext::new("till").command(sell).publishes::<Charged>().publishes::<Refunded>()
}

fn ledger() -> BoundedContext {
    BoundedContext::new("ledger").aggregate::<Book>().query(show).on(on_charged).retry(RETRY)
}

fn audit() -> BoundedContext {
    BoundedContext::new("audit")
        .aggregate::<Book>()
        .query(show)
        .on(on_charged)
        .on(on_inspect)
        .retry(RETRY)
}

/// A service of the former build: it has no audit, and no handler of refunds.
async fn start_old(store: &str) -> RunningService {
    start(store, [till(), ledger()]).await
}

async fn start_new(store: &str) -> RunningService {
    start(store, [till(), ledger().on(on_refunded), audit()]).await
}

async fn start<const N: usize>(store: &str, contexts: [BoundedContext; N]) -> RunningService {
    let settings = Settings::default()
        .with_store_url(store)
        .with_transport_url("memory:")
        .with_lease(Duration::from_secs(2))
        .with_poll(Duration::from_millis(50))
        .with_drain(Duration::from_secs(5));
    contexts.into_iter().fold(Service::new(settings), Service::host).start().await.unwrap()
}

async fn sell_all(service: &RunningService, round: u32) {
    for key in 0..KEYS {
        let command = Sell { account: format!("account {key}"), first: round * 3 };
        service.send(command).await.unwrap();
    }
}

/// Waits until a context has noted all of its messages of some rounds, each once and in order.
async fn complete(service: &RunningService, context: &str, rounds: u32) {
    let ours = |number: &u32| match context {
        "ledger" => number % 3 < 2,
        _ => number % 3 != 1,
    };
    let expected: Vec<u32> = (0..rounds * 3).filter(ours).collect();
    for key in 0..KEYS {
        let noted = async || {
            let show = Show(format!("account {key}"));
            service.context(context).unwrap().query(show).await.unwrap()
        };
        let what = format!("{context} has all of account {key}");
        let all = async || noted().await.len() >= expected.len();
        mamey_test_support::until(&what, PATIENCE, all).await;
        assert_eq!(noted().await, expected, "{context}, account {key}");
    }
}

async fn nothing_was_lost(service: &RunningService) {
    service.wait_until_idle().await.unwrap();
    let totals = service.totals().await.unwrap();
    assert_eq!((totals.dead_letters, totals.no_subscriber), (0, 0), "{totals:?}");
}

/// Both builds relay, and each has a share of the partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_builds_reach_what_only_the_new_one_has() {
    let database = require!(postgres::database().await);
    let new = start_new(database.url()).await;
    let old = start_old(database.url()).await;
    for round in 0..6 {
        sell_all(if round % 2 == 0 { &old } else { &new }, round).await;
    }
    complete(&new, "audit", 6).await;
    // Refunds in partitions that the old build consumes wait for the new one.
    old.shutdown().await.unwrap();
    complete(&new, "ledger", 6).await;
    nothing_was_lost(&new).await;
    // It is rolled back, and deployed again.
    let old = start_old(database.url()).await;
    new.shutdown().await.unwrap();
    sell_all(&old, 6).await;
    let new = start_new(database.url()).await;
    sell_all(&new, 7).await;
    old.shutdown().await.unwrap();
    complete(&new, "audit", 8).await;
    complete(&new, "ledger", 8).await;
    nothing_was_lost(&new).await;
    new.shutdown().await.unwrap();
}

/// Two services of different contexts, which nobody hosts together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_without_a_broker_reach_each_other_through_the_database() {
    let database = require!(postgres::database().await);
    let ledgers = start(database.url(), [ledger().on(on_refunded)]).await;
    let audits = start(database.url(), [audit()]).await;
    let tills = start(database.url(), [till()]).await;
    for round in 0..4 {
        sell_all(&tills, round).await;
    }
    complete(&ledgers, "ledger", 4).await;
    complete(&audits, "audit", 4).await;
    for service in [tills, ledgers, audits] {
        nothing_was_lost(&service).await;
        service.shutdown().await.unwrap();
    }
}

/// The old build relays what the new one has left in the outbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_in_turn_keep_what_only_the_other_one_handles() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("shop.db").display());
    let new = start_new(&store).await;
    new.shutdown().await.unwrap();
    for round in [0, 2] {
        let old = start_old(&store).await;
        sell_all(&old, round).await;
        old.shutdown().await.unwrap();
        let new = start_new(&store).await;
        sell_all(&new, round + 1).await;
        new.shutdown().await.unwrap();
    }
    let new = start_new(&store).await;
    complete(&new, "audit", 4).await;
    complete(&new, "ledger", 4).await;
    nothing_was_lost(&new).await;
    new.shutdown().await.unwrap();
}
