//! The table of wire attributes: how each is named, written and read, and how long it may be.

use std::fmt;

use serde::{Serialize, Serializer};

use super::foreign::{correlation_id, is_finer_than_micros, message_id, sender, short_form};
use crate::clock::Timestamp;
use crate::id::MessageId;
use crate::message::attribute::{
    CAUSATION_ID, CORRELATION_ID, DATA_CONTENT_TYPE, FOREIGN_CAUSATION_ID, FOREIGN_CONTENT_TYPE,
    FOREIGN_CORRELATION_ID, FOREIGN_ID, FOREIGN_KEY, FOREIGN_SOURCE, FOREIGN_TARGET,
    FOREIGN_TENANT, FOREIGN_TIME, FOREIGN_TRACEPARENT, FOREIGN_TRACESTATE, FOREIGN_VERSION, ID,
    MESSAGE_VERSION, PARTITION_KEY, SOURCE, TARGET, TENANT, TIME, TRACEPARENT, TRACESTATE, TYPE,
};
use crate::message::correlation_id::prints_as;
use crate::message::media_type::essence;
use crate::message::{
    ATTRIBUTE_BYTES_MAX, CORRELATION_ID_BYTES_MAX, ContextName, CorrelationId,
    FOREIGN_HEADER_VALUE_BYTES_MAX, KEY_BYTES_MAX, Key, Metadata, Target, TraceContext,
};
use crate::{Error, Result, Retry};

/// How much of a name that is too long an error repeats, in characters.
const NAME_CHARS_SHOWN: usize = 64;

/// The media type of a payload whose own is too long even without parameters.
const UNKNOWN_CONTENT_TYPE: &str = "application/octet-stream";

/// One attribute of a message.
pub(super) struct Attribute {
    /// Its name on the wire.
    pub(super) name: &'static str,
    /// What it belongs to, which decides where a codec puts it.
    pub(super) about: About,
    /// The header that keeps a text which cannot be used as it came; without one it is refused.
    pub(super) kept: Option<&'static str>,
    /// What it is called in errors, and how many bytes it may have; `None` for what cannot be long.
    pub(super) limit: Option<(&'static str, usize)>,
    /// Its value; `None` when the message has none.
    pub(super) write: fn(&Metadata) -> Option<Value<'_>>,
    /// Takes over a text that was received.
    pub(super) read: fn(&mut Metadata, &str) -> Taken,
}

/// What a reader made of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is used as it came.
    AsItCame,
    /// A value that follows from it is used.
    Derived,
    /// It cannot be used.
    Not,
}

impl Taken {
    /// `AsItCame`, or else `other`.
    const fn exactly_if(as_it_came: bool, other: Self) -> Self {
        if as_it_came { Self::AsItCame } else { other }
    }
}

/// What an attribute belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Sender, name and target, which the plain form has in its body.
    Address,
    /// The message as a whole.
    Message,
    /// The payload.
    Payload,
}

/// Every attribute, in the order in which they are written. A reader applies them in this order too:
/// the state of a trace comes after the trace.
pub(super) static ATTRIBUTES: [Attribute; 13] = [
    Attribute {
        name: ID,
        about: About::Message,
        kept: Some(FOREIGN_ID),
        limit: None,
        write: |message| Some(Value::Id(message.id)),
        read: |message, text| {
            message.id = message_id(&message.sender, text);
            Taken::exactly_if(prints_as(message.id, text), Taken::Derived)
        },
    },
    Attribute {
        name: SOURCE,
        about: About::Address,
        kept: Some(FOREIGN_SOURCE),
        limit: Some(("sender", ATTRIBUTE_BYTES_MAX)),
        write: |message| Some(Value::Text(&message.sender)),
        read: |message, text| {
            message.sender = sender(text).as_ref().into();
            Taken::exactly_if(text.len() <= ATTRIBUTE_BYTES_MAX, Taken::Derived)
        },
    },
    Attribute {
        name: TYPE,
        about: About::Address,
        kept: None,
        limit: Some(("name", ATTRIBUTE_BYTES_MAX)),
        write: |message| Some(Value::Text(&message.name)),
        read: |message, text| {
            message.name = text.to_owned().into();
            Taken::AsItCame
        },
    },
    Attribute {
        name: MESSAGE_VERSION,
        about: About::Message,
        kept: Some(FOREIGN_VERSION),
        limit: None,
        write: |message| Some(Value::Number(message.version)),
        read: |message, text| {
            let version = text.parse().map(|it| message.version = it);
            Taken::exactly_if(version.is_ok(), Taken::Not)
        },
    },
    Attribute {
        name: TARGET,
        about: About::Address,
        kept: Some(FOREIGN_TARGET),
        limit: None,
        write: |message| match &message.target {
            Target::Any => None,
            Target::Service(name) => Some(Value::Text(name.as_str())),
        },
        // What cannot name a context is another system's word: whoever gets the message is meant.
        read: |message, text| {
            let target = ContextName::new(text).map(|it| message.target = Target::Service(it));
            Taken::exactly_if(target.is_ok(), Taken::Not)
        },
    },
    Attribute {
        name: TIME,
        about: About::Message,
        kept: Some(FOREIGN_TIME),
        limit: None,
        write: |message| Some(Value::Time(message.time)),
        read: |message, text| match Timestamp::parse_rfc3339(text) {
            Ok(time) => {
                message.time = time;
                Taken::exactly_if(!is_finer_than_micros(text), Taken::Derived)
            }
            Err(_) => Taken::Not,
        },
    },
    Attribute {
        name: CORRELATION_ID,
        about: About::Message,
        kept: Some(FOREIGN_CORRELATION_ID),
        limit: Some(("correlation id", CORRELATION_ID_BYTES_MAX)),
        write: |message| Some(Value::Correlation(&message.correlation_id)),
        read: |message, text| {
            if let Some(id) = correlation_id(text) {
                message.correlation_id = id;
            }
            Taken::exactly_if(text.len() <= CORRELATION_ID_BYTES_MAX, Taken::Derived)
        },
    },
    Attribute {
        name: CAUSATION_ID,
        about: About::Message,
        kept: Some(FOREIGN_CAUSATION_ID),
        limit: Some(("causation id", CORRELATION_ID_BYTES_MAX)),
        write: |message| message.causation_id.as_ref().map(Value::Correlation),
        read: |message, text| {
            message.causation_id = correlation_id(text);
            Taken::exactly_if(text.len() <= CORRELATION_ID_BYTES_MAX, Taken::Derived)
        },
    },
    Attribute {
        name: PARTITION_KEY,
        about: About::Message,
        kept: Some(FOREIGN_KEY),
        limit: Some(("key", KEY_BYTES_MAX)),
        write: |message| message.key.as_ref().map(|key| Value::Text(key.as_str())),
        read: |message, text| {
            let fits = text.len() <= KEY_BYTES_MAX;
            message.key = Some(if fits { text.into() } else { Key::from(short_form(text)) });
            Taken::exactly_if(fits, Taken::Derived)
        },
    },
    Attribute {
        name: TENANT,
        about: About::Message,
        kept: Some(FOREIGN_TENANT),
        limit: Some(("tenant", ATTRIBUTE_BYTES_MAX)),
        write: |message| message.tenant.as_deref().map(Value::Text),
        read: |message, text| {
            let fits = text.len() <= ATTRIBUTE_BYTES_MAX;
            message.tenant = Some(if fits { text.into() } else { short_form(text).into() });
            Taken::exactly_if(fits, Taken::Derived)
        },
    },
    Attribute {
        name: TRACEPARENT,
        about: About::Message,
        kept: Some(FOREIGN_TRACEPARENT),
        limit: None,
        write: |message| message.trace.as_ref().map(Value::Trace),
        // A broken trace header must not reject the message: it starts a new trace.
        read: |message, text| {
            message.trace = text.parse().ok();
            Taken::exactly_if(message.trace.is_some(), Taken::Not)
        },
    },
    Attribute {
        name: TRACESTATE,
        about: About::Message,
        kept: Some(FOREIGN_TRACESTATE),
        limit: None,
        write: |message| message.trace.as_ref()?.tracestate().map(Value::Text),
        // Without a trace it has no meaning.
        read: |message, text| {
            message.trace = message.trace.take().map(|trace| trace.with_state(text));
            let is_used = message.trace.as_ref().is_some_and(|it| it.tracestate().is_some());
            Taken::exactly_if(is_used, Taken::Not)
        },
    },
    Attribute {
        name: DATA_CONTENT_TYPE,
        about: About::Payload,
        kept: Some(FOREIGN_CONTENT_TYPE),
        limit: Some(("content type", ATTRIBUTE_BYTES_MAX)),
        write: |message| Some(Value::Text(&message.content_type)),
        read: |message, text| {
            let fits = text.len() <= ATTRIBUTE_BYTES_MAX;
            let text = if fits { text } else { essence(text) };
            match text.len() {
                0 => {}
                1..=ATTRIBUTE_BYTES_MAX => message.content_type = text.to_owned().into(),
                _ => message.content_type = UNKNOWN_CONTENT_TYPE.into(),
            }
            Taken::exactly_if(fits, Taken::Derived)
        },
    },
];

/// A value before it is written: as text, except for the number.
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(u32),
    Id(MessageId),
    Correlation(&'a CorrelationId),
    Time(Timestamp),
    Trace(&'a TraceContext),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Id(id) => id.fmt(f),
            Self::Correlation(id) => id.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Trace(trace) => trace.fmt(f),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Id(id) => id.serialize(serializer),
            Self::Correlation(id) => id.serialize(serializer),
            Self::Time(time) => time.serialize(serializer),
            Self::Trace(trace) => serializer.collect_str(trace),
        }
    }
}

impl Metadata {
    /// Checks the lengths of what came from outside.
    ///
    /// # Errors
    /// `LimitExceeded`, naming what is too long; see [`KEY_BYTES_MAX`] and [`ATTRIBUTE_BYTES_MAX`].
    pub fn check(&self) -> Result<()> {
        for attribute in &ATTRIBUTES {
            if let Some((what, bytes_max)) = attribute.limit
                && let Some(Value::Text(text)) = (attribute.write)(self)
                && text.len() > bytes_max
            {
                return Err(too_long(&self.name, what, text.len(), bytes_max));
            }
        }
        Ok(())
    }
}

/// Checks that a part of the identity of message `name` can be kept as it came.
///
/// # Errors
/// `LimitExceeded` when it cannot.
pub(super) fn check_kept(name: &str, what: &str, text: &str) -> Result<()> {
    if text.len() <= FOREIGN_HEADER_VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(too_long(name, what, text.len(), FOREIGN_HEADER_VALUE_BYTES_MAX))
}

fn too_long(name: &str, what: &str, bytes: usize, bytes_max: usize) -> Error {
    let message = format!(
        "the {what} of `{name:.NAME_CHARS_SHOWN$}` has {bytes} bytes, the limit is {bytes_max}; \
         use a shorter {what}"
    );
    Error::limit_exceeded(message).with_retry(Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::attribute::is_reserved;
    use crate::message::codec::sample::sample;

    #[test]
    fn every_attribute_is_read_as_it_was_written() {
        let sent = sample().metadata;
        let mut read = Metadata::new(MessageId::from_foreign("", ""), "", "");
        for attribute in &ATTRIBUTES {
            let value = (attribute.write)(&sent);
            if let Some(text) = value.map(|value| value.to_string()) {
                let taken = (attribute.read)(&mut read, &text);
                assert_eq!(taken, Taken::AsItCame, "{}", attribute.name);
            }
        }
        read.headers = sent.headers.clone();
        assert_eq!(read, sent);
    }

    #[test]
    fn no_free_header_can_take_the_name_of_an_attribute() {
        for attribute in &ATTRIBUTES {
            assert!(is_reserved(attribute.name), "{}", attribute.name);
        }
    }

    #[test]
    fn lengths_from_outside_are_bounded_by_name() {
        let fine = sample().metadata;
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
}
