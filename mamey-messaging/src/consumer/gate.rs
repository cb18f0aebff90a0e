//! Lets the handler of one message run while no other message is handled in this process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a handler that is to run alone waits for those that run. After that it runs beside them,
/// while no other begins: what has run for so long is hardly what ends the process.
const ALONE_AFTER: Duration = Duration::from_secs(10);

/// The gate that all handlers of messages of this process pass, of whatever context and service: each of
/// them can end the process.
pub(super) static GATE: Gate = Gate::new();

/// Closed while a handler runs alone.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    running: usize,
    closed: bool,
}

/// A handler that runs beside others, until it is dropped.
pub(super) struct Entered<'g>(&'g Gate);

/// Keeps all others from beginning, until it is dropped.
pub(super) struct Closed<'g>(&'g Gate);

impl Gate {
    pub(super) const fn new() -> Self {
        let state = State { running: 0, closed: false };
        Self { state: Mutex::new(state), changed: Notify::const_new() }
    }

    /// Waits until no handler runs alone, or is about to.
    pub(super) async fn enter(&self) -> Entered<'_> {
        self.count_in(1).await;
        Entered(self)
    }

    /// As [`Gate::enter`], for so many at once: one that waited while others are in would wait for
    /// itself.
    pub(super) async fn enter_together(&self, handlers: usize) -> Vec<Entered<'_>> {
        self.count_in(handlers).await;
        (0..handlers).map(|_| Entered(self)).collect()
    }

    async fn count_in(&self, handlers: usize) {
        self.wait_for(|state| {
            let open = !state.closed;
            state.running += if open { handlers } else { 0 };
            open
        })
        .await;
    }

    /// Lets no other handler begin, and waits until those that run have ended, but not for ever.
    pub(super) async fn close(&self) -> Closed<'_> {
        self.wait_for(|state| !std::mem::replace(&mut state.closed, true)).await;
        let closed = Closed(self);
        let alone = self.wait_for(|state| state.running == 0);
        if timeout(ALONE_AFTER, alone).await.is_err() {
            tracing::warn!(
                running = self.lock().running,
                "handlers run for long: one that is to run alone runs beside them"
            );
        }
        closed
    }

    /// Waits until `ready`, which may change the state when it is.
    async fn wait_for(&self, mut ready: impl FnMut(&mut State) -> bool) {
        if ready(&mut self.lock()) {
            return;
        }
        loop {
            // Listens before it looks, so that a change in between wakes it.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if ready(&mut self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// The lock is held for a few operations, never across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running -= 1;
        let awaited = state.closed && state.running == 0;
        drop(state);
        if awaited {
            self.0.changed.notify_waiters();
        }
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = false;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn one_runs_alone_between_those_before_and_after_it() {
        let gate = Gate::new();
        let before = (gate.enter().await, gate.enter_together(2).await);
        let mut alone = Box::pin(gate.close());
        assert!(alone.as_mut().now_or_never().is_none(), "others run");
        let mut after = Box::pin(gate.enter());
        assert!(after.as_mut().now_or_never().is_none(), "one is about to run alone");
        drop(before);
        let alone = alone.await;
        assert!(after.as_mut().now_or_never().is_none(), "one runs alone");
        let mut second = Box::pin(gate.close());
        assert!(second.as_mut().now_or_never().is_none(), "one at a time");
        drop(alone);
        let second = tokio::select! {
            biased;
            _ = &mut after => None,
            second = &mut second => Some(second),
        };
        assert!(second.is_none(), "those that wait are let in");
        drop(after);
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gives_up_waiting_opens_the_gate() {
        let gate = Gate::new();
        let runs = gate.enter().await;
        assert!(gate.close().now_or_never().is_none());
        assert!(gate.enter().now_or_never().is_some());
        drop(runs);
        assert!(gate.close().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_does_not_wait_for_ever_for_those_that_run() {
        let gate = Gate::new();
        let (_hangs, asked) = (gate.enter().await, Instant::now());
        let _alone = gate.close().await;
        assert_eq!(asked.elapsed(), ALONE_AFTER);
        assert!(gate.enter().now_or_never().is_none());
    }
}
