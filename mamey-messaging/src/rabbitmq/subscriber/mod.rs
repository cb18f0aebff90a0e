//! Receives one partition queue: a task of its own takes, acknowledges and gives back.

mod acks;
pub(super) mod settle;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::options::BasicAckOptions;
use lapin::{Channel, Consumer};
use mamey_core::transport::{Delivery, Subscriber};
use mamey_core::{Error, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Broker;
use super::connection::{close_channel, consume};
use super::dead_letters::DeadLetters;
use super::error::{call, failed, short};
use super::wire::deliveries;
use acks::Acks;
use settle::{Next, Original, Ready, Shared, cancelled};

/// How long to await dead letters that are on their way when a channel is given up.
const REJECT_GRACE: Duration = Duration::from_secs(2);

/// The pause between two acknowledgements, which then take more messages at once: to a quorum queue
/// each is an entry in its log. A lone message does not wait.
const ACK_PAUSE: Duration = Duration::from_millis(20);

/// Which part of the prefetch does not wait for that pause: the broker is to have room to deliver.
const ACK_AT_ONCE_PER_PREFETCH: usize = 2;

/// One partition of one context's messages.
pub(super) struct RabbitSubscriber {
    shared: Arc<Shared>,
    /// Dropped with the subscriber, it ends the task.
    _stop: DropGuard,
}

/// What the task of a subscription needs.
pub(super) struct Source {
    pub(super) broker: Arc<Broker>,
    pub(super) context: mamey_core::message::ContextName,
    pub(super) queue: String,
    pub(super) prefetch: u16,
}

/// A channel that consumes.
pub(super) struct Consuming {
    channel: Channel,
    consumer: Consumer,
}

/// Why taking came to an end.
enum End {
    /// The subscriber is gone, or the transport was closed.
    Stopped,
    /// Everything unsettled goes back.
    Release,
    Lost(Error),
}

/// What the task holds of one channel.
struct Round {
    acks: Acks,
    /// Settled, to be acknowledged.
    acked: Vec<u64>,
    ack_not_before: Instant,
    /// Messages on their way to the dead letters; acknowledged when they have arrived.
    rejecting: JoinSet<u64>,
}

impl RabbitSubscriber {
    pub(super) fn start(source: Source, consuming: Consuming) -> Self {
        let shared = Arc::new(Shared::default());
        let stop = source.broker.closed.child_token();
        let tracker = source.broker.tasks.clone();
        let task = source.run(Arc::clone(&shared), consuming, stop.clone());
        tracker.spawn(task);
        Self { shared, _stop: stop.drop_guard() }
    }
}

#[async_trait]
impl Subscriber for RabbitSubscriber {
    async fn next(&mut self) -> Result<Option<Delivery>> {
        loop {
            match self.shared.next() {
                Next::Message(delivery) => return Ok(Some(*delivery)),
                Next::Ended(how) => return how.map(|()| None),
                Next::NothingYet => {
                    let _wanting = self.shared.want();
                    self.shared.arrived.notified().await;
                }
            }
        }
    }
}

impl Source {
    /// Opens a channel that consumes.
    pub(super) async fn consume(&self) -> Result<Consuming> {
        let limit = self.broker.options.call_timeout;
        let live = self.broker.ensure_declared(&self.context).await?;
        let channel = live.open_channel(limit).await?;
        let queue = &self.queue;
        let name = short(queue)?;
        let doing = format!("subscribing to queue `{queue}`");
        match call(limit, &doing, consume(&channel, name, self.prefetch)).await {
            Ok(consumer) => Ok(Consuming { channel, consumer }),
            Err(error) => {
                // The queue may be gone.
                self.broker.forget_declared(&self.context);
                Err(error)
            }
        }
    }

    async fn run(self, shared: Arc<Shared>, first: Consuming, stop: CancellationToken) {
        let mut consuming = first;
        loop {
            shared.begin_round();
            let end = self.take(&shared, &mut consuming, &stop).await;
            // The channel first: were the consumer cancelled before, another instance would begin
            // with what is behind the messages that are about to go back.
            close_channel(&consuming.channel).await;
            drop(consuming);
            match end {
                End::Stopped => return shared.end(Ok(())),
                End::Lost(error) => {
                    self.broker.forget_declared(&self.context);
                    return shared.end(Err(error));
                }
                End::Release => {}
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
                    // Its channel gives the message back.
                    Err(cause) => Err(Error::other(cause)),
                },
                delivery = from.consumer.next() => {
                    self.deliver_all(shared, &mut round, &mut from.consumer, delivery)
                }
            };
            if let Err(error) = step {
                return End::Lost(error);
            }
            if shared.is_released() {
                self.finish(shared, &from.channel, &mut round).await;
                return End::Release;
            }
        }
    }

    /// With all others that have come by now, which are no more than the prefetch.
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
        let near_its_limit = self.broker.options.is_near_limit(deliveries(&original.properties));
        match self.broker.wire.read(&original.properties, &original.body) {
            Ok(envelope) => {
                shared.push(Ready { tag, envelope, redelivered, near_its_limit, original });
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(
                    queue = self.queue, %error,
                    "a message cannot be read; it becomes a dead letter on the broker"
                );
                self.reject(round, tag, original, reason);
            }
        }
    }

    fn reject(&self, round: &mut Round, tag: u64, original: Box<Original>, reason: String) {
        let dead = DeadLetters::new(Arc::clone(&self.broker), self.context.clone());
        let queue = self.queue.clone();
        round.rejecting.spawn(async move {
            dead.keep(&queue, &original, &reason).await;
            tag
        });
    }

    /// Acknowledges what was committed and what has become a dead letter, if the broker still
    /// listens: what it misses comes again.
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

    /// Takes in what was settled, and begins to set aside what was rejected.
    fn take_settled(&self, shared: &Shared, round: &mut Round) {
        let settled = shared.take_settled();
        for (tag, original, reason) in settled.rejected {
            self.reject(round, tag, original, reason);
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
