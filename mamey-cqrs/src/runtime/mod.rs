//! A bounded context at work: open on its store, ready for commands, queries and messages.

pub(crate) mod registry;
pub(crate) mod request;
pub(crate) mod serving;

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::context::Cause;
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::inbound::{Inbound, Incoming};
use mamey_core::message::{Catalog, ContextName, Direction};
use mamey_core::store::{CommitOutcome, Store};
use mamey_core::transport::{Requester, Unconnected};
use mamey_core::{Command, Context, Error, Query, Result, RetryPolicy};

use self::registry::Registry;
use self::request::{CommandRequest, QueryRequest, unknown};
use self::serving::Served;
use crate::pipeline::Pipeline;
use crate::pipeline::layer::InvocationKind;

/// What a context needs of the world.
#[derive(Clone)]
pub struct Resources {
    /// The context's share of a database, opened with its schema.
    pub store: Arc<dyn Store>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
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
}

/// A bounded context at work.
pub struct ContextRuntime {
    pub(crate) pipeline: Pipeline,
    pub(crate) registry: Registry,
    pub(crate) served: Served,
    pub(crate) retry: RetryPolicy,
    pub(crate) closed: AtomicBool,
}

impl ContextRuntime {
    /// The context's name.
    #[must_use]
    pub fn name(&self) -> &ContextName {
        &self.pipeline.scope.name
    }

    /// A unit of work outside of any handler, set off by `cause`, for callers who commit it
    /// themselves: buffer in it as a handler would, take it out with [`Context::take_unit`], and
    /// hand it to the store. None of the pipeline's layers sees it.
    #[must_use]
    pub fn unit_of_work(&self, cause: Cause) -> Context {
        Context::new(Arc::clone(&self.pipeline.scope), cause)
    }

    /// Sends a command; await it, or first add what belongs to it.
    ///
    /// The answer is the handler's reply, given after its commit. It is `NotFound` when nobody
    /// handles the command here, and otherwise what the handler or the commit said.
    pub fn send<C: Command>(&self, command: C) -> CommandRequest<'_, C> {
        CommandRequest::new(self, command)
    }

    /// Asks a query; await it, or first add what belongs to it.
    ///
    /// The answer is the handler's reply, or `NotFound` when nobody answers the query here.
    pub fn query<Q: Query>(&self, query: Q) -> QueryRequest<'_, Q> {
        QueryRequest::new(self, query)
    }

    /// Takes no new commands and queries from now on: the answer to them is `Cancelled`. Those
    /// that run go on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if !self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let name = self.name();
        Err(Error::cancelled(format!("context `{name}` is shutting down and takes nothing new")))
    }

    /// The commands it handles, by type and name.
    pub fn command_types(&self) -> impl Iterator<Item = (TypeId, &'static str)> {
        self.registry.command_types()
    }

    /// The queries it answers, by type and name.
    pub fn query_types(&self) -> impl Iterator<Item = (TypeId, &'static str)> {
        self.registry.query_types()
    }

    /// All messages it takes and gives.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.pipeline.scope.catalog
    }

    /// Its share of the database.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.pipeline.scope.store
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
        let own = self.registry.message(name).and_then(|entry| entry.retry);
        own.unwrap_or(self.retry)
    }

    async fn handle(&self, incoming: Incoming<'_>) -> Result<CommitOutcome> {
        let name = &incoming.envelope.metadata.name;
        match self.registry.message(name) {
            Some(entry) => entry.runner.run(&self.pipeline, incoming).await,
            None => Err(unknown(self.name(), InvocationKind::Message, name)),
        }
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
