//! Work that goes on when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs within the task that waits for it, which costs no hop to another. Dropped before its end,
/// it goes on in a task of its own.
pub(super) struct Continued<T: Send + 'static>(Option<Work<T>>);

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T: Send + 'static> Continued<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Continued<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out while it is polled: after a panic it must not be polled again.
        let Some(mut work) = self.0.take() else {
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Continued<T> {
    fn drop(&mut self) {
        // Without a runtime the process is about to end.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn it_gives_its_outcome_to_who_waits() {
        assert_eq!(Continued::new(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn it_goes_on_when_who_waited_has_left() {
        let (done, is_done) = oneshot::channel();
        let work = Continued::new(async move {
            sleep(Duration::from_millis(20)).await;
            done.send(()).unwrap();
        });
        assert!(timeout(Duration::from_millis(10), work).await.is_err());
        is_done.await.unwrap();
    }

    #[test]
    fn it_ends_in_peace_where_there_is_no_runtime() {
        drop(Continued::new(async {}));
    }
}
