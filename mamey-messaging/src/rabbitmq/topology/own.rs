//! Our own exchanges and queues: their names, and what a context declares of them.

use lapin::types::FieldTable;
use mamey_core::message::{ContextName, Metadata, Partition, SLOTS, Target};
use mamey_core::transport::Topology;
use mamey_core::{Error, Result};

use super::claim::Claim;
use super::declare::table;
use super::partition_mark::PartitionMark;
use super::plan::{Argument, Destination, PARTITIONS_ARGUMENT, RabbitPlan, Step, quorum};

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
        let former = topology.former.map(Partition::all).transpose()?.unwrap_or_default();
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
        steps.extend(partitions.iter().chain(&former).map(queue));
        let slots = |partition: &Partition| slots(context, *partition, &input);
        steps.extend(partitions.iter().flat_map(slots).map(Step::from));
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
                destination: Destination::Exchange(input.clone()),
            }));
        }
        steps.extend(former.iter().flat_map(slots).map(Slot::unbind));
        let claim = topology.owner.clone().map(|owner| Claim {
            context: context.clone(),
            owner,
            dead_letters: dead_letters(context),
        });
        let partitions = PartitionMark {
            context: context.clone(),
            partitions: topology.partitions,
            former: topology.former,
            dead_letters: dead_letters(context),
        };
        Ok(RabbitPlan { claim, partitions: Some(partitions), steps })
    }
}

/// The queue of one partition.
pub(super) fn queue(context: &ContextName, partition: Partition) -> String {
    format!("{context}.{}.{}", partition.of(), partition.number())
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

/// The name of a partition's queue, and the arguments that it is declared with.
pub(super) fn declared_queue(
    context: &ContextName,
    partition: Partition,
    delivery_limit: u16,
) -> (String, FieldTable) {
    let arguments = partition_arguments(context, partition, delivery_limit);
    (queue(context, partition), table(&arguments))
}

fn partition_queue(context: &ContextName, partition: Partition, delivery_limit: u16) -> Step {
    let arguments = partition_arguments(context, partition, delivery_limit);
    Step::Queue { name: queue(context, partition), arguments }
}

fn partition_arguments(
    context: &ContextName,
    partition: Partition,
    delivery_limit: u16,
) -> Vec<(&'static str, Argument)> {
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
    arguments
}

/// What leads one slot into the queue of its partition.
struct Slot {
    source: String,
    key: String,
    destination: Destination,
}

/// What leads the slots of a partition into its queue.
fn slots(context: &ContextName, partition: Partition, input: &str) -> impl Iterator<Item = Slot> {
    let queue = queue(context, partition);
    partition.slots().map(move |slot| Slot {
        source: input.to_owned(),
        key: format!("#.{slot}"),
        destination: Destination::Queue(queue.clone()),
    })
}

impl Slot {
    fn unbind(self) -> Step {
        let Self { source, key, destination } = self;
        Step::Unbind { source, key, destination }
    }
}

impl From<Slot> for Step {
    fn from(slot: Slot) -> Self {
        let Slot { source, key, destination } = slot;
        Self::Bind { source, key, destination }
    }
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
            lines[..8],
            [
                "queue payments.partitions durable x-queue-type=quorum \
                 x-dead-letter-exchange=payments.dead x-dead-letter-routing-key=2",
                "exchange mamey type=topic durable",
                "exchange payments.input type=topic durable",
                "exchange payments.dead type=fanout durable",
                "queue payments.dead durable x-queue-type=quorum x-delivery-limit=2147483647",
                "bind queue payments.dead to exchange payments.dead key=",
                "queue payments.2.0 durable x-queue-type=quorum x-single-active-consumer=true \
                 x-delivery-limit=100 x-dead-letter-exchange=payments.dead x-dead-letter-routing-key=2 \
                 x-dead-letter-strategy=at-least-once x-overflow=reject-publish",
                "queue payments.2.1 durable x-queue-type=quorum x-single-active-consumer=true \
                 x-delivery-limit=100 x-dead-letter-exchange=payments.dead x-dead-letter-routing-key=2 \
                 x-dead-letter-strategy=at-least-once x-overflow=reject-publish",
            ]
        );
        let slots = lines.iter().filter(|line| line.contains("key=#.")).count();
        assert_eq!((lines.len(), slots), (74, 64));
        assert!(text.ends_with(
            "bind exchange payments.input to exchange mamey key=any.orders.order-placed.*\n\
             bind exchange payments.input to exchange mamey key=payments.orders.order-placed.*\n"
        ));
        assert_eq!(plan("payments", 2).unwrap(), text);
        assert!(plan("payments", 0).is_err());
        assert!(plan(ANY, 1).is_err());
    }

    #[test]
    fn another_number_takes_over_before_the_former_is_unbound() {
        let topology = Topology::new(ContextName::new("payments").unwrap(), 4).with_former(Some(2));
        let own = OwnLayout { exchange: "mamey".to_owned() };
        let text = own.plan(&topology, 100).unwrap().to_string();
        for queue in ["payments.4.3", "payments.2.1"] {
            assert!(text.contains(&format!("queue {queue} durable")), "{text}");
        }
        let bound =
            text.rfind("bind queue payments.4.3 to exchange payments.input key=#.63").unwrap();
        let unbound = "unbind queue payments.2.0 from exchange payments.input key=#.0";
        assert!(text.find(unbound).unwrap() > bound, "{text}");
        assert_eq!(text.matches("\nunbind queue payments.2.").count(), 64);
        assert!(!text.contains("\nbind queue payments.2."), "{text}");
    }

    #[test]
    fn a_message_goes_back_to_the_partition_of_its_slot() {
        let payments = ContextName::new("payments").unwrap();
        let again = |partitions, was_in: &str, key: &str| {
            queue_again(&payments, partitions, was_in, key).unwrap()
        };
        assert_eq!(again(8, "payments.8.3", "any.orders.order-placed.11"), "payments.8.3");
        assert_eq!(again(16, "payments.8.3", "any.orders.order-placed.11"), "payments.16.11");
        assert_eq!(again(2, "payments.8.3", "any.orders.order-placed.11"), "payments.2.1");
        for odd in ["", "9", "any.orders.order-placed.64", "any.x.y"] {
            assert_eq!(again(8, "payments.8.3", odd), "payments.8.3", "{odd}");
        }
        assert_eq!(again(8, "", ""), "payments.8.0");
    }

    #[test]
    fn an_exchange_that_would_clash_is_refused() {
        for name in ["", "payments.input", "payments.dead", "a b", &"x".repeat(101)] {
            assert!(OwnLayout { exchange: name.to_owned() }.check().is_err(), "{name}");
        }
        assert!(OwnLayout { exchange: "mamey".to_owned() }.check().is_ok());
    }
}
