//! The transaction of a handler's own on PostgreSQL: savepoints inside of it, statements that end it, and
//! what is left in its session.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mamey::context::Cause;
use mamey::persistence::{PostgresContext, PostgresResultExt, enlist};
use mamey::{
    BoundedContext, Command, Context, Error, ErrorKind, Event, Result, Retry, RunningService,
    Service, Settings,
};
use mamey_test_support::{Session, postgres, require};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

#[derive(Clone, Copy, Debug)]
enum Inner {
    Committed,
    RolledBack,
    Dropped,
}

#[derive(Clone, Debug)]
enum Way {
    /// A transaction begun by the driver inside of the handler's.
    Begins(Inner),
    /// A statement of the handler's own.
    Runs(&'static str),
    /// The transaction is asked for while it is in use.
    AsksTwice,
}

#[derive(Clone, Command)]
#[command(reply = ())]
struct Act {
    way: Way,
    fails: bool,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "acts.done")]
struct Done {}

async fn act(command: Act, cx: &Context) -> Result<()> {
    cx.publish(&Done {})?;
    let mut transaction = cx.postgres().await?;
    run(&mut transaction, "INSERT INTO rows VALUES ('outer')").await?;
    match command.way {
        Way::Begins(how) => begin_inside(&mut transaction, how).await?,
        Way::Runs(sql) => run(&mut transaction, sql).await?,
        Way::AsksTwice => drop(cx.postgres().await?),
    }
    if command.fails { Err(Error::invalid("it was asked to fail")) } else { Ok(()) }
}

async fn begin_inside(transaction: &mut PgConnection, how: Inner) -> Result<()> {
    let mut inner = transaction.begin().await.store_error()?;
    run(&mut inner, "INSERT INTO rows VALUES ('inner')").await?;
    match how {
        Inner::Committed => inner.commit().await.store_error()?,
        Inner::RolledBack => inner.rollback().await.store_error()?,
        Inner::Dropped => drop(inner),
    }
    Ok(())
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.store_error()?;
    Ok(())
}

/// What the session of a handler is set to, and what is in it.
#[derive(Clone, Command)]
#[command(reply = Vec<String>)]
struct Look;

const LOOK: &str = "\
SELECT ARRAY[pg_backend_pid()::text, current_user, session_user, current_setting('search_path'),
  current_setting('statement_timeout'), current_setting('timezone'),
  current_setting('default_transaction_read_only'), current_setting('default_transaction_isolation'),
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())::text,
  (SELECT count(*) FROM pg_listening_channels())::text,
  (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)::text,
  (SELECT count(*) FROM pg_cursors WHERE is_holdable)::text,
  (SELECT count(*) FROM pg_class WHERE relpersistence = 't')::text]";

/// All that can be left in a session.
const LEAVE: &str = "\
SET search_path = nowhere; SET statement_timeout = '77s'; SET timezone = 'Asia/Tokyo';
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT pg_advisory_lock(77); LISTEN news; PREPARE left_over AS SELECT 1;
DECLARE held CURSOR WITH HOLD FOR SELECT 1; CREATE TEMP TABLE left_table (n int); SET ROLE left_role";

async fn look(_: Look, cx: &Context) -> Result<Vec<String>> {
    let mut transaction = cx.postgres().await?;
    sqlx::query_scalar(LOOK).fetch_one(&mut *transaction).await.store_error()
}

struct World {
    service: RunningService,
    own: Session,
}

impl World {
    async fn new(database: &postgres::Database, parameters: &str) -> Self {
        let mut own = Session::of(database.url()).await;
        own.run("CREATE TABLE rows (what text)").await;
        let url = format!("{}?{parameters}", database.url());
        let context = BoundedContext::new("acts").command(act).command(look).publishes::<Done>();
        let service = Service::new(Settings::default()).store_url(&url).host(context);
        Self { service: service.start().await.unwrap(), own }
    }

    async fn act(&self, way: Way, fails: bool) -> Result<()> {
        self.service.send(Act { way, fails }).await
    }

    /// How many rows of each kind, and how many events, there are since the last time.
    async fn take(&mut self) -> [i64; 3] {
        let rows = |what| format!("SELECT count(*) FROM rows WHERE what = '{what}'");
        let outer = self.own.one(&rows("outer")).await;
        let inner = self.own.one(&rows("inner")).await;
        self.service.wait_until_idle().await.unwrap();
        let events = "SELECT value FROM acts._counters WHERE name = 'published'";
        let events = self.own.one(events).await;
        self.own.run("TRUNCATE rows; UPDATE acts._counters SET value = 0").await;
        [outer, inner, events]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_inside_of_a_handlers_is_a_savepoint() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database, "").await;
    for (how, kept) in
        [(Inner::Committed, [1, 1, 1]), (Inner::RolledBack, [1, 0, 1]), (Inner::Dropped, [1, 0, 1])]
    {
        world.act(Way::Begins(how), false).await.unwrap();
        assert_eq!(world.take().await, kept, "{how:?}");
        let error = world.act(Way::Begins(how), true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(world.take().await, [0, 0, 0], "{how:?}, and the handler fails");
    }
    world.service.shutdown().await.unwrap();
}

/// Nothing of the unit is committed beside the transaction that it belongs to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_ends_the_transaction_fails_the_commit() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database, "").await;
    for (sql, own_rows) in [
        ("COMMIT", 1),
        ("ROLLBACK", 0),
        ("COMMIT; BEGIN", 1),
        ("ROLLBACK; BEGIN", 0),
        ("COMMIT AND CHAIN", 1),
        ("ROLLBACK AND CHAIN", 0),
    ] {
        let error = world.act(Way::Runs(sql), false).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Misconfigured, Retry::Never),
            "{sql}"
        );
        assert!(error.to_string().contains("let no statement end it"), "{error}");
        assert_eq!(world.take().await, [own_rows, 0, 0], "{sql}");
    }
    let changes = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    world.act(Way::Runs(changes), false).await.unwrap_err();
    assert_eq!(world.take().await, [0, 0, 0]);
    world.act(Way::Runs("SAVEPOINT own; ROLLBACK TO own"), false).await.unwrap();
    assert_eq!(world.take().await, [1, 0, 1]);
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handler_leaves_in_its_session_ends_with_it() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database, "connections_max=1&listen=false").await;
    world.own.run("DROP ROLE IF EXISTS left_role; CREATE ROLE left_role").await;
    let before = world.service.send(Look).await.unwrap();
    // The role may not use the schema, so the unit itself is refused, and all is rolled back.
    world.act(Way::Runs(LEAVE), false).await.unwrap_err();
    world.take().await;
    let before_commit = LEAVE.split("; SET ROLE").next().unwrap();
    let leaves = Way::Runs(Box::leak(before_commit.to_owned().into_boxed_str()));
    let fresh = world.service.send(Look).await.unwrap();
    assert_eq!(fresh[1..], before[1..]);
    world.act(leaves, false).await.unwrap();
    let after = world.service.send(Look).await.unwrap();
    assert_eq!(after, fresh, "the same session, as it was");
    world.own.run("DROP ROLE left_role").await;
    world.service.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_would_wait_for_itself_is_told() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database, "acquire_timeout_ms=300").await;
    let error = world.act(Way::AsksTwice, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("drop that one"), "{error}");
    assert_eq!(world.take().await, [0, 0, 0]);
    world.service.shutdown().await.unwrap();
}

/// In another isolation the checks of a commit would not see what was committed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_joins_a_transaction_that_is_read_committed_only() {
    let database = require!(postgres::database().await);
    let mut world = World::new(&database, "").await;
    let acts = world.service.context("acts").unwrap();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let cx = acts.unit_of_work(Cause::default());
        cx.publish(&Done {}).unwrap();
        let unit = cx.take_unit().unwrap();
        world.own.run(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        let error = enlist(acts.store().as_ref(), &mut world.own, unit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains("ISOLATION LEVEL READ COMMITTED"), "{error}");
        world.own.run("ROLLBACK").await;
    }
    assert_eq!(world.take().await, [0, 0, 0]);
    world.service.shutdown().await.unwrap();
}
