//! Writes messages and failures into columns and reads them back, as every SQL store does.

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, Key, MessageIdentity, Metadata};
use mamey_core::store::{
    DeadLetter, DeadLetterReason, Failure, OutboxDepth, OutboxPage, OutboxRecord, ParkedMessage,
    RecordId, UnreadableRecord,
};
use mamey_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{ColumnIndex, Decode, Row, Type};
use uuid::Uuid;

/// The name and the sender of a message whose metadata cannot be read, and the kind of a failure.
const UNREADABLE: &str = "unreadable";

/// As JSON text.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|cause| Error::invalid(format!("cannot be stored: {cause}")).with_source(cause))
}

/// A version, epoch or sequence as databases keep it. A number beyond the range is clamped, and
/// matches nothing stored.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of a row by their places, for any driver.
pub(crate) trait Columns {
    fn number(&self, at: usize) -> Result<i64, sqlx::Error>;
    fn number_or_null(&self, at: usize) -> Result<Option<i64>, sqlx::Error>;
    fn text(&self, at: usize) -> Result<&str, sqlx::Error>;
    fn text_or_null(&self, at: usize) -> Result<Option<&str>, sqlx::Error>;
    fn bytes(&self, at: usize) -> Result<&[u8], sqlx::Error>;
    fn bytes_or_null(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error>;
    fn uuid(&self, at: usize) -> Result<Uuid, sqlx::Error>;
}

impl<R: Row> Columns for R
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r str: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Uuid: Decode<'r, R::Database> + Type<R::Database>,
{
    fn number(&self, at: usize) -> Result<i64, sqlx::Error> {
        self.try_get(at)
    }

    fn number_or_null(&self, at: usize) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(at)
    }

    fn text(&self, at: usize) -> Result<&str, sqlx::Error> {
        self.try_get(at)
    }

    fn text_or_null(&self, at: usize) -> Result<Option<&str>, sqlx::Error> {
        self.try_get(at)
    }

    fn bytes(&self, at: usize) -> Result<&[u8], sqlx::Error> {
        self.try_get(at)
    }

    fn bytes_or_null(&self, at: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        self.try_get(at)
    }

    fn uuid(&self, at: usize) -> Result<Uuid, sqlx::Error> {
        self.try_get(at)
    }
}

/// Columns: sequence, slot, key, metadata, payload, null behind the most bytes of the read, and the
/// message's id. `key_of` reads a key as the store wrote it.
pub(crate) fn outbox_page(
    rows: &[impl Columns],
    limit: u32,
    key_of: impl Fn(&str) -> String,
) -> Result<OutboxPage, sqlx::Error> {
    let mut page = OutboxPage::new(Vec::with_capacity(rows.len()), rows.len() >= limit as usize);
    for row in rows {
        let id = MessageId::from_uuid(row.uuid(5)?);
        let id = RecordId::new(row.number(0)?.unsigned_abs(), id);
        let Some(payload) = row.bytes_or_null(4)? else {
            page.more = true;
            break;
        };
        match metadata_of(row, id.message) {
            Ok(metadata) => {
                let envelope = Envelope::new(metadata, Bytes::copy_from_slice(payload));
                page.records.push(OutboxRecord::new(id.sequence, envelope));
            }
            Err(why) => {
                let slot = u16::try_from(row.number(1)?).unwrap_or(u16::MAX);
                let key = row.text_or_null(2)?.map(|key| Key::from(key_of(key)));
                page.unreadable.push(UnreadableRecord::new(id, slot, key, why));
            }
        }
    }
    Ok(page)
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

/// Columns: records, the time of the oldest, how many were published.
pub(crate) fn outbox_depth(row: &impl Columns) -> Result<OutboxDepth, sqlx::Error> {
    Ok(OutboxDepth::new(
        row.number(0)?.unsigned_abs(),
        row.number_or_null(1)?.map(Timestamp::from_micros),
        row.number_or_null(2)?.unwrap_or_default().unsigned_abs(),
    ))
}

/// Columns: due, since, attempts, failure, metadata, payload, identity as text.
pub(crate) fn parked_message(row: &impl Columns) -> Result<ParkedMessage, sqlx::Error> {
    let identity = identity(row, 6)?;
    let (envelope, unreadable) = envelope(row, 4, identity)?;
    Ok(ParkedMessage::of(identity, envelope, failure(row, 3)?)
        .with_due(time(row, 0)?)
        .with_since(time(row, 1)?)
        .with_attempts(attempts(row, 2)?)
        .with_unreadable(unreadable))
}

/// Columns: reason, attempts, first failed, last failed, failure, metadata, payload, identity as text.
pub(crate) fn dead_letter(row: &impl Columns) -> Result<DeadLetter, sqlx::Error> {
    let (reason, mut failure) = (row.text(0)?, failure(row, 4)?);
    let known = DeadLetterReason::parse(reason);
    if known.is_none() {
        failure.message = format!("given up as `{reason}`: {}", failure.message);
    }
    let (reason, identity) = (known.unwrap_or(DeadLetterReason::Unknown), identity(row, 7)?);
    let (envelope, unreadable) = envelope(row, 5, identity)?;
    Ok(DeadLetter::of(identity, envelope, reason, failure)
        .with_attempts(attempts(row, 1)?)
        .with_first_failed(time(row, 2)?)
        .with_last_failed(time(row, 3)?)
        .with_unreadable(unreadable))
}

fn identity(row: &impl Columns, at: usize) -> Result<MessageIdentity, sqlx::Error> {
    let uuid = Uuid::parse_str(row.text(at)?).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
    Ok(MessageIdentity::from_uuid(uuid))
}

/// The envelope whose metadata is at this place, with its payload behind, and why it holds only the
/// payload, if it does: then its identity stands for its id.
fn envelope(
    row: &impl Columns,
    at: usize,
    identity: MessageIdentity,
) -> Result<(Envelope, Option<String>), sqlx::Error> {
    let payload = Bytes::copy_from_slice(row.bytes(at + 1)?);
    let (metadata, unreadable) = match json(row, at) {
        Ok(metadata) => (metadata, None),
        Err(cause) => {
            let id = MessageId::from_uuid(identity.as_uuid());
            let metadata = Metadata::new(id, UNREADABLE, UNREADABLE);
            (metadata, Some(format!("its metadata cannot be read: {cause}")))
        }
    };
    Ok((Envelope::new(metadata, payload), unreadable))
}

/// A failure of another form is its text: it only informs.
fn failure(row: &impl Columns, at: usize) -> Result<Failure, sqlx::Error> {
    let text = row.text(at)?;
    let read = serde_json::from_str(text);
    Ok(read.unwrap_or_else(|_| Failure::new(UNREADABLE.to_owned(), text.to_owned())))
}

fn attempts(row: &impl Columns, at: usize) -> Result<u32, sqlx::Error> {
    u32::try_from(row.number(at)?).map_err(|cause| sqlx::Error::Decode(cause.into()))
}

fn time(row: &impl Columns, at: usize) -> Result<Timestamp, sqlx::Error> {
    row.number(at).map(Timestamp::from_micros)
}

fn json<T: DeserializeOwned>(row: &impl Columns, at: usize) -> Result<T, sqlx::Error> {
    serde_json::from_str(row.text(at)?).map_err(|cause| sqlx::Error::Decode(cause.into()))
}
