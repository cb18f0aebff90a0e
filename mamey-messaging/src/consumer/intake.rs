//! Takes messages of one partition from the transport, and subscribes again when that fails.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::message::Partition;
use mamey_core::transport::{Delivery, Subscriber, Subscription, Transport};
use mamey_core::{Backoff, Error, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::room::{Occupied, Room};
use crate::guard::guarded;
use crate::stats::ConsumerStats;

/// The pauses before subscribing again.
const RESUBSCRIBE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// A delivery, and the intake that took it.
pub(super) struct Taken {
    pub(super) intake: u64,
    pub(super) partition: Partition,
    pub(super) at: Instant,
    pub(super) delivery: Delivery,
    /// What it occupies until it is settled.
    pub(super) room: Occupied,
}

/// A task that takes messages of one partition. When it is dropped, the task ends, and what is
/// unsettled is returned.
pub(super) struct Intake {
    pub(super) number: u64,
    taking: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What an intake needs.
pub(super) struct Source {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) subscription: Subscription,
    pub(super) taken: mpsc::Sender<Taken>,
    pub(super) room: Room,
    pub(super) stats: ConsumerStats,
}

impl Intake {
    /// Begins to take, after a pause.
    pub(super) fn start(source: Source, number: u64, pause: Duration) -> Self {
        let (taking, gate) = watch::channel(true);
        let task = tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            source.run(number, gate).await;
        });
        Self { number, taking, task }
    }

    /// Takes messages or pauses. A pause keeps the subscription, so that what runs can be
    /// acknowledged.
    pub(super) fn set_taking(&self, taking: bool) {
        self.taking.send_if_modified(|now| std::mem::replace(now, taking) != taking);
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    async fn run(self, number: u64, mut gate: watch::Receiver<bool>) {
        let mut failures = 0;
        loop {
            let before = failures;
            let ended = self.subscribe_and_take(number, &mut gate, &mut failures).await;
            // The consumer or this intake has ended; either may show first.
            if self.taken.is_closed() || gate.has_changed().is_err() {
                return;
            }
            let error = match ended {
                Ok(()) => Error::unavailable("the subscription was closed"),
                Err(error) => error,
            };
            self.stats.0.subscription_failures.increment();
            let pause = RESUBSCRIBE.delay(before, fastrand::f64());
            let partition = self.subscription.partition;
            let context = &self.subscription.context;
            tracing::error!(%context, %partition, %error, ?pause, "a subscription failed");
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes until the subscription ends. The first message sets `failures` back to 0.
    async fn subscribe_and_take(
        &self,
        number: u64,
        gate: &mut watch::Receiver<bool>,
        failures: &mut u32,
    ) -> Result<()> {
        *failures = failures.saturating_add(1);
        let mut subscriber = guarded(self.transport.subscribe(&self.subscription)).await?;
        while let Some(delivery) = next(subscriber.as_mut(), gate).await? {
            *failures = 0;
            let dropped = delivery.envelope().metadata.headers.dropped();
            self.stats.0.headers_dropped.add(u64::from(dropped));
            let bytes = delivery.envelope().payload.len();
            let (partition, room) = (self.subscription.partition, self.room.occupy(bytes).await);
            let at = Instant::now();
            let taken = Taken { intake: number, partition, at, delivery, room };
            if self.taken.send(taken).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The next message, while messages are taken.
async fn next(
    subscriber: &mut dyn Subscriber,
    gate: &mut watch::Receiver<bool>,
) -> Result<Option<Delivery>> {
    loop {
        if gate.wait_for(|taking| *taking).await.is_err() {
            return Ok(None);
        }
        tokio::select! {
            next = guarded(subscriber.next()) => return next,
            // Dropping `next` loses nothing: a message was either received or is still to come.
            _ = gate.wait_for(|taking| !*taking) => {}
        }
    }
}
