//! Sets a message aside on the broker, bytes intact, with the reason beside it.

use std::sync::Arc;

use lapin::types::{AMQPValue, FieldTable, ShortString};
use mamey_core::message::ContextName;
use mamey_core::{Backoff, Error, Result};

use super::Broker;
use super::publisher::Outgoing;
use super::settle::Original;
use super::topology::dead_letters;

/// Why the message was set aside.
const REASON: &str = "x-mamey-reason";

/// The queue it came from.
const QUEUE: &str = "x-mamey-queue";

/// The exchange and the routing key it was published with.
const EXCHANGE: &str = "x-mamey-exchange";
const ROUTING_KEY: &str = "x-mamey-routing-key";

/// How much of a reason is kept, in characters.
const REASON_CHARS_MAX: usize = 1024;

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
        let outgoing = self.outgoing(queue, original, reason);
        for failures in 0_u32.. {
            let Err(error) = self.publish(&outgoing).await else {
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
                let queue = dead_letters(&self.context);
                Err(Error::unroutable(format!("queue `{queue}` was not there")))
            }
        }
    }

    fn outgoing(&self, queue: &str, original: &Original, reason: &str) -> Outgoing {
        let mut headers: FieldTable = original.properties.headers().clone().unwrap_or_default();
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
            routing_key: dead_letters(&self.context).into(),
            properties: original.properties.clone().with_headers(headers).with_delivery_mode(2),
            body: original.body.clone(),
        }
    }
}
