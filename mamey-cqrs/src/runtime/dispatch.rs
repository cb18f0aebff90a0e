//! Finds the handler of a call and hands the call to the pipeline.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use mamey_core::context::Cause;
use mamey_core::inbound::Incoming;
use mamey_core::message::{ContextName, Metadata};
use mamey_core::store::{CommitOutcome, Outcome, Receipt, UnitOfWork};
use mamey_core::{Command, Error, Query, Result};

use super::registry::Registry;
use crate::pipeline::Pipeline;
use crate::pipeline::idempotency_key::IdempotencyKey;
use crate::pipeline::layer::InvocationKind;
use crate::pipeline::work::{Asked, Sent};

/// How many names that nobody handles are reported; others come from outside without bound.
const UNHANDLED_NAMES_MAX: usize = 64;

/// How much of such a name is shown, in characters.
const NAME_CHARS_SHOWN: usize = 120;

/// The handlers of one context, and the pipeline that their calls go through.
pub struct Dispatcher {
    pub(super) pipeline: Pipeline,
    pub(super) registry: Registry,
    closed: AtomicBool,
    /// Names that arrived and that nobody handles.
    unhandled: Mutex<BTreeSet<String>>,
}

impl Dispatcher {
    pub(super) const fn new(pipeline: Pipeline, registry: Registry) -> Self {
        let unhandled = Mutex::new(BTreeSet::new());
        Self { pipeline, registry, closed: AtomicBool::new(false), unhandled }
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
        self.registry
            .command(&self.pipeline, sent)
            .unwrap_or_else(|| refused(self.without_handler(InvocationKind::Command, C::NAME)))
    }

    #[inline]
    pub(super) fn query<Q: Query>(
        &self,
        query: Q,
        cause: Cause,
        metadata: Option<Box<Metadata>>,
    ) -> BoxFuture<'_, Result<Q::Reply>> {
        let asked = Asked { query, cause, metadata };
        self.registry
            .query(&self.pipeline, asked)
            .unwrap_or_else(|| refused(self.without_handler(InvocationKind::Query, Q::NAME)))
    }

    pub(super) async fn message(&self, incoming: Incoming<'_>) -> Result<CommitOutcome> {
        let name = &incoming.envelope.metadata.name;
        match self.registry.message(name) {
            Some(entry) => entry.runner.run(&self.pipeline, incoming).await,
            None if self.registry.drops(name) => self.drop_message(incoming).await,
            None => {
                self.report_unhandled(name);
                Err(self.without_handler(InvocationKind::Message, name))
            }
        }
    }

    /// Says once for each name that nobody handles it. A binding of an earlier build stays, so there
    /// may be many more.
    fn report_unhandled(&self, name: &str) {
        let name: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        let mut unhandled = self.unhandled.lock().unwrap_or_else(PoisonError::into_inner);
        if unhandled.len() < UNHANDLED_NAMES_MAX && unhandled.insert(name.clone()) {
            tracing::error!(
                context = %self.name(),
                message = name,
                "messages arrive that this build does not handle: add `.on(…)`, or \
                 `.forgets(…)` if no build wants them any more"
            );
        }
    }

    /// Takes a message as handled, without a handler.
    async fn drop_message(&self, incoming: Incoming<'_>) -> Result<CommitOutcome> {
        let Incoming { envelope, identity, custody, .. } = incoming;
        let locked = custody.lock().await;
        let receipt = Receipt::of(identity, envelope.clone(), locked.origin(), Outcome::Handled);
        self.pipeline.scope.store.commit(UnitOfWork::default().with_receipt(receipt)).await
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

    fn without_handler(&self, kind: InvocationKind, name: &str) -> Error {
        let context = self.name();
        let fix = match kind {
            InvocationKind::Command => ".command(…)",
            InvocationKind::Query => ".query(…)",
            InvocationKind::Message => ".on(…)",
        };
        let message =
            format!("context `{context}` has no handler for {kind} `{name:.255}`: add `{fix}`");
        match kind {
            // Another build may have it.
            InvocationKind::Message => Error::unreadable(message),
            InvocationKind::Command | InvocationKind::Query => Error::not_found(message),
        }
    }
}

/// The answer to a call that never reaches the pipeline.
pub(super) fn refused<T: Send + 'static>(error: Error) -> BoxFuture<'static, Result<T>> {
    Box::pin(ready(Err(error)))
}
