//! Where a message is stored while its handler runs, which may change meanwhile.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::store::Origin;

/// Where a message is stored until its effect commits.
///
/// A consumer may move a message from the transport into parking while its handler runs, so that
/// nothing behind it waits for a slow handler. So a commit that records what becomes of the message
/// locks this first, and asks where the message is then: it is not moved during a commit, and a
/// commit waits until a move has ended.
///
/// ```
/// use mamey::inbound::Custody;
/// use mamey::store::Origin;
///
/// # async fn commit() {
/// let custody = Custody::new(Origin::Delivery);
/// if let Some(moving) = custody.begin_move() {
///     // The store has committed that the message is parked.
///     moving.succeed();
/// }
/// let locked = custody.lock().await;
/// assert_eq!(locked.origin(), Origin::Parked);
/// # }
/// ```
#[derive(Debug)]
pub struct Custody(Mutex<State>);

#[derive(Debug)]
struct State {
    origin: Origin,
    stage: Stage,
    /// Waits for the end of a move.
    waiting: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Still,
    Moving,
    Locked,
}

impl Custody {
    /// A message that is stored there.
    #[must_use]
    pub const fn new(origin: Origin) -> Self {
        Self(Mutex::new(State { origin, stage: Stage::Still, waiting: None }))
    }

    /// Where the message is. Unless it is locked, that may change at any moment.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.state().origin
    }

    /// Keeps the message where it is until the result is dropped. Waits while it is moved. One
    /// handler runs at a time, so nothing else locks it.
    ///
    /// # Cancellation
    /// Safe: it is locked only once the future is ready.
    pub async fn lock(&self) -> Locked<'_> {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.stage == Stage::Moving {
                state.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.stage = Stage::Locked;
            Poll::Ready(Locked { custody: self, origin: state.origin })
        })
        .await
    }

    /// Begins to move the message from the transport into parking; `None` when it is not with the
    /// transport, or when it is locked or moved already.
    #[must_use]
    pub fn begin_move(&self) -> Option<Move<'_>> {
        let mut state = self.state();
        if state.origin != Origin::Delivery || state.stage != Stage::Still {
            return None;
        }
        state.stage = Stage::Moving;
        Some(Move(self))
    }

    fn end(&self) {
        let waiting = {
            let mut state = self.state();
            state.stage = Stage::Still;
            state.waiting.take()
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Held for a few assignments, never across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that stays where it is until this is dropped.
#[derive(Debug)]
pub struct Locked<'a> {
    custody: &'a Custody,
    origin: Origin,
}

impl Locked<'_> {
    /// Where the message is.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.custody.end();
    }
}

/// A move into parking. Dropped, it has failed: the message is still with the transport.
#[derive(Debug)]
pub struct Move<'a>(&'a Custody);

impl Move<'_> {
    /// The message is parked.
    pub fn succeed(self) {
        self.0.state().origin = Origin::Parked;
    }
}

impl Drop for Move<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use futures_util::FutureExt;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn locked(custody: &Custody) -> Option<Locked<'_>> {
        custody.lock().now_or_never()
    }

    #[test]
    fn a_message_is_not_moved_during_a_commit() {
        let custody = Custody::new(Origin::Delivery);
        let commit = locked(&custody).unwrap();
        assert_eq!(commit.origin(), Origin::Delivery);
        assert!(custody.begin_move().is_none());
        drop(commit);
        assert!(custody.begin_move().is_some());
    }

    #[test]
    fn a_commit_waits_for_a_move_and_learns_how_it_ended() {
        let custody = Custody::new(Origin::Delivery);
        for (succeeds, origin) in [(false, Origin::Delivery), (true, Origin::Parked)] {
            let moving = custody.begin_move().unwrap();
            assert!(custody.begin_move().is_none(), "one move at a time");
            let mut commit = pin!(custody.lock());
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut cx = Context::from_waker(&waker);
            assert!(commit.as_mut().poll(&mut cx).is_pending());
            if succeeds {
                moving.succeed();
            } else {
                drop(moving);
            }
            assert_eq!(woken.0.load(Ordering::SeqCst), 1);
            let ready = commit.as_mut().poll(&mut cx).map(|locked| locked.origin());
            assert_eq!(ready, Poll::Ready(origin));
        }
        assert!(custody.begin_move().is_none(), "it is parked already");
    }
}
