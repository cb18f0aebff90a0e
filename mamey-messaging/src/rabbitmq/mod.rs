//! The transport over RabbitMQ: durable, between processes, in order by key.

mod access;
mod broker;
mod channel;
mod connection;
mod dead_letters;
mod error;
mod log_filter;
mod options;
mod publisher;
mod queues;
mod requests;
mod subscriber;
mod topology;
mod urls;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::capabilities::TransportCapabilities;
use mamey_core::connection::ConnectionUrl;
use mamey_core::message::ContextName;
use mamey_core::transport::{
    Publisher, RejectedMessages, Requester, Responder, Serving, Subscriber, Subscription, Topology,
    Transport, Unconnected, Waiting,
};
use mamey_core::{Error, Result};

use broker::Broker;
use dead_letters::rejected::RabbitRejected;
use dead_letters::watch;
use error::closed;
use publisher::RabbitPublisher;
use requests::requester::RabbitRequester;
use requests::serving::RabbitServing;
use subscriber::{RabbitSubscriber, Source};
use urls::Urls;

pub use options::RabbitOptions;
pub use topology::{RabbitPlan, RabbitPredefined};
pub use wire::RabbitEncoding;

/// Carries messages between processes over RabbitMQ 3.10 or newer.
///
/// Every message goes to one topic exchange with the routing key
/// `<target or any>.<message name>.<slot>`. Each context binds an input exchange of its own to it
/// by the names it handles, and spreads its messages over one quorum queue for each partition; sender
/// and receivers need not know each other. [`RabbitTransport::plan`] prints it all.
///
/// Confirmed means stored by the broker for every subscribing context. What the store of a context
/// cannot keep, and what cannot be read, goes to the queue `<context>.dead`, bytes intact, with the
/// reason in headers; [`Transport::rejected`] lists and replays it.
///
/// The number of a context's partitions changes in two steps: a topology with a
/// [former](Topology::former) number leads messages to queues of the new one, and what waits in the
/// others can still be received. The queue `<context>.partitions` marks the number, so that instances
/// which do not know of the change are refused instead of leading messages back.
///
/// A context belongs to the first database that starts it here: the queue `<context>.owner` marks
/// it, and a start on another database is refused, because the two would share the queues. What
/// tells databases apart is stored in them ([`StoreId`](mamey_core::store::StoreId)), so a restored
/// or renamed one, and one that moved to another host, starts as before; a copy cannot be told from
/// its original. A store in memory leaves no mark, and is refused where there is one. For a move to
/// a new database see [`RabbitTransport::forget_owner`].
///
/// Lost connections and channels are replaced when they are needed next. A message whose confirm was
/// lost with its connection is published again from its outbox, and what was delivered but not
/// acknowledged is delivered again: inboxes absorb both.
///
/// Requests to a context go to its queue `<context>.requests`, replies by direct reply-to. Both are
/// transient: what is not answered in time is dropped. A request that was delivered to an instance
/// which then ended is refused and not handled again.
///
/// ```no_run
/// use mamey::messaging::{RabbitOptions, RabbitTransport};
/// use mamey::{BoundedContext, Service};
///
/// # async fn run(orders: BoundedContext) -> mamey::Result<()> {
/// let url = "amqp://app:secret@broker/shop";
/// let transport = RabbitTransport::connect(url, RabbitOptions::default()).await?;
/// Service::from_env()?.transport(transport).host(orders).run().await
/// # }
/// ```
///
/// All clones are the same transport.
#[derive(Clone)]
pub struct RabbitTransport {
    broker: Arc<Broker>,
}

impl RabbitTransport {
    /// Connects, so that a wrong address or password shows at once.
    ///
    /// `urls` is one `amqp://` or `amqps://` URL, or several of one cluster, separated by commas:
    /// they are tried in turn. The form is `amqp://user:password@host:port/vhost`; without a path
    /// or with the path `/` the virtual host is `/`. Characters with a meaning in URLs are
    /// percent-encoded, an IPv6 address stands in brackets.
    ///
    /// Behind `?` it takes the names that RabbitMQ's clients use: `heartbeat` (seconds),
    /// `connection_timeout` (milliseconds), `channel_max`, `frame_max`, `auth_mechanism`, with
    /// `amqps` also `cacertfile`, `certfile` and `keyfile` (PEM); and `password_file`. Files are
    /// read again for each new connection. One warning names other parameters; those that ask for
    /// another security are refused.
    ///
    /// # Errors
    /// `Misconfigured` for URLs and options that cannot be and for a broker that refuses the user,
    /// `Unavailable` when no broker answers.
    pub async fn connect(urls: impl Into<ConnectionUrl>, options: RabbitOptions) -> Result<Self> {
        let (urls, mut options) = (urls.into(), options);
        if options.credentials.is_none() {
            options.credentials = urls.credentials();
        }
        let urls = Urls::parse(urls.as_str())?;
        options.check()?;
        let broker = Arc::new(Broker::new(urls, options));
        broker.consuming.get().await?;
        Ok(Self { broker })
    }

    /// What [`Transport::apply`] declares for a context, for a person to read or to run.
    ///
    /// # Errors
    /// `Misconfigured` for a number of partitions that cannot be.
    pub fn plan(&self, topology: &Topology) -> Result<RabbitPlan> {
        let options = &self.broker.options;
        options.layout.plan(topology, options.delivery_limit)
    }

    /// Removes the mark of which database a context belongs to (the queue `<context>.owner`), so
    /// that the next one to start has it: for a context that moves to a new, empty database. Stop
    /// every instance on the former database first, or it may take the context again.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_owner(&self, context: &ContextName) -> Result<()> {
        self.broker.forget_owner(context).await
    }
}

#[async_trait]
impl Transport for RabbitTransport {
    fn capabilities(&self) -> TransportCapabilities {
        let options = &self.broker.options;
        TransportCapabilities::new("rabbitmq", options.message_bytes_max)
            .with_remote(true)
            .with_durable(true)
            .with_ordered(options.layout.is_ordered())
            .with_requests(options.layout.has_requests())
            .with_rejected(true)
            .with_repartitions(options.layout.has_repartitions())
    }

    fn describe(&self) -> String {
        self.broker.urls.servers()
    }

    async fn apply(&self, topology: &Topology) -> Result<()> {
        self.broker.apply(topology).await?;
        if self.broker.begin_watching(&topology.context) {
            let broker = Arc::downgrade(&self.broker);
            self.broker.tasks.spawn(watch::watch(broker, topology.context.clone()));
        }
        Ok(())
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::<RabbitPublisher>::clone(&self.broker.publisher)
    }

    async fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        if self.broker.closed.is_cancelled() {
            return Err(closed());
        }
        let Subscription { context, partition, prefetch, .. } = subscription;
        let (partitions, former) = self.broker.partitions(context)?;
        if partition.of() != partitions && Some(partition.of()) != former {
            return Err(Error::misconfigured(format!(
                "context `{context}` has {partitions} partitions, not {}: use the same number \
                 everywhere",
                partition.of()
            )));
        }
        let source = Source {
            broker: Arc::clone(&self.broker),
            context: context.clone(),
            queue: self.broker.options.layout.queue(context, *partition)?,
            prefetch: *prefetch,
        };
        Ok(Box::new(RabbitSubscriber::start(source).await?))
    }

    fn rejected(&self, context: &ContextName) -> Result<Arc<dyn RejectedMessages>> {
        Ok(Arc::new(RabbitRejected::new(Arc::clone(&self.broker), context.clone())))
    }

    fn requester(&self) -> Arc<dyn Requester> {
        match self.broker.options.layout.has_requests() {
            true => Arc::new(RabbitRequester(Arc::clone(&self.broker.requests))),
            false => Arc::new(Unconnected),
        }
    }

    async fn serve(
        &self,
        context: &ContextName,
        responder: Arc<dyn Responder>,
    ) -> Result<Box<dyn Serving>> {
        if !self.broker.options.layout.has_requests() {
            return Err(Error::unsupported(format!(
                "context `{context}` serves requests, which need a queue that is declared for them: \
                 they are not possible with predefined exchanges and queues"
            )));
        }
        let broker = Arc::clone(&self.broker);
        let serving = RabbitServing::start(broker, context.clone(), responder).await?;
        Ok(Box::new(serving))
    }

    async fn waiting(&self, context: &ContextName, partitions: u16) -> Result<Waiting> {
        queues::waiting(&self.broker, context, partitions).await
    }

    async fn forget_partitions(&self, context: &ContextName, partitions: u16) -> Result<()> {
        queues::delete(&self.broker, context, partitions).await
    }

    async fn ping(&self) -> Result<()> {
        let limit = self.broker.options.call_timeout;
        for link in [&self.broker.consuming, &self.broker.publishing] {
            // Opening a channel is a round trip, which a silent connection does not answer.
            let channel = link.get().await?.open_channel(limit).await?;
            channel::close(&channel).await;
        }
        Ok(())
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

impl fmt::Debug for RabbitTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitTransport")
            .field("urls", &self.broker.urls)
            .field("options", &self.broker.options)
            .finish()
    }
}

/// Connects with the default options.
///
/// # Errors
/// As [`RabbitTransport::connect`].
pub(crate) async fn connect(urls: ConnectionUrl) -> Result<Arc<dyn Transport>> {
    Ok(Arc::new(RabbitTransport::connect(urls, RabbitOptions::default()).await?))
}

/// Reads the URLs without connecting.
///
/// # Errors
/// `Misconfigured` for URLs of another form.
pub(crate) fn check(urls: &str) -> Result<()> {
    Urls::parse(urls).map(drop)
}
