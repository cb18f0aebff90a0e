//! Our own exchanges and queues: their names, and what a context declares of them.

use mamey_core::message::{ContextName, Metadata, Partition, SLOTS, Target};
use mamey_core::transport::Topology;
use mamey_core::{Error, Result};

use super::claim::Claim;
use super::plan::{Argument, Destination, RabbitPlan, Step};

/// The argument of a partition queue that holds the number of partitions. The broker compares it,
/// so a declaration for another number is refused, whoever declares first.
pub(super) const PARTITIONS_ARGUMENT: &str = "x-dead-letter-routing-key";

/// What a routing key begins with when the message is for any subscriber.
const ANY: &str = "any";

/// What the name of a context's queue for requests ends with.
const REQUESTS: &str = ".requests";

/// Our own exchanges and queues.
#[derive(Clone, Debug)]
pub(crate) struct OwnLayout {
    /// The topic exchange that every message is published to.
    pub(super) exchange: String,
}

impl OwnLayout {
    pub(super) fn check(&self) -> Result<()> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let name = &self.exchange;
        let of_contexts = [".input", ".dead"].iter().any(|end| name.ends_with(end));
        if (1..=100).contains(&name.len()) && name.bytes().all(fits) && !of_contexts {
            return Ok(());
        }
        Err(Error::misconfigured(format!(
            "`{name}` cannot be the exchange: use 1 to 100 letters, digits, `-`, `_`, `.` and \
             `:`, and no ending that contexts use (`.input`, `.dead`)"
        )))
    }

    /// What is declared for a context, from the inside out: nothing comes in before there is a
    /// queue for it.
    pub(super) fn plan(&self, topology: &Topology, delivery_limit: u16) -> Result<RabbitPlan> {
        let partitions = Partition::all(topology.partitions)?;
        let context = &topology.context;
        if context.as_str() == ANY {
            return Err(Error::misconfigured(
                "a context cannot be called `any` on RabbitMQ: routing keys use the word for \
                 events that are for any subscriber; choose another name",
            ));
        }
        let input = input_exchange(context);
        let topic = |name: &str| Step::Exchange { name: name.to_owned(), kind: "topic" };
        let mut steps = vec![topic(&self.exchange), topic(&input)];
        steps.extend(declare_dead_letters(context));
        let queue = |partition: &Partition| partition_queue(context, *partition, delivery_limit);
        steps.extend(partitions.iter().map(queue));
        steps.extend(partitions.iter().flat_map(|partition| slots(context, *partition, &input)));
        for name in &topology.handles {
            steps.extend([ANY, context.as_str()].map(|target| Step::Bind {
                source: self.exchange.clone(),
                key: format!("{target}.{name}.*"),
                destination: Destination::Exchange(input.clone()),
            }));
        }
        for name in &topology.forgets {
            steps.extend([ANY, context.as_str()].map(|target| Step::Unbind {
                source: self.exchange.clone(),
                key: format!("{target}.{name}.*"),
                exchange: input.clone(),
            }));
        }
        let claim = topology.owner.clone().map(|owner| Claim {
            context: context.clone(),
            owner,
            dead_letters: dead_letters(context),
        });
        Ok(RabbitPlan { claim, steps })
    }
}

/// The queue of one partition.
pub(super) fn queue(context: &ContextName, partition: Partition) -> String {
    format!("{context}.{}", partition.number())
}

/// The exchange and the queue of a context's dead letters.
pub(super) fn dead_letters(context: &ContextName) -> String {
    format!("{context}.dead")
}

/// The queue that a message belongs to which was published with this routing key and was in the queue
/// `was_in`: there may be another number of partitions since.
///
/// # Errors
/// `Misconfigured` for a number of partitions that cannot be.
pub(super) fn queue_again(
    context: &ContextName,
    partitions: u16,
    was_in: &str,
    routing_key: &str,
) -> Result<String> {
    let slot = routing_key.rsplit_once('.').and_then(|(_, slot)| slot.parse().ok());
    let number = was_in.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
    let slot = slot.filter(|slot| *slot < SLOTS).or(number).unwrap_or_default();
    Ok(queue(context, Partition::of_slot(slot, partitions)?))
}

/// `<target or any>.<message name>.<slot>`.
pub(super) fn routing_key(metadata: &Metadata) -> String {
    let target = match &metadata.target {
        Target::Any => ANY,
        Target::Service(context) => context.as_str(),
    };
    format!("{target}.{}.{}", metadata.name, metadata.slot())
}

/// The queue of the requests to a context.
pub(crate) fn requests_queue(context: &ContextName) -> String {
    format!("{context}{REQUESTS}")
}

/// The context whose requests a queue holds.
pub(crate) fn context_of_requests(queue: &str) -> &str {
    queue.strip_suffix(REQUESTS).unwrap_or(queue)
}

/// The exchange through which all messages for a context arrive.
fn input_exchange(context: &ContextName) -> String {
    format!("{context}.input")
}

fn declare_dead_letters(context: &ContextName) -> [Step; 3] {
    let name = dead_letters(context);
    let mut arguments = quorum();
    // Each look at a dead letter is a delivery, and RabbitMQ 4 drops what it has delivered 20 times
    // unless told otherwise.
    arguments.push(("x-delivery-limit", Argument::Number(i32::MAX)));
    [
        Step::Exchange { name: name.clone(), kind: "fanout" },
        Step::Queue { name: name.clone(), arguments },
        Step::Bind {
            source: name.clone(),
            key: String::new(),
            destination: Destination::Queue(name),
        },
    ]
}

fn partition_queue(context: &ContextName, partition: Partition, delivery_limit: u16) -> Step {
    let mut arguments = quorum();
    arguments.extend([
        // A second safeguard beside the leases: one instance at a time gets a partition's messages.
        ("x-single-active-consumer", Argument::Flag(true)),
        // Set, so that it is known: the default differs between versions.
        ("x-delivery-limit", Argument::Number(i32::from(delivery_limit))),
        ("x-dead-letter-exchange", Argument::Text(dead_letters(context))),
        (PARTITIONS_ARGUMENT, Argument::Text(partition.of().to_string())),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned())),
        // That strategy requires it.
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
    ]);
    Step::Queue { name: queue(context, partition), arguments }
}

fn quorum() -> Vec<(&'static str, Argument)> {
    vec![("x-queue-type", Argument::Text("quorum".to_owned()))]
}

/// Leads the slots of a partition into its queue.
fn slots(context: &ContextName, partition: Partition, input: &str) -> impl Iterator<Item = Step> {
    let queue = queue(context, partition);
    partition.slots().map(move |slot| Step::Bind {
        source: input.to_owned(),
        key: format!("#.{slot}"),
        destination: Destination::Queue(queue.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(context: &str, partitions: u16) -> Result<String> {
        let topology = Topology::new(ContextName::new(context)?, partitions)
            .with_handles(vec!["orders.order-placed"]);
        let own = OwnLayout { exchange: "mamey".to_owned() };
        own.plan(&topology, 100).map(|plan| plan.to_string())
    }

    #[test]
    fn a_plan_prints_what_is_declared() {
        let text = plan("payments", 2).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..7],
            [
                "exchange mamey type=topic durable",
                "exchange payments.input type=topic durable",
                "exchange payments.dead type=fanout durable",
                "queue payments.dead durable x-queue-type=quorum x-delivery-limit=2147483647",
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
        assert_eq!(plan("payments", 2).unwrap(), text);
        assert!(plan("payments", 0).is_err());
        assert!(plan(ANY, 1).is_err());
    }

    #[test]
    fn a_message_goes_back_to_the_partition_of_its_slot() {
        let payments = ContextName::new("payments").unwrap();
        let again = |partitions, was_in: &str, key: &str| {
            queue_again(&payments, partitions, was_in, key).unwrap()
        };
        assert_eq!(again(8, "payments.3", "any.orders.order-placed.11"), "payments.3");
        assert_eq!(again(16, "payments.3", "any.orders.order-placed.11"), "payments.11");
        assert_eq!(again(2, "payments.3", "any.orders.order-placed.11"), "payments.1");
        for odd in ["", "9", "any.orders.order-placed.64", "any.x.y"] {
            assert_eq!(again(8, "payments.3", odd), "payments.3", "{odd}");
        }
        assert_eq!(again(8, "", ""), "payments.0");
    }

    #[test]
    fn an_exchange_that_would_clash_is_refused() {
        for name in ["", "payments.input", "payments.dead", "a b", &"x".repeat(101)] {
            assert!(OwnLayout { exchange: name.to_owned() }.check().is_err(), "{name}");
        }
        assert!(OwnLayout { exchange: "mamey".to_owned() }.check().is_ok());
    }
}
