//! Scenarios: a bounded context in a given state, and the calls that a test makes.

use std::fmt;
use std::sync::Arc;

use mamey_core::clock::ManualClock;
use mamey_core::context::Cause;
use mamey_core::inbound::{Custody, Inbound, Incoming};
use mamey_core::message::Envelope;
use mamey_core::store::{Database, Origin, UnitOfWork};
use mamey_core::{Aggregate, Command, Message, Query, Result};
use serde::Serialize;

use super::outcome::Outcome;
use super::world::{World, or_panic};
use crate::bounded_context::BoundedContext;
use crate::pipeline::idempotency_key::{IdempotentCommand, RememberedReply};
use crate::pipeline::layer::InvocationKind;

/// A bounded context on a database of its own, with what happened before the test.
///
/// ```
/// use mamey::testing::scenario;
/// use mamey::{Aggregate, BoundedContext, Command, Context, ErrorKind, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Command)]
/// struct Cancel { id: String }
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// #[aggregate(collection = "orders")]
/// struct Order { #[aggregate(id)] id: String }
///
/// async fn cancel(command: Cancel, cx: &Context) -> Result<()> {
///     let orders = cx.repository::<Order>();
///     let order = orders.load(&command.id).await?;
///     orders.remove(&order)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let orders = BoundedContext::new("orders").aggregate::<Order>().command(cancel);
/// let mut scenario = scenario(orders).await.given(&Order { id: "o1".into() });
/// let cancelled = scenario.when(Cancel { id: "o1".into() }).await;
/// cancelled.then_succeeds().then_publishes_nothing();
/// let again = scenario.when(Cancel { id: "o1".into() }).await;
/// again.then_fails(ErrorKind::NotFound);
/// # }
/// ```
pub struct Scenario {
    world: World,
    past: Vec<Past>,
    tenant: Option<Arc<str>>,
}

/// One thing that happened before. It is prepared at once, and happens before the first call.
enum Past {
    Committed(Box<UnitOfWork>),
    Handled(Box<Envelope>),
}

impl Scenario {
    /// A context to which nothing has happened. Give each scenario a database of its own: ids start
    /// at 1 again.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use mamey::BoundedContext;
    /// use mamey::persistence::MemoryDatabase;
    /// use mamey::testing::{START, Scenario};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let database = Arc::new(MemoryDatabase::default());
    /// let scenario = Scenario::new(BoundedContext::new("orders"), database).await;
    /// assert_eq!(mamey::clock::Clock::now(scenario.clock()), START);
    /// # }
    /// ```
    ///
    /// # Panics
    /// When the declaration has mistakes or the database cannot be opened.
    pub async fn new(context: BoundedContext, database: Arc<dyn Database>) -> Self {
        let name = context.name().to_owned();
        let world = World::open(context, &*database).await;
        let world = world.unwrap_or_else(|error| panic!("`{name}` does not open: {error:?}"));
        Self { world, past: Vec::new(), tenant: None }
    }

    /// An aggregate that is stored already.
    ///
    /// # Panics
    /// When it cannot be stored.
    #[must_use]
    #[track_caller]
    pub fn given<A: Aggregate>(mut self, aggregate: &A) -> Self {
        let context = self.world.context(Cause::default());
        if let Err(error) = context.repository::<A>().add(aggregate) {
            panic!("given an aggregate that cannot be stored: {error:?}");
        }
        let unit = or_panic(context.take_unit());
        self.past.push(Past::Committed(Box::new(unit)));
        self
    }

    /// A message that was handled already, by the context's own handler.
    ///
    /// # Panics
    /// When it cannot be written as JSON.
    #[must_use]
    #[track_caller]
    pub fn given_handled<M: Message + Serialize>(mut self, message: &M) -> Self {
        let envelope = self.envelope(message);
        self.past.push(Past::Handled(Box::new(envelope)));
        self
    }

    /// The tenant of everything that follows.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The context's clock, which stands still until it is moved.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.world.clock
    }

    /// Sends a command.
    ///
    /// # Panics
    /// When a given aggregate or message fails, or the store fails.
    pub async fn when<C: Command>(&mut self, command: C) -> Outcome<C::Reply> {
        let before = self.begin().await;
        let request = self.world.runtime.send(command).cause(self.cause());
        let result = request.await;
        self.outcome(InvocationKind::Command, C::NAME, result, before).await
    }

    /// Sends a command with an idempotency key, as
    /// [`CommandRequest::idempotency_key`](crate::CommandRequest::idempotency_key) does.
    ///
    /// # Panics
    /// As [`Scenario::when`].
    pub async fn when_repeatable<C>(&mut self, key: &str, command: C) -> Outcome<C::Reply>
    where
        C: IdempotentCommand,
        C::Reply: RememberedReply,
    {
        let before = self.begin().await;
        let request = self.world.runtime.send(command).cause(self.cause());
        let result = request.idempotency_key(key).await;
        self.outcome(InvocationKind::Command, C::NAME, result, before).await
    }

    /// Asks a query.
    ///
    /// ```
    /// use mamey::testing::scenario;
    /// use mamey::{BoundedContext, Query, ReadContext, Result};
    ///
    /// #[derive(Query)]
    /// #[query(reply = String)]
    /// struct Greeting;
    ///
    /// async fn greeting(_: Greeting, cx: &ReadContext) -> Result<String> {
    ///     Ok(format!("hello, {}", cx.tenant().unwrap_or("nobody")))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let hall = BoundedContext::new("hall").query(greeting);
    /// let mut scenario = scenario(hall).await.tenant("acme");
    /// scenario.when_query(Greeting).await.then_reply("hello, acme".to_owned());
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`Scenario::when`].
    pub async fn when_query<Q: Query>(&mut self, query: Q) -> Outcome<Q::Reply> {
        let before = self.begin().await;
        let request = self.world.runtime.query(query).cause(self.cause());
        let result = request.await;
        self.outcome(InvocationKind::Query, Q::NAME, result, before).await
    }

    /// Delivers a message of another context.
    ///
    /// ```
    /// use mamey::testing::scenario;
    /// use mamey::{BoundedContext, Context, Event, Message, Result};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(name = "orders.placed", key = id)]
    /// struct OrderPlaced { id: String }
    ///
    /// #[derive(Message, Serialize, Deserialize)]
    /// #[message(name = "billing.bill")]
    /// struct Bill { order_id: String }
    ///
    /// async fn on_order_placed(event: OrderPlaced, cx: &Context) -> Result<()> {
    ///     cx.send("billing", &Bill { order_id: event.id })
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let mut scenario = scenario(BoundedContext::new("sales").on(on_order_placed)).await;
    /// let outcome = scenario.when_message(&OrderPlaced { id: "o1".into() }).await;
    /// outcome.then_sends("billing", &[&Bill { order_id: "o1".into() }]);
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`Scenario::when`], and when the message cannot be written as JSON.
    pub async fn when_message<M: Message + Serialize>(&mut self, message: &M) -> Outcome<()> {
        let before = self.begin().await;
        let envelope = self.envelope(message);
        let result = self.handle(&envelope).await;
        self.outcome(InvocationKind::Message, M::NAME, result, before).await
    }

    /// Lets everything given happen. Returns the last sequence in the outbox after it.
    async fn begin(&mut self) -> u64 {
        for past in std::mem::take(&mut self.past) {
            let (what, happened) = match past {
                Past::Committed(unit) => ("aggregate", self.commit(*unit).await),
                Past::Handled(envelope) => ("message", self.handle(&envelope).await),
            };
            if let Err(error) = happened {
                panic!("the given {what} fails: {error:?}");
            }
        }
        let records = or_panic(self.world.outbox().await);
        records.last().map_or(0, |record| record.sequence)
    }

    async fn commit(&self, unit: UnitOfWork) -> Result<()> {
        self.world.runtime.store().commit(unit).await.map(|_| ())
    }

    async fn handle(&self, envelope: &Envelope) -> Result<()> {
        let custody = Custody::new(Origin::Delivery);
        let incoming = Incoming::new(envelope, &custody, 1);
        self.world.runtime.handle(incoming).await.map(|_| ())
    }

    async fn outcome<R>(
        &self,
        kind: InvocationKind,
        name: &str,
        result: Result<R>,
        before: u64,
    ) -> Outcome<R> {
        let records = or_panic(self.world.outbox().await);
        let new = records.into_iter().filter(|record| record.sequence > before);
        let sent = new.map(|record| record.envelope).collect();
        let when = format!("{kind} `{name}` in context `{}`", self.world.runtime.name());
        Outcome::new(when, result, sent, self.world.clone())
    }

    fn cause(&self) -> Cause {
        Cause::default().with_tenant(self.tenant.clone())
    }

    #[track_caller]
    fn envelope<M: Message + Serialize>(&self, message: &M) -> Envelope {
        or_panic(self.world.envelope(message, self.tenant.clone()))
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("context", self.world.runtime.name())
            .finish_non_exhaustive()
    }
}
