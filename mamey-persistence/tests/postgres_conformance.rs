//! The store on PostgreSQL keeps every promise of the ports, through a PgBouncer too.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use mamey_conformance::{Absent, StoreHarness};
use mamey_core::Result;
use mamey_core::clock::{ManualClock, Timestamp};
use mamey_core::store::Database;
use mamey_persistence::{PostgresDatabase, PostgresOptions};
use mamey_test_support::{or_absent, postgres};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

/// Defaults under which no statement means what it usually does, or comes to its end.
const HOSTILE: [&str; 19] = [
    "default_transaction_isolation = 'repeatable read'",
    "default_transaction_deferrable = on",
    "search_path = 'nowhere'",
    "timezone = 'Asia/Kathmandu'",
    "datestyle = 'German, DMY'",
    "intervalstyle = 'sql_standard'",
    "standard_conforming_strings = off",
    "client_encoding = 'LATIN1'",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    "statement_timeout = '40ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "idle_session_timeout = '40ms'",
    "row_security = off",
    "enable_indexscan = off",
    "transform_null_equals = on",
    "array_nulls = off",
    "exit_on_error = on",
];

/// A store in a database of its own, which the URL reaches.
async fn harness(
    url: impl FnOnce(&postgres::Database) -> mamey_test_support::Result<String>,
    defaults: &[&str],
) -> std::result::Result<StoreHarness, Absent> {
    let database = or_absent(postgres::database().await)?;
    let url = or_absent(url(&database))?;
    let alter = |default| format!("ALTER DATABASE \"{}\" SET {default};", database.name());
    run(database.url(), defaults.iter().map(alter).collect()).await;
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let store = connect(url.clone(), clock.clone()).await.unwrap();
    let direct = database.url().to_owned();
    let harness = StoreHarness::new(store, clock.clone()).with_sql("orders._", move |sql| {
        let url = direct.clone();
        async move { run(&url, sql).await }
    });
    let redraw = "ALTER TABLE orders._outbox ALTER COLUMN sequence RESTART";
    let harness = harness.with_redraw(redraw);
    Ok(harness.with_connect(move || connect(url.clone(), clock.clone())).keeping(database))
}

/// Runs statements on a session with no defaults of the database in their way.
async fn run(url: &str, sql: String) {
    let options: PgConnectOptions = url.parse().unwrap();
    let usual = ["default_transaction_read_only", "statement_timeout", "idle_session_timeout"];
    let options = options.options(usual.map(|name| (name, "0")));
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

async fn connect(url: String, clock: Arc<ManualClock>) -> Result<Arc<dyn Database>> {
    let options = PostgresOptions::default().with_clock(clock);
    Ok(Arc::new(PostgresDatabase::connect(&url, options).await?))
}

async fn directly() -> std::result::Result<StoreHarness, Absent> {
    harness(|database| Ok(database.url().to_owned()), &[]).await
}

async fn through_pgbouncer() -> std::result::Result<StoreHarness, Absent> {
    harness(|database| Ok(database.pgbouncer_url()? + "?pgbouncer=true"), &[]).await
}

async fn with_hostile_defaults() -> std::result::Result<StoreHarness, Absent> {
    harness(|database| Ok(database.url().to_owned()), &HOSTILE).await
}

mod directly {
    mamey_conformance::store_conformance!(super::directly);
}

mod with_hostile_defaults {
    mamey_conformance::store_conformance!(super::with_hostile_defaults);
}

mod through_pgbouncer {
    mamey_conformance::store_conformance!(super::through_pgbouncer);
}
