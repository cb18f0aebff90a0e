//! What caused a handler call: its message, its correlation, its trace and its tenant.

use std::sync::Arc;

use crate::id::MessageId;
use crate::message::{CorrelationId, Metadata, TraceContext};

/// What caused a handler call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Cause {
    /// The message's id; when there is none, a new one is made on first use.
    pub message_id: Option<MessageId>,
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
    /// The message's id.
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

impl From<&Metadata> for Cause {
    fn from(metadata: &Metadata) -> Self {
        Self {
            message_id: Some(metadata.id),
            correlation_id: Some(metadata.correlation_id.clone()),
            causation_id: Some(metadata.id_as_sent()),
            trace: metadata.trace.clone(),
            tenant: metadata.tenant.clone(),
        }
    }
}
