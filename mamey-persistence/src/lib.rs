//! Stores of Mamey: in memory and on SQLite.
//!
//! | Feature | What it adds |
//! |---|---|
//! | `memory` (default) | [`MemoryDatabase`], the reference and the store for tests |
//! | `sqlite` (default) | [`SqliteDatabase`], durable in one file without a server |
//!
//! [`connect`] picks one by URL. Both keep every promise of [`mamey_core::store`] and run its
//! conformance suite; whoever knows `memory/outbox.rs` can guess `sqlite/outbox.rs`.

mod connect;
#[cfg(any(feature = "memory", feature = "sqlite"))]
mod schema;
#[cfg(any(feature = "memory", feature = "sqlite"))]
mod sharing;

#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use connect::connect;
#[cfg(feature = "memory")]
pub use memory::MemoryDatabase;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteDatabase, SqliteOptions, SqliteStats};
