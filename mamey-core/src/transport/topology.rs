//! What one context sends and receives.

use super::owner::Owner;
use crate::message::ContextName;

/// What one context sends and receives. A transport derives its exchanges and queues from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// The context.
    pub context: ContextName,
    /// Names of the messages it handles.
    pub handles: Vec<&'static str>,
    /// Names of messages that it does not want any more: what leads them to it is removed, once.
    pub forgets: Vec<&'static str>,
    /// Names of the events it publishes.
    pub publishes: Vec<&'static str>,
    /// The number of partitions that its input is spread over.
    pub partitions: u16,
    /// The number of partitions before, in which messages may wait. A durable transport lets them be
    /// received there; one within a process moves them.
    pub former: Option<u16>,
    /// The store that its messages are handled in; `None` leaves it unchecked.
    pub owner: Option<Owner>,
}

impl Topology {
    /// A context that sends and receives nothing, over this many partitions.
    #[must_use]
    pub const fn new(context: ContextName, partitions: u16) -> Self {
        Self {
            context,
            partitions,
            former: None,
            handles: Vec::new(),
            forgets: Vec::new(),
            publishes: Vec::new(),
            owner: None,
        }
    }

    /// Names of the messages it handles.
    #[must_use]
    pub fn with_handles(mut self, handles: Vec<&'static str>) -> Self {
        self.handles = handles;
        self
    }

    /// Names of messages that it does not want any more: what leads them to it is removed, once.
    #[must_use]
    pub fn with_forgets(mut self, forgets: Vec<&'static str>) -> Self {
        self.forgets = forgets;
        self
    }

    /// Names of the events it publishes.
    #[must_use]
    pub fn with_publishes(mut self, publishes: Vec<&'static str>) -> Self {
        self.publishes = publishes;
        self
    }

    /// The number of partitions that its input is spread over.
    #[must_use]
    pub const fn with_partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// The number of partitions before, in which messages may wait.
    #[must_use]
    pub const fn with_former(mut self, former: Option<u16>) -> Self {
        self.former = former;
        self
    }

    /// The store that its messages are handled in.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }
}
