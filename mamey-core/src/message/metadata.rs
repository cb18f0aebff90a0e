//! Everything about a message but its payload.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::headers::Headers;
use super::media_type::CONTENT_TYPE_JSON;
use super::{CorrelationId, Key, Target, TraceContext, slot_of};
use crate::clock::Timestamp;
use crate::id::MessageId;

/// The longest name, sender, tenant or content type, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 2048;

/// Everything about a message but its payload: id, name, sender, target, order and trace.
///
/// ```
/// use mamey::MessageId;
/// use mamey::message::{Key, Metadata};
///
/// let id = MessageId::from_foreign("shop", "A-1");
/// let metadata = Metadata::new(id, "shop.sold", "shop").with_version(2).with_key(Key::new(7));
/// assert_eq!((metadata.version, metadata.correlation_id), (2, id.into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// The id that its sender gave it. Another sender may use the same: together with the sender it
    /// is the message's [identity](Metadata::identity).
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
    /// The same for everything that one outside request caused.
    pub correlation_id: CorrelationId,
    /// The message whose handler sent this one, by its [id as it was sent](Metadata::id_as_sent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<CorrelationId>,
    /// When it was sent.
    pub time: Timestamp,
    /// What orders it; see [`Key`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The tenant it belongs to, in systems that have tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// Its position in a distributed trace.
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
    /// The minimum: version 1 of `name`, as JSON, for any subscriber, without a key, sent at the
    /// epoch, and first of its correlation.
    #[must_use]
    pub fn new(id: MessageId, name: impl Into<Cow<'static, str>>, sender: &str) -> Self {
        Self {
            id,
            name: name.into(),
            version: 1,
            sender: sender.into(),
            target: Target::Any,
            correlation_id: id.into(),
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

    /// The version of the payload's shape.
    #[must_use]
    pub const fn with_version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Whom it is for.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// The same for everything that one outside request caused.
    #[must_use]
    pub fn with_correlation_id(mut self, correlation_id: impl Into<CorrelationId>) -> Self {
        self.correlation_id = correlation_id.into();
        self
    }

    /// The message whose handler sent this one.
    #[must_use]
    pub fn with_causation_id(mut self, causation_id: impl Into<Option<CorrelationId>>) -> Self {
        self.causation_id = causation_id.into();
        self
    }

    /// When it was sent.
    #[must_use]
    pub const fn with_time(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }

    /// What orders it; see [`Key`].
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Option<Key>>) -> Self {
        self.key = key.into();
        self
    }

    /// The tenant it belongs to.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Option<Arc<str>>>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Its position in a distributed trace.
    #[must_use]
    pub fn with_trace(mut self, trace: impl Into<Option<TraceContext>>) -> Self {
        self.trace = trace.into();
        self
    }

    /// The media type of the payload.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Whether delivery without a single subscriber is a failure.
    #[must_use]
    pub const fn with_must_route(mut self, must_route: bool) -> Self {
        self.must_route = must_route;
        self
    }

    /// Free headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// The slot this message falls into; see [`slot_of`].
    #[must_use]
    pub fn slot(&self) -> u16 {
        slot_of(self.key.as_ref(), self.id)
    }
}
