//! Stores of Mamey: in memory, on SQLite and on PostgreSQL.
//!
//! | Feature | What it adds |
//! |---|---|
//! | `memory` (default) | [`MemoryDatabase`], the reference and the store for tests |
//! | `sqlite` (default) | [`SqliteDatabase`], durable in one file without a server |
//! | `postgres` | [`PostgresDatabase`], shared by all instances of a service |
//!
//! [`connect`] picks one by URL. All keep every promise of [`mamey_core::store`] and run its
//! conformance suite, and have the same files: `memory/outbox.rs`, `sqlite/outbox.rs`, …

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "memory", feature = "postgres", feature = "sqlite"))]
mod common;
mod connect;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;

#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use connect::{check_url, connect, migration_sql};
#[cfg(feature = "memory")]
pub use memory::{MemoryDatabase, MemoryOptions};
#[cfg(feature = "postgres")]
pub use postgres::{
    Enlisted, PostgresContext, PostgresDatabase, PostgresOptions, PostgresResultExt, PostgresStats,
    PostgresTransaction, enlist,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteDatabase, SqliteOptions, SqliteStats};
