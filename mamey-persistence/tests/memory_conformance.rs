//! The store in memory passes the conformance suite.
#![cfg(feature = "memory")]

use std::sync::Arc;

use mamey_conformance::{Absent, StoreHarness, store_conformance};
use mamey_core::clock::{ManualClock, Timestamp};
use mamey_persistence::{MemoryDatabase, MemoryOptions};

async fn harness() -> Result<StoreHarness, Absent> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000)));
    let database = MemoryDatabase::with_options(MemoryOptions::default().with_clock(clock.clone()));
    Ok(StoreHarness::new(Arc::new(database), clock))
}

store_conformance!(harness);
