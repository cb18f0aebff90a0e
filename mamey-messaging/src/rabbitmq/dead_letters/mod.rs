//! Sets a message aside on the broker, bytes intact, with the reason beside it.

pub(super) mod watch;

use std::sync::Arc;

use lapin::types::{AMQPValue, FieldTable, ShortString};
use mamey_core::message::ContextName;
use mamey_core::{Backoff, Error, Result};

use super::Broker;
use super::error::short;
use super::publisher::Outgoing;
use super::subscriber::settle::Original;
use super::wire::PERSISTENT;

/// Why the message was set aside.
const REASON: &str = "x-mamey-reason";

/// The queue it came from.
const QUEUE: &str = "x-mamey-queue";

/// The exchange and the routing key it was published with.
const EXCHANGE: &str = "x-mamey-exchange";
const ROUTING_KEY: &str = "x-mamey-routing-key";

/// How much of a reason is kept, in characters.
const REASON_CHARS_MAX: usize = 1024;

/// How much of the headers it had is kept, in bytes.
const HEADERS_BYTES_MAX: usize = 96 * 1024;

/// The pauses after a try that failed. Meanwhile the message stays unacknowledged in its queue.
const TRY_AGAIN: Backoff = Backoff::DEFAULT;

/// The dead letters of one context.
pub(super) struct DeadLetters {
    broker: Arc<Broker>,
    context: ContextName,
}

impl DeadLetters {
    pub(super) const fn new(broker: Arc<Broker>, context: ContextName) -> Self {
        Self { broker, context }
    }

    /// Publishes the message to the dead letters, again and again until the broker has confirmed.
    pub(super) async fn keep(&self, queue: &str, original: &Original, reason: &str) {
        let dead_letters = self.broker.options.dead_letters(&self.context);
        let outgoing = dead_letters
            .and_then(|dead| short(&dead))
            .map(|dead| outgoing(dead, queue, original, reason));
        for failures in 0_u32.. {
            let published = match &outgoing {
                Ok(outgoing) => self.publish(outgoing).await,
                // Not from here: the context was applied, which looks for the queue.
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
                // It was deleted: it is declared again with all the context needs.
                self.broker.forget_declared(&self.context);
                self.broker.ensure_declared(&self.context).await?;
                let queue = &outgoing.routing_key;
                Err(Error::unroutable(format!("queue `{queue}` was not there")))
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

/// The headers it had, as far as there is room beside ours: more than fits one frame would cost
/// the connection.
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

/// About how much a value takes, rather too much than too little.
fn value_bytes(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::LongString(text) => text.len() + 8,
        other => format!("{other:?}").len() + 8,
    }
}
