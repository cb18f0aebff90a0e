//! Looks at the stores from outside once all workers have ended: is any lease still held?

use std::sync::Arc;
use std::time::Duration;

use mamey::clock::SystemClock;
use mamey::store::{LeaseRequest, LeaseRole, Store};
use mamey::{Result, Settings, persistence};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::stranger;
use crate::domain::{self, CONTEXTS, Trials};
use crate::protocol::Mouth;

/// How long the one who looks holds what it gets, should it end before it gives it back.
const HOLD: Duration = Duration::from_secs(1);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inspection {
    /// Partitions that nobody can have although nobody works, contexts and roles added up.
    pub(crate) leaked_leases: u64,
}

/// Looks at the store that the environment names. Those that were killed have their leases for
/// some time yet, so it looks again until these have expired.
pub(crate) async fn inspect() -> Result<Inspection> {
    let settings = Settings::from_env()?;
    let database = persistence::connect(&settings.store_url, Arc::new(SystemClock)).await?;
    let trials = Trials::new(Mouth::new());
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
    let request = LeaseRequest::new(role, stranger(), partitions, HOLD);
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
