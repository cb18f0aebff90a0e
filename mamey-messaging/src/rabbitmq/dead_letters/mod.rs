//! Keeps on the broker what a context could not: bytes intact, with the reason in a header.

pub(super) mod watch;

use std::sync::Arc;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use mamey_core::message::ContextName;
use mamey_core::{Backoff, Error, Result};

use super::broker::Broker;
use super::channel::Outgoing;
use super::error::short;
use super::wire::PERSISTENT;

/// Why the message is a dead letter.
const REASON: &str = "x-mamey-reason";

/// The queue from which it was received.
const QUEUE: &str = "x-mamey-queue";

/// The exchange and the routing key it was published with.
const EXCHANGE: &str = "x-mamey-exchange";
const ROUTING_KEY: &str = "x-mamey-routing-key";

/// How much of a reason is kept, in characters.
const REASON_CHARS_MAX: usize = 1024;

/// How much of the headers it had is kept, in bytes.
const HEADERS_BYTES_MAX: usize = 96 * 1024;

/// The pauses after a failed try. Meanwhile the message stays unacknowledged in its queue.
const TRY_AGAIN: Backoff = Backoff::DEFAULT;

/// A message as it was on the broker, to be kept unchanged.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

/// The dead letters of one context.
pub(super) struct DeadLetters {
    broker: Arc<Broker>,
    context: ContextName,
}

impl DeadLetters {
    pub(super) const fn new(broker: Arc<Broker>, context: ContextName) -> Self {
        Self { broker, context }
    }

    /// Publishes the message to the dead letters, and tries again until the broker has confirmed.
    pub(super) async fn keep(&self, queue: &str, original: &Original, reason: &str) {
        let dead_letters = self.broker.options.layout.dead_letters(&self.context);
        let outgoing = dead_letters
            .and_then(|dead| short(&dead))
            .map(|dead| outgoing(dead, queue, original, reason));
        for failures in 0_u32.. {
            let published = match &outgoing {
                Ok(outgoing) => self.publish(outgoing).await,
                // Cannot happen: the context was applied, which has looked for the queue.
                Err(error) => Err(Error::misconfigured(error.to_string())),
            };
            let Err(error) = published else {
                return;
            };
            let pause = TRY_AGAIN.delay(failures, fastrand::f64());
            tracing::error!(queue, %error, ?pause, "a dead letter could not be kept on the broker");
            tokio::time::sleep(pause).await;
        }
    }

    async fn publish(&self, outgoing: &Outgoing) -> Result<()> {
        match self.broker.publisher.publish_alone(outgoing).await? {
            None => Ok(()),
            Some(_) => {
                // The queue was deleted: it is declared again with all that the context needs.
                self.broker.forget_declared(&self.context);
                self.broker.ensure_declared(&self.context).await?;
                let queue = &outgoing.routing_key;
                Err(Error::unroutable(format!("queue `{queue}` does not exist")))
            }
        }
    }
}

fn outgoing(dead_letters: ShortString, queue: &str, original: &Original, reason: &str) -> Outgoing {
    let mut headers = kept_headers(original);
    let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
    for (name, value) in [
        (REASON, reason.as_str()),
        (QUEUE, queue),
        (EXCHANGE, &original.exchange),
        (ROUTING_KEY, &original.routing_key),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    Outgoing {
        // The default exchange: straight into the queue.
        exchange: ShortString::default(),
        routing_key: dead_letters,
        properties: original
            .properties
            .clone()
            .with_headers(headers)
            .with_delivery_mode(PERSISTENT),
        body: original.body.clone(),
    }
}

/// The headers it had, as far as there is room beside ours: headers that do not fit into one frame
/// would cost the connection.
fn kept_headers(original: &Original) -> FieldTable {
    let (mut kept, mut bytes) = (FieldTable::default(), 0);
    for (name, value) in original.properties.headers().iter().flat_map(FieldTable::inner) {
        bytes += name.as_str().len() + value_bytes(value);
        if bytes <= HEADERS_BYTES_MAX {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// About how much a value takes, rather over- than underestimated.
fn value_bytes(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::LongString(text) => text.len() + 8,
        other => format!("{other:?}").len() + 8,
    }
}
