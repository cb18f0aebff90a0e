//! An instance that was paused too long: its deletions arrive after its leases have moved.

use std::time::Duration;

use mamey::store::{Lease, LeaseRequest, LeaseRole, OutboxRead, RecordId, Store};
use mamey::{Result, Settings};
use tokio::time::{Instant, sleep, timeout_at};

use super::new_instance;

/// How long it tries to get hold of a lease with records under it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it holds its leases: long enough for unpublished records to gather.
const HOLD: Duration = Duration::from_millis(400);

/// How long it waits before it reads.
const GATHER: Duration = Duration::from_millis(250);

/// How many records it reads under each lease.
const RECORDS_PER_LEASE_MAX: u32 = 100;

/// How often it asks until it gets a lease.
const LOOK_EVERY: Duration = Duration::from_millis(60);

/// How often it checks whether its leases have moved: right after that is the worst moment.
const AWAY_LOOK_EVERY: Duration = Duration::from_millis(20);

/// So short that the leases are free again immediately.
const NO_TIME: Duration = Duration::from_millis(1);

/// Joins as another relay, reads records under its leases, waits until these have moved to others,
/// and then deletes what it read. None of it was published, so whatever it deletes is lost; the epochs
/// must prevent that.
///
/// Returns how many deletions were tried, and how many succeeded.
pub(super) async fn delete(store: &dyn Store) -> Result<(u64, u64)> {
    let settings = Settings::from_env()?;
    let request = LeaseRequest::new(LeaseRole::Relay, new_instance(), settings.partitions, HOLD);
    let end = Instant::now() + PATIENCE;
    let read = timeout_at(end, read_some(store, request)).await;
    let records = match read {
        Ok(read) => read?,
        Err(_) => Vec::new(),
    };
    sleep(HOLD).await;
    let away = request.with_duration(NO_TIME);
    while !records.is_empty() && holds_any(store, away, &records).await? {
        sleep(AWAY_LOOK_EVERY).await;
    }
    let deleted = match records.is_empty() {
        true => 0,
        false => store.delete_published(&records).await?.deleted,
    };
    store.retire(LeaseRole::Relay, request.holder).await?;
    Ok((records.len() as u64, deleted))
}

/// Asks for leases until it gets some, lets records gather under them, and reads these.
async fn read_some(store: &dyn Store, request: LeaseRequest) -> Result<Vec<(Lease, RecordId)>> {
    loop {
        let leases = store.hold_leases(request).await?.leases;
        if leases.is_empty() {
            sleep(LOOK_EVERY).await;
            continue;
        }
        sleep(GATHER).await;
        let mut records = Vec::new();
        for lease in &leases {
            let leases = std::slice::from_ref(lease);
            let read = OutboxRead::new(leases, RECORDS_PER_LEASE_MAX);
            let read = store.read_outbox(read).await?.records;
            records.extend(read.iter().map(|record| (*lease, record.id())));
        }
        if !records.is_empty() {
            return Ok(records);
        }
    }
}

/// Whether a lease under which records were read has not moved yet.
async fn holds_any(
    store: &dyn Store,
    request: LeaseRequest,
    records: &[(Lease, RecordId)],
) -> Result<bool> {
    let held = store.hold_leases(request).await?.leases;
    Ok(records.iter().any(|(lease, _)| held.contains(lease)))
}
