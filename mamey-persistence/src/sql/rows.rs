//! Writes messages and failures into columns and reads them back, as every SQL store does.

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::id::MessageId;
use mamey_core::message::{Envelope, MessageIdentity, Metadata};
use mamey_core::store::{DeadLetter, DeadLetterReason, Failure, ParkedMessage};
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

/// Columns: due, since, attempts, failure, metadata, payload, identity as text.
pub(crate) fn parked_message(row: &impl Columns) -> Result<ParkedMessage, sqlx::Error> {
    let identity = identity(row, 6)?;
    let (envelope, unreadable) = envelope(row, 4, MessageId::from_uuid(identity.as_uuid()))?;
    Ok(ParkedMessage::of(identity, envelope, failure(row, 3)?)
        .with_due(time(row, 0)?)
        .with_since(time(row, 1)?)
        .with_attempts(attempts(row, 2)?)
        .with_unreadable(unreadable))
}

/// Columns: reason, attempts, first failed, last failed, failure, metadata, payload, identity as text.
pub(crate) fn dead_letter(row: &impl Columns) -> Result<DeadLetter, sqlx::Error> {
    let known = DeadLetterReason::parse(row.text(0)?);
    let failure = failure_of(row, 4, 0, known.is_some())?;
    let (reason, identity) = (known.unwrap_or(DeadLetterReason::Unknown), identity(row, 7)?);
    let (envelope, unreadable) = envelope(row, 5, MessageId::from_uuid(identity.as_uuid()))?;
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
/// payload and this id, if it does.
pub(super) fn envelope(
    row: &impl Columns,
    at: usize,
    id: MessageId,
) -> Result<(Envelope, Option<String>), sqlx::Error> {
    let payload = Bytes::copy_from_slice(row.bytes(at + 1)?);
    let (metadata, unreadable) = match json(row, at) {
        Ok(metadata) => (metadata, None),
        Err(cause) => {
            let metadata = Metadata::new(id, UNREADABLE, UNREADABLE);
            (metadata, Some(format!("its metadata cannot be read: {cause}")))
        }
    };
    Ok((Envelope::new(metadata, payload), unreadable))
}

/// The failure at this place of a message that was given up. It names the reason, at another place, if
/// this build does not know it.
pub(super) fn failure_of(
    row: &impl Columns,
    at: usize,
    reason_at: usize,
    is_known: bool,
) -> Result<Failure, sqlx::Error> {
    let mut failure = failure(row, at)?;
    if !is_known {
        failure.message = format!("given up as `{}`: {}", row.text(reason_at)?, failure.message);
    }
    Ok(failure)
}

/// A failure of another form is its text: it only informs.
fn failure(row: &impl Columns, at: usize) -> Result<Failure, sqlx::Error> {
    let text = row.text(at)?;
    let read = serde_json::from_str(text);
    Ok(read.unwrap_or_else(|_| Failure::new(UNREADABLE.to_owned(), text.to_owned())))
}

pub(super) fn attempts(row: &impl Columns, at: usize) -> Result<u32, sqlx::Error> {
    u32::try_from(row.number(at)?).map_err(|cause| sqlx::Error::Decode(cause.into()))
}

pub(super) fn time(row: &impl Columns, at: usize) -> Result<Timestamp, sqlx::Error> {
    row.number(at).map(Timestamp::from_micros)
}

pub(super) fn json<T: DeserializeOwned>(row: &impl Columns, at: usize) -> Result<T, sqlx::Error> {
    serde_json::from_str(row.text(at)?).map_err(|cause| sqlx::Error::Decode(cause.into()))
}
