//! Lets one instance of a context at a time change what leads messages to it.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::store::{InstanceId, LeaseRequest, LeaseRole, Store};
use mamey_core::{Error, Result};
use tokio::time::{Instant, sleep, timeout};

/// How long a turn lasts at most: then the next instance may begin.
const TURN: Duration = Duration::from_secs(60);

/// How long the change itself may take, so that it has ended before the turn has.
const CHANGE_MAX: Duration = Duration::from_secs(40);

/// How long to wait for the turns of others.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// The pause before asking again.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs a change while no other instance of the context makes one.
///
/// # Errors
/// `Unavailable` when the turn does not come, `TimedOut` when the change takes too long; the store's
/// and those of the change.
///
/// # Cancellation
/// Dropping the future drops the change; the next instance begins when the turn has expired.
pub(super) async fn in_turn<T>(
    store: &Arc<dyn Store>,
    instance: InstanceId,
    change: impl Future<Output = Result<T>>,
) -> Result<T> {
    let until = Instant::now() + WAIT_MAX;
    while !begin(store, instance).await? {
        if Instant::now() > until {
            return Err(Error::unavailable(
                "other instances of the context are still changing its topology",
            ));
        }
        sleep(PAUSE).await;
    }
    end(store, instance, change).await
}

/// As [`in_turn`], unless another instance makes a change: then it does nothing.
pub(super) async fn try_in_turn(
    store: &Arc<dyn Store>,
    instance: InstanceId,
    change: impl Future<Output = Result<()>>,
) -> Result<()> {
    match begin(store, instance).await? {
        true => end(store, instance, change).await,
        false => Ok(()),
    }
}

/// Whether this instance has the turn.
async fn begin(store: &Arc<dyn Store>, instance: InstanceId) -> Result<bool> {
    let request = LeaseRequest::new(LeaseRole::Topology, instance, 1, TURN);
    Ok(!store.hold_leases(request).await?.leases.is_empty())
}

async fn end<T>(
    store: &Arc<dyn Store>,
    instance: InstanceId,
    change: impl Future<Output = Result<T>>,
) -> Result<T> {
    let changed = timeout(CHANGE_MAX, change).await.unwrap_or_else(|_| {
        Err(Error::timed_out(format!("changing the topology took longer than {CHANGE_MAX:?}")))
    });
    store.retire(LeaseRole::Topology, instance).await?;
    changed
}
