//! Bodies and properties of messages: what is read can be written, and is then read as it was.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use mamey::ErrorKind;
use mamey::message::{
    CloudEventsBinary, CloudEventsJson, Codec, Envelope, MessageIdentity, Metadata, Plain,
    WireMessage,
};
use serde_json::Value;

/// The input is the body.
pub(crate) fn cloud_events_json(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let wire = WireMessage::new(body);
    if let Some(envelope) = round_trip(&CloudEventsJson::default(), &wire) {
        keeps_what_matters(&wire.body, &envelope);
    }
}

/// The input is a head of headers, as of AMQP, and a body; see [`wire`].
pub(crate) fn cloud_events_binary(input: &[u8]) {
    let wire = wire(input);
    if let Some(envelope) = round_trip(&CloudEventsBinary::default(), &wire) {
        assert_eq!(envelope.payload, wire.body, "the data changed");
        keeps_identity(&envelope, &wire.properties["source"], &wire.properties["id"]);
    }
}

/// As [`cloud_events_binary`].
pub(crate) fn plain(input: &[u8]) {
    let wire = wire(input);
    if let Some(envelope) = round_trip(&Plain::default(), &wire)
        && let Some(id) = wire.properties.get("id").filter(|id| !id.is_empty())
    {
        keeps_identity(&envelope, &envelope.metadata.sender, id);
    }
}

/// Lines of `name: value`, an empty line, and the body, as HTTP has it.
fn wire(input: &[u8]) -> WireMessage {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (&[][..], input),
    };
    let head = String::from_utf8_lossy(head);
    let property = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((Cow::Owned(name.to_owned()), value.to_owned()))
    };
    let properties: BTreeMap<Cow<'static, str>, String> =
        head.lines().filter_map(property).collect();
    let content_type = properties.get("content-type").cloned().unwrap_or_default();
    let (content_type, body) = (Cow::Owned(content_type), Bytes::copy_from_slice(body));
    WireMessage::new(body).with_content_type(content_type).with_properties(properties)
}

fn round_trip(codec: &dyn Codec, wire: &WireMessage) -> Option<Envelope> {
    let envelope = match codec.decode(wire) {
        Ok(envelope) => envelope,
        Err(error) => {
            let expected = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::LimitExceeded);
            assert!(expected, "bad input is the sender's fault: {error:?}");
            return None;
        }
    };
    let again = codec.encode(&envelope).expect("what was read can be written");
    let again = codec.decode(&again).expect("what was written can be read");
    assert_eq!(again, envelope, "a message changed on its way");
    survives_its_row(&envelope);
    Some(envelope)
}

/// However odd the rest of an event is, its id, source and data are what was sent.
fn keeps_what_matters(body: &[u8], envelope: &Envelope) {
    // What this reader refuses, such as deep data, is left to the round trip.
    let Ok(Value::Object(event)) = serde_json::from_slice(body) else { return };
    let text = |name: &str| match event.get(name) {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    if !text("id").is_empty() && !text("source").is_empty() {
        keeps_identity(envelope, &text("source"), &text("id"));
    }
    if let Some(data) = event.get("data").filter(|data| !data.is_null()) {
        let payload: Value = serde_json::from_slice(&envelope.payload).expect("data is JSON");
        assert_eq!(&payload, data, "the data changed");
    }
}

/// The id is written again as it came.
fn keeps_identity(envelope: &Envelope, source: &str, id: &str) {
    assert_eq!(&*envelope.metadata.sender, source, "the source changed");
    let wire = CloudEventsBinary::default().encode(envelope).expect("any envelope can be written");
    assert_eq!(wire.properties["id"], id, "the id changed");
    let identity = envelope.metadata.identity();
    assert_eq!(identity_of(source, id), Some(identity), "the identity is source and id alone");
    // The longest source has no longer one beside it.
    assert_ne!(identity_of(&format!("{source}x"), id), Some(identity), "two sources are one");
}

/// The identity of an event that says nothing but source and id.
fn identity_of(source: &str, id: &str) -> Option<MessageIdentity> {
    let attributes = [("specversion", "1.0"), ("type", "t"), ("source", source), ("id", id)];
    let attributes = attributes.map(|(name, value)| (Cow::Borrowed(name), value.to_owned()));
    let wire = WireMessage::new(Bytes::new()).with_properties(attributes.into());
    let envelope = CloudEventsBinary::default().decode(&wire).ok()?;
    Some(envelope.metadata.identity())
}

/// A message that is parked or forwarded is kept as a row: it must come out of it as it went in.
fn survives_its_row(envelope: &Envelope) {
    let row = serde_json::to_vec(&envelope.metadata).expect("metadata can be stored");
    let again: Metadata = serde_json::from_slice(&row).expect("stored metadata can be read");
    assert_eq!(again, envelope.metadata, "metadata changed in the store");
    assert!(envelope.metadata.slot() < mamey::message::SLOTS, "no partition has this slot");
}
