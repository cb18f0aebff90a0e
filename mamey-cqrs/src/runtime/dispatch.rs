//! Finds the handler of a call and hands the call to the pipeline.

use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use mamey_core::context::Cause;
use mamey_core::inbound::Incoming;
use mamey_core::message::{ContextName, Metadata};
use mamey_core::store::CommitOutcome;
use mamey_core::{Command, Error, Query, Result};

use super::registry::Registry;
use super::unhandled::UnhandledMessages;
use crate::pipeline::Pipeline;
use crate::pipeline::idempotency_key::IdempotencyKey;
use crate::pipeline::layer::InvocationKind;
use crate::pipeline::work::{Asked, Sent};

/// The handlers of one context, and the pipeline that their calls go through.
pub struct Dispatcher {
    pub(super) pipeline: Pipeline,
    pub(super) registry: Registry,
    pub(super) unhandled: UnhandledMessages,
    closed: AtomicBool,
}

impl Dispatcher {
    pub(super) const fn new(
        pipeline: Pipeline,
        registry: Registry,
        unhandled: UnhandledMessages,
    ) -> Self {
        Self { pipeline, registry, unhandled, closed: AtomicBool::new(false) }
    }

    pub(super) fn name(&self) -> &ContextName {
        &self.pipeline.scope.name
    }

    #[inline]
    pub(super) fn command<C: Command>(
        &self,
        command: C,
        mut cause: Cause,
        key: Option<IdempotencyKey<C::Reply>>,
        metadata: Option<Box<Metadata>>,
    ) -> BoxFuture<'_, Result<C::Reply>> {
        let key = key.map(|key| key.scoped(C::NAME, self.name(), &mut cause));
        let sent = Sent { command, cause, key, metadata };
        self.registry.command(&self.pipeline, sent).unwrap_or_else(|| {
            refused(self.without_handler(InvocationKind::Command, C::NAME, ".command(…)"))
        })
    }

    #[inline]
    pub(super) fn query<Q: Query>(
        &self,
        query: Q,
        cause: Cause,
        metadata: Option<Box<Metadata>>,
    ) -> BoxFuture<'_, Result<Q::Reply>> {
        let asked = Asked { query, cause, metadata };
        self.registry.query(&self.pipeline, asked).unwrap_or_else(|| {
            refused(self.without_handler(InvocationKind::Query, Q::NAME, ".query(…)"))
        })
    }

    pub(super) async fn message(&self, incoming: Incoming<'_>) -> Result<CommitOutcome> {
        match self.registry.message(&incoming.envelope.metadata.name) {
            Some(entry) => entry.runner.run(&self.pipeline, incoming).await,
            None => self.unhandled.receive(incoming, &*self.pipeline.scope.store).await,
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn check_open(&self) -> Result<()> {
        if !self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let name = self.name();
        Err(Error::cancelled(format!("context `{name}` is shutting down and accepts no new calls")))
    }

    fn without_handler(&self, kind: InvocationKind, name: &str, fix: &str) -> Error {
        let context = self.name();
        Error::not_found(format!(
            "context `{context}` has no handler for {kind} `{name:.255}`: add `{fix}`"
        ))
    }
}

/// The answer to a call that never reaches the pipeline.
pub(super) fn refused<T: Send + 'static>(error: Error) -> BoxFuture<'static, Result<T>> {
    Box::pin(ready(Err(error)))
}
