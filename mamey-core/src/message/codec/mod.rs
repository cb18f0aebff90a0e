//! How envelopes are written on the wire.

mod attributes;
mod binary;
mod cloudevents;
mod plain;
#[cfg(test)]
mod round_trip;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::Envelope;
use crate::{Error, Result};

pub use binary::CloudEventsBinary;
pub use cloudevents::CloudEventsJson;
pub use plain::Plain;

/// The largest body that a codec reads or writes unless told otherwise, in bytes: 16 MiB.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest payload that can be published, in bytes: 15 MiB. The rest of [`BODY_BYTES_MAX`] is
/// for the attributes, so that what an outbox has taken also fits on the wire.
pub const PAYLOAD_BYTES_MAX: usize = BODY_BYTES_MAX - 1024 * 1024;

/// What a transport carries: a body, and properties beside it where the transport has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireMessage {
    /// The media type of the body.
    pub content_type: Cow<'static, str>,
    /// Properties that travel beside the body, such as AMQP headers.
    pub properties: BTreeMap<Cow<'static, str>, String>,
    /// The body.
    pub body: Bytes,
}

/// Writes envelopes for the wire and reads them back.
pub trait Codec: Send + Sync + 'static {
    /// Writes an envelope.
    ///
    /// # Errors
    /// `Invalid` when this form cannot carry it, `LimitExceeded` when it is too large.
    fn encode(&self, envelope: &Envelope) -> Result<WireMessage>;

    /// Reads an envelope from outside.
    ///
    /// # Errors
    /// `Invalid` or `LimitExceeded`, naming the attribute that is wrong. Never panics.
    fn decode(&self, wire: &WireMessage) -> Result<Envelope>;
}

fn within_limit(body: &[u8], body_bytes_max: usize) -> Result<()> {
    if body.len() <= body_bytes_max {
        return Ok(());
    }
    Err(Error::limit_exceeded(format!(
        "the message has {} bytes, the limit is {body_bytes_max}; \
         send a reference to the data or raise the codec's `body_bytes_max`",
        body.len()
    ))
    .with_retry(crate::Retry::Never))
}

/// Refuses a payload that would not fit on the wire.
pub(crate) fn check_payload(bytes: usize) -> Result<()> {
    if bytes <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "its payload has {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}; \
         send a reference to the data"
    );
    Err(Error::limit_exceeded(message).with_retry(crate::Retry::Never))
}

#[cfg(test)]
pub(super) mod tests_support {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::{IdSource, UuidV7Source};
    use crate::message::{CONTENT_TYPE_JSON, ContextName, Headers, Metadata, Target, TraceContext};

    /// An envelope with every field filled.
    pub(crate) fn sample() -> Envelope {
        let ids = UuidV7Source::default();
        let mut headers = Headers::default();
        headers.insert("region", "eu").unwrap();
        let metadata = Metadata {
            id: ids.message_id(),
            name: "orders.order-placed".into(),
            version: 3,
            sender: "orders".into(),
            target: Target::Service(ContextName::new("payments").unwrap()),
            correlation_id: ids.message_id(),
            causation_id: Some(ids.message_id()),
            time: Timestamp::from_micros(1_790_000_000_123_456),
            key: Some("order-1".into()),
            tenant: Some("acme".into()),
            trace: Some(TraceContext::root(&ids)),
            content_type: CONTENT_TYPE_JSON.into(),
            must_route: false,
            headers,
        };
        Envelope { metadata, payload: Bytes::from_static(br#"{"order_id":"order-1"}"#) }
    }
}
