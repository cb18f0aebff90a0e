//! The one pipeline of commands, queries and messages; its order is fixed here and nowhere else.
//!
//! 1. trace span, which records the error, and the net that turns a panic into an error
//! 2. the user's layers, in the order of their registration
//! 3. for messages, decoding; then validation
//! 4. for commands with an idempotency key, the look at the remembered reply
//! 5. retry on conflict (and once on a taken id or unique value), each run with a fresh context,
//!    around
//! 6. the unit of work: the handler within its timeout, then the commit
//!
//! The timeout is over when the unit reaches the committer: from there the outcome is awaited, so a
//! handler that timed out has not succeeded, and a commit in progress is never cut short. A unit
//! without content is not committed. Queries have no unit: they are validated and answered.

pub(crate) mod attempt;
pub(crate) mod idempotency;
pub(crate) mod layer;
mod span;
#[cfg(feature = "validation")]
pub mod validation;
pub(crate) mod work;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use mamey_core::context::{Cause, Scope};
use mamey_core::message::Message;
use mamey_core::store::{CommitOutcome, UnitOfWork};
use mamey_core::{Context, Error, ErrorKind, Query, ReadContext, Result, Retry};
use tracing::Instrument;

use self::attempt::{within, without_panics};
use self::layer::{Invocation, Layer, Next};
use self::work::Work;
use crate::handler::QueryHandler;

/// The pause before the second run after a conflict; the first one follows at once.
const CONFLICT_PAUSE_MS_FIRST: u64 = 1;

/// The longest pause between runs after a conflict.
const CONFLICT_PAUSE_MS_MAX: u64 = 32;

/// What all calls of one context go through.
pub(crate) struct Pipeline {
    pub(crate) scope: Arc<Scope>,
    pub(crate) layers: Vec<Arc<dyn Layer>>,
    pub(crate) timeout: Duration,
    pub(crate) conflict_retries: u32,
}

/// What a handler replied, and how its unit was committed; `None` for a unit without content.
pub(crate) type Done<R> = (R, Option<CommitOutcome>);

impl Pipeline {
    /// Steps 1 and 2 around the rest, which is `core`: pinned, because each async function that
    /// took it by value would double the size of the whole call.
    pub(crate) async fn call<T: Send>(
        &self,
        invocation: Invocation<'_>,
        core: Pin<&mut (impl Future<Output = Result<T>> + Send)>,
    ) -> Result<T> {
        let span = span::span(&invocation);
        let layered = self.through_layers(&invocation, core);
        let result = without_panics(invocation.name, layered).instrument(span.clone()).await;
        result.map_err(|error| {
            span::failed(&span, &error);
            let (name, context) = (invocation.name, invocation.context);
            error.with_context(format!("handling `{name}` in context `{context}`"))
        })
    }

    async fn through_layers<T: Send>(
        &self,
        invocation: &Invocation<'_>,
        core: Pin<&mut (impl Future<Output = Result<T>> + Send)>,
    ) -> Result<T> {
        if self.layers.is_empty() {
            return core.await;
        }
        let mut slot = None;
        {
            let core = pin!(async {
                slot = Some(core.await?);
                Ok(())
            });
            Next::new(&self.layers, core).run(invocation).await?;
        }
        slot.ok_or_else(|| {
            Error::misconfigured(
                "a layer returned Ok without going on: run `next`, or return an error",
            )
        })
    }

    /// Step 5: runs the handler and commits, again after a conflict.
    pub(crate) async fn run<W: Work>(&self, mut work: W, cause: &Cause) -> Result<Done<W::Reply>> {
        let mut cause = cause.clone();
        let (mut conflicts, mut met_taken) = (0, false);
        loop {
            let last = conflicts == self.conflict_retries;
            let message = work.message(last)?;
            let cx = Context::new(Arc::clone(&self.scope), cause.clone());
            match self.unit(&work, message, &cx).await {
                Err(error) if !last && lost_race(&error, met_taken) => {
                    conflicts += 1;
                    met_taken |= error.kind() == ErrorKind::AlreadyExists;
                    // Every run of one call has the same message id and trace.
                    cause.message_id = Some(cx.message_id());
                    cause.trace = Some(cx.trace_context().clone());
                    tracing::debug!(conflicts, %error, "running again");
                    pause_after(conflicts).await;
                }
                done => return done,
            }
        }
    }

    /// Step 6: the handler within its timeout, then the commit without one.
    async fn unit<W: Work>(
        &self,
        work: &W,
        message: W::Message,
        cx: &Context,
    ) -> Result<Done<W::Reply>> {
        let handler = pin!(work.handle(message, cx));
        let reply = within(self.timeout, handler).await?;
        let committing = match sealed(work, &reply, cx)? {
            Some(unit) => {
                pass_before_commit(&unit);
                self.scope.store.commit(unit)
            }
            None => return Ok((reply, None)),
        };
        let outcome = committing.await?;
        Ok((reply, Some(outcome)))
    }

    /// Steps 3 and 6 of a query, which has no unit.
    pub(crate) async fn answer<Q: Query>(
        &self,
        handler: &impl QueryHandler<Q>,
        query: Q,
        cause: &Cause,
    ) -> Result<Q::Reply> {
        Message::validate(&query)?;
        let cx = ReadContext::new(Arc::clone(&self.scope), cause.clone());
        let handler = pin!(handler.handle(query, &cx));
        within(self.timeout, handler).await
    }
}

/// Takes the unit out of its context, complete; `None` when there is nothing to commit.
fn sealed<W: Work>(work: &W, reply: &W::Reply, cx: &Context) -> Result<Option<UnitOfWork>> {
    let mut unit = cx.take_unit()?;
    work.seal(reply, &mut unit)?;
    Ok((!unit.is_empty()).then_some(unit))
}

/// Failpoints of the two kinds of units: those of callers and those of messages.
fn pass_before_commit(unit: &UnitOfWork) {
    if unit.receipt.is_none() {
        mamey_core::failpoint!("before-commit");
    } else {
        mamey_core::failpoint!("after-handler-before-commit");
    }
}

/// Whether another run may see what this one could not: a version that moved, or, once, an id or a
/// unique value that a rival took between this handler's look and its commit.
fn lost_race(error: &Error, met_taken: bool) -> bool {
    match error.kind() {
        ErrorKind::Conflict => error.retry() == Retry::Immediately,
        ErrorKind::AlreadyExists => !met_taken,
        _ => false,
    }
}

/// Rivals for one document that all run again at once would only meet again: from the second
/// conflict on, each waits for a time drawn by chance.
async fn pause_after(conflicts: u32) {
    let Some(doublings) = conflicts.checked_sub(2) else {
        return;
    };
    let longest_ms = 2_u64
        .saturating_pow(doublings)
        .saturating_mul(CONFLICT_PAUSE_MS_FIRST)
        .min(CONFLICT_PAUSE_MS_MAX);
    let pause_ms = fastrand::u64(0..=longest_ms);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}
