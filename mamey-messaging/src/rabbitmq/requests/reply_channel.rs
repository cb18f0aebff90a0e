//! The channel on which requests and replies are sent, and replies arrive by direct reply-to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicConsumeOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Consumer};
use mamey_core::id::MessageId;
use mamey_core::{Error, Result};
use tokio::task::JoinHandle;

use crate::common::waiting::Waiting;
use crate::rabbitmq::channel::{self, Outgoing};
use crate::rabbitmq::connection::Live;
use crate::rabbitmq::error::{call, failed};
use crate::rabbitmq::topology::context_of_requests;
use crate::rabbitmq::wire::Wire;

/// The broker's own name for "the channel that asked".
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A channel that sends requests and replies, and receives the replies to its requests.
pub(super) struct ReplyChannel {
    channel: Channel,
    /// See [`channel::publish_in_turn`].
    turn: Mutex<()>,
    waiting: Arc<Waiting>,
    lost: Arc<AtomicBool>,
    receiving: JoinHandle<()>,
}

/// The request that a message belongs to.
pub(super) fn request_id(properties: &BasicProperties) -> Option<MessageId> {
    properties.correlation_id().as_ref()?.as_str().parse().ok()
}

impl ReplyChannel {
    /// Opens the channel and begins to receive replies.
    ///
    /// # Errors
    /// `Unavailable`, also while the broker blocks publishers.
    pub(super) async fn open(
        live: &Live,
        limit: Duration,
        waiting: Arc<Waiting>,
        wire: Arc<Wire>,
    ) -> Result<Self> {
        if let Some(why) = live.why_blocked() {
            return Err(Error::unavailable(format!("RabbitMQ blocks publishers now ({why})")));
        }
        let channel = channel::with_confirms(live, limit).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consume =
            channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default());
        let consumer = call(limit, "asking for replies", consume).await?;
        let lost = Arc::new(AtomicBool::new(false));
        let receive = receive(consumer, Arc::clone(&waiting), wire, Arc::clone(&lost));
        let receiving = tokio::spawn(receive);
        Ok(Self { channel, turn: Mutex::default(), waiting, lost, receiving })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lost.load(Ordering::Acquire) && self.channel.status().connected()
    }

    /// Receives no more replies.
    pub(super) fn stop(&self) {
        self.receiving.abort();
    }

    /// Sends a message and awaits the broker's confirm.
    ///
    /// # Errors
    /// `Unavailable` when the channel is lost.
    pub(super) async fn send(&self, outgoing: &Outgoing, mandatory: bool) -> Result<Confirmation> {
        let sent = async {
            channel::publish_in_turn(&self.channel, &self.turn, outgoing, mandatory).await?.await
        };
        let confirmation = sent.await.map_err(|cause| {
            self.lost.store(true, Ordering::Release);
            failed("sending a request over RabbitMQ", cause)
        })?;
        // The driver hands a returned message to the next confirm, whichever that is; the message
        // itself names its request.
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
        let context = context_of_requests(returned.delivery.routing_key.as_str());
        let error = Error::unroutable(format!(
            "`{name}` has no route: no context `{context}` serves requests on the broker; start it \
             with `.serves::<…>()`, or fix the target"
        ));
        self.waiting.finish(id, Err(error));
    }
}

impl Drop for ReplyChannel {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Gives replies to the requests that wait for them, until the channel is lost.
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
    waiting.fail_all(connection_lost);
}

/// Why a request whose channel was lost gets no reply.
pub(super) fn connection_lost() -> Error {
    Error::unavailable(
        "the connection to RabbitMQ was lost before the reply arrived; the request may have been \
         handled nevertheless",
    )
}
