//! The settings that a relay, a consumer and a service share: names, defaults and checks.

use std::time::Duration;

use mamey_core::message::Partition;
use mamey_core::{Error, Result};

/// Default of `partitions`: over how many partitions the keys of a context are spread.
pub const PARTITIONS_DEFAULT: u16 = 8;

/// Default of `lease`: how long an instance that no longer renews its leases keeps them.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(15);

/// Default of `poll`: how often to look for work that no hint announced.
pub const POLL_DEFAULT: Duration = Duration::from_secs(1);

/// Default of `unroutable_for`: for how long a message without a route is tried before it is given up. Who
/// deploys a sender first has as long to deploy the receiver.
pub const UNROUTABLE_DEFAULT: Duration = Duration::from_hours(2);

/// Default of `drain`: how long running work may take at a shutdown before it is cut off.
pub const DRAIN_DEFAULT: Duration = Duration::from_secs(25);

const DURATION_MIN: Duration = Duration::from_millis(1);
const DURATION_MAX: Duration = Duration::from_hours(24 * 24);

pub(crate) fn partitions(partitions: u16) -> Result<()> {
    Partition::all(partitions).map(drop)
}

/// Below a millisecond a time may count as none, and beyond this one sums of times overflow.
pub(crate) fn duration(name: &str, duration: Duration) -> Result<()> {
    if (DURATION_MIN..=DURATION_MAX).contains(&duration) {
        return Ok(());
    }
    Err(Error::misconfigured(format!(
        "`{name}` is {duration:?}; it must be from {DURATION_MIN:?} to {DURATION_MAX:?}"
    )))
}

pub(crate) fn count(name: &str, count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::misconfigured(format!("`{name}` must be at least 1")));
    }
    Ok(())
}
