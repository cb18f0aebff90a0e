//! The official SDKs of CloudEvents: they read what we write, and we read what they write.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use mamey::message::{CloudEventsBinary, Codec, Envelope, is_json};
use mamey::{MessageId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::golden::Golden;

/// A message as the SDKs' programs take and give it.
#[derive(Serialize, Deserialize)]
struct Message {
    #[serde(default, skip_serializing)]
    name: String,
    content_type: String,
    headers: Map<String, Value>,
    body_base64: String,
}

/// What an SDK says.
#[derive(Deserialize)]
pub(crate) struct Seen {
    read: Vec<Event>,
    written: Vec<Message>,
}

#[derive(Deserialize)]
struct Event {
    attributes: BTreeMap<String, Value>,
    data: Option<Value>,
    data_base64: Option<String>,
}

/// Has a program read these messages.
pub(crate) fn ask(program: &mut Command, messages: &[&Golden]) -> Seen {
    let message = |golden: &&Golden| {
        let headers = golden.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
        Message {
            name: String::new(),
            content_type: golden.content_type().to_owned(),
            headers: headers.collect(),
            body_base64: STANDARD.encode(golden.message().1),
        }
    };
    let messages: Vec<Message> = messages.iter().map(message).collect();
    let mut running =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is installed");
    let mut input = running.stdin.take().unwrap();
    input.write_all(&serde_json::to_vec(&messages).unwrap()).unwrap();
    drop(input);
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "the SDK refuses a message; see above");
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Seen {
    /// Checks that the SDK read each message as it was meant.
    pub(crate) fn check_read(&self, names: &[&str], messages: &[&Golden]) {
        assert_eq!(self.read.len(), messages.len());
        for ((name, golden), event) in names.iter().zip(messages).zip(&self.read) {
            event.check(name, &golden.envelope());
        }
    }

    /// The messages that the SDK wrote, by the names of their events.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&str, (BasicProperties, Bytes))> {
        self.written.iter().map(|message| (&*message.name, message.as_amqp()))
    }
}

impl Event {
    fn check(&self, name: &str, envelope: &Envelope) {
        let wire = CloudEventsBinary::default().encode(envelope).unwrap();
        let mut expected: BTreeMap<String, String> =
            wire.properties.into_iter().map(|(name, value)| (name.into_owned(), value)).collect();
        expected.insert("datacontenttype".into(), wire.content_type.into_owned());
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut attributes: BTreeMap<String, String> =
            self.attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        // Their dates have milliseconds only.
        let millis = |attributes: &mut BTreeMap<String, String>| {
            let time = attributes.remove("time").expect("it has a time");
            Timestamp::parse_rfc3339(&time).unwrap().as_millis()
        };
        assert_eq!(millis(&mut attributes), millis(&mut expected), "{name}");
        assert_eq!(attributes, expected, "{name}");
        self.check_data(name, envelope);
    }

    fn check_data(&self, name: &str, envelope: &Envelope) {
        let payload = &envelope.payload;
        if !is_json(&envelope.metadata.content_type) {
            assert_eq!(self.data_base64.as_deref(), Some(&*STANDARD.encode(payload)), "{name}");
        } else if payload.is_empty() {
            assert_eq!(self.data, None, "{name}");
        } else {
            let data: Value = serde_json::from_slice(payload).unwrap();
            assert_eq!(self.data.as_ref().unwrap_or(&Value::Null), &data, "{name}");
        }
    }
}

impl Message {
    /// The headers have the types that a JSON value has.
    fn as_amqp(&self) -> (BasicProperties, Bytes) {
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            let value = match value {
                Value::String(text) => AMQPValue::LongString(text.as_str().into()),
                Value::Bool(value) => AMQPValue::Boolean(*value),
                other => AMQPValue::LongLongInt(other.as_i64().unwrap()),
            };
            headers.insert(name.as_str().into(), value);
        }
        let properties = BasicProperties::default()
            .with_content_type(self.content_type.as_str().into())
            .with_headers(headers);
        (properties, STANDARD.decode(&self.body_base64).unwrap().into())
    }
}

/// Checks what we read of an event that an SDK wrote; each has the same attributes.
pub(crate) fn check_ours(name: &str, envelope: &Envelope) {
    let metadata = &envelope.metadata;
    assert_eq!(metadata.id, MessageId::from_foreign("https://shop.example/till", "A-1"));
    assert_eq!(metadata.id_as_sent().to_string(), "A-1");
    assert_eq!(&*metadata.sender, "https://shop.example/till");
    assert_eq!(metadata.name, "orders.order-placed");
    assert_eq!(metadata.time.to_string(), "2026-03-04T05:06:07.123000Z");
    assert_eq!(metadata.key, Some("order-7".into()));
    assert_eq!(metadata.correlation_id.to_string(), "txn-1");
    for (header, value) in
        [("subject", "tea"), ("dataschema", "https://schemas.example/1"), ("express", "true")]
    {
        assert_eq!(metadata.headers.get(header), Some(value), "{name}");
    }
    assert_eq!((metadata.headers.get("count"), metadata.headers.dropped()), (Some("7"), 0));
    match name {
        "json" => {
            let data: Value = serde_json::from_slice(&envelope.payload).unwrap();
            assert_eq!(data, json!({"name": "ä🍋"}));
        }
        "text" => assert_eq!(envelope.payload, "tea ä"),
        "bytes" => assert_eq!(&envelope.payload[..], [0, 255, 1]),
        other => panic!("no event is named `{other}`"),
    }
}
