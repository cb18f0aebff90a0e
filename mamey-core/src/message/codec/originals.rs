//! The originals of derived values: kept in headers, and written again as the attributes they came as.

use super::foreign::{is_finer_than_micros, short_form};
use super::table::{ATTRIBUTES, Attribute, Value};
use crate::clock::Timestamp;
use crate::message::Metadata;
use crate::message::attribute::{ID, SOURCE};

/// What every header that keeps an original begins with.
const FOREIGN: &str = "foreign";

impl Attribute {
    /// The value to write: the original text where the message's own value follows from it.
    pub(super) fn value<'a>(&self, message: &'a Metadata) -> Option<Value<'a>> {
        match self.original(message) {
            Some(original) => Some(Value::Text(original)),
            None => (self.write)(message),
        }
    }

    /// The text that came, if it is kept and reading it gives the message's own value.
    fn original<'a>(&self, message: &'a Metadata) -> Option<&'a str> {
        if message.headers.is_empty() {
            return None;
        }
        let original = message.headers.get(self.kept?)?;
        let follows = match (self.write)(message)? {
            Value::Id(_) => self.name == ID && message.foreign_id().is_some(),
            Value::Time(time) => {
                is_finer_than_micros(original)
                    && Timestamp::parse_rfc3339(original).is_ok_and(|it| it == time)
            }
            own => {
                self.limit.is_some_and(|(_, bytes_max)| original.len() > bytes_max)
                    && own.to_string() == short_form(original)
            }
        };
        follows.then_some(original)
    }
}

/// The source to write, as [`Attribute::value`] has it.
pub(super) fn source(message: &Metadata) -> &str {
    let source = ATTRIBUTES.iter().find(|it| it.name == SOURCE);
    source.and_then(|it| it.original(message)).unwrap_or(&message.sender)
}

/// The headers that are written beside the attributes: all but the originals that are written as
/// attributes.
pub(super) fn headers(message: &Metadata) -> impl Iterator<Item = (&str, &str)> {
    let is_written_as_attribute = |name: &str| {
        name.starts_with(FOREIGN)
            && ATTRIBUTES.iter().any(|it| it.kept == Some(name) && it.original(message).is_some())
    };
    message.headers.iter().filter(move |(name, _)| !is_written_as_attribute(name))
}
