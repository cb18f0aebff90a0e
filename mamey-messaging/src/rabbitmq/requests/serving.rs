//! Serves the requests to one context from its queue on the broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use mamey_core::id::{MessageId, new_uuid};
use mamey_core::message::{ContextName, Envelope, Metadata};
use mamey_core::transport::{REQUESTS_SERVED_MAX, Responder, Serving};
use mamey_core::{Error, Result, Retry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::reply_channel::request_id;
use crate::common::respond::{error_reply, respond};
use crate::rabbitmq::broker::Broker;
use crate::rabbitmq::channel;
use crate::rabbitmq::connection::RECONNECT;
use crate::rabbitmq::error::{cancelled, failed, within};
use crate::rabbitmq::topology::{not_declared, requests_queue};

/// How long the queue outlives its last server: requests survive a restart that is quicker.
const QUEUE_EXPIRES: Duration = Duration::from_mins(1);

/// The requests to one context are being served.
pub(crate) struct RabbitServing {
    stop: CancellationToken,
    ended: CancellationToken,
    /// Dropped, it stops taking requests.
    _stop: DropGuard,
}

struct Server {
    broker: Arc<Broker>,
    context: ContextName,
    responder: Arc<dyn Responder>,
    queue: String,
    places: Arc<Semaphore>,
}

/// Where the reply to a request goes.
struct ReplyTo<'d> {
    queue: &'d ShortString,
    correlation_id: Option<ShortString>,
}

/// A channel that receives requests.
struct Receiving {
    channel: Channel,
    consumer: Consumer,
}

impl RabbitServing {
    pub(crate) async fn start(
        broker: Arc<Broker>,
        context: ContextName,
        responder: Arc<dyn Responder>,
    ) -> Result<Self> {
        let (stop, ended) = (broker.closed.child_token(), CancellationToken::new());
        let places = Arc::new(Semaphore::new(REQUESTS_SERVED_MAX));
        let queue = requests_queue(&context);
        let server = Arc::new(Server { broker, context, responder, queue, places });
        let first = server.receive().await?;
        tokio::spawn(server.run(first, stop.clone(), ended.clone()));
        Ok(Self { _stop: stop.clone().drop_guard(), stop, ended })
    }
}

#[async_trait]
impl Serving for RabbitServing {
    async fn stop(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }
}

impl Server {
    async fn receive(&self) -> Result<Receiving> {
        let limit = self.broker.options.call_timeout;
        let channel = self.broker.consuming.get().await?.open_channel(limit).await?;
        let queue = &self.queue;
        let doing = format!("serving queue `{queue}`");
        let receive = async {
            let options = QueueDeclareOptions::durable();
            let declared = channel.queue_declare(queue.as_str().into(), options, arguments());
            declared.await.map_err(|cause| not_declared(&format!("queue `{queue}`"), cause))?;
            let served_max = u16::try_from(REQUESTS_SERVED_MAX).unwrap_or(u16::MAX);
            let consumer = channel::consume(&channel, queue.as_str().into(), served_max).await;
            consumer.map_err(|cause| failed(&doing, cause))
        };
        let consumer = within(limit, &doing, receive).await?;
        Ok(Receiving { channel, consumer })
    }

    async fn run(
        self: Arc<Self>,
        first: Receiving,
        stop: CancellationToken,
        ended: CancellationToken,
    ) {
        let mut receiving = Some(first);
        let mut failures = 0;
        while !stop.is_cancelled() {
            let lost = match &mut receiving {
                Some(receiving) => self.take(receiving, &stop).await,
                None => match self.receive().await {
                    Ok(again) => {
                        failures = 0;
                        receiving = Some(again);
                        continue;
                    }
                    Err(error) => error,
                },
            };
            if stop.is_cancelled() {
                break;
            }
            receiving = None;
            let (queue, pause) = (&self.queue, RECONNECT.delay(failures, fastrand::f64()));
            tracing::warn!(queue, %lost, ?pause, "requests are not served at the moment");
            failures = failures.saturating_add(1);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.finish(receiving).await;
        ended.cancel();
    }

    /// Takes requests until it is stopped or the channel fails; returns why.
    async fn take(self: &Arc<Self>, from: &mut Receiving, stop: &CancellationToken) -> Error {
        loop {
            let next = async {
                // A place before the request: requests of an earlier channel may still be running.
                let place = Arc::clone(&self.places).acquire_owned().await;
                (place, from.consumer.next().await)
            };
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => return Error::cancelled("stopped"),
                taken = next => taken,
            };
            match taken {
                (Ok(place), Some(Ok(delivery))) => {
                    tokio::spawn(Arc::clone(self).handle(delivery, place));
                }
                (_, Some(Err(cause))) => return failed("receiving requests", cause),
                (_, None) => return cancelled(&self.queue),
                (Err(closed), _) => return Error::other(closed),
            }
        }
    }

    /// Stops taking requests and waits for those that run. The last server deletes the queue, so
    /// that further requests are refused at once.
    async fn finish(self: &Arc<Self>, mut receiving: Option<Receiving>) {
        let limit = self.broker.options.call_timeout;
        if let Some(Receiving { channel, consumer }) = &mut receiving {
            let cancel = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
            // A channel that is lost consumes nothing any more.
            let _ = tokio::time::timeout(limit, cancel).await;
            self.delete_unused().await;
            // Requests that were delivered before are answered too.
            while let Some(Some(Ok(delivery))) = consumer.next().now_or_never() {
                let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { break };
                tokio::spawn(Arc::clone(self).handle(delivery, place));
            }
        }
        let all = u32::try_from(REQUESTS_SERVED_MAX).unwrap_or(u32::MAX);
        let _all = self.places.acquire_many(all).await;
        if let Some(Receiving { channel, .. }) = &receiving {
            channel::close(channel).await;
        }
    }

    /// On a channel of its own: the broker refuses while others use the queue, and then closes the
    /// channel.
    async fn delete_unused(&self) {
        let limit = self.broker.options.call_timeout;
        let Ok(live) = self.broker.consuming.get().await else { return };
        let Ok(channel) = live.open_channel(limit).await else { return };
        let options = QueueDeleteOptions { if_unused: true, ..QueueDeleteOptions::default() };
        let delete = channel.queue_delete(self.queue.as_str().into(), options);
        if let Ok(Ok(_)) = tokio::time::timeout(limit, delete).await {
            channel::close(&channel).await;
        }
    }

    async fn handle(self: Arc<Self>, delivery: Delivery, place: OwnedSemaphorePermit) {
        let Delivery { properties, data, acker, redelivered, .. } = delivery;
        match properties.reply_to() {
            Some(queue) => {
                let reply_to =
                    ReplyTo { queue, correlation_id: properties.correlation_id().clone() };
                let (asked, unreadable) =
                    match self.broker.wire.read(&properties, &Bytes::from(data)) {
                        Ok(request) => (request, None),
                        Err(error) => (unreadable(&properties), Some(error)),
                    };
                // A request is asked once: the instance that had it before may have handled it.
                let refused = unreadable.or_else(|| redelivered.then(seen_before));
                self.answer(asked, refused, reply_to).await;
            }
            None => tracing::warn!(
                queue = self.queue,
                "a request names no queue for its reply; dropped"
            ),
        }
        // If the channel was lost, the request is delivered again and then refused as redelivered.
        let _ = acker.ack(BasicAckOptions::default()).await;
        drop(place);
    }

    async fn answer(&self, asked: Envelope, refused: Option<Error>, to: ReplyTo<'_>) {
        let (metadata, context) = (asked.metadata.clone(), &self.context);
        let reply = match refused {
            Some(error) => error_reply(&metadata, context, error),
            None => respond(&*self.responder, context, asked).await,
        };
        let Err(error) = self.reply(&to, &reply).await else {
            return;
        };
        tracing::warn!(queue = self.queue, %error, "a reply could not be sent");
        if error.retry() == Retry::Never {
            // The reply is too large for the broker; an error with the reason is not.
            let reason = error_reply(&metadata, context, error);
            let _ = self.reply(&to, &reason).await;
        }
    }

    async fn reply(&self, to: &ReplyTo<'_>, reply: &Envelope) -> Result<()> {
        let (queue, correlation_id) = (to.queue.clone(), to.correlation_id.clone());
        self.broker.requests.reply(queue, correlation_id, reply).await
    }
}

/// A stand-in for a request that cannot be read, so that its caller gets an error at once.
fn unreadable(properties: &BasicProperties) -> Envelope {
    let id = request_id(properties).unwrap_or_else(|| MessageId::from_uuid(new_uuid()));
    let name = properties.kind().as_ref().map_or("unknown", ShortString::as_str).to_owned();
    Envelope::new(Metadata::new(id, name, "unknown"), Bytes::new())
}

fn seen_before() -> Error {
    Error::unavailable(
        "the instance that was asked has ended or lost its connection; it may have handled the \
         request",
    )
}

fn arguments() -> FieldTable {
    let mut table = FieldTable::default();
    let expires_ms = i32::try_from(QUEUE_EXPIRES.as_millis()).unwrap_or(i32::MAX);
    let waiting_max = i32::try_from(REQUESTS_SERVED_MAX).unwrap_or(i32::MAX);
    table.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    table.insert("x-expires".into(), AMQPValue::LongInt(expires_ms));
    table.insert("x-max-length".into(), AMQPValue::LongInt(waiting_max));
    table.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    table
}
