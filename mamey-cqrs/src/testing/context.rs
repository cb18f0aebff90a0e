//! A context for calling one handler function directly.

use std::fmt;
use std::ops::Deref;

use mamey_core::clock::ManualClock;
use mamey_core::context::Cause;
use mamey_core::message::Envelope;
use mamey_core::store::{CommitOutcome, Database};
use mamey_core::{Aggregate, Context, Event, Result};

use super::world::{World, or_panic};
use crate::bounded_context::BoundedContext;

/// A [`Context`] for calling one handler function directly: without the pipeline, and without a
/// commit unless the test asks for it. It serves as the context of a query handler too.
///
/// ```
/// use mamey::testing::test_context;
/// use mamey::{Aggregate, BoundedContext, Command, Context, Event, Result};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Command)]
/// struct Ship { id: String }
///
/// #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
/// #[event(name = "orders.shipped", key = id)]
/// struct Shipped { id: String }
///
/// #[derive(Aggregate, Serialize, Deserialize)]
/// #[aggregate(collection = "orders")]
/// struct Order { #[aggregate(id)] id: String, shipped: bool }
///
/// async fn ship(command: Ship, cx: &Context) -> Result<()> {
///     let orders = cx.repository::<Order>();
///     let mut order = orders.load(&command.id).await?;
///     order.shipped = true;
///     orders.save(&order)?;
///     cx.publish(&Shipped { id: command.id })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let orders = BoundedContext::new("orders").aggregate::<Order>().publishes::<Shipped>();
/// let cx = test_context(orders).await;
/// cx.given(&Order { id: "o1".into(), shipped: false }).await;
/// ship(Ship { id: "o1".into() }, &cx).await?;
/// assert_eq!(cx.published::<Shipped>(), [Shipped { id: "o1".into() }]);
/// cx.commit().await?;
/// # Ok(()) }
/// ```
pub struct TestContext {
    world: World,
    context: Context,
}

impl TestContext {
    /// The context of one handler call in a bounded context.
    ///
    /// # Panics
    /// When the declaration has mistakes or the database cannot be opened.
    pub async fn new(context: BoundedContext, database: &dyn Database) -> Self {
        let world = or_panic(World::open(context, database).await);
        let context = world.context(Cause::default());
        Self { world, context }
    }

    /// Stores an aggregate before the handler is called.
    ///
    /// # Panics
    /// When it cannot be stored.
    pub async fn given<A: Aggregate>(&self, aggregate: &A) -> &Self {
        let context = self.world.context(Cause::default());
        or_panic(context.repository::<A>().add(aggregate));
        or_panic(self.world.commit(context).await);
        self
    }

    /// The clock, which stands still until it is moved.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.world.clock
    }

    /// The messages that the handler has sent or published so far, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Envelope> {
        self.context.sent()
    }

    /// The events of one type that the handler has published so far, in order.
    ///
    /// # Panics
    /// When one of them cannot be decoded.
    #[must_use]
    pub fn published<E: Event>(&self) -> Vec<E> {
        let sent = self.sent();
        let of_type = sent.iter().filter(|envelope| envelope.metadata.name == E::NAME);
        of_type
            .map(|envelope| or_panic(E::decode(envelope.metadata.version, &envelope.payload)))
            .collect()
    }

    /// Commits what the handler has buffered.
    ///
    /// # Errors
    /// The error of the store.
    pub async fn commit(self) -> Result<CommitOutcome> {
        let unit = self.context.take_unit()?;
        self.world.runtime.store().commit(unit).await
    }
}

impl Deref for TestContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl fmt::Debug for TestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestContext").field("context", &self.context).finish_non_exhaustive()
    }
}
