//! PostgreSQL: databases and schemas come and go, faults reach the client, the replica follows.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use mamey_test_support::{Direction, FaultProxy, Mode, postgres, require};
use sqlx::{AssertSqlSafe, Connection, Error, PgConnection, query, query_scalar};
use tokio::time::timeout;

const QUIET: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(10);

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// How many databases or schemas have the name, asked of a session that is not within them.
async fn count(name: &str) -> i64 {
    let url = std::env::var("MAMEY_TEST_POSTGRES_URL").unwrap();
    let sql = "SELECT (SELECT count(*) FROM pg_database WHERE datname = $1)
                    + (SELECT count(*) FROM pg_namespace WHERE nspname = $1)";
    query_scalar(sql).bind(name).fetch_one(&mut connect(&url).await).await.unwrap()
}

async fn answer(session: &mut PgConnection) -> Result<i32, Error> {
    query_scalar("SELECT 42").fetch_one(session).await
}

async fn make_table(session: &mut PgConnection, row: i32) {
    query("CREATE TABLE orders (id int PRIMARY KEY)").execute(&mut *session).await.unwrap();
    query("INSERT INTO orders VALUES ($1)").bind(row).execute(session).await.unwrap();
}

async fn orders(session: &mut PgConnection) -> Vec<i32> {
    query_scalar("SELECT id FROM orders").fetch_all(session).await.unwrap()
}

#[tokio::test]
async fn a_database_is_there_until_its_guard_is_dropped() {
    let database = require!(postgres::database().await);
    let name = database.name().to_owned();
    assert_eq!(count(&name).await, 1);
    let mut session = connect(database.url()).await;
    let current: String =
        query_scalar("SELECT current_database()::text").fetch_one(&mut session).await.unwrap();
    assert_eq!(current, name);

    // With the session still open and in the middle of a transaction.
    query("BEGIN").execute(&mut session).await.unwrap();
    make_table(&mut session, 1).await;
    drop(database);
    assert_eq!(count(&name).await, 0);
    assert!(answer(&mut session).await.is_err());
}

#[tokio::test]
async fn a_schema_is_there_until_its_guard_is_dropped() {
    let schema = require!(postgres::schema().await);
    let name = schema.name().to_owned();
    assert_eq!(count(&name).await, 1);
    let mut session = connect(schema.url()).await;
    let current: String =
        query_scalar("SELECT current_schema()::text").fetch_one(&mut session).await.unwrap();
    assert_eq!(current, name);

    query("BEGIN").execute(&mut session).await.unwrap();
    make_table(&mut session, 1).await;
    drop(schema);
    assert_eq!(count(&name).await, 0);
}

#[tokio::test]
async fn parallel_databases_do_not_see_each_other() {
    let (one, other) = tokio::join!(postgres::database(), postgres::database());
    let (one, other) = (require!(one), require!(other));
    let (mut one, mut other) = (connect(one.url()).await, connect(other.url()).await);
    make_table(&mut one, 1).await;
    make_table(&mut other, 2).await;
    assert_eq!(orders(&mut one).await, [1]);
    assert_eq!(orders(&mut other).await, [2]);
}

#[tokio::test]
async fn parallel_schemas_do_not_see_each_other() {
    let (one, other) = tokio::join!(postgres::schema(), postgres::schema());
    let (one, other) = (require!(one), require!(other));
    let (mut one, mut other) = (connect(one.url()).await, connect(other.url()).await);
    make_table(&mut one, 1).await;
    make_table(&mut other, 2).await;
    assert_eq!(orders(&mut one).await, [1]);
    assert_eq!(orders(&mut other).await, [2]);
}

#[tokio::test]
async fn the_replica_sees_a_write() {
    let database = require!(postgres::database().await);
    let replica_url = require!(database.replica_url());
    make_table(&mut connect(database.url()).await, 7).await;
    let seen = async {
        loop {
            // The database itself arrives a moment later, as the row does.
            if let Ok(mut replica) = PgConnection::connect(&replica_url).await
                && let Ok(ids) =
                    query_scalar::<_, i32>("SELECT id FROM orders").fetch_all(&mut replica).await
                && !ids.is_empty()
            {
                break ids;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(timeout(SOON, seen).await.unwrap(), [7]);
    let mut replica = connect(&replica_url).await;
    let written = query("INSERT INTO orders VALUES (8)").execute(&mut replica).await;
    assert!(written.unwrap_err().to_string().contains("read-only"));
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_reply_is_the_clients_error() {
    let schema = require!(postgres::schema().await);
    let proxy = FaultProxy::start(schema.url()).await.unwrap();
    let url = proxy.url_for(schema.url()).unwrap();
    let mut session = connect(&url).await;
    assert_eq!(answer(&mut session).await.unwrap(), 42);

    let direction = Direction::ToClient;
    proxy.set(Mode::CutAfter { direction, bytes: 1000 }).await.unwrap();
    let sql = "SELECT repeat('x', 100000)";
    let reply =
        timeout(SOON, query_scalar::<_, String>(sql).fetch_one(&mut session)).await.unwrap();
    assert!(matches!(reply, Err(Error::Io(_))), "{reply:?}");

    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(answer(&mut connect(&url).await).await.unwrap(), 42);
}

#[tokio::test]
async fn after_a_silence_the_reply_arrives() {
    let schema = require!(postgres::schema().await);
    let proxy = FaultProxy::start(schema.url()).await.unwrap();
    let mut session = connect(&proxy.url_for(schema.url()).unwrap()).await;
    assert_eq!(answer(&mut session).await.unwrap(), 42);

    proxy.set(Mode::Silent).await.unwrap();
    let reply = answer(&mut session);
    tokio::pin!(reply);
    assert!(timeout(QUIET, &mut reply).await.is_err());
    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(timeout(SOON, reply).await.unwrap().unwrap(), 42);
}

#[tokio::test]
async fn a_refused_connection_is_the_clients_error_until_the_proxy_is_back() {
    let schema = require!(postgres::schema().await);
    let proxy = FaultProxy::start(schema.url()).await.unwrap();
    let url = proxy.url_for(schema.url()).unwrap();
    proxy.set(Mode::Refuse).await.unwrap();
    assert!(matches!(PgConnection::connect(&url).await, Err(Error::Io(_))));
    proxy.set(Mode::Forward).await.unwrap();
    assert_eq!(answer(&mut connect(&url).await).await.unwrap(), 42);
}

#[tokio::test]
async fn a_prepared_statement_is_one_round_trip() {
    let schema = require!(postgres::schema().await);
    let proxy = FaultProxy::start(schema.url()).await.unwrap();
    let mut session = connect(&proxy.url_for(schema.url()).unwrap()).await;
    answer(&mut session).await.unwrap();

    let before = proxy.counts();
    for _ in 0..5 {
        answer(&mut session).await.unwrap();
    }
    assert_eq!((proxy.counts() - before).round_trips, 5);

    // Several statements in one message are one round trip too.
    let before = proxy.counts();
    let many = "SELECT 1; ".repeat(20);
    sqlx::raw_sql(AssertSqlSafe(many)).execute(&mut session).await.unwrap();
    assert_eq!((proxy.counts() - before).round_trips, 1);
}
