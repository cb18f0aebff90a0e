//! The store on PostgreSQL keeps every promise of the ports, through a PgBouncer too.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use mamey_conformance::store::Harness;
use mamey_core::clock::{ManualClock, Timestamp};
use mamey_persistence::{PostgresDatabase, PostgresOptions};
use mamey_test_support::postgres::{self, Database};
use mamey_test_support::{Result, or_skip};

/// A store in a database of its own, which the URL reaches.
async fn harness(url: impl FnOnce(&Database) -> Result<String>) -> Option<Harness> {
    let database = or_skip(postgres::database().await)?;
    let url = or_skip(url(&database))?;
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let options = PostgresOptions::default().with_clock(clock.clone());
    let store = PostgresDatabase::connect(&url, options).await.unwrap();
    Some(Harness::new(Arc::new(store), clock, database))
}

mod directly {
    use super::*;

    async fn directly() -> Option<Harness> {
        harness(|database| Ok(database.url().to_owned())).await
    }

    mamey_conformance::store_conformance!(directly);
}

mod through_pgbouncer {
    use super::*;

    async fn through_pgbouncer() -> Option<Harness> {
        harness(|database| Ok(database.pgbouncer_url()? + "?pgbouncer=true")).await
    }

    mamey_conformance::store_conformance!(through_pgbouncer);
}
