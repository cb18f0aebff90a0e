//! Requests: a command or a query on its way, with what its caller adds to it.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use mamey_core::context::Cause;
use mamey_core::id::MessageId;
use mamey_core::message::{ContextName, TraceContext};
use mamey_core::{Command, Error, Query, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pipeline::idempotency::Idempotency;
use crate::pipeline::layer::InvocationKind;
use crate::pipeline::work::{Asked, Sent};
use crate::runtime::ContextRuntime;

/// A command that is sent when it is awaited.
///
/// # Cancellation
/// Dropping the future before the commit has begun undoes everything; from then on the commit goes
/// on by itself.
#[must_use = "a command is sent when it is awaited"]
pub struct CommandRequest<'r, C: Command> {
    runtime: &'r ContextRuntime,
    sent: Sent<C>,
}

/// A query that is asked when it is awaited.
#[must_use = "a query is asked when it is awaited"]
pub struct QueryRequest<'r, Q: Query> {
    runtime: &'r ContextRuntime,
    asked: Asked<Q>,
}

impl<'r, C: Command> CommandRequest<'r, C> {
    pub(crate) fn new(runtime: &'r ContextRuntime, command: C) -> Self {
        let cause = Cause::default();
        let sent = Sent { command, cause, idempotency: None, metadata: None };
        Self { runtime, sent }
    }

    /// Takes effect once under this key: sent again with it, the same command returns the first
    /// reply. Keys belong to one command and one tenant. A command that failed may be sent again.
    ///
    /// At most [`IDEMPOTENCY_KEY_BYTES_MAX`](crate::IDEMPOTENCY_KEY_BYTES_MAX) bytes without
    /// control characters; otherwise the answer is `Invalid`.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self
    where
        C::Reply: Serialize + DeserializeOwned,
    {
        self.sent.idempotency = Some(Idempotency::new(key.into()));
        self
    }

    /// Says what set the command off, in place of everything said before.
    pub fn cause(mut self, cause: Cause) -> Self {
        self.sent.cause = cause;
        self
    }

    /// The tenant it is for.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.sent.cause.tenant = Some(tenant.into());
        self
    }

    /// The trace it belongs to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.sent.cause.trace = Some(trace);
        self
    }

    /// The id that everything set off by one outside request shares.
    pub fn correlation_id(mut self, id: MessageId) -> Self {
        self.sent.cause.correlation_id = Some(id);
        self
    }
}

impl<'r, C: Command> IntoFuture for CommandRequest<'r, C> {
    type Output = Result<C::Reply>;
    type IntoFuture = BoxFuture<'r, Result<C::Reply>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { runtime, sent } = self;
        let key = || sent.idempotency.as_ref().map_or(Ok(()), Idempotency::check);
        if let Err(error) = runtime.check_open().and_then(|()| key()) {
            return Box::pin(ready(Err(error)));
        }
        match runtime.registry.command::<C>() {
            Some(runner) => runner.run(&runtime.pipeline, sent),
            None => Box::pin(ready(Err(unknown(runtime.name(), InvocationKind::Command, C::NAME)))),
        }
    }
}

impl<'r, Q: Query> QueryRequest<'r, Q> {
    pub(crate) fn new(runtime: &'r ContextRuntime, query: Q) -> Self {
        let asked = Asked { query, cause: Cause::default(), metadata: None };
        Self { runtime, asked }
    }

    /// Says what set the query off, in place of everything said before.
    pub fn cause(mut self, cause: Cause) -> Self {
        self.asked.cause = cause;
        self
    }

    /// The tenant it is for.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.asked.cause.tenant = Some(tenant.into());
        self
    }

    /// The trace it belongs to.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.asked.cause.trace = Some(trace);
        self
    }
}

impl<'r, Q: Query> IntoFuture for QueryRequest<'r, Q> {
    type Output = Result<Q::Reply>;
    type IntoFuture = BoxFuture<'r, Result<Q::Reply>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { runtime, asked } = self;
        if let Err(error) = runtime.check_open() {
            return Box::pin(ready(Err(error)));
        }
        match runtime.registry.query::<Q>() {
            Some(runner) => runner.run(&runtime.pipeline, asked),
            None => Box::pin(ready(Err(unknown(runtime.name(), InvocationKind::Query, Q::NAME)))),
        }
    }
}

/// The error of a message that nobody takes; it names the mend.
pub(crate) fn unknown(context: &ContextName, kind: InvocationKind, name: &str) -> Error {
    let mend = match kind {
        InvocationKind::Command => ".command(…)",
        InvocationKind::Query => ".query(…)",
        InvocationKind::Message => ".on(…)",
    };
    Error::not_found(format!(
        "context `{context}` has no handler for {kind} `{name}`: add `{mend}`"
    ))
}

impl<C: Command> fmt::Debug for CommandRequest<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandRequest")
            .field("context", self.runtime.name())
            .field("command", &C::NAME)
            .field("cause", &self.sent.cause)
            .field("idempotency", &self.sent.idempotency)
            .finish()
    }
}

impl<Q: Query> fmt::Debug for QueryRequest<'_, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryRequest")
            .field("context", self.runtime.name())
            .field("query", &Q::NAME)
            .field("cause", &self.asked.cause)
            .finish()
    }
}
