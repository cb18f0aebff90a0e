//! The totals of a running service, and what each number counts.

use mamey_core::Result;
use mamey_core::transport::RejectedTotals;

use super::hosted::Hosted;

/// Totals over all contexts that a service hosts.
///
/// What a store knows is counted over the store's life and over all instances; what only this
/// process can know is counted since it started.
///
/// | Field | Counts | Since |
/// |---|---|---|
/// | `published` | messages that the transport confirmed and the relay deleted from the outbox | the store was created |
/// | `handled` | messages that took effect | the inbox's window |
/// | `waiting` | messages in an outbox | now |
/// | `stalled` | those of them whose publish failed, each with its key behind it | now |
/// | `waiting_unreadable` | those of them that wait for another build | now |
/// | `undelivered` | messages that were given up before they were published | now |
/// | `parked` | messages in parking | now |
/// | `dead_letters` | dead letters | now |
/// | `no_subscriber` | events that no context subscribes to; they count as published, too | the start |
/// | `duplicates_absorbed` | deliveries without effect, because the inbox knew the message | the start |
/// | `rejected` | messages that could be neither read nor kept, by reason | the start |
/// | `headers_dropped` | headers of messages from outside that were over the bounds | the start |
/// | `unreadable` | records, parked messages and documents that this build cannot read | the start |
/// | `subscription_failures` | subscriptions that the transport ended | the start |
/// | `late_replies` | replies that arrived after their request had timed out | the start |
///
/// ```
/// # use mamey::{BoundedContext, Command, Context, Event, Result, Service};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Command)]
/// # struct PlaceOrder;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(name = "orders.order-placed")]
/// # struct OrderPlaced;
/// # async fn place_order(_: PlaceOrder, cx: &Context) -> Result<()> { cx.publish(&OrderPlaced) }
/// # async fn on_placed(_: OrderPlaced, _: &Context) -> Result<()> { Ok(()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let orders = BoundedContext::new("orders").command(place_order).publishes::<OrderPlaced>();
/// # let billing = BoundedContext::new("billing").on(on_placed);
/// let service = Service::in_memory().host(orders).host(billing).start().await?;
/// service.send(PlaceOrder).await?;
/// service.wait_until_idle().await?;
///
/// let totals = service.totals().await?;
/// assert_eq!((totals.published, totals.handled, totals.waiting), (1, 1, 0));
/// # service.shutdown().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Messages that the transport confirmed and the relay then deleted from the outbox, over the
    /// store's life.
    pub published: u64,
    /// Messages that took effect, as far back as the inbox remembers.
    pub handled: u64,
    /// Messages that wait in an outbox.
    pub waiting: u64,
    /// Those of them whose publish failed: they wait for their next try, and their keys behind them.
    pub stalled: u64,
    /// Those of them that wait for a build which can read them, or behind one that does.
    pub waiting_unreadable: u64,
    /// Messages that were given up before they were published, and wait for a person:
    /// [`RunningService::undelivered`](crate::RunningService::undelivered) lists them.
    pub undelivered: u64,
    /// Messages that failed and wait to be handled again, with the later messages of their keys.
    pub parked: u64,
    /// Messages that are no longer retried and wait for a person.
    pub dead_letters: u64,
    /// Messages to any subscriber that had none, since the start.
    pub no_subscriber: u64,
    /// Deliveries without effect because the message was already handled or parked, since the start.
    pub duplicates_absorbed: u64,
    /// Messages that could neither be read nor kept in a store, by reason, since the start:
    /// [`RunningService::rejected`](crate::RunningService::rejected) lists them.
    pub rejected: RejectedTotals,
    /// Headers and attributes of messages from outside that were dropped because they were over the
    /// bounds, since the start; the messages were handled.
    pub headers_dropped: u64,
    /// Rows of the stores that this build met and cannot read, since the start, each counted once:
    /// records of an outbox, parked messages and documents. They are logged with their places, and
    /// wait for a build that can read them.
    pub unreadable: u64,
    /// Subscriptions that the transport ended, since the start. Each is made again, and every failed
    /// attempt counts.
    pub subscription_failures: u64,
    /// Replies that arrived after their request had timed out, since the start.
    pub late_replies: u64,
}

impl Totals {
    /// Adds the numbers of one hosted context.
    pub(super) async fn add(&mut self, hosted: &Hosted) -> Result<()> {
        let store = hosted.store();
        let outbox = store.outbox_depth().await?;
        let (parked, dead_letters) =
            (store.parked_count().await?, store.dead_letter_count().await?);
        let received = store.received_count().await?;
        self.published += outbox.published;
        self.waiting += outbox.records;
        self.stalled += outbox.stalled;
        self.waiting_unreadable += outbox.unreadable;
        self.undelivered += store.undelivered_count().await?;
        self.parked += parked;
        self.dead_letters += dead_letters;
        // The inbox also knows what is parked or dead, which has had no effect.
        self.handled += received.saturating_sub(parked + dead_letters);
        let relayed = hosted.relayed.snapshot();
        self.no_subscriber += relayed.no_subscriber;
        let consumed = hosted.consumed.snapshot();
        self.duplicates_absorbed += consumed.duplicates_absorbed;
        self.headers_dropped += consumed.headers_dropped;
        self.unreadable += relayed.unreadable + consumed.unreadable;
        self.unreadable += hosted.runtime.unreadable_documents();
        self.subscription_failures += consumed.subscription_failures;
        Ok(())
    }
}
