//! Exchanges and queues that others have made, used as they are.

use std::collections::BTreeMap;

use mamey_core::message::{ContextName, Metadata, Partition, Target};
use mamey_core::transport::Topology;
use mamey_core::{Error, Result};

use super::plan::{Destination, RabbitPlan, Step};
use crate::rabbitmq::error::short;

/// The placeholders of a routing key.
const PLACEHOLDERS: [&str; 5] = ["{target}", "{name}", "{slot}", "{sender}", "{key}"];

/// A broker whose exchanges, queues and bindings others have made: nothing is declared, only looked
/// for.
///
/// The exchange may be of any type:
///
/// - A direct or topic exchange sees the routing key.
/// - A headers exchange can be bound by the headers `cloudEvents_type`, `cloudEvents_source`,
///   `cloudEvents_target` and the others that messages in CloudEvents' binary mode carry.
/// - A fanout exchange sends every message to every context. What a context does not handle becomes
///   a dead letter of its own.
///
/// A confirmed message is stored wherever the bindings lead, and a message that must be routed
/// fails when they lead nowhere. A targeted message reaches its context alone only if the bindings
/// say so. Which database a context belongs to is not checked: nothing is declared that could mark
/// it. Order is not promised until [`RabbitPredefined::ordered`] says that it holds.
///
/// ```
/// use mamey::messaging::{RabbitOptions, RabbitPredefined};
///
/// # fn main() -> mamey::Result<()> {
/// let predefined = RabbitPredefined::new("shop.events", "{name}")
///     .context("payments", ["shop.payments"], "shop.payments.failed")?
///     .ordered();
/// let options = RabbitOptions::default().with_predefined(predefined);
/// # drop(options);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RabbitPredefined {
    exchange: String,
    routing_key: String,
    contexts: BTreeMap<ContextName, Inputs>,
    ordered: bool,
}

#[derive(Clone, Debug)]
struct Inputs {
    queues: Vec<String>,
    dead_letters: String,
}

impl RabbitPredefined {
    /// Messages are published to `exchange` with this routing key, in which `{target}` (`any` for a
    /// message without one), `{name}`, `{slot}`, `{sender}` and `{key}` (empty without one) are
    /// replaced.
    #[must_use]
    pub fn new(exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            contexts: BTreeMap::new(),
            ordered: false,
        }
    }

    /// The queues that a context consumes, one for each of its partitions (`MAMEY_PARTITIONS`).
    /// What the context cannot keep goes to the queue `dead_letters`.
    ///
    /// Give that queue no small `x-delivery-limit`, which is 20 on RabbitMQ 4 if nothing else was
    /// set: each look at a dead letter is a delivery, and past the limit the broker drops it.
    ///
    /// # Errors
    /// `Invalid` when `name` cannot name a context.
    pub fn context<Q: Into<String>>(
        mut self,
        name: &str,
        queues: impl IntoIterator<Item = Q>,
        dead_letters: impl Into<String>,
    ) -> Result<Self> {
        let queues = queues.into_iter().map(Into::into).collect();
        let inputs = Inputs { queues, dead_letters: dead_letters.into() };
        self.contexts.insert(ContextName::new(name)?, inputs);
        Ok(self)
    }

    /// Says that order by sender and key holds. It does if each queue has a single active consumer
    /// and either there is one queue, or the bindings lead slot `s` to queue number `s % queues`.
    #[must_use]
    pub const fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    pub(super) const fn is_ordered(&self) -> bool {
        self.ordered
    }

    pub(super) fn exchange(&self) -> &str {
        &self.exchange
    }

    pub(super) fn check(&self) -> Result<()> {
        let mut rest = self.routing_key.clone();
        for placeholder in PLACEHOLDERS {
            rest = rest.replace(placeholder, "");
        }
        if rest.contains(['{', '}']) {
            return Err(Error::misconfigured(format!(
                "routing key `{}` has an unknown placeholder; known are {}",
                self.routing_key,
                PLACEHOLDERS.join(", ")
            )));
        }
        short(&self.exchange)?;
        for (context, inputs) in &self.contexts {
            for queue in inputs.queues.iter().chain([&inputs.dead_letters]) {
                short(queue)?;
            }
            if inputs.queues.is_empty() || inputs.dead_letters.is_empty() {
                return Err(Error::misconfigured(format!(
                    "context `{context}` needs at least one queue, and one for its dead letters"
                )));
            }
        }
        Ok(())
    }

    /// In one pass: what looks like a placeholder in a message's key is not replaced.
    pub(super) fn routing_key(&self, metadata: &Metadata) -> String {
        let (mut key, mut rest) = (String::new(), self.routing_key.as_str());
        while let Some((before, after)) = rest.split_once('{') {
            key.push_str(before);
            let (placeholder, after) = after.split_once('}').unwrap_or((after, ""));
            match placeholder {
                "target" => match &metadata.target {
                    Target::Any => key.push_str("any"),
                    Target::Service(context) => key.push_str(context.as_str()),
                },
                "name" => key.push_str(&metadata.name),
                "slot" => key.push_str(&metadata.slot().to_string()),
                "sender" => key.push_str(&metadata.sender),
                _ => key.push_str(metadata.key.as_ref().map_or("", |key| key.as_str())),
            }
            rest = after;
        }
        key + rest
    }

    /// Looks for what others have made.
    pub(super) fn plan(&self, topology: &Topology) -> Result<RabbitPlan> {
        let Inputs { queues, dead_letters } = self.inputs(&topology.context)?;
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
        // The default exchange always exists, and the broker refuses to look for it.
        if !self.exchange.is_empty() {
            steps.push(Step::Find(Destination::Exchange(self.exchange.clone())));
        }
        let queues = queues.iter().chain([dead_letters]);
        steps.extend(queues.map(|queue| Step::Find(Destination::Queue(queue.clone()))));
        Ok(RabbitPlan { claim: None, partitions: None, steps })
    }

    pub(super) fn dead_letters(&self, context: &ContextName) -> Result<String> {
        self.inputs(context).map(|inputs| inputs.dead_letters.clone())
    }

    /// The queue that a message is replayed into which was in the queue `was_in`.
    pub(super) fn queue_again(&self, context: &ContextName, was_in: &str) -> Result<String> {
        let queues = &self.inputs(context)?.queues;
        let same = queues.iter().find(|queue| *queue == was_in).or_else(|| queues.first());
        Ok(same.cloned().unwrap_or_default())
    }

    pub(super) fn queue(&self, context: &ContextName, partition: Partition) -> Result<String> {
        let Inputs { queues, .. } = self.inputs(context)?;
        let queue = queues.get(usize::from(partition.number())).cloned();
        queue.ok_or_else(|| {
            Error::misconfigured(format!(
                "context `{context}` has {} queues, so there is none for partition {partition}",
                queues.len()
            ))
        })
    }

    fn inputs(&self, context: &ContextName) -> Result<&Inputs> {
        self.contexts.get(context).ok_or_else(|| {
            Error::misconfigured(format!(
                "context `{context}` has no queues here: name them with \
                 `RabbitPredefined::context`"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use mamey_core::id::{IdSource, UuidV7Source};

    use super::*;

    #[test]
    fn a_routing_key_is_made_of_what_the_message_says() {
        let id = UuidV7Source::default().message_id();
        let mut metadata = Metadata::new(id, "orders.order-placed", "orders");
        let with = |template: &str, metadata: &Metadata| {
            let predefined = RabbitPredefined::new("shop", template);
            predefined.check().unwrap();
            predefined.routing_key(metadata)
        };
        assert_eq!(with("{sender}:{name}-{key}", &metadata), "orders:orders.order-placed-");
        metadata.key = Some("{name}".into());
        metadata.target = Target::Service(ContextName::new("payments").unwrap());
        assert_eq!(with("{target}.{key}", &metadata), "payments.{name}");
        assert_eq!(with("{slot}", &metadata), metadata.slot().to_string());
        assert_eq!(with("all", &metadata), "all");
    }

    #[test]
    fn what_nothing_replaces_and_contexts_without_queues_are_refused() {
        for template in ["{nmae}", "{name", "name}", "{}"] {
            let error = RabbitPredefined::new("shop", template).check().unwrap_err();
            assert!(error.to_string().contains("{name}"), "{error}");
        }
        let none = RabbitPredefined::new("shop", "").context("payments", [""; 0], "dead").unwrap();
        assert!(none.check().unwrap_err().to_string().contains("`payments`"));
        let long = RabbitPredefined::new("x".repeat(256), "").check().unwrap_err();
        assert!(long.to_string().contains("too long for RabbitMQ"), "{long}");
        let payments = ContextName::new("payments").unwrap();
        assert!(RabbitPredefined::new("shop", "").dead_letters(&payments).is_err());
    }
}
