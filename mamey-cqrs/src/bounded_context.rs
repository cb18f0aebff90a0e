//! Declares a bounded context: what it handles, what it publishes, and what it keeps.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::context::Scope;
use mamey_core::criteria::Collection;
use mamey_core::message::{Catalog, CatalogEntry, ContextName, Direction, validate_message_name};
use mamey_core::store::Schema;
use mamey_core::transport::Topology;
use mamey_core::{Aggregate, Command, Error, Event, Message, Query, Request, Result, RetryPolicy};
use serde::de::DeserializeOwned;

use crate::handler::{CommandHandler, MessageHandler, QueryHandler};
use crate::pipeline::Pipeline;
use crate::pipeline::layer::Layer;
use crate::runtime::registry::Registry;
use crate::runtime::serving::{Served, Serves};
use crate::runtime::{ContextRuntime, Resources};

/// How long one run of a handler may take, unless the context says otherwise.
pub const HANDLER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// How many times a handler runs again after a conflict, unless the context says otherwise.
pub const CONFLICT_RETRIES_DEFAULT: u32 = 5;

/// The most times that a context may let a handler run again after a conflict.
pub const CONFLICT_RETRIES_MAX: u32 = 1000;

/// The declaration of a bounded context.
///
/// Mistakes, such as a second handler for a command, are collected and reported together when the
/// context is opened.
///
/// ```
/// # use mamey_core::{Command, Context, Message, Result};
/// # use mamey_cqrs::BoundedContext;
/// # #[derive(Clone)] struct Greet(String);
/// # impl Message for Greet { const NAME: &'static str = "greet"; }
/// # impl Command for Greet { type Reply = String; }
/// async fn greet(command: Greet, cx: &Context) -> Result<String> {
///     Ok(format!("{} is greeted by {}", command.0, cx.name()))
/// }
///
/// let greetings = BoundedContext::new("greetings").command(greet);
/// assert!(greetings.check().is_ok());
/// ```
///
/// A closure that returns an async block cannot borrow the context and does not compile; an async
/// closure does, and so does a named function:
///
/// ```compile_fail
/// # use mamey_core::{Command, Context, Message, Result};
/// # use mamey_cqrs::BoundedContext;
/// # #[derive(Clone)] struct Greet(String);
/// # impl Message for Greet { const NAME: &'static str = "greet"; }
/// # impl Command for Greet { type Reply = String; }
/// BoundedContext::new("greetings")
///     .command(|command: Greet, cx: &Context| async move { Ok(cx.name().to_string()) });
/// ```
#[must_use = "a declaration does nothing until a service hosts it"]
pub struct BoundedContext {
    name: String,
    catalog: Catalog,
    collections: Vec<&'static Collection>,
    registry: Registry,
    served: Served,
    layers: Vec<Arc<dyn Layer>>,
    timeout: Duration,
    retry: RetryPolicy,
    conflict_retries: u32,
    problems: Vec<String>,
}

impl BoundedContext {
    /// A context without content. The name is lowercase letters, digits and dashes.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            catalog: Catalog::default(),
            collections: Vec::new(),
            registry: Registry::default(),
            served: Served::default(),
            layers: Vec::new(),
            timeout: HANDLER_TIMEOUT_DEFAULT,
            retry: RetryPolicy::default(),
            conflict_retries: CONFLICT_RETRIES_DEFAULT,
            problems: Vec::new(),
        }
    }

    /// Keeps aggregates of this type.
    pub fn aggregate<A: Aggregate>(mut self) -> Self {
        let collection = A::COLLECTION;
        let same = |other: &&Collection| other.name == collection.name;
        if self.collections.iter().any(same) {
            self.problem(format!(
                "two aggregates in collection `{}`: remove one `.aggregate`, or rename one collection",
                collection.name
            ));
        } else {
            self.collections.push(collection);
        }
        self
    }

    /// Handles a command of callers in this process.
    pub fn command<C: Command, H: CommandHandler<C>>(mut self, handler: H) -> Self {
        self.declare::<C>(Direction::Command);
        self.registry.add_command(handler);
        self
    }

    /// Answers a query of callers in this process.
    pub fn query<Q: Query, H: QueryHandler<Q>>(mut self, handler: H) -> Self {
        self.declare::<Q>(Direction::Query);
        self.registry.add_query(handler);
        self
    }

    /// Answers a command or a query for other contexts too, which
    /// [request](mamey_core::ReadContext::request) it: `.query(get_price).serves::<GetPrice>()`.
    ///
    /// It goes the way of every call, layers included, which see the request's metadata. A command
    /// whose caller gave up may have taken effect; with an idempotency key it is safe to repeat.
    pub fn serves<R: Request>(mut self) -> Self
    where
        R::Kind: Serves<R>,
    {
        self.declare::<R>(Direction::Serves);
        self.served.add::<R>();
        self
    }

    /// Handles an event of another context, or a message sent to this one, under the context's
    /// retry policy.
    pub fn on<M: Message + DeserializeOwned, H: MessageHandler<M>>(mut self, handler: H) -> Self {
        self.declare::<M>(Direction::Handles);
        self.registry.add_message(handler, None);
        self
    }

    /// As [`BoundedContext::on`], under a retry policy of its own.
    pub fn on_with<M: Message + DeserializeOwned, H: MessageHandler<M>>(
        mut self,
        handler: H,
        retry: RetryPolicy,
    ) -> Self {
        self.declare::<M>(Direction::Handles);
        self.registry.add_message(handler, Some(retry));
        self
    }

    /// Publishes an event. Only declared events can be published.
    pub fn publishes<E: Event>(mut self) -> Self {
        self.declare::<E>(Direction::Publishes);
        self
    }

    /// How long one run of a handler may take; [`HANDLER_TIMEOUT_DEFAULT`] if not said. The commit
    /// that follows does not count. A handler that never awaits cannot be stopped,
    /// and while it holds its thread others may wait too: give long computing and blocking calls to
    /// `tokio::task::spawn_blocking`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if timeout.is_zero() {
            self.problem("a timeout of zero lets no handler finish: give it time".to_owned());
        }
        self.timeout = timeout;
        self
    }

    /// How messages whose handlers fail are retried, for all handlers without a policy of their
    /// own; [`RetryPolicy::default`] if not said.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How many times a command or message runs again, at once and with fresh reads, when its
    /// commit is a conflict; [`CONFLICT_RETRIES_DEFAULT`] if not said.
    pub fn conflict_retries(mut self, retries: u32) -> Self {
        if retries > CONFLICT_RETRIES_MAX {
            self.problem(format!(
                "{retries} retries on conflict are more than {CONFLICT_RETRIES_MAX}: \
                 make the aggregate smaller instead"
            ));
        }
        self.conflict_retries = retries;
        self
    }

    /// Puts a layer around every call of this context, within the layers added before.
    pub fn layer(mut self, layer: impl Layer) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// The context's name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All messages it takes and gives.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Whether the declaration is free of mistakes.
    ///
    /// # Errors
    /// `Misconfigured`, naming every mistake and its mend.
    pub fn check(&self) -> Result<()> {
        self.checked_name().map(|_| ())
    }

    /// What it needs of a database.
    ///
    /// # Errors
    /// As [`BoundedContext::check`].
    pub fn schema(&self) -> Result<Schema> {
        Ok(Schema { context: self.checked_name()?, collections: self.collections.clone() })
    }

    /// What it sends and receives, its input spread over `partitions`.
    ///
    /// # Errors
    /// As [`BoundedContext::check`].
    pub fn topology(&self, partitions: u16) -> Result<Topology> {
        Ok(Topology {
            context: self.checked_name()?,
            handles: self.catalog.names(Direction::Handles).collect(),
            publishes: self.catalog.names(Direction::Publishes).collect(),
            partitions,
        })
    }

    /// Opens the context on its store.
    ///
    /// # Errors
    /// As [`BoundedContext::check`].
    pub fn open(self, resources: Resources) -> Result<Arc<ContextRuntime>> {
        let name = self.checked_name()?;
        let Resources { store, clock, ids, requester } = resources;
        let catalog = self.catalog;
        let scope = Arc::new(Scope { name, store, clock, ids, catalog, requester });
        let pipeline = Pipeline {
            scope,
            layers: self.layers,
            timeout: self.timeout,
            conflict_retries: self.conflict_retries,
        };
        Ok(Arc::new(ContextRuntime::new(pipeline, self.registry, self.served, self.retry)))
    }

    fn declare<M: Message>(&mut self, direction: Direction) {
        let name = M::NAME;
        if let Err(error) = validate_message_name(name) {
            self.problem(error.message().to_owned());
        }
        if self.catalog.insert(CatalogEntry::of::<M>(direction)) {
            return;
        }
        let what = match direction {
            Direction::Command => "handlers for command",
            Direction::Query => "handlers for query",
            Direction::Handles => "handlers for message",
            Direction::Publishes => "declarations of published event",
            Direction::Serves => "declarations of served request",
        };
        let context = &self.name;
        self.problem(format!(
            "two {what} `{name}` in context `{context}`: remove one registration"
        ));
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn checked_name(&self) -> Result<ContextName> {
        let name = ContextName::new(&self.name)
            .map_err(|error| Error::misconfigured(error.message().to_owned()))?;
        let unanswered = self.served.without_handler(&self.registry, &self.name);
        let problems: Vec<String> = self.problems.iter().cloned().chain(unanswered).collect();
        if problems.is_empty() {
            return Ok(name);
        }
        Err(Error::misconfigured(problems.join("; ")).with_context(format!("declaring `{name}`")))
    }
}

impl fmt::Debug for BoundedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedContext")
            .field("name", &self.name)
            .field("catalog", &self.catalog)
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .field("conflict_retries", &self.conflict_retries)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}
