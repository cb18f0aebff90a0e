//! The contexts of this process: what each handles, and its queues.

use std::collections::BTreeMap;

use mamey_core::message::{ContextName, Metadata, Partition, Target};
use mamey_core::transport::{Owner, Topology};
use mamey_core::{Error, Result};

use super::error::{owned_by_another, unhandled, unrouted};
use super::queue::Queue;

/// The contexts that were applied.
#[derive(Default)]
pub(super) struct Contexts(BTreeMap<ContextName, Hosted>);

/// One context: what it handles, and a queue for each partition.
struct Hosted {
    topology: Topology,
    queues: BTreeMap<u16, Queue>,
}

/// Which queue.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) context: ContextName,
    pub(super) partition: Partition,
}

impl Contexts {
    pub(super) fn apply(&mut self, topology: &Topology) -> Result<()> {
        let partitions = Partition::all(topology.partitions)?;
        if let Some(hosted) = self.0.get_mut(&topology.context) {
            return hosted.apply(topology);
        }
        let queues = partitions.into_iter().map(|it| (it.number(), Queue::new()));
        let hosted = Hosted { topology: topology.clone(), queues: queues.collect() };
        self.0.insert(topology.context.clone(), hosted);
        Ok(())
    }

    /// The queues that a message goes to, in the order of their contexts' names: one of each
    /// context that handles it and is meant.
    ///
    /// # Errors
    /// `Unroutable` when there is none and there must be one.
    pub(super) fn routes(&self, metadata: &Metadata) -> Result<Vec<(Address, &Queue)>> {
        let meant = |(name, hosted): &(&ContextName, &Hosted)| {
            metadata.target.includes(name) && hosted.handles(&metadata.name)
        };
        let mut routes = Vec::new();
        for (name, hosted) in self.0.iter().filter(meant) {
            let partition = Partition::of_slot(metadata.slot(), hosted.topology.partitions)?;
            if let Some(queue) = hosted.queues.get(&partition.number()) {
                routes.push((Address { context: name.clone(), partition }, queue));
            }
        }
        if routes.is_empty() {
            self.check_unrouted(metadata)?;
        }
        Ok(routes)
    }

    fn check_unrouted(&self, metadata: &Metadata) -> Result<()> {
        match &metadata.target {
            Target::Service(target) if self.0.contains_key(target) => {
                Err(unhandled(&metadata.name, target))
            }
            Target::Any if !metadata.must_route => Ok(()),
            Target::Service(_) | Target::Any => Err(unrouted(metadata)),
        }
    }

    pub(super) fn queue(&mut self, address: &Address) -> Option<&mut Queue> {
        let hosted = self.0.get_mut(&address.context)?;
        hosted.queues.get_mut(&address.partition.number())
    }

    /// The queue of a partition that is subscribed.
    ///
    /// # Errors
    /// `Misconfigured` for a context that was not applied, or with another number of partitions.
    pub(super) fn queue_to_subscribe(&mut self, address: &Address) -> Result<&mut Queue> {
        let Address { context, partition } = address;
        let Some(hosted) = self.0.get_mut(context) else {
            return Err(Error::misconfigured(format!(
                "context `{context}` was not applied to this transport; apply its topology before \
                 subscribing"
            )));
        };
        let partitions = hosted.topology.partitions;
        match hosted.queues.get_mut(&partition.number()) {
            Some(queue) if partition.of() == partitions => Ok(queue),
            _ => Err(Error::misconfigured(format!(
                "context `{context}` has {partitions} partitions, but {partition} was subscribed; \
                 use one number of partitions for topology and consumer"
            ))),
        }
    }

    pub(super) fn queues(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.0.values_mut().flat_map(|hosted| hosted.queues.values_mut())
    }
}

impl Hosted {
    /// Handlers may change. The number of partitions may not: it decides where messages wait already.
    fn apply(&mut self, topology: &Topology) -> Result<()> {
        let (now, asked) = (self.topology.partitions, topology.partitions);
        if now != asked {
            return Err(Error::misconfigured(format!(
                "context `{}` is applied with {now} partitions and cannot change to {asked} while \
                 it runs",
                topology.context
            )));
        }
        let owner = self.owner_beside(topology)?;
        self.topology = topology.clone();
        self.topology.owner = owner;
        Ok(())
    }

    /// The first owner stays the owner.
    fn owner_beside(&self, topology: &Topology) -> Result<Option<Owner>> {
        match (&self.topology.owner, &topology.owner) {
            (Some(owner), Some(other)) if owner.id != other.id => {
                Err(owned_by_another(&topology.context, other, owner))
            }
            (owner, other) => Ok(owner.clone().or_else(|| other.clone())),
        }
    }

    fn handles(&self, name: &str) -> bool {
        self.topology.handles.contains(&name)
    }
}
