//! The limits and intervals of a relay.

use std::time::Duration;

use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::store::{InstanceId, LeaseRequest, LeaseRole};
use mamey_core::{Backoff, Result};

use crate::limits;

/// The limits and intervals of a [`Relay`](crate::Relay).
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The running instance, the same for all parts of one process.
    pub instance: InstanceId,
    /// Over how many partitions the keys are spread: the same for all instances. Default: 8.
    pub partitions: u16,
    /// How long leases hold; they are renewed at a third of it. Default: 15 s.
    pub lease_duration: Duration,
    /// How many messages may be on their way at a time. Default: 256.
    pub in_flight_max: usize,
    /// How many records may be in memory, whatever the backlog. Default: 1024.
    pub held_records_max: usize,
    /// How many keys may wait for a message that cannot be published, each with that message in
    /// memory; beyond it nothing more is read until some get through. Default: 1024.
    pub blocked_keys_max: usize,
    /// How often to look for records that no hint announced. Default: 1 s.
    pub poll_interval: Duration,
    /// How often to look again from the beginning, for commits that became visible late. A commit
    /// that takes longer to show loses its order. Default: 30 s.
    pub sweep_interval: Duration,
    /// The pauses before a message that could not be published is tried again.
    pub backoff: Backoff,
    /// How long to await what is on its way when shutting down. Default: 10 s.
    pub drain_max: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            instance: InstanceId(UuidV7Source::default().next_uuid()),
            partitions: limits::PARTITIONS,
            lease_duration: limits::LEASE_DURATION,
            in_flight_max: 256,
            held_records_max: 1024,
            blocked_keys_max: 1024,
            poll_interval: limits::POLL_INTERVAL,
            sweep_interval: Duration::from_secs(30),
            backoff: Backoff { max: Duration::from_secs(30), ..Backoff::DEFAULT },
            drain_max: limits::DRAIN_MAX,
        }
    }
}

impl RelayOptions {
    pub(super) fn check(&self) -> Result<()> {
        limits::partitions(self.partitions)?;
        limits::duration("lease_duration", self.lease_duration)?;
        limits::duration("poll_interval", self.poll_interval)?;
        limits::duration("sweep_interval", self.sweep_interval)?;
        limits::count("in_flight_max", self.in_flight_max)?;
        limits::count("held_records_max", self.held_records_max)?;
        limits::count("blocked_keys_max", self.blocked_keys_max)
    }

    pub(super) const fn lease_request(&self) -> LeaseRequest {
        LeaseRequest {
            role: LeaseRole::Relay,
            holder: self.instance,
            partitions: self.partitions,
            duration: self.lease_duration,
        }
    }
}
