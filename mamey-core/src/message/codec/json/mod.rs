//! CloudEvents 1.0 in structured JSON mode, the default form of every message.

mod read;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::limits::{BODY_BYTES_MAX, within_limit};
use super::text::{encoding_hint, without_mark};
use super::wire::{Codec, WireMessage};
use crate::message::media_type::{essence, is_batch};
use crate::message::{Envelope, is_cloud_event, is_json};
use crate::{Error, Result, ResultExt};

use read::Event;
use write::Structured;

const CONTENT_TYPE: &str = "application/cloudevents+json";

/// CloudEvents 1.0, structured JSON.
///
/// `source` is the sender and `type` the name. Extensions: `messageversion`, `target` (absent for
/// any), `correlationid`, `causationid`, `partitionkey` (the key), `tenant`, `traceparent`,
/// `tracestate`; free headers are further extensions. A JSON payload is copied unchanged
/// into `data`, any other goes into `data_base64`.
///
/// Events of other systems are read leniently: only `specversion` (of any version 1.x), `id`,
/// `source` and `type` are required. An id that is no UUID gives a derived one; a source, key, tenant
/// or correlation that is too long gives a short form that is always the same; a time is cut to
/// microseconds; an attribute that cannot be read is left out, and a time that cannot be read, or is
/// absent, is that in the id (UUIDv7) or now. Each time the original is kept as a header (see
/// [`attribute`](crate::message::attribute)), and id, source, time, key, tenant and correlation are
/// written again as they came. All other extensions, `subject` and `dataschema` are headers, within
/// the bounds of [`Headers`](crate::message::Headers). Where `datacontenttype` is not JSON, a string
/// in `data` stands for its characters. A batch is refused.
///
/// ```
/// use mamey::MessageId;
/// use mamey::message::{CloudEventsJson, Codec, Envelope, Metadata};
///
/// let id = MessageId::from_foreign("shop", "A-1");
/// let sold = Envelope::new(Metadata::new(id, "shop.sold", "shop"), "{}".into());
/// let codec = CloudEventsJson::default();
/// let wire = codec.encode(&sold)?;
/// assert_eq!(wire.content_type, "application/cloudevents+json");
/// assert_eq!(codec.decode(&wire)?, sold);
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudEventsJson {
    /// The largest body read or written, in bytes; [`BODY_BYTES_MAX`] by default.
    pub body_bytes_max: usize,
}

impl CloudEventsJson {
    /// The largest body read or written, in bytes.
    #[must_use]
    pub const fn with_body_bytes_max(mut self, body_bytes_max: usize) -> Self {
        self.body_bytes_max = body_bytes_max;
        self
    }
}

impl Default for CloudEventsJson {
    fn default() -> Self {
        Self { body_bytes_max: BODY_BYTES_MAX }
    }
}

impl Codec for CloudEventsJson {
    fn encode(&self, envelope: &Envelope) -> Result<WireMessage> {
        let body = serde_json::to_vec(&Structured(envelope)).map_err(|cause| {
            let name = &envelope.metadata.name;
            Error::invalid(format!("`{name}` cannot be written as a CloudEvent: {cause}"))
        })?;
        within_limit(&body, self.body_bytes_max)?;
        let content_type = Cow::Borrowed(CONTENT_TYPE);
        Ok(WireMessage { content_type, properties: BTreeMap::new(), body: body.into() })
    }

    fn decode(&self, wire: &WireMessage) -> Result<Envelope> {
        within_limit(&wire.body, self.body_bytes_max)?;
        check_mode(wire)?;
        let event: Event<'_> =
            serde_json::from_slice(without_mark(&wire.body)).map_err(|cause| {
                let hint = encoding_hint(&wire.content_type, &wire.body);
                Error::invalid(format!("not a CloudEvent in JSON: {cause}{hint}"))
                    .with_source(cause)
            })?;
        event.into_envelope().with_context(|| "reading a CloudEvent")
    }
}

/// Refuses by name what is a CloudEvent in another mode or format.
fn check_mode(wire: &WireMessage) -> Result<()> {
    let is_array = without_mark(&wire.body).trim_ascii_start().first() == Some(&b'[');
    if is_batch(&wire.content_type) || is_array {
        return Err(Error::unsupported(format!(
            "not a CloudEvent in JSON but a batch of them: send each event as a message of its own, \
             of the media type `{CONTENT_TYPE}`"
        )));
    }
    if is_cloud_event(&wire.content_type)
        && !is_json(&wire.content_type)
        && !essence(&wire.content_type).eq_ignore_ascii_case("application/cloudevents")
    {
        return Err(Error::unsupported(format!(
            "not a CloudEvent in JSON but `{:.64}`: send it as `{CONTENT_TYPE}`",
            wire.content_type
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;

    use super::*;
    use crate::id::MessageId;
    use crate::message::codec::sample::sample;

    fn decode(body: &str) -> Result<Envelope> {
        let wire = WireMessage { body: body.to_owned().into(), ..WireMessage::default() };
        CloudEventsJson::default().decode(&wire)
    }

    #[test]
    fn every_field_survives_the_round_trip() {
        let codec = CloudEventsJson::default();
        for payload in [&b"{\"a\": 1,  \"b\": [1.0]}"[..], b"", b"3"] {
            let mut envelope = sample();
            envelope.payload = Bytes::copy_from_slice(payload);
            assert_eq!(codec.decode(&codec.encode(&envelope).unwrap()).unwrap(), envelope);
        }
        let mut binary = sample();
        binary.metadata.content_type = "application/octet-stream".into();
        binary.payload = Bytes::from_static(&[0, 255, 1]);
        assert_eq!(codec.decode(&codec.encode(&binary).unwrap()).unwrap(), binary);
    }

    #[test]
    fn what_only_claims_to_be_json_is_passed_on_unchanged() {
        let codec = CloudEventsJson::default();
        for payload in [&b"\x89PNG"[..], b" {} ", b"{", b"1 2"] {
            let data = STANDARD.encode(payload);
            let body = format!(
                r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"{data}"}}"#
            );
            let envelope = decode(&body).unwrap();
            assert_eq!(&envelope.payload[..], payload);
            assert_eq!(codec.decode(&codec.encode(&envelope).unwrap()).unwrap(), envelope);
        }
    }

    #[test]
    fn a_minimal_foreign_event_is_read() {
        let body = r#"{"specversion":"1.0","id":"A-1","source":"https://shop","type":"shop.sold","data":{}}"#;
        let envelope = decode(body).unwrap();
        assert_eq!(envelope.metadata.id, MessageId::from_foreign("https://shop", "A-1"));
        assert_eq!(envelope.metadata.headers.get("foreignid"), Some("A-1"));
        assert_eq!(envelope.metadata.version, 1);
    }

    #[test]
    fn bad_input_is_refused_with_the_attribute_named() {
        let deep = format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}}}"#,
            "[".repeat(10_000)
        );
        for (body, word) in [
            ("", "not a CloudEvent"),
            ("[]", "batch"),
            (r#"{"specversion":"1.0","#, "not a CloudEvent"),
            (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "specversion"),
            (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "`id`"),
            (r#"{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}"#, "`id`"),
            (r#"{"specversion":"1.0","id":{},"source":"s","type":"t"}"#, "`id`"),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":""}"#,
                "data_base64",
            ),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"?"}"#,
                "Base64",
            ),
            (&deep, "not a CloudEvent"),
        ] {
            let error = decode(body).unwrap_err().to_string();
            assert!(error.contains(word), "{error} should name {word}");
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_both_ways() {
        let codec = CloudEventsJson { body_bytes_max: 64 };
        assert!(codec.encode(&sample()).is_err());
        let wire = CloudEventsJson::default().encode(&sample()).unwrap();
        assert!(codec.decode(&wire).is_err());
    }
}
