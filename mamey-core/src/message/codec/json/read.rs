//! Reads a CloudEvent in JSON.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::message::Envelope;
use crate::message::attribute::{DATA, DATA_BASE64, DATA_CONTENT_TYPE, IGNORED};
use crate::message::codec::attributes::Attributes;
use crate::{Error, Result};

/// One event as it was read: its attributes as text, and its data.
pub(super) struct Event<'a> {
    attributes: Attributes,
    data: Option<&'a RawValue>,
}

impl Event<'_> {
    pub(super) fn into_envelope(mut self) -> Result<Envelope> {
        let payload = self.take_payload()?;
        let content_type = self.attributes.take(DATA_CONTENT_TYPE);
        let metadata = self.attributes.into_metadata(content_type)?;
        Ok(Envelope { metadata, payload })
    }

    fn take_payload(&mut self) -> Result<Bytes> {
        match (self.data.take(), self.attributes.take(DATA_BASE64)) {
            (Some(_), Some(_)) => {
                Err(Error::invalid("`data` and `data_base64` are both present; send one"))
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
                        let twice = format!("attribute `{name}` occurs twice: send it once");
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
        // Ignored attributes may have any value.
        if !IGNORED.contains(&name.as_str()) && value.get() != "null" {
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
