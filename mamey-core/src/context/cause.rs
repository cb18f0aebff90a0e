//! What caused a handler call: its message, its correlation, its trace and its tenant.

use std::sync::Arc;

use crate::id::MessageId;
use crate::message::{CorrelationId, MessageIdentity, Metadata, TraceContext};

/// What caused a handler call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Cause {
    /// The id of the message or command, as its sender gave it. When there is none, a new one is made
    /// on first use.
    pub message_id: Option<MessageId>,
    /// What a message is known by: its sender and its id. A command in this process has none.
    pub identity: Option<MessageIdentity>,
    /// The id that everything caused by one outside request shares.
    pub correlation_id: Option<CorrelationId>,
    /// What messages that the handler sends name as their cause: the message's id as its sender
    /// wrote it. [`Cause::message_id`] when there is none.
    pub causation_id: Option<CorrelationId>,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
    /// The tenant it belongs to.
    pub tenant: Option<Arc<str>>,
}

impl Cause {
    /// The id of the message or command, as its sender gave it.
    #[must_use]
    pub fn with_message_id(mut self, id: impl Into<Option<MessageId>>) -> Self {
        self.message_id = id.into();
        self
    }

    /// The id that everything caused by one outside request shares.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<Option<CorrelationId>>) -> Self {
        self.correlation_id = id.into();
        self
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn with_trace(mut self, trace: impl Into<Option<TraceContext>>) -> Self {
        self.trace = trace.into();
        self
    }

    /// The tenant it belongs to.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Option<Arc<str>>>) -> Self {
        self.tenant = tenant.into();
        self
    }
}

impl Cause {
    /// A message that was received, and its identity.
    #[must_use]
    pub fn received(metadata: &Metadata, identity: MessageIdentity) -> Self {
        Self {
            message_id: Some(metadata.id),
            identity: Some(identity),
            correlation_id: Some(metadata.correlation_id.clone()),
            causation_id: Some(metadata.id_as_sent()),
            trace: metadata.trace.clone(),
            tenant: metadata.tenant.clone(),
        }
    }

    /// The id under which the effect of this call is known, if it has one: a message's identity, or
    /// the id of a command.
    pub(super) fn effect_id(&self) -> Option<MessageId> {
        let of_message = self.identity.map(|identity| MessageId::from_uuid(identity.as_uuid()));
        of_message.or(self.message_id)
    }
}

impl From<&Metadata> for Cause {
    fn from(metadata: &Metadata) -> Self {
        Self::received(metadata, metadata.identity())
    }
}
