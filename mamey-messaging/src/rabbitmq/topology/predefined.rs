//! Exchanges and queues that others have made, used as they are.

use std::collections::BTreeMap;

use mamey_core::message::{ContextName, Metadata, Partition, Target};
use mamey_core::{Error, Result};

use crate::rabbitmq::error::short;

/// What a routing key can be made of.
const PLACEHOLDERS: [&str; 5] = ["{target}", "{name}", "{slot}", "{sender}", "{key}"];

/// A broker whose exchanges, queues and bindings others have made: nothing is declared, only looked
/// for.
///
/// The exchange may be of any type. A direct or topic exchange sees the routing key; a headers
/// exchange can be bound by the headers `cloudEvents_type`, `cloudEvents_source`,
/// `cloudEvents_target` and the others that messages in CloudEvents' binary mode carry; a fanout
/// exchange needs neither, and its contexts get what they do not handle, which becomes dead letters
/// of theirs.
///
/// What then holds: confirmed messages are stored wherever the bindings lead, and a message that
/// must be routed fails when they lead nowhere. A target reaches its context alone only if the
/// bindings say so. Order is not promised, until [`RabbitPredefined::ordered`] says it holds.
///
/// ```
/// # fn main() -> mamey_core::Result<()> {
/// use mamey_messaging::{RabbitOptions, RabbitPredefined};
///
/// let mut options = RabbitOptions::new("amqp://app@broker/shop")?;
/// options.predefined = Some(
///     RabbitPredefined::new("shop.events", "{name}")
///         .context("payments", ["shop.payments"], "shop.payments.failed")?
///         .ordered(),
/// );
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
    /// Messages are published to `exchange` with a routing key in which `{target}` (`any` for
    /// everyone), `{name}`, `{slot}`, `{sender}` and `{key}` (nothing without one) are replaced.
    #[must_use]
    pub fn new(exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            contexts: BTreeMap::new(),
            ordered: false,
        }
    }

    /// A context consumes these queues, one a partition: as many as it has partitions
    /// (`MAMEY_PARTITIONS`). What it cannot keep goes to the queue `dead_letters`.
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

    /// Says that order by sender and key holds. It does when each queue hands its messages to one
    /// consumer at a time (a single active consumer) and either there is one queue, or the bindings
    /// lead slot `s` to the queue number `s % queues`.
    #[must_use]
    pub const fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    pub(crate) const fn is_ordered(&self) -> bool {
        self.ordered
    }

    pub(crate) fn exchange(&self) -> &str {
        &self.exchange
    }

    pub(crate) fn check(&self) -> Result<()> {
        let mut rest = self.routing_key.clone();
        for placeholder in PLACEHOLDERS {
            rest = rest.replace(placeholder, "");
        }
        if rest.contains(['{', '}']) {
            return Err(Error::misconfigured(format!(
                "routing key `{}` has a placeholder that nothing replaces; there are {}",
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
                    "context `{context}` needs a queue at least, and one for its dead letters"
                )));
            }
        }
        Ok(())
    }

    /// One pass, so that what looks like a placeholder in a key stays what it is.
    pub(crate) fn routing_key(&self, metadata: &Metadata) -> String {
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

    /// The queues of a context and the one of its dead letters.
    pub(crate) fn queues(&self, context: &ContextName) -> Result<(&[String], &str)> {
        let inputs = self.contexts.get(context).ok_or_else(|| {
            Error::misconfigured(format!(
                "no queue of context `{context}` is told: add it to `RabbitPredefined::context`"
            ))
        })?;
        Ok((&inputs.queues, &inputs.dead_letters))
    }

    pub(crate) fn queue(&self, context: &ContextName, partition: Partition) -> Result<String> {
        let (queues, _) = self.queues(context)?;
        let queue = queues.get(usize::from(partition.number())).cloned();
        queue.ok_or_else(|| {
            Error::misconfigured(format!(
                "context `{context}` has {} queues, so there is none for partition {partition}",
                queues.len()
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
        assert!(RabbitPredefined::new("shop", "").queues(&payments).is_err());
    }
}
