//! A test that panics drops its namespaces, and one that is killed has them swept.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::env;
use std::process::{self, Command};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mamey_test_support::{Result, mongodb, postgres, rabbitmq, redis, require};
use sqlx::Connection;
use tokio::runtime::Runtime;

/// Set in the child process of the test that kills it.
const CHILD_VARIABLE: &str = "MAMEY_TEST_LEFT_OVERS_CHILD";

/// What the child's line with its names begins with.
const NAMES: &str = "names: ";

const SOON: Duration = Duration::from_secs(20);

/// One namespace of every kind, with something in it.
struct Everything {
    database: postgres::Database,
    schema: postgres::Schema,
    vhost: rabbitmq::Vhost,
    prefix: redis::Prefix,
    documents: mongodb::Database,
}

impl Everything {
    async fn make() -> Result<Self> {
        let (database, schema, vhost, prefix, documents) = tokio::try_join!(
            postgres::database(),
            postgres::schema(),
            rabbitmq::vhost(),
            redis::prefix(),
            mongodb::database(),
        )?;
        let made = Self { database, schema, vhost, prefix, documents };
        // The other three are there from the beginning.
        set(&made.prefix.key("order")).await;
        insert(made.documents.url()).await;
        Ok(made)
    }

    fn names(&self) -> String {
        [
            self.database.name(),
            self.schema.name(),
            self.vhost.name(),
            self.prefix.as_str().trim_end_matches(':'),
            self.documents.name(),
        ]
        .join(" ")
    }
}

fn url(variable: &str) -> String {
    env::var(variable).unwrap()
}

async fn redis_session() -> ::redis::aio::MultiplexedConnection {
    let client = ::redis::Client::open(url("MAMEY_TEST_REDIS_URL")).unwrap();
    // The driver's own limits are short, and fail where a busy machine is only slow.
    let config = ::redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(SOON))
        .set_response_timeout(Some(SOON));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

async fn set(key: &str) {
    let mut session = redis_session().await;
    ::redis::cmd("SET").arg(key).arg("x").query_async::<()>(&mut session).await.unwrap();
}

async fn insert(url: &str) {
    let client = ::mongodb::Client::with_uri_str(url).await.unwrap();
    let orders = client.default_database().unwrap().collection("orders");
    orders.insert_one(::mongodb::bson::doc! { "_id": 1 }).await.unwrap();
}

/// The names of everything there is on all servers.
async fn everything_there_is() -> Vec<String> {
    let mut names = rabbitmq::vhosts().await.unwrap();

    let mut session = sqlx::PgConnection::connect(&url("MAMEY_TEST_POSTGRES_URL")).await.unwrap();
    let sql =
        "SELECT datname::text FROM pg_database UNION ALL SELECT nspname::text FROM pg_namespace";
    names.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(&mut session).await.unwrap());

    let mut session = redis_session().await;
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut session).await.unwrap();
    names.extend(keys.iter().filter_map(|key| Some(key.split_once(':')?.0.to_owned())));

    let client = ::mongodb::Client::with_uri_str(url("MAMEY_TEST_MONGODB_URL")).await.unwrap();
    names.extend(client.list_database_names().await.unwrap());
    names
}

/// How many of the names are still there.
async fn left_of(names: &str) -> usize {
    let there = everything_there_is().await;
    names.split(' ').filter(|name| there.iter().any(|other| other == name)).count()
}

#[tokio::test]
async fn a_panic_leaves_nothing() {
    let everything = require!(Everything::make().await);
    let names = everything.names();
    assert_eq!(left_of(&names).await, 5);

    let (made, names_of_panicking) = mpsc::channel();
    let panicking = thread::spawn(move || {
        Runtime::new().unwrap().block_on(async {
            let everything = Everything::make().await.unwrap();
            made.send(everything.names()).unwrap();
            panic!("the test fails, as it should");
        });
    });
    assert!(panicking.join().is_err());
    assert_eq!(left_of(&names_of_panicking.recv().unwrap()).await, 0);
    assert_eq!(left_of(&names).await, 5);
}

#[tokio::test]
async fn what_a_killed_run_left_is_swept() {
    let everything = require!(Everything::make().await);
    if env::var_os(CHILD_VARIABLE).is_some() {
        println!("\n{NAMES}{}", everything.names());
        process::abort();
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "what_a_killed_run_left_is_swept", "--nocapture"])
        .env(CHILD_VARIABLE, "1")
        .output()
        .unwrap();
    assert!(!child.status.success());
    let output = String::from_utf8_lossy(&child.stdout);
    let names = output.lines().find_map(|line| line.strip_prefix(NAMES)).expect(&output);
    assert_eq!(names.split(' ').count(), 5);

    postgres::sweep().await.unwrap();
    rabbitmq::sweep().await.unwrap();
    redis::sweep().await.unwrap();
    mongodb::sweep().await.unwrap();
    // Another test's sweep may have been faster, and be in the middle of it.
    let began = Instant::now();
    while left_of(names).await > 0 {
        assert!(began.elapsed() < SOON, "not swept: {names}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(left_of(&everything.names()).await, 5);
}
