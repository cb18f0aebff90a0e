//! Writes envelopes and failures into columns and reads them back.

use bytes::Bytes;
use mamey_core::message::{Envelope, Metadata};
use mamey_core::store::Failure;
use mamey_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::postgres::PgRow;

/// As JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|cause| Error::invalid(format!("cannot be stored: {cause}")).with_source(cause))
}

/// The envelope whose metadata and payload stand at two neighbouring places.
pub(super) fn read_envelope(row: &PgRow, at: usize) -> Result<Envelope, sqlx::Error> {
    let metadata: Metadata = read_json(row, at)?;
    let payload: &[u8] = row.try_get(at + 1)?;
    let payload = Bytes::copy_from_slice(payload);
    Ok(Envelope { metadata, payload })
}

pub(super) fn read_failure(row: &PgRow, at: usize) -> Result<Failure, sqlx::Error> {
    read_json(row, at)
}

pub(super) fn read_attempts(row: &PgRow, at: usize) -> Result<u32, sqlx::Error> {
    let attempts: i64 = row.try_get(at)?;
    u32::try_from(attempts).map_err(|cause| sqlx::Error::Decode(cause.into()))
}

fn read_json<T: DeserializeOwned>(row: &PgRow, at: usize) -> Result<T, sqlx::Error> {
    let json: &str = row.try_get(at)?;
    serde_json::from_str(json).map_err(|cause| sqlx::Error::Decode(cause.into()))
}
