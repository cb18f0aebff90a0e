//! Given, when, then over one bounded context, in memory and with no server.
//!
//! ```
//! use mamey::{BoundedContext, Command, Context, Event, Result, testing};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Command)]
//! #[command(reply = u32)]
//! struct Ring { times: u32 }
//!
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(name = "bell.rung", key = times)]
//! struct Rung { times: u32 }
//!
//! async fn ring(command: Ring, cx: &Context) -> Result<u32> {
//!     cx.publish(&Rung { times: command.times })?;
//!     Ok(command.times)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let bell = BoundedContext::new("bell").command(ring).publishes::<Rung>();
//! let mut scenario = testing::scenario(bell).await;
//! let outcome = scenario.when(Ring { times: 3 }).await;
//! outcome.then_reply(3).then_publishes(&[&Rung { times: 3 }]);
//! # }
//! ```

use std::sync::Arc;

use mamey_cqrs::BoundedContext;
use mamey_persistence::MemoryDatabase;

pub use mamey_cqrs::testing::{ExpectedMessage, Outcome, START, Scenario, TestContext};

/// A scenario over `context` on a new store in memory, with a clock that stands still.
///
/// # Panics
/// When the context cannot be opened, naming what to mend.
pub async fn scenario(context: BoundedContext) -> Scenario {
    Scenario::new(context, Arc::new(MemoryDatabase::new())).await
}

/// A handler's context on a new store in memory, to call a handler as the function it is.
///
/// # Panics
/// When the context cannot be opened, naming what to mend.
pub async fn test_context(context: BoundedContext) -> TestContext {
    TestContext::new(context, &MemoryDatabase::new()).await
}
