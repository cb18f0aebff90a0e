//! The one pipeline of commands, queries and messages; its order is fixed here and nowhere else.
//!
//! | Step | File | What it does |
//! |---|---|---|
//! | 1 | `span` | traces the call, records its error, turns a panic into an error |
//! | 2 | `layer` | calls the user's layers, in the order of their registration |
//! | 3 | `decode` | reads a message that came in an envelope; then every message is validated |
//! | 4 | `idempotency` | replies what was replied before to the same request under its key |
//! | 5 | `retry` | runs again after a conflict, each time with a fresh context |
//! | 6 | `attempt` | runs the handler within its timeout, then commits its unit of work |
//!
//! The timeout ends when the unit reaches the committer. From there its outcome is awaited: a
//! commit in progress is never cut short, and a handler that timed out has not succeeded. A unit
//! without content is not committed. A query has no unit: it skips the steps 4 and 5, and there is
//! nothing to commit.

mod attempt;
pub(crate) mod decode;
mod idempotency;
pub(crate) mod idempotency_key;
pub(crate) mod layer;
mod retry;
mod span;
#[cfg(feature = "validation")]
pub mod validation;
pub(crate) mod work;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use mamey_core::context::{Cause, Scope};
use mamey_core::inbound::Incoming;
use mamey_core::message::Metadata;
use mamey_core::store::{CommitOutcome, CommitToken};
use mamey_core::{Command, Context, Message, Query, ReadContext, Result};
use serde::de::DeserializeOwned;

use self::decode::decode_for_handler;
use self::layer::{Invocation, InvocationKind, Layer};
use self::retry::Conflicts;
use self::work::{Asked, CommandWork, Done, MessageWork, Sent, Work};
use crate::handler::{CommandHandler, MessageHandler, QueryHandler};

/// What all calls of one context go through.
pub(crate) struct Pipeline {
    pub(crate) scope: Arc<Scope>,
    pub(crate) layers: Vec<Arc<dyn Layer>>,
    pub(crate) timeout: Duration,
    pub(crate) conflict_retries: u32,
}

impl Pipeline {
    /// Steps 1 and 2, around the rest of the call.
    ///
    /// The rest is pinned: each async function that took it by value would double the size of the
    /// whole call.
    async fn around<T: Send>(
        &self,
        invocation: &Invocation<'_>,
        rest: Pin<&mut (impl Future<Output = Result<T>> + Send)>,
    ) -> Result<T> {
        let layered = pin!(layer::around(&self.layers, invocation, rest));
        span::around(invocation, layered).await
    }

    /// A command, from its caller to its reply.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` holds each argument twice")]
    pub(crate) fn command<'r, C: Command>(
        &'r self,
        handler: &'r impl CommandHandler<C>,
        sent: Sent<C>,
    ) -> impl Future<Output = Result<C::Reply>> + Send + 'r {
        async move {
            let (kind, metadata) = (InvocationKind::Command, sent.metadata.as_deref());
            let invocation = self.invocation::<C>(kind, &sent.cause, metadata);
            self.around(
                &invocation,
                pin!(async {
                    sent.command.validate()?;
                    let (command, key) = (Some(sent.command), sent.key.as_ref());
                    let mut work = CommandWork { handler, command, key };
                    let runs = pin!(self.run(&mut work, &sent.cause));
                    idempotency::once(key, &*self.scope.store, runs).await
                }),
            )
            .await
        }
    }

    /// A message, from the consumer to the outcome of its commit.
    pub(crate) async fn message<M: Message + DeserializeOwned>(
        &self,
        handler: &impl MessageHandler<M>,
        incoming: Incoming<'_>,
    ) -> Result<CommitOutcome> {
        let metadata = &incoming.envelope.metadata;
        let cause = Cause::received(metadata, incoming.identity);
        let mut invocation = self.invocation::<M>(InvocationKind::Message, &cause, Some(metadata));
        invocation.attempt = incoming.attempt;
        self.around(
            &invocation,
            pin!(async {
                let message = decode_for_handler::<M>(incoming.envelope)?;
                message.validate()?;
                let mut work = MessageWork { handler, decoded: Some(message), incoming };
                let ((), outcome) = self.run(&mut work, &cause).await?;
                // The unit of a message holds its receipt, so it always has content to commit.
                Ok(outcome.unwrap_or(CommitOutcome::Committed(CommitToken::new(0))))
            }),
        )
        .await
    }

    /// A query, from its caller to its reply.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` holds each argument twice")]
    pub(crate) fn query<'r, Q: Query>(
        &'r self,
        handler: &'r impl QueryHandler<Q>,
        asked: Asked<Q>,
    ) -> impl Future<Output = Result<Q::Reply>> + Send + 'r {
        async move {
            let (kind, metadata) = (InvocationKind::Query, asked.metadata.as_deref());
            let invocation = self.invocation::<Q>(kind, &asked.cause, metadata);
            self.around(
                &invocation,
                pin!(async {
                    asked.query.validate()?;
                    let cx = ReadContext::new(Arc::clone(&self.scope), asked.cause.clone());
                    attempt::within(self.timeout, pin!(handler.handle(asked.query, &cx))).await
                }),
            )
            .await
        }
    }

    /// Steps 5 and 6 of a command or a message.
    async fn run<W: Work>(&self, work: &mut W, cause: &Cause) -> Result<Done<W::Reply>> {
        let (mut again, mut conflicts) = (None::<Box<Cause>>, Conflicts::default());
        loop {
            let last = conflicts.count == self.conflict_retries;
            let message = work.message(last)?;
            let run_cause = again.as_deref().unwrap_or(cause).clone();
            let cx = Context::new(Arc::clone(&self.scope), run_cause);
            match attempt::run(work, message, &cx, self.timeout).await {
                Err(error) if !last => conflicts.pause_after(error).await?,
                done => return done,
            }
            // Every run of one call has the same message id and trace.
            let again = again.get_or_insert_with(|| Box::new(cause.clone()));
            again.message_id.get_or_insert_with(|| cx.message_id());
            again.trace = Some(cx.trace_context().clone());
        }
    }

    #[inline]
    fn invocation<'a, M: Message>(
        &'a self,
        kind: InvocationKind,
        cause: &'a Cause,
        metadata: Option<&'a Metadata>,
    ) -> Invocation<'a> {
        let context = &self.scope.name;
        Invocation { kind, name: M::NAME, context, cause, metadata, attempt: 1 }
    }
}
