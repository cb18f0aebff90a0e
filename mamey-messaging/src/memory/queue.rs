//! One partition of a context's input: the messages that wait, those that are unsettled, and the
//! subscription that receives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mamey_core::Error;
use mamey_core::message::Envelope;
use mamey_core::transport::Settlement;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// How many messages one partition holds, unsettled ones included; then publishers wait.
pub const QUEUE_MESSAGES_MAX: usize = 1024;

/// A message in the queue. Its order is its sequence, which it keeps when it is returned.
pub(super) struct Entry {
    pub(super) envelope: Envelope,
    pub(super) redelivered: bool,
    /// An instance may have been handling it when that ended.
    pub(super) suspect: bool,
    /// Tells the publisher, with the reason if the message was rejected; dropped unsent when the
    /// transport closes.
    settled: oneshot::Sender<Settled>,
    /// Its place among the messages that the queue may hold.
    _place: OwnedSemaphorePermit,
}

/// What a publisher learns: with the reason when the context has rejected the message.
pub(super) type Settled = Result<(), Error>;

/// Who received a message: settling is checked against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscriptionId(pub(super) u64);

pub(super) struct Queue {
    waiting: BTreeMap<u64, Entry>,
    unsettled: BTreeMap<u64, (SubscriptionId, Entry)>,
    subscription: Option<SubscriptionId>,
    places: Arc<Semaphore>,
    /// Wakes the subscriber.
    changed: Arc<Notify>,
}

/// What a subscriber finds.
pub(super) enum Next {
    Message {
        sequence: u64,
        envelope: Box<Envelope>,
        redelivered: bool,
        suspect: bool,
    },
    NothingYet,
    /// Another subscriber took over.
    Replaced,
}

impl Entry {
    pub(super) fn new(
        envelope: Envelope,
        place: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Settled>) {
        let (settled, outcome) = oneshot::channel();
        let entry = Self { envelope, redelivered: false, suspect: false, settled, _place: place };
        (entry, outcome)
    }

    /// Tells the publisher that this context is done with the message, or why it is not.
    pub(super) fn finish(self, settled: Settled) -> Envelope {
        // The publisher may have stopped waiting; then its outbox publishes the message again.
        let _ = self.settled.send(settled);
        self.envelope
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            subscription: None,
            places: Arc::new(Semaphore::new(QUEUE_MESSAGES_MAX)),
            changed: Arc::new(Notify::new()),
        }
    }

    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    pub(super) fn push(&mut self, sequence: u64, entry: Entry) {
        self.waiting.insert(sequence, entry);
        self.changed.notify_waiters();
    }

    /// Lets a new subscriber take over; what the old one left unsettled goes back to its place.
    pub(super) fn subscribe(&mut self, subscription: SubscriptionId) {
        self.requeue();
        self.subscription = Some(subscription);
        self.changed.notify_waiters();
    }

    /// Ends a subscription, unless another took over before.
    pub(super) fn unsubscribe(&mut self, subscription: SubscriptionId) {
        if self.subscription == Some(subscription) {
            self.subscription = None;
            self.requeue();
        }
    }

    fn requeue(&mut self) {
        for (sequence, (_, mut entry)) in std::mem::take(&mut self.unsettled) {
            entry.redelivered = true;
            self.waiting.insert(sequence, entry);
        }
    }

    pub(super) fn next(&mut self, subscription: SubscriptionId, prefetch: usize) -> Next {
        if self.subscription != Some(subscription) {
            return Next::Replaced;
        }
        if self.unsettled.len() >= prefetch {
            return Next::NothingYet;
        }
        let Some((sequence, entry)) = self.waiting.pop_first() else {
            return Next::NothingYet;
        };
        let envelope = Box::new(entry.envelope.clone());
        let (redelivered, suspect) = (entry.redelivered, entry.suspect);
        self.unsettled.insert(sequence, (subscription, entry));
        Next::Message { sequence, envelope, redelivered, suspect }
    }

    /// Settles a delivery and gives back the entry that has left the queue.
    ///
    /// A replaced subscriber may still acknowledge: what it committed is committed. Its other
    /// settlements have no effect, because the message now belongs to its successor.
    pub(super) fn settle(
        &mut self,
        sequence: u64,
        subscription: SubscriptionId,
        settlement: &Settlement,
    ) -> Option<Entry> {
        let own = matches!(self.unsettled.get(&sequence), Some((by, _)) if *by == subscription);
        let settled = match (own, settlement) {
            (true, Settlement::Return) => {
                let (_, mut entry) = self.unsettled.remove(&sequence)?;
                entry.redelivered = true;
                self.waiting.insert(sequence, entry);
                None
            }
            (true, _) | (false, Settlement::Ack) => self.remove(sequence),
            (false, _) => None,
        };
        self.changed.notify_waiters();
        settled
    }

    fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let unsettled = self.unsettled.remove(&sequence).map(|(_, entry)| entry);
        unsettled.or_else(|| self.waiting.remove(&sequence))
    }

    /// Drops everything; publishers that wait see their channel closed.
    pub(super) fn close(&mut self) {
        self.places.close();
        self.subscription = None;
        self.waiting.clear();
        self.unsettled.clear();
        self.changed.notify_waiters();
    }
}
