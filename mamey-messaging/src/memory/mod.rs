//! The in-process transport: carries messages between the contexts of one process.

mod broker;
mod error;
mod publisher;
mod queue;
mod rejected;
mod requests;
mod store_publisher;
mod subscriber;
mod topology;
mod undecided;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::capabilities::TransportCapabilities;
use mamey_core::message::{BODY_BYTES_MAX, ContextName};
use mamey_core::store::Store;
use mamey_core::transport::{
    Publisher, RejectedMessages, Requester, Responder, Serving, Subscriber, Subscription, Topology,
    Transport,
};
use mamey_core::{Error, Result, redact_url};

use broker::Broker;
use publisher::MemoryPublisher;
use rejected::MemoryRejected;
use requests::Requests;
use store_publisher::StorePublisher;
use subscriber::MemorySubscriber;

pub use queue::QUEUE_MESSAGES_MAX;
pub use undecided::{REJECTED_BYTES_MAX, REJECTED_MESSAGES_MAX};

/// Carries messages between the contexts of one process.
///
/// It keeps nothing beyond the process. So that nothing is lost nevertheless, a publish resolves
/// only when every subscribing context has acknowledged the message, which is after the commit of its
/// effect or of its parking: until then it stays in its sender's outbox. A context that rejects a message fails its publish, also when
/// that is repeated, until an operator has replayed or discarded it; a restart tries it once more.
///
/// What a relay publishes also reaches the contexts of the same database that this process does not
/// host, and the messages that only another build of a context handles: they are parked there, in the
/// database ([`SubscriptionStore`](mamey_core::store::SubscriptionStore)).
///
/// ```
/// use mamey::messaging::MemoryTransport;
/// use mamey::transport::Transport;
///
/// let transport = MemoryTransport::new();
/// assert!(!transport.capabilities().durable);
/// assert!(transport.capabilities().rejected);
/// ```
///
/// All clones are the same transport.
#[derive(Clone, Default)]
pub struct MemoryTransport {
    broker: Arc<Broker>,
    requests: Arc<Requests>,
}

impl MemoryTransport {
    /// A transport that no context was applied to yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn capabilities(&self) -> TransportCapabilities {
        TransportCapabilities::new("memory", BODY_BYTES_MAX)
            .with_ordered(true)
            .with_requests(true)
            .with_rejected(true)
            .with_repartitions(true)
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }

    async fn apply(&self, topology: &Topology) -> Result<()> {
        self.broker.lock().apply(topology)
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(MemoryPublisher::new(Arc::clone(&self.broker)))
    }

    fn publisher_of(&self, store: &Arc<dyn Store>) -> Arc<dyn Publisher> {
        Arc::new(StorePublisher::new(&self.broker, store))
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        let subscriber = MemorySubscriber::open(Arc::clone(&self.broker), subscription)?;
        Ok(Box::new(subscriber))
    }

    fn rejected(&self, context: &ContextName) -> Result<Arc<dyn RejectedMessages>> {
        let (broker, context) = (Arc::clone(&self.broker), context.clone());
        Ok(Arc::new(MemoryRejected { broker, context }))
    }

    fn requester(&self) -> Arc<dyn Requester> {
        Arc::<Requests>::clone(&self.requests)
    }

    async fn serve(
        &self,
        context: &ContextName,
        responder: Arc<dyn Responder>,
    ) -> Result<Box<dyn Serving>> {
        self.requests.serve(context, responder)
    }

    async fn ping(&self) -> Result<()> {
        self.broker.lock().ensure_open()
    }

    async fn close(&self) {
        self.broker.lock().close();
        self.requests.close();
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryTransport")
    }
}

/// Makes a new transport.
///
/// # Errors
/// As [`check`].
pub(crate) fn connect(url: &str) -> Result<Arc<dyn Transport>> {
    check(url)?;
    Ok(Arc::new(MemoryTransport::new()))
}

/// Reads a URL.
///
/// # Errors
/// `Misconfigured` for anything but `memory:` and `memory://`.
pub(crate) fn check(url: &str) -> Result<()> {
    match url {
        "memory:" | "memory://" => Ok(()),
        _ => Err(Error::misconfigured(format!(
            "`{}` is not a transport: `memory:` takes nothing after the colon",
            redact_url(url)
        ))),
    }
}
