//! Writes envelopes and failures into columns and reads them back.

use bytes::Bytes;
use mamey_core::message::{Envelope, Metadata};
use mamey_core::store::Failure;
use mamey_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// As JSON text.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|cause| Error::invalid(format!("cannot be stored: {cause}")).with_source(cause))
}

/// The envelope whose metadata and payload stand at two neighbouring places.
pub(super) fn read_envelope(row: &SqliteRow, at: usize) -> Result<Envelope, sqlx::Error> {
    let metadata: Metadata = read_json(row, at)?;
    let payload: &[u8] = row.try_get(at + 1)?;
    let payload = Bytes::copy_from_slice(payload);
    Ok(Envelope { metadata, payload })
}

pub(super) fn read_failure(row: &SqliteRow, at: usize) -> Result<Failure, sqlx::Error> {
    read_json(row, at)
}

pub(super) fn read_attempts(row: &SqliteRow, at: usize) -> Result<u32, sqlx::Error> {
    row.try_get(at)
}

fn read_json<T: DeserializeOwned>(row: &SqliteRow, at: usize) -> Result<T, sqlx::Error> {
    let json: &[u8] = row.try_get(at)?;
    serde_json::from_slice(json).map_err(|cause| sqlx::Error::Decode(cause.into()))
}
