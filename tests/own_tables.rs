//! Tables of the user's own on PostgreSQL: their rows commit with the unit of work, or not at all.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use mamey::context::Cause;
use mamey::id::MessageId;
use mamey::message::{Envelope, Metadata};
use mamey::persistence::{PostgresContext, PostgresResultExt, enlist};
use mamey::store::{CommitOutcome, Origin, Outcome, Receipt, UnitOfWork};
use mamey::{
    Aggregate, BoundedContext, Command, Context, Error, ErrorKind, Event, Result, RunningService,
    Service, Settings,
};
use mamey_test_support::{Session, postgres, require, until};
use serde::{Deserialize, Serialize};
use sqlx::Connection;

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "pages")]
struct Page {
    #[aggregate(id)]
    name: String,
    visits: u64,
}

#[derive(Clone, Command)]
#[command(reply = ())]
struct Visit {
    page: &'static str,
    by: &'static str,
    fails: bool,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "pages.visited", key = page)]
struct Visited {
    page: String,
}

async fn visit(command: Visit, cx: &Context) -> Result<()> {
    let pages = cx.repository::<Page>();
    let page = command.page.to_owned();
    match pages.get(&page).await? {
        Some(mut found) => {
            found.visits += 1;
            pages.save(&found)?;
        }
        None => pages.add(&Page { name: page.clone(), visits: 1 })?,
    }
    cx.publish(&Visited { page })?;
    for table in ["visits", "visitors"] {
        // The second call returns the transaction that the first one opened.
        let mut transaction = cx.postgres().await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("INSERT INTO {table} VALUES ($1)")))
            .bind(command.by)
            .execute(&mut *transaction)
            .await
            .store_error()?;
    }
    if command.fails { Err(Error::invalid("it was asked to fail")) } else { Ok(()) }
}

async fn count(event: Visited, cx: &Context) -> Result<()> {
    let counted = "INSERT INTO counted VALUES ($1)";
    let mut transaction = cx.postgres().await?;
    sqlx::query(counted).bind(event.page).execute(&mut *transaction).await.store_error()?;
    Ok(())
}

fn contexts() -> [BoundedContext; 2] {
    [
        BoundedContext::new("pages").aggregate::<Page>().command(visit).publishes::<Visited>(),
        BoundedContext::new("audit").on(count),
    ]
}

/// The service, and a connection of the user's own.
struct World {
    service: RunningService,
    own: Session,
}

impl World {
    async fn new(database: &postgres::Database) -> Self {
        let mut own = Session::of(database.url()).await;
        let tables = "CREATE TABLE visits (who text); CREATE TABLE counted (page text);
            CREATE TABLE visitors (who text PRIMARY KEY)";
        own.run(tables).await;
        let service = Service::new(Settings::default()).store_url(database.url());
        let service = contexts().into_iter().fold(service, Service::host).start().await.unwrap();
        Self { service, own }
    }

    async fn visit(&self, page: &'static str, by: &'static str) -> Result<()> {
        self.service.send(Visit { page, by, fails: false }).await
    }

    async fn rows(&mut self, table: &str) -> i64 {
        self.own.one(&format!("SELECT count(*) FROM {table}")).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_rows_commit_with_the_aggregate_and_the_event() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database).await;
    world.visit("home", "ada").await.unwrap();
    world.visit("home", "bob").await.unwrap();
    world.service.wait_until_idle().await.unwrap();
    assert_eq!((world.rows("visits").await, world.rows("visitors").await), (2, 2));
    assert_eq!(world.rows("counted").await, 2, "each event is counted once");
    assert_eq!(world.rows("pages.pages").await, 1);
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_handler_leaves_no_row() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database).await;
    let visit = Visit { page: "home", by: "ada", fails: true };
    let error = world.service.send(visit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!((world.rows("visits").await, world.rows("visitors").await), (0, 0));
    assert_eq!(world.rows("pages.pages").await, 0);
    assert_eq!(world.rows("pages._outbox").await, 0);
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_undoes_own_rows_before_the_handler_runs_again() {
    const VISITORS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let database = require!(postgres::database().await);
    let mut world = World::new(&database).await;
    world.visit("home", "ada").await.unwrap();
    let visits = VISITORS.map(|by| world.visit("home", by));
    for outcome in futures_util::future::join_all(visits).await {
        outcome.unwrap();
    }
    assert_eq!(world.rows("visits").await, 9, "one row a visit, however often it ran");
    let visits: i64 = sqlx::query_scalar("SELECT (data->>'visits')::bigint FROM pages.pages")
        .fetch_one(&mut *world.own)
        .await
        .unwrap();
    assert_eq!(visits, 9);
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_value_in_an_own_table_is_named_and_undoes_everything() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database).await;
    world.visit("home", "ada").await.unwrap();
    let error = world.visit("home", "ada").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("visitors_pkey"), "{error}");
    assert_eq!(world.rows("visits").await, 1);
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_store_has_no_transaction_of_postgres() {
    let service = contexts().into_iter().fold(Service::in_memory(), Service::host);
    let service = service.start().await.unwrap();
    let visit = Visit { page: "home", by: "ada", fails: false };
    let error = service.send(visit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("`memory`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_transaction_commits_the_outbox_too() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database).await;
    let pages = world.service.context("pages").unwrap();
    let publish = |page: &str| {
        let cx = pages.unit_of_work(Cause::default());
        cx.publish(&Visited { page: page.to_owned() }).unwrap();
        cx.take_unit().unwrap()
    };
    for (who, commits) in [("ada", true), ("bob", false)] {
        let mut transaction = world.own.begin().await.unwrap();
        let insert = sqlx::query("INSERT INTO visits VALUES ($1)").bind(who);
        insert.execute(&mut *transaction).await.unwrap();
        let unit = publish(who);
        let enlisted = enlist(pages.store().as_ref(), &mut transaction, unit).await.unwrap();
        assert!(matches!(enlisted.outcome(), CommitOutcome::Committed(_)));
        if commits {
            transaction.commit().await.unwrap();
            enlisted.committed();
        } else {
            transaction.rollback().await.unwrap();
        }
    }
    let came = async || world.rows("counted").await > 0;
    until("the event arrives", Duration::from_secs(20), came).await;
    world.service.wait_until_idle().await.unwrap();
    assert_eq!((world.rows("visits").await, world.rows("counted").await), (1, 1));
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_transaction_learns_that_a_message_was_received() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database).await;
    let store = world.service.store("audit").unwrap();
    let id = MessageId::from_foreign("elsewhere", "1");
    let metadata = Metadata::new(id, "elsewhere.sold", "elsewhere");
    let envelope = Envelope::new(metadata, bytes::Bytes::from_static(b"{}"));
    let receive = || {
        UnitOfWork::default().with_receipt(Receipt::new(
            envelope.clone(),
            Origin::Delivery,
            Outcome::Handled,
        ))
    };
    for expected in [true, false] {
        let mut transaction = world.own.begin().await.unwrap();
        let enlisted = enlist(store.as_ref(), &mut transaction, receive()).await.unwrap();
        let is_new = matches!(enlisted.outcome(), CommitOutcome::Committed(_));
        assert_eq!(is_new, expected);
        assert!(is_new || enlisted.outcome() == CommitOutcome::Duplicate);
        // After a duplicate the transaction still works.
        sqlx::query("INSERT INTO visits VALUES ('ada')").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
    assert_eq!(world.rows("visits").await, 2);
    world.service.shutdown().await.unwrap();
}
