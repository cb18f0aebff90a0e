//! What a query handler is given: reads, and no writes at all.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::cause::Cause;
use super::read_repository::ReadRepository;
use super::request::{RequestOrigin, UnaddressedRequest};
use super::scope::Scope;
use crate::clock::Timestamp;
use crate::domain::{Aggregate, NewId};
use crate::id::MessageId;
use crate::message::{ContextName, Request, TraceContext};
use crate::store::Store;

/// What a query handler is given. It can read but not write.
pub struct ReadContext {
    scope: Arc<Scope>,
    cause: Cause,
    message_id: OnceLock<MessageId>,
    trace: OnceLock<TraceContext>,
}

impl ReadContext {
    /// The context of one handler call.
    #[must_use]
    pub fn new(scope: Arc<Scope>, cause: Cause) -> Self {
        Self { scope, cause, message_id: OnceLock::new(), trace: OnceLock::new() }
    }

    /// Reads aggregates of one type.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> ReadRepository<'_, A> {
        ReadRepository::new(self.store())
    }

    /// Asks another context, and waits for its reply: `cx.request(message).to("context").await?`.
    ///
    /// It happens at once and outside of the unit of work: its effect in the other context stays
    /// even if this handler fails, and is repeated when this handler runs again. Give a command an
    /// idempotency key derived from [`ReadContext::message_id`]. No connection to the store and no
    /// lock is held while waiting, but the wait counts towards the handler's timeout.
    ///
    /// A reply shows another context's state, which may have changed when it arrives. Publish or
    /// send a message instead when nothing may be lost.
    pub fn request<R: Request>(&self, request: R) -> UnaddressedRequest<'_, R> {
        let origin = RequestOrigin {
            sender: self.scope.name.to_shared(),
            requester: &*self.scope.requester,
            clock: &*self.scope.clock,
            ids: &*self.scope.ids,
            cause: Cause {
                message_id: Some(self.message_id()),
                correlation_id: Some(self.correlation_id()),
                trace: Some(self.trace_context().clone()),
                tenant: self.shared_tenant(),
            },
        };
        UnaddressedRequest::new(origin, request)
    }

    /// The id of the message that is being handled. It is the same in every run, so pass it as the
    /// deduplication key to systems outside.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        let new = || self.scope.ids.message_id();
        *self.message_id.get_or_init(|| self.cause.message_id.unwrap_or_else(new))
    }

    /// The id shared by everything that one outside request caused.
    #[must_use]
    pub fn correlation_id(&self) -> MessageId {
        self.cause.correlation_id.unwrap_or_else(|| self.message_id())
    }

    /// The trace this call belongs to; a new one when the caller has none.
    #[must_use]
    pub fn trace_context(&self) -> &TraceContext {
        let new = || TraceContext::root(&*self.scope.ids);
        self.trace.get_or_init(|| self.cause.trace.clone().unwrap_or_else(new))
    }

    /// The tenant the message belongs to.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.cause.tenant.as_deref()
    }

    /// The bounded context whose handler this is.
    #[must_use]
    pub fn name(&self) -> &ContextName {
        &self.scope.name
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.scope.clock.now()
    }

    /// A new id.
    #[must_use]
    pub fn new_id<I: NewId>(&self) -> I {
        I::from_new_uuid(self.scope.ids.next_uuid())
    }

    /// The context's share of the database, for what the repositories do not offer.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.scope.store
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn shared_tenant(&self) -> Option<Arc<str>> {
        self.cause.tenant.clone()
    }
}

impl fmt::Debug for ReadContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadContext")
            .field("scope", &self.scope)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}
