//! One lane of the window: the records of one key that are in memory, one of them in flight.

use std::collections::BTreeMap;

use mamey_core::message::{Key, Partition};
use mamey_core::store::{Lease, OutboxRecord, RecordId, UnreadableRecord};

use super::tried::Tried;

/// Names a lane: a key, or a record without a key, which has a lane of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LaneId {
    Key(Key),
    Keyless(RecordId),
}

/// What a record counts towards the bytes in memory: its payload, since all else is small.
pub(super) fn bytes(record: &OutboxRecord) -> usize {
    record.envelope.payload.len()
}

/// The records of one lane that are in memory.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) partition: Partition,
    /// The records that wait for their turn, by sequence.
    pub(super) waiting: BTreeMap<u64, (Lease, OutboxRecord)>,
    /// The record that is being published.
    pub(super) in_flight: Option<RecordId>,
    /// How many bytes that record has.
    pub(super) in_flight_bytes: usize,
    /// The tick at which that publish began.
    pub(super) begun: u64,
    /// What was tried of the first record before.
    pub(super) tried: Tried,
    /// The outbox holds more records of this key after this one, which are not in memory.
    pub(super) cut_after: Option<u64>,
}

impl LaneId {
    pub(super) fn of(record: &OutboxRecord) -> Self {
        match &record.envelope.metadata.key {
            Some(key) => Self::Key(key.clone()),
            None => Self::Keyless(record.id()),
        }
    }

    /// The lane of a record that cannot be read.
    pub(super) fn of_unreadable(row: &UnreadableRecord) -> Self {
        row.key.clone().map_or(Self::Keyless(row.id), Self::Key)
    }

    pub(super) const fn key(&self) -> Option<&Key> {
        match self {
            Self::Key(key) => Some(key),
            Self::Keyless(_) => None,
        }
    }
}

impl Lane {
    pub(super) const fn new(partition: Partition) -> Self {
        Self {
            partition,
            waiting: BTreeMap::new(),
            in_flight: None,
            in_flight_bytes: 0,
            begun: 0,
            tried: Tried::NEVER,
            cut_after: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.waiting.is_empty()
    }

    /// All its records.
    pub(super) fn records(&self) -> impl Iterator<Item = RecordId> {
        let waiting = self.waiting.values().map(|(_, record)| record.id());
        self.in_flight.into_iter().chain(waiting)
    }

    /// How many bytes the waiting records have.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.values().map(|(_, record)| bytes(record)).sum()
    }

    /// The last record in memory.
    pub(super) fn last(&self) -> Option<u64> {
        let in_flight = self.in_flight.map(|record| record.sequence);
        self.waiting.keys().next_back().copied().or(in_flight)
    }

    /// Where to read on if the waiting records are dropped from memory. Usually that is behind the
    /// record in flight; an earlier one may wait if the partition was lost and gained again.
    pub(super) fn cut(&self) -> Option<u64> {
        let first = *self.waiting.keys().next()?;
        Some(first.saturating_sub(1))
    }
}
