//! Bodies and properties of messages: what is read can be written, and is then read as it was.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mamey::message::{
    ATTRIBUTE_BYTES_MAX, CloudEventsBinary, CloudEventsJson, Codec, ContextName, CorrelationId,
    Envelope, Headers, Key, MessageIdentity, Metadata, Plain, Target, TraceContext, WireMessage,
    holds_cloud_event, is_json,
};
use mamey::{ErrorKind, MessageId, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

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
        let Ok(Value::Object(body)) = serde_json::from_slice(&wire.body) else { return };
        keeps_identity(&envelope, body["sender"].as_str().unwrap_or_default(), id);
    }
}

/// The input is a head of attributes and a body, from which a legal event is made, in both modes. It
/// is read, whatever its attributes are.
pub(crate) fn foreign(input: &[u8]) {
    let mut wire = wire(input);
    let content_type = std::mem::take(&mut wire.content_type);
    let attributes = &mut wire.properties;
    for name in ["content-type", "data", "data_base64", "datacontenttype"] {
        attributes.remove(name);
    }
    attributes.insert("specversion".into(), "1.0".to_owned());
    for name in ["id", "source", "type"] {
        let given = attributes.entry(name.into()).or_default();
        if given.is_empty() {
            name.clone_into(given);
        }
    }
    if attributes["type"].len() > ATTRIBUTE_BYTES_MAX {
        return;
    }
    if !content_type.is_empty() {
        attributes.insert("datacontenttype".into(), content_type.clone().into_owned());
    }
    let binary = read_legal(&CloudEventsBinary::default(), &wire);
    assert_eq!(binary.payload, wire.body, "the data changed");
    let structured = read_legal(&CloudEventsJson::default(), &structured(&wire));
    keeps_identity(&structured, &wire.properties["source"], &wire.properties["id"]);
    assert_eq!(structured.payload, wire.body, "the data changed");
    assert_eq!(structured.metadata.id, binary.metadata.id, "the modes differ");
    assert_eq!(structured.metadata.headers, binary.metadata.headers, "the modes differ");
}

/// The same event in one body, which is recognized as one.
fn structured(wire: &WireMessage) -> WireMessage {
    let mut event: Map<String, Value> =
        wire.properties.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    let is_json = wire.properties.get("datacontenttype").is_none_or(|it| is_json(it));
    let data = serde_json::from_slice::<&RawValue>(&wire.body).ok();
    // White space around a value is not part of it.
    let data = data.filter(|data| is_json && data.get().len() == wire.body.len());
    let mut body = match std::str::from_utf8(&wire.body) {
        Ok(text) if !is_json => {
            event.insert("data".into(), json!(text));
            serde_json::to_vec(&event).expect("texts are JSON")
        }
        _ if data.is_none() && !wire.body.is_empty() => {
            event.insert("data_base64".into(), json!(STANDARD.encode(&wire.body)));
            serde_json::to_vec(&event).expect("texts are JSON")
        }
        _ => serde_json::to_vec(&event).expect("texts are JSON"),
    };
    if let Some(data) = data {
        body.pop();
        body.extend(format!(",\"data\":{}}}", data.get()).bytes());
    }
    assert!(holds_cloud_event(&body), "it is recognized by its attributes");
    WireMessage::new(body.into())
}

/// Reads what no reader may refuse.
fn read_legal(codec: &dyn Codec, wire: &WireMessage) -> Envelope {
    if let Err(error) = codec.decode(wire) {
        panic!("a legal event is refused: {error:?}");
    }
    round_trip(codec, wire).expect("it was read")
}

/// The input is a head of fields and a payload, from which an envelope is made as a sender of ours
/// makes it: each encoding gives it back.
pub(crate) fn envelopes(input: &[u8]) {
    let wire = wire(input);
    let field = |name: &str| wire.properties.get(name).map(String::as_str);
    let id = field("id").unwrap_or("1");
    let id = id.parse().unwrap_or_else(|_| MessageId::from_foreign("shop", id));
    let name = field("type").filter(|it| !it.is_empty()).unwrap_or("shop.sold").to_owned();
    let sender = field("source").filter(|it| !it.is_empty()).unwrap_or("shop");
    let time = Timestamp::parse_rfc3339(field("time").unwrap_or_default());
    let target = ContextName::new(field("target").unwrap_or_default());
    let correlation = CorrelationId::new(field("correlationid").unwrap_or_default());
    let trace = TraceContext::parse(field("traceparent").unwrap_or_default(), field("tracestate"));
    let mut headers = Headers::default();
    for (name, value) in &wire.properties {
        // Those that cannot be sent are refused.
        let _ = headers.insert(name, value.clone());
    }
    let metadata = Metadata::new(id, name, sender)
        .with_version(field("messageversion").and_then(|it| it.parse().ok()).unwrap_or(1))
        .with_target(target.map_or(Target::Any, Target::Service))
        .with_correlation_id(correlation.unwrap_or_else(|_| id.into()))
        .with_causation_id(CorrelationId::new(field("causationid").unwrap_or_default()).ok())
        .with_time(time.unwrap_or_default())
        .with_key(field("partitionkey").map(Key::from))
        .with_tenant(field("tenant").map(Into::into))
        .with_trace(trace.ok())
        .with_headers(headers);
    if metadata.check().is_err() {
        return;
    }
    let plain = Envelope::new(metadata.clone(), wire.body.clone());
    if serde_json::from_slice::<&RawValue>(&wire.body)
        .is_ok_and(|it| it.get().len() == wire.body.len())
    {
        comes_back(&Plain::default(), &plain);
    }
    let content_type = wire.content_type.into_owned();
    let typed = if content_type.is_empty() || content_type.len() > ATTRIBUTE_BYTES_MAX {
        plain
    } else {
        Envelope::new(metadata.with_content_type(content_type), wire.body)
    };
    comes_back(&CloudEventsJson::default(), &typed);
    comes_back(&CloudEventsBinary::default(), &typed);
}

fn comes_back(codec: &dyn Codec, envelope: &Envelope) {
    let wire = codec.encode(envelope).expect("any envelope can be written");
    let again = codec.decode(&wire).expect("what was written can be read");
    assert_eq!(&again, envelope, "a message changed on its way");
    survives_its_row(envelope);
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
            let expected = matches!(
                error.kind(),
                ErrorKind::Invalid | ErrorKind::LimitExceeded | ErrorKind::Unsupported
            );
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
    let is_json = is_json(&envelope.metadata.content_type);
    match event.get("data") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if !is_json => {
            assert_eq!(envelope.payload, text.as_bytes(), "the text changed");
        }
        Some(data) => {
            let payload: Value = serde_json::from_slice(&envelope.payload).expect("data is JSON");
            assert_eq!(&payload, data, "the data changed");
        }
    }
}

/// Source and id are written again as they came.
fn keeps_identity(envelope: &Envelope, source: &str, id: &str) {
    let wire = CloudEventsBinary::default().encode(envelope).expect("any envelope can be written");
    assert_eq!(wire.properties["source"], source, "the source changed");
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
