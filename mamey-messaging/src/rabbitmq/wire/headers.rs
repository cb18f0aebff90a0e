//! The attributes of a message as AMQP headers: written as text, read from whatever type a sender
//! used.

use std::borrow::Cow;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use mamey_core::clock::Timestamp;
use mamey_core::message::attribute::{
    ID, SOURCE, SPEC_VERSION, TIME, TRACEPARENT, TRACESTATE, TYPE, is_reserved,
};
use mamey_core::message::{Metadata, WireMessage};
use mamey_core::{Error, Result};

/// Before each CloudEvents attribute in a header.
pub(super) const PREFIX: &str = "cloudEvents_";

/// What is read before an attribute, in any case, and whether the attribute's own case is lost too:
/// the binding of CloudEvents to AMQP allows the first two, bridges from HTTP and Kafka leave the
/// others, and a header of HTTP has no case.
const PREFIXES: [(&str, bool); 5] = [
    (PREFIX, false),
    ("cloudEvents:", false),
    ("cloudEvents-", true),
    ("ce-", true),
    ("ce_", true),
];

/// The media type, where a bridge left it in a header.
const CONTENT_TYPE: &str = "content-type";

/// The limit of all headers together, in bytes: they have to fit into one frame, for which brokers
/// allow 128 KiB.
pub(super) const HEADERS_BYTES_MAX: usize = 96 * 1024;

/// What a header takes beside its name and value, in bytes.
const HEADER_OVERHEAD_BYTES: usize = 8;

/// Written without a prefix too, for tracers that do not know CloudEvents.
const TRACE_HEADERS: [&str; 2] = [TRACEPARENT, TRACESTATE];

/// Attributes without which there is no message.
const ESSENTIAL: [&str; 4] = [SPEC_VERSION, ID, SOURCE, TYPE];

/// How often a quorum queue has delivered a message before; absent the first time.
const DELIVERIES: &str = "x-delivery-count";

/// The attribute that a header of CloudEvents' binary mode holds.
pub(super) fn attribute(header: &str) -> Option<Cow<'_, str>> {
    let (name, without_case) = PREFIXES.into_iter().find_map(|(prefix, without_case)| {
        let start = header.get(..prefix.len())?;
        let name = header.get(prefix.len()..)?;
        start.eq_ignore_ascii_case(prefix).then_some((name, without_case))
    })?;
    if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Borrowed(name));
    }
    let lower = name.to_ascii_lowercase();
    let is_known = without_case || lower == SPEC_VERSION || is_reserved(&lower);
    Some(if is_known { Cow::Owned(lower) } else { Cow::Borrowed(name) })
}

/// The attribute that a header of the plain form holds: it has the same name, unless it is one that
/// brokers add.
pub(super) fn same_name(header: &str) -> Option<Cow<'_, str>> {
    let is_of_a_broker = header.starts_with("x-") || matches!(header, "CC" | "BCC");
    (!is_of_a_broker).then_some(Cow::Borrowed(header))
}

/// Whether the headers are those of binary mode. Those without a version are broken, but they are
/// nothing else.
pub(super) fn are_binary_mode(headers: &FieldTable) -> bool {
    let mut seen = [false; ESSENTIAL.len()];
    for header in headers.inner().keys() {
        let known = attribute(header.as_str());
        if let Some(at) = known.and_then(|name| ESSENTIAL.iter().position(|it| *it == name)) {
            seen[at] = true;
        }
    }
    matches!(seen, [true, ..] | [_, true, true, true])
}

/// The media type of the body: the property, or the header in which a bridge left it.
pub(super) fn content_type(properties: &BasicProperties) -> Cow<'_, str> {
    if let Some(content_type) = properties.content_type() {
        return Cow::Borrowed(content_type.as_str());
    }
    let mut headers = properties.headers().iter().flat_map(|headers| headers.inner());
    let found = headers.find(|(name, _)| name.as_str().eq_ignore_ascii_case(CONTENT_TYPE));
    found.and_then(|(_, value)| text(value)).unwrap_or_default().into()
}

/// How many bytes the attributes take as headers, about.
pub(super) fn bytes(wire: &WireMessage) -> usize {
    let each = |(name, value): (&Cow<'_, str>, &String)| {
        PREFIX.len() + name.len() + value.len() + HEADER_OVERHEAD_BYTES
    };
    wire.properties.iter().map(each).sum()
}

/// Moves all attributes into headers.
pub(super) fn put_all(
    headers: &mut FieldTable,
    prefix: &str,
    wire: &mut WireMessage,
) -> Result<()> {
    for (name, value) in std::mem::take(&mut wire.properties) {
        let name = ShortString::try_new(format!("{prefix}{name}"))
            .map_err(|cause| Error::invalid(format!("`{name}` cannot name a header: {cause}")))?;
        headers.insert(name, AMQPValue::LongString(value.into()));
    }
    Ok(())
}

pub(super) fn put_trace(headers: &mut FieldTable, metadata: &Metadata) {
    let Some(trace) = &metadata.trace else {
        return;
    };
    let values = [Some(trace.traceparent()), trace.tracestate().map(str::to_owned)];
    for (name, value) in TRACE_HEADERS.into_iter().zip(values) {
        if let Some(value) = value {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
    }
}

/// Takes the headers that hold an attribute, as text, and returns how many have a value that is no
/// text.
///
/// # Errors
/// `Invalid` when a message cannot be without this attribute.
pub(super) fn take(
    headers: &FieldTable,
    attribute_of: fn(&str) -> Option<Cow<'_, str>>,
    wire: &mut WireMessage,
) -> Result<u32> {
    let mut dropped = 0;
    for (header, value) in headers.inner() {
        let Some(name) = attribute_of(header.as_str()) else {
            continue;
        };
        let moment = (*name == *TIME).then(|| moment(value)).flatten();
        let Some(text) = moment.or_else(|| text(value)) else {
            if ESSENTIAL.contains(&&*name) {
                let message = format!("header `{header}` is not text in UTF-8: send it as text");
                return Err(Error::invalid(message));
            }
            dropped += 1;
            continue;
        };
        match wire.properties.get(&*name) {
            Some(known) if *known == text => continue,
            Some(_) if ESSENTIAL.contains(&&*name) => return Err(occurs_twice(&name)),
            Some(_) => dropped += 1,
            None => {}
        }
        wire.properties.insert(Cow::Owned(name.into_owned()), text);
    }
    Ok(dropped)
}

fn occurs_twice(name: &str) -> Error {
    Error::invalid(format!(
        "attribute `{name}` is in two headers with different values: send it once, as \
         `{PREFIX}{name}`"
    ))
}

/// How often the broker has delivered a message before, each time without an answer.
pub(crate) fn failed_deliveries(properties: &BasicProperties) -> u32 {
    let headers = properties.headers().as_ref();
    let count = match headers.and_then(|headers| headers.inner().get(DELIVERIES)) {
        Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).ok(),
        Some(AMQPValue::LongInt(count)) => u32::try_from(*count).ok(),
        Some(AMQPValue::LongUInt(count)) => Some(*count),
        Some(AMQPValue::ShortInt(count)) => u32::try_from(*count).ok(),
        Some(AMQPValue::ShortShortInt(count)) => u32::try_from(*count).ok(),
        _ => None,
    };
    count.unwrap_or_default()
}

/// A time that is not text: the binding of CloudEvents to AMQP lets senders write milliseconds
/// since the epoch, and AMQP 0.9.1 has a type of its own, in seconds.
fn moment(value: &AMQPValue) -> Option<String> {
    let micros = match value {
        AMQPValue::LongLongInt(millis) => millis.checked_mul(1000)?,
        AMQPValue::LongInt(millis) => i64::from(*millis) * 1000,
        AMQPValue::LongUInt(millis) => i64::from(*millis) * 1000,
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds).ok()?.checked_mul(1_000_000)?,
        _ => return None,
    };
    Some(Timestamp::from_micros(micros).to_string())
}

/// A decimal number: an integer with the places of its fraction.
fn decimal(number: &DecimalValue) -> String {
    let places = usize::from(number.scale);
    let mut digits = format!("{:0width$}", number.value, width = places + 1);
    if places > 0 {
        digits.insert(digits.len() - places, '.');
    }
    digits
}

/// A header's value as text; `None` for tables, lists and other types that no attribute has.
pub(crate) fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok()?,
        AMQPValue::ByteArray(bytes) => String::from_utf8(bytes.as_slice().to_vec()).ok()?,
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::DecimalValue(number) => decimal(number),
        AMQPValue::Timestamp(_) => moment(value)?,
        _ => return None,
    })
}
