//! Reads a CloudEvent in JSON.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::message::Envelope;
use crate::message::attribute::{DATA, DATA_BASE64};
use crate::message::codec::attributes::{Attributes, occurs_twice};
use crate::{Error, Result};

const NULL: &str = "null";

/// One event as it was read: its attributes as text, and its data.
pub(super) struct Event<'a> {
    attributes: Attributes,
    data: Option<&'a RawValue>,
}

impl Event<'_> {
    pub(super) fn into_envelope(mut self) -> Result<Envelope> {
        let payload = self.take_payload()?;
        Ok(Envelope { metadata: self.attributes.into_metadata()?, payload })
    }

    fn take_payload(&mut self) -> Result<Bytes> {
        match (self.data.take(), self.attributes.take(DATA_BASE64)) {
            (Some(data), Some(_)) if data.get() != NULL => {
                Err(Error::invalid("`data` and `data_base64` are both present; send one"))
            }
            (_, Some(text)) => STANDARD.decode(text).map(Into::into).map_err(|cause| {
                let rule = "not Base64 (RFC 4648, with padding)";
                Error::invalid(format!("`data_base64` is {rule}: {cause}"))
            }),
            (Some(data), None) => content(data, self.attributes.say_json()),
            (None, None) => Ok(Bytes::new()),
        }
    }

    fn add(&mut self, name: String, value: &RawValue) -> Result<()> {
        match text(value) {
            // CloudEvents has `null` for what is not set.
            Some(Value::Null) => Ok(()),
            Some(Value::Text(text)) => self.attributes.insert(name, text.into_owned()),
            None => self.attributes.insert_unusable(name, value.get()),
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
                let mut event = Event { attributes: Attributes::default(), data: None };
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if name != DATA {
                        event.add(name, value).map_err(A::Error::custom)?;
                    } else if event.data.is_some_and(|known| known.get() != value.get()) {
                        return Err(A::Error::custom(occurs_twice(DATA)));
                    } else {
                        event.data = Some(value);
                    }
                }
                Ok(event)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The payload in `data`. Where it is not JSON, a string stands for its characters, as in
/// `"datacontenttype": "text/xml", "data": "<a/>"`, and `null` for no payload.
fn content(data: &RawValue, is_json: bool) -> Result<Bytes> {
    let json = data.get();
    match json.as_bytes().first() {
        _ if is_json => Ok(Bytes::copy_from_slice(json.as_bytes())),
        Some(b'"') => serde_json::from_str::<String>(json).map(Into::into).map_err(|cause| {
            Error::invalid(format!("`data` is a string that is not Unicode text: {cause}"))
        }),
        Some(b'n') => Ok(Bytes::new()),
        _ => Ok(Bytes::copy_from_slice(json.as_bytes())),
    }
}

/// A CloudEvents attribute value: a string, or a number or boolean as it was written.
enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
}

/// `None` for what no attribute can be: an object, an array, or a string that is no Unicode.
fn text(raw: &RawValue) -> Option<Value<'_>> {
    let json = raw.get();
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok().map(|text| Value::Text(Cow::Owned(text))),
        b'{' | b'[' => None,
        b'n' => Some(Value::Null),
        _ => Some(Value::Text(Cow::Borrowed(json))),
    }
}
