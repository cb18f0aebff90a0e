//! Checks, after all workers have ended, that no lease is still held.

use std::sync::Arc;
use std::time::Duration;

use mamey::clock::SystemClock;
use mamey::store::{LeaseRequest, LeaseRole, Store};
use mamey::{Result, Settings, persistence};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::new_instance;
use crate::domain::{self, CONTEXTS, Trials};
use crate::protocol::Output;

/// How long the inspection holds the leases it gets, should it end before it releases them.
const HOLD: Duration = Duration::from_secs(1);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inspection {
    /// Partitions that are still held although no worker runs, over all contexts and roles.
    pub(crate) leaked_leases: u64,
}

/// Inspects the store that the environment names. Killed workers keep their leases for some time, so
/// it looks again until these have expired.
pub(crate) async fn inspect() -> Result<Inspection> {
    let settings = Settings::from_env()?;
    let database = persistence::connect(&settings.store_url, Arc::new(SystemClock)).await?;
    let trials = Trials::new(Output::new());
    let end = Instant::now() + settings.lease * 3;
    let mut leaked_leases = 0;
    for context in CONTEXTS.iter().filter_map(|name| domain::context(name, &trials)) {
        let store = database.open(&context.schema()?).await?;
        for role in [LeaseRole::Relay, LeaseRole::Consumer] {
            leaked_leases += leaked(&*store, role, &settings, end).await?;
        }
    }
    database.close().await;
    Ok(Inspection { leaked_leases })
}

async fn leaked(
    store: &dyn Store,
    role: LeaseRole,
    settings: &Settings,
    end: Instant,
) -> Result<u64> {
    let partitions = settings.partitions;
    let request = LeaseRequest::new(role, new_instance(), partitions, HOLD);
    let leaked = loop {
        let held = store.hold_leases(request).await?.leases.len() as u64;
        let leaked = u64::from(partitions).saturating_sub(held);
        if leaked == 0 || Instant::now() >= end {
            break leaked;
        }
        sleep(LOOK_EVERY).await;
    };
    store.retire(role, request.holder).await?;
    Ok(leaked)
}
