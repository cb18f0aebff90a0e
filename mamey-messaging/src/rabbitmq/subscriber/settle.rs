//! What a subscriber, its deliveries and its task share: what waits, and what was settled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lapin::BasicProperties;
use mamey_core::message::Envelope;
use mamey_core::transport::{Delivery, Settle, Settlement};
use mamey_core::{Error, Result};
use tokio::sync::Notify;

/// What a message was on the broker, to be set aside unchanged.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

/// A message that waits to be taken.
pub(crate) struct Ready {
    pub(crate) tag: u64,
    pub(crate) envelope: Envelope,
    pub(crate) redelivered: bool,
    pub(crate) near_its_limit: bool,
    pub(crate) original: Box<Original>,
}

/// What was settled since the task looked last.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) acked: Vec<u64>,
    pub(crate) rejected: Vec<(u64, Box<Original>, String)>,
}

#[derive(Default)]
struct State {
    /// Counts the channels; a settlement that belongs to an earlier one is void.
    round: u64,
    ready: VecDeque<Ready>,
    /// How many are handed out and not settled.
    in_hand: usize,
    settled: Settled,
    /// One was given back: nothing is handed out until all that are in hand are settled. Then
    /// everything that is unsettled goes back to the queue at once, in its order.
    releasing: bool,
    ended: Option<Result<()>>,
    /// The subscriber waits for a message.
    wanted: bool,
}

/// What a subscriber, its deliveries and its task share.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the subscriber.
    pub(crate) arrived: Notify,
    /// Wakes the task.
    pub(crate) changed: Notify,
}

struct RabbitSettle {
    shared: Arc<Shared>,
    round: u64,
    tag: u64,
    original: Box<Original>,
}

/// A subscriber that waits for a message; no longer when this is dropped.
pub(crate) struct Wanting<'a>(&'a Shared);

/// What a subscriber finds.
pub(crate) enum Next {
    Message(Box<Delivery>),
    NothingYet,
    Ended(Result<()>),
}

impl Shared {
    /// The lock is held for a few moves, never across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic, so poison means nothing here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next(self: &Arc<Self>) -> Next {
        let mut state = self.lock();
        if let Some(ended) = &mut state.ended {
            // The error is told once; whoever asks on gets the end.
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
    pub(crate) fn begin_round(&self) {
        let mut state = self.lock();
        state.round += 1;
        state.ready.clear();
        state.in_hand = 0;
        state.settled = Settled::default();
        state.releasing = false;
    }

    /// Says that the subscriber waits, for as long as the guard is kept.
    pub(crate) fn want(&self) -> Wanting<'_> {
        self.lock().wanted = true;
        self.changed.notify_one();
        Wanting(self)
    }

    pub(crate) fn push(&self, ready: Ready) {
        let mut state = self.lock();
        // What came behind one that goes back goes back with it.
        if !state.releasing {
            state.ready.push_back(ready);
            self.arrived.notify_one();
        }
    }

    pub(crate) fn take_settled(&self) -> Settled {
        std::mem::take(&mut self.lock().settled)
    }

    /// Whether everything that is unsettled may go back now.
    pub(crate) fn is_released(&self) -> bool {
        let state = self.lock();
        let taken = state.settled.acked.is_empty() && state.settled.rejected.is_empty();
        state.releasing && state.in_hand == 0 && taken
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().wanted
    }

    pub(crate) fn end(&self, how: Result<()>) {
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
            Settlement::Reject { reason } => state.settled.rejected.push((tag, original, reason)),
            Settlement::Return => {
                state.releasing = true;
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

/// The error of a subscription that the broker ended.
pub(crate) fn cancelled(queue: &str) -> Error {
    Error::unavailable(format!(
        "the broker ended the subscription to queue `{queue}`: it was deleted or moved; it is \
         declared again"
    ))
}
