//! What is true of SQLite alone: the file, its owner, its migrations, and how commits group.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod durability;
mod files;
mod grouping;
mod indexes;
mod support;
