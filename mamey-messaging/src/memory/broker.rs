//! What all handles of one in-process transport share: the contexts, their queues and dead letters.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mamey_core::Result;
use mamey_core::message::{Envelope, Metadata};
use mamey_core::transport::{Settlement, Topology};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::dead_letters::{DeadLetters, RejectedMessage};
use super::error::{closed, rejected};
use super::queue::{Entry, Next, Settled, SubscriptionId};
use super::topology::{Address, Contexts};

/// What all handles of one transport share.
#[derive(Default)]
pub(super) struct Broker {
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    closed: bool,
    contexts: Contexts,
    sequence: u64,
    subscriptions: u64,
    dead_letters: DeadLetters,
}

/// A queue that a message goes to, and the free places in it.
pub(super) struct Route {
    pub(super) address: Address,
    pub(super) places: Arc<Semaphore>,
}

impl Broker {
    /// The lock is held for a few map operations, never across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic, so a poisoned lock is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn ensure_open(&self) -> Result<()> {
        if self.closed {
            return Err(closed());
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, topology: &Topology) -> Result<()> {
        self.ensure_open()?;
        self.contexts.apply(topology)
    }

    /// The queues that a message goes to.
    pub(super) fn routes(&self, metadata: &Metadata) -> Result<Vec<Route>> {
        self.ensure_open()?;
        let routes = self.contexts.routes(metadata)?.into_iter();
        Ok(routes.map(|(address, queue)| Route { address, places: queue.places() }).collect())
    }

    /// Puts the message into all its queues at once; each receiver resolves when that queue's
    /// context has settled it.
    pub(super) fn enqueue(
        &mut self,
        envelope: &Envelope,
        places: Vec<(Address, OwnedSemaphorePermit)>,
    ) -> Result<Vec<oneshot::Receiver<Settled>>> {
        self.ensure_open()?;
        let mut settled = Vec::with_capacity(places.len());
        for (address, place) in places {
            let (entry, when_settled) = Entry::new(envelope.clone(), place);
            self.sequence += 1;
            if let Some(queue) = self.contexts.queue(&address) {
                queue.push(self.sequence, entry);
            }
            settled.push(when_settled);
        }
        Ok(settled)
    }

    pub(super) fn subscribe(&mut self, address: &Address) -> Result<(SubscriptionId, Arc<Notify>)> {
        self.ensure_open()?;
        self.subscriptions += 1;
        let id = SubscriptionId(self.subscriptions);
        let queue = self.contexts.queue_to_subscribe(address)?;
        queue.subscribe(id);
        Ok((id, queue.changed()))
    }

    pub(super) fn unsubscribe(&mut self, address: &Address, id: SubscriptionId) {
        if let Some(queue) = self.contexts.queue(address) {
            queue.unsubscribe(id);
        }
    }

    /// `None` when the transport is closed.
    pub(super) fn next(
        &mut self,
        address: &Address,
        id: SubscriptionId,
        prefetch: usize,
    ) -> Option<Next> {
        self.ensure_open().ok()?;
        self.contexts.queue(address).map(|queue| queue.next(id, prefetch))
    }

    pub(super) fn settle(
        &mut self,
        address: &Address,
        sequence: u64,
        id: SubscriptionId,
        settlement: Settlement,
    ) {
        let Some(queue) = self.contexts.queue(address) else {
            return;
        };
        let Some(entry) = queue.settle(sequence, id, &settlement) else {
            return;
        };
        match settlement {
            Settlement::Reject { reason } => {
                let why = rejected(&entry.envelope.metadata, &address.context, &reason);
                // Not confirmed: nothing here outlives the process.
                let envelope = entry.finish(Err(why));
                self.reject(address, envelope, reason);
            }
            Settlement::Ack | Settlement::Return => {
                let envelope = entry.finish(Ok(()));
                self.dead_letters.remove(&address.context, envelope.metadata.id);
            }
        }
    }

    fn reject(&mut self, address: &Address, envelope: Envelope, reason: String) {
        let context = address.context.clone();
        tracing::error!(
            %context, message = %envelope.metadata.name, sender = %envelope.metadata.sender,
            id = %envelope.metadata.id, %reason,
            "a message was rejected: neither its handler nor the store could take it"
        );
        self.dead_letters.push(RejectedMessage { context, envelope, reason });
    }

    pub(super) fn dead_letters(&self) -> Vec<RejectedMessage> {
        self.dead_letters.to_vec()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.contexts.queues().for_each(|queue| queue.close());
    }
}
