//! Writes a message as a CloudEvent in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::message::attribute::{DATA, DATA_BASE64, SPEC_VERSION, SPEC_VERSION_1_0};
use crate::message::codec::originals::headers;
use crate::message::codec::table::{ATTRIBUTES, About};
use crate::message::{Envelope, Metadata, is_json};

/// A message that serializes as an event.
pub(super) struct Structured<'a>(pub(super) &'a Envelope);

impl Serialize for Structured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = &self.0.metadata;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(SPEC_VERSION, SPEC_VERSION_1_0)?;
        serialize_attributes(message, &mut map, |about| about != About::Payload)?;
        for (name, value) in headers(message) {
            map.serialize_entry(name, value)?;
        }
        serialize_attributes(message, &mut map, |about| about == About::Payload)?;
        self.serialize_data(&mut map)?;
        map.end()
    }
}

fn serialize_attributes<M: SerializeMap>(
    message: &Metadata,
    map: &mut M,
    is_wanted: impl Fn(About) -> bool,
) -> Result<(), M::Error> {
    for attribute in ATTRIBUTES.iter().filter(|attribute| is_wanted(attribute.about)) {
        if let Some(value) = attribute.value(message) {
            map.serialize_entry(attribute.name, &value)?;
        }
    }
    Ok(())
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
            return map.serialize_entry(DATA, raw);
        }
        map.serialize_entry(DATA_BASE64, &STANDARD.encode(payload))
    }
}

/// The payload if it can be copied unchanged into `data`; `None` when it only claims to be JSON or
/// has white space around it. Its sender used Base64, so it is written as Base64 again.
fn as_json(payload: &[u8]) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_slice(payload).ok()?;
    (raw.get().len() == payload.len()).then_some(raw)
}
