//! Ids by which messages refer to each other: our own UUIDs, or any text of another system.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::id::MessageId;
use crate::{Error, Result, Retry};

/// The longest correlation or causation id that is carried as it is, in bytes.
pub const CORRELATION_ID_BYTES_MAX: usize = 1024;

/// An id by which messages refer to each other, as a correlation or as a cause.
///
/// CloudEvents has it as text that only its maker understands, so any text of 1 to
/// [`CORRELATION_ID_BYTES_MAX`] bytes is carried and passed on unchanged. Our own are UUIDs, which
/// need no allocation. Equal are those that read the same.
///
/// ```
/// use mamey::MessageId;
/// use mamey::message::CorrelationId;
///
/// let foreign: CorrelationId = "txn-abc-123".parse()?;
/// assert_eq!(foreign.to_string(), "txn-abc-123");
/// let own = MessageId::from_foreign("shop", "A-1");
/// assert_eq!(CorrelationId::from(own), own.to_string().parse::<CorrelationId>()?);
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(Id);

/// A text that a UUID of ours would print as is always `Own`, so that equal texts are equal values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Id {
    Own(MessageId),
    Foreign(Arc<str>),
}

impl CorrelationId {
    /// The id that reads `text`.
    ///
    /// # Errors
    /// `Invalid` for an empty text, `LimitExceeded` for one of more than
    /// [`CORRELATION_ID_BYTES_MAX`] bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("a correlation id is empty: leave it out instead"));
        }
        if text.len() > CORRELATION_ID_BYTES_MAX {
            let message = format!(
                "a correlation id has {} bytes, the limit is {CORRELATION_ID_BYTES_MAX}; use a \
                 shorter one",
                text.len()
            );
            return Err(Error::limit_exceeded(message).with_retry(Retry::Never));
        }
        Ok(Self(canonical(text).map_or_else(|| Id::Foreign(text.into()), Id::Own)))
    }

    /// The id as a message's, if it is a UUID in the form that we write.
    #[must_use]
    pub const fn as_message_id(&self) -> Option<MessageId> {
        match &self.0 {
            Id::Own(id) => Some(*id),
            Id::Foreign(_) => None,
        }
    }
}

/// The message id that prints exactly as `text`.
fn canonical(text: &str) -> Option<MessageId> {
    if text.len() != Hyphenated::LENGTH {
        return None;
    }
    let id = text.parse().ok()?;
    prints_as(id, text).then_some(id)
}

/// Whether `id` is written as exactly `text`.
pub(super) fn prints_as(id: MessageId, text: &str) -> bool {
    let mut printed = Uuid::encode_buffer();
    *id.as_uuid().hyphenated().encode_lower(&mut printed) == *text
}

impl From<MessageId> for CorrelationId {
    fn from(id: MessageId) -> Self {
        Self(Id::Own(id))
    }
}

impl From<MessageId> for Option<CorrelationId> {
    fn from(id: MessageId) -> Self {
        Some(id.into())
    }
}

impl PartialEq<MessageId> for CorrelationId {
    fn eq(&self, other: &MessageId) -> bool {
        self.as_message_id() == Some(*other)
    }
}

impl PartialEq<CorrelationId> for MessageId {
    fn eq(&self, other: &CorrelationId) -> bool {
        other == self
    }
}

impl FromStr for CorrelationId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Own(id) => id.fmt(f),
            Id::Foreign(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({self})")
    }
}

impl Serialize for CorrelationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Id::Own(id) => {
                let mut printed = Uuid::encode_buffer();
                serializer.serialize_str(id.as_uuid().hyphenated().encode_lower(&mut printed))
            }
            Id::Foreign(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for CorrelationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_carried_unchanged_and_equal_texts_are_equal() {
        let own = "0190f5d6-0000-7000-8000-00000000000a";
        let upper = own.to_uppercase();
        for text in [own, &upper, &own.replace('-', ""), "txn-abc-123", "é 🍋", "\0"] {
            let id: CorrelationId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<CorrelationId>(&json).unwrap(), id);
            assert_eq!(id.as_message_id().is_some(), text == own, "{text}");
        }
        let id: MessageId = own.parse().unwrap();
        assert_eq!(own.parse::<CorrelationId>().unwrap(), CorrelationId::from(id));
        assert_ne!(upper.parse::<CorrelationId>().unwrap(), id);
    }

    #[test]
    fn an_empty_or_too_long_one_is_refused() {
        assert!(CorrelationId::new("").is_err());
        assert!(CorrelationId::new(&"x".repeat(CORRELATION_ID_BYTES_MAX)).is_ok());
        assert!(CorrelationId::new(&"x".repeat(CORRELATION_ID_BYTES_MAX + 1)).is_err());
    }
}
