//! A bounded context that is open on its store and accepts commands, queries and messages.

mod dispatch;
mod message_counts;
pub(crate) mod registry;
pub(crate) mod request;
pub(crate) mod serving;
pub(crate) mod unhandled;
mod unreadable;

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::context::{Cause, Scope};
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::inbound::{Inbound, Incoming};
use mamey_core::message::{Catalog, ContextName, Direction, Envelope};
use mamey_core::store::{CommitOutcome, Store};
use mamey_core::transport::{Requester, Responder, Unconnected};
use mamey_core::{Command, Context, Query, Result, RetryPolicy};

use self::dispatch::Dispatcher;
use self::registry::Registry;
use self::request::{CommandRequest, QueryRequest};
use self::serving::Served;
use self::unhandled::UnhandledMessages;
use crate::pipeline::Pipeline;

pub use self::message_counts::{MessageCounts, NAMES_COUNTED_MAX};
pub(crate) use self::unreadable::UnreadableDocuments;

/// What a context needs from outside.
///
/// ```
/// use std::sync::Arc;
///
/// use mamey::clock::{Clock, ManualClock, Timestamp};
/// use mamey::persistence::MemoryDatabase;
/// use mamey::store::Database;
/// use mamey::{BoundedContext, Resources, Result};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let orders = BoundedContext::new("orders");
/// let store = MemoryDatabase::default().open(&orders.schema()?).await?;
/// let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
/// let runtime = orders.open(Resources::new(store).with_clock(clock))?;
/// assert_eq!(runtime.name().as_str(), "orders");
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Resources {
    /// The context's share of a database, opened with its schema.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Asks other contexts.
    pub requester: Arc<dyn Requester>,
}

impl Resources {
    /// A store, the machine's clock, and UUIDv7; connected to no other context.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock),
            ids: Arc::new(UuidV7Source::default()),
            requester: Arc::new(Unconnected),
        }
    }

    /// Tells the time by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes ids from this source.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// Asks other contexts through this requester.
    #[must_use]
    pub fn with_requester(mut self, requester: Arc<dyn Requester>) -> Self {
        self.requester = requester;
        self
    }
}

/// A bounded context that is open on its store.
///
/// A service opens its contexts itself. Open one with [`BoundedContext::open`] to run it without a
/// service, so without a relay and a consumer.
///
/// [`BoundedContext::open`]: crate::BoundedContext::open
///
/// ```
/// use mamey::persistence::MemoryDatabase;
/// use mamey::store::Database;
/// use mamey::{BoundedContext, Command, Context, Resources, Result};
///
/// #[derive(Clone, Command)]
/// #[command(reply = u32)]
/// struct Ring { times: u32 }
///
/// async fn ring(command: Ring, _: &Context) -> Result<u32> {
///     Ok(command.times)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let bell = BoundedContext::new("bell").command(ring);
/// let store = MemoryDatabase::default().open(&bell.schema()?).await?;
/// let runtime = bell.open(Resources::new(store))?;
/// assert_eq!(runtime.send(Ring { times: 3 }).await?, 3);
/// # Ok(()) }
/// ```
pub struct ContextRuntime {
    dispatcher: Dispatcher,
    served: Served,
    retry: RetryPolicy,
    unreadable: Arc<UnreadableDocuments>,
}

impl ContextRuntime {
    pub(crate) const fn new(
        pipeline: Pipeline,
        registry: Registry,
        served: Served,
        unhandled: UnhandledMessages,
        retry: RetryPolicy,
        unreadable: Arc<UnreadableDocuments>,
    ) -> Self {
        let dispatcher = Dispatcher::new(pipeline, registry, unhandled);
        Self { dispatcher, served, retry, unreadable }
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.dispatcher.pipeline.scope
    }

    /// The context's name.
    #[must_use]
    pub fn name(&self) -> &ContextName {
        self.dispatcher.name()
    }

    /// A unit of work outside of any handler, caused by `cause`, for callers who commit it
    /// themselves: buffer in it as a handler would, take it out with [`Context::take_unit`], and
    /// hand it to the store. No layer of the pipeline sees it.
    #[must_use]
    pub fn unit_of_work(&self, cause: Cause) -> Context {
        Context::new(Arc::clone(self.scope()), cause)
    }

    /// Sends a command; await it, or first add what belongs to it.
    ///
    /// The answer is the handler's reply, given after its commit. It is `NotFound` when nothing
    /// handles the command here, and otherwise the error of the handler or of the commit.
    pub fn send<C: Command>(&self, command: C) -> CommandRequest<'_, C> {
        CommandRequest::new(&self.dispatcher, command)
    }

    /// Asks a query; await it, or first add what belongs to it.
    ///
    /// The answer is the handler's reply, or `NotFound` when nothing answers the query here.
    pub fn query<Q: Query>(&self, query: Q) -> QueryRequest<'_, Q> {
        QueryRequest::new(&self.dispatcher, query)
    }

    /// Accepts no new commands and queries from now on: the answer to them is `Cancelled`. Those
    /// that run continue.
    pub fn close(&self) {
        self.dispatcher.close();
    }

    /// The commands it handles, by type and name.
    pub fn command_types(&self) -> impl Iterator<Item = (TypeId, &'static str)> {
        self.dispatcher.registry.command_types()
    }

    /// The queries it answers, by type and name.
    pub fn query_types(&self) -> impl Iterator<Item = (TypeId, &'static str)> {
        self.dispatcher.registry.query_types()
    }

    /// All messages that it handles, publishes and serves.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.scope().catalog
    }

    /// How many documents its handlers met that this build cannot read, since it was opened, each
    /// counted once. They are logged with their place, and stay for a build that can read them.
    #[must_use]
    pub fn unreadable_documents(&self) -> u64 {
        self.unreadable.count()
    }

    /// How many messages were dropped since it was opened because it does not want them.
    #[must_use]
    pub fn ignored_messages(&self) -> MessageCounts {
        self.dispatcher.unhandled.dropped()
    }

    /// How many messages arrived since it was opened that this build has no handler for and that it
    /// does not drop, each counted once. They wait for a build that handles them.
    #[must_use]
    pub fn unhandled_messages(&self) -> MessageCounts {
        self.dispatcher.unhandled.kept()
    }

    /// Its share of the database.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.scope().store
    }
}

#[async_trait]
impl Inbound for ContextRuntime {
    fn context(&self) -> &ContextName {
        self.name()
    }

    fn handles(&self) -> Vec<&'static str> {
        self.catalog().names(Direction::Handles).collect()
    }

    fn retry_policy(&self, name: &str) -> RetryPolicy {
        let own = match self.dispatcher.registry.message(name) {
            Some(entry) => entry.retry,
            None => self.dispatcher.unhandled.retry_policy(name),
        };
        own.unwrap_or(self.retry)
    }

    async fn handle(&self, incoming: Incoming<'_>) -> Result<CommitOutcome> {
        self.dispatcher.message(incoming).await
    }
}

#[async_trait]
impl Responder for ContextRuntime {
    fn serves(&self) -> Vec<&'static str> {
        self.catalog().names(Direction::Serves).collect()
    }

    async fn respond(&self, request: Envelope) -> Envelope {
        let asked = Envelope::new(request.metadata.clone(), Bytes::new());
        let outcome = self.served.answer(&self.dispatcher, request).await;
        let scope = self.scope();
        asked.reply(&scope.name, scope.ids.message_id(), scope.clock.now(), outcome)
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").finish_non_exhaustive()
    }
}

impl fmt::Debug for ContextRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextRuntime")
            .field("name", self.name())
            .field("catalog", self.catalog())
            .finish_non_exhaustive()
    }
}
