//! The limits and intervals of a consumer.

use std::time::Duration;

use mamey_core::Result;
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::store::{InstanceId, LeaseRequest, LeaseRole};

use crate::limits::{
    self, DRAIN_DEFAULT, LANES_MAX, LEASE_DEFAULT, PARTITIONS_DEFAULT, POLL_DEFAULT, PREFETCH_MAX,
};

/// The limits and intervals of a [`Consumer`](crate::Consumer).
///
/// ```
/// use std::time::Duration;
///
/// use mamey::messaging::ConsumerOptions;
///
/// let options = ConsumerOptions::default()
///     .with_partitions(16)
///     .with_lanes_max(128)
///     .with_drain(Duration::from_secs(5));
/// assert_eq!(options.lanes_max, 128);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// The running instance, the same for all parts of one process. Default: a new one.
    pub instance: InstanceId,
    /// Over how many partitions the keys are spread: the same for all instances, and as in the
    /// context's topology. Default: [`PARTITIONS_DEFAULT`].
    pub partitions: u16,
    /// The number that the instance is set to, for the others to know, if it is not the number in force.
    /// Default: `None`.
    pub partitions_wanted: Option<u16>,
    /// How long leases hold; they are renewed at a third of it. Default: [`LEASE_DEFAULT`].
    pub lease: Duration,
    /// How many messages of one partition may be in memory. Default: 64.
    ///
    /// A broker counts messages, not bytes: over RabbitMQ, up to this many of each partition are in
    /// memory before they are taken, so lower it where messages are large. At most [`PREFETCH_MAX`].
    pub prefetch: u16,
    /// How many bytes of payloads may be taken and not settled at a time, over all partitions; each
    /// partition may hold one message more, and one message alone may exceed it. Default: 64 MiB.
    pub in_flight_bytes_max: usize,
    /// How many messages, each of another lane, are handled at a time. Default: 64, at most
    /// [`LANES_MAX`].
    pub lanes_max: usize,
    /// After how long a handler that runs no longer holds up others: its message is parked while it
    /// runs on, if others wait for it. Others are those of its partition, and on a transport that
    /// stores nothing also its publisher. Messages that wait four times as long for their turn are
    /// parked too. Default: 250 ms.
    pub slow_after: Duration,
    /// How many messages that failed are retried at a time, beside those. Default: 16, at most
    /// [`LANES_MAX`].
    pub retries_max: usize,
    /// How many messages may be parked; beyond it nothing is taken from the transport until there
    /// are fewer. Half of it is kept for messages that fail: at more than that, messages are no
    /// longer parked because they are slow. Default: 100 000.
    pub parked_messages_max: u64,
    /// How often to look for parked messages that are due. Default: [`POLL_DEFAULT`].
    pub poll: Duration,
    /// How long to await running handlers when shutting down. Default: [`DRAIN_DEFAULT`].
    pub drain: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            instance: InstanceId::new(UuidV7Source::default().next_uuid()),
            partitions: PARTITIONS_DEFAULT,
            partitions_wanted: None,
            lease: LEASE_DEFAULT,
            prefetch: 64,
            in_flight_bytes_max: 64 * 1024 * 1024,
            lanes_max: 64,
            slow_after: Duration::from_millis(250),
            retries_max: 16,
            parked_messages_max: 100_000,
            poll: POLL_DEFAULT,
            drain: DRAIN_DEFAULT,
        }
    }
}

impl ConsumerOptions {
    /// Sets [`instance`](Self::instance).
    #[must_use]
    pub fn with_instance(self, instance: InstanceId) -> Self {
        Self { instance, ..self }
    }

    /// Sets [`partitions`](Self::partitions).
    #[must_use]
    pub fn with_partitions(self, partitions: u16) -> Self {
        Self { partitions, ..self }
    }

    /// Sets [`partitions_wanted`](Self::partitions_wanted).
    #[must_use]
    pub fn with_partitions_wanted(self, partitions_wanted: Option<u16>) -> Self {
        Self { partitions_wanted, ..self }
    }

    /// Sets [`lease`](Self::lease).
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Sets [`prefetch`](Self::prefetch).
    #[must_use]
    pub fn with_prefetch(self, prefetch: u16) -> Self {
        Self { prefetch, ..self }
    }

    /// Sets [`in_flight_bytes_max`](Self::in_flight_bytes_max).
    #[must_use]
    pub fn with_in_flight_bytes_max(self, in_flight_bytes_max: usize) -> Self {
        Self { in_flight_bytes_max, ..self }
    }

    /// Sets [`lanes_max`](Self::lanes_max).
    #[must_use]
    pub fn with_lanes_max(self, lanes_max: usize) -> Self {
        Self { lanes_max, ..self }
    }

    /// Sets [`slow_after`](Self::slow_after).
    #[must_use]
    pub fn with_slow_after(self, slow_after: Duration) -> Self {
        Self { slow_after, ..self }
    }

    /// Sets [`retries_max`](Self::retries_max).
    #[must_use]
    pub fn with_retries_max(self, retries_max: usize) -> Self {
        Self { retries_max, ..self }
    }

    /// Sets [`parked_messages_max`](Self::parked_messages_max).
    #[must_use]
    pub fn with_parked_messages_max(self, parked_messages_max: u64) -> Self {
        Self { parked_messages_max, ..self }
    }

    /// Sets [`poll`](Self::poll).
    #[must_use]
    pub fn with_poll(self, poll: Duration) -> Self {
        Self { poll, ..self }
    }

    /// Sets [`drain`](Self::drain).
    #[must_use]
    pub fn with_drain(self, drain: Duration) -> Self {
        Self { drain, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        limits::partitions(self.partitions)?;
        limits::duration("lease", self.lease)?;
        limits::duration("poll", self.poll)?;
        limits::duration("slow_after", self.slow_after)?;
        limits::count_to("prefetch", self.prefetch.into(), PREFETCH_MAX.into())?;
        limits::count("in_flight_bytes_max", self.in_flight_bytes_max)?;
        limits::count_to("lanes_max", self.lanes_max, LANES_MAX)?;
        limits::count_to("retries_max", self.retries_max, LANES_MAX)
    }

    pub(super) const fn lease_request(&self) -> LeaseRequest {
        let request =
            LeaseRequest::new(LeaseRole::Consumer, self.instance, self.partitions, self.lease);
        match self.partitions_wanted {
            Some(wanted) => request.with_wanted(wanted),
            None => request,
        }
    }
}
