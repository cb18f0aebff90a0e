//! The plain form `{sender, target, type, payload}`, for systems that already use it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::attributes::{drop_false_id, from_source, read_attributes, text_attributes, with_id};
use super::limits::{BODY_BYTES_MAX, within_limit};
use super::originals::source;
use super::table::{ATTRIBUTES, About};
use super::text::{encoding_hint, without_mark};
use super::wire::{Codec, WireMessage};
use crate::id::{IdSource, UuidV7Source};
use crate::message::attribute::{FOREIGN_TARGET, ID};
use crate::message::{CONTENT_TYPE_JSON, ContextName, Envelope, Metadata, Target};
use crate::{Error, Result};

/// The target that means every subscriber.
const ANY: &str = "MSG_SERVICE_ANY";

/// `{sender, target, type, payload}`, with the target `MSG_SERVICE_ANY` for every subscriber.
///
/// The form has no other fields, so id, version, key, time, correlation, tenant, trace and headers
/// are sent beside it as transport properties. A foreign message without the property `id` gets a
/// new id each time it is read: it is handled at least once, because content is never an identity.
///
/// ```
/// use mamey::message::{Codec, Plain, WireMessage};
///
/// let body = r#"{"sender":"shop","target":"MSG_SERVICE_ANY","type":"shop.sold","payload":{}}"#;
/// let envelope = Plain::default().decode(&WireMessage::new(body.into()))?;
/// assert_eq!(envelope.metadata.name, "shop.sold");
/// # Ok::<(), mamey::Error>(())
/// ```
#[non_exhaustive]
pub struct Plain {
    /// The largest body read or written, in bytes; [`BODY_BYTES_MAX`] by default.
    pub body_bytes_max: usize,
    ids: UuidV7Source,
}

impl Plain {
    /// The largest body read or written, in bytes.
    #[must_use]
    pub const fn with_body_bytes_max(mut self, body_bytes_max: usize) -> Self {
        self.body_bytes_max = body_bytes_max;
        self
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self { body_bytes_max: BODY_BYTES_MAX, ids: UuidV7Source::default() }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    sender: &'a str,
    target: &'a str,
    r#type: &'a str,
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Read<'a> {
    sender: String,
    #[serde(default)]
    target: Option<String>,
    r#type: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl Codec for Plain {
    fn encode(&self, envelope: &Envelope) -> Result<WireMessage> {
        let meta = &envelope.metadata;
        let payload = serde_json::from_slice(&envelope.payload).map_err(|cause| {
            let name = &meta.name;
            Error::invalid(format!("the plain form carries JSON only, `{name}` is not: {cause}"))
        })?;
        let target = match &meta.target {
            Target::Any => ANY,
            Target::Service(name) => name.as_str(),
        };
        let written = Written { sender: source(meta), target, r#type: &meta.name, payload };
        let body = serde_json::to_vec(&written)
            .map_err(|cause| Error::invalid(format!("`{}`: {cause}", meta.name)))?;
        within_limit(&body, self.body_bytes_max)?;
        let properties = text_attributes(meta, |about| about == About::Message);
        Ok(WireMessage { content_type: CONTENT_TYPE_JSON.into(), properties, body: body.into() })
    }

    fn decode(&self, wire: &WireMessage) -> Result<Envelope> {
        within_limit(&wire.body, self.body_bytes_max)?;
        let read: Read<'_> = serde_json::from_slice(without_mark(&wire.body)).map_err(|cause| {
            let hint = encoding_hint(&wire.content_type, &wire.body);
            Error::invalid(format!(
                "not a plain message {{sender, target, type, payload}}: {cause}{hint}"
            ))
            .with_source(cause)
        })?;
        let payload = Bytes::copy_from_slice(read.payload.get().as_bytes());
        let metadata = self.metadata(read, wire)?;
        metadata.check()?;
        Ok(Envelope { metadata, payload })
    }
}

impl Plain {
    fn metadata(&self, read: Read<'_>, wire: &WireMessage) -> Result<Metadata> {
        let property = |name: &str| wire.properties.get(name).map(String::as_str);
        let (name, sender) = (non_empty(read.r#type, "type")?, non_empty(read.sender, "sender")?);
        let mut metadata = match property(ID).filter(|id| !id.is_empty()) {
            Some(id) => with_id(&sender, id, name)?,
            None => from_source(&sender, name, |_| self.ids.message_id())?,
        };
        match read.target {
            Some(target) if target != ANY => set_target(&mut metadata, target),
            _ => {}
        }
        let take = |name: &str| property(name).filter(|_| name != ID).map(Cow::Borrowed);
        read_attributes(&mut metadata, |about| about == About::Message, take);
        let is_read =
            |name: &str| ATTRIBUTES.iter().any(|it| it.about == About::Message && it.name == name);
        for (name, value) in wire.properties.iter().filter(|(name, _)| !is_read(name)) {
            metadata.headers.keep(name, value.clone());
        }
        if let Some(id) = property(ID) {
            drop_false_id(&mut metadata, id);
        }
        Ok(metadata)
    }
}

fn non_empty(text: String, field: &str) -> Result<String> {
    if text.is_empty() {
        return Err(Error::invalid(format!("`{field}` of a plain message is empty")));
    }
    Ok(text)
}

/// A target that cannot name a context is another system's word: whoever gets the message is meant.
fn set_target(metadata: &mut Metadata, target: String) {
    match ContextName::new(&target) {
        Ok(name) => metadata.target = Target::Service(name),
        Err(_) => metadata.headers.keep(FOREIGN_TARGET, target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::codec::sample::sample;

    fn bare(body: &str) -> WireMessage {
        WireMessage { body: body.to_owned().into(), ..WireMessage::default() }
    }

    #[test]
    fn every_field_survives_with_its_properties() {
        let codec = Plain::default();
        let envelope = sample();
        assert_eq!(codec.decode(&codec.encode(&envelope).unwrap()).unwrap(), envelope);
    }

    #[test]
    fn the_body_is_the_plain_form() {
        let mut envelope = sample();
        envelope.metadata.target = Target::Any;
        let wire = Plain::default().encode(&envelope).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
        assert_eq!(body["target"], "MSG_SERVICE_ANY");
        assert_eq!(body["sender"], "orders");
        assert_eq!(body.as_object().unwrap().len(), 4);
    }

    #[test]
    fn a_foreign_message_without_an_id_is_a_new_message_each_time() {
        let wire = bare(r#"{"sender":"shop","target":"payments","type":"pay","payload":{"a":1}}"#);
        let codec = Plain::default();
        let (one, two) = (codec.decode(&wire).unwrap(), codec.decode(&wire).unwrap());
        assert_ne!(one.metadata.id, two.metadata.id);
        assert_eq!(one.payload, two.payload);
    }

    #[test]
    fn bad_input_is_refused() {
        for body in [
            "",
            "{}",
            "null",
            r#"{"sender":"s","type":"t"}"#,
            r#"{"sender":"","type":"t","payload":1}"#,
            r#"{"sender":"s","sender":"s","type":"t","payload":1}"#,
        ] {
            assert!(Plain::default().decode(&bare(body)).is_err(), "{body}");
        }
    }
}
