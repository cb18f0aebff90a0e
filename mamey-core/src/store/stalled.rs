//! The port to stalled records: messages of the outbox whose publish failed, and that are tried again.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Failure, Lease, OUTBOX_READ_BYTES_MAX, OutboxRecord, RecordId, UndeliveredReason,
    UnreadableRecord,
};
use crate::Result;

/// A failure to publish a record, and what becomes of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedRecord {
    /// Which record.
    pub id: RecordId,
    /// How often its publish has failed.
    pub attempts: u32,
    /// Why it failed the last time.
    pub failure: Failure,
    /// What becomes of it.
    pub becomes: Becomes,
}

/// What becomes of a record that could not be published.
///
/// Exhaustive: a store must keep the record, whatever becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It waits for its next try, and its key behind it.
    Stalled {
        /// How long it waits.
        delay: Duration,
    },
    /// It is given up and waits for an operator. Its key goes on.
    Undelivered {
        /// Why it is given up.
        reason: UndeliveredReason,
    },
}

impl FailedRecord {
    /// A record that failed once.
    #[must_use]
    pub const fn new(id: RecordId, failure: Failure, becomes: Becomes) -> Self {
        Self { id, attempts: 1, failure, becomes }
    }

    /// How often its publish has failed.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }
}

/// A record that waits for its next try.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stalled<R> {
    /// The record.
    pub record: R,
    /// How often its publish has failed.
    pub attempts: u32,
    /// How long ago its first failure was recorded, by the store's clock.
    pub waited: Duration,
}

impl<R> Stalled<R> {
    /// A record that has waited for so long.
    #[must_use]
    pub const fn new(record: R, attempts: u32, waited: Duration) -> Self {
        Self { record, attempts, waited }
    }
}

/// Which stalled records to read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StalledRead<'a> {
    /// Only records of these partitions.
    pub leases: &'a [Lease],
    /// Not these records, because the reader has them already.
    pub held: &'a [RecordId],
    /// How many at most.
    pub limit: u32,
    /// How many bytes of payloads at most; the first record is returned however long it is. Default:
    /// [`OUTBOX_READ_BYTES_MAX`].
    pub bytes_max: usize,
}

impl<'a> StalledRead<'a> {
    /// All that are due in these partitions, `limit` at most.
    #[must_use]
    pub const fn new(leases: &'a [Lease], limit: u32) -> Self {
        Self { leases, limit, held: &[], bytes_max: OUTBOX_READ_BYTES_MAX }
    }

    /// Not these records, because the reader has them already.
    #[must_use]
    pub const fn with_held(mut self, held: &'a [RecordId]) -> Self {
        self.held = held;
        self
    }

    /// How many bytes of payloads at most; the first record is returned however long it is.
    #[must_use]
    pub const fn with_bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }
}

/// The stalled records that are due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StalledPage {
    /// Those that can be read, the longest due first.
    pub records: Vec<Stalled<OutboxRecord>>,
    /// Those that this build cannot read.
    pub unreadable: Vec<Stalled<UnreadableRecord>>,
    /// In how long another one is due, by the store's clock; zero if one is due that was left out by
    /// a limit. `None` if none waits but those that are returned or held.
    pub next_in: Option<Duration>,
}

impl StalledPage {
    /// These records, and the next in so long.
    #[must_use]
    pub const fn new(records: Vec<Stalled<OutboxRecord>>, next_in: Option<Duration>) -> Self {
        Self { records, next_in, unreadable: Vec::new() }
    }

    /// Those that this build cannot read.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Vec<Stalled<UnreadableRecord>>) -> Self {
        self.unreadable = unreadable;
        self
    }
}

/// Keeps records whose publish failed out of the way of the others.
///
/// A stalled record has left the outbox, and [`read_outbox`](super::OutboxStore::read_outbox) returns
/// nothing of its key that comes after it. It counts as waiting, is deleted like any other record when
/// it is published, and has its number in the outbox still.
#[async_trait]
pub trait StalledStore: Send + Sync {
    /// Records failures to publish, each under the lease the record was read with, and returns how
    /// many: a record leaves the outbox, or stays stalled with another due time, or is given up.
    ///
    /// A record whose lease has moved to another epoch or another holder stays as it is, and so does
    /// one with the same sequence and another message.
    ///
    /// A record may become stalled only while no earlier one of its key waits in the outbox.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store; then none or all are recorded.
    async fn record_failures(&self, failed: &[(Lease, FailedRecord)]) -> Result<u64>;

    /// Stalled records that are due now, by the store's clock. A record that cannot be read does not
    /// keep the others from being read.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn due_stalled(&self, read: StalledRead<'_>) -> Result<StalledPage>;
}
