//! Publishes messages: `Ok` means that the broker has confirmed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lapin::message::BasicReturnMessage;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use mamey_core::message::{Envelope, Metadata, Target};
use mamey_core::transport::{Publisher, Routed};
use mamey_core::{Error, Result, Retry};
use tokio::sync::Semaphore;

use super::channel::{self, Outgoing};
use super::connection::{Link, Live};
use super::error::{NAME_CHARS_SHOWN, PRECONDITION_FAILED, failed, is_missing, reply_code, short};
use super::options::RabbitOptions;
use super::wire::Wire;

const PUBLISHING: &str = "publishing to RabbitMQ";

/// The longest routing key, in bytes: a limit of AMQP 0-9-1.
const ROUTING_KEY_BYTES_MAX: usize = 255;

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
    ) -> Result<Option<BasicReturnMessage>, Unpublished> {
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
        let confirmation = confirmed.await?;
        // Only now: a channel whose publish failed or was given up may still carry an answer.
        self.keep_idle(live.number, channel);
        Ok(returned(confirmation)?)
    }

    /// Publishes a message that need not be routed, on the channel that such messages share.
    async fn publish_shared(&self, outgoing: &Outgoing) -> Result<Routed, Unpublished> {
        let _place = self.unconfirmed.acquire().await.map_err(Error::other)?;
        let live = self.live().await?;
        let shared = self.shared_channel(&live).await?;
        let mut unconfirmed = Unconfirmed(Some(&shared));
        let confirmed = async {
            channel::publish_in_turn(&shared.channel, &shared.turn, outgoing, true).await?.await
        };
        let confirmation = confirmed.await?;
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
            match self.publish_shared(outgoing).await {
                // Or another one on its channel, which is closed for all. Alone, each finds out.
                Err(Unpublished::Refused(_)) => {}
                other => return other.map_err(|error| error.of(metadata, outgoing)),
            }
        }
        match self.publish_alone(outgoing).await {
            Ok(None) => Ok(Routed::Delivered),
            Ok(Some(_)) if must_route => Err(unroutable(metadata)),
            Ok(Some(_)) => Ok(Routed::NoSubscriber),
            Err(error) => Err(error.of(metadata, outgoing)),
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
        let routing_key = self.options.layout.routing_key(metadata);
        let routing_key = ShortString::try_new(&*routing_key)
            .map_err(|_| unaddressable(metadata, routing_key.len()))?;
        let exchange = short(self.options.layout.exchange())?;
        let outgoing = Outgoing { exchange, routing_key, properties, body };
        let publish = self.publish_routed(&outgoing, metadata);
        match tokio::time::timeout(self.options.publish_timeout, publish).await {
            Ok(routed) => routed,
            Err(_) => Err(self.too_slow().await),
        }
    }
}

/// Why the broker has not confirmed a message.
pub(super) enum Unpublished {
    /// It refuses a message of the channel for good, and has closed the channel.
    Refused(lapin::Error),
    /// It can be tried again.
    Failed(Error),
}

impl From<lapin::Error> for Unpublished {
    fn from(cause: lapin::Error) -> Self {
        match reply_code(&cause) {
            Some(PRECONDITION_FAILED) => Self::Refused(cause),
            _ => Self::Failed(lost(cause)),
        }
    }
}

impl From<Error> for Unpublished {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unpublished> for Error {
    fn from(unpublished: Unpublished) -> Self {
        match unpublished {
            Unpublished::Refused(cause) => failed(PUBLISHING, cause),
            Unpublished::Failed(error) => error,
        }
    }
}

impl Unpublished {
    /// The error of a message that was alone on its channel.
    fn of(self, metadata: &Metadata, outgoing: &Outgoing) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Refused(cause) => {
                let (name, bytes) = (&metadata.name, outgoing.body.len());
                Error::limit_exceeded(format!(
                    "the broker refuses `{name}`, whose body has {bytes} bytes: send a reference to \
                     the data, or raise the broker's `max_message_size`: {cause}"
                ))
                .with_source(cause)
                .with_retry(Retry::Never)
            }
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

/// The routing key has the name of the message and of its target.
fn unaddressable(metadata: &Metadata, bytes: usize) -> Error {
    let start: String = metadata.name.chars().take(NAME_CHARS_SHOWN).collect();
    Error::limit_exceeded(format!(
        "the routing key of `{start}…` has {bytes} bytes, and RabbitMQ takes {ROUTING_KEY_BYTES_MAX}: \
         give the message a shorter name"
    ))
    .with_retry(Retry::Never)
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
