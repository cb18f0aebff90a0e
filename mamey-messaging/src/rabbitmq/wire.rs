//! Writes envelopes as AMQP messages, and reads them back whichever form they have.

use std::borrow::Cow;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use mamey_core::clock::Timestamp;
use mamey_core::message::attribute::{ID, SPEC_VERSION, TIME, TRACEPARENT, TRACESTATE};
use mamey_core::message::{
    CloudEventsBinary, CloudEventsJson, Codec, Envelope, Metadata, Plain, WireMessage,
    is_cloud_event,
};
use mamey_core::{Error, Result, Retry};

/// How messages are written for RabbitMQ. All encodings are read, whichever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RabbitEncoding {
    /// CloudEvents in binary mode: attributes in headers, the payload as the body.
    #[default]
    CloudEventsBinary,
    /// CloudEvents in structured mode: one JSON body.
    CloudEventsJson,
    /// The plain form `{sender, target, type, payload}`.
    Plain,
}

/// Before each CloudEvents attribute in a header.
const PREFIX: &str = "cloudEvents_";

/// Which is read as well: the binding of CloudEvents to AMQP allows both.
const OTHER_PREFIX: &str = "cloudEvents:";

/// How large all headers may be together, in bytes: they have to fit into one frame, of which
/// brokers allow 128 KiB. What has more travels in structured mode.
const HEADERS_BYTES_MAX: usize = 96 * 1024;

/// What a header takes beside its name and value, in bytes.
const HEADER_OVERHEAD_BYTES: usize = 8;

/// The longest text of a property, in bytes: AMQP's short string.
const PROPERTY_BYTES_MAX: usize = 255;

/// The property that says a message survives the broker's restart.
pub(super) const PERSISTENT: u8 = 2;

/// Also written, for tracers that know nothing of CloudEvents.
const TRACE_HEADERS: [&str; 2] = [TRACEPARENT, TRACESTATE];

/// How often a quorum queue has delivered a message in vain, absent the first time.
const DELIVERIES: &str = "x-delivery-count";

/// The codecs of all forms.
pub(super) struct Wire {
    encoding: RabbitEncoding,
    binary: CloudEventsBinary,
    json: CloudEventsJson,
    plain: Plain,
}

impl Wire {
    pub(super) fn new(encoding: RabbitEncoding, body_bytes_max: usize) -> Self {
        let mut plain = Plain::default();
        plain.body_bytes_max = body_bytes_max;
        Self {
            encoding,
            binary: CloudEventsBinary::default().with_body_bytes_max(body_bytes_max),
            json: CloudEventsJson::default().with_body_bytes_max(body_bytes_max),
            plain,
        }
    }

    /// Writes an envelope as properties and body.
    ///
    /// # Errors
    /// As the codec; `LimitExceeded` for a media type that fits no AMQP property.
    pub(super) fn write(&self, envelope: &Envelope) -> Result<(BasicProperties, Bytes)> {
        let mut headers = FieldTable::default();
        let wire = match self.encoding {
            RabbitEncoding::CloudEventsBinary => {
                let mut wire = self.binary.encode(envelope)?;
                if headers_bytes(&wire) > HEADERS_BYTES_MAX {
                    self.json.encode(envelope)?
                } else {
                    put_all(&mut headers, PREFIX, &mut wire)?;
                    wire
                }
            }
            RabbitEncoding::CloudEventsJson => self.json.encode(envelope)?,
            RabbitEncoding::Plain => {
                let mut wire = self.plain.encode(envelope)?;
                check_headers(&envelope.metadata, headers_bytes(&wire))?;
                put_all(&mut headers, "", &mut wire)?;
                wire
            }
        };
        put_trace(&mut headers, &envelope.metadata);
        let properties = properties(&envelope.metadata, &wire, headers)?;
        Ok((properties, wire.body))
    }

    /// Reads a message of any form.
    ///
    /// # Errors
    /// As the codec, saying what is wrong.
    pub(super) fn read(&self, properties: &BasicProperties, body: &Bytes) -> Result<Envelope> {
        let none = FieldTable::default();
        let headers = properties.headers().as_ref().unwrap_or(&none);
        let content_type = properties.content_type().as_ref().map_or("", ShortString::as_str);
        let mut wire =
            WireMessage::new(body.clone()).with_content_type(Cow::Owned(content_type.to_owned()));
        if is_cloud_event(content_type) {
            return self.json.decode(&wire);
        }
        let names = || headers.inner().keys().map(ShortString::as_str);
        if names().any(|name| attribute(name) == Some(SPEC_VERSION)) {
            take(headers, attribute, &mut wire)?;
            return self.binary.decode(&wire);
        }
        take(headers, whole, &mut wire)?;
        if let Some(id) = properties.message_id() {
            // A foreign sender's own identity of the message; the header is ours.
            wire.properties.entry(ID.into()).or_insert_with(|| id.as_str().to_owned());
        }
        self.plain.decode(&wire)
    }
}

/// How often the broker has delivered a message in vain.
pub(super) fn failed_deliveries(properties: &BasicProperties) -> u32 {
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

fn attribute(header: &str) -> Option<&str> {
    header.strip_prefix(PREFIX).or_else(|| header.strip_prefix(OTHER_PREFIX))
}

/// In the plain form a header is called what it is.
const fn whole(header: &str) -> Option<&str> {
    Some(header)
}

fn headers_bytes(wire: &WireMessage) -> usize {
    let each = |(name, value): (&Cow<'_, str>, &String)| {
        PREFIX.len() + name.len() + value.len() + HEADER_OVERHEAD_BYTES
    };
    wire.properties.iter().map(each).sum()
}

fn check_headers(metadata: &Metadata, bytes: usize) -> Result<()> {
    if bytes <= HEADERS_BYTES_MAX {
        return Ok(());
    }
    Err(Error::limit_exceeded(format!(
        "the headers of `{}` have {bytes} bytes, the limit in the plain form is \
         {HEADERS_BYTES_MAX}; put them into the payload",
        metadata.name
    ))
    .with_retry(Retry::Never))
}

/// Moves all attributes into headers.
fn put_all(headers: &mut FieldTable, prefix: &str, wire: &mut WireMessage) -> Result<()> {
    for (name, value) in std::mem::take(&mut wire.properties) {
        let name = ShortString::try_new(format!("{prefix}{name}"))
            .map_err(|cause| Error::invalid(format!("`{name}` cannot name a header: {cause}")))?;
        headers.insert(name, AMQPValue::LongString(value.into()));
    }
    Ok(())
}

fn put_trace(headers: &mut FieldTable, metadata: &Metadata) {
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

fn properties(
    metadata: &Metadata,
    wire: &WireMessage,
    headers: FieldTable,
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
        .with_correlation_id(metadata.correlation_id.to_string().into())
        .with_timestamp(seconds)
        .with_headers(headers);
    // What is too long for a property is in the message all the same.
    if let Some(name) = short(&metadata.name) {
        properties = properties.with_type(name);
    }
    if let Some(sender) = short(&metadata.sender) {
        properties = properties.with_app_id(sender);
    }
    Ok(properties)
}

fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}

/// Takes the headers that `name_of` knows, as text.
fn take(
    headers: &FieldTable,
    name_of: fn(&str) -> Option<&str>,
    wire: &mut WireMessage,
) -> Result<()> {
    for (header, value) in headers.inner() {
        let Some(name) = name_of(header.as_str()) else {
            continue;
        };
        let moment = (name == TIME).then(|| moment(value)).flatten();
        if let Some(text) =
            moment.map_or_else(|| text(header.as_str(), value), |it| Ok(Some(it)))?
        {
            wire.properties.insert(Cow::Owned(name.to_owned()), text);
        }
    }
    Ok(())
}

/// A time that is no text: the binding of CloudEvents to AMQP lets senders write milliseconds since
/// the epoch, and AMQP 0.9.1 has a type of its own, in seconds.
fn moment(value: &AMQPValue) -> Option<String> {
    let micros = match value {
        AMQPValue::LongLongInt(millis) => millis.checked_mul(1000)?,
        AMQPValue::LongInt(millis) => i64::from(*millis) * 1000,
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds).ok()?.checked_mul(1_000_000)?,
        _ => return None,
    };
    Some(Timestamp::from_micros(micros).to_string())
}

/// A header's value as text; `None` for tables, lists and the like, which no attribute is.
fn text(header: &str, value: &AMQPValue) -> Result<Option<String>> {
    Ok(Some(match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec())
            .map_err(|_| Error::invalid(format!("header `{header}` is no text in UTF-8")))?,
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use mamey_core::id::{IdSource, UuidV7Source};
    use mamey_core::message::{BODY_BYTES_MAX, ContextName, Headers, Target, TraceContext};

    use super::*;

    const FORMS: [RabbitEncoding; 3] =
        [RabbitEncoding::CloudEventsBinary, RabbitEncoding::CloudEventsJson, RabbitEncoding::Plain];

    fn sample() -> Envelope {
        let ids = UuidV7Source::default();
        let mut metadata = Metadata::new(ids.message_id(), "orders.order-placed", "orders");
        metadata.target = Target::Service(ContextName::new("payments").unwrap());
        metadata.key = Some("order-1".into());
        metadata.trace = Some(TraceContext::root(&ids));
        metadata.headers.insert("region", "eu").unwrap();
        Envelope::new(metadata, Bytes::from_static(br#"{"a":1}"#))
    }

    #[test]
    fn every_form_is_read_whichever_is_written() {
        let reader = Wire::new(RabbitEncoding::default(), BODY_BYTES_MAX);
        for form in FORMS {
            let sent = sample();
            let (properties, body) = Wire::new(form, BODY_BYTES_MAX).write(&sent).unwrap();
            assert_eq!(reader.read(&properties, &body).unwrap(), sent, "{form:?}");
            let text = |property: &Option<ShortString>| property.clone().unwrap().to_string();
            assert_eq!(text(properties.message_id()), sent.metadata.id.to_string());
            assert_eq!(text(properties.kind()), "orders.order-placed");
            assert_eq!(text(properties.app_id()), "orders");
            assert_eq!(properties.delivery_mode(), &Some(PERSISTENT));
            assert!(properties.headers().as_ref().unwrap().contains_key("traceparent"));
        }
    }

    #[test]
    fn headers_that_fit_no_frame_travel_in_the_body() {
        let mut sent = sample();
        sent.metadata.headers = Headers::default();
        for number in 0..32 {
            sent.metadata.headers.insert(&format!("h{number}"), "x".repeat(4096)).unwrap();
        }
        let wire = Wire::new(RabbitEncoding::default(), BODY_BYTES_MAX);
        let (properties, body) = wire.write(&sent).unwrap();
        assert!(properties.headers().as_ref().unwrap().inner().len() <= 2);
        assert_eq!(wire.read(&properties, &body).unwrap(), sent);
        let error = Wire::new(RabbitEncoding::Plain, BODY_BYTES_MAX).write(&sent).unwrap_err();
        assert!(error.to_string().contains("put them into the payload"), "{error}");
    }

    #[test]
    fn a_time_may_be_a_number() {
        let read = |time: AMQPValue| {
            let mut headers = FieldTable::default();
            for (name, value) in
                [("specversion", "1.0"), ("id", "A-1"), ("source", "shop"), ("type", "shop.sold")]
            {
                let value = AMQPValue::LongString(value.into());
                headers.insert(format!("{PREFIX}{name}").into(), value);
            }
            headers.insert(format!("{PREFIX}time").into(), time);
            let properties = BasicProperties::default().with_headers(headers);
            let wire = Wire::new(RabbitEncoding::default(), BODY_BYTES_MAX);
            wire.read(&properties, &Bytes::new()).map(|it| it.metadata.time.as_millis())
        };
        let text = AMQPValue::LongString("2023-11-14T22:13:20.123Z".into());
        assert_eq!(read(text).unwrap(), 1_700_000_000_123);
        assert_eq!(read(AMQPValue::LongLongInt(1_700_000_000_123)).unwrap(), 1_700_000_000_123);
        assert_eq!(read(AMQPValue::Timestamp(1_700_000_000)).unwrap(), 1_700_000_000_000);
        assert!(read(AMQPValue::LongString("noon".into())).is_err());
    }

    #[test]
    fn foreign_messages_are_read_and_bad_ones_refused_by_name() {
        let wire = Wire::new(RabbitEncoding::default(), BODY_BYTES_MAX);
        let body = Bytes::from_static(br#"{"sender":"shop","type":"shop.sold","payload":{}}"#);
        let properties = BasicProperties::default().with_message_id("A-1".into());
        let one = wire.read(&properties, &body).unwrap();
        assert_eq!(
            one,
            wire.read(&properties, &body)
                .map(|two| Envelope::new(two.metadata.with_time(one.metadata.time), two.payload))
                .unwrap()
        );
        let mut headers = FieldTable::default();
        headers.insert("cloudEvents:specversion".into(), AMQPValue::LongString("1.0".into()));
        headers.insert("cloudEvents:id".into(), AMQPValue::LongString([0xff][..].into()));
        let properties = BasicProperties::default().with_headers(headers);
        let error = wire.read(&properties, &body).unwrap_err().to_string();
        assert!(error.contains("cloudEvents:id"), "{error}");
    }
}
