//! Lists, replays and discards the dead letters of one context.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::message::ContextName;
use mamey_core::transport::{
    REJECTED_PAGE_BYTES_MAX, RejectedId, RejectedMessage, RejectedMessages, RejectedTotals,
    check_rejected_page,
};
use mamey_core::{Error, Result};

use super::kept::Kept;
use super::scan::Scan;
use super::watch;
use crate::rabbitmq::broker::Broker;
use crate::rabbitmq::channel::Outgoing;
use crate::rabbitmq::error::short;

/// The dead letters of one context, for operators.
#[derive(Clone)]
pub(crate) struct RabbitRejected {
    broker: Arc<Broker>,
    context: ContextName,
}

/// What becomes of dead letters that an operator names.
#[derive(Clone, Copy)]
enum Decision {
    Replay,
    Discard,
}

/// A page that is being filled.
struct Page {
    after: Option<RejectedId>,
    limit: usize,
    found: bool,
    full: bool,
    bytes: usize,
    messages: Vec<RejectedMessage>,
}

impl RabbitRejected {
    pub(crate) const fn new(broker: Arc<Broker>, context: ContextName) -> Self {
        Self { broker, context }
    }

    /// Finishes what has begun, also when its caller does not wait for it.
    async fn in_a_task<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.broker.tasks.spawn(work).await.unwrap_or_else(|cause| Err(Error::other(cause)))
    }

    async fn page(self, mut page: Page) -> Result<Vec<RejectedMessage>> {
        let mut scan = Scan::begin(&self.broker, &self.context).await?;
        let filled = async {
            while !page.is_done()
                && let Some(kept) = scan.next().await?
            {
                page.add(kept.into_rejected(&self.context));
            }
            Ok(page.messages)
        };
        let filled = filled.await;
        scan.end(&self.broker, &self.context).await;
        filled
    }

    async fn decide(self, mut ids: BTreeSet<RejectedId>, decision: Decision) -> Result<u64> {
        let mut scan = Scan::begin(&self.broker, &self.context).await?;
        let decided = async {
            let mut decided = 0;
            while !ids.is_empty()
                && let Some(kept) = scan.next().await?
            {
                if !ids.remove(&kept.id()) {
                    continue;
                }
                if matches!(decision, Decision::Replay) {
                    self.publish_again(&kept).await?;
                    mamey_core::failpoint!("between-replay-and-settling");
                }
                // Only now: a crash before leaves both, and the inbox absorbs the second replay.
                scan.settle(&kept).await?;
                decided += 1;
            }
            Ok(decided)
        };
        let decided = decided.await;
        scan.end(&self.broker, &self.context).await;
        decided
    }

    /// Publishes it into the queue of its context that its key belongs to: no other context gets it.
    async fn publish_again(&self, kept: &Kept) -> Result<()> {
        let (partitions, _) = self.broker.partitions(&self.context)?;
        let (place, routing_key) = (kept.place(), kept.routing_key());
        let layout = &self.broker.options.layout;
        let queue = layout.queue_again(&self.context, partitions, &place, &routing_key)?;
        let outgoing = Outgoing {
            exchange: short("")?,
            routing_key: short(&queue)?,
            properties: kept.original_properties(),
            body: kept.body(),
        };
        match self.broker.publisher.publish_alone(&outgoing).await? {
            None => Ok(()),
            Some(_) => {
                self.broker.forget_declared(&self.context);
                Err(Error::unavailable(format!(
                    "queue `{queue}` does not exist, so nothing was replayed into it; start \
                     `{}`, which declares it",
                    self.context
                )))
            }
        }
    }
}

#[async_trait]
impl RejectedMessages for RabbitRejected {
    async fn list(&self, after: Option<RejectedId>, limit: u32) -> Result<Vec<RejectedMessage>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        check_rejected_page(limit)?;
        let page = Page::new(after, limit);
        self.in_a_task(self.clone().page(page)).await
    }

    async fn replay(&self, ids: &[RejectedId]) -> Result<u64> {
        check_rejected_page(ids.len())?;
        let ids = ids.iter().copied().collect();
        self.in_a_task(self.clone().decide(ids, Decision::Replay)).await
    }

    async fn discard(&self, ids: &[RejectedId]) -> Result<u64> {
        check_rejected_page(ids.len())?;
        let ids = ids.iter().copied().collect();
        self.in_a_task(self.clone().decide(ids, Decision::Discard)).await
    }

    async fn count(&self) -> Result<u64> {
        watch::count(&self.broker, &self.context).await
    }

    fn totals(&self) -> RejectedTotals {
        self.broker.rejected(&self.context).totals()
    }
}

impl Page {
    fn new(after: Option<RejectedId>, limit: usize) -> Self {
        let found = after.is_none();
        Self { after, limit, found, full: limit == 0, bytes: 0, messages: Vec::new() }
    }

    /// Whether nothing more is to be looked at.
    const fn is_done(&self) -> bool {
        self.found && self.full
    }

    /// Adds a message if there is room. The page begins anew after the message that it follows.
    fn add(&mut self, message: RejectedMessage) {
        let (id, bytes) = (message.id, message.payload.len());
        let too_much = self.bytes + bytes > REJECTED_PAGE_BYTES_MAX && !self.messages.is_empty();
        if self.full || too_much {
            self.full = true;
        } else {
            self.bytes += bytes;
            self.messages.push(message);
            self.full = self.messages.len() >= self.limit;
        }
        if self.after == Some(id) {
            *self = Self { after: None, ..Self::new(None, self.limit) };
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mamey_core::transport::RejectReason;

    use super::*;

    fn message(number: u8, bytes: usize) -> RejectedMessage {
        let (id, context) = (RejectedId::derived(&[number]), ContextName::new("payments").unwrap());
        let payload = Bytes::from(vec![number; bytes]);
        RejectedMessage::new(id, context, RejectReason::Undecodable, payload)
    }

    fn page(after: Option<u8>, limit: usize, all: &[RejectedMessage]) -> Vec<u8> {
        let mut page = Page::new(after.map(|number| RejectedId::derived(&[number])), limit);
        for message in all {
            if page.is_done() {
                break;
            }
            page.add(message.clone());
        }
        page.messages.iter().map(|message| message.payload[0]).collect()
    }

    #[test]
    fn a_page_follows_its_mark_or_is_the_first_one_when_the_mark_is_gone() {
        let all: Vec<_> = (1..=5).map(|number| message(number, 1)).collect();
        assert_eq!(page(None, 2, &all), [1, 2]);
        assert_eq!(page(Some(2), 2, &all), [3, 4]);
        assert_eq!(page(Some(4), 9, &all), [5]);
        assert!(page(Some(5), 9, &all).is_empty());
        assert_eq!(page(Some(9), 2, &all), [1, 2]);
        assert!(page(None, 0, &all).is_empty());
    }

    #[test]
    fn a_page_ends_at_its_bytes_and_holds_at_least_one() {
        let half = REJECTED_PAGE_BYTES_MAX / 2 + 1;
        let all = [message(1, half), message(2, half), message(3, 1)];
        assert_eq!(page(None, 9, &all), [1]);
        assert_eq!(page(Some(1), 9, &all), [2, 3]);
        let large = [message(1, REJECTED_PAGE_BYTES_MAX + 1), message(2, 1)];
        assert_eq!(page(None, 9, &large), [1]);
    }
}
