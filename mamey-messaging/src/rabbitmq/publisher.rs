//! Publishes messages: `Ok` means that the broker has confirmed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lapin::message::BasicReturnMessage;
use lapin::{Channel, Confirmation};
use mamey_core::message::{Envelope, Metadata, Target};
use mamey_core::transport::{Publisher, Routed};
use mamey_core::{Error, Result, ResultExt};
use tokio::sync::Semaphore;

use super::channel::{self, Outgoing};
use super::connection::{Link, Live};
use super::error::{failed, is_missing, short};
use super::options::RabbitOptions;
use super::wire::Wire;

const PUBLISHING: &str = "publishing to RabbitMQ";

/// Publishes over one connection.
///
/// Events for any subscriber share a channel, on which confirms are pipelined. The driver hands a
/// returned message to the next confirm, whichever that is, so on this channel a return only says
/// that some event had no subscriber. A message that must be routed therefore has a channel of its
/// own until it is confirmed: the answer is certainly about it.
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
    /// See [`channel::publish_in_turn`].
    turn: Mutex<()>,
    /// A publish on it failed or was given up: the next one opens another channel.
    retired: AtomicBool,
}

/// Dropped before the confirm has arrived, it retires the channel.
struct Unconfirmed<'a>(Option<&'a SharedChannel>);

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
            None => channel::with_confirms(&live, self.options.call_timeout).await?,
        };
        let confirmed = async {
            let publish = channel::publish(&channel, outgoing, true).await?;
            publish.await
        };
        let confirmation = confirmed.await.map_err(lost)?;
        // Only now: a channel whose publish failed or was given up may still carry an answer.
        self.keep_idle(live.number, channel);
        returned(confirmation)
    }

    async fn publish_shared(&self, outgoing: &Outgoing) -> Result<Routed> {
        let _place = self.unconfirmed.acquire().await.map_err(Error::other)?;
        let live = self.live().await?;
        let shared = self.shared_channel(&live).await?;
        let mut unconfirmed = Unconfirmed(Some(&shared));
        let confirmed = async {
            channel::publish_in_turn(&shared.channel, &shared.turn, outgoing, true).await?.await
        };
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
        let channel = channel::with_confirms(live, self.options.call_timeout).await?;
        let opened =
            SharedChannel { channel, turn: Mutex::default(), retired: AtomicBool::new(false) };
        let opened = Arc::new(opened);
        *shared = Some(Arc::clone(&opened));
        Ok(opened)
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

    /// Why a publish took too long: the broker may have said why.
    async fn too_slow(&self) -> Error {
        let limit = self.options.publish_timeout;
        let blocked = match self.link.get().await {
            Ok(live) => live.why_blocked(),
            Err(error) => return error,
        };
        match blocked {
            Some(why) => Error::unavailable(format!(
                "{PUBLISHING}: the broker has blocked publishers for longer than {limit:?} ({why})"
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
        let routing_key = short(&self.options.layout.routing_key(metadata))
            .with_context(|| "the routing key, which holds the message's name")?;
        let exchange = short(self.options.layout.exchange())?;
        let outgoing = Outgoing { exchange, routing_key, properties, body };
        let publish = self.publish_routed(&outgoing, metadata);
        match tokio::time::timeout(self.options.publish_timeout, publish).await {
            Ok(routed) => routed,
            Err(_) => Err(self.too_slow().await),
        }
    }
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

/// A missing exchange is not declared from here: without the bindings of all contexts it would drop
/// their events silently.
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
             `{target}` once with a handler for it, or fix the target"
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
