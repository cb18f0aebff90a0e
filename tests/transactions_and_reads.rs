//! Handlers that open a transaction on PostgreSQL and then read, many more than there are connections:
//! none waits for a connection that another keeps, and leases are renewed meanwhile.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use mamey::persistence::{PostgresContext, PostgresResultExt};
use mamey::{
    Aggregate, BoundedContext, Command, Context, Event, Invocation, Layer, Next, ReadContext,
    Result, RetryPolicy, RunningService, Service, Settings, async_trait,
};
use mamey_test_support::{Session, postgres, require, until};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(60);

/// How long a handler thinks while its transaction is open.
const THINKS: Duration = Duration::from_millis(20);

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "pages")]
struct Page {
    #[aggregate(id)]
    number: i64,
    #[aggregate(index)]
    name: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "pages.visited", key = number)]
struct Visited {
    number: i64,
}

#[derive(Clone, Command)]
#[command(reply = ())]
struct AddPages(i64);

async fn add_pages(command: AddPages, cx: &Context) -> Result<()> {
    let page = |number| Page { number, name: "page".to_owned() };
    (0..command.0).try_for_each(|number| cx.repository().add(&page(number)))
}

#[derive(Clone, Command)]
#[command(reply = ())]
struct Announce(i64);

async fn announce(command: Announce, cx: &Context) -> Result<()> {
    cx.publish(&Visited { number: command.0 })
}

/// Visits a page. The reply is what its handler read while its transaction was open.
#[derive(Clone, Command)]
#[command(reply = Seen)]
struct Visit {
    number: i64,
    /// A statement of the handler's own.
    sql: &'static str,
    /// Whether the handler keeps the transaction in its hands while it reads.
    keeps: bool,
}

/// What the ways to read gave: `get`, `get_many`, `find`, `count`, `exists`, and one by the reading half.
#[derive(Debug, PartialEq)]
struct Seen([u64; 6]);

async fn visit(command: Visit, cx: &Context) -> Result<Seen> {
    let mut transaction = cx.postgres().await?;
    sqlx::raw_sql(command.sql).execute(&mut *transaction).await.store_error()?;
    let kept = command.keeps.then_some(transaction);
    sleep(THINKS).await;
    let pages = cx.repository::<Page>();
    let named = || Page::NAME.eq("page");
    let many = pages.get_many(&[command.number, command.number + 1]).await?;
    let seen = Seen([
        pages.get(&command.number).await?.is_some().into(),
        many.iter().flatten().count() as u64,
        pages.find(named()).await?.items.len() as u64,
        pages.count(named()).await?,
        pages.exists(named()).await?.into(),
        read_only(command.number, cx).await?,
    ]);
    drop(kept);
    Ok(seen)
}

async fn read_only(number: i64, cx: &ReadContext) -> Result<u64> {
    Ok(cx.repository::<Page>().get(&number).await?.is_some().into())
}

async fn on_visited(event: Visited, cx: &Context) -> Result<()> {
    let mut transaction = cx.postgres().await?;
    let insert = sqlx::query("INSERT INTO visits VALUES ($1)").bind(event.number);
    insert.execute(&mut *transaction).await.store_error()?;
    // Every second one keeps the transaction in its hands.
    let kept = (event.number % 2 == 0).then_some(transaction);
    sleep(THINKS).await;
    cx.repository::<Page>().find(Page::NAME.eq("page")).await?;
    drop(kept);
    Ok(())
}

/// Counts the calls that fail.
#[derive(Clone, Default)]
struct Failures(Arc<AtomicU64>);

#[async_trait]
impl Layer for Failures {
    async fn call(&self, invocation: &Invocation<'_>, next: Next<'_>) -> Result<()> {
        let done = next.run(invocation).await;
        self.0.fetch_add(u64::from(done.is_err()), Ordering::SeqCst);
        done
    }
}

struct World {
    service: RunningService,
    failures: Failures,
    own: Session,
}

impl World {
    async fn new(database: &postgres::Database, parameters: &str) -> Self {
        let mut own = Session::of(database.url()).await;
        own.run("CREATE TABLE visits (page bigint)").await;
        let failures = Failures::default();
        let pages = BoundedContext::new("pages")
            .aggregate::<Page>()
            .command(add_pages)
            .command(announce)
            .command(visit)
            .publishes::<Visited>()
            .layer(failures.clone());
        let audit = BoundedContext::new("audit")
            .aggregate::<Page>()
            .on(on_visited)
            .layer(failures.clone())
            .retry(RetryPolicy::NEVER);
        let settings = Settings::default().with_lease(Duration::from_secs(4));
        let url = format!("{}?{parameters}", database.url());
        let service = Service::new(settings).store_url(&url).host(pages).host(audit);
        let service = service.start().await.unwrap();
        service.send(AddPages(3)).await.unwrap();
        Self { service, failures, own }
    }

    async fn visit(&self, number: i64, sql: &'static str, keeps: bool) -> Result<Seen> {
        self.service.send(Visit { number, sql, keeps }).await
    }
}

/// What a handler's own statements have changed is seen by its reads, unless it keeps the transaction in
/// its hands: then they go over a connection of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_over_the_connection_of_the_open_transaction() {
    let database = require!(postgres::database().await);
    let world = World::new(&database, "").await;
    let outside = world.visit(1, "DELETE FROM pages.pages WHERE id = 1", true).await.unwrap();
    assert_eq!(outside, Seen([1, 2, 3, 3, 1, 1]));
    // One is gone by now.
    let inside = world.visit(2, "DELETE FROM pages.pages WHERE id = 2", false).await.unwrap();
    assert_eq!(inside, Seen([0, 0, 1, 1, 1, 0]));
    world.service.shutdown().await.unwrap();
}

/// Many more handlers than connections, of which all want a second one while they keep the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_open_a_transaction_and_read_do_not_wait_for_each_other() {
    for connections in [2, 4, 10] {
        for keeps in [false, true] {
            let database = require!(postgres::database().await);
            let few = format!("connections_max={connections}&listen=false");
            let mut world = World::new(&database, &few).await;
            let insert = "INSERT INTO visits VALUES (1)";
            let visits = (0..40).map(|number| world.visit(number % 3, insert, keeps));
            for seen in join_all(visits).await {
                seen.unwrap();
            }
            assert_eq!(world.own.one::<i64>("SELECT count(*) FROM visits").await, 40);
            world.service.shutdown().await.unwrap();
        }
    }
}

/// A burst of messages, and then a steady stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_messages_whose_handlers_open_a_transaction_and_read_is_handled() {
    const BURST: i64 = 64;
    const STREAM: i64 = 80;
    let database = require!(postgres::database().await);
    let mut world = World::new(&database, "connections_max=4").await;
    let mut watch = Session::of(database.url()).await;
    let sending = async {
        let burst = (0..BURST).map(async |number| world.service.send(Announce(number)).await);
        join_all(burst).await.into_iter().for_each(Result::unwrap);
        for number in BURST..BURST + STREAM {
            sleep(Duration::from_millis(50)).await;
            world.service.send(Announce(number)).await.unwrap();
        }
    };
    let handled = async {
        let all = BURST + STREAM;
        let done = async || {
            assert_eq!(watch.one::<i64>(LAPSED).await, 0, "leases are not renewed");
            world.own.one::<i64>("SELECT count(*) FROM visits").await == all
        };
        until("all are handled", PATIENCE, done).await;
    };
    join(sending, handled).await;
    world.service.wait_until_idle().await.unwrap();
    assert_eq!(world.failures.0.load(Ordering::SeqCst), 0, "calls failed");
    let each_once = "SELECT count(DISTINCT page) FROM visits";
    assert_eq!(world.own.one::<i64>(each_once).await, BURST + STREAM);
    let totals = world.service.totals().await.unwrap();
    assert_eq!((totals.dead_letters, totals.parked), (0, 0), "{totals:?}");
    world.service.shutdown().await.unwrap();
}

/// Leases that are held, or were until a moment ago, and not renewed.
const LAPSED: &str = "\
SELECT count(*) FROM (TABLE pages._leases UNION ALL TABLE audit._leases) AS leases
WHERE expires_at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
