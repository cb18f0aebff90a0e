//! Asks other contexts by direct reply-to: one channel sends requests and receives their replies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicConsumeOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Consumer};
use mamey_core::id::MessageId;
use mamey_core::message::{ContextName, Envelope, Target};
use mamey_core::transport::{REQUESTS_WAITING_MAX, RequestTotals, Requester};
use mamey_core::{Error, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::common::waiting::Waiting;
use crate::rabbitmq::connection::Link;
use crate::rabbitmq::error::{call, closed, failed, within};
use crate::rabbitmq::options::RabbitOptions;
use crate::rabbitmq::publisher::{Outgoing, publish_in_turn};
use crate::rabbitmq::wire::Wire;

/// The broker's own name for "the channel that asked".
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A request is gone with the broker: its caller waits no longer than seconds.
const TRANSIENT: u8 = 1;

/// Asks other contexts, and sends the replies to those that ask contexts of this process.
pub(crate) struct RabbitRequests {
    options: Arc<RabbitOptions>,
    link: Arc<Link>,
    wire: Arc<Wire>,
    waiting: Arc<Waiting>,
    /// Bounds the requests whose confirm is still to come, also of callers that gave up.
    places: Arc<Semaphore>,
    door: tokio::sync::Mutex<Option<Arc<Door>>>,
    closed: CancellationToken,
}

/// Asks other contexts.
pub(crate) struct RabbitRequester(pub(crate) Arc<RabbitRequests>);

/// A channel that sends requests and receives their replies.
struct Door {
    channel: Channel,
    turn: Mutex<()>,
    lost: Arc<AtomicBool>,
    receiving: JoinHandle<()>,
}

/// The queue through which a context is asked.
pub(crate) fn queue(context: &ContextName) -> String {
    format!("{context}.requests")
}

/// The request that a message belongs to.
pub(crate) fn request_id(properties: &BasicProperties) -> Option<MessageId> {
    properties.correlation_id().as_ref()?.as_str().parse().ok()
}

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
            door: tokio::sync::Mutex::default(),
            closed,
        }
    }

    /// Sends a reply to the channel that asked. One that is gone has no use for it.
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
        let door = self.door().await?;
        let sent = async { self.send(&door, &outgoing, false).await.map(drop) };
        within(self.options.call_timeout, "replying over RabbitMQ", sent).await
    }

    /// Ends every request that waits.
    pub(crate) async fn close(&self) {
        if let Some(door) = self.door.lock().await.take() {
            door.receiving.abort();
        }
        self.waiting.fail_all(closed);
    }

    async fn door(&self) -> Result<Arc<Door>> {
        let mut place = self.door.lock().await;
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        if let Some(door) = place.as_ref().filter(|door| door.is_open()) {
            return Ok(Arc::clone(door));
        }
        if let Some(lost) = place.take() {
            // What came over the old channel fails before anything waits for the new one.
            lost.receiving.abort();
            self.waiting.fail_all(lost_connection);
        }
        let door = Arc::new(self.open().await?);
        *place = Some(Arc::clone(&door));
        Ok(door)
    }

    async fn open(&self) -> Result<Door> {
        let limit = self.options.call_timeout;
        let live = self.link.get().await?;
        if let Some(why) = live.why_blocked() {
            return Err(Error::unavailable(format!("RabbitMQ takes no messages now ({why})")));
        }
        let channel = live.open_channel(limit).await?;
        let consume = async {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default()).await
        };
        let consumer = call(limit, "asking for replies", consume).await?;
        let lost = Arc::new(AtomicBool::new(false));
        let (waiting, wire) = (Arc::clone(&self.waiting), Arc::clone(&self.wire));
        let receive = receive(consumer, waiting, wire, Arc::clone(&lost));
        Ok(Door { channel, turn: Mutex::default(), lost, receiving: tokio::spawn(receive) })
    }

    /// Sends, and awaits what the broker says about it.
    async fn send(
        &self,
        door: &Door,
        outgoing: &Outgoing,
        mandatory: bool,
    ) -> Result<Confirmation> {
        let sent =
            async { publish_in_turn(&door.channel, &door.turn, outgoing, mandatory).await?.await };
        let confirmation = sent.await.map_err(|cause| {
            door.lost.store(true, Ordering::Release);
            failed("sending a request over RabbitMQ", cause)
        })?;
        // The driver hands a returned message to whichever confirm comes next, so it tells itself
        // whose it is.
        if let Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) =
            &confirmation
        {
            self.returned(returned);
        }
        Ok(confirmation)
    }

    fn returned(&self, returned: &BasicReturnMessage) {
        let Some(id) = request_id(&returned.delivery.properties) else {
            return;
        };
        let name = returned.delivery.properties.kind().as_ref().map_or("", ShortString::as_str);
        let queue = returned.delivery.routing_key.as_str();
        let context = queue.strip_suffix(".requests").unwrap_or(queue);
        let error = Error::unroutable(format!(
            "`{name}` has no route: no context `{context}` serves requests on the broker; start it \
             with `.serves::<…>()`, or mend the target"
        ));
        self.waiting.finish(id, Err(error));
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
        let routing_key = queue(context).into();
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
                "{REQUESTS_WAITING_MAX} requests of this process are on their way already; ask \
                 again later"
            ))
        })?;
        let door = within(timeout, "sending a request", requests.door()).await?;
        let id = metadata.id;
        let waiting = requests.waiting.begin(id)?;
        let requests = Arc::clone(requests);
        // In a task of its own: a caller that gives up must not take the answer about another
        // request with it.
        tokio::spawn(async move {
            let sent = requests.send(&door, &outgoing, true).await;
            match sent {
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

impl Door {
    fn is_open(&self) -> bool {
        !self.lost.load(Ordering::Acquire) && self.channel.status().connected()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

/// Brings replies to those who wait for them, until the channel is lost.
async fn receive(
    mut consumer: Consumer,
    waiting: Arc<Waiting>,
    wire: Arc<Wire>,
    lost: Arc<AtomicBool>,
) {
    while let Some(Ok(delivery)) = consumer.next().await {
        match request_id(&delivery.properties) {
            Some(id) => {
                waiting.finish(id, wire.read(&delivery.properties, &Bytes::from(delivery.data)));
            }
            None => tracing::warn!("a reply names no request in its correlation id; dropped"),
        }
    }
    lost.store(true, Ordering::Release);
    waiting.fail_all(lost_connection);
}

fn lost_connection() -> Error {
    Error::unavailable(
        "the connection to RabbitMQ was lost while the reply was awaited; the request may have \
         been handled all the same",
    )
}

fn full(outgoing: &Outgoing) -> Error {
    Error::unavailable(format!(
        "queue `{}` is full: its context serves as many requests as it can; ask again later",
        outgoing.routing_key
    ))
}
