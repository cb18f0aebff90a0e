//! What an envelope says about its payload.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::media_type::CONTENT_TYPE_JSON;
use super::{KEY_BYTES_MAX, Key, Target, TraceContext, slot_of};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::{Error, Result, Retry};

/// How many free headers one message may carry.
pub const HEADERS_MAX: usize = 32;

/// The longest value of a free header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// The longest name, sender, tenant or content type, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 2048;

/// How much of a name that is too long is repeated, in characters.
const NAME_CHARS_SHOWN: usize = 64;

/// The longest name of a free header, in bytes; CloudEvents recommends this limit.
const HEADER_NAME_BYTES_MAX: usize = 20;

/// Names that mean something of their own on the wire and cannot be free headers.
const RESERVED: [&str; 18] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "data",
    "data_base64",
    "datacontenttype",
    "dataschema",
    "messageversion",
    "target",
    "correlationid",
    "causationid",
    "partitionkey",
    "tenant",
    "traceparent",
    "tracestate",
];

/// Everything about a message but its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The message's identity: effects happen once per id and context.
    pub id: MessageId,
    /// The message's stable name.
    pub name: Cow<'static, str>,
    /// The version of the payload's shape.
    pub version: u32,
    /// The context that sent it; for foreign messages, their source.
    pub sender: Arc<str>,
    /// Whom it is for.
    #[serde(default)]
    pub target: Target,
    /// The same for everything that one outside request set off.
    pub correlation_id: MessageId,
    /// The message whose handler sent this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<MessageId>,
    /// When it was sent.
    pub time: Timestamp,
    /// What orders it; see [`Key`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The tenant it belongs to, in systems that have tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// Its place in a distributed trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// The media type of the payload.
    #[serde(default = "json", skip_serializing_if = "is_default")]
    pub content_type: Cow<'static, str>,
    /// Whether delivery without a single subscriber is a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_route: bool,
    /// Free headers.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
}

fn json() -> Cow<'static, str> {
    Cow::Borrowed(CONTENT_TYPE_JSON)
}

/// Exactly the default: another spelling of JSON is stored as it was sent.
fn is_default(content_type: &str) -> bool {
    content_type == CONTENT_TYPE_JSON
}

impl Metadata {
    /// The least that a message says: version 1 of `name`, as JSON, for any subscriber, without a
    /// key, sent at the epoch, and the first of its correlation.
    #[must_use]
    pub fn new(id: MessageId, name: impl Into<Cow<'static, str>>, sender: &str) -> Self {
        Self {
            id,
            name: name.into(),
            version: 1,
            sender: sender.into(),
            target: Target::Any,
            correlation_id: id,
            causation_id: None,
            time: Timestamp::EPOCH,
            key: None,
            tenant: None,
            trace: None,
            content_type: json(),
            must_route: false,
            headers: Headers::default(),
        }
    }

    /// The slot this message falls into; see [`slot_of`].
    #[must_use]
    pub fn slot(&self) -> u16 {
        slot_of(self.key.as_ref(), self.id)
    }

    /// Checks the lengths, for whoever brings in a message from outside.
    ///
    /// # Errors
    /// `LimitExceeded`, naming what is too long; see [`KEY_BYTES_MAX`] and [`ATTRIBUTE_BYTES_MAX`].
    pub fn check(&self) -> Result<()> {
        let bytes = |text: Option<&str>| text.map_or(0, str::len);
        for (what, bytes, bytes_max) in [
            ("key", bytes(self.key.as_ref().map(Key::as_str)), KEY_BYTES_MAX),
            ("name", self.name.len(), ATTRIBUTE_BYTES_MAX),
            ("sender", self.sender.len(), ATTRIBUTE_BYTES_MAX),
            ("tenant", bytes(self.tenant.as_deref()), ATTRIBUTE_BYTES_MAX),
            ("content type", self.content_type.len(), ATTRIBUTE_BYTES_MAX),
        ] {
            if bytes > bytes_max {
                return Err(self.too_long(what, bytes, bytes_max));
            }
        }
        Ok(())
    }

    fn too_long(&self, what: &str, bytes: usize, bytes_max: usize) -> Error {
        let name = &self.name;
        let message = format!(
            "the {what} of `{name:.NAME_CHARS_SHOWN$}` has {bytes} bytes, the limit is \
             {bytes_max}; use a shorter {what}"
        );
        Error::limit_exceeded(message).with_retry(Retry::Never)
    }
}

/// Free headers of a message, by name.
///
/// Names are 1 to 20 lowercase letters and digits, because they travel as CloudEvents attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// Sets a header, replacing one of the same name.
    ///
    /// # Errors
    /// `Invalid` for a name that cannot travel or is reserved, `LimitExceeded` for one header too
    /// many ([`HEADERS_MAX`]) or a value too long ([`HEADER_VALUE_BYTES_MAX`]).
    pub fn insert(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        let value = value.into();
        validate_header_name(name)?;
        if value.len() > HEADER_VALUE_BYTES_MAX {
            return Err(Error::limit_exceeded(format!(
                "header `{name}` has {} bytes, the limit is {HEADER_VALUE_BYTES_MAX}; \
                 put it into the payload",
                value.len()
            ))
            .with_retry(Retry::Never));
        }
        if self.0.len() >= HEADERS_MAX && !self.0.contains_key(name) {
            return Err(Error::limit_exceeded(format!(
                "header `{name}` would be one more than the {HEADERS_MAX} a message may carry; \
                 put it into the payload"
            ))
            .with_retry(Retry::Never));
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// The value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All headers, by name in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn validate_header_name(name: &str) -> Result<()> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(letters);
    if !fits {
        return Err(Error::invalid(format!(
            "`{name}` cannot name a header: use 1 to {HEADER_NAME_BYTES_MAX} lowercase letters and digits"
        )));
    }
    if RESERVED.contains(&name) {
        return Err(Error::invalid(format!(
            "header `{name}` is reserved for the envelope itself: use another name"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_from_outside_are_bounded_by_name() {
        let fine = crate::message::codec::tests_support::sample().metadata;
        assert!(fine.check().is_ok());
        let long = "x".repeat(ATTRIBUTE_BYTES_MAX + 1);
        let with = |change: &dyn Fn(&mut Metadata)| {
            let mut metadata = fine.clone();
            change(&mut metadata);
            metadata.check().unwrap_err().to_string()
        };
        for (what, error) in [
            ("key", with(&|it| it.key = Some(long.clone().into()))),
            ("name", with(&|it| it.name = long.clone().into())),
            ("sender", with(&|it| it.sender = long.clone().into())),
            ("tenant", with(&|it| it.tenant = Some(long.clone().into()))),
            ("content type", with(&|it| it.content_type = long.clone().into())),
        ] {
            assert!(error.contains(&format!("the {what} of")), "{error}");
            assert!(error.contains(&format!("use a shorter {what}")), "{error}");
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn headers_that_could_not_travel_are_refused_by_name() {
        let mut headers = Headers::default();
        for bad in ["", "Region", "x-region", "region_", "id", "traceparent", &"x".repeat(21)] {
            assert!(headers.insert(bad, "v").is_err(), "{bad}");
        }
        assert!(headers.insert("region", "x".repeat(HEADER_VALUE_BYTES_MAX + 1)).is_err());
        for n in 0..HEADERS_MAX {
            headers.insert(&format!("h{n}"), "v").unwrap();
        }
        assert!(headers.insert("onemore", "v").is_err());
        assert!(headers.insert("h0", "again").is_ok());
    }
}
