//! What all handles of one in-process transport share: contexts, their queues, and routing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mamey_core::message::{ContextName, Envelope, Metadata, Partition, Target};
use mamey_core::transport::{Settlement, Subscription, Topology};
use mamey_core::{Error, Result};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::dead_letters::{Rejected, RejectedMessage};
use super::queue::{Entry, Next, Queue, SubscriptionId};

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    closed: bool,
    contexts: BTreeMap<ContextName, Hosted>,
    sequence: u64,
    subscriptions: u64,
    rejected: Rejected,
}

struct Hosted {
    topology: Topology,
    queues: BTreeMap<u16, Queue>,
}

/// A queue that a message goes to, and the places that are left in it.
pub(super) struct Route {
    pub(super) address: Address,
    pub(super) places: Arc<Semaphore>,
}

/// Which queue.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) context: ContextName,
    pub(super) partition: Partition,
}

impl Shared {
    /// The lock is held for a few map operations, never across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic, so poison means nothing here.
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
        let partitions = Partition::all(topology.partitions)?;
        if let Some(hosted) = self.contexts.get_mut(&topology.context) {
            return hosted.apply(topology);
        }
        let queues = partitions.into_iter().map(|it| (it.number(), Queue::new()));
        let hosted = Hosted { topology: topology.clone(), queues: queues.collect() };
        self.contexts.insert(topology.context.clone(), hosted);
        Ok(())
    }

    /// The queues that a message goes to: one of each context that handles it and is meant.
    pub(super) fn routes(&self, metadata: &Metadata) -> Result<Vec<Route>> {
        self.ensure_open()?;
        let meant = |(name, hosted): &(&ContextName, &Hosted)| {
            metadata.target.includes(name) && hosted.handles(&metadata.name)
        };
        let mut routes = Vec::new();
        for (name, hosted) in self.contexts.iter().filter(meant) {
            let partition = Partition::of_slot(metadata.slot(), hosted.topology.partitions)?;
            if let Some(queue) = hosted.queues.get(&partition.number()) {
                let context = name.clone();
                routes.push(Route {
                    address: Address { context, partition },
                    places: queue.places(),
                });
            }
        }
        if routes.is_empty() {
            self.check_unrouted(metadata)?;
        }
        Ok(routes)
    }

    fn check_unrouted(&self, metadata: &Metadata) -> Result<()> {
        let name = &metadata.name;
        match &metadata.target {
            Target::Service(target) if self.contexts.contains_key(target) => {
                Err(Error::unroutable(format!(
                    "`{name}` for context `{target}` has no route: `{target}` is hosted here but \
                     does not handle it; register a handler for it there, or mend the target"
                )))
            }
            Target::Service(target) => Err(Error::unroutable(format!(
                "`{name}` for context `{target}` has no route: no such context is hosted in this \
                 process; host it here, mend the target, or use a transport that reaches other \
                 processes"
            ))),
            Target::Any if metadata.must_route => Err(Error::unroutable(format!(
                "`{name}` must be routed, but no context of this process handles it: host one \
                 that does, or drop `must_route`"
            ))),
            Target::Any => Ok(()),
        }
    }

    /// Puts the message into all its queues at once and says how to await each.
    pub(super) fn enqueue(
        &mut self,
        envelope: &Envelope,
        places: Vec<(Address, OwnedSemaphorePermit)>,
    ) -> Result<Vec<oneshot::Receiver<()>>> {
        self.ensure_open()?;
        let mut outcomes = Vec::with_capacity(places.len());
        for (address, place) in places {
            let (entry, outcome) = Entry::new(envelope.clone(), place);
            self.sequence += 1;
            let sequence = self.sequence;
            if let Some(queue) = self.queue(&address) {
                queue.push(sequence, entry);
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    pub(super) fn subscribe(
        &mut self,
        subscription: &Subscription,
    ) -> Result<(SubscriptionId, Arc<Notify>)> {
        self.ensure_open()?;
        self.subscriptions += 1;
        let id = SubscriptionId(self.subscriptions);
        let (context, partition) = (&subscription.context, subscription.partition);
        let Some(hosted) = self.contexts.get_mut(context) else {
            return Err(Error::misconfigured(format!(
                "context `{context}` was not applied to this transport; apply its topology before \
                 subscribing"
            )));
        };
        let partitions = hosted.topology.partitions;
        match hosted.queues.get_mut(&partition.number()) {
            Some(queue) if partition.of() == partitions => {
                queue.subscribe(id);
                Ok((id, queue.changed()))
            }
            _ => Err(Error::misconfigured(format!(
                "context `{context}` has {partitions} partitions, but {partition} was subscribed; \
                 use one number of partitions for topology and consumer"
            ))),
        }
    }

    pub(super) fn unsubscribe(&mut self, address: &Address, id: SubscriptionId) {
        if let Some(queue) = self.queue(address) {
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
        self.queue(address).map(|queue| queue.next(id, prefetch))
    }

    pub(super) fn settle(
        &mut self,
        address: &Address,
        sequence: u64,
        id: SubscriptionId,
        settlement: Settlement,
    ) {
        let Some(queue) = self.queue(address) else {
            return;
        };
        let Some(entry) = queue.settle(sequence, id, &settlement) else {
            return;
        };
        let envelope = entry.finish();
        if let Settlement::Reject { reason } = settlement {
            self.reject(address, envelope, reason);
        }
    }

    fn reject(&mut self, address: &Address, envelope: Envelope, reason: String) {
        let context = address.context.clone();
        tracing::error!(
            %context, message = %envelope.metadata.name, id = %envelope.metadata.id, %reason,
            "a message was rejected: neither its handler nor the store could take it"
        );
        self.rejected.push(RejectedMessage { context, envelope, reason });
    }

    pub(super) fn rejected(&self) -> Vec<RejectedMessage> {
        self.rejected.to_vec()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        let hosted = self.contexts.values_mut();
        for queue in hosted.flat_map(|hosted| hosted.queues.values_mut()) {
            queue.close();
        }
    }

    fn queue(&mut self, address: &Address) -> Option<&mut Queue> {
        let hosted = self.contexts.get_mut(&address.context)?;
        hosted.queues.get_mut(&address.partition.number())
    }
}

impl Hosted {
    /// Handlers may come and go; the number of partitions decides where messages wait already.
    fn apply(&mut self, topology: &Topology) -> Result<()> {
        let (now, asked) = (self.topology.partitions, topology.partitions);
        if now != asked {
            return Err(Error::misconfigured(format!(
                "context `{}` is applied with {now} partitions and cannot change to {asked} while \
                 it runs",
                topology.context
            )));
        }
        self.topology = topology.clone();
        Ok(())
    }

    fn handles(&self, name: &str) -> bool {
        self.topology.handles.contains(&name)
    }
}

pub(super) fn closed() -> Error {
    Error::unavailable("the in-process transport is closed")
}
