//! What publishers, subscribers and requests share: the connections, and the contexts that were
//! applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mamey_core::message::ContextName;
use mamey_core::transport::Topology;
use mamey_core::{Error, Result, ResultExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel;
use super::connection::{Link, Live};
use super::error::{call, short, within};
use super::options::RabbitOptions;
use super::publisher::RabbitPublisher;
use super::requests::requester::RabbitRequests;
use super::topology::{Claim, Claimed, Marked, PartitionMark, owner_queue};
use super::urls::Urls;
use super::wire::Wire;
use crate::common::rejected_stats::RejectedStats;

/// What publishers, subscribers and requests share.
pub(super) struct Broker {
    pub(super) urls: Arc<Urls>,
    pub(super) options: Arc<RabbitOptions>,
    /// Consumes and declares. Publishers have a connection of their own, because the broker blocks
    /// those when it is short of memory.
    pub(super) consuming: Arc<Link>,
    pub(super) publishing: Arc<Link>,
    pub(super) publisher: Arc<RabbitPublisher>,
    pub(super) requests: Arc<RabbitRequests>,
    pub(super) wire: Arc<Wire>,
    contexts: Mutex<BTreeMap<ContextName, Applied>>,
    rejected: Mutex<BTreeMap<ContextName, RejectedStats>>,
    /// Contexts whose dead letters are watched.
    watched: Mutex<BTreeSet<ContextName>>,
    pub(super) closed: CancellationToken,
    /// The tasks of subscriptions, and those that watch dead letters.
    pub(super) tasks: TaskTracker,
}

/// A context that was applied, and the connection on which it is known to exist.
#[derive(Clone)]
struct Applied {
    topology: Topology,
    on_connection: Option<u64>,
}

impl Broker {
    /// Nothing is connected yet.
    pub(super) fn new(urls: Urls, options: RabbitOptions) -> Self {
        let (urls, options, closed) = (Arc::new(urls), Arc::new(options), CancellationToken::new());
        let link = |purpose| {
            let (urls, options) = (Arc::clone(&urls), Arc::clone(&options));
            Arc::new(Link::new(urls, options, purpose, closed.clone()))
        };
        let (consuming, publishing) = (link("consuming"), link("publishing"));
        let wire = Arc::new(Wire::new(options.encoding, options.message_bytes_max));
        let publisher =
            RabbitPublisher::new(Arc::clone(&options), Arc::clone(&publishing), Arc::clone(&wire));
        let requests = RabbitRequests::new(
            Arc::clone(&options),
            Arc::clone(&publishing),
            Arc::clone(&wire),
            closed.clone(),
        );
        Self {
            urls,
            options,
            consuming,
            publishing,
            publisher: Arc::new(publisher),
            requests: Arc::new(requests),
            wire,
            contexts: Mutex::default(),
            rejected: Mutex::default(),
            watched: Mutex::default(),
            closed,
            tasks: TaskTracker::new(),
        }
    }

    /// The number of partitions with which a context was applied, and the number before if messages may
    /// wait there.
    ///
    /// # Errors
    /// `Misconfigured` when it was not applied.
    pub(super) fn partitions(&self, context: &ContextName) -> Result<(u16, Option<u16>)> {
        let topology = self.applied(context)?.topology;
        Ok((topology.partitions, topology.former))
    }

    /// Declares what a context needs, or looks for it where others have made it.
    ///
    /// # Errors
    /// `Misconfigured` for what differs on the broker or is missing there, `Unavailable`.
    pub(super) async fn apply(&self, topology: &Topology) -> Result<()> {
        let live = self.consuming.get().await?;
        self.declare(&live, topology).await
    }

    /// The connection, once all that the context needs was declared on it.
    pub(super) async fn ensure_declared(&self, context: &ContextName) -> Result<Arc<Live>> {
        let live = self.consuming.get().await?;
        let applied = self.applied(context)?;
        if applied.on_connection != Some(live.number) {
            self.declare(&live, &applied.topology).await?;
        }
        Ok(live)
    }

    /// Has the context declared again before its next use: something of it is missing.
    pub(super) fn forget_declared(&self, context: &ContextName) {
        if let Some(applied) = self.contexts().get_mut(context) {
            applied.on_connection = None;
        }
    }

    /// What was rejected of a context's messages.
    pub(super) fn rejected(&self, context: &ContextName) -> RejectedStats {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.entry(context.clone()).or_default().clone()
    }

    /// Marks the context's dead letters as watched; whether they were not before.
    pub(super) fn begin_watching(&self, context: &ContextName) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.insert(context.clone())
    }

    /// Waits for what runs, then closes the connections.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        // The tasks acknowledge what was committed; the rest goes back to the queues.
        self.tasks.wait().await;
        self.requests.close().await;
        self.consuming.close().await;
        self.publishing.close().await;
    }

    async fn declare(&self, live: &Live, topology: &Topology) -> Result<()> {
        let plan = self.options.layout.plan(topology, self.options.delivery_limit)?;
        let limit = self.options.call_timeout;
        let in_context = || format!("context `{}` on RabbitMQ", topology.context);
        if let Some(claim) = plan.claim() {
            self.claim(live, claim).await.with_context(in_context)?;
        }
        if let Some(mark) = plan.partitions() {
            self.mark_partitions(live, mark).await.with_context(in_context)?;
        }
        let channel = live.open_channel(limit).await?;
        let declared = within(limit, "declaring the topology", plan.declare(&channel)).await;
        channel::close(&channel).await;
        declared.with_context(in_context)?;
        // What was unbound is not unbound again after a reconnect: another build may have bound it.
        let topology = topology.clone().with_forgets(Vec::new());
        let applied = Applied { topology, on_connection: Some(live.number) };
        self.contexts().insert(applied.topology.context.clone(), applied);
        Ok(())
    }

    /// Has the context for the store that claims it.
    async fn claim(&self, live: &Live, claim: &Claim) -> Result<()> {
        let (limit, doing) = (self.options.call_timeout, "asking whose the context is");
        let channel = live.open_channel(limit).await?;
        let claimed = within(limit, doing, claim.make(&channel)).await;
        channel::close(&channel).await;
        if claimed? == Claimed::Granted {
            return Ok(());
        }
        let channel = live.open_channel(limit).await?;
        let marked = within(limit, doing, claim.read(&channel)).await;
        channel::close(&channel).await;
        claim.check(&marked?)
    }

    /// Marks the number of partitions, first of all: whoever knows only the former one is refused from
    /// then on, and cannot lead messages to it again.
    async fn mark_partitions(&self, live: &Live, mark: &PartitionMark) -> Result<()> {
        let (limit, doing) = (self.options.call_timeout, "marking the number of partitions");
        let channel = live.open_channel(limit).await?;
        let marked = within(limit, doing, mark.make(&channel)).await;
        channel::close(&channel).await;
        if marked? == Marked::Done {
            return Ok(());
        }
        let channel = live.open_channel(limit).await?;
        let marked = within(limit, doing, async {
            mark.remove(&channel).await?;
            mark.make(&channel).await
        });
        let marked = marked.await;
        channel::close(&channel).await;
        marked.map(drop)
    }

    /// Removes the mark of who owns a context.
    pub(super) async fn forget_owner(&self, context: &ContextName) -> Result<()> {
        let (limit, doing) = (self.options.call_timeout, "removing the mark of a context's owner");
        let channel = self.consuming.get().await?.open_channel(limit).await?;
        let queue = short(&owner_queue(context))?;
        let deleted = call(limit, doing, channel.queue_delete(queue, Default::default())).await;
        channel::close(&channel).await;
        deleted.map(drop)
    }

    fn applied(&self, context: &ContextName) -> Result<Applied> {
        self.contexts().get(context).cloned().ok_or_else(|| {
            Error::misconfigured(format!(
                "context `{context}` was not applied to RabbitMQ: apply its topology first"
            ))
        })
    }

    /// The lock is held for a few map operations, never across an await.
    fn contexts(&self) -> MutexGuard<'_, BTreeMap<ContextName, Applied>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
