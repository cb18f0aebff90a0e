//! What a context needs on the broker: its exchanges, queues and bindings.

use std::fmt;

use mamey_core::message::{ContextName, Metadata, Partition, Target};
use mamey_core::transport::Topology;
use mamey_core::{Error, Result};

use super::predefined::RabbitPredefined;

/// The argument of a partition queue that tells the number of partitions. The broker compares it,
/// so that a declaration for another number is refused whoever comes first.
pub(crate) const PARTITIONS_ARGUMENT: &str = "x-dead-letter-routing-key";

/// What a routing key begins with when the message is for any subscriber.
const ANY: &str = "any";

/// What the broker needs to know of one context, as steps that can be printed and run again.
///
/// Printed, it is one line a step, always in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RabbitPlan(pub(crate) Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
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
    Bind {
        source: String,
        key: String,
        destination: Destination,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Exchange(String),
    Queue(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Text(String),
    Number(u16),
    Flag(bool),
}

/// The exchange through which all that is for a context comes.
fn input_exchange(context: &ContextName) -> String {
    format!("{context}.input")
}

/// The exchange and the queue for what could not be kept.
pub(crate) fn dead_letters(context: &ContextName) -> String {
    format!("{context}.dead")
}

/// The queue of one partition.
pub(crate) fn queue(context: &ContextName, partition: Partition) -> String {
    format!("{context}.{}", partition.number())
}

/// `<target or any>.<message name>.<slot>`.
pub(crate) fn routing_key(metadata: &Metadata) -> String {
    let target = match &metadata.target {
        Target::Any => ANY,
        Target::Service(context) => context.as_str(),
    };
    format!("{target}.{}.{}", metadata.name, metadata.slot())
}

impl RabbitPlan {
    pub(crate) fn new(exchange: &str, topology: &Topology, delivery_limit: u16) -> Result<Self> {
        let partitions = Partition::all(topology.partitions)?;
        let context = &topology.context;
        if context.as_str() == ANY {
            return Err(Error::misconfigured(
                "no context can be called `any` on RabbitMQ: routing keys say so of events for any \
                 subscriber; use another name",
            ));
        }
        let (input, dead) = (input_exchange(context), dead_letters(context));
        let mut steps = vec![
            Step::Exchange { name: exchange.to_owned(), kind: "topic" },
            Step::Exchange { name: input.clone(), kind: "topic" },
            Step::Exchange { name: dead.clone(), kind: "fanout" },
            Step::Queue { name: dead.clone(), arguments: quorum() },
            Step::Bind {
                source: dead.clone(),
                key: String::new(),
                destination: Destination::Queue(dead),
            },
        ];
        let queue = |partition: &Partition| partition_queue(context, *partition, delivery_limit);
        steps.extend(partitions.iter().map(queue));
        steps.extend(partitions.iter().flat_map(|partition| slots(context, *partition, &input)));
        // Last, so that nothing comes in before there is a queue for it.
        for name in &topology.handles {
            steps.extend([ANY, context.as_str()].map(|target| Step::Bind {
                source: exchange.to_owned(),
                key: format!("{target}.{name}.*"),
                destination: Destination::Exchange(input.clone()),
            }));
        }
        Ok(Self(steps))
    }

    /// Looks for what others have made.
    pub(crate) fn predefined(predefined: &RabbitPredefined, topology: &Topology) -> Result<Self> {
        let (queues, dead) = predefined.queues(&topology.context)?;
        if queues.len() != usize::from(topology.partitions) {
            return Err(Error::misconfigured(format!(
                "context `{}` has {} partitions and {} queues: set `MAMEY_PARTITIONS` to the \
                 number of its queues",
                topology.context,
                topology.partitions,
                queues.len()
            )));
        }
        let mut steps = Vec::new();
        // The default exchange is always there, and cannot be asked for.
        if !predefined.exchange().is_empty() {
            steps.push(Step::Find(Destination::Exchange(predefined.exchange().to_owned())));
        }
        let queues = queues.iter().map(String::as_str).chain([dead]);
        steps.extend(queues.map(|queue| Step::Find(Destination::Queue(queue.to_owned()))));
        Ok(Self(steps))
    }
}

fn quorum() -> Vec<(&'static str, Argument)> {
    vec![("x-queue-type", Argument::Text("quorum".to_owned()))]
}

fn partition_queue(context: &ContextName, partition: Partition, delivery_limit: u16) -> Step {
    let arguments = partition_arguments(context, partition, delivery_limit);
    Step::Queue { name: queue(context, partition), arguments }
}

/// What leads the slots of a partition into its queue.
fn slots(context: &ContextName, partition: Partition, input: &str) -> impl Iterator<Item = Step> {
    let queue = queue(context, partition);
    partition.slots().map(move |slot| Step::Bind {
        source: input.to_owned(),
        key: format!("#.{slot}"),
        destination: Destination::Queue(queue.clone()),
    })
}

fn partition_arguments(
    context: &ContextName,
    partition: Partition,
    delivery_limit: u16,
) -> Vec<(&'static str, Argument)> {
    let mut arguments = quorum();
    arguments.extend([
        // A belt beside the leases: one instance at a time gets a partition's messages.
        ("x-single-active-consumer", Argument::Flag(true)),
        // Said, so that it is known: the default differs between versions.
        ("x-delivery-limit", Argument::Number(delivery_limit)),
        ("x-dead-letter-exchange", Argument::Text(dead_letters(context))),
        (PARTITIONS_ARGUMENT, Argument::Text(partition.of().to_string())),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned())),
        // What that strategy asks for.
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
    ]);
    arguments
}

impl fmt::Display for RabbitPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| writeln!(f, "{step}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(partitions: u16) -> Result<String> {
        let topology = Topology {
            context: ContextName::new("payments")?,
            handles: vec!["orders.order-placed"],
            publishes: vec![],
            partitions,
        };
        RabbitPlan::new("mamey", &topology, 100).map(|plan| plan.to_string())
    }

    #[test]
    fn a_plan_prints_what_is_declared() {
        let text = plan(2).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..7],
            [
                "exchange mamey type=topic durable",
                "exchange payments.input type=topic durable",
                "exchange payments.dead type=fanout durable",
                "queue payments.dead durable x-queue-type=quorum",
                "bind queue payments.dead to exchange payments.dead key=",
                "queue payments.0 durable x-queue-type=quorum x-single-active-consumer=true \
                 x-delivery-limit=100 x-dead-letter-exchange=payments.dead x-dead-letter-routing-key=2 \
                 x-dead-letter-strategy=at-least-once x-overflow=reject-publish",
                "queue payments.1 durable x-queue-type=quorum x-single-active-consumer=true \
                 x-delivery-limit=100 x-dead-letter-exchange=payments.dead x-dead-letter-routing-key=2 \
                 x-dead-letter-strategy=at-least-once x-overflow=reject-publish",
            ]
        );
        let slots = lines.iter().filter(|line| line.contains("key=#.")).count();
        assert_eq!((lines.len(), slots), (73, 64));
        assert!(text.ends_with(
            "bind exchange payments.input to exchange mamey key=any.orders.order-placed.*\n\
             bind exchange payments.input to exchange mamey key=payments.orders.order-placed.*\n"
        ));
        assert_eq!(plan(2).unwrap(), text);
        assert!(plan(0).is_err());
        let context = ContextName::new(ANY).unwrap();
        let topology = Topology { context, handles: vec![], publishes: vec![], partitions: 1 };
        assert!(RabbitPlan::new("mamey", &topology, 100).is_err());
    }
}
