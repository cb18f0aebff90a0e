//! A context for calling one handler function by itself.

use std::fmt;
use std::ops::Deref;

use mamey_core::clock::ManualClock;
use mamey_core::context::Cause;
use mamey_core::message::Envelope;
use mamey_core::store::{CommitOutcome, Database};
use mamey_core::{Aggregate, Context, Event, Result};

use super::world::{World, or_panic};
use crate::bounded_context::BoundedContext;

/// A [`Context`] for calling one handler function by itself: no pipeline, and no commit unless
/// asked for. A query handler takes it too.
///
/// ```
/// # use mamey_core::{Command, Context, Message, Result, store::Database};
/// # use mamey_cqrs::{BoundedContext, testing::TestContext};
/// # struct Greet(&'static str);
/// # async fn greet(command: Greet, _: &Context) -> Result<String> { Ok(command.0.to_owned()) }
/// # fn greetings() -> BoundedContext { BoundedContext::new("greetings") }
/// async fn a_greeting_is_returned(database: &dyn Database) -> Result<()> {
///     let cx = TestContext::new(greetings(), database).await;
///     assert_eq!(greet(Greet("hello"), &cx).await?, "hello");
///     assert!(cx.sent().is_empty());
///     Ok(())
/// }
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

    /// The messages that the handler has sent so far, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Envelope> {
        self.context.unit().outbox.clone()
    }

    /// The events of one type that the handler has published so far, in order.
    ///
    /// # Panics
    /// When one of them cannot be read again.
    #[must_use]
    pub fn published<E: Event>(&self) -> Vec<E> {
        let sent = self.sent();
        let of_type = sent.iter().filter(|envelope| envelope.metadata.name == E::NAME);
        of_type
            .map(|envelope| or_panic(E::decode(envelope.metadata.version, &envelope.payload)))
            .collect()
    }

    /// Commits what the handler did.
    ///
    /// # Errors
    /// What the store says.
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
