//! The in-process transport: carries messages between the contexts of one process.

mod broker;
mod dead_letters;
mod error;
mod publisher;
mod queue;
mod requests;
mod subscriber;
mod topology;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::capabilities::TransportCapabilities;
use mamey_core::message::{BODY_BYTES_MAX, ContextName};
use mamey_core::transport::{
    Publisher, Requester, Responder, Serving, Subscriber, Subscription, Topology, Transport,
};
use mamey_core::{Error, Result, redact_url};

use broker::Broker;
use publisher::MemoryPublisher;
use requests::Requests;
use subscriber::MemorySubscriber;

pub use dead_letters::{REJECTED_BYTES_MAX, REJECTED_MESSAGES_MAX, RejectedMessage};
pub use queue::QUEUE_MESSAGES_MAX;

/// Carries messages between the contexts of one process.
///
/// It keeps nothing beyond the process. So that nothing is lost nevertheless, a publish resolves
/// only when every subscribing context has acknowledged the message, which is after the commit: until
/// then it stays in its sender's outbox. A context that rejects a message fails its publish.
///
/// ```
/// use mamey::messaging::MemoryTransport;
/// use mamey::transport::Transport;
///
/// let transport = MemoryTransport::new();
/// assert!(!transport.capabilities().durable);
/// // Messages that no store could keep would show here.
/// assert!(transport.dead_letters().is_empty());
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

    /// The newest messages that a context rejected because its store could not keep them, oldest
    /// first. They wait in their senders' outboxes; see [`REJECTED_MESSAGES_MAX`] and [`REJECTED_BYTES_MAX`].
    #[must_use]
    pub fn dead_letters(&self) -> Vec<RejectedMessage> {
        self.broker.lock().dead_letters()
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn capabilities(&self) -> TransportCapabilities {
        TransportCapabilities::new("memory", BODY_BYTES_MAX).with_ordered(true).with_requests(true)
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

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        let subscriber = MemorySubscriber::open(Arc::clone(&self.broker), subscription)?;
        Ok(Box::new(subscriber))
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
