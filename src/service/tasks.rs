//! The background work of a service, and how it ends: relays first, then consumers.

use std::sync::{Arc, Mutex, PoisonError};

use mamey_core::{Error, ErrorKind, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The background work of a service. Dropping it cuts the work off.
#[derive(Default)]
pub(super) struct Tasks {
    relays: Group,
    consumers: Group,
    housekeeping: JoinSet<()>,
    pub(super) failure: Failure,
}

#[derive(Default)]
struct Group {
    stop: CancellationToken,
    /// Each returns whether it ended in order.
    running: JoinSet<bool>,
}

/// The first failure of a background task, which ends the whole service.
#[derive(Clone, Default)]
pub(super) struct Failure {
    happened: CancellationToken,
    error: Arc<Mutex<Option<Error>>>,
}

impl Tasks {
    /// Runs one consumer until it is stopped.
    pub(super) fn consume<F>(&mut self, name: String, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.consumers.spawn(name, run, &self.failure);
    }

    /// Runs one relay until it is stopped.
    pub(super) fn relay<F>(&mut self, name: String, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.relays.spawn(name, run, &self.failure);
    }

    /// Runs work that may be cut off at any moment.
    pub(super) fn housekeeping(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.housekeeping.spawn(work);
    }

    /// Stops everything by `deadline`. Consumers continue while relays finish: on the in-process
    /// transport only consumers confirm a publish.
    pub(super) async fn drain(mut self, deadline: Instant) -> Result<()> {
        let halfway = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let relayed = self.relays.finish(halfway).await;
        let consumed = self.consumers.finish(deadline).await;
        self.housekeeping.shutdown().await;
        if relayed && consumed {
            return Ok(());
        }
        Err(cut_off())
    }
}

/// The error of a shutdown that ran out of time.
pub(super) fn cut_off() -> Error {
    Error::timed_out(
        "some work did not end within the drain time (MAMEY_DRAIN_MS) and was cut off; \
         it is done again after the next start",
    )
}

impl Group {
    fn spawn<F>(
        &mut self,
        name: String,
        run: impl FnOnce(CancellationToken) -> F,
        failure: &Failure,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (work, failure) = (run(self.stop.clone()), failure.clone());
        let stop = self.stop.clone();
        self.running.spawn(async move {
            // In a task of its own: a panic becomes an error here.
            let outcome = match AbortOnDrop(tokio::spawn(work)).join().await {
                Ok(outcome) => outcome,
                Err(panic) => Err(Error::other(panic)),
            };
            match outcome {
                Ok(()) => true,
                Err(error) => {
                    // It was stopped and ran out of time, which is no failure.
                    let cut_off = stop.is_cancelled() && error.kind() == ErrorKind::TimedOut;
                    if !cut_off {
                        failure.set(error.with_context(name));
                    }
                    false
                }
            }
        });
    }

    /// Stops all and waits for their end; false when some had to be cut off.
    async fn finish(&mut self, deadline: Instant) -> bool {
        self.stop.cancel();
        let all = async {
            let mut in_order = true;
            while let Some(ended) = self.running.join_next().await {
                in_order &= ended.unwrap_or(false);
            }
            in_order
        };
        let in_order = timeout_at(deadline, all).await.unwrap_or(false);
        self.running.shutdown().await;
        in_order
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> std::result::Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Failure {
    /// Completes when a task has failed.
    pub(super) async fn happened(&self) {
        self.happened.cancelled().await;
    }

    /// Takes out the first failure.
    pub(super) fn take(&self) -> Option<Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) {
        tracing::error!(%error, "a part of the service failed permanently");
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.happened.cancel();
    }
}
