//! Limits that relay and consumer share, and their checks.

use std::time::Duration;

use mamey_core::message::Partition;
use mamey_core::{Error, Result};

/// Over how many partitions the keys are spread.
pub(crate) const PARTITIONS: u16 = 8;

/// How long leases hold.
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(15);

/// How often to look for work that no hint announced.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long to await running work when shutting down.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

pub(crate) fn partitions(partitions: u16) -> Result<()> {
    Partition::all(partitions).map(drop)
}

pub(crate) fn duration(name: &str, duration: Duration) -> Result<()> {
    if duration.is_zero() {
        return Err(Error::misconfigured(format!("`{name}` must not be zero")));
    }
    Ok(())
}

pub(crate) fn count(name: &str, count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::misconfigured(format!("`{name}` must be at least 1")));
    }
    Ok(())
}
