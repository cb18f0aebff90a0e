//! Step 6: one run of a handler within its timeout, then the commit of its unit of work.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use mamey_core::inbound::Locked;
use mamey_core::store::{Origin, UnitOfWork};
use mamey_core::{Context, Error, Result};
use tokio::task::coop::unconstrained;
use tokio::time::sleep;

use super::work::{Done, Work};

/// Runs the handler within `limit`, then commits, which has no limit.
pub(super) async fn run<W: Work>(
    work: &W,
    message: W::Message,
    cx: &Context,
    limit: Duration,
) -> Result<Done<W::Reply>> {
    let handler = pin!(work.handle(message, cx));
    let reply = within(limit, handler).await?;
    // Until the commit has ended, the message stays where its receipt says it is.
    let locked = match work.custody() {
        Some(custody) => Some(custody.lock().await),
        None => None,
    };
    let origin = locked.as_ref().map(Locked::origin);
    let committing = match sealed(work, &reply, origin, cx)? {
        Some(unit) => {
            pass_failpoint(&unit);
            cx.store().commit(unit)
        }
        None => return Ok((reply, None)),
    };
    let outcome = committing.await.map_err(Error::of_store)?;
    Ok((reply, Some(outcome)))
}

/// Cancels a handler that takes longer than `limit`.
///
/// The timer starts when the handler first waits, so a handler that never waits does not read the
/// clock. The timer is unconstrained: a handler that uses up the task's budget cannot starve it.
pub(super) async fn within<T>(
    limit: Duration,
    mut handler: Pin<&mut impl Future<Output = Result<T>>>,
) -> Result<T> {
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(result) = handler.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if timer.is_none() {
            timer.set(Some(unconstrained(sleep(limit))));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Err(too_late(limit))),
            None => Poll::Pending,
        }
    })
    .await
}

fn too_late(limit: Duration) -> Error {
    Error::timed_out(format!(
        "the handler did not finish within {limit:?}: make it faster, or raise `.timeout(…)` of its \
         BoundedContext"
    ))
}

/// Takes the complete unit out of its context; `None` when there is nothing to commit.
#[inline]
fn sealed<W: Work>(
    work: &W,
    reply: &W::Reply,
    origin: Option<Origin>,
    cx: &Context,
) -> Result<Option<UnitOfWork>> {
    // Asked before it is taken, because a unit is large.
    if !work.seals() && cx.is_untouched() {
        return Ok(None);
    }
    let mut unit = cx.take_unit()?;
    work.seal(reply, origin, &mut unit)?;
    Ok((!unit.is_empty()).then_some(unit))
}

/// The failpoints of the two kinds of units: those of callers and those of messages.
fn pass_failpoint(unit: &UnitOfWork) {
    if unit.receipt.is_none() {
        mamey_core::failpoint!("before-commit");
    } else {
        mamey_core::failpoint!("after-handler-before-commit");
    }
}
