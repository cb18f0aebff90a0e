//! The task of a subscription: it takes deliveries, acknowledges them and returns them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use mamey_core::message::ContextName;
use mamey_core::transport::RejectReason;
use mamey_core::{Error, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::acks::Acks;
use super::settle::{Ready, Shared};
use crate::rabbitmq::broker::Broker;
use crate::rabbitmq::channel;
use crate::rabbitmq::dead_letters::{DeadLetters, Original, Why};
use crate::rabbitmq::error::{call, cancelled, failed, short};
use crate::rabbitmq::wire::failed_deliveries;

/// How long to wait for dead letters that are being published when a channel is given up.
const REJECT_GRACE: Duration = Duration::from_secs(2);

/// The pause between two acknowledgements, so that each covers more messages: a quorum queue writes
/// an entry into its log for each. A lone message does not wait.
const ACK_PAUSE: Duration = Duration::from_millis(20);

/// Once this part of the prefetch is settled, it is acknowledged without that pause, so that the
/// broker has room to deliver.
const ACK_AT_ONCE_PER_PREFETCH: usize = 2;

/// The queue that a subscription receives, and whose it is.
pub(crate) struct Source {
    pub(crate) broker: Arc<Broker>,
    pub(crate) context: ContextName,
    pub(crate) queue: String,
    pub(crate) prefetch: u16,
}

/// A channel that consumes.
pub(super) struct Consuming {
    channel: Channel,
    consumer: Consumer,
}

/// Why the task stopped taking from a channel.
enum End {
    /// The subscriber was dropped, or the transport was closed.
    Stopped,
    /// Everything unsettled goes back to the queue.
    Returned,
    Lost(Error),
}

/// What the task holds of one channel.
struct Round {
    acks: Acks,
    /// Settled, to be acknowledged.
    acked: Vec<u64>,
    ack_not_before: Instant,
    /// Messages that are being published to the dead letters; acknowledged once they are kept.
    rejecting: JoinSet<u64>,
}

impl Source {
    /// Opens a channel that consumes the queue.
    pub(super) async fn consume(&self) -> Result<Consuming> {
        let limit = self.broker.options.call_timeout;
        let live = self.broker.ensure_declared(&self.context).await?;
        let channel = live.open_channel(limit).await?;
        let queue = &self.queue;
        let name = short(queue)?;
        let doing = format!("subscribing to queue `{queue}`");
        match call(limit, &doing, channel::consume(&channel, name, self.prefetch)).await {
            Ok(consumer) => Ok(Consuming { channel, consumer }),
            Err(error) => {
                // The queue may have been deleted.
                self.broker.forget_declared(&self.context);
                Err(error)
            }
        }
    }

    /// Receives until the subscriber is dropped, the transport is closed or the channel is lost.
    pub(super) async fn run(self, shared: Arc<Shared>, first: Consuming, stop: CancellationToken) {
        let mut consuming = first;
        loop {
            shared.begin_round();
            let end = self.take(&shared, &mut consuming, &stop).await;
            // The channel is closed at once, without cancelling the consumer before: after a cancel
            // another instance would begin with what comes after the messages that go back.
            channel::close(&consuming.channel).await;
            drop(consuming);
            match end {
                End::Stopped => return shared.end(Ok(())),
                End::Lost(error) => {
                    self.broker.forget_declared(&self.context);
                    return shared.end(Err(error));
                }
                End::Returned => {}
            }
            tokio::select! {
                () = stop.cancelled() => return shared.end(Ok(())),
                () = wanted(&shared) => {}
            }
            consuming = match self.consume().await {
                Ok(consuming) => consuming,
                Err(error) => return shared.end(Err(error)),
            };
        }
    }

    async fn take(&self, shared: &Shared, from: &mut Consuming, stop: &CancellationToken) -> End {
        let mut round = Round::default();
        loop {
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.finish(shared, &from.channel, &mut round).await;
                    return End::Stopped;
                }
                () = shared.changed.notified() => {
                    self.take_settled(shared, &mut round);
                    match round.is_full(self.prefetch) {
                        true => self.acknowledge(&from.channel, &mut round).await,
                        false => Ok(()),
                    }
                }
                () = sleep_until(round.ack_not_before), if !round.acked.is_empty() => {
                    self.acknowledge(&from.channel, &mut round).await
                }
                Some(rejected) = round.rejecting.join_next() => match rejected {
                    Ok(tag) => {
                        round.acked.push(tag);
                        Ok(())
                    }
                    // The channel is closed, which returns the message.
                    Err(cause) => Err(Error::other(cause)),
                },
                delivery = from.consumer.next() => {
                    self.deliver_all(shared, &mut round, &mut from.consumer, delivery)
                }
            };
            if let Err(error) = step {
                return End::Lost(error);
            }
            if shared.is_returnable() {
                self.finish(shared, &from.channel, &mut round).await;
                return End::Returned;
            }
        }
    }

    /// Takes this delivery and all that have arrived with it, which are at most the prefetch.
    fn deliver_all(
        &self,
        shared: &Shared,
        round: &mut Round,
        consumer: &mut Consumer,
        first: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<()> {
        let mut next = Some(first);
        while let Some(delivery) = next {
            match delivery {
                Some(Ok(delivery)) => self.deliver(shared, round, delivery),
                Some(Err(cause)) => return Err(failed("receiving from RabbitMQ", cause)),
                None => return Err(cancelled(&self.queue)),
            }
            next = consumer.next().now_or_never();
        }
        Ok(())
    }

    fn deliver(&self, shared: &Shared, round: &mut Round, delivery: lapin::message::Delivery) {
        let (tag, redelivered) = (delivery.delivery_tag, delivery.redelivered);
        round.acks.delivered(tag);
        let original = Box::new(Original {
            properties: delivery.properties,
            body: Bytes::from(delivery.data),
            exchange: delivery.exchange.into(),
            routing_key: delivery.routing_key.into(),
        });
        let near_its_limit =
            self.broker.options.is_near_limit(failed_deliveries(&original.properties));
        match self.broker.wire.read(&original.properties, &original.body) {
            Ok(envelope) => {
                shared.push(Ready { tag, envelope, redelivered, near_its_limit, original });
            }
            Err(error) => {
                let reason = RejectReason::of_decoding(&error);
                tracing::error!(
                    queue = self.queue, %error, %reason,
                    "a message cannot be read; it becomes a dead letter on the broker"
                );
                let why = Why { reason, detail: error.to_string() };
                self.reject(round, tag, original, why);
            }
        }
    }

    fn reject(&self, round: &mut Round, tag: u64, original: Box<Original>, why: Why) {
        let dead = DeadLetters::new(Arc::clone(&self.broker), self.context.clone());
        let queue = self.queue.clone();
        round.rejecting.spawn(async move {
            dead.keep(&queue, &original, &why).await;
            tag
        });
    }

    /// Acknowledges what was committed and what has become a dead letter, if the broker still
    /// listens. What it misses is delivered again.
    async fn finish(&self, shared: &Shared, channel: &Channel, round: &mut Round) {
        self.take_settled(shared, round);
        let _ = self.acknowledge(channel, round).await;
        let rejected = async {
            while let Some(rejected) = round.rejecting.join_next().await {
                round.acked.extend(rejected);
                let _ = self.acknowledge(channel, round).await;
            }
        };
        let _ = tokio::time::timeout(REJECT_GRACE, rejected).await;
    }

    /// Takes what was settled, and begins to publish what was rejected to the dead letters.
    fn take_settled(&self, shared: &Shared, round: &mut Round) {
        let settled = shared.take_settled();
        for (tag, original, why) in settled.rejected {
            self.reject(round, tag, original, why);
        }
        round.acked.extend(settled.acked);
    }

    async fn acknowledge(&self, channel: &Channel, round: &mut Round) -> Result<()> {
        let doing = "acknowledging to RabbitMQ";
        round.ack_not_before = Instant::now() + ACK_PAUSE;
        let acks = round
            .acks
            .settle(round.acked.drain(..))
            .into_iter()
            .map(|ack| channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.multiple }));
        call(self.broker.options.call_timeout, doing, try_join_all(acks)).await.map(drop)
    }
}

impl Default for Round {
    fn default() -> Self {
        Self {
            acks: Acks::default(),
            acked: Vec::new(),
            ack_not_before: Instant::now(),
            rejecting: JoinSet::new(),
        }
    }
}

impl Round {
    fn is_full(&self, prefetch: u16) -> bool {
        self.acked.len() >= (usize::from(prefetch) / ACK_AT_ONCE_PER_PREFETCH).max(1)
    }
}

/// Waits until the subscriber asks for a message.
async fn wanted(shared: &Shared) {
    while !shared.is_wanted() {
        shared.changed.notified().await;
    }
}
