//! The rows of a page of the outbox, readable or not, in their order.

use mamey_core::store::{OutboxPage, OutboxRecord, RecordId, UnreadableRecord};

use super::lane::LaneId;

/// A row of a page, in its place.
#[expect(clippy::large_enum_variant, reason = "nearly all rows are records, and none is kept")]
pub(super) enum Row {
    Record(OutboxRecord),
    Unreadable(UnreadableRecord),
}

impl Row {
    pub(super) const fn id(&self) -> RecordId {
        match self {
            Self::Record(record) => record.id(),
            Self::Unreadable(row) => row.id,
        }
    }

    pub(super) fn slot(&self) -> u16 {
        match self {
            Self::Record(record) => record.envelope.metadata.slot(),
            Self::Unreadable(row) => row.slot,
        }
    }

    pub(super) fn lane(&self) -> LaneId {
        match self {
            Self::Record(record) => LaneId::of(record),
            Self::Unreadable(row) => LaneId::of_unreadable(row),
        }
    }
}

/// The rows of a page by their sequences: a lane ends at its first row that cannot be read.
pub(super) fn in_order(page: OutboxPage) -> impl Iterator<Item = Row> {
    let mut unreadable = page.unreadable.into_iter().map(Row::Unreadable).peekable();
    let mut records = page.records.into_iter().map(Row::Record).peekable();
    std::iter::from_fn(move || match (records.peek(), unreadable.peek()) {
        (Some(record), Some(row)) if row.id() < record.id() => unreadable.next(),
        (Some(_), _) => records.next(),
        (None, _) => unreadable.next(),
    })
}
