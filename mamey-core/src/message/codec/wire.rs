//! What a transport carries, and the trait of what writes and reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Result;
use crate::message::Envelope;

/// What a transport carries: a body, and properties beside it if the transport has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireMessage {
    /// The media type of the body.
    pub content_type: Cow<'static, str>,
    /// Properties that are sent beside the body, such as AMQP headers.
    pub properties: BTreeMap<Cow<'static, str>, String>,
    /// The body.
    pub body: Bytes,
}

impl WireMessage {
    /// A body without a media type and without properties.
    #[must_use]
    pub const fn new(body: Bytes) -> Self {
        Self { body, content_type: Cow::Borrowed(""), properties: BTreeMap::new() }
    }

    /// The media type of the body.
    #[must_use]
    pub fn with_content_type(mut self, content_type: Cow<'static, str>) -> Self {
        self.content_type = content_type;
        self
    }

    /// Properties that are sent beside the body, such as AMQP headers.
    #[must_use]
    pub fn with_properties(mut self, properties: BTreeMap<Cow<'static, str>, String>) -> Self {
        self.properties = properties;
        self
    }
}

/// Writes envelopes for the wire and reads them back.
pub trait Codec: Send + Sync + 'static {
    /// Writes an envelope.
    ///
    /// # Errors
    /// `Invalid` when this form cannot carry it, `LimitExceeded` when it is too large.
    fn encode(&self, envelope: &Envelope) -> Result<WireMessage>;

    /// Reads an envelope from outside.
    ///
    /// # Errors
    /// `Invalid` or `LimitExceeded`, naming the attribute that is wrong; `Unsupported` for a mode or
    /// a format that is not read here. Never panics.
    fn decode(&self, wire: &WireMessage) -> Result<Envelope>;
}
