//! The store in memory: the reference for what every store does, and the one for tests.
//!
//! Each port's file holds the trait's methods; what they work on is in `state/`.

mod commit;
mod database;
mod document;
mod inbox;
mod lease;
mod options;
mod outbox;
mod parking;
mod shared;
mod stalled;
mod state;
mod store;
mod undelivered;

pub use self::database::MemoryDatabase;
pub(crate) use self::database::{check, connect};
pub use self::options::MemoryOptions;
