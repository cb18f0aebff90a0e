//! The limits and intervals of a relay.

use std::time::Duration;

use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::message::ContextName;
use mamey_core::store::{InstanceId, LeaseRequest, LeaseRole};
use mamey_core::{Backoff, Result};

use crate::limits::{
    self, DRAIN_DEFAULT, LEASE_DEFAULT, PARTITIONS_DEFAULT, POLL_DEFAULT, UNROUTABLE_DEFAULT,
};

/// The limits and intervals of a [`Relay`](crate::Relay).
///
/// ```
/// use std::time::Duration;
///
/// use mamey::messaging::RelayOptions;
///
/// let options = RelayOptions::default()
///     .with_partitions(16)
///     .with_in_flight_max(512)
///     .with_drain(Duration::from_secs(5));
/// assert_eq!(options.in_flight_max, 512);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayOptions {
    /// The running instance, the same for all parts of one process. Default: a new one.
    pub instance: InstanceId,
    /// The context whose outbox it is, for the log. Default: none.
    pub context: Option<ContextName>,
    /// Over how many partitions the keys are spread: the same for all instances. Default:
    /// [`PARTITIONS_DEFAULT`].
    pub partitions: u16,
    /// How long leases hold; they are renewed at a third of it. Default: [`LEASE_DEFAULT`].
    pub lease: Duration,
    /// How many messages may be in flight at a time. Default: 256.
    pub in_flight_max: usize,
    /// How many records may be in memory, however many wait in the outbox. Default: 1024.
    pub held_records_max: usize,
    /// How many bytes of payloads may be in memory; a single record may exceed it. Default: 64 MiB.
    pub held_bytes_max: usize,
    /// How many keys may wait in memory for a message that cannot be published; others wait in the store.
    /// Beyond it nothing more is read until some are published, as in an outage of the transport or of the
    /// store. Default: 1024.
    pub blocked_keys_max: usize,
    /// For how long a message without a route is tried before it is given up, and a record that no build
    /// can read. Default: [`UNROUTABLE_DEFAULT`].
    pub unroutable_for: Duration,
    /// How often to look for records that no hint announced. Default: [`POLL_DEFAULT`].
    pub poll: Duration,
    /// How often to read the outbox from the beginning, in case something was missed. Nothing depends on
    /// it but that. Default: 5 minutes.
    pub sweep: Duration,
    /// The pauses before a message that could not be published is tried again. Default: from 200 ms
    /// to 30 s.
    pub backoff: Backoff,
    /// How long to await what is in flight when shutting down. Default: [`DRAIN_DEFAULT`].
    pub drain: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            instance: InstanceId::new(UuidV7Source::default().next_uuid()),
            context: None,
            partitions: PARTITIONS_DEFAULT,
            lease: LEASE_DEFAULT,
            in_flight_max: 256,
            held_records_max: 1024,
            held_bytes_max: 64 * 1024 * 1024,
            blocked_keys_max: 1024,
            unroutable_for: UNROUTABLE_DEFAULT,
            poll: POLL_DEFAULT,
            sweep: Duration::from_mins(5),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
            drain: DRAIN_DEFAULT,
        }
    }
}

impl RelayOptions {
    /// Sets [`instance`](Self::instance).
    #[must_use]
    pub fn with_instance(self, instance: InstanceId) -> Self {
        Self { instance, ..self }
    }

    /// Sets [`context`](Self::context).
    #[must_use]
    pub fn with_context(self, context: ContextName) -> Self {
        Self { context: Some(context), ..self }
    }

    /// Sets [`partitions`](Self::partitions).
    #[must_use]
    pub fn with_partitions(self, partitions: u16) -> Self {
        Self { partitions, ..self }
    }

    /// Sets [`lease`](Self::lease).
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Sets [`in_flight_max`](Self::in_flight_max).
    #[must_use]
    pub fn with_in_flight_max(self, in_flight_max: usize) -> Self {
        Self { in_flight_max, ..self }
    }

    /// Sets [`held_records_max`](Self::held_records_max).
    #[must_use]
    pub fn with_held_records_max(self, held_records_max: usize) -> Self {
        Self { held_records_max, ..self }
    }

    /// Sets [`held_bytes_max`](Self::held_bytes_max).
    #[must_use]
    pub fn with_held_bytes_max(self, held_bytes_max: usize) -> Self {
        Self { held_bytes_max, ..self }
    }

    /// Sets [`blocked_keys_max`](Self::blocked_keys_max).
    #[must_use]
    pub fn with_blocked_keys_max(self, blocked_keys_max: usize) -> Self {
        Self { blocked_keys_max, ..self }
    }

    /// Sets [`unroutable_for`](Self::unroutable_for).
    #[must_use]
    pub fn with_unroutable_for(self, unroutable_for: Duration) -> Self {
        Self { unroutable_for, ..self }
    }

    /// Sets [`poll`](Self::poll).
    #[must_use]
    pub fn with_poll(self, poll: Duration) -> Self {
        Self { poll, ..self }
    }

    /// Sets [`sweep`](Self::sweep).
    #[must_use]
    pub fn with_sweep(self, sweep: Duration) -> Self {
        Self { sweep, ..self }
    }

    /// Sets [`backoff`](Self::backoff).
    #[must_use]
    pub fn with_backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
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
        limits::duration("sweep", self.sweep)?;
        limits::duration("unroutable_for", self.unroutable_for)?;
        limits::count("in_flight_max", self.in_flight_max)?;
        limits::count("held_records_max", self.held_records_max)?;
        limits::count("held_bytes_max", self.held_bytes_max)?;
        limits::count("blocked_keys_max", self.blocked_keys_max)
    }

    pub(super) const fn lease_request(&self) -> LeaseRequest {
        LeaseRequest::new(LeaseRole::Relay, self.instance, self.partitions, self.lease)
    }
}
