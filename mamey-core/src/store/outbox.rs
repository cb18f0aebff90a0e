//! The port to the outbox: committed messages that wait for the relay.

use async_trait::async_trait;

use super::Lease;
use crate::Result;
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::message::{Envelope, Key};

/// The most bytes of payloads that one read of an outbox returns unless told otherwise.
pub const OUTBOX_READ_BYTES_MAX: usize = 64 * 1024 * 1024;

/// At how many rows a read of certain keys looks, whatever keys they have; see [`OutboxRead::only`].
pub const OUTBOX_SCAN_MAX: u32 = 10_000;

/// Names one record of an outbox for good.
///
/// The sequence alone does not: a database that was restored, or that failed over without the end of
/// its log, draws the same sequences again, for other messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct RecordId {
    /// Its place in the outbox.
    pub sequence: u64,
    /// The message that it holds.
    pub message: MessageId,
}

impl RecordId {
    /// The record at this place with this message.
    #[must_use]
    pub const fn new(sequence: u64, message: MessageId) -> Self {
        Self { sequence, message }
    }
}

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

    /// What names it.
    #[must_use]
    pub const fn id(&self) -> RecordId {
        RecordId::new(self.sequence, self.envelope.metadata.id)
    }
}

/// A row of the outbox that this build cannot read: written by another build, or damaged. It stays
/// for a build that can, and its key waits behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadableRecord {
    /// What names it. The id of its message is stored beside the message.
    pub id: RecordId,
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
    pub const fn new(id: RecordId, slot: u16, key: Option<Key>, why: String) -> Self {
        Self { id, slot, key, why }
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
    /// Up to where the read looked, if it ended at [`OUTBOX_SCAN_MAX`] rows.
    pub scanned_to: Option<u64>,
    /// Where the outbox stood at the time of the read.
    pub place: OutboxPlace,
}

/// Where an outbox stands: what a reader compares to find out that the database went back in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxPlace {
    /// Which history of the database this is: another number after a failover or a restore, as far
    /// as the store can tell. Constant where it cannot.
    pub timeline: u64,
    /// The last sequence that was drawn; it only grows, unless the database goes back.
    pub drawn: u64,
}

impl OutboxPlace {
    /// This history, in which this sequence was drawn last.
    #[must_use]
    pub const fn new(timeline: u64, drawn: u64) -> Self {
        Self { timeline, drawn }
    }
}

impl OutboxPage {
    /// These records, with more behind them or not.
    #[must_use]
    pub const fn new(records: Vec<OutboxRecord>, more: bool) -> Self {
        let place = OutboxPlace::new(0, 0);
        Self { records, more, place, unreadable: Vec::new(), scanned_to: None }
    }

    /// Where the outbox stood at the time of the read.
    #[must_use]
    pub const fn with_place(mut self, place: OutboxPlace) -> Self {
        self.place = place;
        self
    }

    /// Rows that cannot be read.
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Vec<UnreadableRecord>) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// Up to where the read looked at most. It counts if no other limit ended the read before.
    #[must_use]
    pub fn with_scan_end(mut self, scan_end: Option<u64>) -> Self {
        if !self.more {
            self.more = scan_end.is_some();
            self.scanned_to = scan_end;
        }
        self
    }

    /// The last place that was read, readable or not.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let record = self.records.last().map(|record| record.sequence);
        record.max(self.unreadable.last().map(|row| row.id.sequence)).max(self.scanned_to)
    }
}

/// Which records to read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutboxRead<'a> {
    /// Only records of these partitions.
    pub leases: &'a [Lease],
    /// Only records with a larger sequence. A commit may become visible late, below a cursor that
    /// moved on: read from where [`OutboxStore::outbox_complete_to`] says.
    pub after: u64,
    /// No records of these keys, because they wait behind an earlier record.
    pub skip: &'a [Key],
    /// Only records of these keys, also those that come after a stalled record. Such a read ends after
    /// [`OUTBOX_SCAN_MAX`] rows, of whatever keys, so it is quick however few it finds.
    pub only: Option<&'a [Key]>,
    /// Not these records, because the reader has them already. Another record with the sequence of
    /// one of them is returned.
    pub held: &'a [RecordId],
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
        let bytes_max = OUTBOX_READ_BYTES_MAX;
        Self { leases, limit, after: 0, skip: &[], only: None, held: &[], bytes_max }
    }

    /// How many bytes of payloads at most; the first record is returned however long it is.
    #[must_use]
    pub const fn with_bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Only records with a larger sequence. A commit may become visible late, below a cursor that
    /// moved on: read from where [`OutboxStore::outbox_complete_to`] says.
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

    /// Only records of these keys, also those that come after a stalled record. Such a read ends after
    /// [`OUTBOX_SCAN_MAX`] rows, of whatever keys, so it is quick however few it finds.
    #[must_use]
    pub const fn with_only(mut self, only: Option<&'a [Key]>) -> Self {
        self.only = only;
        self
    }

    /// Not these records, because the reader has them already. Another record with the sequence of
    /// one of them is returned.
    #[must_use]
    pub const fn with_held(mut self, held: &'a [RecordId]) -> Self {
        self.held = held;
        self
    }
}

/// What waits in an outbox, and what has left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxDepth {
    /// How many records, stalled ones included.
    pub records: u64,
    /// How many of them are stalled, each with its key behind it.
    pub stalled: u64,
    /// How many of them wait for a build that can read them, or behind one that does.
    pub unreadable: u64,
    /// When the first of them was sent.
    pub oldest: Option<Timestamp>,
    /// How many messages the transport confirmed since the store was created. Each is counted in
    /// the transaction that deletes its record.
    pub published: u64,
}

impl OutboxDepth {
    /// How many records wait, none of them stalled, when the first was sent, and how many were
    /// published.
    #[must_use]
    pub const fn new(records: u64, oldest: Option<Timestamp>, published: u64) -> Self {
        Self { records, oldest, published, stalled: 0, unreadable: 0 }
    }

    /// How many are stalled, and how many wait for a build that can read them.
    #[must_use]
    pub const fn with_stalled(mut self, stalled: u64, unreadable: u64) -> Self {
        self.stalled = stalled;
        self.unreadable = unreadable;
        self
    }
}

/// Reads and confirms outbox records. Only committed units write them.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Records in ascending sequence, without those that come after a [stalled](super::StalledStore)
    /// record of their key. Reading removes nothing, and fetches no more than asked for. A row that
    /// cannot be read does not keep the others from being read.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn read_outbox(&self, read: OutboxRead<'_>) -> Result<OutboxPage>;

    /// Deletes confirmed records, stalled ones too, each under the lease it was read with, and returns
    /// how many.
    ///
    /// Records whose lease has moved to another epoch or another holder stay: their new holder
    /// publishes and deletes them. So does a record with the same sequence and another message.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store; then none or all are deleted.
    async fn delete_published(&self, confirmed: &[(Lease, RecordId)]) -> Result<u64>;

    /// A place, `read_to` at most, up to which the outbox is complete: no transaction that is under
    /// way adds a record there, and reads that begin from now on see all that are there. `read_to` is
    /// the place of a record that was read.
    ///
    /// The place follows slowly where the store has to wait for transactions to end.
    ///
    /// # Errors
    /// `Unavailable` and other errors of the store.
    async fn outbox_complete_to(&self, read_to: u64) -> Result<u64>;

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
