//! What a subscriber, its deliveries and its task share: what waits, and what was settled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mamey_core::Result;
use mamey_core::message::Envelope;
use mamey_core::transport::{Delivery, Settle, Settlement};
use tokio::sync::Notify;

use crate::rabbitmq::dead_letters::{Original, Why};

/// A message that waits to be taken.
pub(super) struct Ready {
    pub(super) tag: u64,
    pub(super) envelope: Envelope,
    pub(super) redelivered: bool,
    pub(super) near_its_limit: bool,
    pub(super) original: Box<Original>,
}

/// What was settled since the task last looked.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) acked: Vec<u64>,
    pub(super) rejected: Vec<(u64, Box<Original>, Why)>,
}

#[derive(Default)]
struct State {
    /// Counts the channels; a settlement of an earlier channel has no effect.
    round: u64,
    ready: VecDeque<Ready>,
    /// How many deliveries are handed out and not settled.
    in_hand: usize,
    settled: Settled,
    /// A delivery was returned: nothing more is handed out. Once all that are in hand are settled,
    /// everything unsettled goes back to the queue together, in its order.
    returning: bool,
    ended: Option<Result<()>>,
    /// The subscriber waits for a message.
    wanted: bool,
}

/// What a subscriber, its deliveries and its task share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the subscriber.
    pub(super) arrived: Notify,
    /// Wakes the task.
    pub(super) changed: Notify,
}

struct RabbitSettle {
    shared: Arc<Shared>,
    round: u64,
    tag: u64,
    original: Box<Original>,
}

/// The subscriber waits for a message until this is dropped.
pub(super) struct Wanting<'a>(&'a Shared);

/// What a subscriber finds.
pub(super) enum Next {
    Message(Box<Delivery>),
    NothingYet,
    Ended(Result<()>),
}

impl Shared {
    /// The lock is held for a few operations, never across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next(self: &Arc<Self>) -> Next {
        let mut state = self.lock();
        if let Some(ended) = &mut state.ended {
            // The error is returned once; later calls get the end.
            return Next::Ended(std::mem::replace(ended, Ok(())));
        }
        let Some(ready) = state.ready.pop_front() else {
            return Next::NothingYet;
        };
        state.in_hand += 1;
        let Ready { tag, envelope, redelivered, near_its_limit, original } = ready;
        let settle = RabbitSettle { shared: Arc::clone(self), round: state.round, tag, original };
        let delivery = Delivery::new(envelope, redelivered, Box::new(settle));
        Next::Message(Box::new(delivery.near_its_limit(near_its_limit)))
    }

    /// Begins with a new channel.
    pub(super) fn begin_round(&self) {
        let mut state = self.lock();
        state.round += 1;
        state.ready.clear();
        state.in_hand = 0;
        state.settled = Settled::default();
        state.returning = false;
    }

    /// Says that the subscriber waits, for as long as the guard is kept.
    pub(super) fn want(&self) -> Wanting<'_> {
        self.lock().wanted = true;
        self.changed.notify_one();
        Wanting(self)
    }

    pub(super) fn push(&self, ready: Ready) {
        let mut state = self.lock();
        // What was delivered after a returned message goes back with it.
        if !state.returning {
            state.ready.push_back(ready);
            self.arrived.notify_one();
        }
    }

    pub(super) fn take_settled(&self) -> Settled {
        std::mem::take(&mut self.lock().settled)
    }

    /// Whether everything unsettled can go back now.
    pub(super) fn is_returnable(&self) -> bool {
        let state = self.lock();
        let taken = state.settled.acked.is_empty() && state.settled.rejected.is_empty();
        state.returning && state.in_hand == 0 && taken
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.lock().wanted
    }

    pub(super) fn end(&self, how: Result<()>) {
        let mut state = self.lock();
        state.ready.clear();
        state.ended.get_or_insert(how);
        self.arrived.notify_one();
    }

    fn settle(&self, round: u64, tag: u64, original: Box<Original>, settlement: Settlement) {
        let mut state = self.lock();
        if state.round != round {
            return;
        }
        state.in_hand = state.in_hand.saturating_sub(1);
        match settlement {
            Settlement::Ack => state.settled.acked.push(tag),
            Settlement::Reject { reason, detail } => {
                state.settled.rejected.push((tag, original, Why { reason, detail }));
            }
            Settlement::Return => {
                state.returning = true;
                state.ready.clear();
            }
        }
        self.changed.notify_one();
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.lock().wanted = false;
    }
}

impl Settle for RabbitSettle {
    fn settle(self: Box<Self>, settlement: Settlement) {
        let Self { shared, round, tag, original } = *self;
        shared.settle(round, tag, original, settlement);
    }
}
