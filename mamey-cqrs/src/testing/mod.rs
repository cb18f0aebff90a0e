//! Given, when, then over one bounded context, repeatable down to ids and times.
//!
//! [`Scenario`] runs a whole context through its real pipeline on any database; the in-memory
//! one needs no server. [`TestContext`] is a [`Context`](mamey_core::Context) for calling one
//! handler function directly. In both, the clock stands still until it is moved, and ids count up
//! from 1.
//!
//! Everything here panics when an expectation does not hold, as assertions do.

mod context;
mod expected;
mod outcome;
mod scenario;
mod world;

pub use context::TestContext;
pub use expected::ExpectedMessage;
pub use outcome::Outcome;
pub use scenario::Scenario;
pub use world::START;
