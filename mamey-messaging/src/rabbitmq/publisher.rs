//! Publishes with confirms: `Ok` means stored for every subscriber.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use mamey_core::message::{Envelope, Metadata, Target};
use mamey_core::transport::{Publisher, Routed};
use mamey_core::{Error, Result, ResultExt};
use tokio::sync::Semaphore;

use super::connection::{Link, Live};
use super::error::{failed, is_missing, short, within};
use super::options::RabbitOptions;
use super::wire::Wire;

const PUBLISHING: &str = "publishing to RabbitMQ";

/// Publishes over one connection.
///
/// Events for any subscriber share a channel, where confirms are pipelined. The driver hands a
/// returned message to whichever confirm comes next, so there it only tells that some event had no
/// subscriber. A message that must be routed therefore has a channel of its own until it is
/// confirmed: the answer is about it and no other.
pub(super) struct RabbitPublisher {
    options: Arc<RabbitOptions>,
    link: Arc<Link>,
    wire: Arc<Wire>,
    unconfirmed: Semaphore,
    shared: tokio::sync::Mutex<Option<Arc<SharedChannel>>>,
    own_channels: Semaphore,
    idle: Mutex<Vec<(u64, Channel)>>,
}

/// A channel on which many publishes are unconfirmed at a time.
struct SharedChannel {
    channel: Channel,
    /// See [`publish_in_turn`].
    turn: Mutex<()>,
    /// A publish on it failed, or stopped waiting: the next one opens another.
    retired: AtomicBool,
}

/// Retires the channel unless the confirm came.
struct Unconfirmed<'a>(Option<&'a SharedChannel>);

/// A message as it goes out.
pub(super) struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

impl RabbitPublisher {
    pub(super) fn new(options: Arc<RabbitOptions>, link: Arc<Link>, wire: Arc<Wire>) -> Self {
        Self {
            unconfirmed: Semaphore::new(options.unconfirmed_max),
            own_channels: Semaphore::new(options.must_route_channels_max),
            options,
            link,
            wire,
            shared: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
        }
    }

    /// Publishes a message that must be routed, and says what was returned.
    ///
    /// # Errors
    /// `Unavailable` unless the broker has confirmed.
    pub(super) async fn publish_alone(
        &self,
        outgoing: &Outgoing,
    ) -> Result<Option<BasicReturnMessage>> {
        let _own = self.own_channels.acquire().await.map_err(Error::other)?;
        let live = self.live().await?;
        let channel = match self.idle_channel(live.number) {
            Some(channel) => channel,
            None => self.open(&live).await?,
        };
        let confirmed = async {
            let publish = publish(&channel, outgoing, true).await?;
            publish.await
        };
        let confirmation = confirmed.await.map_err(lost)?;
        // Only now: one that failed, or that nobody waited for, has something under way.
        self.keep_idle(live.number, channel);
        returned(confirmation)
    }

    async fn publish_shared(&self, outgoing: &Outgoing) -> Result<Routed> {
        let _place = self.unconfirmed.acquire().await.map_err(Error::other)?;
        let live = self.live().await?;
        let shared = self.shared_channel(&live).await?;
        let mut unconfirmed = Unconfirmed(Some(&shared));
        let confirmed =
            async { publish_in_turn(&shared.channel, &shared.turn, outgoing, true).await?.await };
        let confirmation = confirmed.await.map_err(lost)?;
        unconfirmed.0 = None;
        Ok(returned(confirmation)?.map_or(Routed::Delivered, |_| Routed::NoSubscriber))
    }

    async fn live(&self) -> Result<Arc<Live>> {
        let live = self.link.get().await?;
        live.unblocked().await;
        Ok(live)
    }

    async fn shared_channel(&self, live: &Live) -> Result<Arc<SharedChannel>> {
        let mut shared = self.shared.lock().await;
        let usable = |it: &&Arc<SharedChannel>| {
            !it.retired.load(Ordering::Acquire) && it.channel.status().connected()
        };
        if let Some(channel) = shared.as_ref().filter(usable) {
            return Ok(Arc::clone(channel));
        }
        let channel = self.open(live).await?;
        let opened =
            SharedChannel { channel, turn: Mutex::default(), retired: AtomicBool::new(false) };
        let opened = Arc::new(opened);
        *shared = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Opens a channel with confirms.
    async fn open(&self, live: &Live) -> Result<Channel> {
        let limit = self.options.call_timeout;
        let channel = live.open_channel(limit).await?;
        let prepare = async {
            let selected = channel.confirm_select(ConfirmSelectOptions::default()).await;
            selected.map_err(|cause| failed("asking for confirms", cause))
        };
        within(limit, "opening a channel to publish", prepare).await?;
        Ok(channel)
    }

    fn idle_channel(&self, connection: u64) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(number, channel)| *number == connection && channel.status().connected());
        idle.pop().map(|(_, channel)| channel)
    }

    fn keep_idle(&self, connection: u64, channel: Channel) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((connection, channel));
    }

    async fn publish_routed(&self, outgoing: &Outgoing, metadata: &Metadata) -> Result<Routed> {
        let must_route = metadata.must_route || metadata.target != Target::Any;
        if !must_route {
            return self.publish_shared(outgoing).await;
        }
        match self.publish_alone(outgoing).await? {
            None => Ok(Routed::Delivered),
            Some(_) => Err(unroutable(metadata)),
        }
    }

    /// Why a publish took too long: the broker may have told.
    async fn too_slow(&self) -> Error {
        let limit = self.options.publish_timeout;
        let blocked = match self.link.get().await {
            Ok(live) => live.why_blocked(),
            Err(error) => return error,
        };
        match blocked {
            Some(why) => Error::unavailable(format!(
                "{PUBLISHING}: the broker takes no messages ({why}), for longer than {limit:?}"
            )),
            None => Error::unavailable(format!("{PUBLISHING}: no confirm within {limit:?}")),
        }
    }
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&self, envelope: &Envelope) -> Result<Routed> {
        let metadata = &envelope.metadata;
        metadata.check()?;
        let (properties, body) = self.wire.write(envelope)?;
        let routing_key = short(&self.options.routing_key(metadata))
            .with_context(|| "the routing key, which holds the message's name")?;
        let exchange = short(self.options.target_exchange())?;
        let outgoing = Outgoing { exchange, routing_key, properties, body };
        let publish = self.publish_routed(&outgoing, metadata);
        match tokio::time::timeout(self.options.publish_timeout, publish).await {
            Ok(routed) => routed,
            Err(_) => Err(self.too_slow().await),
        }
    }
}

/// Publishes on a channel that others publish on too.
///
/// The driver counts a publish and then queues it: in between, another would swap the two numbers
/// that tell which confirm is whose, so each has its turn.
pub(super) async fn publish_in_turn(
    channel: &Channel,
    turn: &Mutex<()>,
    outgoing: &Outgoing,
    mandatory: bool,
) -> lapin::Result<PublisherConfirm> {
    let mut publishing = pin!(publish(channel, outgoing, mandatory));
    let first = std::future::poll_fn(|cx| {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        Poll::Ready(Pin::as_mut(&mut publishing).poll(cx))
    });
    match first.await {
        Poll::Ready(published) => published,
        Poll::Pending => publishing.await,
    }
}

async fn publish(
    channel: &Channel,
    outgoing: &Outgoing,
    mandatory: bool,
) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions { mandatory, immediate: false };
    channel
        .basic_publish(
            outgoing.exchange.clone(),
            outgoing.routing_key.clone(),
            options,
            &outgoing.body,
            outgoing.properties.clone(),
        )
        .await
}

fn returned(confirmation: Confirmation) -> Result<Option<BasicReturnMessage>> {
    match confirmation {
        Confirmation::Ack(returned) => Ok(returned),
        Confirmation::Nack(_) => {
            Err(Error::unavailable(format!("{PUBLISHING}: the broker could not store the message")))
        }
        Confirmation::NotRequested => {
            Err(Error::unavailable(format!("{PUBLISHING}: the channel confirms nothing")))
        }
    }
}

/// The exchange is not declared from here: made again without the bindings of all contexts, it would
/// drop their events without a word.
fn lost(cause: lapin::Error) -> Error {
    match is_missing(&cause) {
        true => Error::unavailable(format!(
            "{PUBLISHING}: the exchange is gone; start every context that subscribes, which \
             declares it with its bindings, or declare it if it is predefined: {cause}"
        ))
        .with_source(cause),
        false => failed(PUBLISHING, cause),
    }
}

fn unroutable(metadata: &Metadata) -> Error {
    let name = &metadata.name;
    Error::unroutable(match &metadata.target {
        Target::Service(target) => format!(
            "`{name}` for context `{target}` has no route: no queue on the broker takes it; start \
             `{target}` once with a handler for it, or mend the target"
        ),
        Target::Any => format!(
            "`{name}` must be routed, but no context on the broker handles it: start one that \
             does, or drop `must_route`"
        ),
    })
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if let Some(channel) = self.0 {
            channel.retired.store(true, Ordering::Release);
        }
    }
}
