//! The transport over RabbitMQ: durable, between processes, in order by key.

mod connection;
mod dead_letters;
mod error;
mod log_filter;
mod options;
mod publisher;
mod requests;
mod subscriber;
mod topology;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use mamey_core::capabilities::TransportCapabilities;
use mamey_core::message::ContextName;
use mamey_core::transport::{
    Publisher, Requester, Responder, Serving, Subscriber, Subscription, Topology, Transport,
    Unconnected,
};
use mamey_core::{Error, Result, ResultExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connection::{Link, Live, close_channel};
use dead_letters::watch;
use error::{closed, within};
use publisher::RabbitPublisher;
use requests::requester::{RabbitRequester, RabbitRequests};
use requests::serving::RabbitServing;
use subscriber::{RabbitSubscriber, Source};
use wire::Wire;

pub use options::{RabbitForm, RabbitOptions};
pub use topology::{RabbitPlan, RabbitPredefined};

/// Carries messages between processes over RabbitMQ 3.10 or newer.
///
/// Every message goes to one topic exchange with the routing key
/// `<target or any>.<message name>.<slot>`. Each context binds an input exchange of its own to it
/// by the names it handles, and spreads what comes over one quorum queue a partition; a sender need
/// not be known to its receivers, nor they to it. [`RabbitTransport::plan`] prints it all.
///
/// Confirmed means stored by the broker for every subscribing context. What the store of a context
/// cannot keep, and what cannot be read, goes to the queue `<context>.dead`, bytes intact, with the
/// header `x-mamey-reason`.
///
/// Lost connections and channels are made again by whatever needs them next. A message whose
/// confirm was lost with its connection is published again by its outbox, and what was delivered
/// but not acknowledged is delivered again: inboxes absorb both.
///
/// Requests to a context go to its queue `<context>.requests`, replies by direct reply-to. Both are
/// transient: what is not answered in time is gone. A request that was delivered to an instance
/// which then ended is refused and not handled again.
///
/// All clones are the same transport.
#[derive(Clone)]
pub struct RabbitTransport {
    broker: Arc<Broker>,
}

/// What publishers and subscribers share.
struct Broker {
    options: Arc<RabbitOptions>,
    /// Consuming and declaring. Publishers have a connection of their own, because the broker
    /// blocks those when it is short of memory.
    link: Arc<Link>,
    publisher: Arc<RabbitPublisher>,
    wire: Arc<Wire>,
    contexts: Mutex<BTreeMap<ContextName, Applied>>,
    /// Contexts whose dead letters are looked at.
    watched: Mutex<BTreeSet<ContextName>>,
    closed: CancellationToken,
    /// The tasks of subscriptions, and those that look at dead letters.
    tasks: TaskTracker,
    publishing: Arc<Link>,
    requests: Arc<RabbitRequests>,
}

/// A context that was applied, and the connection on which it is known to exist.
#[derive(Clone)]
struct Applied {
    topology: Topology,
    on_connection: Option<u64>,
}

impl RabbitTransport {
    /// Connects with the defaults of [`RabbitOptions::new`].
    ///
    /// # Errors
    /// As [`RabbitTransport::connect_with`].
    pub async fn connect(urls: &str) -> Result<Self> {
        Self::connect_with(RabbitOptions::new(urls)?).await
    }

    /// Connects, so that a wrong address or password shows at once.
    ///
    /// # Errors
    /// `Misconfigured` for options that cannot be and for a broker that refuses the user,
    /// `Unavailable` when no broker answers.
    pub async fn connect_with(options: RabbitOptions) -> Result<Self> {
        options.check()?;
        let (options, closed) = (Arc::new(options), CancellationToken::new());
        let link = |purpose| Arc::new(Link::new(Arc::clone(&options), purpose, closed.clone()));
        let (consuming, publishing) = (link("consuming"), link("publishing"));
        let wire = Arc::new(Wire::new(options.form, options.message_bytes_max));
        let publisher = Arc::new(RabbitPublisher::new(
            Arc::clone(&options),
            Arc::clone(&publishing),
            Arc::clone(&wire),
        ));
        let requests = Arc::new(RabbitRequests::new(
            Arc::clone(&options),
            Arc::clone(&publishing),
            Arc::clone(&wire),
            closed.clone(),
        ));
        let broker = Arc::new(Broker {
            requests,
            link: consuming,
            publisher,
            publishing,
            wire,
            contexts: Mutex::default(),
            watched: Mutex::default(),
            closed,
            tasks: TaskTracker::new(),
            options,
        });
        broker.link.get().await?;
        Ok(Self { broker })
    }

    /// What [`Transport::apply`] declares for a context, to be read or run by a person.
    ///
    /// # Errors
    /// `Misconfigured` for a number of partitions that cannot be.
    pub fn plan(&self, topology: &Topology) -> Result<RabbitPlan> {
        self.broker.options.plan(topology)
    }

    /// How many messages wait among a context's dead letters on the broker, whoever put them there.
    ///
    /// # Errors
    /// `Misconfigured` when the context was not applied, `Unavailable`.
    pub async fn dead_letters(&self, context: &ContextName) -> Result<u64> {
        watch::count(&self.broker, context).await
    }
}

impl Broker {
    /// The lock is held for a few map operations, never across an await.
    fn contexts(&self) -> MutexGuard<'_, BTreeMap<ContextName, Applied>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, BTreeSet<ContextName>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self, context: &ContextName) -> Result<Applied> {
        self.contexts().get(context).cloned().ok_or_else(|| {
            Error::misconfigured(format!(
                "context `{context}` was not applied to RabbitMQ: apply its topology first"
            ))
        })
    }

    /// The connection, on which all that a context needs was declared.
    async fn ensure_declared(&self, context: &ContextName) -> Result<Arc<Live>> {
        let live = self.link.get().await?;
        let applied = self.applied(context)?;
        if applied.on_connection != Some(live.number) {
            self.declare(&live, &applied.topology).await?;
        }
        Ok(live)
    }

    /// Has the context declared again before it is used next: something of it is missing.
    fn forget_declared(&self, context: &ContextName) {
        if let Some(applied) = self.contexts().get_mut(context) {
            applied.on_connection = None;
        }
    }

    async fn declare(&self, live: &Live, topology: &Topology) -> Result<()> {
        let plan = self.options.plan(topology)?;
        let limit = self.options.call_timeout;
        let channel = live.open_channel(limit).await?;
        let declared = within(limit, "declaring the topology", plan.declare(&channel)).await;
        close_channel(&channel).await;
        declared.with_context(|| format!("context `{}` on RabbitMQ", topology.context))?;
        let applied = Applied { topology: topology.clone(), on_connection: Some(live.number) };
        self.contexts().insert(topology.context.clone(), applied);
        Ok(())
    }
}

#[async_trait]
impl Transport for RabbitTransport {
    fn capabilities(&self) -> TransportCapabilities {
        TransportCapabilities {
            name: "rabbitmq",
            remote: true,
            durable: true,
            ordered: self
                .broker
                .options
                .predefined
                .as_ref()
                .is_none_or(RabbitPredefined::is_ordered),
            requests: self.broker.options.predefined.is_none(),
            message_bytes_max: self.broker.options.message_bytes_max,
        }
    }

    fn describe(&self) -> String {
        let places: Vec<&str> =
            self.broker.options.urls().iter().map(|url| url.place.as_str()).collect();
        places.join(",")
    }

    async fn apply(&self, topology: &Topology) -> Result<()> {
        let live = self.broker.link.get().await?;
        self.broker.declare(&live, topology).await?;
        if self.broker.watched().insert(topology.context.clone()) {
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
        let Subscription { context, partition, prefetch } = subscription;
        let partitions = self.broker.applied(context)?.topology.partitions;
        if partition.of() != partitions {
            return Err(Error::misconfigured(format!(
                "context `{context}` has {partitions} partitions, not {}: use the same number \
                 everywhere",
                partition.of()
            )));
        }
        let source = Source {
            broker: Arc::clone(&self.broker),
            context: context.clone(),
            queue: self.broker.options.queue(context, *partition)?,
            prefetch: *prefetch,
        };
        let consuming = source.consume().await?;
        Ok(Box::new(RabbitSubscriber::start(source, consuming)))
    }

    fn requester(&self) -> Arc<dyn Requester> {
        match self.broker.options.predefined {
            None => Arc::new(RabbitRequester(Arc::clone(&self.broker.requests))),
            Some(_) => Arc::new(Unconnected),
        }
    }

    async fn serve(
        &self,
        context: &ContextName,
        responder: Arc<dyn Responder>,
    ) -> Result<Box<dyn Serving>> {
        if self.broker.options.predefined.is_some() {
            return Err(Error::unsupported(format!(
                "context `{context}` serves requests, which need a queue of their own: requests do \
                 not go over a broker whose exchanges and queues others have made"
            )));
        }
        let broker = Arc::clone(&self.broker);
        let serving = RabbitServing::start(broker, context.clone(), responder).await?;
        Ok(Box::new(serving))
    }

    async fn ping(&self) -> Result<()> {
        let limit = self.broker.options.call_timeout;
        for link in [&self.broker.link, &self.broker.publishing] {
            // Opening a channel is a round trip; a connection that fell silent does not answer.
            let channel = link.get().await?.open_channel(limit).await?;
            close_channel(&channel).await;
        }
        Ok(())
    }

    async fn close(&self) {
        self.broker.closed.cancel();
        self.broker.tasks.close();
        // They acknowledge what was committed and give back the rest.
        self.broker.tasks.wait().await;
        self.broker.requests.close().await;
        self.broker.link.close().await;
        self.broker.publishing.close().await;
    }
}

impl fmt::Debug for RabbitTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitTransport").field("options", &self.broker.options).finish()
    }
}
