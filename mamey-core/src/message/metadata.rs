//! What an envelope says about its payload.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::headers::Headers;
use super::media_type::CONTENT_TYPE_JSON;
use super::{Key, Target, TraceContext, slot_of};
use crate::clock::Timestamp;
use crate::id::MessageId;

/// The longest name, sender, tenant or content type, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 2048;

/// Everything about a message but its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The message's identity: effects happen once per id and context.
    pub id: MessageId,
    /// The message's stable name.
    pub name: Cow<'static, str>,
    /// The version of the payload's shape.
    pub version: u32,
    /// The context that sent it; for foreign messages, their source.
    pub sender: Arc<str>,
    /// Whom it is for.
    #[serde(default)]
    pub target: Target,
    /// The same for everything that one outside request set off.
    pub correlation_id: MessageId,
    /// The message whose handler sent this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<MessageId>,
    /// When it was sent.
    pub time: Timestamp,
    /// What orders it; see [`Key`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The tenant it belongs to, in systems that have tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// Its place in a distributed trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// The media type of the payload.
    #[serde(default = "json", skip_serializing_if = "is_default")]
    pub content_type: Cow<'static, str>,
    /// Whether delivery without a single subscriber is a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_route: bool,
    /// Free headers.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
}

fn json() -> Cow<'static, str> {
    Cow::Borrowed(CONTENT_TYPE_JSON)
}

/// Exactly the default: another spelling of JSON is stored as it was sent.
fn is_default(content_type: &str) -> bool {
    content_type == CONTENT_TYPE_JSON
}

impl Metadata {
    /// The least that a message says: version 1 of `name`, as JSON, for any subscriber, without a
    /// key, sent at the epoch, and the first of its correlation.
    #[must_use]
    pub fn new(id: MessageId, name: impl Into<Cow<'static, str>>, sender: &str) -> Self {
        Self {
            id,
            name: name.into(),
            version: 1,
            sender: sender.into(),
            target: Target::Any,
            correlation_id: id,
            causation_id: None,
            time: Timestamp::EPOCH,
            key: None,
            tenant: None,
            trace: None,
            content_type: json(),
            must_route: false,
            headers: Headers::default(),
        }
    }

    /// The slot this message falls into; see [`slot_of`].
    #[must_use]
    pub fn slot(&self) -> u16 {
        slot_of(self.key.as_ref(), self.id)
    }
}
