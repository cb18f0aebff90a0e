//! CloudEvents 1.0 in binary mode: the payload is the body, the attributes are properties.

use bytes::Bytes;

use super::attributes::{Attributes, text_attributes};
use super::limits::{BODY_BYTES_MAX, within_limit};
use super::table::About;
use super::wire::{Codec, WireMessage};
use crate::message::Envelope;
use crate::message::attribute::{DATA_CONTENT_TYPE, SPEC_VERSION, SPEC_VERSION_1_0};
use crate::{Result, ResultExt};

/// CloudEvents 1.0, binary mode: the body is exactly the payload, its media type is
/// `datacontenttype`, and every other attribute is a property of the same name.
///
/// The attributes are those of [`CloudEventsJson`](super::CloudEventsJson). A transport writes the
/// properties as its CloudEvents binding requires, for example with a prefix.
///
/// ```
/// use mamey::MessageId;
/// use mamey::message::{CloudEventsBinary, Codec, Envelope, Metadata};
///
/// let id = MessageId::from_foreign("shop", "A-1");
/// let sold = Envelope::new(Metadata::new(id, "shop.sold", "shop"), "{}".into());
/// let wire = CloudEventsBinary::default().encode(&sold)?;
/// assert_eq!((&wire.body[..], wire.properties["type"].as_str()), (&b"{}"[..], "shop.sold"));
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudEventsBinary {
    /// The largest body read or written, in bytes; [`BODY_BYTES_MAX`] by default.
    pub body_bytes_max: usize,
}

impl CloudEventsBinary {
    /// The largest body read or written, in bytes.
    #[must_use]
    pub const fn with_body_bytes_max(mut self, body_bytes_max: usize) -> Self {
        self.body_bytes_max = body_bytes_max;
        self
    }
}

impl Default for CloudEventsBinary {
    fn default() -> Self {
        Self { body_bytes_max: BODY_BYTES_MAX }
    }
}

impl Codec for CloudEventsBinary {
    fn encode(&self, envelope: &Envelope) -> Result<WireMessage> {
        within_limit(&envelope.payload, self.body_bytes_max)?;
        let mut properties = text_attributes(&envelope.metadata, |about| about != About::Payload);
        properties.insert(SPEC_VERSION.into(), SPEC_VERSION_1_0.to_owned());
        let content_type = envelope.metadata.content_type.clone();
        Ok(WireMessage { content_type, properties, body: Bytes::clone(&envelope.payload) })
    }

    fn decode(&self, wire: &WireMessage) -> Result<Envelope> {
        within_limit(&wire.body, self.body_bytes_max)?;
        let mut attributes = Attributes::default();
        for (name, value) in &wire.properties {
            attributes.insert(name.clone().into_owned(), value.clone())?;
        }
        if !wire.content_type.is_empty() {
            // The body's own media type counts, whatever a property of that name says.
            let content_type = wire.content_type.clone().into_owned();
            attributes.insert(DATA_CONTENT_TYPE.to_owned(), content_type)?;
        }
        let metadata = attributes.into_metadata().with_context(|| "reading a CloudEvent")?;
        Ok(Envelope { metadata, payload: Bytes::clone(&wire.body) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::message::codec::sample::sample;

    #[test]
    fn every_field_survives_the_round_trip() {
        let codec = CloudEventsBinary::default();
        for payload in [&b"{\"a\": 1}"[..], b"", &[0, 255, 1]] {
            let mut envelope = sample();
            envelope.payload = Bytes::copy_from_slice(payload);
            assert_eq!(codec.decode(&codec.encode(&envelope).unwrap()).unwrap(), envelope);
        }
    }

    #[test]
    fn the_body_is_the_payload_and_the_rest_are_properties() {
        let envelope = sample();
        let wire = CloudEventsBinary::default().encode(&envelope).unwrap();
        assert_eq!((&wire.body, &*wire.content_type), (&envelope.payload, "application/json"));
        for (name, value) in [
            ("specversion", "1.0"),
            ("source", "orders"),
            ("type", "orders.order-placed"),
            ("target", "payments"),
            ("partitionkey", "order-1"),
            ("messageversion", "3"),
            ("region", "eu"),
        ] {
            assert_eq!(wire.properties.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn a_minimal_foreign_event_is_read_and_a_broken_one_is_refused_by_name() {
        let mut wire = WireMessage::default();
        for (name, value) in
            [("specversion", "1.0"), ("id", "A-1"), ("source", "shop"), ("type", "shop.sold")]
        {
            let error = CloudEventsBinary::default().decode(&wire).unwrap_err().to_string();
            assert!(error.contains("is missing"), "{error}");
            wire.properties.insert(name.into(), value.to_owned());
        }
        let envelope = CloudEventsBinary::default().decode(&wire).unwrap();
        assert_eq!(envelope.metadata.id, MessageId::from_foreign("shop", "A-1"));
        assert_eq!(envelope.metadata.headers.get("foreignid"), Some("A-1"));
    }

    #[test]
    fn a_body_over_the_limit_is_refused_both_ways() {
        let codec = CloudEventsBinary { body_bytes_max: 8 };
        assert!(codec.encode(&sample()).is_err());
        let wire = CloudEventsBinary::default().encode(&sample()).unwrap();
        assert!(codec.decode(&wire).is_err());
    }
}
