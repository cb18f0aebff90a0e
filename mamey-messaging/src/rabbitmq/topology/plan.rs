//! What a context needs on the broker, as steps that can be printed and run again.

use std::fmt;

use super::claim::{Claim, owner_queue};
use super::partition_mark::PartitionMark;

/// The argument that holds the number of partitions, of the queue that marks it and of each partition's
/// queue. The broker compares it, so another number is refused, whoever declares first.
pub(super) const PARTITIONS_ARGUMENT: &str = "x-dead-letter-routing-key";

/// The argument of a context's mark that holds its owner. Nothing is ever dead-lettered by that queue.
pub(super) const OWNER_ARGUMENT: &str = "x-dead-letter-routing-key";

/// What the broker needs to know of one context, as steps that can be printed and run again.
///
/// Printed, it is one line a step, always in the same order.
///
/// ```no_run
/// use mamey::messaging::{RabbitOptions, RabbitTransport};
/// use mamey::transport::Topology;
///
/// # async fn print(topology: Topology) -> mamey::Result<()> {
/// let url = "amqp://app:secret@broker/shop";
/// let transport = RabbitTransport::connect(url, RabbitOptions::default()).await?;
/// // exchange mamey type=topic durable
/// // exchange payments.input type=topic durable
/// // …
/// println!("{}", transport.plan(&topology)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RabbitPlan {
    /// Who the context belongs to, if that is said.
    pub(super) claim: Option<Claim>,
    /// How many partitions it has, if that is ours to say.
    pub(super) partitions: Option<PartitionMark>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Others have made it.
    Find(Destination),
    Exchange {
        name: String,
        kind: &'static str,
    },
    Queue {
        name: String,
        arguments: Vec<(&'static str, Argument)>,
    },
    /// What an earlier build may have bound.
    Unbind {
        source: String,
        key: String,
        destination: Destination,
    },
    Bind {
        source: String,
        key: String,
        destination: Destination,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Exchange(String),
    Queue(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Text(String),
    Number(i32),
    Flag(bool),
}

impl RabbitPlan {
    /// Who the context belongs to, which is settled before anything is declared.
    pub(crate) const fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// How many partitions the context has, which is settled next.
    pub(crate) const fn partitions(&self) -> Option<&PartitionMark> {
        self.partitions.as_ref()
    }

    /// The marks of the claim and of the number of partitions.
    fn marks(&self) -> impl Iterator<Item = Step> {
        let claim = self.claim.as_ref().filter(|claim| claim.owner.durable);
        let claim = claim.map(|claim| Step::Queue {
            name: owner_queue(&claim.context),
            arguments: claim.arguments(claim.text()),
        });
        let partitions = self
            .partitions
            .as_ref()
            .map(|mark| Step::Queue { name: mark.queue(), arguments: mark.arguments() });
        claim.into_iter().chain(partitions)
    }
}

impl PartitionMark {
    /// The arguments of the mark.
    pub(super) fn arguments(&self) -> Vec<(&'static str, Argument)> {
        let mut arguments = quorum();
        arguments.extend([
            // The broker takes the next argument only beside this one.
            ("x-dead-letter-exchange", Argument::Text(self.dead_letters.clone())),
            (PARTITIONS_ARGUMENT, Argument::Text(self.partitions.to_string())),
        ]);
        arguments
    }
}

/// The arguments that every queue of ours has.
pub(super) fn quorum() -> Vec<(&'static str, Argument)> {
    vec![("x-queue-type", Argument::Text("quorum".to_owned()))]
}

impl Claim {
    /// The arguments of the mark for an owner.
    pub(super) fn arguments(&self, owner: String) -> Vec<(&'static str, Argument)> {
        let mut arguments = quorum();
        arguments.extend([
            // The broker takes the next argument only beside this one.
            ("x-dead-letter-exchange", Argument::Text(self.dead_letters.clone())),
            (OWNER_ARGUMENT, Argument::Text(owner)),
        ]);
        arguments
    }
}

impl fmt::Display for RabbitPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.marks().try_for_each(|step| writeln!(f, "{step}"))?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Find(what) => write!(f, "find {what}"),
            Self::Exchange { name, kind } => write!(f, "exchange {name} type={kind} durable"),
            Self::Queue { name, arguments } => {
                write!(f, "queue {name} durable")?;
                arguments.iter().try_for_each(|(name, value)| match value {
                    Argument::Text(text) => write!(f, " {name}={text}"),
                    Argument::Number(number) => write!(f, " {name}={number}"),
                    Argument::Flag(flag) => write!(f, " {name}={flag}"),
                })
            }
            Self::Unbind { source, key, destination } => {
                write!(f, "unbind {destination} from exchange {source} key={key}")
            }
            Self::Bind { source, key, destination } => {
                write!(f, "bind {destination} to exchange {source} key={key}")
            }
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange {name}"),
            Self::Queue(name) => write!(f, "queue {name}"),
        }
    }
}
