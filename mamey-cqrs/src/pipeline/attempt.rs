//! One run of user code: held to its time, its panics turned into errors.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use mamey_core::{Error, ErrorKind, Result};
use tokio::task::coop::unconstrained;
use tokio::time::sleep;

/// Gives up a handler that takes longer than `limit`.
///
/// A handler that never waits costs no look at a clock: the timer begins with its first pause. It
/// is unconstrained, so that a handler that uses up the task's budget cannot starve it.
pub(crate) async fn within<T>(
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

/// Turns a panic into an error that names the message.
pub(crate) async fn without_panics<T>(
    message: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(panicked(message, &*panic)),
    }
}

fn too_late(limit: Duration) -> Error {
    Error::timed_out(format!(
        "the handler did not finish within {limit:?}: make it faster, or raise `.timeout(…)` of its \
         BoundedContext"
    ))
}

fn panicked(message: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it left no text");
    Error::new(ErrorKind::Other, format!("handler of `{message}` panicked: {text}"))
}
