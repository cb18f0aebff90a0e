//! The AMQP properties of a message, for tools that know AMQP and not the message's encoding.

use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use mamey_core::message::{Metadata, WireMessage};
use mamey_core::{Error, Result, Retry};

/// The delivery mode of a message that survives the broker's restart.
pub(crate) const PERSISTENT: u8 = 2;

/// The longest text of a property, in bytes: AMQP's short string.
const PROPERTY_BYTES_MAX: usize = 255;

/// The properties of a message with these headers.
///
/// # Errors
/// `LimitExceeded` for a media type that is too long for a property.
pub(super) fn with_headers(
    headers: FieldTable,
    metadata: &Metadata,
    wire: &WireMessage,
) -> Result<BasicProperties> {
    let content_type = short(&wire.content_type).ok_or_else(|| {
        Error::limit_exceeded(format!(
            "the media type of `{}` has {} bytes, AMQP carries {PROPERTY_BYTES_MAX}; use a \
             shorter one",
            metadata.name,
            wire.content_type.len()
        ))
        .with_retry(Retry::Never)
    })?;
    let seconds = u64::try_from(metadata.time.as_millis() / 1000).unwrap_or_default();
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(content_type)
        .with_message_id(metadata.id.to_string().into())
        .with_timestamp(seconds)
        .with_headers(headers);
    // A text that is too long for a property is still in the message.
    if let Some(id) = short(&metadata.correlation_id.to_string()) {
        properties = properties.with_correlation_id(id);
    }
    if let Some(name) = short(&metadata.name) {
        properties = properties.with_type(name);
    }
    if let Some(sender) = short(&metadata.sender) {
        properties = properties.with_app_id(sender);
    }
    Ok(properties)
}

/// Whether a text fits into a property.
pub(super) const fn fits(text: &str) -> bool {
    text.len() <= PROPERTY_BYTES_MAX
}

fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}
