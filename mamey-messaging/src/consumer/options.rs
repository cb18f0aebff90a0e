//! The limits and intervals of a consumer.

use std::time::Duration;

use mamey_core::Result;
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::store::{InstanceId, LeaseRequest, LeaseRole};

use crate::limits;

/// The limits and intervals of a [`Consumer`](crate::Consumer).
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The running instance, the same for all parts of one process.
    pub instance: InstanceId,
    /// Over how many partitions the keys are spread: the same for all instances, and as in the
    /// context's topology. Default: 8.
    pub partitions: u16,
    /// How long leases hold; they are renewed at a third of it. Default: 15 s.
    pub lease_duration: Duration,
    /// How many messages of one partition may be in memory. Default: 64.
    pub prefetch: u16,
    /// How many messages, each of another lane, are handled at a time. Default: 64.
    pub lanes_max: usize,
    /// How many parked messages are retried at a time, beside those. Default: 16.
    pub retries_max: usize,
    /// How many messages may be parked; beyond it nothing is taken from the transport until there
    /// are fewer. Default: 100 000.
    pub parked_messages_max: u64,
    /// How often to look for parked messages that are due. Default: 1 s.
    pub poll_interval: Duration,
    /// How long to await running handlers when shutting down. Default: 10 s.
    pub drain_max: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            instance: InstanceId(UuidV7Source::default().next_uuid()),
            partitions: limits::PARTITIONS,
            lease_duration: limits::LEASE_DURATION,
            prefetch: 64,
            lanes_max: 64,
            retries_max: 16,
            parked_messages_max: 100_000,
            poll_interval: limits::POLL_INTERVAL,
            drain_max: limits::DRAIN_MAX,
        }
    }
}

impl ConsumerOptions {
    pub(super) fn check(&self) -> Result<()> {
        limits::partitions(self.partitions)?;
        limits::duration("lease_duration", self.lease_duration)?;
        limits::duration("poll_interval", self.poll_interval)?;
        limits::count("prefetch", usize::from(self.prefetch))?;
        limits::count("lanes_max", self.lanes_max)?;
        limits::count("retries_max", self.retries_max)
    }

    pub(super) const fn lease_request(&self) -> LeaseRequest {
        LeaseRequest {
            role: LeaseRole::Consumer,
            holder: self.instance,
            partitions: self.partitions,
            duration: self.lease_duration,
        }
    }
}
