//! CloudEvents 1.0 in structured JSON mode, the default form of every message.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::attributes::{Attributes, is_ignored};
use super::{BODY_BYTES_MAX, Codec, WireMessage, within_limit};
use crate::message::{Envelope, Target, is_json};
use crate::{Error, Result, ResultExt};

const CONTENT_TYPE: &str = "application/cloudevents+json";

const DATA: &str = "data";

/// CloudEvents 1.0, structured JSON.
///
/// `source` is the sender and `type` the name. Extensions: `messageversion`, `target` (absent for
/// any), `correlationid`, `causationid`, `partitionkey` (the key), `tenant`, `traceparent`,
/// `tracestate`; free headers are further extensions. A JSON payload stands in `data` byte by
/// byte, any other in `data_base64`.
#[derive(Clone, Debug)]
pub struct CloudEventsJson {
    /// The largest body read or written, in bytes; [`BODY_BYTES_MAX`] by default.
    pub body_bytes_max: usize,
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
        let event: Event<'_> = serde_json::from_slice(&wire.body).map_err(|cause| {
            Error::invalid(format!("not a CloudEvent in JSON: {cause}")).with_source(cause)
        })?;
        event.into_envelope().with_context(|| "reading a CloudEvent")
    }
}

/// The payload as JSON that stands in `data` byte by byte; `None` for what only claims to be JSON
/// or is padded. Somebody sent it as Base64, so it goes on as Base64.
fn as_json(payload: &[u8]) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_slice(payload).ok()?;
    (raw.get().len() == payload.len()).then_some(raw)
}

struct Structured<'a>(&'a Envelope);

impl Serialize for Structured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let meta = &self.0.metadata;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &meta.id)?;
        map.serialize_entry("source", &*meta.sender)?;
        map.serialize_entry("type", &meta.name)?;
        map.serialize_entry("messageversion", &meta.version)?;
        if let Target::Service(name) = &meta.target {
            map.serialize_entry("target", name)?;
        }
        map.serialize_entry("time", &meta.time)?;
        map.serialize_entry("correlationid", &meta.correlation_id)?;
        if let Some(id) = &meta.causation_id {
            map.serialize_entry("causationid", id)?;
        }
        if let Some(key) = &meta.key {
            map.serialize_entry("partitionkey", key)?;
        }
        if let Some(tenant) = &meta.tenant {
            map.serialize_entry("tenant", &**tenant)?;
        }
        if let Some(trace) = &meta.trace {
            map.serialize_entry("traceparent", &trace.traceparent())?;
            if let Some(state) = trace.tracestate() {
                map.serialize_entry("tracestate", state)?;
            }
        }
        for (name, value) in meta.headers.iter() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("datacontenttype", &meta.content_type)?;
        self.serialize_data(&mut map)?;
        map.end()
    }
}

impl Structured<'_> {
    fn serialize_data<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let payload = &self.0.payload;
        if payload.is_empty() {
            return Ok(());
        }
        if is_json(&self.0.metadata.content_type)
            && let Some(raw) = as_json(payload)
        {
            return map.serialize_entry("data", raw);
        }
        map.serialize_entry("data_base64", &STANDARD.encode(payload))
    }
}

/// One event as it was read: its attributes as text, and its data.
struct Event<'a> {
    attributes: Attributes,
    data: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Event<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut raw: BTreeMap<String, &'de RawValue> = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if raw.contains_key(&name) {
                        let twice = format!("attribute `{name}` is there twice: send it once");
                        return Err(serde::de::Error::custom(twice));
                    }
                    raw.insert(name, value);
                }
                let data = raw.remove(DATA);
                let attributes = texts(raw).map_err(serde::de::Error::custom)?;
                Ok(Event { attributes, data })
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn texts(raw: BTreeMap<String, &RawValue>) -> Result<Attributes> {
    let mut attributes = Attributes::default();
    for (name, value) in raw {
        // These are not ours to interpret, so they may be anything.
        if !is_ignored(&name) && value.get() != "null" {
            let text = text(&name, value)?;
            attributes.insert(name, text);
        }
    }
    Ok(attributes)
}

/// A CloudEvents attribute value: a string, or a number or boolean in its canonical text form.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
}

fn text(name: &str, raw: &RawValue) -> Result<String> {
    let scalar: Scalar = serde_json::from_str(raw.get()).map_err(|_| {
        Error::invalid(format!("attribute `{name}` is not a string, number or boolean"))
    })?;
    Ok(match scalar {
        Scalar::Text(text) => text,
        Scalar::Number(number) => number.to_string(),
        Scalar::Bool(value) => value.to_string(),
    })
}

impl Event<'_> {
    fn into_envelope(mut self) -> Result<Envelope> {
        let payload = self.take_payload()?;
        let content_type = self.attributes.take("datacontenttype");
        let metadata = self.attributes.into_metadata(content_type)?;
        Ok(Envelope { metadata, payload })
    }

    fn take_payload(&mut self) -> Result<Bytes> {
        match (self.data.take(), self.attributes.take("data_base64")) {
            (Some(_), Some(_)) => {
                Err(Error::invalid("`data` and `data_base64` are both there; send one"))
            }
            (Some(data), None) => Ok(Bytes::copy_from_slice(data.get().as_bytes())),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map(Into::into)
                .map_err(|cause| Error::invalid(format!("`data_base64` is not Base64: {cause}"))),
            (None, None) => Ok(Bytes::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::message::codec::tests_support::sample;

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
    fn what_only_claims_to_be_json_goes_on_as_it_came() {
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
            ("[]", "not a CloudEvent"),
            (r#"{"specversion":"1.0","#, "not a CloudEvent"),
            (r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#, "specversion"),
            (r#"{"specversion":"1.0","source":"s","type":"t"}"#, "`id`"),
            (r#"{"specversion":"1.0","id":"1","id":"2","source":"s","type":"t"}"#, "`id`"),
            (r#"{"specversion":"1.0","id":{},"source":"s","type":"t"}"#, "`id`"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}"#, "`time`"),
            (r#"{"specversion":"1.0","id":"1","source":"s","type":"t","target":"A B"}"#, "A B"),
            (
                r#"{"specversion":"1.0","id":"1","source":"s","type":"t","messageversion":-1}"#,
                "messageversion",
            ),
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
