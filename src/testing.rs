//! Given, when, then over one bounded context, in memory and without a server.
//!
//! [`scenario`] tests a context as its callers see it: what it replies, publishes and stores.
//! [`test_context`] calls one handler as the function it is.
//!
//! ```
//! use mamey::{Aggregate, BoundedContext, Command, Context, ErrorKind, Event, Result, testing};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Aggregate, Serialize, Deserialize)]
//! #[aggregate(collection = "seats")]
//! struct Seat { #[aggregate(id)] number: i64, taken: bool }
//!
//! #[derive(Clone, Command)]
//! struct Book { seat: i64 }
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(name = "seats.booked", key = seat)]
//! struct Booked { seat: i64 }
//!
//! async fn book(command: Book, cx: &Context) -> Result<()> {
//!     let seats = cx.repository::<Seat>();
//!     let mut seat = seats.load(&command.seat).await?;
//!     seat.taken = true;
//!     seats.save(&seat)?;
//!     cx.publish(&Booked { seat: command.seat })
//! }
//!
//! fn seats() -> BoundedContext {
//!     BoundedContext::new("seats").aggregate::<Seat>().command(book).publishes::<Booked>()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let mut scenario = testing::scenario(seats()).await.given(&Seat { number: 7, taken: false });
//!
//! let outcome = scenario.when(Book { seat: 7 }).await;
//! outcome
//!     .then_publishes(&[&Booked { seat: 7 }])
//!     .then_stored::<Seat>(&7, |seat| assert!(seat.taken))
//!     .await;
//!
//! scenario.when(Book { seat: 8 }).await.then_fails(ErrorKind::NotFound);
//! # }
//! ```

use std::sync::Arc;

use mamey_cqrs::BoundedContext;
use mamey_persistence::MemoryDatabase;

pub use mamey_cqrs::testing::{ExpectedMessage, Outcome, START, Scenario, TestContext};

/// A scenario over `context` on a new store in memory, with a clock that stands still.
///
/// ```
/// use mamey::{BoundedContext, Command, Context, Result, testing};
///
/// #[derive(Clone, Command)]
/// #[command(reply = u32)]
/// struct Ring { times: u32 }
///
/// async fn ring(command: Ring, _: &Context) -> Result<u32> { Ok(command.times) }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut scenario = testing::scenario(BoundedContext::new("bell").command(ring)).await;
/// scenario.when(Ring { times: 3 }).await.then_reply(3).then_publishes_nothing();
/// # }
/// ```
///
/// # Panics
/// When the context cannot be opened, with the fix.
pub async fn scenario(context: BoundedContext) -> Scenario {
    Scenario::new(context, Arc::new(MemoryDatabase::new())).await
}

/// A handler's context on a new store in memory, to call a handler as the function it is.
///
/// ```
/// use mamey::{BoundedContext, Command, Context, Event, Result, testing};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Command)]
/// struct Ring { times: u32 }
///
/// #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
/// #[event(name = "bell.rung")]
/// struct Rung { times: u32 }
///
/// async fn ring(command: Ring, cx: &Context) -> Result<()> {
///     cx.publish(&Rung { times: command.times })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// let bell = BoundedContext::new("bell").publishes::<Rung>();
/// let cx = testing::test_context(bell).await;
/// ring(Ring { times: 3 }, &cx).await?;
/// assert_eq!(cx.published::<Rung>(), [Rung { times: 3 }]);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// When the context cannot be opened, with the fix.
pub async fn test_context(context: BoundedContext) -> TestContext {
    TestContext::new(context, &MemoryDatabase::new()).await
}
