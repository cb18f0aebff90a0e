//! How envelopes are written on the wire.

mod attributes;
mod binary;
mod foreign;
mod json;
#[cfg(test)]
mod legal_test;
#[cfg(test)]
mod lenient_test;
mod limits;
mod originals;
mod plain;
mod recognize;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod sample;
mod table;
mod text;
mod wire;

pub use binary::CloudEventsBinary;
pub use json::CloudEventsJson;
pub(crate) use limits::check_payload;
pub use limits::{BODY_BYTES_MAX, PAYLOAD_BYTES_MAX};
pub use plain::Plain;
pub use recognize::holds_cloud_event;
pub(crate) use text::without_mark;
pub use wire::{Codec, WireMessage};
