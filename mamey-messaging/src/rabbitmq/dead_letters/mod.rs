//! Keeps on the broker what a context could not: bytes intact, with the reason in a header.

mod kept;
pub(super) mod rejected;
mod scan;
pub(super) mod watch;

use std::sync::Arc;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::id::new_uuid;
use mamey_core::message::ContextName;
use mamey_core::transport::{RejectReason, RejectedId};
use mamey_core::{Backoff, Error, Result};

use super::broker::Broker;
use super::channel::Outgoing;
use super::error::short;
use super::wire::PERSISTENT;

/// The id by which an operator names it.
const ID: &str = "x-mamey-rejected-id";

/// When it was rejected, by the clock of the instance that did it.
const AT: &str = "x-mamey-rejected-at";

/// Why it is a dead letter: the stable code, and a text for people.
const REASON: &str = "x-mamey-reason-code";
const DETAIL: &str = "x-mamey-reason";

/// The queue from which it was received.
const PLACE: &str = "x-mamey-queue";

/// The exchange and the routing key it was published with.
const EXCHANGE: &str = "x-mamey-exchange";
const ROUTING_KEY: &str = "x-mamey-routing-key";

/// The headers that a replay takes away again.
const OURS: [&str; 5] = [ID, AT, REASON, DETAIL, PLACE];

/// How much of a reason is kept, in characters.
const DETAIL_CHARS_MAX: usize = 1024;

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

/// Why a message is rejected.
#[derive(Debug)]
pub(super) struct Why {
    pub(super) reason: RejectReason,
    /// For people.
    pub(super) detail: String,
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
    pub(super) async fn keep(&self, queue: &str, original: &Original, why: &Why) {
        let dead_letters = self.broker.options.layout.dead_letters(&self.context);
        let outgoing = dead_letters
            .and_then(|dead| short(&dead))
            .map(|dead| outgoing(dead, queue, original, why));
        for failures in 0_u32.. {
            let published = match &outgoing {
                Ok(outgoing) => self.publish(outgoing).await,
                // Cannot happen: the context was applied, which has looked for the queue.
                Err(error) => Err(Error::misconfigured(error.to_string())),
            };
            let Err(error) = published else {
                return self.broker.rejected(&self.context).count(why.reason);
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

fn outgoing(dead_letters: ShortString, queue: &str, original: &Original, why: &Why) -> Outgoing {
    let mut headers = kept_headers(original);
    let detail: String = why.detail.chars().take(DETAIL_CHARS_MAX).collect();
    let id = RejectedId::new(new_uuid()).to_string();
    let mut ours = vec![
        (ID, id),
        (AT, SystemClock.now().to_string()),
        (REASON, why.reason.as_str().to_owned()),
        (DETAIL, detail),
        (PLACE, queue.to_owned()),
    ];
    // One that was replayed came directly into the queue, and says where it came from at first.
    let was_replayed = original.exchange.is_empty() && headers.contains_key(ROUTING_KEY);
    if !was_replayed {
        ours.push((EXCHANGE, original.exchange.clone()));
        ours.push((ROUTING_KEY, original.routing_key.clone()));
    }
    for (name, value) in ours {
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
