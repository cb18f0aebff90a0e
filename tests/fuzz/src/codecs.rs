//! Bodies and properties of messages: what is read can be written, and is then read as it was.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use mamey::ErrorKind;
use mamey::message::{
    CloudEventsBinary, CloudEventsJson, Codec, Envelope, Metadata, Plain, WireMessage,
};

/// The input is the body.
pub(crate) fn cloud_events_json(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    round_trip(&CloudEventsJson::default(), &WireMessage::new(body));
}

/// The input is a head of headers, as of AMQP, and a body; see [`wire`].
pub(crate) fn cloud_events_binary(input: &[u8]) {
    round_trip(&CloudEventsBinary::default(), &wire(input));
}

/// As [`cloud_events_binary`].
pub(crate) fn plain(input: &[u8]) {
    round_trip(&Plain::default(), &wire(input));
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

fn round_trip(codec: &dyn Codec, wire: &WireMessage) {
    let envelope = match codec.decode(wire) {
        Ok(envelope) => envelope,
        Err(error) => {
            let expected = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::LimitExceeded);
            assert!(expected, "bad input is the sender's fault: {error:?}");
            return;
        }
    };
    let again = codec.encode(&envelope).expect("what was read can be written");
    let again = codec.decode(&again).expect("what was written can be read");
    assert_eq!(again, envelope, "a message changed on its way");
    survives_its_row(&envelope);
}

/// A message that is parked or forwarded is kept as a row: it must come out of it as it went in.
fn survives_its_row(envelope: &Envelope) {
    let row = serde_json::to_vec(&envelope.metadata).expect("metadata can be stored");
    let again: Metadata = serde_json::from_slice(&row).expect("stored metadata can be read");
    assert_eq!(again, envelope.metadata, "metadata changed in the store");
    assert!(envelope.metadata.slot() < mamey::message::SLOTS, "no partition has this slot");
}
