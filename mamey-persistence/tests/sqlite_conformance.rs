//! The store on SQLite passes the conformance suite.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use mamey_conformance::store::Harness;
use mamey_core::clock::{ManualClock, Timestamp};
use mamey_persistence::{SqliteDatabase, SqliteOptions};

async fn harness() -> Harness {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let options = SqliteOptions::default().with_clock(clock.clone());
    let database = SqliteDatabase::open(path.to_str().unwrap(), options).await.unwrap();
    Harness::new(Arc::new(database), clock, folder)
}

mamey_conformance::store_conformance!(harness);
