//! Writes envelopes as AMQP messages, and reads messages of every encoding.

mod headers;
#[cfg(test)]
mod legal_test;
mod properties;

use std::borrow::Cow;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::FieldTable;
use mamey_core::message::attribute::ID;
use mamey_core::message::{
    CloudEventsBinary, CloudEventsJson, Codec, Envelope, Metadata, Plain, WireMessage,
    holds_cloud_event, is_cloud_event,
};
use mamey_core::{Error, Result, Retry};

use headers::{
    HEADERS_BYTES_MAX, PREFIX, are_binary_mode, attribute, content_type, put_all, put_trace,
    same_name, take,
};

pub(super) use headers::{failed_deliveries, text};
pub(super) use properties::PERSISTENT;

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

/// The codecs of all encodings.
pub(super) struct Wire {
    encoding: RabbitEncoding,
    binary: CloudEventsBinary,
    json: CloudEventsJson,
    plain: Plain,
}

impl Wire {
    pub(super) fn new(encoding: RabbitEncoding, body_bytes_max: usize) -> Self {
        Self {
            encoding,
            binary: CloudEventsBinary::default().with_body_bytes_max(body_bytes_max),
            json: CloudEventsJson::default().with_body_bytes_max(body_bytes_max),
            plain: Plain::default().with_body_bytes_max(body_bytes_max),
        }
    }

    /// Writes an envelope as properties and body.
    ///
    /// # Errors
    /// As the codec; `LimitExceeded` for headers that fit no frame in the plain form, and for a
    /// media type that fits no AMQP property.
    pub(super) fn write(&self, envelope: &Envelope) -> Result<(BasicProperties, Bytes)> {
        let mut headers = FieldTable::default();
        let wire = match self.encoding {
            RabbitEncoding::CloudEventsBinary => {
                let mut wire = self.binary.encode(envelope)?;
                // What does not fit into headers or a property goes into the body of the
                // structured mode.
                if headers::bytes(&wire) > HEADERS_BYTES_MAX
                    || !properties::fits(&wire.content_type)
                {
                    self.json.encode(envelope)?
                } else {
                    put_all(&mut headers, PREFIX, &mut wire)?;
                    wire
                }
            }
            RabbitEncoding::CloudEventsJson => self.json.encode(envelope)?,
            RabbitEncoding::Plain => {
                let mut wire = self.plain.encode(envelope)?;
                check_headers(&envelope.metadata, headers::bytes(&wire))?;
                put_all(&mut headers, "", &mut wire)?;
                wire
            }
        };
        put_trace(&mut headers, &envelope.metadata);
        let properties = properties::with_headers(headers, &envelope.metadata, &wire)?;
        Ok((properties, wire.body))
    }

    /// Reads a message of any encoding: an event in structured mode if its media type says so, one in
    /// binary mode if its headers do, an event again if [its body does](holds_cloud_event), and else a
    /// plain message.
    ///
    /// # Errors
    /// As the codec, which says what is wrong.
    pub(super) fn read(&self, properties: &BasicProperties, body: &Bytes) -> Result<Envelope> {
        let none = FieldTable::default();
        let headers = properties.headers().as_ref().unwrap_or(&none);
        let content_type = content_type(properties).into_owned();
        let mut wire = WireMessage::new(body.clone()).with_content_type(Cow::Owned(content_type));
        if is_cloud_event(&wire.content_type) {
            return self.json.decode(&wire);
        }
        if are_binary_mode(headers) {
            let dropped = take(headers, attribute, &mut wire)?;
            let mut envelope = self.binary.decode(&wire)?;
            envelope.metadata.headers.count_dropped(dropped);
            return Ok(envelope);
        }
        // A sender may leave out what makes the body an event, or call it `application/json`.
        if holds_cloud_event(body) {
            return self.json.decode(&wire);
        }
        let dropped = take(headers, same_name, &mut wire)?;
        if let Some(id) = properties.message_id() {
            // A foreign sender's id of the message, unless a header of ours holds it.
            wire.properties.entry(ID.into()).or_insert_with(|| id.as_str().to_owned());
        }
        let mut envelope = self.plain.decode(&wire)?;
        envelope.metadata.headers.count_dropped(dropped);
        Ok(envelope)
    }
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

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, FieldArray, ShortString};
    use mamey_core::clock::{Clock, SystemClock};
    use mamey_core::id::{IdSource, UuidV7Source};
    use mamey_core::message::{BODY_BYTES_MAX, ContextName, Headers, Target, TraceContext};

    use super::*;

    const ENCODINGS: [RabbitEncoding; 3] =
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
    fn every_encoding_is_read_whichever_is_written() {
        let reader = Wire::new(RabbitEncoding::default(), BODY_BYTES_MAX);
        for encoding in ENCODINGS {
            let sent = sample();
            let (properties, body) = Wire::new(encoding, BODY_BYTES_MAX).write(&sent).unwrap();
            assert_eq!(reader.read(&properties, &body).unwrap(), sent, "{encoding:?}");
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
        let now = SystemClock.now().as_millis();
        assert!(read(AMQPValue::LongString("noon".into())).unwrap() >= now);
    }

    #[test]
    fn odd_headers_and_media_types_cost_no_message() {
        let wire = Wire::new(RabbitEncoding::default(), BODY_BYTES_MAX);
        let mut headers = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(text.into());
        for (name, value) in [
            ("specversion", text("1.0")),
            ("id", AMQPValue::LongLongInt(17)),
            ("source", text("/shop")),
            ("type", text("shop.sold")),
            ("correlationid", text(&"txn ".repeat(100))),
            ("X_Odd", AMQPValue::Double(1.5)),
            ("list", AMQPValue::FieldArray(FieldArray::default())),
            ("latin", AMQPValue::LongString([0xff][..].into())),
        ] {
            headers.insert(format!("{PREFIX}{name}").into(), value);
        }
        let properties = BasicProperties::default().with_headers(headers);
        let one = wire.read(&properties, &Bytes::new()).unwrap();
        assert_eq!(one.metadata.id_as_sent().to_string(), "17");
        assert_eq!(one.metadata.headers.get("X_Odd"), Some("1.5"));
        assert_eq!(one.metadata.headers.dropped(), 2);
        for media in ["application/json", &format!("text/plain; of={}", "x".repeat(300))] {
            let metadata = one.metadata.clone().with_content_type(media.to_owned());
            let sent = Envelope::new(metadata, Bytes::from_static(b"1"));
            let (properties, body) = wire.write(&sent).unwrap();
            assert_eq!(wire.read(&properties, &body).unwrap(), sent, "{media}");
        }
        let media = "application/cloudevents-batch+json; charset=utf-8";
        let properties = BasicProperties::default().with_content_type(media.into());
        let error = wire.read(&properties, &Bytes::from_static(b"[]")).unwrap_err().to_string();
        assert!(error.contains("batch"), "{error}");
    }

    #[test]
    fn a_plain_message_takes_no_headers_of_the_broker() {
        let wire = Wire::new(RabbitEncoding::Plain, BODY_BYTES_MAX);
        let mut headers = FieldTable::default();
        for name in ["x-delivery-count", "x-death", "CC", "region"] {
            headers.insert(name.into(), AMQPValue::LongString("1".into()));
        }
        let body = Bytes::from_static(br#"{"sender":"shop","type":"shop.sold","payload":{}}"#);
        let properties = BasicProperties::default().with_headers(headers);
        let read = wire.read(&properties, &body).unwrap().metadata.headers;
        assert_eq!(read.iter().collect::<Vec<_>>(), [("region", "1")]);
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
