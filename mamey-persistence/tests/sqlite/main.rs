//! What only SQLite does: the file, its owner, its migrations, and how commits are grouped.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod durability;
mod files;
mod grouping;
mod indexes;
mod support;
