//! The port to the outbox: committed messages that wait for the relay.

use async_trait::async_trait;

use super::Lease;
use crate::Result;
use crate::clock::Timestamp;
use crate::message::{Envelope, Key};

/// The most bytes of payloads that one read of an outbox returns unless told otherwise.
pub const OUTBOX_READ_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One committed message that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxRecord {
    /// Its position in the outbox. Of two records with one key, the earlier commit has the smaller one.
    pub sequence: u64,
    /// The message.
    pub envelope: Envelope,
}

impl OutboxRecord {
    /// A message at its place in the outbox.
    #[must_use]
    pub const fn new(sequence: u64, envelope: Envelope) -> Self {
        Self { sequence, envelope }
    }
}

/// A row of the outbox that this build cannot read: written by another build, or damaged. It stays
/// for a build that can, and its key waits behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadableRecord {
    /// Its place in the outbox.
    pub sequence: u64,
    /// Its slot; see [`Metadata::slot`](crate::message::Metadata::slot).
    pub slot: u16,
    /// Its key, which is stored beside the message.
    pub key: Option<Key>,
    /// Why it cannot be read.
    pub why: String,
}

impl UnreadableRecord {
    /// A row at this place that cannot be read.
    #[must_use]
    pub const fn new(sequence: u64, slot: u16, key: Option<Key>, why: String) -> Self {
        Self { sequence, slot, key, why }
    }
}

/// What a read of an outbox returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxPage {
    /// Records in ascending sequence.
    pub records: Vec<OutboxRecord>,
    /// Rows among them that this build cannot read, in ascending sequence.
    pub unreadable: Vec<UnreadableRecord>,
    /// Whether the read ended at one of its limits, so that there may be more.
    pub more: bool,
}

impl OutboxPage {
    /// These records, with more behind them or not.
    #[must_use]
    pub const fn new(records: Vec<OutboxRecord>, more: bool) -> Self {
        Self { records, more, unreadable: Vec::new() }
    }

    /// Rows that cannot be read.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Vec<UnreadableRecord>) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// The last place that was read, readable or not.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let record = self.records.last().map(|record| record.sequence);
        record.max(self.unreadable.last().map(|row| row.sequence))
    }
}

/// Which records to read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutboxRead<'a> {
    /// Only records of these partitions.
    pub leases: &'a [Lease],
    /// Only records with a larger sequence. A commit may become visible late, below a cursor that
    /// moved on: read from 0 from time to time.
    pub after: u64,
    /// No records of these keys, because they wait behind an earlier record.
    pub skip: &'a [Key],
    /// No records with these sequences, because the reader has them already.
    pub held: &'a [u64],
    /// How many at most.
    pub limit: u32,
    /// How many bytes of payloads at most; the first record is returned however long it is. Default:
    /// [`OUTBOX_READ_BYTES_MAX`].
    pub bytes_max: usize,
}

impl<'a> OutboxRead<'a> {
    /// All records of these partitions, `limit` at most.
    #[must_use]
    pub const fn new(leases: &'a [Lease], limit: u32) -> Self {
        Self { leases, limit, after: 0, skip: &[], held: &[], bytes_max: OUTBOX_READ_BYTES_MAX }
    }

    /// How many bytes of payloads at most; the first record is returned however long it is.
    #[must_use]
    pub const fn with_bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Only records with a larger sequence. A commit may become visible late, below a cursor that
    /// moved on: read from 0 from time to time.
    #[must_use]
    pub const fn with_after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }

    /// No records of these keys, because they wait behind an earlier record.
    #[must_use]
    pub const fn with_skip(mut self, skip: &'a [Key]) -> Self {
        self.skip = skip;
        self
    }

    /// No records with these sequences, because the reader has them already.
    #[must_use]
    pub const fn with_held(mut self, held: &'a [u64]) -> Self {
        self.held = held;
        self
    }
}

/// What waits in an outbox, and what has left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxDepth {
    /// How many records.
    pub records: u64,
    /// When the oldest was sent.
    pub oldest: Option<Timestamp>,
    /// How many messages the transport confirmed since the store was created. Each is counted in
    /// the transaction that deletes its record.
    pub published: u64,
}

impl OutboxDepth {
    /// How many records wait, when the oldest was sent, and how many were published.
    #[must_use]
    pub const fn new(records: u64, oldest: Option<Timestamp>, published: u64) -> Self {
        Self { records, oldest, published }
    }
}

/// Reads and confirms outbox records. Only committed units write them.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Records in ascending sequence. Reading removes nothing, and fetches no more than asked for. A
    /// row that cannot be read does not keep the others from being read.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage>;

    /// Deletes confirmed records, each under the lease it was read with, and returns how many.
    ///
    /// Records whose lease has moved to another epoch stay: their new holder publishes and deletes them.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store; then none or all are deleted.
    async fn delete_published(&self, confirmed: &[(Lease, u64)]) -> Result<u64>;

    /// Completes after a commit may have added records since the last call. It is a hint: it may be
    /// spurious, and it may be missing for commits of other instances.
    ///
    /// # Cancellation
    /// Safe: a hint that was not received is kept for the next call.
    async fn outbox_changed(&self);

    /// How much waits, and how much was confirmed so far.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn outbox_depth(&self) -> Result<OutboxDepth>;
}
