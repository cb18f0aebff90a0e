//! Writes messages and failures into columns and reads them back, as every SQL store does.

use bytes::Bytes;
use mamey_core::clock::Timestamp;
use mamey_core::message::Envelope;
use mamey_core::store::{DeadLetter, DeadLetterReason, OutboxDepth, OutboxRecord, ParkedMessage};
use mamey_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{ColumnIndex, Decode, Row, Type};

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
    fn bytes(&self, at: usize) -> Result<&[u8], sqlx::Error>;
}

impl<R: Row> Columns for R
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r str: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
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

    fn bytes(&self, at: usize) -> Result<&[u8], sqlx::Error> {
        self.try_get(at)
    }
}

/// Columns: sequence, metadata, payload.
pub(crate) fn outbox_record(row: &impl Columns) -> Result<OutboxRecord, sqlx::Error> {
    Ok(OutboxRecord::new(row.number(0)?.unsigned_abs(), envelope(row, 1)?))
}

/// Columns: records, the time of the oldest, how many were published.
pub(crate) fn outbox_depth(row: &impl Columns) -> Result<OutboxDepth, sqlx::Error> {
    Ok(OutboxDepth::new(
        row.number(0)?.unsigned_abs(),
        row.number_or_null(1)?.map(Timestamp::from_micros),
        row.number_or_null(2)?.unwrap_or_default().unsigned_abs(),
    ))
}

/// Columns: due, since, attempts, failure, metadata, payload.
pub(crate) fn parked_message(row: &impl Columns) -> Result<ParkedMessage, sqlx::Error> {
    Ok(ParkedMessage::new(envelope(row, 4)?, json(row, 3)?)
        .with_due(time(row, 0)?)
        .with_since(time(row, 1)?)
        .with_attempts(attempts(row, 2)?))
}

/// Columns: reason, attempts, first failed, last failed, failure, metadata, payload.
pub(crate) fn dead_letter(row: &impl Columns) -> Result<DeadLetter, sqlx::Error> {
    let reason = row.text(0)?;
    let unknown = || sqlx::Error::Decode(format!("unknown reason `{reason}`").into());
    Ok(DeadLetter::new(
        envelope(row, 5)?,
        DeadLetterReason::parse(reason).ok_or_else(unknown)?,
        json(row, 4)?,
    )
    .with_attempts(attempts(row, 1)?)
    .with_first_failed(time(row, 2)?)
    .with_last_failed(time(row, 3)?))
}

/// The envelope whose metadata is at this place and whose payload is at the next.
fn envelope(row: &impl Columns, at: usize) -> Result<Envelope, sqlx::Error> {
    let payload = Bytes::copy_from_slice(row.bytes(at + 1)?);
    Ok(Envelope::new(json(row, at)?, payload))
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
