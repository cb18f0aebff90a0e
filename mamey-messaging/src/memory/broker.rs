//! What all handles of one in-process transport share: the contexts, their queues and what they have
//! rejected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mamey_core::Result;
use mamey_core::message::{ContextName, Envelope, Metadata};
use mamey_core::transport::{RejectReason, RejectedTotals, Settlement, Topology};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::{closed, full, rejected};
use super::queue::{Entry, Next, Settled, SubscriptionId};
use super::topology::{Address, Contexts};
use super::undecided::{Held, Undecided};
use crate::common::rejected_stats::RejectedStats;

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
    pub(super) rejected: Undecided,
    rejected_stats: BTreeMap<ContextName, RejectedStats>,
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

    /// The queues that a message goes to, but that of a context whose operator has discarded it;
    /// `None` when no context subscribes to it.
    ///
    /// # Errors
    /// `Unroutable`, and `Unavailable` while a context's operator has yet to decide on it.
    pub(super) fn routes(&self, metadata: &Metadata) -> Result<Option<Vec<Route>>> {
        self.ensure_open()?;
        let all = self.contexts.routes(metadata)?;
        if all.is_empty() {
            return Ok(None);
        }
        let mut routes = Vec::with_capacity(all.len());
        for (address, queue) in all {
            match self.rejected.held(&address.context, metadata) {
                None => routes.push(Route { address, places: queue.places() }),
                Some(Held::Discarded) => {}
                Some(Held::Rejected(detail)) => {
                    return Err(rejected(metadata, &address.context, &detail));
                }
            }
        }
        Ok(Some(routes))
    }

    /// Puts the message into all its queues at once; each receiver resolves when that queue's
    /// context has settled it.
    pub(super) fn enqueue(
        &mut self,
        envelope: &Envelope,
        suspect: bool,
        places: Vec<(Address, OwnedSemaphorePermit)>,
    ) -> Result<Vec<oneshot::Receiver<Settled>>> {
        self.ensure_open()?;
        let mut settled = Vec::with_capacity(places.len());
        for (address, place) in places {
            let (mut entry, when_settled) = Entry::new(envelope.clone(), place);
            (entry.suspect, entry.redelivered) = (suspect, suspect);
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
            Settlement::Reject { reason, detail } => {
                let why = rejected(&entry.envelope.metadata, &address.context, &detail);
                // Not confirmed: nothing here outlives the process.
                let envelope = entry.finish(Err(why));
                self.reject(address, envelope, reason, detail);
            }
            Settlement::Ack | Settlement::Return => drop(entry.finish(Ok(()))),
        }
    }

    fn reject(
        &mut self,
        address: &Address,
        envelope: Envelope,
        reason: RejectReason,
        detail: String,
    ) {
        let context = &address.context;
        tracing::error!(
            %context, message = %envelope.metadata.name, sender = %envelope.metadata.sender,
            id = %envelope.metadata.id, %reason, detail,
            "a message was rejected and stays in its sender's outbox"
        );
        self.rejected_stats.entry(context.clone()).or_default().count(reason);
        self.rejected.push(address, envelope, reason, detail);
    }

    /// Delivers a message once more, of which no publisher waits to hear.
    ///
    /// # Errors
    /// `Unavailable` when its queue has no place.
    pub(super) fn enqueue_again(&mut self, address: &Address, envelope: Envelope) -> Result<()> {
        self.sequence += 1;
        if let Some(queue) = self.contexts.queue(address) {
            let place = queue.places().try_acquire_owned().map_err(|_| full(&address.context))?;
            let (mut entry, _) = Entry::new(envelope, place);
            entry.redelivered = true;
            queue.push(self.sequence, entry);
        }
        Ok(())
    }

    pub(super) fn rejected_totals(&self, context: &ContextName) -> RejectedTotals {
        self.rejected_stats.get(context).map(RejectedStats::totals).unwrap_or_default()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.contexts.queues().for_each(|queue| queue.close());
    }
}
