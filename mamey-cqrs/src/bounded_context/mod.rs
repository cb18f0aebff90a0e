//! Declares a bounded context: what it handles, publishes and stores.

mod open;
mod settings;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::criteria::Collection;
use mamey_core::message::{Catalog, CatalogEntry, Direction, validate_message_name};
use mamey_core::{Aggregate, Command, Event, Message, Query, Request, RetryPolicy};
use serde::de::DeserializeOwned;

use crate::handler::{CommandHandler, MessageHandler, QueryHandler};
use crate::pipeline::layer::Layer;
use crate::runtime::registry::Registry;
use crate::runtime::serving::{Served, Serves};
use crate::runtime::unhandled::Unhandled;

pub use settings::{ContextSettings, HANDLER_TIMEOUT_DEFAULT, RetrySettings};

/// How many times a handler runs again after a conflict, unless the context sets another number.
pub const CONFLICT_RETRIES_DEFAULT: u32 = 5;

/// The largest number of runs after a conflict that a context may set.
pub const CONFLICT_RETRIES_MAX: u32 = 1000;

/// The declaration of a bounded context.
///
/// Mistakes, such as a second handler for a command, are collected and reported together when the
/// context is opened.
///
/// ```
/// use mamey::{Aggregate, BoundedContext, Command, Context, Event, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Command)]
/// #[command(reply = u32)]
/// struct PlaceOrder { id: String, units: u32 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "orders.placed", key = id)]
/// struct OrderPlaced { id: String, units: u32 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(name = "payments.taken", key = order_id)]
/// struct PaymentTaken { order_id: String }
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// #[aggregate(collection = "orders")]
/// struct Order { #[aggregate(id)] id: String, units: u32, paid: bool }
///
/// async fn place_order(command: PlaceOrder, cx: &Context) -> Result<u32> {
///     let PlaceOrder { id, units } = command;
///     cx.publish(&OrderPlaced { id: id.clone(), units })?;
///     cx.repository().add(&Order { id, units, paid: false })?;
///     Ok(units)
/// }
///
/// async fn on_payment_taken(event: PaymentTaken, cx: &Context) -> Result<()> {
///     let orders = cx.repository::<Order>();
///     let mut order = orders.load(&event.order_id).await?;
///     order.paid = true;
///     orders.save(&order)
/// }
///
/// fn orders() -> BoundedContext {
///     BoundedContext::new("orders")
///         .aggregate::<Order>()
///         .command(place_order)
///         .on(on_payment_taken)
///         .publishes::<OrderPlaced>()
/// }
///
/// assert!(orders().check().is_ok());
/// ```
///
/// A closure that returns an async block cannot borrow the context and does not compile. Use an
/// async closure or a named function:
///
/// ```compile_fail
/// # use mamey::{BoundedContext, Command, Context};
/// # #[derive(Clone, Command)]
/// # #[command(reply = String)]
/// # struct Greet;
/// BoundedContext::new("greetings")
///     .command(|_: Greet, cx: &Context| async move { Ok(cx.name().to_string()) });
/// ```
///
/// ```
/// # use mamey::{BoundedContext, Command, Context};
/// # #[derive(Clone, Command)]
/// # #[command(reply = String)]
/// # struct Greet;
/// BoundedContext::new("greetings")
///     .command(async |_: Greet, cx: &Context| Ok(cx.name().to_string()));
/// ```
#[must_use = "a declaration does nothing until a service hosts it"]
pub struct BoundedContext {
    name: String,
    catalog: Catalog,
    collections: Vec<&'static Collection>,
    registry: Registry,
    served: Served,
    layers: Vec<Arc<dyn Layer>>,
    settings: ContextSettings,
    unhandled: Unhandled,
    conflict_retries: u32,
    problems: Vec<String>,
}

impl BoundedContext {
    /// An empty context. Its name consists of lowercase letters, digits and dashes.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            catalog: Catalog::default(),
            collections: Vec::new(),
            registry: Registry::default(),
            served: Served::default(),
            layers: Vec::new(),
            settings: ContextSettings::default(),
            unhandled: Unhandled::default(),
            conflict_retries: CONFLICT_RETRIES_DEFAULT,
            problems: Vec::new(),
        }
    }

    /// Stores aggregates of this type.
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
    /// [request](mamey_core::ReadContext::request) it.
    ///
    /// A request goes through the whole pipeline, as every call does. The layers see its metadata.
    /// A command whose caller no longer waits may have taken effect; with an idempotency key it is
    /// safe to repeat.
    ///
    /// ```
    /// use mamey::{BoundedContext, Query, ReadContext, Result};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Query, Serialize, Deserialize)]
    /// #[query(name = "catalog.get-price", reply = i64)]
    /// struct GetPrice { sku: String }
    ///
    /// async fn get_price(_: GetPrice, _: &ReadContext) -> Result<i64> {
    ///     Ok(420)
    /// }
    ///
    /// let catalog = BoundedContext::new("catalog").query(get_price).serves::<GetPrice>();
    /// # assert!(catalog.check().is_ok());
    /// ```
    pub fn serves<R: Request>(mut self) -> Self
    where
        R::Kind: Serves<R>,
    {
        self.declare::<R>(Direction::Serves);
        self.served.add::<R>();
        self
    }

    /// Handles an event of another context, or a message sent to this one. The context's retry
    /// policy applies.
    pub fn on<M: Message + DeserializeOwned, H: MessageHandler<M>>(mut self, handler: H) -> Self {
        self.declare::<M>(Direction::Handles);
        self.registry.add_message(handler, None);
        self
    }

    /// As [`BoundedContext::on`], with a retry policy of its own.
    ///
    /// ```
    /// use mamey::{BoundedContext, Context, Event, Result, RetryPolicy};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(name = "payments.taken", key = order_id)]
    /// struct PaymentTaken { order_id: String }
    ///
    /// async fn on_payment_taken(_: PaymentTaken, _: &Context) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// // Its first failure makes the message a dead letter.
    /// let orders = BoundedContext::new("orders").on_with(on_payment_taken, RetryPolicy::NEVER);
    /// # assert!(orders.check().is_ok());
    /// ```
    pub fn on_with<M: Message + DeserializeOwned, H: MessageHandler<M>>(
        mut self,
        handler: H,
        retry: RetryPolicy,
    ) -> Self {
        self.declare::<M>(Direction::Handles);
        self.registry.add_message(handler, Some(retry));
        self
    }

    /// Knows these messages and does not want them: an earlier build handled them, or a broker brings
    /// them for another reason.
    ///
    /// What leads them to the context is removed, and what still arrives is dropped and counted
    /// (`Totals::ignored`). Neither happens while an instance of another build handles them: then they
    /// wait in parking for that one. So a handler may be removed and added while two builds run side by
    /// side, and a build may be rolled back:
    ///
    /// 1. To add one, deploy the build with `.on(…)`. Instances of the former build leave the messages
    ///    to it, also if that build ignores them, and also while it is restarted
    ///    ([`AWAITED_FOR`](mamey_core::store::AWAITED_FOR)).
    /// 2. To remove one, first let no context publish the event any more, if it is not needed at all.
    ///    Then deploy the build that says `.ignores` in place of `.on`. Instances of the former build
    ///    handle the messages as long as they run; within
    ///    [`DECLARED_FOR`](mamey_core::store::DECLARED_FOR) of the last one they are dropped. A rollback
    ///    after that handles those that are published from then on.
    /// 3. Delete the type, and say [`.forgets`](Self::forgets) with its name for one more deployment, or
    ///    nothing if all instances have run with `.ignores`.
    ///
    /// A renamed event is one that is added and one that is removed: handle both names first, then
    /// publish the new one, then ignore the old one.
    ///
    /// ```
    /// use mamey::{BoundedContext, Event};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(name = "payments.taken", key = order_id)]
    /// struct PaymentTaken { order_id: String }
    ///
    /// let orders = BoundedContext::new("orders").ignores::<PaymentTaken>();
    /// assert_eq!(orders.topology(8)?.forgets, ["payments.taken"]);
    /// # Ok::<(), mamey::Error>(())
    /// ```
    pub fn ignores<M: Message>(self) -> Self {
        self.forgets(M::NAME)
    }

    /// As [`BoundedContext::ignores`], for messages whose type is gone, by their name.
    ///
    /// ```
    /// use mamey::BoundedContext;
    ///
    /// let orders = BoundedContext::new("orders").forgets("payments.taken");
    /// assert_eq!(orders.topology(8)?.forgets, ["payments.taken"]);
    /// # Ok::<(), mamey::Error>(())
    /// ```
    pub fn forgets(mut self, name: &'static str) -> Self {
        if let Err(error) = validate_message_name(name) {
            self.problem(error.message().to_owned());
        }
        self.registry.ignore(name);
        self
    }

    /// What to do with all other messages that no build of the context handles; [`Unhandled::Keep`] if
    /// not set.
    ///
    /// ```
    /// use mamey::{BoundedContext, Unhandled};
    ///
    /// // Its queue brings all that the exchange has.
    /// let audit = BoundedContext::new("audit").unhandled(Unhandled::Drop);
    /// # assert!(audit.check().is_ok());
    /// ```
    pub const fn unhandled(mut self, unhandled: Unhandled) -> Self {
        self.unhandled = unhandled;
        self
    }

    /// Publishes an event. Only declared events can be published.
    pub fn publishes<E: Event>(mut self) -> Self {
        self.declare::<E>(Direction::Publishes);
        self
    }

    /// How long one run of a handler may take; [`HANDLER_TIMEOUT_DEFAULT`] if not set. The commit
    /// that follows does not count.
    ///
    /// A handler that never awaits cannot be cancelled, and others may have to wait while it blocks
    /// its thread. Move long computations and blocking calls to `tokio::task::spawn_blocking`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// How messages whose handlers fail are retried, for all handlers without a policy of their
    /// own; [`RetryPolicy::DEFAULT`] if not set.
    ///
    /// It also says how long a message that this build cannot handle waits for one that can: choose
    /// one that lasts longer than the deployment of a build. Which failures are retried is in the
    /// table of [`ErrorKind`](mamey_core::ErrorKind).
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.settings.retry = retry.into();
        self
    }

    /// Sets what these settings hold; what they leave open stays as it is. Settings of the service
    /// for this one context go before them.
    pub fn configure(mut self, settings: ContextSettings) -> Self {
        self.settings = settings.or(self.settings);
        self
    }

    /// What was set for this context so far.
    #[must_use]
    pub const fn settings(&self) -> &ContextSettings {
        &self.settings
    }

    /// How many times a command or a message runs again, with fresh reads, after a conflict with
    /// another commit; [`CONFLICT_RETRIES_DEFAULT`] if not set.
    ///
    /// The first such run follows at once, the others after a random pause of up to 32 ms.
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

    /// Puts a layer around every call of this context, inside the layers added before.
    pub fn layer(mut self, layer: impl Layer) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// The context's name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All messages that it handles, publishes and serves.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
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
}

impl fmt::Debug for BoundedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedContext")
            .field("name", &self.name)
            .field("catalog", &self.catalog)
            .field("settings", &self.settings)
            .field("unhandled", &self.unhandled)
            .field("conflict_retries", &self.conflict_retries)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}
