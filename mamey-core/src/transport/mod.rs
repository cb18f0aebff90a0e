//! Ports of a transport: what carries messages between contexts.

mod delivery;
mod owner;
mod rejected;
mod request;
mod topology;

use std::sync::Arc;

use async_trait::async_trait;

use crate::capabilities::TransportCapabilities;
use crate::message::{ContextName, Envelope, Partition};
use crate::{Error, Result};

pub use delivery::{Delivery, Settle, Settlement};
pub use owner::Owner;
pub use rejected::{
    REJECTED_PAGE_BYTES_MAX, REJECTED_PAGE_MAX, RejectReason, RejectedId, RejectedMessage,
    RejectedMessages, RejectedTotals, check_rejected_page,
};
pub use request::{
    REQUEST_TIMEOUT_DEFAULT, REQUEST_TIMEOUT_MAX, REQUESTS_SERVED_MAX, REQUESTS_WAITING_BYTES_MAX,
    REQUESTS_WAITING_MAX, RequestTotals, Requester, Responder, Serving, Unconnected,
};
pub use topology::Topology;

/// How a confirmed message was routed.
///
/// Exhaustive: whoever publishes must decide whether a message without a subscriber is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// To one or more contexts.
    Delivered,
    /// To no context: it was for any subscriber, and there is none.
    NoSubscriber,
}

/// Publishes messages.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Publishes one message. `Ok` means confirmed and routed: a durable transport has stored the
    /// message for every subscriber; with any other, every subscriber has acknowledged it.
    ///
    /// Several publishes may run at once. Order is guaranteed only between publishes of one key,
    /// and only if the first is awaited before the second starts.
    ///
    /// # Errors
    /// `Unroutable` when a targeted or `must_route` message has no route, `LimitExceeded` when it
    /// is too large, `Unavailable` and other errors of the transport; on one that stores nothing
    /// also when a subscriber has rejected it. After an error the message may or may not have
    /// arrived.
    ///
    /// # Cancellation
    /// As after an error: the message may or may not arrive.
    async fn publish(&self, envelope: &Envelope) -> Result<Routed>;

    /// Publishes a message that an instance which has ended may have published before. On a transport
    /// that delivers in the publisher's process, that instance may have been handling it: there it is
    /// delivered as a [suspect](Delivery::is_suspect). On any other it is the same as
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    ///
    /// # Cancellation
    /// As [`publish`](Self::publish).
    async fn publish_suspect(&self, envelope: &Envelope) -> Result<Routed> {
        self.publish(envelope).await
    }
}

/// Receives one partition of a context's messages.
#[async_trait]
pub trait Subscriber: Send + 'static {
    /// The next message; `None` when the subscription was closed.
    ///
    /// A message that the transport cannot decode is not returned: the transport moves it, bytes
    /// unchanged, to its own dead letters, where [`RejectedMessages`] lists it, and logs it. The number of unsettled deliveries is bounded
    /// by the prefetch: at the limit this method waits.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost: subscribe again.
    ///
    /// # Cancellation
    /// Safe: a message is either returned or delivered later.
    async fn next(&mut self) -> Result<Option<Delivery>>;
}

/// What to receive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscription {
    /// The receiving context.
    pub context: ContextName,
    /// Which of its partitions.
    pub partition: Partition,
    /// How many messages may be unsettled at a time.
    pub prefetch: u16,
}

impl Subscription {
    /// One partition of `context`'s messages.
    #[must_use]
    pub const fn new(context: ContextName, partition: Partition, prefetch: u16) -> Self {
        Self { context, partition, prefetch }
    }
}

/// Carries messages between contexts.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// What this transport can do.
    fn capabilities(&self) -> TransportCapabilities;

    /// Describes the location for people and logs, without secrets.
    fn describe(&self) -> String;

    /// Declares what a context sends and receives. Safe to repeat.
    ///
    /// The first owner that a topology names has the context; topologies without one are not
    /// compared.
    ///
    /// # Errors
    /// `Misconfigured` when what exists differs, naming the difference, or when another store owns
    /// the context, naming both; `Unavailable`.
    async fn apply(&self, topology: &Topology) -> Result<()>;

    /// The publisher, for all contexts.
    fn publisher(&self) -> Arc<dyn Publisher>;

    /// Starts to receive. Dropping the subscriber ends the subscription; what it left unsettled is
    /// delivered to the next subscriber.
    ///
    /// # Errors
    /// `Misconfigured` when the context was not applied, `Unavailable`.
    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>>;

    /// What a context has rejected, for operators. The context must be applied.
    ///
    /// # Errors
    /// `Unsupported` when the capabilities exclude it.
    fn rejected(&self, context: &ContextName) -> Result<Arc<dyn RejectedMessages>> {
        Err(Error::unsupported(format!(
            "the transport shows nobody what context `{context}` has rejected: look at its server"
        )))
    }

    /// Sends requests to other contexts, on behalf of all contexts. It refuses every request if the
    /// capabilities exclude requests.
    fn requester(&self) -> Arc<dyn Requester> {
        Arc::new(Unconnected)
    }

    /// Starts to pass the requests to a context to its `responder`, at most
    /// [`REQUESTS_SERVED_MAX`] at a time. A panic of the responder fails only its own request.
    ///
    /// Several instances of one context may serve: each request goes to one of them.
    ///
    /// # Errors
    /// `Unsupported` when the capabilities exclude requests, `Unavailable`.
    async fn serve(
        &self,
        context: &ContextName,
        _responder: Arc<dyn Responder>,
    ) -> Result<Box<dyn Serving>> {
        Err(request::cannot_request(&format!("context `{context}` serves requests, but")))
    }

    /// Checks that the server responds.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    async fn ping(&self) -> Result<()>;

    /// Closes all connections. Later calls fail.
    async fn close(&self);
}
