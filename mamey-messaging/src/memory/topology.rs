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
    queues: BTreeMap<Partition, Queue>,
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
            return hosted.apply(topology, partitions);
        }
        let hosted = Hosted { topology: topology.clone(), queues: new_queues(partitions) };
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
            if let Some(queue) = hosted.queues.get(&partition) {
                routes.push((Address { context: name.clone(), partition }, queue));
            }
        }
        if routes.is_empty() {
            self.check_unrouted(metadata)?;
        }
        Ok(routes)
    }

    /// Whether a context takes messages of this name; `None` for one that was not applied.
    pub(super) fn takes(&self, context: &ContextName, name: &str) -> Option<bool> {
        self.0.get(context).map(|hosted| hosted.handles(name))
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
        hosted.queues.get_mut(&address.partition)
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
        match hosted.queues.get_mut(partition) {
            Some(queue) => Ok(queue),
            None => Err(Error::misconfigured(format!(
                "context `{context}` has {partitions} partitions, but {partition} was subscribed; \
                 use one number of partitions for topology and consumer"
            ))),
        }
    }

    pub(super) fn queues(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.0.values_mut().flat_map(|hosted| hosted.queues.values_mut())
    }
}

fn new_queues(partitions: Vec<Partition>) -> BTreeMap<Partition, Queue> {
    partitions.into_iter().map(|partition| (partition, Queue::new())).collect()
}

impl Hosted {
    /// Adds what is handled and takes away what is forgotten: another build of the context may handle
    /// other messages. The number of partitions decides where messages wait already: another one takes
    /// over from this one by name.
    fn apply(&mut self, topology: &Topology, partitions: Vec<Partition>) -> Result<()> {
        let (now, asked) = (self.topology.partitions, topology.partitions);
        if now != asked && topology.former != Some(now) {
            return Err(Error::misconfigured(format!(
                "context `{}` is applied with {now} partitions, and {asked} do not take over from \
                 them",
                topology.context
            )));
        }
        let owner = self.owner_beside(topology)?;
        let handles = &mut self.topology.handles;
        handles.retain(|name| !topology.forgets.contains(name));
        let missing = topology.handles.iter().filter(|name| !handles.contains(name));
        handles.extend(missing.copied().collect::<Vec<_>>());
        self.topology.owner = owner;
        if now != asked {
            self.topology.partitions = asked;
            self.spread(partitions)?;
        }
        Ok(())
    }

    /// Spreads what waits over other partitions, in its order.
    fn spread(&mut self, partitions: Vec<Partition>) -> Result<()> {
        let former = std::mem::replace(&mut self.queues, new_queues(partitions));
        let mut waiting: Vec<_> = former.into_values().flat_map(Queue::end).collect();
        waiting.sort_by_key(|(sequence, _)| *sequence);
        for (sequence, entry) in waiting {
            let slot = entry.envelope.metadata.slot();
            let partition = Partition::of_slot(slot, self.topology.partitions)?;
            if let Some(queue) = self.queues.get_mut(&partition) {
                queue.push(sequence, entry);
            }
        }
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
