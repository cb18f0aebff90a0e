//! Looks at a context's dead letters one by one, and leaves them where they are.

use std::time::Duration;

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::ShortString;
use mamey_core::message::ContextName;
use mamey_core::{Backoff, Result};

use super::kept::Kept;
use super::watch;
use crate::rabbitmq::broker::Broker;
use crate::rabbitmq::channel;
use crate::rabbitmq::error::{call, short};

/// The pauses until the queue has its messages again, and how many there are at most.
const LOOK_AGAIN: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(100));
const LOOKS_MAX: u32 = 12;

/// A look at the dead letters, in their order. They are delivered and stay unacknowledged until the
/// channel is closed, which returns them. What was returned before comes behind what was not, so only
/// a look at all of them keeps their order.
pub(super) struct Scan {
    channel: Channel,
    queue: ShortString,
    doing: String,
    /// How many are left to look at: those that arrive meanwhile are not awaited, so that what is
    /// rejected again is not met again.
    left: u64,
    /// How many are in the queue when this has ended, unless somebody else takes them.
    returned: u64,
    limit: Duration,
}

impl Scan {
    pub(super) async fn begin(broker: &Broker, context: &ContextName) -> Result<Self> {
        let left = watch::count(broker, context).await?;
        let name = broker.options.layout.dead_letters(context)?;
        let limit = broker.options.call_timeout;
        let channel = broker.ensure_declared(context).await?.open_channel(limit).await?;
        let doing = format!("looking at queue `{name}`");
        Ok(Self { channel, queue: short(&name)?, doing, left, returned: left, limit })
    }

    /// The next one; `None` when all that were there at the beginning have been seen.
    pub(super) async fn next(&mut self) -> Result<Option<Kept>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let options = BasicGetOptions { no_ack: false };
        let get = self.channel.basic_get(self.queue.clone(), options);
        let got = call(self.limit, &self.doing, get).await?;
        Ok(got.map(|got| Kept::new(got.delivery)))
    }

    /// Takes a dead letter away.
    pub(super) async fn settle(&mut self, kept: &Kept) -> Result<()> {
        let ack = self.channel.basic_ack(kept.tag(), BasicAckOptions::default());
        call(self.limit, &self.doing, ack).await?;
        self.returned = self.returned.saturating_sub(1);
        Ok(())
    }

    /// Looks at the rest, returns what was not settled, and waits until the queue has it again: a look that follows at
    /// once would miss it.
    pub(super) async fn end(mut self, broker: &Broker, context: &ContextName) {
        while let Ok(Some(_)) = self.next().await {}
        channel::close(&self.channel).await;
        for failures in 0..LOOKS_MAX {
            match watch::count(broker, context).await {
                Ok(waiting) if waiting < self.returned => {}
                _ => return,
            }
            tokio::time::sleep(LOOK_AGAIN.delay(failures, 0.0)).await;
        }
    }
}
