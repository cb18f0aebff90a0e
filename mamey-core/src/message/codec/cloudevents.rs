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

use super::{BODY_BYTES_MAX, Codec, WireMessage, within_limit};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::message::{
    CONTENT_TYPE_JSON, ContextName, Envelope, Headers, Key, Metadata, Target, TraceContext,
};
use crate::{Error, Result, ResultExt};

const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The header that keeps the id of a foreign message whose id is no UUID.
const FOREIGN_ID: &str = "foreignid";

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
        let attributes: Attributes<'_> = serde_json::from_slice(&wire.body).map_err(|cause| {
            Error::invalid(format!("not a CloudEvent in JSON: {cause}")).with_source(cause)
        })?;
        attributes.into_envelope().context(|| "reading a CloudEvent")
    }
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    media == CONTENT_TYPE_JSON || media.ends_with("+json") || media.is_empty()
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
        if is_json(&self.0.metadata.content_type) && !payload.is_empty() {
            let raw: &RawValue =
                serde_json::from_slice(payload).map_err(serde::ser::Error::custom)?;
            return map.serialize_entry("data", raw);
        }
        if payload.is_empty() {
            return Ok(());
        }
        map.serialize_entry("data_base64", &STANDARD.encode(payload))
    }
}

/// The attributes of one event, each kept as the JSON it was; a repeated name is refused.
struct Attributes<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Attributes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut attributes = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if attributes.contains_key(name.as_str()) {
                        let twice = format!("attribute `{name}` is there twice: send it once");
                        return Err(serde::de::Error::custom(twice));
                    }
                    attributes.insert(Cow::Owned(name), value);
                }
                Ok(Attributes(attributes))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A CloudEvents attribute value: a string, or a number or boolean in its canonical text form.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
}

impl Attributes<'_> {
    fn into_envelope(mut self) -> Result<Envelope> {
        self.check_spec_version()?;
        let sender = self.required("source")?;
        let foreign_id = self.required("id")?;
        let id =
            foreign_id.parse().unwrap_or_else(|_| MessageId::from_foreign(&sender, &foreign_id));
        let content_type = self.take("datacontenttype")?;
        let payload = self.take_payload()?;
        let mut metadata = Metadata {
            id,
            name: self.required("type")?.into(),
            version: self.take_parsed("messageversion")?.unwrap_or(1),
            sender: sender.into(),
            target: self.take_target()?,
            correlation_id: self.take_parsed("correlationid")?.unwrap_or(id),
            causation_id: self.take_parsed("causationid")?,
            time: self.take_time()?,
            key: self.take("partitionkey")?.map(Key::from),
            tenant: self.take("tenant")?.map(Into::into),
            trace: self.take_trace()?,
            content_type: content_type.map_or(Cow::Borrowed(CONTENT_TYPE_JSON), Cow::Owned),
            must_route: false,
            headers: Headers::default(),
        };
        metadata.headers = self.into_headers()?;
        if id.to_string() != foreign_id && metadata.headers.get(FOREIGN_ID).is_none() {
            metadata.headers.insert(FOREIGN_ID, foreign_id)?;
        }
        metadata.check()?;
        Ok(Envelope { metadata, payload })
    }

    fn check_spec_version(&mut self) -> Result<()> {
        match self.required("specversion")?.as_str() {
            "1.0" => Ok(()),
            other => Err(Error::invalid(format!("specversion `{other}` is not `1.0`"))),
        }
    }

    fn take(&mut self, name: &str) -> Result<Option<String>> {
        let Some(raw) = self.0.remove(name).filter(|raw| raw.get() != "null") else {
            return Ok(None);
        };
        let scalar: Scalar = serde_json::from_str(raw.get()).map_err(|_| {
            Error::invalid(format!("attribute `{name}` is not a string, number or boolean"))
        })?;
        Ok(Some(match scalar {
            Scalar::Text(text) => text,
            Scalar::Number(number) => number.to_string(),
            Scalar::Bool(value) => value.to_string(),
        }))
    }

    fn required(&mut self, name: &str) -> Result<String> {
        self.take(name)?.filter(|value| !value.is_empty()).ok_or_else(|| {
            Error::invalid(format!(
                "attribute `{name}` is missing: every CloudEvent has one, and it is not empty"
            ))
        })
    }

    fn take_parsed<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let parse = |text: String| {
            text.parse()
                .map_err(|_| Error::invalid(format!("attribute `{name}` cannot be `{text}`")))
        };
        self.take(name)?.map(parse).transpose()
    }

    fn take_target(&mut self) -> Result<Target> {
        match self.take("target")? {
            Some(name) => {
                ContextName::new(&name).map(Target::Service).context(|| "attribute `target`")
            }
            None => Ok(Target::Any),
        }
    }

    fn take_time(&mut self) -> Result<Timestamp> {
        match self.take("time")? {
            Some(text) => Timestamp::parse_rfc3339(&text).context(|| "attribute `time`"),
            None => Ok(Timestamp::EPOCH),
        }
    }

    /// A broken trace header must not cost the message, so it only starts a new trace.
    fn take_trace(&mut self) -> Result<Option<TraceContext>> {
        let (parent, state) = (self.take("traceparent")?, self.take("tracestate")?);
        Ok(parent.and_then(|parent| TraceContext::parse(&parent, state.as_deref()).ok()))
    }

    fn take_payload(&mut self) -> Result<Bytes> {
        match (self.0.remove("data"), self.take("data_base64")?) {
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

    /// What is left are extensions: those that fit become free headers, `subject` and
    /// `dataschema` are not ours to interpret.
    fn into_headers(mut self) -> Result<Headers> {
        let mut headers = Headers::default();
        let names: Vec<String> = self.0.keys().map(|name| name.clone().into_owned()).collect();
        for name in names {
            if matches!(name.as_str(), "subject" | "dataschema") {
                continue;
            }
            if let Some(value) = self.take(&name)? {
                headers.insert(&name, value)?;
            }
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
