//! What a transport carries, and the trait of what writes and reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Result;
use crate::message::Envelope;

/// What a transport carries: a body, and properties beside it where the transport has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireMessage {
    /// The media type of the body.
    pub content_type: Cow<'static, str>,
    /// Properties that travel beside the body, such as AMQP headers.
    pub properties: BTreeMap<Cow<'static, str>, String>,
    /// The body.
    pub body: Bytes,
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
    /// `Invalid` or `LimitExceeded`, naming the attribute that is wrong. Never panics.
    fn decode(&self, wire: &WireMessage) -> Result<Envelope>;
}
