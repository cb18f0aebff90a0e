//! Asks other contexts, and sends the replies of this process's contexts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::Confirmation;
use lapin::types::ShortString;
use mamey_core::message::{Envelope, Target};
use mamey_core::transport::{REQUESTS_WAITING_MAX, RequestTotals, Requester};
use mamey_core::{Error, Result};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reply_channel::{REPLY_TO, ReplyChannel, connection_lost};
use crate::common::waiting::Waiting;
use crate::rabbitmq::channel::Outgoing;
use crate::rabbitmq::connection::Link;
use crate::rabbitmq::error::{closed, within};
use crate::rabbitmq::options::RabbitOptions;
use crate::rabbitmq::topology::requests_queue;
use crate::rabbitmq::wire::Wire;

/// Requests do not survive the broker's restart: their callers wait for seconds only.
const TRANSIENT: u8 = 1;

/// Asks other contexts, and sends the replies to those that ask contexts of this process.
pub(crate) struct RabbitRequests {
    options: Arc<RabbitOptions>,
    link: Arc<Link>,
    wire: Arc<Wire>,
    waiting: Arc<Waiting>,
    /// Bounds the requests that are not confirmed yet, those of callers that gave up included.
    places: Arc<Semaphore>,
    channel: Mutex<Option<Arc<ReplyChannel>>>,
    closed: CancellationToken,
}

/// Asks other contexts.
pub(crate) struct RabbitRequester(pub(crate) Arc<RabbitRequests>);

impl RabbitRequests {
    pub(crate) fn new(
        options: Arc<RabbitOptions>,
        link: Arc<Link>,
        wire: Arc<Wire>,
        closed: CancellationToken,
    ) -> Self {
        Self {
            options,
            link,
            wire,
            waiting: Arc::default(),
            places: Arc::new(Semaphore::new(REQUESTS_WAITING_MAX)),
            channel: Mutex::default(),
            closed,
        }
    }

    /// Sends a reply to the channel that asked; if that no longer exists, the broker drops it.
    pub(crate) async fn reply(
        &self,
        to: ShortString,
        correlation_id: Option<ShortString>,
        reply: &Envelope,
    ) -> Result<()> {
        let (properties, body) = self.wire.write(reply)?;
        let mut properties = properties.with_delivery_mode(TRANSIENT);
        if let Some(id) = correlation_id {
            properties = properties.with_correlation_id(id);
        }
        let exchange = ShortString::default();
        let outgoing = Outgoing { exchange, routing_key: to, properties, body };
        let channel = self.channel().await?;
        let sent = async { channel.send(&outgoing, false).await.map(drop) };
        within(self.options.call_timeout, "replying over RabbitMQ", sent).await
    }

    /// Ends every request that waits.
    pub(crate) async fn close(&self) {
        if let Some(channel) = self.channel.lock().await.take() {
            channel.stop();
        }
        self.waiting.fail_all(closed);
    }

    /// The channel, opened if there is none.
    async fn channel(&self) -> Result<Arc<ReplyChannel>> {
        let mut current = self.channel.lock().await;
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        if let Some(channel) = current.as_ref().filter(|channel| channel.is_open()) {
            return Ok(Arc::clone(channel));
        }
        if let Some(lost) = current.take() {
            // The requests of the old channel fail before any request waits on the new one.
            lost.stop();
            self.waiting.fail_all(connection_lost);
        }
        let live = self.link.get().await?;
        let (limit, waiting) = (self.options.call_timeout, Arc::clone(&self.waiting));
        let opened = ReplyChannel::open(&live, limit, waiting, Arc::clone(&self.wire)).await?;
        let opened = Arc::new(opened);
        *current = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn outgoing(&self, request: &Envelope, timeout: Duration) -> Result<Outgoing> {
        let Target::Service(context) = &request.metadata.target else {
            return Err(Error::invalid("a request is for one context by name"));
        };
        let (properties, body) = self.wire.write(request)?;
        let properties = properties
            .with_delivery_mode(TRANSIENT)
            .with_correlation_id(request.metadata.id.to_string().into())
            .with_reply_to(REPLY_TO.into())
            .with_expiration(timeout.as_millis().max(1).to_string().into());
        let routing_key = requests_queue(context).into();
        Ok(Outgoing { exchange: ShortString::default(), routing_key, properties, body })
    }
}

#[async_trait]
impl Requester for RabbitRequester {
    async fn request(&self, request: &Envelope, timeout: Duration) -> Result<Envelope> {
        let (requests, metadata, began) = (&self.0, &request.metadata, Instant::now());
        metadata.check()?;
        let outgoing = requests.outgoing(request, timeout)?;
        let place = Arc::clone(&requests.places).try_acquire_owned().map_err(|_| {
            Error::unavailable(format!(
                "{REQUESTS_WAITING_MAX} requests of this process are being sent already; ask \
                 again later"
            ))
        })?;
        let channel = within(timeout, "sending a request", requests.channel()).await?;
        let id = metadata.id;
        let waiting = requests.waiting.begin(id, request.payload.len())?;
        let requests = Arc::clone(requests);
        // In a task of its own: the confirm may carry another request's return, which must arrive
        // even if this caller gives up.
        tokio::spawn(async move {
            match channel.send(&outgoing, true).await {
                Ok(Confirmation::Ack(_)) => {}
                Ok(_) => requests.waiting.finish(id, Err(full(&outgoing))),
                Err(error) => requests.waiting.finish(id, Err(error)),
            }
            drop(place);
        });
        waiting.within(timeout.saturating_sub(began.elapsed()), metadata).await
    }

    fn totals(&self) -> RequestTotals {
        self.0.waiting.totals()
    }
}

fn full(outgoing: &Outgoing) -> Error {
    Error::unavailable(format!(
        "queue `{}` is full: its context serves as many requests as it can; ask again later",
        outgoing.routing_key
    ))
}
