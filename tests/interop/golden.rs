//! Golden files: what is written of each sample, byte for byte, and what is read from it.
//!
//! A file is never changed: when what we write changes, a new one is added, and the old ones are still
//! read.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use mamey::message::{Envelope, Metadata};
use serde::{Deserialize, Serialize};

use crate::environment::here;

/// Set to `1`, it adds the files that are missing.
pub(crate) const WRITE: &str = "MAMEY_WRITE_GOLDEN";

/// A message, and the AMQP message that is written of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Golden {
    metadata: Metadata,
    payload: Content,
    properties: Properties,
    pub(crate) headers: BTreeMap<String, String>,
    body: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Properties {
    content_type: String,
    message_id: String,
    correlation_id: Option<String>,
    r#type: String,
    app_id: String,
    timestamp: u64,
    delivery_mode: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Base64(String),
}

impl Content {
    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }

    fn bytes(&self) -> Bytes {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Base64(text) => STANDARD.decode(text).unwrap().into(),
        }
    }
}

impl Golden {
    /// A sample, and what the broker delivers of it.
    pub(crate) fn new(envelope: &Envelope, delivered: &Delivery) -> Self {
        let properties = &delivered.properties;
        let text = |it: &Option<ShortString>| it.as_ref().map(ToString::to_string);
        let headers = properties.headers().clone().unwrap_or_default();
        let header = |(name, value): (&ShortString, &AMQPValue)| match value {
            AMQPValue::LongString(value) => (name.to_string(), value.to_string()),
            other => panic!("header `{name}` is no text: {other:?}"),
        };
        Self {
            metadata: envelope.metadata.clone(),
            payload: Content::new(&envelope.payload),
            properties: Properties {
                content_type: text(properties.content_type()).unwrap(),
                message_id: text(properties.message_id()).unwrap(),
                correlation_id: text(properties.correlation_id()),
                r#type: text(properties.kind()).unwrap(),
                app_id: text(properties.app_id()).unwrap(),
                timestamp: properties.timestamp().unwrap(),
                delivery_mode: properties.delivery_mode().unwrap(),
            },
            headers: headers.inner().iter().map(header).collect(),
            body: Content::new(&delivered.data),
        }
    }

    pub(crate) fn envelope(&self) -> Envelope {
        Envelope::new(self.metadata.clone(), self.payload.bytes())
    }

    /// The AMQP message.
    pub(crate) fn message(&self) -> (BasicProperties, Bytes) {
        let written = &self.properties;
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            headers.insert(name.as_str().into(), AMQPValue::LongString(value.as_str().into()));
        }
        let mut properties = BasicProperties::default()
            .with_content_type(written.content_type.as_str().into())
            .with_message_id(written.message_id.as_str().into())
            .with_type(written.r#type.as_str().into())
            .with_app_id(written.app_id.as_str().into())
            .with_timestamp(written.timestamp)
            .with_delivery_mode(written.delivery_mode)
            .with_headers(headers);
        if let Some(id) = &written.correlation_id {
            properties = properties.with_correlation_id(id.as_str().into());
        }
        (properties, self.body.bytes())
    }

    pub(crate) fn content_type(&self) -> &str {
        &self.properties.content_type
    }

    /// Compares it with the newest file of this name.
    ///
    /// # Panics
    /// When it differs, or there is none; with [`WRITE`] it adds a file first.
    pub(crate) fn check(&self, name: &str) {
        let text = serde_json::to_string_pretty(self).unwrap() + "\n";
        let numbered = |number: u32| here("golden").join(format!("{name}.{number}.json"));
        let next = (1..).find(|number| !numbered(*number).exists()).unwrap();
        let newest = fs::read_to_string(numbered(next - 1)).unwrap_or_default();
        if newest == text {
            return;
        }
        let file = numbered(next);
        if std::env::var(WRITE).is_ok_and(|value| value == "1") {
            return fs::write(file, text).unwrap();
        }
        panic!(
            "`{name}` is written differently than the newest golden file says; if that is meant, \
             {WRITE}=1 adds {}\n-- the file:\n{newest}\n-- now:\n{text}",
            file.display()
        );
    }
}

/// All files, those of earlier forms too, by name.
pub(crate) fn files() -> Vec<(String, Golden)> {
    let paths = fs::read_dir(here("golden")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    let file = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let golden = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{path:?}: {why}"));
        (path.file_name().unwrap().to_string_lossy().into_owned(), golden)
    };
    paths.into_iter().map(file).collect()
}
