//! The store on SQLite passes the conformance suite.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use mamey_conformance::{Absent, StoreHarness, store_conformance};
use mamey_core::Result;
use mamey_core::clock::{ManualClock, Timestamp};
use mamey_core::store::Database;
use mamey_persistence::{SqliteDatabase, SqliteOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

async fn harness() -> std::result::Result<StoreHarness, Absent> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db").to_str().unwrap().to_owned();
    let database = open(path.clone(), clock.clone()).await.unwrap();
    let file = SqliteConnectOptions::new().filename(&path);
    let harness = StoreHarness::new(database, clock.clone()).with_sql("mamey_", move |sql| {
        let file = file.clone();
        async move {
            let mut connection = file.connect().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
    });
    let harness = harness.with_redraw("DELETE FROM sqlite_sequence WHERE name = 'mamey_outbox'");
    Ok(harness.with_connect(move || open(path.clone(), clock.clone())).keeping(folder))
}

async fn open(path: String, clock: Arc<ManualClock>) -> Result<Arc<dyn Database>> {
    let options = SqliteOptions::default().with_clock(clock);
    Ok(Arc::new(SqliteDatabase::open(&path, options).await?))
}

store_conformance!(harness);
