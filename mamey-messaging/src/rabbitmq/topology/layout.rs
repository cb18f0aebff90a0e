//! Whose exchanges and queues are used: our own, or those that others have made.

use lapin::types::FieldTable;
use mamey_core::Result;
use mamey_core::message::{ContextName, Metadata, Partition};
use mamey_core::transport::Topology;

use super::own::{self, OwnLayout};
use super::plan::RabbitPlan;
use super::predefined::RabbitPredefined;

/// Whose exchanges and queues are used.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// Ours: they are declared.
    Own(OwnLayout),
    /// Those that others have made: they are looked for.
    Predefined(RabbitPredefined),
}

impl Layout {
    /// Our own exchanges and queues, with this exchange in front.
    pub(crate) fn own(exchange: impl Into<String>) -> Self {
        Self::Own(OwnLayout { exchange: exchange.into() })
    }

    /// # Errors
    /// `Misconfigured` for names that cannot be, saying which.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Own(own) => own.check(),
            Self::Predefined(predefined) => predefined.check(),
        }
    }

    /// The exchange that messages are published to.
    pub(crate) fn exchange(&self) -> &str {
        match self {
            Self::Own(own) => &own.exchange,
            Self::Predefined(predefined) => predefined.exchange(),
        }
    }

    /// The routing key that a message is published with.
    pub(crate) fn routing_key(&self, metadata: &Metadata) -> String {
        match self {
            Self::Own(_) => own::routing_key(metadata),
            Self::Predefined(predefined) => predefined.routing_key(metadata),
        }
    }

    /// The queue of a partition.
    ///
    /// # Errors
    /// `Misconfigured` when none was named.
    pub(crate) fn queue(&self, context: &ContextName, partition: Partition) -> Result<String> {
        match self {
            Self::Own(_) => Ok(own::queue(context, partition)),
            Self::Predefined(predefined) => predefined.queue(context, partition),
        }
    }

    /// The queue that a message is replayed into which was in the queue `was_in` and had been
    /// published with this routing key.
    ///
    /// # Errors
    /// `Misconfigured` when none was named.
    pub(crate) fn queue_again(
        &self,
        context: &ContextName,
        partitions: u16,
        was_in: &str,
        routing_key: &str,
    ) -> Result<String> {
        match self {
            Self::Own(_) => own::queue_again(context, partitions, was_in, routing_key),
            Self::Predefined(predefined) => predefined.queue_again(context, was_in),
        }
    }

    /// The queue of a context's dead letters.
    ///
    /// # Errors
    /// `Misconfigured` when none was named.
    pub(crate) fn dead_letters(&self, context: &ContextName) -> Result<String> {
        match self {
            Self::Own(_) => Ok(own::dead_letters(context)),
            Self::Predefined(predefined) => predefined.dead_letters(context),
        }
    }

    /// What a context needs on the broker; partition queues of ours get this delivery limit.
    ///
    /// # Errors
    /// `Misconfigured` for a number of partitions that cannot be.
    pub(crate) fn plan(&self, topology: &Topology, delivery_limit: u16) -> Result<RabbitPlan> {
        match self {
            Self::Own(own) => own.plan(topology, delivery_limit),
            Self::Predefined(predefined) => predefined.plan(topology),
        }
    }

    /// Whether the messages of one key arrive in order.
    pub(crate) const fn is_ordered(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Predefined(predefined) => predefined.is_ordered(),
        }
    }

    /// Whether the number of partitions may change while messages wait.
    pub(crate) const fn has_repartitions(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// What is declared for a partition's queue, if it is ours.
    pub(crate) fn partition_queue(
        &self,
        context: &ContextName,
        partition: Partition,
        delivery_limit: u16,
    ) -> Option<(String, FieldTable)> {
        match self {
            Self::Own(_) => Some(own::declared_queue(context, partition, delivery_limit)),
            Self::Predefined(_) => None,
        }
    }

    /// Whether requests can be served: they need a queue that is declared for them.
    pub(crate) const fn has_requests(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}
