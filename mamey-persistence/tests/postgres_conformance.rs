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
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A store in a database of its own, which the URL reaches.
async fn harness(
    url: impl FnOnce(&postgres::Database) -> mamey_test_support::Result<String>,
) -> std::result::Result<StoreHarness, Absent> {
    let database = or_absent(postgres::database().await)?;
    let url = or_absent(url(&database))?;
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let store = connect(url.clone(), clock.clone()).await.unwrap();
    let direct = database.url().to_owned();
    let harness = StoreHarness::new(store, clock.clone()).with_sql("orders._", move |sql| {
        let url = direct.clone();
        async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
    });
    let redraw = "ALTER TABLE orders._outbox ALTER COLUMN sequence RESTART";
    let harness = harness.with_redraw(redraw);
    Ok(harness.with_connect(move || connect(url.clone(), clock.clone())).keeping(database))
}

async fn connect(url: String, clock: Arc<ManualClock>) -> Result<Arc<dyn Database>> {
    let options = PostgresOptions::default().with_clock(clock);
    Ok(Arc::new(PostgresDatabase::connect(&url, options).await?))
}

async fn directly() -> std::result::Result<StoreHarness, Absent> {
    harness(|database| Ok(database.url().to_owned())).await
}

async fn through_pgbouncer() -> std::result::Result<StoreHarness, Absent> {
    harness(|database| Ok(database.pgbouncer_url()? + "?pgbouncer=true")).await
}

mod directly {
    mamey_conformance::store_conformance!(super::directly);
}

mod through_pgbouncer {
    mamey_conformance::store_conformance!(super::through_pgbouncer);
}
