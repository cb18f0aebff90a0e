//! Reads records of an outbox, stalled and undelivered ones from their rows, as every SQL store does.

use std::time::Duration;

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Key, Metadata};
use mamey_core::store::{
    OutboxDepth, OutboxPage, OutboxRecord, RecordId, Stalled, StalledPage, UndeliveredMessage,
    UndeliveredReason, UnreadableRecord,
};

use super::rows::{Columns, attempts, envelope, failure_of, json, time};

/// A record as far as this build can read it.
type Read = Result<OutboxRecord, UnreadableRecord>;

/// Columns: sequence, slot, key, metadata, payload, null behind the most bytes of the read, and the
/// message's id. `key_of` reads a key as the store wrote it.
pub(crate) fn outbox_page(
    rows: &[impl Columns],
    limit: u32,
    key_of: impl Fn(&str) -> String,
) -> Result<OutboxPage, sqlx::Error> {
    let mut page = OutboxPage::new(Vec::with_capacity(rows.len()), rows.len() >= limit as usize);
    for row in rows {
        match record(row, &key_of)? {
            Some(Ok(record)) => page.records.push(record),
            Some(Err(unreadable)) => page.unreadable.push(unreadable),
            None => {
                page.more = true;
                break;
            }
        }
    }
    Ok(page)
}

/// Columns: those of [`outbox_page`], attempts, and for how many microseconds the record has waited.
/// `next_in_us` is when the next is due that is not among the rows.
pub(crate) fn stalled_page(
    rows: &[impl Columns],
    next_in_us: Option<i64>,
    limit: u32,
    key_of: impl Fn(&str) -> String,
) -> Result<StalledPage, sqlx::Error> {
    let next_in = next_in_us.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
    let mut page = StalledPage::new(Vec::with_capacity(rows.len()), next_in);
    if rows.len() >= limit as usize {
        page.next_in = Some(Duration::ZERO);
    }
    for row in rows {
        let Some(record) = record(row, &key_of)? else {
            page.next_in = Some(Duration::ZERO);
            break;
        };
        let waited = Duration::from_micros(row.number(7)?.max(0).unsigned_abs());
        let attempts = attempts(row, 6)?;
        match record {
            Ok(record) => page.records.push(Stalled::new(record, attempts, waited)),
            Err(row) => page.unreadable.push(Stalled::new(row, attempts, waited)),
        }
    }
    Ok(page)
}

/// `None` for a row whose payload was left out.
fn record(
    row: &impl Columns,
    key_of: impl Fn(&str) -> String,
) -> Result<Option<Read>, sqlx::Error> {
    let Some(payload) = row.bytes_or_null(4)? else {
        return Ok(None);
    };
    let id = record_id(row, 0, 5)?;
    Ok(Some(match metadata_of(row, id.message) {
        Ok(metadata) => {
            let envelope = Envelope::new(metadata, Bytes::copy_from_slice(payload));
            Ok(OutboxRecord::new(id.sequence, envelope))
        }
        Err(why) => {
            let slot = u16::try_from(row.number(1)?).unwrap_or(u16::MAX);
            let key = row.text_or_null(2)?.map(|key| Key::from(key_of(key)));
            Err(UnreadableRecord::new(id, slot, key, why))
        }
    }))
}

/// The metadata of a row of the outbox. A record is deleted by the id that is stored beside it.
fn metadata_of(row: &impl Columns, id: MessageId) -> Result<Metadata, String> {
    let metadata: Metadata =
        json(row, 3).map_err(|cause| format!("its metadata cannot be read: {cause}"))?;
    match metadata.id == id {
        true => Ok(metadata),
        false => Err(format!("its metadata is of message {}, its row of {id}", metadata.id)),
    }
}

fn record_id(row: &impl Columns, sequence: usize, id: usize) -> Result<RecordId, sqlx::Error> {
    let message = MessageId::from_uuid(row.uuid(id)?);
    Ok(RecordId::new(row.number(sequence)?.unsigned_abs(), message))
}

/// Columns: records in the outbox, stalled ones, those that wait for a build that can read them, the time
/// of the first, how many were published.
pub(crate) fn outbox_depth(row: &impl Columns) -> Result<OutboxDepth, sqlx::Error> {
    let [records, stalled, unreadable] =
        [row.number(0)?, row.number(1)?, row.number(2)?].map(i64::unsigned_abs);
    let oldest = row.number_or_null(3)?.map(Timestamp::from_micros);
    let published = row.number_or_null(4)?.unwrap_or_default().unsigned_abs();
    let depth = OutboxDepth::new(records + stalled, oldest, published);
    Ok(depth.with_stalled(stalled, unreadable))
}

/// Columns: sequence, id, reason, attempts, first failed, last failed, failure, metadata, payload, null
/// behind the most bytes of a page, where the page ends.
pub(crate) fn undelivered(rows: &[impl Columns]) -> Result<Vec<UndeliveredMessage>, sqlx::Error> {
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        if row.bytes_or_null(8)?.is_none() {
            break;
        }
        messages.push(undelivered_message(row)?);
    }
    Ok(messages)
}

fn undelivered_message(row: &impl Columns) -> Result<UndeliveredMessage, sqlx::Error> {
    let id = record_id(row, 0, 1)?;
    let known = UndeliveredReason::parse(row.text(2)?);
    let failure = failure_of(row, 6, 2, known.is_some())?;
    let (envelope, unreadable) = envelope(row, 7, id.message)?;
    let reason = known.unwrap_or(UndeliveredReason::Unknown);
    Ok(UndeliveredMessage::new(id, envelope, reason, failure)
        .with_attempts(attempts(row, 3)?)
        .with_first_failed(time(row, 4)?)
        .with_last_failed(time(row, 5)?)
        .with_unreadable(unreadable))
}
